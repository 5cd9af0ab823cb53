//! What `watch` sets again: masks behind its back, vCPUs and iothreads that are plugged, workers of every kind, cgroups that
//! change, CPUs that go offline and come back.

use std::fs;

use numapin_core::apply::Captured;
use numapin_core::apply::captured::Event;
use numapin_core::id::{Pid, Tid};
use numapin_core::root::Root;
use numapin_qmp_mock::{Guest, Mock, Vhost};
use numapin_sysfs_sim::Machine;

use crate::lab::Node;
use crate::watch::{Watched, set_mask};

/// The host of [`Node::new`], whose CPUs can go offline.
struct Cpus(Machine);

impl Cpus {
    fn new() -> Self {
        Self(Machine::load("epyc7351p").unwrap())
    }

    fn set(&mut self, node: &Node, cpu: u32, online: bool) {
        let Machine::Description(machine) = &mut self.0 else {
            unreachable!("it is a description")
        };
        machine.set_online(&node.path(""), cpu, online).unwrap();
    }
}

/// Lets the simulated kernel do to a guest what a real one does; `busy`: its threads are running.
fn kernel(node: &Node, mock: &Mock, event: Event, busy: bool) {
    let Root::Captured(root) = Root::captured(&node.path("")).unwrap() else {
        unreachable!("it is a captured root")
    };
    let pid = Pid(mock.pid().cast_signed());
    Captured::new(&root)
        .replay(event, pid, &|_: Tid| busy)
        .unwrap();
}

