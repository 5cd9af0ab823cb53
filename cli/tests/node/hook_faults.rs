//! What is wrong with numapin, or around it, stops no start: one line, and 0.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use numapin_qmp_mock::{At, Fault, Guest, Script};
use rstest::rstest;
use serde_json::{Value, json};

use crate::hook::{entry, hook, locked, ok, run, stopped};
use crate::lab::{Node, Ran};

/// A node with a guest that may not start unplaced, and its config's lock held.
fn node() -> (Node, File) {
    let node = Node::new();
    node.conf("default: one-to-one,require=fail\n");
    stopped(&node, 100, 2, "");
    let lock = locked(&node, 100);
    (node, lock)
}

fn gone(node: &Node, name: &str) {
    let path = node.path(name);
    match path.is_dir() {
        true => fs::remove_dir_all(path).unwrap(),
        false => fs::remove_file(path).unwrap(),
    }
}

/// One line that says what is wrong, and of which guest, and nothing else; after the start, too.
#[rstest]
#[case::no_config(|node: &Node| gone(node, "etc/pve/qemu-server/100.conf"), "guest 100 has no config")]
#[case::no_etc_pve(|node: &Node| gone(node, "etc/pve"), "has no /etc/pve")]
#[case::directory(|node: &Node| {
    gone(node, "etc/pve/qemu-server/100.conf");
    node.write("etc/pve/qemu-server/100.conf/x", "");
}, "100.conf: is a directory")]
#[case::conf_is_a_directory(|node: &Node| {
    gone(node, "etc/pve/numapin.conf");
    node.write("etc/pve/numapin.conf/x", "");
}, "numapin.conf: is a directory")]
#[case::line(|node: &Node| node.conf("100: onetoone\n"), "did you mean \"one-to-one\"?")]
#[case::lines(|node: &Node| node.conf("100: numa\n100: l3\n"), "numapin.conf:2: ")]
#[case::default(|node: &Node| node.conf("default: one-to-one,require=maybe\n"), "require: \"maybe\" is unknown")]
#[case::tags(|node: &Node| {
    node.conf("tags: yes\n");
    stopped(node, 100, 2, "tags: pin-numa;pin-l3\n");
}, "contradict each other")]
#[case::pinning(|node: &Node| {
    node.conf("tags: yes\n");
    stopped(node, 100, 2, "pinning: both\n");
}, "100.conf:4: pinning: ")]
#[case::no_sysfs(|node: &Node| gone(node, "sys"), "/sys/devices/system")]
#[case::sysfs(|node: &Node| node.write("sys/devices/system/cpu/online", "0-x\n"), "cpu/online")]
#[case::ledger_is_a_file(|node: &Node| node.write("run/numapin", ""), "run/numapin: is no directory")]
#[case::ledger_is_a_link(|node: &Node| symlink("/tmp", node.path("run/numapin")).unwrap(), "is a symbolic link")]
#[case::ledger_is_open(|node: &Node| {
    node.write("run/numapin/x", "");
    fs::set_permissions(node.path("run/numapin"), fs::Permissions::from_mode(0o777)).unwrap();
}, "can be written by others")]
fn one_line_and_no_start_stopped(#[case] breaks: fn(&Node), #[case] says: &str) {
    for phase in ["pre-start", "post-start", "post-stop"] {
        let (node, _lock) = node();
        let _guest = (phase == "post-start").then(|| node.start(Guest::proxmox(100, 1, 2)));
        breaks(&node);
        let ran = run(&node, 100, phase);
        assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{phase}: {ran:?}");
        // What ends needs neither a config nor a policy.
        if phase == "post-stop" && ran.err.is_empty() {
            continue;
        }
        assert_eq!(ran.err.lines().count(), 1, "{phase}: {ran:?}");
        let starts = match phase {
            "pre-start" => "numapin: guest 100 starts unplaced: ",
            "post-start" => "numapin: guest 100 is not pinned: ",
            _ => "numapin: guest 100: ",
        };
        assert!(ran.err.starts_with(starts), "{phase}: {ran:?}");
        assert!(ran.err.contains(says), "{phase}: {ran:?}");
    }
}

