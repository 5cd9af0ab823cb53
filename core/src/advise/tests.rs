//! Guests on a host of four nodes, and what they are told.

use std::collections::BTreeMap;
use std::path::Path;

use rstest::rstest;

use super::*;
use crate::host::{Cpu, Node, NodeMemory};
use crate::id::{CoreId, CpuId, L3Id, NodeId, PackageId};

/// Four host nodes of 4 cores with 2 threads; node 0 has CPUs 0-3,16-19. Each has 16 GiB, of which 14 are available.
fn host() -> Host {
    let cpu = |id: u32| Cpu {
        id: CpuId(id),
        node: Some(NodeId(id % 16 / 4)),
        package: Some(PackageId(0)),
        die: None,
        core: CoreId(id % 16),
        l3: Some(L3Id(id % 16 / 2 * 2)),
        kind: None,
    };
    let node = |id: u32| Node {
        id: NodeId(id),
        cpus: (0..32)
            .filter(|cpu| cpu % 16 / 4 == id)
            .map(CpuId)
            .collect(),
        memory: Some(NodeMemory {
            total_kib: 16 << 20,
            available_kib: Some(14 << 20),
            free_hugepages: BTreeMap::from([(2048, 4096), (1 << 20, 8)]),
        }),
        distances: (0..4)
            .map(|to| (NodeId(to), if to == id { 10 } else { 16 }))
            .collect(),
    };
    Host {
        cpus: (0..32).map(cpu).collect(),
        nodes: (0..4).map(node).collect(),
        ..Host::default()
    }
}

fn with_policy(host: &Host, policy: &str, text: &str) -> Advice {
    let policy = policy
        .parse::<crate::policy::PolicyPatch>()
        .unwrap()
        .over(&Policy::default());
    let devices = text.lines().filter(|line| line.starts_with("hostpci"));
    let device = |line: &str| Device {
        address: "0000:01:00.0".to_owned(),
        // the bus says where it hangs
        node: line
            .split_once(": 0")
            .map(|(_, bus)| NodeId(bus[..1].parse().unwrap())),
    };
    let devices: Vec<Device> = devices.map(device).collect();
    let question = Question {
        host,
        claims: &Claims::default(),
        policy: &policy,
        file: Path::new("100.conf"),
        text,
        name: &GuestName("100".to_owned()),
        vmid: Some(Vmid(100)),
        devices: &devices,
        running: None,
    };
    advise(&question).unwrap()
}

fn told(text: &str) -> Advice {
    with_policy(&host(), "numa", text)
}

/// What is to be set and to be removed, line by line.
fn settings(advice: &Advice) -> Vec<String> {
    let Some(better) = &advice.better else {
        return Vec::new();
    };
    let gone = better.settings.delete.iter().map(|key| format!("-{key}"));
    better
        .settings
        .config_lines()
        .into_iter()
        .chain(gone)
        .collect()
}

fn kinds<T: serde::Serialize>(list: &[T]) -> Vec<String> {
    let kind = |item| {
        serde_json::to_value(item).unwrap()["kind"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    list.iter().map(kind).collect()
}

#[rstest]
#[case::one_node("cores: 4\nmemory: 4096\n", &["numa: 1", "numa0: cpus=0-3,hostnodes=0,memory=4096,policy=bind"])]
#[case::sockets_are_kept("sockets: 2\ncores: 2\nmemory: 4096\n",
    &["numa: 1", "numa0: cpus=0-3,hostnodes=0,memory=4096,policy=bind"])]
#[case::old_lines_go("cores: 4\nnuma: 0\nnuma0: cpus=0-1,memory=1\nnuma1: cpus=nonsense\n",
    &["numa: 1", "numa0: cpus=0-3,hostnodes=0,memory=512,policy=bind", "-numa1"])]
#[case::virtual_nodes("sockets: 2\ncores: 4\nnuma: 1\nmemory: 4097\n",
    &["numa0: cpus=0-3,hostnodes=0,memory=2049,policy=bind", "numa1: cpus=4-7,hostnodes=1,memory=2048,policy=bind"])]
#[case::lines_are_kept("cores: 8\nnuma: 1\nmemory: 4096\nnuma0: cpus=0-1;6-7,memory=1024\nnuma1: cpus=2-5,memory=3072\n",
    &["numa0: cpus=0-1;6-7,hostnodes=0,memory=1024,policy=bind", "numa1: cpus=2-5,hostnodes=1,memory=3072,policy=bind"])]
#[case::too_large_for_a_node("cores: 12\nmemory: 3072\n",
    &["sockets: 3", "cores: 4", "numa: 1", "numa0: cpus=0-3,hostnodes=0,memory=1024,policy=bind",
      "numa1: cpus=4-7,hostnodes=1,memory=1024,policy=bind", "numa2: cpus=8-11,hostnodes=2,memory=1024,policy=bind"])]
