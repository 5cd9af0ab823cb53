//! `numapin topology`: the host as text and as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;

use numapin_sysfs_sim::{Host, Numbering, topologies};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{
    Lab, at, captured_hosts, directory, few_files, numapin, numapin_in, raw_command, same_as_file,
};

/// Ids of a list as the kernel prints it, without the program's own reading of such lists.
fn ids(list: &Value) -> BTreeSet<u64> {
    let list = list.as_str().expect("a list is a string");
    let parts = list.split(',').filter(|part| !part.is_empty());
    parts
        .flat_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.parse::<u64>().expect("a number");
            number(first)..=number(last)
        })
        .collect()
}

fn json_of(lab: &Lab) -> Value {
    lab.run(&["topology", "--format", "json"]).quiet(0).json()
}

#[test]
fn no_table_stands_there_without_rows() {
    let mut host = Host::grid(1, 2, 1, 2, 2);
    host.quirks.no_cache = true;
    let text = Lab::of(&host).run(&["topology"]).quiet(0).out;
    assert!(!text.contains("L3 of cpu"), "{text}");
    let nodes = text
        .lines()
        .find(|line| line.starts_with("0          0        "));
    assert!(nodes.is_some_and(|line| line.contains("  -  ")), "{text}");
}

/// What the schema says of keys and their types; ids named twice over must agree.
fn holds_the_schema(topology: &Value) {
    assert_eq!(at(topology, "/schema"), 1);
    for key in ["/online", "/isolated", "/offline", "/reserved"] {
        ids(at(topology, key));
    }
    assert!(at(topology, "/warnings").is_array());
    let online = ids(at(topology, "/online"));
    let nodes = at(topology, "/nodes").as_array().expect("a list of nodes");
    let numbers: Vec<_> = nodes
        .iter()
        .map(|node| at(node, "/node").as_u64())
        .collect();
    assert!(numbers.iter().all(Option::is_some) && numbers.is_sorted());
    let mut of_node = BTreeMap::new();
    for node in nodes {
        for cpu in ids(at(node, "/cpus")) {
            of_node.insert(cpu, at(node, "/node").clone());
        }
        let memory = at(node, "/memory_kib");
        assert!(memory.is_null() || memory.is_u64(), "{node}");
        let distances = at(node, "/distances").as_object().expect("a map");
        for (to, distance) in distances {
            assert!(numbers.contains(&to.parse().ok()), "{node}");
            assert!(distance.is_u64(), "{node}");
        }
    }
    let cpus = at(topology, "/cpus").as_array().expect("a list of CPUs");
    let listed: Vec<u64> = cpus
        .iter()
        .filter_map(|cpu| at(cpu, "/cpu").as_u64())
        .collect();
    assert_eq!(listed, online.iter().copied().collect::<Vec<_>>());
    let by_id: BTreeMap<u64, &Value> = listed.iter().copied().zip(cpus).collect();
    for cpu in cpus {
        let number = at(cpu, "/cpu").as_u64().expect("a number");
        assert_eq!(
            at(cpu, "/node"),
            of_node.get(&number).unwrap_or(&Value::Null)
        );
        for key in ["/package", "/die", "/l3", "/kind"] {
            let value = at(cpu, key);
            assert!(value.is_null() || value.is_i64(), "{key} of {cpu}");
        }
        // A group is named after its lowest online CPU.
        for key in ["/core", "/l3"] {
            let Some(group) = at(cpu, key).as_u64() else {
                assert_ne!(key, "/core", "{cpu}");
                continue;
            };
            assert!(group <= number && online.contains(&group), "{key} of {cpu}");
            let first = by_id[&group];
            assert_eq!(at(first, key), group, "{first}");
        }
    }
}

