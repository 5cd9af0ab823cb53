//! Each oddity of sysfs on a small machine that the test writes itself. (What cgroups allow is tested in cpuset.rs.)

mod cpus;
mod errors;
mod kinds;
mod nodes;

use crate::host::testing::{Tree, of_cpus};
use crate::host::{Node, sysfs};
use crate::id::CpuId;
use crate::idset::CpuSet;
use crate::root::Root;

#[test]
fn this_machine_reads() {
    let root = Root::live();
    if !root.sys().join("devices/system/cpu/cpu0").exists() {
        eprintln!("passed over: this machine has no /sys with cpus");
        return;
    }
    let host = sysfs::read(&root, sysfs::Want::PLAN).unwrap();
    let online = host.online();
    // A thread can be allowed CPUs that are offline, but runs on at least one that is online.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let allowed: CpuSet = mask.unwrap().parse().unwrap();
    assert!(!allowed.is_disjoint(&online), "{allowed} of {online}");
    let threads = std::thread::available_parallelism().unwrap().get();
    assert!(threads <= online.len(), "{threads} of {online}");
    let in_nodes: usize = host.nodes.iter().map(|node| node.cpus.len()).sum();
    assert!(in_nodes <= online.len() && !host.nodes.is_empty());
    for cpu in &host.cpus {
        assert!(cpu.core.0 <= cpu.id.0 && online.contains(CpuId(cpu.core.0)));
    }
}

#[test]
fn thousands_of_cpus_read() {
    const CPUS: u32 = 4096;
    let all = format!("0-{}\n", CPUS - 1);
    let mut tree = Tree::new()
        .system("cpu/online", &all)
        .cpu(0, "topology/physical_package_id", "0\n")
        .cpu(0, "topology/package_cpus_list", &all);
    for node in 0..16 {
        let first = node * 256;
        let cpus = format!("{first}-{}\n", first + 255);
        tree = tree
            .system(&format!("node/node{node}/cpulist"), &cpus)
            .cpu(first, "cache/index3/level", "3\n")
            .cpu(first, "cache/index3/shared_cpu_list", &cpus);
    }
    for core in 0..CPUS / 2 {
        let threads = format!("{},{}\n", core * 2, core * 2 + 1);
        tree = tree.cpu(core * 2, "topology/core_cpus_list", &threads);
    }
    let host = tree.host();
    assert_eq!(host.cpus.len(), 4096);
    for cpu in &host.cpus {
        let of_cpu = (cpu.core.0, cpu.l3.unwrap().0, cpu.node.unwrap().0);
        let id = cpu.id.0;
        assert_eq!(of_cpu, (id & !1, id & !255, id / 256));
    }
}

fn nodes(tree: &Tree) -> Vec<String> {
    let host = tree.read().unwrap();
    let line = |n: &Node| format!("{}: {}", n.id, n.cpus);
    host.nodes.iter().map(line).collect()
}

fn cores(tree: &Tree) -> Vec<u32> {
    of_cpus(&tree.host(), |cpu| cpu.core.0)
}

fn l3s(tree: &Tree) -> Vec<Option<u32>> {
    of_cpus(&tree.host(), |cpu| cpu.l3.map(|l3| l3.0))
}

fn packages(tree: &Tree) -> Vec<Option<i32>> {
    of_cpus(&tree.host(), |cpu| cpu.package.map(|package| package.0))
}
