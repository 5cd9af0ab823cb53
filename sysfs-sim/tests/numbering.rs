//! How a description's structure becomes CPU ids, and the files that tell of it.

#![allow(clippy::unwrap_used)]

mod support;

use numapin_sysfs_sim::{CoreGroup, Host, Kind, Numbering, Shape};
use rstest::rstest;
use support::{Files, from_list};

/// Node cpulists, and the siblings of cpu 0.
fn shown(host: &Host) -> (Vec<String>, String) {
    let files = Files::of_host(host);
    let nodes = files.reading().nodes;
    let lists = nodes
        .keys()
        .map(|id| files.node(&format!("node{id}/cpulist")).unwrap().to_owned());
    (
        lists.collect(),
        files
            .cpu("cpu0/topology/core_cpus_list")
            .unwrap()
            .to_owned(),
    )
}

#[rstest]
// Two packages with two nodes each, two cores a node, two threads.
#[case(Numbering::Adjacent, ["0-3\n", "4-7\n", "8-11\n", "12-15\n"], "0-1\n")]
#[case(Numbering::Blocked, ["0-1,8-9\n", "2-3,10-11\n", "4-5,12-13\n", "6-7,14-15\n"], "0,8\n")]
#[case(Numbering::BlockedByPackage, ["0-1,4-5\n", "2-3,6-7\n", "8-9,12-13\n", "10-11,14-15\n"], "0,4\n")]
#[case(Numbering::RoundRobinPackages, ["0,2,8,10\n", "4,6,12,14\n", "1,3,9,11\n", "5,7,13,15\n"], "0,8\n")]
#[case(Numbering::RoundRobinNodes, ["0,4,8,12\n", "1,5,9,13\n", "2,6,10,14\n", "3,7,11,15\n"], "0,8\n")]
fn each_numbering(#[case] numbering: Numbering, #[case] nodes: [&str; 4], #[case] core: &str) {
    let (lists, siblings) = shown(&Host::grid(2, 2, 1, 2, 2).numbered(numbering));
    assert_eq!(lists, nodes);
    assert_eq!(siblings, core);
}

#[rstest]
#[case(1, "0\n", "01\n")]
#[case(2, "0,4\n", "11\n")]
#[case(4, "0,4,8,12\n", "1111\n")]
#[case(8, "0,4,8,12,16,20,24,28\n", "11111111\n")]
fn smt_of_each_width(#[case] threads: u32, #[case] list: &str, #[case] mask: &str) {
    let files = Files::of_host(&Host::grid(1, 1, 1, 4, threads).numbered(Numbering::Blocked));
    assert_eq!(files.cpu("cpu0/topology/core_cpus_list"), Some(list));
    assert_eq!(files.cpu("cpu0/topology/thread_siblings_list"), Some(list));
    // Masks are as wide as the machine: 4, 8, 16 or 32 bits.
    let width = (threads as usize * 4).div_ceil(4);
    assert_eq!(
        files.cpu("cpu0/topology/core_cpus"),
        Some(&mask[mask.len() - width - 1..])
    );
    let active = if threads > 1 { "1\n" } else { "0\n" };
    assert_eq!(files.cpu("smt/active"), Some(active));
}

#[test]
fn explicit_ids_are_taken_core_by_core() {
    let mut host = Host::grid(1, 2, 1, 2, 2);
    host.cpu_ids = vec![0, 64, 1, 65, 32, 96, 33, 97];
    let (lists, siblings) = shown(&host);
    assert_eq!(lists, ["0-1,64-65\n", "32-33,96-97\n"]);
    assert_eq!(siblings, "0,64\n");
    let files = Files::of_host(&host);
    assert_eq!(files.cpu("present"), Some("0-1,32-33,64-65,96-97\n"));
    // 98 bits: the highest group has two of them, so one digit.
    assert_eq!(
        files.node("node0/cpumap"),
        Some("0,00000003,00000000,00000003\n")
    );
}

