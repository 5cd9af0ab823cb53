//! Every switch of a description, by the files it writes.

#![allow(clippy::unwrap_used)]

mod support;

use numapin_sysfs_sim::{Entry, Host, Numbering, OnlineFiles, Quirks};
use rstest::rstest;
use support::Files;

fn host() -> Host {
    Host::grid(1, 2, 1, 2, 2).numbered(Numbering::Blocked)
}

fn with(quirks: Quirks) -> Files {
    Files::of_host(&Host { quirks, ..host() })
}

#[test]
fn a_current_kernel() {
    let files = Files::of_host(&host());
    for (path, text) in [
        ("online", "0-7\n"),
        ("possible", "0-7\n"),
        ("present", "0-7\n"),
        ("offline", "\n"),
        ("isolated", "\n"),
        ("kernel_max", "8191\n"),
        ("cpu1/online", "1\n"),
        ("cpu1/topology/physical_package_id", "0\n"),
        ("cpu1/topology/core_id", "1\n"),
        ("cpu1/topology/core_cpus", "22\n"),
        ("cpu1/topology/core_cpus_list", "1,5\n"),
        ("cpu1/topology/thread_siblings", "22\n"),
        ("cpu1/topology/package_cpus", "ff\n"),
        ("cpu1/topology/core_siblings_list", "0-7\n"),
        ("cpu1/topology/die_cpus_list", "0-7\n"),
        ("cpu1/topology/cluster_cpus_list", "1,5\n"),
        ("cpu1/cache/index3/shared_cpu_map", "33\n"),
        ("cpu1/cache/index3/shared_cpu_list", "0-1,4-5\n"),
    ] {
        assert_eq!(files.cpu(path), Some(text), "{path}");
    }
    for (path, text) in [
        ("online", "0-1\n"),
        ("possible", "0-1\n"),
        ("has_cpu", "0-1\n"),
        ("has_memory", "0-1\n"),
        ("node1/cpulist", "2-3,6-7\n"),
        ("node1/cpumap", "cc\n"),
        ("node1/distance", "12 10\n"),
        ("node1/hugepages/hugepages-2048kB/nr_hugepages", "0\n"),
    ] {
        assert_eq!(files.node(path), Some(text), "{path}");
    }
    assert_eq!(
        files.cpu("cpu0/online"),
        None,
        "the boot cpu can't go offline"
    );
    let tree = host().tree().unwrap();
    let link = |path: &str| tree.get(&format!("sys/devices/system/{path}")).cloned();
    assert_eq!(
        link("cpu/cpu6/node1"),
        Some(Entry::Link("../../node/node1".to_owned()))
    );
    assert_eq!(
        link("node/node1/cpu6"),
        Some(Entry::Link("../../cpu/cpu6".to_owned()))
    );
}

#[rstest]
#[case::cpu_lists(Quirks { no_cpu_lists: true, ..Quirks::default() }, &["cpu/online", "cpu/possible", "cpu/present", "cpu/offline"], "cpu/cpu1/online")]
#[case::node_lists(Quirks { no_node_lists: true, ..Quirks::default() }, &["node/online", "node/possible", "node/has_cpu"], "node/node0/cpulist")]
#[case::cpulist(Quirks { no_node_cpulist: true, ..Quirks::default() }, &["node/node0/cpulist"], "node/node0/cpumap")]
#[case::distance(Quirks { no_distance: true, ..Quirks::default() }, &["node/node0/distance"], "node/node0/meminfo")]
#[case::meminfo(Quirks { no_meminfo: true, ..Quirks::default() }, &["node/node0/meminfo"], "node/node0/distance")]
#[case::hugepages(Quirks { no_hugepages: true, ..Quirks::default() }, &["node/node0/hugepages/hugepages-2048kB/nr_hugepages"], "node/node0/distance")]
#[case::core_cpus(
    Quirks { no_core_cpus: true, ..Quirks::default() },
    &["cpu/cpu1/topology/core_cpus", "cpu/cpu1/topology/core_cpus_list", "cpu/cpu1/topology/package_cpus_list", "cpu/cpu1/topology/die_cpus_list"],
    "cpu/cpu1/topology/thread_siblings_list"
)]
#[case::die(Quirks { no_die: true, ..Quirks::default() }, &["cpu/cpu1/topology/die_id", "cpu/cpu1/topology/die_cpus"], "cpu/cpu1/topology/core_id")]
#[case::cluster(Quirks { no_cluster: true, ..Quirks::default() }, &["cpu/cpu1/topology/cluster_id"], "cpu/cpu1/topology/core_id")]
#[case::cache_id(Quirks { no_cache_id: true, ..Quirks::default() }, &["cpu/cpu1/cache/index3/id"], "cpu/cpu1/cache/index3/level")]
#[case::cache(Quirks { no_cache: true, ..Quirks::default() }, &["cpu/cpu1/cache/index3/level", "cpu/cpu1/cache/index0/level"], "cpu/cpu1/online")]
#[case::l3_only(Quirks { l3_only: true, ..Quirks::default() }, &["cpu/cpu1/cache/index0/level", "cpu/cpu1/cache/index2/level"], "cpu/cpu1/cache/index3/level")]
fn what_is_left_out(#[case] quirks: Quirks, #[case] gone: &[&str], #[case] stays: &str) {
    let (plain, quirky) = (Files::of_host(&host()), with(quirks));
    for path in gone {
        let path = format!("sys/devices/system/{path}");
        assert!(
            plain.get(&path).is_some(),
            "{path} is there without the switch"
        );
        assert_eq!(quirky.get(&path), None, "{path}");
    }
    assert!(
        quirky.get(&format!("sys/devices/system/{stays}")).is_some(),
        "{stays}"
    );
}

