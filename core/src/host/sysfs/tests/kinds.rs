//! Kinds of core, and isolated CPUs.

use rstest::rstest;

use crate::host::testing::{Tree, of_cpus};

// 12. Kinds of core.

#[rstest]
#[case::alike(&[1024, 1024, 1024, 1024], &[None; 4])]
#[case::favoured_cores(&[1024, 1009, 962, 1024], &[None; 4])]
#[case::two(&[446, 446, 1024, 1024], &[Some(1), Some(1), Some(0), Some(0)])]
#[case::three(&[250, 870, 1024, 870], &[Some(2), Some(1), Some(0), Some(1)])]
#[case::favoured_of_two(&[1024, 1000, 620, 600], &[Some(0), Some(0), Some(1), Some(1)])]
fn kinds_by_capacity(#[case] capacities: &[u32], #[case] kinds: &[Option<u32>]) {
    let mut tree = Tree::plain(4);
    for (id, capacity) in (0..).zip(capacities) {
        tree = tree.cpu(id, "cpu_capacity", &format!("{capacity}\n"));
    }
    assert_eq!(of_cpus(&tree.host(), |cpu| cpu.kind), kinds);
}

#[rstest]
#[case::not_hybrid(&[("cpu_core", "0-3\n")], &[None; 4])]
#[case::two(&[("cpu_core", "2-3\n"), ("cpu_atom", "0-1\n")], &[Some(1), Some(1), Some(0), Some(0)])]
#[case::three(&[("cpu_core", "0\n"), ("cpu_atom", "1-2\n"), ("cpu_lowpower", "3\n")], &[Some(0), Some(1), Some(1), Some(2)])]
fn kinds_by_pmu(#[case] pmus: &[(&str, &str)], #[case] kinds: &[Option<u32>]) {
    let mut tree = Tree::plain(4);
    for (pmu, cpus) in pmus {
        tree = tree.file(&format!("sys/devices/{pmu}/cpus"), cpus);
    }
    assert_eq!(of_cpus(&tree.host(), |cpu| cpu.kind), kinds);
}

#[test]
fn capacity_tells_kinds_apart_that_share_a_pmu() {
    let mut tree = Tree::plain(4)
        .file("sys/devices/cpu_core/cpus", "0-1\n")
        .file("sys/devices/cpu_atom/cpus", "2-3\n");
    for (id, capacity) in (0..).zip(["1024", "990", "620", "400"]) {
        tree = tree.cpu(id, "cpu_capacity", capacity);
    }
    assert_eq!(
        of_cpus(&tree.host(), |cpu| cpu.kind),
        [Some(0), Some(0), Some(1), Some(2)]
    );
}

#[test]
fn a_bad_capacity_is_told_and_makes_no_kinds() {
    let tree = Tree::plain(2)
        .cpu(0, "cpu_capacity", "1024\n")
        .cpu(1, "cpu_capacity", "much\n");
    assert_eq!(
        tree.warnings(),
        [
            "sys/devices/system/cpu/cpu1/cpu_capacity: \"much\" is not a number (expected the capacity of a cpu); \
             the capacity of each cpu counts as unknown"
        ]
    );
}

// What is isolated.

#[test]
fn isolated_cpus_come_from_the_command_line_and_from_partitions() {
    let tree = Tree::plain(8)
        .system("cpu/isolated", "1,9\n")
        .file("sys/fs/cgroup/cpuset.cpus.isolated", "4-5\n");
    assert_eq!(tree.host().isolated.to_string(), "1,4-5");
}
