//! What stands beside the CPUs: memory, control groups, PCI devices.

#![allow(clippy::unwrap_used)]

mod support;

use numapin_sysfs_sim::{
    Cgroup, CgroupMount, Entry, Host, Memory, Node, Numbering, Pages, Pci, Quirks,
};
use rstest::rstest;
use support::Files;

fn host() -> Host {
    Host::grid(1, 2, 1, 2, 2).numbered(Numbering::Blocked)
}

#[test]
fn memory_of_nodes_with_and_without_cpus() {
    let memory = Memory {
        total_kib: 16_383_996,
        free_kib: Some(4_000_000),
        file_kib: 2_000_000,
        shmem_kib: 9,
        reclaimable_kib: 123_456,
        pages_2m: Pages {
            total: 1024,
            free: 1000,
            surplus: 1,
        },
        pages_1g: Pages {
            total: 4,
            free: 3,
            surplus: 0,
        },
    };
    let nodes = vec![
        Node { id: 0, memory },
        Node {
            id: 1,
            memory: Memory::default(),
        },
        Node {
            id: 4,
            memory: Memory::of_mib(128 << 10),
        },
    ];
    let mut host = Host {
        nodes,
        distances: vec![vec![10, 21, 17], vec![21, 10, 28], vec![17, 28, 10]],
        ..host()
    };
    let files = Files::of_host(&host);
    assert_eq!(
        files.node("node0/meminfo"),
        Some(
            "Node 0 MemTotal:       16383996 kB\nNode 0 MemFree:         4000000 kB\n\
             Node 0 MemUsed:        12383996 kB\nNode 0 FilePages:       2000000 kB\n\
             Node 0 Shmem:                 9 kB\nNode 0 KReclaimable:     123456 kB\n\
             Node 0 HugePages_Total:  1024\nNode 0 HugePages_Free:   1000\n\
             Node 0 HugePages_Surp:      1\n"
        )
    );
    for (path, text) in [
        ("node0/hugepages/hugepages-2048kB/nr_hugepages", "1024\n"),
        ("node0/hugepages/hugepages-2048kB/free_hugepages", "1000\n"),
        ("node0/hugepages/hugepages-2048kB/surplus_hugepages", "1\n"),
        ("node0/hugepages/hugepages-1048576kB/nr_hugepages", "4\n"),
        ("node0/hugepages/hugepages-1048576kB/free_hugepages", "3\n"),
        // CPUs without memory, and memory without CPUs.
        ("node4/cpulist", "\n"),
        ("node4/cpumap", "00\n"),
        ("node4/distance", "17 28 10\n"),
        ("online", "0-1,4\n"),
        ("has_cpu", "0-1\n"),
        ("has_memory", "0,4\n"),
    ] {
        assert_eq!(files.node(path), Some(text), "{path}");
    }
    assert!(
        files
            .node("node1/meminfo")
            .unwrap()
            .starts_with("Node 1 MemTotal:              0 kB\n")
    );
    assert!(
        files
            .node("node4/meminfo")
            .unwrap()
            .contains("Node 4 MemFree:        134217728 kB\n")
    );
    assert_eq!(
        files.get("sys/fs/cgroup/cpuset.mems.effective"),
        Some("0,4\n")
    );
    host.quirks = Quirks {
        meminfo_blank_line: true,
        no_kreclaimable: true,
        ..Quirks::default()
    };
    let files = Files::of_host(&host);
    let old = files.node("node0/meminfo").unwrap();
    assert!(old.starts_with("\nNode 0 MemTotal:"));
    assert!(!old.contains("KReclaimable"));
}

#[test]
fn isolated_cpus_of_the_boot_line_and_of_a_partition() {
    let mut host = host();
    host.isolated = [2, 3, 6, 7].into();
    assert_eq!(Files::of_host(&host).cpu("isolated"), Some("2-3,6-7\n"));
    host.cgroup = Cgroup {
        isolated: Some([1].into()),
        ..Cgroup::default()
    };
    let files = Files::of_host(&host);
    assert_eq!(files.get("sys/fs/cgroup/cpuset.cpus.isolated"), Some("1\n"));
    assert_eq!(
        files.get("sys/fs/cgroup/cpuset.cpus.effective"),
        Some("0,2-7\n")
    );
}

#[rstest]
#[case(
    CgroupMount::V2,
    "sys/fs/cgroup/cpuset.cpus.effective",
    "sys/fs/cgroup/qemu.slice/cpuset.cpus.effective"
)]
#[case(
    CgroupMount::V1,
    "sys/fs/cgroup/cpuset/cpuset.effective_cpus",
    "sys/fs/cgroup/cpuset/qemu.slice/cpuset.effective_cpus"
)]
#[case(
    CgroupMount::DevCpuset,
    "dev/cpuset/cpus",
    "dev/cpuset/qemu.slice/cpus"
)]
fn what_control_groups_allow(#[case] mount: CgroupMount, #[case] root: &str, #[case] slice: &str) {
    let mut host = host();
    host.offline = [4].into();
    host.cgroup = Cgroup {
        mount,
        qemu_slice: Some([2, 3, 4].into()),
        of_self: Some("/a".to_owned()),
        isolated: None,
    };
    let files = Files::of_host(&host);
    assert_eq!(files.get(root), Some("0-3,5-7\n"));
    assert_eq!(
        files.get(slice),
        Some("2-3\n"),
        "what is offline is not in force"
    );
    let own = files.get("proc/self/cgroup").unwrap();
    assert!(
        own.ends_with("0::/a\n") || own.contains("cpuset:/a\n"),
        "{own}"
    );
    // A set of which nothing is left has what its parent has.
    host.cgroup.qemu_slice = Some([4].into());
    assert_eq!(Files::of_host(&host).get(slice), Some("0-3,5-7\n"));
    host.cgroup = Cgroup {
        mount: CgroupMount::None,
        ..Cgroup::default()
    };
    let files = Files::of_host(&host);
    assert_eq!(
        [
            files.get(root),
            files.get(slice),
            files.get("proc/self/cgroup")
        ],
        [None; 3]
    );
}

#[test]
fn pci_devices_behind_links() {
    let pci = |address: &str, bridge: Option<&str>, node| Pci {
        address: address.to_owned(),
        bridge: bridge.map(str::to_owned),
        node,
        ..Pci::default()
    };
    let mut host = host();
    host.offline = [2].into();
    host.pci = vec![
        pci("0000:41:00.0", Some("0000:40:01.1"), 1),
        pci("0000:00:1f.3", None, -1),
    ];
    let tree = host.tree().unwrap();
    let target = "../../../devices/pci0000:40/0000:40:01.1/0000:41:00.0".to_owned();
    assert_eq!(
        tree.get("sys/bus/pci/devices/0000:41:00.0"),
        Some(&Entry::Link(target))
    );
    let dir = support::tempdir();
    host.write_tree(dir.path()).unwrap();
    let read = |path: &str| {
        std::fs::read_to_string(dir.path().join("sys/bus/pci/devices").join(path)).unwrap()
    };
    assert_eq!(read("0000:41:00.0/numa_node"), "1\n");
    assert_eq!(read("0000:41:00.0/class"), "0x020000\n");
    assert_eq!(read("0000:41:00.0/local_cpulist"), "3,6-7\n");
    assert_eq!(read("0000:41:00.0/local_cpus"), "c8\n");
    assert_eq!(read("0000:00:1f.3/numa_node"), "-1\n");
    assert_eq!(read("0000:00:1f.3/local_cpulist"), "0-1,3-7\n");
}
