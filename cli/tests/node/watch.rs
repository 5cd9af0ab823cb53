//! The rounds of `watch`, with invented time, over a simulated node.

use std::fs;
use std::time::Duration;

use numapin_cli::watch::{Line, Options, Priority, Watch};
use numapin_core::root::Root;
use numapin_qmp_mock::Mock;

use crate::lab::Node;

/// A node that is watched.
pub(crate) struct Watched {
    pub(crate) watch: Watch,
    now: Duration,
}

impl Watched {
    pub(crate) fn begin(node: &Node) -> Self {
        Self::with(node, Options::default())
    }

    pub(crate) fn with(node: &Node, options: Options) -> Self {
        let root = Root::captured(&node.path("")).unwrap();
        let deadline = Duration::from_millis(300);
        let options = Options {
            deadline,
            ..options
        };
        let watch = Watch::new(root, options).unwrap();
        Self {
            watch,
            now: Duration::ZERO,
        }
    }

    /// Lets so many seconds pass, with every round that is due; what was told.
    pub(crate) fn pass(&mut self, seconds: u64) -> Vec<Line> {
        let until = self.now + Duration::from_secs(seconds);
        let mut lines = Vec::new();
        while self.watch.next() <= until {
            self.now = self.now.max(self.watch.next());
            lines.extend(self.watch.round(self.now));
        }
        self.now = until;
        lines
    }

    pub(crate) fn told(&mut self, seconds: u64) -> String {
        let lines = self.pass(seconds);
        let texts: Vec<String> = lines.into_iter().map(|line| line.text).collect();
        texts.join("\n")
    }
}

pub(crate) fn set_mask(node: &Node, pid: u32, tid: u32, mask: &str) {
    use numapin_core::apply::{Thread, affinity};
    use numapin_core::id::{Pid, Tid};
    let root = Root::captured(&node.path("")).unwrap();
    let thread = Thread {
        pid: Pid(pid.cast_signed()),
        tid: Tid(tid.cast_signed()),
    };
    affinity(&root).set(thread, &mask.parse().unwrap()).unwrap();
}

fn tid(mock: &Mock, vcpu: u32) -> u32 {
    let mut all = mock.vcpus().into_iter();
    all.find(|of| of.index == vcpu).unwrap().tid
}

#[test]
fn guests_that_start_are_pinned_and_those_that_run_are_only_reported() {
    let node = Node::new();
    node.conf("default: one-to-one\n101: none\n");
    let before = node.guest(100, 2);
    let mut watched = Watched::begin(&node);
    assert_eq!(
        watched.told(6),
        "guest 100 runs since before and was not placed (policy one-to-one): numapin apply 100 places it, or watch --adopt"
    );
    let without = node.guest(101, 2);
    let new = node.guest(102, 2);
    let told = watched.told(2);
    assert!(
        told.starts_with(
            "guest 102: pinned by one-to-one (default: in numapin.conf, line 1): vcpu 0 on cpu(s) "
        ),
        "{told}"
    );
    assert!(
        told.lines().all(|line| line.starts_with("guest 102: ")),
        "{told}"
    );
    assert_eq!(node.vcpus(&before), "0-31 0-31");
    assert_eq!(node.vcpus(&without), "0-31 0-31");
    let masks = node.vcpus(&new);
    assert!(!masks.contains('-'), "{masks}");
    assert_eq!(watched.told(300), "", "each thing is told once");
    assert_eq!(
        watched.watch.status(),
        "3 guest(s): 1 kept pinned, 0 held, 0 waiting to be pinned, 2 left alone"
    );
    // Until somebody has it placed; from then on it is kept.
    node.ok(&["apply", "100"]);
    let masks = node.vcpus(&before);
    set_mask(&node, before.pid(), tid(&before, 0), "31");
    let told = watched.told(5);
    assert!(told.starts_with("guest 100: set vcpu 0 (thread "), "{told}");
    assert!(
        told.ends_with(": something else changed its mask"),
        "{told}"
    );
    assert_eq!(node.vcpus(&before), masks);
}

