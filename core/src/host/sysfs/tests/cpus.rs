//! CPUs, cores, L3s, packages and dies.

use super::{cores, l3s, nodes, packages};
use crate::host::testing::{Tree, of_cpus};
use crate::id::NodeId;

// 1. No lists of CPUs.

#[test]
fn without_lists_the_directories_count() {
    let tree = Tree::plain(3)
        .without("cpu/online")
        .without("cpu/present")
        .cpu(1, "online", "0\n")
        .cpu(2, "online", "1\n")
        .system("cpu/cpufreq/x", "")
        .system("cpu/cpuidle/x", "");
    let host = tree.host();
    assert_eq!(host.online().to_string(), "0,2");
    assert_eq!(host.offline.to_string(), "1");
}

#[test]
fn what_could_be_plugged_in_is_not_offline() {
    let tree = Tree::plain(2)
        .system("cpu/possible", "0-239\n")
        .system("cpu/offline", "2-239\n")
        .system("cpu/present", "0-3\n");
    assert_eq!(tree.host().offline.to_string(), "2-3");
}

// 2. Offline CPUs.

#[test]
fn offline_cpus_are_in_no_group_though_lists_name_them() {
    let tree = Tree::plain(4)
        .system("cpu/online", "1-3\n")
        .without("cpu/cpu0/topology")
        .without("cpu/cpu0/cache")
        .cpu(0, "online", "0\n")
        .cpu(1, "topology/core_cpus_list", "0-1\n");
    let host = tree.host();
    assert_eq!(host.node(NodeId(0)).unwrap().cpus.to_string(), "1-3");
    assert_eq!(host.offline.to_string(), "0");
    assert_eq!(cores(&tree), [1, 2, 3]);
    assert_eq!(l3s(&tree), [Some(1); 3]);
}

#[test]
fn a_node_whose_cpus_are_all_offline_stays() {
    let tree = Tree::plain(2)
        .system("node/online", "0-1\n")
        .system("node/has_cpu", "0\n")
        .system("node/node1/cpulist", "\n")
        .system("node/node1/cpu2/online", "0\n")
        .system("cpu/present", "0-2\n");
    assert_eq!(nodes(&tree), ["0: 0-1", "1: "]);
}

// 3. Masks only, padded.

#[test]
fn masks_stand_in_for_lists() {
    let padding = "00000000,".repeat(63);
    let mut tree = Tree::new().system("node/node0/cpumap", &format!("{padding}0000000f\n"));
    for id in 0..4 {
        let core = if id % 2 == 0 { "00000005" } else { "0000000a" };
        let mask = |bits: &str| format!("{padding}{bits}\n");
        tree = tree
            .cpu(id, "topology/thread_siblings", &mask(core))
            .cpu(id, "topology/core_siblings", &mask("0000000f"))
            .cpu(id, "topology/physical_package_id", "7\n")
            .cpu(id, "cache/index3/level", "3\n")
            .cpu(id, "cache/index3/shared_cpu_map", &mask("0000000f"));
    }
    assert_eq!(nodes(&tree), ["0: 0-3"]);
    assert_eq!(cores(&tree), [0, 1, 0, 1]);
    assert_eq!(l3s(&tree), [Some(0); 4]);
    assert_eq!(packages(&tree), [Some(7); 4]);
}

// 6. Package ids.

#[test]
fn package_ids_can_be_unknown_or_large() {
    let tree = Tree::plain(3)
        .cpu(0, "topology/package_cpus_list", "0\n")
        .cpu(0, "topology/physical_package_id", "-1\n")
        .cpu(1, "topology/package_cpus_list", "1-2\n")
        .cpu(1, "topology/physical_package_id", "8442\n");
    assert_eq!(packages(&tree), [None, Some(8442), Some(8442)]);
}

#[test]
fn core_ids_are_not_trusted() {
    let tree = Tree::plain(2)
        .cpu(0, "topology/core_id", "0\n")
        .cpu(1, "topology/core_id", "0\n");
    assert_eq!(cores(&tree), [0, 1]);
}

// 10. Old kernels' names; L3s.