#[test]
fn masks_only_and_lists_only() {
    let masks = with(Quirks {
        masks_only: true,
        ..Quirks::default()
    });
    let in_topology = |files: &Files, wanted: fn(&str) -> bool| {
        let mut paths = files.0.keys().filter(|p| {
            p.contains("/topology/") || p.contains("/cache/") || p.contains("/node/node")
        });
        paths.any(|path| wanted(path))
    };
    assert!(!in_topology(&masks, |path| path.ends_with("list")));
    assert_eq!(masks.cpu("cpu1/topology/thread_siblings"), Some("22\n"));
    assert_eq!(masks.cpu("cpu1/cache/index3/shared_cpu_map"), Some("33\n"));
    assert_eq!(masks.node("node0/cpumap"), Some("33\n"));
    let lists = with(Quirks {
        lists_only: true,
        ..Quirks::default()
    });
    assert!(!in_topology(&lists, |path| path.ends_with("map")
        || path.ends_with("_cpus")
        || path.ends_with("_siblings")));
    assert_eq!(lists.node("node0/cpulist"), Some("0-1,4-5\n"));
}

#[rstest]
#[case(OnlineFiles::ButBoot, [None, Some("1\n"), Some("0\n")])]
#[case(OnlineFiles::All, [Some("1\n"), Some("1\n"), Some("0\n")])]
#[case(OnlineFiles::Offline, [None, None, Some("0\n")])]
#[case(OnlineFiles::None, [None, None, None])]
fn which_cpus_have_an_online_file(
    #[case] online_files: OnlineFiles,
    #[case] texts: [Option<&str>; 3],
) {
    let mut host = host();
    host.offline = [2].into();
    host.quirks.online_files = online_files;
    let files = Files::of_host(&host);
    assert_eq!(
        [0, 1, 2].map(|cpu| files.cpu(&format!("cpu{cpu}/online"))),
        texts
    );
}