#[test]
fn the_host_of_the_rfc_is_told_to_the_last_value() {
    let topology = json_of(&Lab::rfc());
    assert_eq!(at(&topology, "/online"), "0-31");
    let nodes: Vec<Value> = ["0-3,16-19", "4-7,20-23", "8-11,24-27", "12-15,28-31"]
        .iter()
        .enumerate()
        .map(|(node, cpus)| {
            let distances: BTreeMap<String, u32> = (0..4)
                .map(|to| (to.to_string(), if to == node { 10 } else { 16 }))
                .collect();
            json!({"node": node, "cpus": cpus, "memory_kib": 16_384_000, "distances": distances})
        })
        .collect();
    assert_eq!(at(&topology, "/nodes"), &Value::Array(nodes));
    let cpus: Vec<Value> = (0..32)
        .map(|cpu| {
            let core = cpu % 16;
            json!({"cpu": cpu, "node": core / 4, "package": 0, "die": core / 4, "core": core, "l3": core / 2 * 2,
                   "kind": null})
        })
        .collect();
    assert_eq!(at(&topology, "/cpus"), &Value::Array(cpus));
    assert_eq!(at(&topology, "/isolated"), "");
    assert_eq!(at(&topology, "/warnings"), &json!([]));
}

#[test]
fn offline_isolated_and_hybrid_show() {
    let mut host = Host::grid(1, 2, 1, 2, 2).numbered(Numbering::Adjacent);
    host.offline = [0, 5].into();
    host.isolated = [6, 7].into();
    let topology = json_of(&Lab::of(&host));
    assert_eq!(at(&topology, "/online"), "1-4,6-7");
    assert_eq!(at(&topology, "/offline"), "0,5");
    assert_eq!(at(&topology, "/isolated"), "6-7");
    assert_eq!(at(&topology, "/nodes/0/cpus"), "1-3");
    // CPU 1 is all that is left of its core, and the lowest of its L3.
    assert_eq!(at(&topology, "/cpus/0/core"), 1);
    assert_eq!(at(&topology, "/cpus/0/l3"), 1);

    let topology = json_of(&Lab::named("hybrid-i7-1370p"));
    let kinds: Vec<_> = at(&topology, "/cpus")
        .as_array()
        .expect("a list of CPUs")
        .iter()
        .map(|cpu| at(cpu, "/kind").as_u64())
        .collect();
    let fast = kinds.iter().filter(|kind| **kind == Some(0)).count();
    assert_eq!((fast, kinds.len()), (12, 20), "{kinds:?}");
}

#[test]
fn every_topology_holds_the_schema() {
    let expected = [
        ("epyc7351p", 32, 4),
        ("epyc7351p-nosmt", 16, 4),
        ("epyc7451-2s", 96, 8),
        ("epyc7713-2s-nps1", 256, 2),
        ("epyc7713-2s-nps4", 256, 8),
        ("hybrid-i7-1370p", 20, 1),
        ("kunpeng920-2s", 128, 4),
        ("xeon6130-2s-nosmt", 32, 2),
        ("xeon6230-2s", 80, 2),
        ("xeon6230-2s-snc2", 80, 4),
    ];
    for (name, cpus, nodes) in expected {
        let topology = json_of(&Lab::named(name));
        holds_the_schema(&topology);
        let count = |key| at(&topology, key).as_array().map_or(0, Vec::len);
        assert_eq!((count("/cpus"), count("/nodes")), (cpus, nodes), "{name}");
    }
    let named: BTreeSet<_> = expected.iter().map(|(name, _, _)| *name).collect();
    for name in topologies::names().filter(|name| !named.contains(name)) {
        holds_the_schema(&json_of(&Lab::named(name)));
    }
}

#[test]
fn captured_hosts_read_as_others_read_them() {
    let hosts = captured_hosts();
    for (dir, oracle) in &hosts {
        let text = fs::read_to_string(oracle).expect("its reading");
        let expected: Value = serde_json::from_str(&text).expect("JSON");
        let root = dir.path().to_str().expect("UTF-8");
        let args = ["topology", "--format", "json", "--sysfs-root", root];
        let topology = numapin(args).quiet(0).json();
        holds_the_schema(&topology);
        same(&topology, &expected, &oracle.to_string_lossy());
    }
}

