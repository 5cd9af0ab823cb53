//! Hosts captured from real machines read as hwloc and lscpu read them; hosts recorded from booted kernels as their makers
//! described them.
//!
//! The captures are other projects' data and not part of this repository: the tests find them through NUMAPIN_DATA.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests, which clippy takes for library code here"
)]

mod data;

use std::path::Path;
use std::process::Command;

use data::data;
use numapin_core::host::{Host, cpuset, pci, sysfs};
use numapin_core::root::Root;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A machine unpacked from `kind/name.tar.xz`.
struct Machine {
    _dir: TempDir,
    root: Root,
    host: Host,
}

fn machine(data: &Path, kind: &str, name: &str) -> Machine {
    // Thousands of tiny files: in memory, where that is to be had.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let dir = dir.unwrap();
    let archive = data.join(kind).join(format!("{name}.tar.xz"));
    let tar = Command::new("tar")
        .arg("xJf")
        .arg(&archive)
        .arg("-C")
        .arg(dir.path())
        .status()
        .unwrap();
    assert!(tar.success(), "{}: tar can't unpack it", archive.display());
    // Some archives hold the root itself, some one directory that holds it.
    let inner = dir.path().join(name);
    let top = if inner.is_dir() { &inner } else { dir.path() };
    let root = Root::captured(top).unwrap();
    let host = sysfs::read(&root, sysfs::Want::PLAN).unwrap();
    Machine {
        _dir: dir,
        root,
        host,
    }
}

/// A host in the form of the expected readings. They know no distances of a host with one node, and write 0 for memory that
/// the capture does not tell.
fn reading(host: &Host) -> Value {
    let ids = |set: &numapin_core::idset::CpuSet| set.iter().map(|id| id.0).collect::<Vec<_>>();
    let cpus = host.cpus.iter().map(|cpu| {
        json!({
            "cpu": cpu.id, "package": cpu.package, "core": cpu.core, "l3": cpu.l3, "node": cpu.node,
        })
    });
    let nodes = host.nodes.iter().map(|node| {
        let known = host.nodes.len() > 1 && !node.distances.is_empty();
        json!({
            "id": node.id,
            "cpus": ids(&node.cpus),
            "memory_bytes": node.memory.as_ref().map_or(0, |memory| memory.total_kib * 1024),
            "distances": known.then(|| node.distances.values().collect::<Vec<_>>()),
        })
    });
    json!({
        "online": ids(&host.online()),
        "cpus": cpus.collect::<Vec<_>>(),
        "nodes": nodes.collect::<Vec<_>>(),
    })
}

#[test]
fn captured_hosts_read_as_expected() {
    let Some(data) = data("captured hosts") else {
        return;
    };
    let mut names: Vec<String> = std::fs::read_dir(data.join("hosts"))
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            Some(name.strip_suffix(".json")?.to_owned())
        })
        .collect();
    names.sort();
    assert!(names.len() >= 13, "only {names:?}");
    for name in names {
        let expected = std::fs::read_to_string(data.join("hosts").join(format!("{name}.json")));
        let expected: Value = serde_json::from_str(&expected.unwrap()).unwrap();
        let host = machine(&data, "hosts", &name).host;
        let found = reading(&host);
        for part in ["online", "cpus", "nodes"] {
            assert_eq!(found[part], expected[part], "{name}: {part}");
        }
        assert_eq!(host.warnings, [], "{name}");
    }
}

#[test]
fn captured_hosts_tell_what_else_there_is() {
    let Some(data) = data("captured hosts") else {
        return;
    };
    let allowed = |m: &Machine| {
        let allowed = cpuset::allowed(&m.root, &m.host.online(), None, None).unwrap();
        allowed.map(|cpus| cpus.to_string())
    };

    let cpuset_of_test = machine(&data, "hosts", "opteron-4n-cgroup");
    assert_eq!(allowed(&cpuset_of_test).as_deref(), Some("0-3"));
    let job_on_all = machine(&data, "hosts", "xeon-4n-pci");
    assert_eq!(allowed(&job_on_all), None);
    let hybrid_v1 = machine(&data, "hosts", "xeon-2s-snc2-msc");
    assert_eq!(allowed(&hybrid_v1), None);

    let node = |m: &Machine, address: &str| {
        let address = address.parse().unwrap();
        pci::node(&m.root, address).unwrap().map(|node| node.0)
    };
    let xeon = machine(&data, "hosts", "xeon-2s-nosmt");
    assert_eq!(node(&xeon, "0000:17:00.0"), Some(0));
    assert_eq!(node(&xeon, "ff:1f.7"), None);

    // The capture has no list of the cores of each kind; its kernel had these.
    let hybrid = machine(&data, "hosts", "hybrid-i7-1370p");
    for (pmu, cpus) in [("cpu_core", "0-11\n"), ("cpu_atom", "12-19\n")] {
        let dir = hybrid.root.sys().join("devices").join(pmu);
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("cpus"), cpus).unwrap();
    }
    assert!(hybrid.host.cpus.iter().all(|cpu| cpu.kind.is_none()));
    let hybrid = sysfs::read(&hybrid.root, sysfs::Want::TOPOLOGY).unwrap();
    let kinds: Vec<_> = hybrid.cpus.iter().map(|cpu| cpu.kind.unwrap()).collect();
    assert_eq!(
        kinds,
        (0..20).map(|cpu| u32::from(cpu >= 12)).collect::<Vec<_>>()
    );
    let server = machine(&data, "hosts", "arm-kunpeng920").host;
    assert!(server.cpus.iter().all(|cpu| cpu.kind.is_none()));

    let offline = machine(&data, "hosts", "xeon-4s-offline").host;
    assert_eq!(offline.offline.to_string(), "2,5,13-14");
    let pmem = machine(&data, "hosts", "xeon-2s-snc2-pmem").host;
    assert_eq!(pmem.isolated.to_string(), "4-7,60-63");
}

