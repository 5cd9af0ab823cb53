//! What becomes of guests when others come, go and are reset.

use numapin_qmp_mock::Guest;
use serde_json::json;

use crate::lab::Node;
use crate::statuses::taskset;
use crate::watch::set_mask;

#[test]
fn a_guest_that_was_reset_does_not_come_back_onto_cpus_that_others_hold_now() {
    let node = Node::new();
    node.conf("default: one-to-one\n");
    let [first, second] = [100, 101].map(|vmid| node.guest(vmid, 4));
    node.ok(&["apply", "100"]);
    let had = node.vcpus(&first);
    node.ok(&["reset", "100"]);
    node.ok(&["apply", "101"]);
    assert_eq!(
        node.vcpus(&second),
        had,
        "they were free, and are the best ones"
    );
    let (code, again) = node.json(&["apply", "100"]);
    assert_eq!((code, &again["kept"]), (0, &json!(false)));
    let notes = again["notes"].to_string();
    assert!(notes.contains("after this one was reset"), "{notes}");
    let now = node.vcpus(&first);
    let others: Vec<&str> = had.split(' ').collect();
    assert!(now.split(' ').all(|cpu| !others.contains(&cpu)), "{now}");
}

#[test]
fn a_second_reset_leaves_alone_what_was_set_after_the_first() {
    let node = Node::new();
    node.conf("100: one-to-one\n");
    let guest = node.guest(100, 2);
    node.ok(&["apply", "100"]);
    node.ok(&["reset", "100"]);
    taskset(&node, &guest, 1, "7", "00000080");
    node.ok(&["reset", "100"]);
    assert_eq!(node.vcpus(&guest), "0-31 7");
    node.ok(&["apply", "100"]);
    node.ok(&["reset", "--all"]);
    assert_eq!(
        node.vcpus(&guest),
        "0-31 7",
        "that is what the second apply found"
    );
}

#[test]
fn a_mask_that_comes_down_to_one_cpu_holds_it_as_long_as_it_is_so() {
    let node = Node::new();
    node.conf("100: shared\n101: numa\n102: one-to-one\n");
    let shared = node.guest(100, 1);
    let start = |vmid: u32, affinity: &str| {
        let config = format!("name: vm{vmid}\ncores: 1\nmemory: 512\naffinity: {affinity}\n");
        node.config(vmid, &config);
        node.start(Guest::proxmox(vmid, 1, 1))
    };
    let (numa, alone) = (start(101, "0-1"), start(102, "1"));
    for vmid in ["100", "101", "102"] {
        node.ok(&["apply", vmid]);
    }
    // The first guest is gone through before the second one's mask is what it is in the end.
    let masks = || (node.vcpus(&shared), node.vcpus(&numa));
    assert_eq!(masks(), ("2-31".to_owned(), "0".to_owned()));
    assert_eq!(node.run(&["status"]).code, 0);
    alone.stop();
    node.ok(&["apply", "101"]);
    assert_eq!(masks(), ("0-31".to_owned(), "0-1".to_owned()));
    assert_eq!(node.run(&["status"]).code, 0);
}

/// What others pinned of a guest that numapin leaves alone is held, also while it is told to leave it alone.
#[test]
fn what_a_guest_of_the_mode_none_holds_is_kept_from_others() {
    let node = Node::new();
    node.conf("100: one-to-one\n101: shared\n");
    let pinned = node.guest(100, 1);
    let shared = node.guest(101, 1);
    node.ok(&["apply", "100"]);
    node.ok(&["reset", "100"]);
    set_mask(&node, pinned.pid(), pinned.vcpu_tids()[0], "5");
    node.ok(&["apply", "101"]);
    let beside = "0-4,6-31";
    assert_eq!(node.vcpus(&shared), beside);
    node.ok(&["apply", "100", "--mode", "none"]);
    assert_eq!(
        (node.vcpus(&pinned), node.vcpus(&shared)),
        ("5".into(), beside.into())
    );
}