/// A file of the ledger that can't be used is told, and concerns its own guest only.
#[test]
fn another_guests_broken_entry_is_told_and_stops_nothing() {
    let (node, _lock) = node();
    node.write("run/numapin/101.json", "{");
    let ran = run(&node, 100, "pre-start");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("101.json: ends in the middle"), "{ran:?}");
    assert_eq!(ran.err.lines().count(), 1, "{ran:?}");
    assert_eq!(entry(&node, 100).unwrap()["state"], "pending");
}

#[rstest]
#[case::pre_start("pre-start", "starts unplaced")]
#[case::post_start("post-start", "is not pinned")]
fn the_lock_of_the_node_is_waited_for_no_longer_than_2_s(#[case] phase: &str, #[case] says: &str) {
    let (node, _lock) = node();
    let _guest = (phase == "post-start").then(|| node.start(Guest::proxmox(100, 1, 2)));
    node.write("run/numapin/lock", "4711 numapin apply 7\n");
    let held = File::open(node.path("run/numapin/lock")).unwrap();
    held.lock().unwrap();
    let begin = Instant::now();
    let ran = run(&node, 100, phase);
    let took = begin.elapsed();
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{ran:?}");
    let holder = "is locked by process 4711 (numapin apply 7), still after 2";
    assert!(
        ran.err.contains(says) && ran.err.contains(holder),
        "{ran:?}"
    );
    assert_eq!(ran.err.lines().count(), 1, "{ran:?}");
    let [least, most] = [2, 20].map(Duration::from_secs);
    assert!((least..most).contains(&took), "{took:?}");
    drop(held);
    assert_eq!(run(&node, 100, phase).err, "");
}

/// QEMU that is not there, or does not answer.
#[rstest]
#[case::not_there(None, "100.qmp: does not exist")]
#[case::no_socket(Some(Fault::AbsentSocket), "100.qmp: does not exist")]
#[case::refused(Some(Fault::Refused), "100.qmp: nobody listens")]
#[case::silent(Some(Fault::Silence { at: At::Command("query-cpus-fast".to_owned()) }), "100.qmp: ")]
fn a_guest_that_can_not_be_asked_runs_unpinned(#[case] fault: Option<Fault>, #[case] says: &str) {
    let (node, _lock) = node();
    ok(&node, 100, "pre-start");
    let script = fault.clone().map(Script::of);
    let guest = script.map(|script| node.start_with(Guest::proxmox(100, 1, 2), script));
    let mut hook = hook(&node, 100, "post-start");
    let ran = Ran::of(hook.args(["--deadline", "0.3"]).output().unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{ran:?}");
    assert!(
        ran.err.starts_with("numapin: guest 100 is not pinned: "),
        "{ran:?}"
    );
    assert!(ran.err.contains(says), "{ran:?}");
    assert_eq!(ran.err.lines().count(), 1, "{ran:?}");
    // Its plan stands for whoever comes next.
    assert_eq!(entry(&node, 100).unwrap()["state"], "pending");
    if let Some(guest) = guest {
        assert_eq!(node.vcpus(&guest), "0-31 0-31");
    }
}

/// Where the log can't be written, the answer is the same.
#[rstest]
#[case::fits("", 0)]
#[case::stops("reserved: 0-30\n", 3)]
fn a_log_that_is_full_or_closed_changes_nothing(#[case] conf: &str, #[case] code: i32) {
    let (node, _lock) = node();
    node.conf(&format!("default: one-to-one,require=fail\n{conf}"));
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let mut to_full = hook(&node, 100, "pre-start");
    let status = to_full.stdout(full()).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(code));
    let mut shell = Command::new("/bin/sh");
    shell.env_clear().stdin(Stdio::null());
    let line = r#"exec "$0" --root "$1" hook 100 pre-start <&- >&- 2>&-"#;
    let numapin = env!("CARGO_BIN_EXE_numapin");
    shell.args(["-c", line, numapin]).arg(node.path(""));
    assert_eq!(shell.status().unwrap().code(), Some(code));
}