/// What is expected of a CPU: node, package, die, core, L3.
type Expected = fn(u32) -> (u32, i32, u32, u32, u32);

#[test]
fn recorded_hosts_read_as_they_were_booted() {
    let Some(data) = data("captured hosts") else {
        return;
    };
    // The shapes are those of the QEMU guests that were recorded.
    let table: [(&str, u32, Expected, &[&str]); 8] = [
        // 4 dies of 4 cores, each a node with an L3; threads n and n+16.
        (
            "epyc7351p",
            32,
            |cpu| {
                let core = cpu % 16;
                (core / 4, 0, core / 4, core, core / 4 * 4)
            },
            &["10 16 16 16", "16 10 16 16", "16 16 10 16", "16 16 16 10"],
        ),
        (
            "epyc7351p-nosmt",
            16,
            |cpu| (cpu / 4, 0, cpu / 4, cpu, cpu / 4 * 4),
            &["10 16 16 16", "16 10 16 16", "16 16 10 16", "16 16 16 10"],
        ),
        // 2 packages of 2 nodes of 16 cores, 8 cores to an L3 and a die; threads n and n+64.
        (
            "epyc2x32-nps2",
            128,
            |cpu| {
                let core = cpu % 64;
                let package = i32::try_from(core / 32).unwrap();
                (core / 16, package, core % 32 / 8, core, core / 8 * 8)
            },
            &["10 12 32 32", "12 10 32 32", "32 32 10 12", "32 32 12 10"],
        ),
        (
            "xeon2x16ht",
            64,
            |cpu| {
                let core = cpu % 32;
                (core / 16, i32::from(core >= 16), 0, core, core / 16 * 16)
            },
            &["10 21", "21 10"],
        ),
        // Even CPUs in package 0, odd ones in package 1.
        (
            "xeon2x16ht-interleaved",
            64,
            |cpu| (cpu % 2, i32::from(cpu % 2 == 1), 0, cpu % 32, cpu % 2),
            &["10 21", "21 10"],
        ),
        (
            "xeon2x8-nosmt",
            16,
            |cpu| (cpu / 8, i32::from(cpu >= 8), 0, cpu, cpu / 8 * 8),
            &["10 21", "21 10"],
        ),
        (
            "memless",
            8,
            |cpu| {
                let core = cpu % 4;
                (core / 2, i32::from(core >= 2), 0, core, core / 2 * 2)
            },
            &["10 21", "21 10"],
        ),
        ("one", 4, |cpu| (0, 0, 0, cpu, 0), &["10"]),
    ];
    for (name, cpus, expected, distances) in table {
        let machine = machine(&data, "lab-hosts", name);
        let host = &machine.host;
        let ids: Vec<u32> = host.cpus.iter().map(|cpu| cpu.id.0).collect();
        assert_eq!(ids, (0..cpus).collect::<Vec<_>>(), "{name}");
        for cpu in &host.cpus {
            let found = (
                cpu.node.unwrap().0,
                cpu.package.unwrap().0,
                cpu.die.unwrap(),
                cpu.core.0,
                cpu.l3.unwrap().0,
            );
            assert_eq!(found, expected(cpu.id.0), "{name}: cpu {}", cpu.id);
            assert_eq!(cpu.kind, None, "{name}");
        }
        let rows: Vec<String> = host
            .nodes
            .iter()
            .map(|node| {
                let row: Vec<String> = node.distances.values().map(u32::to_string).collect();
                row.join(" ")
            })
            .collect();
        assert_eq!(rows, distances, "{name}");
        for node in &host.nodes {
            let memory = node.memory.as_ref().unwrap();
            let without = name == "memless" && node.id.0 == 1;
            assert_eq!(
                memory.total_kib == 0,
                without,
                "{name}: host node {}",
                node.id
            );
            assert!(memory.available_kib.unwrap() <= memory.total_kib, "{name}");
            let sizes: Vec<u64> = memory.free_hugepages.keys().copied().collect();
            assert_eq!(sizes, [2048, 1_048_576], "{name}");
        }
        let allowed = cpuset::allowed(&machine.root, &host.online(), None, None).unwrap();
        assert_eq!(allowed, None, "{name}");
        assert_eq!(host.warnings, [], "{name}");
        assert!(
            host.isolated.is_empty() && host.offline.is_empty(),
            "{name}"
        );
    }
}
