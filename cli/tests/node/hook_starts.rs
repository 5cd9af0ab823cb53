//! Starts that are no plain start: migrations, backups, restarts, starts that die, and what comes in between.

use std::fs;

use numapin_qmp_mock::Guest;
use rstest::rstest;
use serde_json::json;

use crate::hook::{entry, hook, locked, ok, planned, run, stopped};
use crate::lab::{Node, Ran};

/// Where the config is from which the start is made; each has another number of cores, and more cores wait in [PENDING].
#[rstest]
#[case::here("", &["here"], 2 + 4)]
#[case::both("", &["here", "old"], 2 + 4)]
#[case::remote("", &["old"], 3 + 4)]
#[case::source("old", &["old"], 3)]
#[case::source_of_several("old", &["here", "old", "other"], 3)]
#[case::moved_meanwhile("old", &["here"], 2)]
#[case::up("../old", &["here"], 2 + 4)]
#[case::up_alone("..", &["old"], 3 + 4)]
#[case::absolute("/etc", &["here"], 2 + 4)]
#[case::nul_like("old\n", &["old"], 3 + 4)]
fn the_config_is_found_where_the_guest_comes_from(
    #[case] from: &str,
    #[case] places: &[&str],
    #[case] vcpus: usize,
) {
    let node = Node::new();
    node.conf("default: one-to-one\n");
    for place in places {
        let (dir, cores) = match *place {
            "here" => ("qemu-server", 2),
            "old" => ("nodes/old/qemu-server", 3),
            _ => ("nodes/other/qemu-server", 1),
        };
        let (name, more) = (format!("etc/pve/{dir}/100.conf"), cores + 4);
        node.write(
            &name,
            &format!("cores: {cores}\n\n[PENDING]\ncores: {more}\n"),
        );
    }
    let _lock = locked(&node, 100);
    let mut hook = hook(&node, 100, "pre-start");
    let ran = Ran::of(hook.env("PVE_MIGRATED_FROM", from).output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(planned(&node, 100).split(' ').count(), vcpus, "{ran:?}");
    let is_name = from.is_empty() || from == "old";
    assert_eq!(ran.err.is_empty(), is_name, "{ran:?}");
    assert!(
        is_name || ran.err.contains("PVE_MIGRATED_FROM is "),
        "{ran:?}"
    );
}

#[test]
fn a_migrated_guest_is_pinned_before_its_config_has_come() {
    let node = Node::new();
    node.conf("default: one-to-one,require=fail\n");
    node.write(
        "etc/pve/nodes/old/qemu-server/100.conf",
        "cores: 2\nlock: migrate\n",
    );
    let _lock = locked(&node, 100);
    let from = |phase| {
        let mut hook = hook(&node, 100, phase);
        Ran::of(hook.env("PVE_MIGRATED_FROM", "old").output().unwrap())
    };
    assert_eq!(from("pre-start").code, 0);
    let plan = planned(&node, 100);
    let guest = node.start(Guest::proxmox(100, 1, 2));
    let ran = from("post-start");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    assert_eq!(node.vcpus(&guest), plan);
}

/// What starts for a backup, and may never run, takes nothing from anybody until its QEMU is there.
#[test]
fn a_guest_that_starts_for_a_backup_claims_once_it_runs() {
    let node = Node::new();
    node.conf("default: one-to-one,overlap=deny,require=fail\n");
    stopped(&node, 100, 32, "lock: backup\n");
    stopped(&node, 101, 32, "");
    let _locks = [locked(&node, 100), locked(&node, 101)];
    let said = run(&node, 100, "pre-start");
    assert_eq!(said.code, 0, "{said:?}");
    let holds = "numapin: guest 100 starts for a backup: it holds its cpus once it runs\n";
    assert!(said.out.contains(holds), "{said:?}");
    assert_eq!(entry(&node, 100), None);
    let guest = node.start(Guest::proxmox(100, 1, 32));
    assert_eq!(run(&node, 100, "post-start").code, 0);
    assert_eq!(entry(&node, 100).unwrap()["state"], "applied");
    // Another one can't start beside it, and can when it is gone.
    assert_eq!(run(&node, 101, "pre-start").code, 3);
    guest.stop();
    assert_eq!(run(&node, 100, "post-stop").code, 0);
    assert_eq!(run(&node, 101, "pre-start").code, 0);
    assert_eq!(run(&node, 100, "pre-start").code, 0, "it is a backup");
}

#[test]
fn a_late_post_stop_leaves_the_next_start_alone() {
    let node = Node::new();
    node.conf("100: one-to-one\n");
    stopped(&node, 100, 2, "");
    let _lock = locked(&node, 100);
    ok(&node, 100, "pre-start");
    let first = node.start(Guest::proxmox(100, 1, 2));
    ok(&node, 100, "post-start");
    first.stop();
    ok(&node, 100, "pre-start");
    let second = node.start(Guest::proxmox(100, 1, 2));
    // Its QEMU is there, its plan not yet set.
    assert_eq!(ok(&node, 100, "post-stop"), "");
    assert_eq!(entry(&node, 100).unwrap()["state"], "pending");
    ok(&node, 100, "post-start");
    let masks = node.vcpus(&second);
    assert_eq!(ok(&node, 100, "post-stop"), "");
    assert_eq!(entry(&node, 100).unwrap()["state"], "applied");
    assert_eq!(node.vcpus(&second), masks);
    // And who tries the hook by hand loses nothing.
    let before = node.read("run/numapin/100.json");
    let said = ok(&node, 100, "pre-start");
    assert_eq!(
        said,
        "numapin: guest 100 runs already: its plan is left as it is\n"
    );
    assert_eq!(node.read("run/numapin/100.json"), before);
}

#[test]
fn a_start_that_dies_leaves_nothing() {
    let node = Node::new();
    node.conf("100: one-to-one\n101: shared\n");
    stopped(&node, 100, 2, "");
    let wide = node.guest(101, 2);
    node.ok(&["apply", "101"]);
    let lock = locked(&node, 100);
    let said = ok(&node, 100, "pre-start");
    let follows = "numapin: guest 101 follows the claims: 2 thread(s) got another mask\n";
    assert!(said.ends_with(follows), "{said}");
    let pending = entry(&node, 100).unwrap();
    assert_eq!(pending["promised_kib"], json!({"0": 1024 * 1024}));
    let narrow = node.vcpus(&wide);
    assert_ne!(narrow, "0-31 0-31");
    // A clean-up that comes finds it while the lock is still held; where none comes, it ends with the lock.
    let mut lock = Some(lock);
    for cleaned in [true, false] {
        if cleaned {
            let said = ok(&node, 100, "post-stop");
            let freed = "numapin: guest 100 holds no cpu any more\n";
            assert_eq!(said, format!("{freed}{follows}"));
            assert_eq!(entry(&node, 100), None);
            assert_eq!(node.vcpus(&wide), "0-31 0-31");
            ok(&node, 100, "pre-start");
            assert_eq!(node.vcpus(&wide), narrow);
        } else {
            drop(lock.take());
            node.ok(&["apply", "101"]);
            assert_eq!(entry(&node, 100), None);
            assert_eq!(node.vcpus(&wide), "0-31 0-31");
        }
    }
    // And a policy that is gone at the next start does not bring it back.
    let _lock = locked(&node, 100);
    ok(&node, 100, "pre-start");
    node.conf("101: shared\n");
    assert_eq!(ok(&node, 100, "pre-start"), "");
    assert_eq!(entry(&node, 100), None);
    assert_eq!(node.vcpus(&wide), "0-31 0-31");
}

#[test]
fn whoever_comes_first_plans() {
    let node = Node::new();
    node.conf("default: one-to-one\n");
    stopped(&node, 100, 2, "");
    let _lock = locked(&node, 100);
    // As watch does it, before post-start.
    ok(&node, 100, "pre-start");
    let guest = node.start(Guest::proxmox(100, 1, 2));
    let (_, applied) = node.json(&["apply", "100"]);
    assert_eq!(applied["kept"], json!(true));
    let masks = node.vcpus(&guest);
    ok(&node, 100, "post-start");
    assert_eq!(node.vcpus(&guest), masks);
    // A reset during the start holds until the next one.
    node.ok(&["reset", "100"]);
    let said = ok(&node, 100, "post-start");
    assert_eq!(
        said,
        "numapin: guest 100 is left alone, as numapin reset has it\n"
    );
    assert_eq!(node.vcpus(&guest), "0-31 0-31");
    guest.stop();
    ok(&node, 100, "pre-start");
    let again = node.start(Guest::proxmox(100, 1, 2));
    ok(&node, 100, "post-start");
    assert_eq!(node.vcpus(&again), masks);
}

/// What was planned stands, whatever becomes of the files in between.
#[rstest]
#[case::config_gone("etc/pve/qemu-server", "unseen: guest 100 has no config")]
#[case::all_gone("etc/pve", "unseen: guest 100: ")]
#[case::policy_gone("etc/pve/numapin.conf", "")]
fn the_kept_plan_is_set_without_its_files(#[case] gone: &str, #[case] told: &str) {
    let node = Node::new();
    node.conf("100: one-to-one\n");
    stopped(&node, 100, 4, "numa: 1\nsockets: 2\n");
    let _lock = locked(&node, 100);
    ok(&node, 100, "pre-start");
    let plan = planned(&node, 100);
    let gone = node.path(gone);
    match gone.is_dir() {
        true => fs::remove_dir_all(gone).unwrap(),
        false => fs::remove_file(gone).unwrap(),
    }
    let guest = node.start(Guest::proxmox(100, 2, 4).numa_per_socket());
    let ran = run(&node, 100, "post-start");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.err.contains(told) && ran.err.is_empty() == told.is_empty(),
        "{ran:?}"
    );
    assert_eq!(node.vcpus(&guest), plan);
}