#[test]
fn node_ids_may_be_sparse_and_out_of_order() {
    let mut host = Host::grid(2, 2, 1, 1, 1);
    host.node_ids = vec![0, 2, 3, 252];
    let files = Files::of_host(&host);
    assert_eq!(files.node("online"), Some("0,2-3,252\n"));
    assert_eq!(files.node("node252/cpulist"), Some("3\n"));
    // Columns follow the ascending ids, not the ids.
    assert_eq!(files.node("node252/distance"), Some("32 32 12 10\n"));
    host.node_ids = vec![3, 0, 252, 2];
    let files = Files::of_host(&host);
    assert_eq!(files.node("node3/cpulist"), Some("0\n"));
    assert_eq!(files.node("node3/distance"), Some("12 32 10 32\n"));
}

#[test]
fn an_l3_may_cover_a_part_of_a_node_or_two_nodes_or_not_be_told() {
    let many = Files::of_host(&Host::grid(2, 1, 4, 2, 1));
    assert_eq!(many.reading().l3s.len(), 8);
    assert_eq!(many.cpu("cpu5/cache/index3/shared_cpu_list"), Some("4-5\n"));
    assert_eq!(many.cpu("cpu5/cache/index3/id"), Some("2\n"));
    assert_eq!(many.cpu("cpu5/cache/index3/level"), Some("3\n"));
    assert_eq!(many.cpu("cpu5/cache/index2/level"), Some("2\n"));
    assert_eq!(many.cpu("cpu5/cache/index1/type"), Some("Instruction\n"));

    let clustered = Shape {
        packages: 2,
        nodes: 2,
        nodes_of_an_l3: 2,
        cores: 2,
        ..Shape::default()
    };
    let over_two = Files::of_host(&Host {
        shape: Some(clustered),
        ..Host::default()
    });
    assert_eq!(
        over_two.cpu("cpu0/cache/index3/shared_cpu_list"),
        Some("0-3\n")
    );
    assert_eq!(over_two.node("node0/cpulist"), Some("0-1\n"));

    let none = Files::of_host(&Host::grid(1, 1, 0, 2, 1));
    assert_eq!(none.cpu("cpu0/cache/index3/level"), None);
    assert_eq!(none.cpu("cpu0/cache/index2/level"), Some("2\n"));

    let mut named = Host::grid(1, 1, 2, 1, 1);
    named.l3_ids = vec![17, 4];
    assert_eq!(
        Files::of_host(&named).cpu("cpu1/cache/index3/id"),
        Some("4\n")
    );
}

#[test]
fn dies_and_clusters_where_the_platform_tells_of_them() {
    let shape = Shape {
        packages: 2,
        dies: 2,
        nodes: 1,
        l3s: 2,
        cores: 4,
        cluster: 2,
        ..Shape::default()
    };
    let told = Files::of_host(&Host {
        shape: Some(shape.clone()),
        ..Host::default()
    });
    assert_eq!(told.cpu("cpu13/topology/die_id"), Some("1\n"));
    assert_eq!(told.cpu("cpu13/topology/die_cpus_list"), Some("12-15\n"));
    assert_eq!(told.cpu("cpu13/topology/cluster_id"), Some("6\n"));
    assert_eq!(
        told.cpu("cpu13/topology/cluster_cpus_list"),
        Some("12-13\n")
    );
    assert_eq!(told.cpu("cpu13/topology/package_cpus_list"), Some("8-15\n"));
    let shape = Shape {
        dies: 0,
        cluster: 0,
        ..shape
    };
    let silent = Files::of_host(&Host {
        shape: Some(shape),
        ..Host::default()
    });
    assert_eq!(silent.cpu("cpu13/topology/die_id"), Some("-1\n"));
    assert_eq!(silent.cpu("cpu13/topology/die_cpus_list"), Some("13\n"));
    assert_eq!(silent.cpu("cpu13/topology/cluster_id"), Some("-1\n"));
}