#[case::virtual_node_too_large("sockets: 2\ncores: 9\nmemory: 3072\nnuma: 1\n",
    &["sockets: 3", "cores: 6", "numa0: cpus=0-5,hostnodes=0,memory=1024,policy=bind",
      "numa1: cpus=6-11,hostnodes=1,memory=1024,policy=bind", "numa2: cpus=12-17,hostnodes=2,memory=1024,policy=bind"])]
#[case::too_little_free("cores: 4\nmemory: 15000\n",
    &["sockets: 2", "cores: 2", "numa: 1", "numa0: cpus=0-1,hostnodes=0,memory=7500,policy=bind",
      "numa1: cpus=2-3,hostnodes=1,memory=7500,policy=bind"])]
#[case::too_much_for_the_host("cores: 1\nmemory: 99999\n",
    &["numa: 1", "numa0: cpus=0,hostnodes=0,memory=99999,policy=preferred"])]
#[case::bound_too_full("cores: 1\nmemory: 99999\nnuma: 1\nnuma0: cpus=0,hostnodes=0,memory=99999,policy=bind\n",
    &["numa0: cpus=0,hostnodes=0,memory=99999,policy=preferred"])]
#[case::device("cores: 4\nnuma: 1\nnuma0: cpus=0-3,hostnodes=0,memory=512,policy=bind\nhostpci0: 03:00.0\n",
    &["numa0: cpus=0-3,hostnodes=3,memory=512,policy=bind"])]
#[case::huge_pages_follow_the_device("cores: 4\nnuma: 1\nhugepages: 2\nhostpci0: 02:00.0\n",
    &["numa0: cpus=0-3,hostnodes=2,memory=512,policy=bind"])]
#[case::huge_pages_need_numa("cores: 4\nmemory: 4096\nhugepages: 2\n", &["numa: 1"])]
#[case::whole_pages("sockets: 3\ncores: 1\nnuma: 1\nmemory: 4096\nhugepages: 1024\n",
    &["numa0: cpus=0,hostnodes=0,memory=2048,policy=bind", "numa1: cpus=1,hostnodes=1,memory=1024,policy=bind",
      "numa2: cpus=2,hostnodes=2,memory=1024,policy=bind"])]
#[case::memory_is_plugged("cores: 4\nhotplug: memory\n", &["numa: 1"])]
#[case::memory_is_plugged_beside_a_device("cores: 4\nnuma: 1\nhotplug: memory\nhostpci0: 01:00.0\n",
    &["affinity: 4-7,20-23"])]
#[case::affinity_of_absent_cpus("cores: 1\nnuma: 1\nnuma0: cpus=0,hostnodes=1,memory=512,policy=bind\naffinity: 4-5,40\n",
    &["affinity: 4-5"])]
#[case::affinity_too_narrow("cores: 2\nnuma: 1\nnuma0: cpus=0-1,hostnodes=1,memory=512,policy=bind\naffinity: 0-1,4\n",
    &["numa0: cpus=0-1,hostnodes=0,memory=512,policy=bind"])]
#[case::affinity_of_too_few("cores: 2\nnuma: 1\naffinity: 4\n",
    &["numa0: cpus=0-1,hostnodes=0,memory=512,policy=bind", "affinity: 0-4,16-19"])]
#[case::several_host_nodes("cores: 2\nnuma: 1\nnuma0: cpus=0-1,hostnodes=0-1,memory=512,policy=interleave\n",
    &["numa0: cpus=0-1,hostnodes=0,memory=512,policy=bind"])]
#[case::no_policy("cores: 2\nnuma: 1\nnuma0: cpus=0-1,hostnodes=0,memory=512\n",
    &["numa0: cpus=0-1,hostnodes=0,memory=512,policy=bind"])]
#[case::gap("cores: 2\nnuma: 1\nnuma1: cpus=0-1,hostnodes=0,memory=512,policy=bind\n",
    &["numa0: cpus=0-1,hostnodes=0,memory=512,policy=bind", "-numa1"])]
#[case::wrong_sum("cores: 2\nnuma: 1\nnuma0: cpus=0,hostnodes=0,memory=1,policy=bind\nnuma1: cpus=1,hostnodes=1,memory=2,policy=bind\n",
    &["numa0: cpus=0,hostnodes=0,memory=256,policy=bind", "numa1: cpus=1,hostnodes=1,memory=256,policy=bind"])]
fn what_is_better(#[case] text: &str, #[case] lines: &[&str]) {
    let advice = told(text);
    assert_eq!(settings(&advice), lines, "{advice:#?}");
    let better = advice.better.unwrap();
    assert!(told(&better.text).better.is_none(), "{}", better.text);
}

