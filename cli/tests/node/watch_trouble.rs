//! What goes wrong under `watch`: it is told once, tried again, and spoils nobody else's guest.

use std::fs;
use std::time::Instant;

use numapin_core::claims::Lock;
use numapin_core::root::Root;
use numapin_qmp_mock::{At, Fault, Guest, Mock, Script, Then};

use crate::lab::Node;
use crate::watch::{Watched, set_mask};

fn pinned(node: &Node, mock: &Mock) -> bool {
    !node.vcpus(mock).contains('-')
}

#[test]
fn a_guest_whose_qmp_is_busy_is_placed_by_names_and_asked_again() {
    let node = Node::new();
    node.conf("default: one-to-one\n");
    let mut watched = Watched::begin(&node);
    let busy = node.guest(100, 2);
    let held = busy.hold().unwrap();
    let other = node.guest(101, 2);
    let begin = Instant::now();
    let told = watched.told(2);
    assert!(begin.elapsed().as_secs() < 2, "one deadline for all");
    assert!(told.contains("guest 101: pinned by"), "{told}");
    assert!(
        told.contains("guest 100: qmp was busy: vcpus were told by the names of the threads"),
        "{told}"
    );
    assert!(pinned(&node, &busy) && pinned(&node, &other));
    let told = watched.told(25);
    assert!(
        told.contains("guest 100: qmp socket") && told.lines().count() == 1,
        "{told}"
    );
    drop(held);
    watched.pass(60);
    assert_eq!(watched.told(120), "");
}

#[test]
fn a_guest_whose_qmp_talks_nonsense_spoils_no_other() {
    let node = Node::new();
    node.conf("default: one-to-one\n");
    let mut watched = Watched::begin(&node);
    let nonsense = |vmid: u32, fault: Fault| {
        node.config(vmid, "cores: 2\n");
        node.start_with(Guest::proxmox(vmid, 1, 2), Script::of(fault))
    };
    let bad = [
        nonsense(
            100,
            Fault::Garbage {
                at: At::Greeting,
                then: Then::Close,
            },
        ),
        nonsense(
            101,
            Fault::Close {
                at: At::Command("query-cpus-fast".to_owned()),
            },
        ),
        nonsense(102, Fault::Refused),
    ];
    let good = node.guest(103, 2);
    let told = watched.told(100);
    for vmid in 100..103 {
        let about = told
            .lines()
            .filter(|line| line.starts_with(&format!("guest {vmid}: ")));
        assert_eq!(about.count(), 1, "{told}");
    }
    assert!(told.contains("guest 103: pinned by"), "{told}");
    assert!(pinned(&node, &good));
    assert!(bad.iter().all(|mock| node.vcpus(mock) == "0-31 0-31"));
}

#[test]
fn qmp_is_left_in_peace_while_nothing_changes() {
    let node = Node::new();
    node.conf("default: one-to-one\n");
    let mut watched = Watched::begin(&node);
    let once = Fault::Close { at: At::Greeting };
    node.config(100, "cores: 4\nvcpus: 2\n");
    let mut guest = Guest::proxmox(100, 1, 4);
    guest.vcpus = 2;
    // Whoever asks more than once, and then twice, gets no answer.
    let mock = node.start_with(guest, Script::healthy().and_on(&[3, 4, 5], once));
    assert!(watched.told(2).contains("guest 100: pinned by"));
    set_mask(&node, mock.pid(), mock.vcpu_tids()[0], "0-31");
    watched.pass(300);
    mock.plug_vcpu(2).unwrap();
    watched.pass(300);
    assert!(pinned(&node, &mock));
    // The third question is the first that is not answered.
    mock.plug_vcpu(3).unwrap();
    let told = watched.told(8);
    assert!(
        told.contains("vcpu 3 (thread "),
        "pinned by its name: {told}"
    );
    assert!(told.contains("guest 100: qmp socket"), "{told}");
    assert!(pinned(&node, &mock));
}

#[test]
fn a_lock_that_is_held_is_told_once_and_tried_again() {
    let node = Node::new();
    node.conf("default: one-to-one\n");
    let mut watched = Watched::begin(&node);
    let root = Root::captured(&node.path("")).unwrap();
    let guest = node.guest(100, 2);
    let lock = Lock::acquire(&root, "numapin apply 7", std::time::Duration::ZERO).unwrap();
    let told = watched.told(8);
    assert!(
        told.contains("(numapin apply 7)") && told.lines().count() == 1,
        "{told}"
    );
    assert_eq!(node.vcpus(&guest), "0-31 0-31");
    drop(lock);
    assert!(watched.told(2).contains("guest 100: pinned by"));
    let masks = node.vcpus(&guest);
    set_mask(&node, guest.pid(), guest.vcpu_tids()[1], "0-31");
    let lock = Lock::acquire(&root, "numapin apply 8", std::time::Duration::ZERO).unwrap();
    let told = watched.told(8);
    assert!(
        told.contains("(numapin apply 8)") && told.lines().count() == 1,
        "{told}"
    );
    drop(lock);
    watched.pass(2);
    assert_eq!(node.vcpus(&guest), masks);
}

#[test]
fn a_ledger_that_cant_be_written_is_told_once_and_nothing_is_set_without_its_record() {
    let node = Node::new();
    node.conf("default: one-to-one\n");
    let mut watched = Watched::begin(&node);
    // In the way of the temporary file that an entry is written through.
    let blocked = node.path("run/numapin/100.json");
    fs::create_dir_all(blocked.join("x")).unwrap();
    let (guest, other) = (node.guest(100, 2), node.guest(101, 2));
    let told = watched.told(200);
    let about = told
        .lines()
        .filter(|line| line.contains("no mask was touched"));
    assert_eq!(about.count(), 1, "{told}");
    assert_eq!(node.vcpus(&guest), "0-31 0-31");
    assert!(pinned(&node, &other));
    fs::remove_dir_all(blocked).unwrap();
    watched.pass(61);
    assert!(pinned(&node, &guest));
}

