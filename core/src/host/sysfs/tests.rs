//! Each oddity of sysfs on a small machine that the test writes itself.

use rstest::rstest;

use crate::host::testing::{Tree, of_cpus};
use crate::id::{CpuId, NodeId};

fn nodes(tree: &Tree) -> Vec<String> {
    let host = tree.read().unwrap();
    let line = |n: &crate::host::Node| format!("{}: {}", n.id, n.cpus);
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
            "sys/devices/system/node/node0/distance: \"10\" has 1 distances (expected 2, one for each online node); \
             every distance counts as unknown"
        ]
    );
    let tree = tree.system("node/node0/distance", "10 20\n");
    assert_eq!(
        tree.warnings(),
        [
            "sys/devices/system/node/node1/distance: absent, though other nodes have it; every distance counts as unknown"
        ]
    );
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

// 12. No nodes; kinds. (11 is in cpuset.rs.)

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

// What can't be understood.

#[rstest]
#[case(
    "cpu/online",
    "0-x",
    "\"0-x\" is not a number or a range (expected a list like \"0-3,16-19\")"
)]
#[case("cpu/isolated", "3-1", "\"3-1\" runs backwards (expected \"1-3\")")]
#[case(
    "node/online",
    "node0",
    "\"node0\" is not a number or a range (expected a list like \"0-3,16-19\")"
)]
#[case(
    "node/node0/cpulist",
    "0;1",
    "\"0;1\" is not a number or a range (expected a list like \"0-3,16-19\")"
)]
#[case(
    "cpu/cpu0/topology/core_cpus_list",
    "0-99999999",
    "\"0-99999999\" is beyond the highest id that can be (1048575)"
)]
#[case(
    "cpu/cpu0/cache/index3/level",
    "L3",
    "\"L3\" is not a number (expected the level of a cache)"
)]
#[case(
    "cpu/cpu0/cache/index3/shared_cpu_list",
    "all",
    "\"all\" is not a number or a range (expected a list like \"0-3,16-19\")"
)]
fn what_says_where_a_cpu_is_must_be_understood(
    #[case] file: &str,
    #[case] text: &str,
    #[case] problem: &str,
) {
    let tree = Tree::plain(2).system(file, text);
    assert_eq!(
        tree.error(),
        format!("sys/devices/system/{file}: {problem}")
    );
}

#[rstest]
#[case("cpu/present", "?", "which cpus are offline")]
#[case("cpu/cpu0/topology/physical_package_id", "one", "physical_package_id")]
#[case("cpu/cpu0/topology/package_cpus_list", "one", "physical_package_id")]
#[case("cpu/cpu0/topology/die_id", "-7", "die_id")]
#[case("node/node0/meminfo", "Node 0 MemTotal: lots", "its memory")]
#[case(
    "node/node0/hugepages/hugepages-2048kB/free_hugepages",
    "-1",
    "the number of free huge pages"
)]
#[case("node/node0/distance", "near", "every distance")]
fn what_only_weighs_is_a_warning(#[case] file: &str, #[case] text: &str, #[case] unknown: &str) {
    let tree = Tree::plain(2).system(file, text);
    let warnings = tree.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with(&format!("sys/devices/system/{file}: ")),
        "{warnings:?}"
    );
    assert!(
        warnings[0].ends_with(&format!("; {unknown} counts as unknown")),
        "{warnings:?}"
    );
}

#[test]
fn a_directory_without_cpus_is_no_host() {
    let tree = Tree::new().file("sys/x", "");
    assert_eq!(
        tree.error(),
        "sys/devices/system/cpu: no online cpu found; expected the /sys of a Linux host (devices/system/cpu/online, or \
         directories cpu0, cpu1, ...)"
    );
}

#[test]
fn this_machine_reads() {
    use crate::root::Root;
    let root = Root::live();
    if !root.sys().join("devices/system/cpu/cpu0").exists() {
        eprintln!("passed over: this machine has no /sys with cpus");
        return;
    }
    let host = super::read(&root, super::Want::PLAN).unwrap();
    let online = host.online();
    // A thread can be allowed CPUs that are offline, but runs on at least one that is online.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let allowed: crate::idset::CpuSet = mask.unwrap().parse().unwrap();
    assert!(!allowed.is_disjoint(&online), "{allowed} of {online}");
    let threads = std::thread::available_parallelism().unwrap().get();
    assert!(threads <= online.len(), "{threads} of {online}");
    let in_nodes: usize = host.nodes.iter().map(|node| node.cpus.len()).sum();
    assert!(in_nodes <= online.len() && !host.nodes.is_empty());
    for cpu in &host.cpus {
        assert!(cpu.core.0 <= cpu.id.0 && online.contains(CpuId(cpu.core.0)));
    }
}