/// Proxmox VE waits for the end of both streams: whoever had kept one open would hang the start.
#[test]
fn nobody_keeps_the_log_open() {
    let (node, _lock) = node();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut hook = hook(&node, 100, "pre-start");
    let mut child = hook
        .stdout(writer.try_clone().unwrap())
        .stderr(writer)
        .spawn()
        .unwrap();
    drop(hook);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut reader, &mut said).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(said.starts_with("numapin: guest 100 is planned"), "{said}");
}

/// Wrong usage is nothing that Proxmox VE does: it is told as everywhere.
#[rstest]
#[case::sysfs_root(&["--sysfs-root", "/sys", "hook", "100", "pre-start"], "nothing can be set below --sysfs-root")]
#[case::vmid(&["hook", "db1", "pre-start"], "\"db1\" is not a VMID")]
#[case::low(&["hook", "99", "post-stop"], "expected 100 to 999999999")]
#[case::no_phase(&["hook", "100"], "<PHASE>")]
#[case::root(&["--root", "/nowhere", "hook", "100", "pre-start"], "--root /nowhere")]
fn wrong_usage_is_told(#[case] args: &[&str], #[case] says: &str) {
    let mut numapin = Command::new(env!("CARGO_BIN_EXE_numapin"));
    let ran = Ran::of(numapin.args(args).output().unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{ran:?}");
    assert!(ran.err.contains(says), "{ran:?}");
}

#[test]
fn programs_get_a_document_for_each_phase() {
    let (node, _lock) = node();
    let did = |phase: &str| -> Value {
        let (code, document) = node.json(&["hook", "100", phase]);
        let pair = (&document["vmid"], &document["phase"]);
        assert_eq!(
            (code, pair),
            (0, (&json!(100), &json!(phase))),
            "{document}"
        );
        document
    };
    let planned = did("pre-start");
    assert_eq!(planned["did"], "planned");
    assert_eq!(planned["plan"]["vcpus"].as_array().unwrap().len(), 2);
    let guest = node.start(Guest::proxmox(100, 1, 2));
    let pinned = did("post-start");
    assert_eq!(pinned["did"], "pinned");
    assert_eq!(pinned["plan"]["vcpus"], planned["plan"]["vcpus"]);
    assert!(!pinned["report"]["threads"].as_array().unwrap().is_empty());
    assert_eq!(did("pre-start")["did"], "runs");
    assert_eq!(did("pre-stop")["did"], "nothing");
    guest.stop();
    assert_eq!(did("post-stop")["did"], "freed");
    node.conf("default: one-to-one,require=fail\nreserved: 0-30\n");
    let (code, stopped) = node.json(&["hook", "100", "pre-start"]);
    assert_eq!((code, &stopped["did"]), (3, &json!("stopped")));
    assert!(stopped["violations"][0]["message"].is_string(), "{stopped}");
    node.conf("default: broken\n");
    let (code, fault) = node.json(&["hook", "100", "pre-start"]);
    assert_eq!((code, &fault["error"]["kind"]), (0, &json!("malformed")));
}

/// Tells the test below, when it runs as another process, what to say.
const CHILD: &str = "NUMAPIN_TEST_PANIC";

/// Releases abort on a panic, and a hook that aborts is a start that fails.
#[test]
fn a_panic_is_one_line_and_0() {
    if let Ok(text) = std::env::var(CHILD) {
        numapin_cli::survive_panics();
        panic!("of no use:\n{text}");
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    let this = "hook_faults::a_panic_is_one_line_and_0";
    child.args(["--exact", this, "--nocapture"]);
    let ran = Ran::of(child.env(CHILD, "some text").output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    let expected = "numapin: a bug of numapin, please report it: of no use:; some text (cli/tests/";
    assert!(ran.err.starts_with(expected), "{ran:?}");
    assert_eq!(ran.err.lines().count(), 1, "{ran:?}");
    assert!(!ran.out.contains("test result"), "it ended there: {ran:?}");
}
