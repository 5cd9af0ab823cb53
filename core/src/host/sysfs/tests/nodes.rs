//! NUMA nodes: their CPUs, distances and memory.

use rstest::rstest;

use super::{l3s, nodes, packages};
use crate::host::testing::{Tree, of_cpus};
use crate::id::{CpuId, NodeId};

// 4. No node cpulist, node/online or distance.

#[test]
fn nodes_are_found_by_their_directories() {
    let tree = Tree::plain(4)
        .without("node/online")
        .without("node/node0/cpulist")
        .system("node/node0/cpumap", "3\n")
        .system("node/node10/cpumap", "c\n")
        .system("node/possible", "0-15\n");
    assert_eq!(nodes(&tree), ["0: 0-1", "10: 2-3"]);
    let host = tree.host();
    assert!(host.nodes.iter().all(|node| node.distances.is_empty()));
    assert_eq!(host.distance(NodeId(0), NodeId(10)), 20);
}

#[test]
fn links_to_cpus_stand_in_for_cpulist_and_cpumap() {
    let tree = Tree::plain(3)
        .system("node/online", "0-1\n")
        .without("node/node0/cpulist")
        .system("node/node0/cpu0/x", "")
        .system("node/node0/cpu2/x", "")
        .system("node/node1/cpu1/x", "");
    assert_eq!(nodes(&tree), ["0: 0,2", "1: 1"]);
}

#[test]
fn the_only_node_that_names_no_cpus_has_all() {
    let tree = Tree::plain(3)
        .without("node/node0/cpulist")
        .system("node/node0/meminfo", "Node 0 MemTotal: 5 kB\n");
    assert_eq!(nodes(&tree), ["0: 0-2"]);
}

// 5. Distances.

#[rstest]
#[case::one_for_each("10 16 22\n", "16 10 22\n", "22 22 10\n", Some([10, 16, 22]))]
#[case::more_than_nodes("10 16 22 40 40\n", "16 10 22 40 40\n", "22 22 10 40 40\n", Some([10, 16, 22]))]
#[case::other_columns("10 40 16 40 22\n", "16 40 10 40 22\n", "22 40 22 40 10\n", None)]
#[case::short("10 16 22\n", "16 10\n", "22 22 10\n", None)]
#[case::not_numbers("10 16 22\n", "16 10 22\n", "22 x 10\n", None)]
fn distances_follow_the_online_nodes(
    #[case] row0: &str,
    #[case] row4: &str,
    #[case] row9: &str,
    #[case] of_first: Option<[u32; 3]>,
) {
    let tree = Tree::plain(1)
        .system("node/online", "0,4,9\n")
        .system("node/node4/cpulist", "\n")
        .system("node/node9/cpulist", "\n")
        .system("node/node0/distance", row0)
        .system("node/node4/distance", row4)
        .system("node/node9/distance", row9);
    let host = tree.read().unwrap();
    assert_eq!(host.warnings.is_empty(), of_first.is_some());
    let ids = [NodeId(0), NodeId(4), NodeId(9)];
    let expected = of_first.map(|row| ids.into_iter().zip(row).collect());
    assert_eq!(host.nodes[0].distances, expected.unwrap_or_default());
    if of_first.is_none() {
        assert!(host.nodes.iter().all(|node| node.distances.is_empty()));
    }
}

#[test]
fn a_bad_row_of_distances_is_told() {
    let tree = Tree::plain(1)
        .system("node/online", "0-1\n")
        .system("node/node1/cpulist", "\n")
        .system("node/node0/distance", "10\n");
    assert_eq!(
        tree.warnings(),
        [
            "sys/devices/system/node/node0/distance: \"10\" has 1 distances (expected 2, one for each online host node); \
             every distance counts as unknown"
        ]
    );
    let tree = tree.system("node/node0/distance", "10 20\n");
    assert_eq!(
        tree.warnings(),
        [
            "sys/devices/system/node/node1/distance: absent, though other host nodes have it; every distance counts as unknown"
        ]
    );
}