#[rstest]
#[case::bound("cores: 4\nnuma: 1\nnuma0: cpus=0-3,hostnodes=0,memory=512,policy=bind\n")]
#[case::huge_pages_where_they_are_reserved("sockets: 2\ncores: 4\nnuma: 1\nhugepages: 2\n")]
#[case::plugged_memory("cores: 4\nnuma: 1\nhotplug: memory\n")]
// cores run out, but a guest on one host node is not taken apart for that
#[case::more_vcpus_than_cores(
    "cores: 8\nnuma: 1\nnuma0: cpus=0-7,hostnodes=0,memory=512,policy=bind\n"
)]
// nor for a device
#[case::device_elsewhere(
    "cores: 1\nnuma: 1\nhugepages: 1024\nhotplug: memory\nhostpci0: 01:00.0\n"
)]
fn what_is_right_is_told_so(#[case] text: &str) {
    let advice = told(text);
    assert!(advice.is_right(), "{advice:#?}");
}

#[test]
fn one_to_one_spreads_over_sockets_instead_of_spanning() {
    let advice = with_policy(&host(), "one-to-one", "cores: 8\nmemory: 4096\n");
    let better = advice.better.as_ref().unwrap();
    assert_eq!(
        settings(&advice)[..3],
        ["sockets: 2", "cores: 4", "numa: 1"].map(str::to_owned)
    );
    assert_eq!(kinds(&better.reasons), ["shape", "numa", "ties"]);
    assert_eq!(kinds(&better.ends), ["spanning", "unbound_memory"]);
    let changes: Vec<String> = better
        .changes
        .iter()
        .map(|c| format!("{} {} {}", c.item, c.before, c.after))
        .collect();
    assert_eq!(changes[0], "spanned 1 0");
    assert!(
        better.reasons[0].to_string().ends_with(
            "the guest sees 2 socket(s) instead of 1, which systems licensed by the socket (Windows) count"
        ),
        "{}",
        better.reasons[0]
    );
}

#[test]
fn memory_on_hosts_of_zfs_is_preferred_and_stays_so() {
    let mut zfs = host();
    zfs.zfs = true;
    let advice = with_policy(&zfs, "numa", "cores: 4\n");
    let line = "numa0: cpus=0-3,hostnodes=0,memory=512,policy=preferred";
    assert_eq!(settings(&advice), ["numa: 1", line]);
    let bound = format!("cores: 4\nnuma: 1\n{}\n", line.replace("preferred", "bind"));
    assert!(with_policy(&zfs, "numa", &bound).is_right());
}

#[test]
fn host_nodes_without_memory_are_not_named() {
    let mut host = host();
    host.nodes[0].memory.as_mut().unwrap().total_kib = 0;
    host.nodes[0].memory.as_mut().unwrap().available_kib = None;
    host.zfs = true;
    let advice = with_policy(&host, "numa", "cores: 4\n");
    assert!(advice.better.is_none());
    assert_eq!(kinds(&advice.remarks), ["untied"]);
}

#[rstest]
#[case("cores: 40\n", "numa", false)]
#[case("cores: 2\naffinity: 0\nargs: -smp 2\n", "numa", false)]
#[case("cores: 2\nmemory: 1025\nhugepages: 1024\nnuma: 1\n", "numa", true)]
#[case("sockets: 99999\ncores: 99999\n", "numa", false)]
fn what_no_setting_mends(#[case] text: &str, #[case] policy: &str, #[case] fits: bool) {
    let advice = with_policy(&host(), policy, text);
    assert!(advice.better.is_none(), "{advice:#?}");
    assert_eq!(matches!(advice.before, Some(Ok(_))), fits);
    assert!(!advice.is_right());
}

#[rstest]
#[case("cores: 2\nvcpus: 1\nhotplug: cpu\n", &["unplugged"])]
#[case("cores: 2\nvcpus: 1\n", &["not_pluggable"])]
#[case("cores: 2\nlock: backup\n", &["locked"])]
#[case("cores: 2\nargs: -numa node\n", &["args"])]
#[case("cores: 2\nhotplug: memory\n", &["memory_hotplug"])]
#[case("cores: 2\nmemory: 1025\nhugepages: any\n", &["no_start", "pages"])]
#[case("cores: 8\nhostpci0: 09:00.0\n", &["device_unreachable"])]
fn what_is_worth_knowing(#[case] text: &str, #[case] remarks: &[&str]) {
    let advice = told(&format!("numa: 0\n{text}"));
    let mut found = kinds(&advice.remarks);
    found.retain(|kind| kind != "this_host");
    assert_eq!(found, remarks, "{advice:#?}");
}