#[test]
fn package_and_core_ids_as_the_firmware_has_them() {
    let mut host = Host::grid(2, 1, 1, 2, 1);
    host.package_ids = vec![36, 8442];
    host.core_ids = vec![0, 4];
    let files = Files::of_host(&host);
    assert_eq!(
        files.cpu("cpu2/topology/physical_package_id"),
        Some("8442\n")
    );
    // Unique only within its package.
    assert_eq!(files.cpu("cpu1/topology/core_id"), Some("4\n"));
    assert_eq!(files.cpu("cpu3/topology/core_id"), Some("4\n"));
    assert_eq!(files.cpu("cpu3/topology/core_siblings_list"), Some("2-3\n"));
    // A kernel that knows no package shows the core in its place.
    host.package_ids = vec![-1, -1];
    let files = Files::of_host(&host);
    assert_eq!(files.cpu("cpu3/topology/physical_package_id"), Some("-1\n"));
    assert_eq!(files.cpu("cpu3/topology/core_siblings_list"), Some("3\n"));
}

#[test]
fn three_kinds_of_core() {
    let kind = |name: &str, capacity| Kind {
        name: name.to_owned(),
        pmu: true,
        capacity,
    };
    let group = |count, threads, kind: &str| CoreGroup {
        count,
        threads,
        cluster: if threads == 1 { 4 } else { 1 },
        l2: if threads == 1 { 4 } else { 1 },
        kind: Some(kind.to_owned()),
        ..CoreGroup::default()
    };
    let mut host = Host {
        kinds: vec![
            kind("core", Some(1024)),
            kind("atom", Some(768)),
            kind("lowpower", None),
        ],
        cores: vec![
            group(2, 2, "core"),
            group(4, 1, "atom"),
            group(2, 1, "lowpower"),
        ],
        ..Host::default()
    };
    host.offline = [5].into();
    let files = Files::of_host(&host);
    assert_eq!(files.get("sys/devices/cpu_core/cpus"), Some("0-3\n"));
    assert_eq!(files.get("sys/devices/cpu_atom/cpus"), Some("4,6-7\n"));
    assert_eq!(files.get("sys/devices/cpu_lowpower/cpus"), Some("8-9\n"));
    assert_eq!(files.cpu("cpu3/cpu_capacity"), Some("1024\n"));
    assert_eq!(files.cpu("cpu4/cpu_capacity"), Some("768\n"));
    assert_eq!(files.cpu("cpu8/cpu_capacity"), None);
    assert_eq!(
        files.cpu("cpu4/cache/index2/shared_cpu_list"),
        Some("4,6-7\n")
    );
    assert_eq!(files.cpu("cpu4/cache/index0/shared_cpu_list"), Some("4\n"));
    host.kinds.iter_mut().for_each(|kind| kind.pmu = false);
    assert_eq!(Files::of_host(&host).get("sys/devices/cpu_core/cpus"), None);
}

#[test]
fn a_host_of_8192_cpus_and_64_nodes() {
    let mut host = Host::grid(8, 8, 4, 16, 2).numbered(Numbering::Blocked);
    host.quirks.lists_only = true;
    host.quirks.l3_only = true;
    let files = Files::of_host(&host);
    assert_eq!(files.cpu("online"), Some("0-8191\n"));
    assert_eq!(files.cpu("kernel_max"), Some("8191\n"));
    assert_eq!(files.node("online"), Some("0-63\n"));
    assert_eq!(files.node("node63/cpulist"), Some("4032-4095,8128-8191\n"));
    assert_eq!(
        files.cpu("cpu8191/topology/core_cpus_list"),
        Some("4095,8191\n")
    );
    assert_eq!(
        from_list(files.cpu("cpu8191/cache/index3/shared_cpu_list").unwrap()).len(),
        32
    );
    assert_eq!(
        files
            .node("node0/distance")
            .map(|row| row.split(' ').count()),
        Some(64)
    );
}