#[test]
fn a_restart_of_the_service_knows_whom_it_kept() {
    let node = Node::new();
    node.conf("default: one-to-one\n");
    let mut watched = Watched::begin(&node);
    let kept = node.guest(100, 2);
    watched.pass(2);
    let masks = node.vcpus(&kept);
    drop(watched);
    set_mask(&node, kept.pid(), tid(&kept, 1), "0-31");
    let meanwhile = node.guest(101, 2);
    let mut watched = Watched::begin(&node);
    let told = watched.told(20);
    assert!(told.contains("guest 100: set vcpu 1 (thread "), "{told}");
    assert!(
        told.contains("guest 101 runs since before and was not placed"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 2, "{told}");
    assert_eq!(node.vcpus(&kept), masks);
    assert_eq!(node.vcpus(&meanwhile), "0-31 0-31");
    drop(watched);
    let adopt = Options {
        adopt: true,
        ..Options::default()
    };
    let told = Watched::with(&node, adopt).told(2);
    assert!(
        told.starts_with("guest 101: pinned by one-to-one"),
        "{told}"
    );
    assert!(!node.vcpus(&meanwhile).contains('-'));
}

#[test]
fn a_dry_run_tells_and_touches_nothing() {
    let node = Node::new();
    node.conf("default: one-to-one,smt=isolate\n");
    let dry = Options {
        dry_run: true,
        adopt: true,
        ..Options::default()
    };
    let first = node.guest(100, 4);
    let mut watched = Watched::with(&node, dry);
    let second = node.guest(101, 4);
    let told = watched.told(60);
    assert_eq!(told.lines().count(), 2, "{told}");
    let cpus = |vmid: u32| -> Vec<&str> {
        let line = told
            .lines()
            .find(|line| line.starts_with(&format!("guest {vmid}: would be pinned by")));
        line.unwrap()
            .split("on cpu(s) ")
            .skip(1)
            .map(|cpu| cpu.split(',').next().unwrap())
            .collect()
    };
    assert!(cpus(100).len() == 4 && cpus(101).len() == 4, "{told}");
    assert!(
        cpus(100).iter().all(|cpu| !cpus(101).contains(cpu)),
        "{told}"
    );
    assert_eq!(node.vcpus(&first), "0-31 0-31 0-31 0-31");
    assert_eq!(node.vcpus(&second), "0-31 0-31 0-31 0-31");
    assert!(!node.path("run/numapin").exists());
    // What was pinned by others and has drifted is told, too.
    node.ok(&["apply", "100"]);
    set_mask(&node, first.pid(), tid(&first, 0), "0-31");
    let told = watched.told(60);
    assert!(
        told.starts_with("guest 100: would set vcpu 0 (thread "),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(node.vcpus(&first).starts_with("0-31 "));
}

#[test]
fn a_node_has_one_watch() {
    let node = Node::new();
    let first = Watched::begin(&node);
    let root = Root::captured(&node.path("")).unwrap();
    let second = Watch::new(root.clone(), Options::default()).err().unwrap();
    assert_eq!(
        second.to_string(),
        format!(
            "this node is watched already, by process {} (numapin watch) (expected no other watch)",
            std::process::id()
        )
    );
    let ran = node.run(&["watch"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    drop(first);
    assert!(Watch::new(root, Options::default()).is_ok());
}

#[test]
fn what_ended_is_forgotten_and_others_follow() {
    let node = Node::new();
    node.conf("100: shared\n101: one-to-one\n");
    let mut watched = Watched::begin(&node);
    let wide = node.guest(100, 2);
    let narrow = node.guest(101, 4);
    watched.pass(10);
    assert_eq!(node.vcpus(&wide), "0-3,8-31 0-3,8-31");
    narrow.stop();
    watched.pass(5);
    assert_eq!(node.vcpus(&wide), "0-31 0-31");
    assert!(!node.path("run/numapin/101.json").exists());
    assert!(node.path("run/numapin/100.json").exists());
}

#[test]
fn a_guest_that_was_reset_is_left_alone_until_its_next_start() {
    let node = Node::new();
    node.conf("100: one-to-one\n");
    let mut watched = Watched::begin(&node);
    let guest = node.guest(100, 2);
    watched.pass(2);
    node.ok(&["reset", "100"]);
    assert_eq!(watched.told(60), "");
    assert_eq!(node.vcpus(&guest), "0-31 0-31");
    guest.stop();
    watched.pass(10);
    let again = node.guest(100, 2);
    assert!(watched.told(5).starts_with("guest 100: pinned by"));
    assert!(!node.vcpus(&again).contains('-'));
}

#[test]
fn a_config_that_is_away_drops_nobody_and_delays_a_start() {
    let node = Node::new();
    node.conf("default: one-to-one\n");
    let mut watched = Watched::begin(&node);
    let guest = node.guest(100, 2);
    watched.pass(2);
    let masks = node.vcpus(&guest);
    let away = |name: &str, there: bool| {
        let (pve, hidden) = (node.path(name), node.path("hidden"));
        match there {
            true => fs::rename(hidden, pve).unwrap(),
            false => fs::rename(pve, hidden).unwrap(),
        }
    };
    for name in [
        "etc/pve",
        "etc/pve/qemu-server/100.conf",
        "etc/pve/qemu-server",
    ] {
        away(name, false);
        set_mask(&node, guest.pid(), tid(&guest, 0), "30");
        assert!(watched.told(10).len() < 200);
        assert_eq!(node.vcpus(&guest), masks, "{name}");
        away(name, true);
    }
    // One that starts meanwhile.
    node.config(101, "cores: 2\n");
    away("etc/pve", false);
    let late = node.start(numapin_qmp_mock::Guest::proxmox(101, 1, 2));
    let told = watched.told(60);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(
        told.contains("guest 101 is placed when that is mended"),
        "{told}"
    );
    away("etc/pve", true);
    assert!(
        watched
            .told(2)
            .starts_with("guest 101: pinned by one-to-one")
    );
    assert!(!node.vcpus(&late).contains('-'));
}

#[test]
fn a_changed_policy_acts_at_the_next_start() {
    let node = Node::new();
    node.conf("100: numa\n");
    let mut watched = Watched::begin(&node);
    let guest = node.guest(100, 2);
    let other = node.guest(101, 2);
    watched.pass(2);
    node.conf("100: one-to-one\n101: one-to-one\n");
    watched.pass(60);
    assert_eq!(node.vcpus(&guest), "0-3,16-19 0-3,16-19");
    assert_eq!(node.vcpus(&other), "0-31 0-31");
    node.conf("");
    watched.pass(60);
    set_mask(&node, guest.pid(), tid(&guest, 1), "9");
    watched.pass(5);
    assert_eq!(node.vcpus(&guest), "0-3,16-19 0-3,16-19");
}

#[test]
fn lines_say_how_much_they_matter() {
    let node = Node::new();
    node.conf("100: one-to-one\n101: one-to-one,overlap=deny\n102: nonsense\n");
    let mut watched = Watched::begin(&node);
    let guest = node.guest(100, 30);
    let _others = [node.guest(101, 8), node.guest(102, 2), node.guest(103, 2)];
    let lines = watched.pass(4);
    let of = |start: &str| {
        let mut found = lines.iter().filter(|line| line.text.contains(start));
        let line = found.next().unwrap_or_else(|| panic!("{start}: {lines:?}"));
        assert!(found.next().is_none(), "{lines:?}");
        line.priority
    };
    assert_eq!(of("guest 100: pinned by"), Priority::Notice);
    assert_eq!(of("guest 101 can't be pinned: "), Priority::Warning);
    assert_eq!(
        of("guest 102 is placed when that is mended"),
        Priority::Warning
    );
    assert!(watched.pass(300).is_empty());
    set_mask(&node, guest.pid(), tid(&guest, 3), "0-31");
    assert_eq!(watched.pass(5)[0].priority, Priority::Warning);
}