/// What a captured host's expected reading says, field by field.
fn same(topology: &Value, expected: &Value, name: &str) {
    let online: BTreeSet<u64> = at(expected, "/online")
        .as_array()
        .expect("a list of CPUs")
        .iter()
        .filter_map(Value::as_u64)
        .collect();
    assert_eq!(ids(at(topology, "/online")), online, "{name}");
    let cpus = at(topology, "/cpus").as_array().expect("a list of CPUs");
    let wanted = at(expected, "/cpus").as_array().expect("a list of CPUs");
    assert_eq!(cpus.len(), wanted.len(), "{name}");
    for (cpu, wanted) in cpus.iter().zip(wanted) {
        for key in ["cpu", "core", "l3", "package"] {
            if let Some(value) = wanted.get(key) {
                // -1 is a kernel that knows no packages.
                let value = if value == -1 { &Value::Null } else { value };
                assert_eq!(&cpu[key], value, "{key} of cpu {} of {name}", cpu["cpu"]);
            }
        }
        let node = wanted.get("node").filter(|node| !node.is_null());
        assert_eq!(&cpu["node"], node.unwrap_or(&json!(0)), "{name}: {cpu}");
    }
    let nodes = at(topology, "/nodes").as_array().expect("a list of nodes");
    let wanted = at(expected, "/nodes").as_array().expect("a list of nodes");
    if wanted.is_empty() {
        assert_eq!(nodes.len(), 1, "{name}");
        return;
    }
    assert_eq!(nodes.len(), wanted.len(), "{name}");
    let numbers: Vec<_> = wanted.iter().map(|node| node["id"].to_string()).collect();
    for (node, wanted) in nodes.iter().zip(wanted) {
        assert_eq!(node["node"], wanted["id"], "{name}");
        let cpus: BTreeSet<u64> = wanted["cpus"]
            .as_array()
            .expect("a list of CPUs")
            .iter()
            .filter_map(Value::as_u64)
            .collect();
        assert_eq!(ids(&node["cpus"]), cpus, "{name}: {node}");
        // 0 stands for a node without memory, and for a capture without its meminfo.
        if let Some(bytes) = wanted["memory_bytes"]
            .as_u64()
            .filter(|_| !node["memory_kib"].is_null())
        {
            assert_eq!(node["memory_kib"], bytes / 1024, "{name}: {node}");
        }
        if let Some(distances) = wanted["distances"].as_array() {
            let by_id: serde_json::Map<_, _> = numbers
                .iter()
                .cloned()
                .zip(distances.iter().cloned())
                .collect();
            assert_eq!(node["distances"], Value::Object(by_id), "{name}");
        }
    }
}

#[test]
fn the_text_of_the_host_of_the_rfc() {
    let run = Lab::rfc().run(&["topology"]).quiet(0);
    same_as_file(&run.out, "tests/program/expected/topology-epyc7351p.txt");
}

#[test]
fn the_text_of_an_odd_host() {
    let mut host = Host::grid(2, 1, 1, 2, 2).numbered(Numbering::Blocked);
    host.node_ids = vec![3, 0];
    host.offline = [7].into();
    host.isolated = [1].into();
    let run = Lab::of(&host).run(&["topology"]).quiet(0);
    same_as_file(&run.out, "tests/program/expected/topology-odd.txt");
}

#[test]
fn a_dump_and_a_bare_sysfs_are_read_alike() {
    let lab = Lab::named("xeon6230-2s");
    let root = lab.path().to_str().expect("UTF-8");
    let sys = format!("{root}/sys");
    let read =
        |dir: &str, flag: &str| numapin(["topology", "--format", "json", flag, dir]).quiet(0);
    let dump = read(root, "--sysfs-root");
    assert_eq!(dump.out, read(&sys, "--sysfs-root").out);
    assert_eq!(dump.out, read(root, "--root").out);
    // And by a path that depends on where it is run.
    let relative = numapin_in(
        lab.path(),
        ["topology", "--format", "json", "--sysfs-root", "sys"],
    );
    assert_eq!(relative.quiet(0).out, dump.out);
}