fn first(masks: &str) -> u32 {
    masks.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_plugged_vcpu_gets_its_planned_cpu_and_nobody_moves() {
    let node = Node::new();
    node.conf("default: one-to-one\n");
    node.config(100, "cores: 4\nvcpus: 2\nhotplug: cpu\n");
    let mut watched = Watched::begin(&node);
    let mut guest = Guest::proxmox(100, 1, 4);
    guest.vcpus = 2;
    let mock = node.start(guest);
    watched.pass(2);
    let two = node.vcpus(&mock);
    assert_eq!(two.split(' ').count(), 2);
    // It inherits the mask of the main thread.
    mock.plug_vcpu(2).unwrap();
    let told = watched.told(5);
    assert!(
        told.contains("guest 100: set vcpu 2 (thread ") && told.ends_with("it was not set before"),
        "{told}"
    );
    let three = node.vcpus(&mock);
    assert!(three.starts_with(&two) && !three.contains('-'), "{three}");
    let entry = node.read("run/numapin/100.json");
    assert!(entry.contains("\"plugged\":\"0-2\""), "{entry}");
    assert_eq!(watched.told(60), "");
    // A vCPU that goes holds its CPU no longer; one whose thread was replaced is pinned again.
    mock.unplug_vcpu(2).unwrap();
    let tid = mock.replace_vcpu_thread(1).unwrap();
    set_mask(&node, mock.pid(), tid, "0-31");
    let told = watched.told(30);
    assert!(
        told.contains(&format!("vcpu 1 (thread {tid}) to cpu(s) ")),
        "{told}"
    );
    assert_eq!(node.vcpus(&mock), two);
    let entry = node.read("run/numapin/100.json");
    assert!(entry.contains("\"plugged\":\"0-1\""), "{entry}");
}

#[test]
fn iothreads_and_workers_are_kept_where_they_belong() {
    for vhost in [Vhost::Tasks(2), Vhost::KernelThreads(2)] {
        let node = Node::new();
        node.conf("default: one-to-one\n");
        node.config(100, "cores: 4\n");
        let mut watched = Watched::begin(&node);
        let kernel = matches!(vhost, Vhost::KernelThreads(_));
        let mut guest = Guest::proxmox(100, 1, 4);
        guest.iothreads = vec!["iothread-scsi0".to_owned()];
        guest.vhost = vhost;
        let mock = node.start(guest);
        let told = watched.told(2);
        assert!(told.contains("guest 100: pinned by"), "{told}");
        let spare = |tid: u32, pid: u32| {
            let text = node.read(&format!("proc/{pid}/task/{tid}/status"));
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
            line.unwrap().trim().to_owned()
        };
        let iothread = mock.iothread_tids()[0].1;
        let expected = spare(iothread, mock.pid());
        assert_ne!(expected, "0-31", "the spare cpus of its host node");
        let worker = || -> (u32, u32) {
            let name = format!("vhost-{}\n", mock.pid());
            let proc = fs::read_dir(node.path("proc")).unwrap();
            let pids = proc.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
            let mut tasks = pids.flat_map(|pid: u32| {
                let tasks = fs::read_dir(node.path(&format!("proc/{pid}/task"))).unwrap();
                let tids =
                    tasks.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
                tids.map(move |tid: u32| (tid, pid)).collect::<Vec<_>>()
            });
            let named =
                tasks.find(|(tid, pid)| node.read(&format!("proc/{pid}/task/{tid}/comm")) == name);
            named.unwrap()
        };
        let (tid, pid) = worker();
        assert_eq!(pid == tid, kernel);
        assert_eq!(spare(tid, pid), expected);
        set_mask(&node, pid, tid, "0-31");
        set_mask(&node, mock.pid(), iothread, "7");
        let told = watched.told(5);
        assert!(
            told.contains("iothread iothread-scsi0 (thread ") && told.contains("vhost worker"),
            "{told}"
        );
        assert_eq!(
            (spare(tid, pid), spare(iothread, mock.pid())),
            (expected.clone(), expected.clone())
        );
        // One that is plugged inherits what the main thread has, and what is not told by its name QMP tells.
        let plugged = mock.plug_iothread("iothread-scsi1").unwrap();
        set_mask(&node, mock.pid(), plugged, "0-31");
        watched.pass(5);
        assert_eq!(spare(plugged, mock.pid()), expected);
        assert_eq!(watched.told(120), "");
    }
}

#[test]
fn a_cgroup_that_narrows_is_borne_and_repaired_when_it_widens() {
    let node = Node::new();
    node.conf("default: one-to-one\n");
    node.config(100, "cores: 2\n");
    let mut watched = Watched::begin(&node);
    let mut guest = Guest::proxmox(100, 1, 2);
    guest.cpuset = Some("0-31".to_owned());
    let mock = node.start(guest);
    watched.pass(12);
    let masks = node.vcpus(&mock);
    let scope = "sys/fs/cgroup/qemu.slice/100.scope/cpuset.cpus.effective";
    assert!(node.path(scope).exists());
    node.write(scope, "16-31\n");
    kernel(&node, &mock, Event::Cpuset, true);
    assert_ne!(node.vcpus(&mock), masks);
    let told = watched.told(30);
    assert!(
        told.contains("is not allowed by the cpuset of its cgroup"),
        "{told}"
    );
    let narrowed = node.vcpus(&mock);
    let host_node_0 = |mask: &str| (16..20).contains(&mask.parse::<u32>().unwrap());
    assert!(
        narrowed.split(' ').all(host_node_0),
        "{narrowed}: it stays on its host node"
    );
    assert_eq!(watched.told(60), "");
    node.write(scope, "0-31\n");
    kernel(&node, &mock, Event::Cpuset, true);
    watched.pass(40);
    assert_eq!(node.vcpus(&mock), masks);
}

#[test]
fn what_goes_offline_is_made_good_in_its_host_node_once_the_host_has_settled() {
    for busy in [false, true] {
        let node = Node::new();
        let mut cpus = Cpus::new();
        node.conf("100: one-to-one\n101: numa\n");
        let mut watched = Watched::begin(&node);
        let (one, numa) = (node.guest(100, 3), node.guest(101, 2));
        watched.pass(20);
        let (before, wide) = (node.vcpus(&one), node.vcpus(&numa));
        let gone = first(&before);
        cpus.set(&node, gone, false);
        kernel(&node, &one, Event::CpusOnline, busy);
        let told = watched.told(9);
        assert!(
            told.contains(&format!("cpu(s) {gone} went offline")),
            "{told}"
        );
        assert!(
            told.contains("nothing is changed until the online cpus have settled"),
            "{told}"
        );
        let rest = before.split_once(' ').unwrap().1.to_owned();
        assert!(node.vcpus(&one).ends_with(&rest));
        let told = watched.told(8);
        assert!(told.contains("guest 100: vcpu 0 is on cpu(s) "), "{told}");
        assert!(told.contains("it goes back when that returns"), "{told}");
        let moved = node.vcpus(&one);
        assert!(moved.ends_with(&rest) && first(&moved) != gone, "{moved}");
        let node_of = |cpu: u32| cpu % 16 / 4;
        assert_eq!(
            node_of(first(&moved)),
            node_of(gone),
            "it stays on its host node"
        );
        assert_eq!(node.vcpus(&numa), wide, "who lost nothing is left alone");
        assert_eq!(watched.told(120), "");
        cpus.set(&node, gone, true);
        let told = watched.told(5);
        assert!(
            told.contains(&format!("cpu(s) {gone} came online")),
            "{told}"
        );
        assert!(
            told.contains("the cpu of its plan is there again"),
            "{told}"
        );
        assert_eq!(node.vcpus(&one), before);
    }
}

#[test]
fn smt_that_is_switched_off_cpu_by_cpu_moves_nobody_who_has_a_cpu() {
    let node = Node::new();
    let mut cpus = Cpus::new();
    node.conf("default: one-to-one,smt=pack\n");
    let mut watched = Watched::begin(&node);
    let guest = node.guest(100, 4);
    watched.pass(20);
    let before = node.vcpus(&guest);
    for cpu in 16..32 {
        cpus.set(&node, cpu, false);
        kernel(&node, &guest, Event::CpusOnline, true);
        watched.pass(3);
        let now = node.vcpus(&guest);
        for (had, has) in before.split(' ').zip(now.split(' ')) {
            assert!(
                had == has || had.parse::<u32>().unwrap() >= 16,
                "{before} {now}"
            );
        }
    }
    watched.pass(30);
    let now = node.vcpus(&guest);
    let mut all: Vec<u32> = now.split(' ').map(|mask| mask.parse().unwrap()).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 4, "{now}");
    assert!(all.iter().all(|cpu| cpu / 4 == all[0] / 4), "{now}");
    for cpu in 16..32 {
        cpus.set(&node, cpu, true);
    }
    watched.pass(10);
    assert_eq!(node.vcpus(&guest), before);
}