#[test]
fn a_guest_that_does_not_fit_is_placed_when_it_does() {
    let node = Node::new();
    node.conf("100: one-to-one\n101: one-to-one,overlap=deny\n");
    let mut watched = Watched::begin(&node);
    let large = node.guest(100, 28);
    let refused = node.guest(101, 8);
    let told = watched.told(120);
    let about = told
        .lines()
        .filter(|line| line.starts_with("guest 101 can't be pinned: "));
    assert_eq!(about.count(), 1, "{told}");
    assert_eq!(told.matches("guest 100: pinned by").count(), 1);
    large.stop();
    watched.pass(61);
    assert!(pinned(&node, &refused));
}

#[test]
fn threads_that_end_and_processes_that_die_end_nothing() {
    let node = Node::new();
    node.conf("default: one-to-one\n");
    let mut watched = Watched::begin(&node);
    let guest = node.guest(100, 4);
    watched.pass(2);
    let masks = node.vcpus(&guest);
    guest.kill_vcpu_thread(3).unwrap();
    watched.pass(10);
    for round in 0..5 {
        let crashing = node.guest(101, 2);
        watched.pass(round % 3);
        crashing.crash();
        watched.pass(2);
    }
    watched.pass(10);
    assert!(!node.path("run/numapin/101.json").exists());
    let left = guest.vcpus().into_iter().take(3);
    for (of, mask) in left.zip(masks.split(' ')) {
        let status = node.read(&format!("proc/{}/task/{}/status", guest.pid(), of.tid));
        assert!(status.contains(&format!("Cpus_allowed_list:\t{mask}\n")));
    }
    // A number that is used again is another process, and another guest is a new one.
    let again = node.guest(101, 2);
    let told = watched.told(4);
    assert!(pinned(&node, &again), "{told}");
}

#[test]
fn a_broken_config_spoils_its_own_guest_only() {
    let node = Node::new();
    node.conf("default: one-to-one\n");
    let mut watched = Watched::begin(&node);
    node.config(100, "cores: 4\nnuma: 1\nnuma0: cpus=0-9,memory=1024\n");
    let broken = node.start(Guest::proxmox(100, 1, 4));
    node.config(102, "cores: 2\npinning: none\nnuma: 1\nnuma0: nonsense\n");
    let other = node.start(Guest::proxmox(102, 1, 2));
    let good = node.guest(101, 2);
    let told = watched.told(300);
    assert_eq!(
        told.lines()
            .filter(|line| line.contains("guest 100"))
            .count(),
        1,
        "{told}"
    );
    assert!(pinned(&node, &good));
    assert_eq!(node.vcpus(&broken), "0-31 0-31 0-31 0-31");
    drop(other);
    node.config(100, "cores: 4\n");
    watched.pass(61);
    assert!(pinned(&node, &broken));
}

#[test]
fn hook_and_watch_agree_whoever_comes_first() {
    let node = Node::new();
    node.conf("default: one-to-one\n");
    let mut watched = Watched::begin(&node);
    node.config(100, "cores: 2\n");
    node.ok(&["hook", "100", "pre-start"]);
    let planned = node.read("run/numapin/100.json");
    // Another guest starts before the planned one runs; its CPUs are taken.
    let guest = node.start(Guest::proxmox(100, 1, 2));
    let other = node.guest(101, 2);
    watched.pass(2);
    assert!(pinned(&node, &guest) && pinned(&node, &other));
    let masks = node.vcpus(&guest);
    for mask in masks.split(' ') {
        assert!(
            planned.contains(&format!("\"cpus\":\"{mask}\"")),
            "{masks} {planned}"
        );
    }
    node.ok(&["hook", "100", "post-start"]);
    node.ok(&["hook", "101", "post-start"]);
    assert_eq!(node.vcpus(&guest), masks);
    assert_eq!(watched.told(120), "");
}

#[test]
fn a_guest_that_the_hook_planned_before_the_watch_began_is_placed() {
    let node = Node::new();
    node.conf("default: one-to-one\n");
    node.config(100, "cores: 2\n");
    node.ok(&["hook", "100", "pre-start"]);
    let guest = node.start(Guest::proxmox(100, 1, 2));
    let mut watched = Watched::begin(&node);
    assert!(watched.told(2).starts_with("guest 100: pinned by"));
    assert!(pinned(&node, &guest));
}

#[test]
fn sighup_has_what_failed_tried_again_at_once() {
    let node = Node::new();
    node.conf("100: one-to-one\n101: one-to-one,overlap=deny\n");
    let mut watched = Watched::begin(&node);
    let large = node.guest(100, 28);
    let refused = node.guest(101, 8);
    watched.pass(200);
    large.stop();
    watched.watch.reload();
    watched.pass(2);
    assert!(pinned(&node, &refused));
}

#[test]
fn a_plain_qemu_that_was_pinned_is_kept_and_never_asked() {
    let node = Node::new();
    let mut watched = Watched::begin(&node);
    let plain = node.start(Guest::plain("db1", 1, 2));
    let socket = plain.socket().to_str().unwrap().to_owned();
    node.ok(&["apply", "--qmp", &socket, "--mode", "one-to-one"]);
    watched.pass(30);
    let masks = node.vcpus(&plain);
    set_mask(&node, plain.pid(), plain.vcpu_tids()[0], "0-31");
    let told = watched.told(5);
    assert!(told.contains("something else changed its mask"), "{told}");
    assert_eq!(node.vcpus(&plain), masks);
}