#[test]
fn balloons_and_kept_pages_are_told_beside_what_they_meet() {
    let text = "cores: 1\nmemory: 1024\nnuma: 1\nhugepages: 2\nkeephugepages: 1\nballoon: 512\nhostpci0: 01:00.0\n";
    assert_eq!(
        kinds(&told(text).remarks),
        ["this_host", "balloon", "kept_pages"]
    );
}

#[test]
fn a_device_that_would_cost_more_is_told_with_its_price() {
    let mut host = host();
    host.reserved = "4-7,20-21".parse().unwrap();
    let text = "cores: 2\nnuma: 1\nnuma0: cpus=0-1,hostnodes=0,memory=512,policy=bind\nhostpci0: 01:00.0\n";
    let advice = with_policy(&host, "one-to-one", text);
    assert!(advice.better.is_none(), "{advice:#?}");
    assert_eq!(
        advice.remarks[0].to_string(),
        "device 0000:01:00.0 hangs on host node 1, where the guest would cost more: half_cores 0 -> 2"
    );
}

#[test]
fn without_a_policy_numa_is_assumed_and_said() {
    let advice = with_policy(&host(), "none", "cores: 4\n");
    assert!(advice.assumed && advice.better.is_some());
    assert_eq!(kinds(&advice.remarks), ["no_policy", "this_host"]);
    let advice = with_policy(&host(), "shared", "cores: 4\naffinity: 0,90\n");
    assert_eq!(settings(&advice), ["affinity: 0"]);
    assert_eq!(kinds(&advice.remarks), ["shared"]);
}

#[test]
fn templates_are_left_alone() {
    let advice = told("cores: 4\ntemplate: 1\n");
    assert!(advice.template && advice.better.is_none() && !advice.is_right());
}

/// Advice for a guest that runs, and has its memory on a host node where nothing else is free.
fn running(host: &Host, node: u32, mib: u64, text: &str) -> Advice {
    let running = Running {
        memory_mib: BTreeMap::from([(NodeId(node), mib)]),
    };
    let question = Question {
        host,
        claims: &Claims::default(),
        policy: &"numa"
            .parse::<crate::policy::PolicyPatch>()
            .unwrap()
            .over(&Policy::default()),
        file: Path::new("100.conf"),
        text,
        name: &GuestName("100".to_owned()),
        vmid: None,
        devices: &[],
        running: Some(&running),
    };
    advise(&question).unwrap()
}

#[test]
fn a_guest_that_runs_finds_its_own_memory_free_again() {
    let mut full = host();
    for node in &mut full.nodes {
        node.memory.as_mut().unwrap().available_kib = Some(0);
    }
    let advice = running(&full, 2, 600, "cores: 4\n");
    let line = "numa0: cpus=0-3,hostnodes=2,memory=512,policy=bind";
    assert_eq!(settings(&advice), ["numa: 1", line]);
    assert_eq!(kinds(&advice.remarks), ["at_next_start", "this_host"]);
}

#[rstest]
#[case::small("any", 1026)]
#[case::large("any", 2048)]
#[case::said("2", 1026)]
fn a_guest_that_runs_finds_its_own_huge_pages_free_again(
    #[case] hugepages: &str,
    #[case] memory_mib: u64,
) {
    let mut full = host();
    for node in &mut full.nodes {
        let free = &mut node.memory.as_mut().unwrap().free_hugepages;
        free.values_mut().for_each(|pages| *pages = 0);
    }
    let text = format!("cores: 4\nnuma: 1\nmemory: {memory_mib}\nhugepages: {hugepages}\n");
    let advice = running(&full, 2, memory_mib, &text);
    let line = format!("numa0: cpus=0-3,hostnodes=2,memory={memory_mib},policy=bind");
    assert_eq!(settings(&advice), [line.as_str()]);
}

#[test]
fn huge_pages_of_both_sizes_are_not_guessed() {
    let mut full = host();
    for node in &mut full.nodes {
        let free = &mut node.memory.as_mut().unwrap().free_hugepages;
        free.values_mut().for_each(|pages| *pages = 0);
    }
    let text = "sockets: 2\ncores: 2\nnuma: 1\nmemory: 3074\nhugepages: any\n\
                numa0: cpus=0-1,memory=2048\nnuma1: cpus=2-3,memory=1026\n";
    let with = super::next_start(
        &full,
        &crate::guest::pve::parse(
            Path::new("100.conf"),
            text,
            crate::guest::pve::Pending::Merge,
        )
        .unwrap()
        .config,
        &Running {
            memory_mib: BTreeMap::from([(NodeId(2), 3074)]),
        },
    );
    assert_eq!(with, full);
}