// 7. CPUs of no node.

#[test]
fn cpus_of_no_node_are_told() {
    let tree = Tree::plain(4).system("node/node0/cpulist", "0-1\n");
    let host = tree.read().unwrap();
    assert_eq!(host.cpu(CpuId(2)).unwrap().node, None);
    assert_eq!(
        tree.warnings(),
        ["cpu(s) 2-3 belong to no host node: only the mode shared can use them"]
    );
}

// 8. Nodes without CPUs or memory.

#[test]
fn nodes_without_cpus_or_memory_are_nodes() {
    let tree = Tree::plain(2)
        .system("node/online", "0,2,252\n")
        .system("node/node0/meminfo", "Node 0 MemTotal:       0 kB\n")
        .system("node/node2/cpulist", "\n")
        .system(
            "node/node2/meminfo",
            "Node 2 MemTotal:   130023424 kB\nNode 2 MemFree: 100 kB\n",
        )
        .system("node/node252/cpulist", "\n");
    let total = |n: &crate::host::Node| n.memory.as_ref().map(|m| m.total_kib);
    let host = tree.host();
    let totals: Vec<_> = host.nodes.iter().map(total).collect();
    assert_eq!(totals, [Some(0), Some(130_023_424), None]);
    assert_eq!(nodes(&tree), ["0: 0-1", "2: ", "252: "]);
}

// 9. Broken firmware, trailing NUL.

#[test]
fn overlapping_nodes_give_each_cpu_to_the_lowest() {
    let mut tree = Tree::plain(4).system("node/online", "0-7\n");
    for node in 0..8 {
        tree = tree.system(&format!("node/node{node}/cpulist"), "0-3\n");
    }
    let tree = tree.system("node/node0/cpulist", "0-1\n");
    let mut expected = vec!["0: 0-1".to_owned(), "1: 2-3".to_owned()];
    expected.extend((2..8).map(|node| format!("{node}: ")));
    assert_eq!(nodes(&tree), expected);
    let host = tree.read().unwrap();
    let of_cpu = of_cpus(&host, |cpu| cpu.node.unwrap().0);
    assert_eq!(of_cpu, [0, 0, 1, 1]);
    assert_eq!(
        tree.warnings(),
        [
            "cpu(s) 0-3 are listed by several host nodes: each is taken to belong to the lowest of them"
        ]
    );
}

#[test]
fn a_trailing_nul_is_passed_over() {
    let tree = Tree::plain(2)
        .system("cpu/online", "0-1\n\0")
        .system("node/online", "0\n\0")
        .system("node/node0/cpulist", "0-1\n\0")
        .system("node/node0/distance", "10\n\0")
        .cpu(0, "topology/physical_package_id", "3\n\0")
        .cpu(0, "cache/index3/level", "3\n\0");
    assert_eq!(packages(&tree), [Some(3); 2]);
    assert_eq!(l3s(&tree), [Some(0); 2]);
}

// 12. No nodes.

#[test]
fn without_nodes_there_is_node_0_with_all() {
    let tree = Tree::plain(2)
        .without("node")
        .file("proc/meminfo", "MemTotal: 280840 kB\nMemFree: 250460 kB\nBuffers: 3560 kB\nCached: 12532 kB\nShmem: 32 kB\nSReclaimable: 100 kB\n")
        .file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "3\n");
    assert_eq!(nodes(&tree), ["0: 0-1"]);
    let memory = tree.host().nodes[0].memory.clone().unwrap();
    assert_eq!(memory.total_kib, 280_840);
    assert_eq!(
        memory.available_kib,
        Some(250_460 + 3_560 + 12_532 - 32 + 100)
    );
    assert_eq!(memory.free_hugepages, [(2048, 3)].into());
    assert!(
        tree.host()
            .cpus
            .iter()
            .all(|cpu| cpu.node == Some(NodeId(0)))
    );
}