#[rstest]
#[case::sysfs_root(
    "--sysfs-root",
    "devices/system/cpu: no online cpu found (expected the /sys of a Linux host: devices/system/cpu/online, or directories \
     cpu0, cpu1, ...)"
)]
#[case::root(
    "--root",
    "sys/devices/system/cpu: no online cpu found (expected the /sys of a Linux host: devices/system/cpu/online, or \
     directories cpu0, cpu1, ...)"
)]
fn an_empty_directory_is_no_host(#[case] flag: &str, #[case] line: &str) {
    let dir = directory();
    let path = dir.path().to_str().expect("UTF-8");
    numapin(["topology", flag, path]).refused(2, &format!("{path}/{line}"));
}

#[rstest]
#[case::missing("nowhere", "no such file or directory")]
#[case::a_file("file", "not a directory")]
fn a_directory_that_is_none(
    #[case] name: &str,
    #[case] says: &str,
    #[values("--root", "--sysfs-root")] flag: &str,
) {
    let dir = directory();
    fs::write(dir.path().join("file"), "").expect("it can be written");
    let line = format!(
        "{flag} {name}: {says} (expected the root of a machine, a directory that holds sys/{})",
        if flag == "--root" {
            ""
        } else {
            ", or a sysfs itself"
        }
    );
    numapin_in(dir.path(), ["topology", flag, name]).refused(2, &line);
    let run = numapin_in(dir.path(), ["topology", flag, name, "--format", "json"]).ended(2);
    let document = json!({"schema": 1, "error": {"kind": "usage", "message": line}});
    assert_eq!(run.json(), document);
    assert_eq!(run.err, format!("numapin: {line}\n"));
}

#[test]
fn root_and_sysfs_root_exclude_each_other() {
    let run = numapin(["topology", "--root", "/", "--sysfs-root", "/"]).ended(2);
    let first = run.err.lines().next();
    assert_eq!(
        first,
        Some("error: the argument '--root <DIR>' cannot be used with '--sysfs-root <DIR>'")
    );
}

#[test]
fn odd_data_is_told_on_stderr_and_in_json() {
    let lab = Lab::rfc();
    lab.write("sys/devices/system/node/node2/distance", "16 far 10 16\n");
    let line = "ROOT/sys/devices/system/node/node2/distance: \"far\" is not a number (expected a distance, 10 within a node); \
                every distance counts as unknown";
    let text = lab.run(&["topology"]).ended(0);
    assert_eq!(text.err, format!("numapin: {line}\n"));
    let json = lab.run(&["topology", "--format", "json"]).quiet(0).json();
    assert_eq!(at(&json, "/warnings"), &json!([line]));
    assert_eq!(at(&json, "/nodes/2/distances"), &json!({}));
}

#[test]
fn a_host_of_4096_cpus() {
    let host = few_files(Host::grid(4, 4, 4, 32, 2).numbered(Numbering::Blocked));
    let lab = Lab::of(&host);
    let topology = json_of(&lab);
    holds_the_schema(&topology);
    assert_eq!(at(&topology, "/online"), "0-4095");
    assert_eq!(at(&topology, "/nodes/15/cpus"), "1920-2047,3968-4095");
    assert_eq!(at(&topology, "/cpus/4095/core"), 2047);
    assert_eq!(at(&topology, "/cpus/4095/l3"), 2016);
    // Every node takes a virtual node, and threads above 1,024 are used where cores run out.
    lab.config(
        100,
        "cores: 130\nsockets: 16\nnuma: 1\npinning: one-to-one\n",
    );
    let args = ["plan", "100", "--format", "json"];
    let plan = lab.run(&args).quiet(0).json();
    let vcpus = at(&plan, "/plans/0/vcpus").as_array();
    assert_eq!(vcpus.map(Vec::len), Some(2080));
    assert_eq!(at(&plan, "/plans/0/vcpus/2079/host_nodes"), "15");
    assert_eq!(at(&plan, "/plans/0/cost/shared_cores"), 32);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let lab = Lab::named("epyc7713-2s-nps4");
    let mut child = raw_command()
        .args(["topology", "--format", "json", "--root"])
        .arg(lab.path())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let mut err = String::new();
    let stderr = child.stderr.as_mut().expect("a pipe");
    stderr.read_to_string(&mut err).expect("UTF-8");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(err, "");
}