#[test]
fn an_offline_cpu_keeps_its_links_and_nothing_else() {
    let mut host = host();
    host.offline = [3, 7].into();
    let files = Files::of_host(&host);
    assert_eq!(files.cpu("online"), Some("0-2,4-6\n"));
    assert_eq!(files.cpu("offline"), Some("3,7\n"));
    assert_eq!(files.cpu("present"), Some("0-7\n"));
    assert_eq!(files.node("node1/cpulist"), Some("2,6\n"));
    assert_eq!(files.node("node1/cpumap"), Some("44\n"));
    assert_eq!(
        files.cpu("cpu2/topology/package_cpus_list"),
        Some("0-2,4-6\n")
    );
    assert_eq!(
        files.cpu("cpu2/cache/index3/shared_cpu_list"),
        Some("2,6\n")
    );
    assert_eq!(
        files.get("sys/fs/cgroup/cpuset.cpus.effective"),
        Some("0-2,4-6\n")
    );
    let tree = host.tree().unwrap();
    let of_cpu: Vec<&String> = tree
        .keys()
        .filter(|path| path.contains("cpu/cpu3/"))
        .collect();
    assert_eq!(
        of_cpu,
        [
            "sys/devices/system/cpu/cpu3/node1",
            "sys/devices/system/cpu/cpu3/online"
        ]
    );
    assert!(tree.contains_key("sys/devices/system/node/node1/cpu3"));

    // Old kernels go on listing it in its node.
    host.quirks.node_keeps_offline = true;
    let files = Files::of_host(&host);
    assert_eq!(files.node("node1/cpulist"), Some("2-3,6-7\n"));
    assert_eq!(files.node("node1/cpumap"), Some("cc\n"));

    // A node without a CPU online stays, and leaves has_cpu.
    host.quirks.node_keeps_offline = false;
    host.offline = [2, 3, 6, 7].into();
    let files = Files::of_host(&host);
    assert_eq!(files.node("node1/cpulist"), Some("\n"));
    assert_eq!(files.node("node1/cpumap"), Some("00\n"));
    assert_eq!(files.node("online"), Some("0-1\n"));
    assert_eq!(files.node("has_cpu"), Some("0\n"));
}

#[test]
fn a_cpu_without_any_file_is_still_a_directory() {
    let mut host = host();
    host.offline = [7].into();
    host.quirks = Quirks {
        online_files: OnlineFiles::None,
        no_cpu_node_links: true,
        ..Quirks::default()
    };
    let tree = host.tree().unwrap();
    assert_eq!(tree.get("sys/devices/system/cpu/cpu7"), Some(&Entry::Dir));
    assert_eq!(
        tree.get("sys/devices/system/cpu/cpu6"),
        None,
        "it has files"
    );
    assert!(!tree.keys().any(|path| path.contains("cpu6/node")));
}

#[test]
fn masks_as_wide_as_asked_for_and_a_nul_behind_them() {
    let files = with(Quirks {
        mask_bits: Some(2048),
        ..Quirks::default()
    });
    let mask = files.node("node0/cpumap").unwrap();
    assert_eq!(mask, format!("{}00000033\n", "00000000,".repeat(63)));
    let files = with(Quirks {
        trailing_nul: true,
        ..Quirks::default()
    });
    assert_eq!(files.node("node0/cpulist"), Some("0-1,4-5\n\0"));
    assert_eq!(files.cpu("cpu1/topology/core_cpus"), Some("22\n\0"));
    assert_eq!(
        files.cpu("cpu1/cache/index3/shared_cpu_list"),
        Some("0-1,4-5\n")
    );
    assert_eq!(files.cpu("online"), Some("0-7\n"));
}

#[test]
fn nodes_that_firmware_gets_wrong() {
    let overlapping = with(Quirks {
        overlapping_nodes: true,
        ..Quirks::default()
    });
    assert_eq!(overlapping.node("node0/cpulist"), Some("0-7\n"));
    assert_eq!(overlapping.node("node1/cpulist"), Some("0-7\n"));
    let homeless = with(Quirks {
        homeless: [2].into(),
        ..Quirks::default()
    });
    assert_eq!(homeless.node("node1/cpulist"), Some("3,6-7\n"));
    assert_eq!(homeless.cpu("online"), Some("0-7\n"));
    let columns = with(Quirks {
        extra_distance_columns: 2,
        ..Quirks::default()
    });
    assert_eq!(columns.node("node0/distance"), Some("10 12 32 32\n"));
    let quirks = Quirks {
        possible_nodes: [5].into(),
        possible_cpus: [40].into(),
        ..Quirks::default()
    };
    let possible = with(quirks);
    assert_eq!(possible.node("possible"), Some("0-1,5\n"));
    assert_eq!(possible.cpu("possible"), Some("0-7,40\n"));
    assert_eq!(possible.cpu("offline"), Some("40\n"));
    assert_eq!(
        possible.node("node0/cpumap"),
        Some("000,00000033\n"),
        "41 bits"
    );
    let none = Host {
        quirks: Quirks {
            no_node_dir: true,
            ..Quirks::default()
        },
        ..host()
    };
    assert!(
        !none
            .tree()
            .unwrap()
            .keys()
            .any(|path| path.contains("node"))
    );
}
