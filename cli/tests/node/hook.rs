//! `numapin hook`, as Proxmox VE calls it: the config's lock is held, the environment is nearly empty, standard input is closed.

use std::fs::{self, File};
use std::process::Command;

use numapin_qmp_mock::Guest;
use rstest::rstest;
use serde_json::{Value, json};

use crate::lab::{Node, Ran};

/// Takes the lock of a guest's config, as Proxmox VE does for a whole start.
pub(crate) fn locked(node: &Node, vmid: u32) -> File {
    let name = format!("run/lock/qemu-server/lock-{vmid}.conf");
    node.write(&name, "");
    let file = File::open(node.path(&name)).unwrap();
    file.lock().unwrap();
    file
}

/// The hook of a phase, with the environment that Proxmox VE gives it.
pub(crate) fn hook(node: &Node, vmid: u32, phase: &str) -> Command {
    let mut command = node.command(&["hook", &vmid.to_string(), phase]);
    command.env("PATH", "/sbin:/bin:/usr/sbin:/usr/bin");
    command.env("LC_ALL", "C").env("PVE_MIGRATED_FROM", "");
    command
}

pub(crate) fn run(node: &Node, vmid: u32, phase: &str) -> Ran {
    Ran::of(hook(node, vmid, phase).output().unwrap())
}

/// What the hook of a phase says that must end in 0 and without a fault.
pub(crate) fn ok(node: &Node, vmid: u32, phase: &str) -> String {
    let ran = run(node, vmid, phase);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{phase}: {ran:?}");
    ran.out
}