#[test]
fn old_names_of_core_and_package_lists_are_read() {
    let mut tree = Tree::plain(4);
    for id in 0..4 {
        tree = tree
            .without(&format!("cpu/cpu{id}/topology/core_cpus_list"))
            .without(&format!("cpu/cpu{id}/topology/package_cpus_list"))
            .cpu(
                id,
                "topology/thread_siblings_list",
                ["0,2\n", "1,3\n"][id as usize % 2],
            )
            .cpu(
                id,
                "topology/core_siblings_list",
                ["0,2\n", "1,3\n"][id as usize % 2],
            )
            .cpu(
                id,
                "topology/physical_package_id",
                ["0\n", "1\n"][id as usize % 2],
            );
    }
    assert_eq!(cores(&tree), [0, 1, 0, 1]);
    assert_eq!(packages(&tree), [Some(0), Some(1), Some(0), Some(1)]);
    assert!(tree.host().cpus.iter().all(|cpu| cpu.die.is_none()));
}

#[test]
fn dies_are_read_where_there_are_any() {
    let mut tree = Tree::plain(4);
    for id in 0..4 {
        tree = tree
            .cpu(id, "topology/die_id", if id < 2 { "0\n" } else { "5\n" })
            .cpu(
                id,
                "topology/die_cpus_list",
                if id < 2 { "0-1\n" } else { "2-3\n" },
            );
    }
    assert_eq!(
        of_cpus(&tree.host(), |cpu| cpu.die),
        [Some(0), Some(0), Some(5), Some(5)]
    );
}

#[test]
fn an_l3_can_span_nodes_and_a_node_can_hold_many() {
    let mut tree = Tree::plain(6)
        .system("node/online", "0-1\n")
        .system("node/node0/cpulist", "0-1,4\n")
        .system("node/node1/cpulist", "2-3,5\n");
    for id in 0..6 {
        // The ids of the caches are neither dense nor in the order of CPUs.
        tree = tree
            .cpu(id, "cache/index3/id", if id < 4 { "9\n" } else { "2\n" })
            .cpu(
                id,
                "cache/index3/shared_cpu_list",
                if id < 4 { "0-3\n" } else { "4-5\n" },
            );
    }
    assert_eq!(l3s(&tree), [0, 0, 0, 0, 4, 4].map(Some));
}

#[test]
fn an_l3_can_have_another_index_or_be_absent() {
    // The first CPU has no level 3, as low-power cores have none; the others have it under another index than usual.
    let mut tree = Tree::plain(4)
        .without("cpu/cpu0/cache")
        .cpu(0, "cache/index3/level", "2\n")
        .cpu(0, "cache/index3/shared_cpu_list", "0\n");
    for id in 1..4 {
        tree = tree
            .without(&format!("cpu/cpu{id}/cache/index3"))
            .cpu(id, "cache/index0/level", "1\n")
            .cpu(id, "cache/index2/level", "3\n")
            .cpu(id, "cache/index2/shared_cpu_list", "1-3\n");
    }
    assert_eq!(l3s(&tree), [None, Some(1), Some(1), Some(1)]);
}

#[test]
fn an_l3_is_named_by_its_lowest_cpu_also_where_that_tells_of_none() {
    let tree = Tree::plain(4)
        .cpu(0, "cache/index3/level", "2\n")
        .cpu(1, "cache/index3/shared_cpu_list", "0-1\n")
        .cpu(2, "cache/index3/shared_cpu_list", "2-3\n");
    assert_eq!(l3s(&tree), [0, 0, 2, 2].map(Some));
}

#[test]
fn threads_of_a_core_share_its_package_and_l3() {
    // As where the kernel lists the groups of one thread only, or of the boot thread alone.
    let tree = Tree::plain(2)
        .cpu(0, "topology/core_cpus_list", "0-1\n")
        .cpu(0, "topology/package_cpus_list", "0\n")
        .cpu(0, "cache/index3/shared_cpu_list", "0\n")
        .without("cpu/cpu1/topology")
        .without("cpu/cpu1/cache");
    assert_eq!(packages(&tree), [Some(0); 2]);
    assert_eq!(l3s(&tree), [Some(0); 2]);
}