#[test]
fn masks_of_others_follow_what_is_held() {
    let node = Node::new();
    node.conf("default: shared\n103: one-to-one\n104: one-to-one\n");
    let mut watched = Watched::begin(&node);
    let wide: Vec<Mock> = (100..103).map(|vmid| node.guest(vmid, 2)).collect();
    watched.pass(2);
    let narrow = node.guest(103, 4);
    let told = watched.told(4);
    assert!(
        told.contains("guest 101 follows the claims: vcpu 0 to cpu(s) "),
        "{told}"
    );
    let held = node.vcpus(&narrow);
    for mock in &wide {
        let masks = node.vcpus(mock);
        assert_ne!(masks, "0-31 0-31");
        for cpu in held.split(' ') {
            assert!(
                !format!(",{masks},").contains(&format!(",{cpu},")),
                "{masks} {held}"
            );
        }
    }
    // Somebody else's tool pins: that counts, too.
    let foreign = node.start(Guest::proxmox(200, 1, 1));
    watched.pass(5);
    set_mask(&node, foreign.pid(), foreign.vcpu_tids()[0], "31");
    watched.pass(10);
    assert!(
        node.vcpus(&wide[0]).ends_with("-30"),
        "{}",
        node.vcpus(&wide[0])
    );
    foreign.stop();
    narrow.stop();
    watched.pass(10);
    for mock in &wide {
        assert_eq!(node.vcpus(mock), "0-31 0-31");
    }
}