pub(crate) fn entry(node: &Node, vmid: u32) -> Option<Value> {
    let text = fs::read_to_string(node.path(&format!("run/numapin/{vmid}.json"))).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

/// The CPUs of an entry's plan, in the order of the vCPUs.
pub(crate) fn planned(node: &Node, vmid: u32) -> String {
    let entry = entry(node, vmid).unwrap();
    let vcpus = entry["plan"]["vcpus"].as_array().unwrap();
    let cpus = vcpus.iter().map(|vcpu| vcpu["cpus"].as_str().unwrap());
    cpus.collect::<Vec<_>>().join(" ")
}

/// A guest of so many cores that has a config and does not run.
pub(crate) fn stopped(node: &Node, vmid: u32, cores: u32, more: &str) {
    node.config(
        vmid,
        &format!("name: vm{vmid}\ncores: {cores}\nmemory: 1024\n{more}"),
    );
}

#[test]
fn a_guest_is_planned_pinned_and_forgotten() {
    let node = Node::new();
    node.conf("100: one-to-one\n");
    stopped(&node, 100, 2, "");
    let lock = locked(&node, 100);
    let said = ok(&node, 100, "pre-start");
    assert!(
        said.starts_with("numapin: guest 100 is planned one-to-one (numapin.conf line 1)\n"),
        "{said}"
    );
    let pending = entry(&node, 100).unwrap();
    assert_eq!(
        (&pending["state"], &pending["process"]),
        (&json!("pending"), &Value::Null)
    );
    let plan = planned(&node, 100);
    let guest = node.start(Guest::proxmox(100, 1, 2));
    let said = ok(&node, 100, "post-start");
    assert!(
        said.starts_with("numapin: guest 100 is pinned one-to-one"),
        "{said}"
    );
    drop(lock);
    assert_eq!(node.vcpus(&guest), plan);
    assert_eq!(entry(&node, 100).unwrap()["state"], "applied");
    // A stop that was asked for, and one that was not, end alike.
    assert_eq!(ok(&node, 100, "pre-stop"), "");
    assert_eq!(node.vcpus(&guest), plan);
    guest.stop();
    let _lock = locked(&node, 100);
    let said = ok(&node, 100, "post-stop");
    assert_eq!(said, "numapin: guest 100 holds no cpu any more\n");
    assert_eq!(entry(&node, 100), None);
    assert_eq!(ok(&node, 100, "post-stop"), "");
}

/// Without a policy nothing is printed, written or asked, whatever the phase; and so for phases nobody knows.
#[rstest]
#[case::no_line("", "", "pre-start")]
#[case::others("101: one-to-one\n", "", "post-start")]
#[case::none("100: none\ndefault: shared\n", "", "post-stop")]
#[case::template("default: one-to-one,require=fail\n", "template: 1\n", "pre-start")]
#[case::template_in_backup("default: numa\n", "template: 1\nlock: backup\n", "post-start")]
#[case::tags_off("default: none\n", "tags: pin-numa\n", "pre-start")]
#[case::pre_stop("100: one-to-one\n", "", "pre-stop")]
#[case::later("100: one-to-one\n", "", "pre-migrate")]
#[case::empty("100: one-to-one\n", "", "")]
#[case::upper("100: one-to-one\n", "", "PRE-START")]
fn nothing_is_done(#[case] conf: &str, #[case] config: &str, #[case] phase: &str) {
    let node = Node::new();
    node.conf(conf);
    stopped(&node, 100, 64, config);
    assert_eq!(ok(&node, 100, phase), "");
    assert!(!node.path("run/numapin").exists());
}

/// Only what can't be met under require=fail stops a start.
#[rstest]
#[case::fail("one-to-one,require=fail", "", 3)]
#[case::warn("one-to-one,require=warn", "", 0)]
#[case::unsaid("one-to-one", "", 0)]
#[case::backup("one-to-one,require=fail", "lock: backup\n", 0)]
#[case::migrate("one-to-one,require=fail", "lock: migrate\n", 3)]
fn a_refusal_stops_where_the_policy_says_so(
    #[case] policy: &str,
    #[case] config: &str,
    #[case] code: i32,
) {
    let node = Node::new();
    node.conf(&format!("default: {policy}\nreserved: 0-29\n"));
    stopped(&node, 100, 4, config);
    let _lock = locked(&node, 100);
    // What an earlier start left is not taken for this one's plan.
    node.write("run/numapin/100.json", "{");
    let ran = run(&node, 100, "pre-start");
    assert_eq!(ran.code, code, "{ran:?}");
    assert!(
        ran.out.contains(match code {
            3 => "numapin: guest 100 can't be pinned, and require=fail stops its start:\n",
            _ => "numapin: guest 100 can't be pinned, and runs without:\n",
        }),
        "{ran:?}"
    );
    assert!(ran.out.contains("numapin:   - "), "{ran:?}");
    assert!(
        ran.out.lines().all(|line| line.starts_with("numapin: ")),
        "{ran:?}"
    );
    assert_eq!(entry(&node, 100), None);
    let _guest = node.start(Guest::proxmox(100, 1, 4));
    let ran = run(&node, 100, "post-start");
    assert_eq!(ran.code, 0, "after the start nothing stops it: {ran:?}");
    assert!(
        ran.out.contains("can't be pinned, and runs without:"),
        "{ran:?}"
    );
}

#[test]
fn starts_at_once_never_take_the_same_cpu() {
    let node = Node::new();
    node.conf("default: one-to-one,require=fail\n");
    let vmids: Vec<u32> = (100..108).collect();
    let locks: Vec<File> = vmids.iter().map(|vmid| locked(&node, *vmid)).collect();
    for vmid in &vmids {
        stopped(&node, *vmid, 4, "");
    }
    let hooks: Vec<_> = vmids
        .iter()
        .map(|vmid| hook(&node, *vmid, "pre-start").spawn().unwrap())
        .collect();
    for hook in hooks {
        let ran = Ran::of(hook.wait_with_output().unwrap());
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let all: Vec<String> = vmids.iter().map(|vmid| planned(&node, *vmid)).collect();
    let all = all.join(" ");
    let mut cpus: Vec<u32> = all.split(' ').map(|cpu| cpu.parse().unwrap()).collect();
    cpus.sort_unstable();
    assert_eq!(cpus, (0..32).collect::<Vec<u32>>());
    // The host is full; a start that dies gives back what it was to have.
    stopped(&node, 108, 4, "");
    let policy = "one-to-one,require=fail,overlap=deny";
    node.conf(&format!("default: {policy}\n"));
    let _lock = locked(&node, 108);
    assert_eq!(run(&node, 108, "pre-start").code, 3);
    drop(locks);
    assert_eq!(run(&node, 108, "pre-start").code, 0);
    assert_eq!(fs::read_dir(node.path("run/numapin")).unwrap().count(), 2);
}
