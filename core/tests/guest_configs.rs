//! Configs of Proxmox VE's own tests give the QEMU arguments that Proxmox VE makes of them, and replies recorded from QEMU give the
//! shape it was started with.
//!
//! Both are other projects' data or large, and not part of this repository: the tests find them through NUMAPIN_DATA.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests, which clippy takes for library code here"
)]

mod data;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use data::data;
use numapin_core::guest::pve::{self, Parsed, Pending};
use numapin_core::guest::{Guest, GuestName, flags::Overrides, qmp};
use numapin_core::qmp::reply;
use serde_json::Value;

fn read(path: &Path) -> Parsed {
    let text = fs::read_to_string(path).unwrap();
    pve::parse(path, &text, Pending::Merge).unwrap()
}

/// The files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

#[test]
fn every_config_has_the_shape_that_proxmox_gives_it() {
    let Some(data) = data("configs and replies") else {
        return;
    };
    let pve = data.join("pve");
    let table = fs::read_to_string(pve.join("EXPECTED.tsv")).unwrap();
    let mut rows = table
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>());
    let header = rows.next().unwrap();
    let mut checked = 0;
    for row in rows {
        let column = |name: &str| {
            let at = header.iter().position(|column| *column == name).unwrap();
            row.get(at).copied().unwrap_or_default()
        };
        let conf = column("conf");
        let shape = pve::qemu_shape(&read(&pve.join(conf)).config).unwrap();
        let size = format!("size={}", shape.memory_mib);
        let (memory, figure) = match column("exp_m").split_once(',') {
            Some((size_given, _)) => (size_given, size),
            None => (column("exp_m"), shape.memory_mib.to_string()),
        };
        assert_eq!(shape.smp, column("exp_smp"), "{conf}");
        assert_eq!(figure, memory, "{conf}");
        assert_eq!(shape.numa.join(" | "), column("exp_numa"), "{conf}");
        assert_eq!(
            shape.objects.join(" | "),
            column("exp_ram_objects"),
            "{conf}"
        );
        assert_eq!(
            shape.cpu_devices.join(" | "),
            column("exp_cpu_devices"),
            "{conf}"
        );
        checked += 1;
    }
    assert!(checked > 40, "only {checked} rows");
}

#[test]
fn every_config_is_a_guest() {
    let Some(data) = data("configs and replies") else {
        return;
    };
    let confs = files(&data.join("pve"));
    let confs: Vec<_> = confs
        .iter()
        .filter(|path| path.extension() == Some("conf".as_ref()))
        .collect();
    assert!(confs.len() > 60);
    for conf in confs {
        for pending in [Pending::Merge, Pending::Leave] {
            let text = fs::read_to_string(conf).unwrap();
            let config = pve::parse(conf, &text, pending).unwrap().config;
            let name = GuestName(conf.display().to_string());
            let guest = config
                .guest(name, &Overrides::default(), pve::Beside::default())
                .unwrap();
            assert_eq!(
                guest.vcpus().len(),
                usize::try_from(config.sockets() * config.cores()).unwrap()
            );
        }
    }
}

/// Proxmox VE stops at the first thing it does not like when it reads strictly: the first of our warnings, in its words.
#[test]
fn warnings_are_those_of_proxmox() {
    let Some(data) = data("configs and replies") else {
        return;
    };
    let (inputs, expected) = ("pve/parse-config-input", "pve/parse-config-expected");
    let mut told = 0;
    for conf in files(&data.join(inputs)) {
        let name = conf.file_name().unwrap().to_string_lossy();
        let error = data.join(expected).join(format!("{name}.strict.error"));
        let warnings = read(&conf).warnings;
        let Ok(error) = fs::read_to_string(error) else {
            assert_eq!(warnings, [], "{name}");
            continue;
        };
        let quoted: Vec<&str> = error.trim().split('\'').collect();
        let says = match quoted.as_slice() {
            [start, section, ..] if start.ends_with("unknown section: ") => {
                format!("section [{section}] is unknown")
            }
            [_, key, _, kind, _, found, ..] => format!("{key}: {found:?} is not a {kind}"),
            [start, ..] => {
                let (_, section) = start.split_once("duplicate section: ").unwrap();
                format!("section [{}] is there twice", section.to_uppercase())
            }
            [] => unreachable!(),
        };
        let first = warnings
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(
            first.contains(&says),
            "{name}: expected {says}, found {first}"
        );
        let line = warnings[0].line;
        let text = fs::read_to_string(&conf).unwrap();
        let line = text.lines().nth(line - 1).unwrap();
        assert!(
            line.starts_with('[') || line.starts_with("numa: "),
            "{line}"
        );
        told += 1;
    }
    assert_eq!(told, 4);
}

/// The option of the command line that QEMU was started with, each time it is given.
fn options<'a>(command: &'a Value, option: &str) -> Vec<&'a str> {
    let words: Vec<&str> = command
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect();
    let given = words.windows(2).filter(|pair| pair[0] == option);
    given.map(|pair| pair[1]).collect()
}

/// A virtual node's number, and its cpus.
type Node = (String, Vec<String>);

/// What a recorded guest was started with: `-smp`, and the cpus of each `-numa`.
fn started(command: &Value) -> (BTreeMap<String, u32>, Vec<Node>) {
    let smp = options(command, "-smp")[0];
    let parts = smp
        .split(',')
        .map(|part| part.split_once('=').unwrap_or(("cpus", part)));
    let smp = parts
        .map(|(key, value)| (key.to_owned(), value.parse().unwrap()))
        .collect();
    let nodes = options(command, "-numa").into_iter().map(|option| {
        let value = |word: &str| {
            option
                .split(',')
                .filter_map(move |p| p.strip_prefix(&format!("{word}=")).map(str::to_owned))
                .collect::<Vec<_>>()
        };
        (value("nodeid").concat(), value("cpus"))
    });
    (smp, nodes.collect())
}

fn list(reply: &Value) -> String {
    reply["return"].to_string()
}

fn shape(cpus: &str, hotpluggable: Option<&str>) -> qmp::QmpShape {
    let slots = hotpluggable.map(reply::slots);
    qmp::shape(&reply::vcpus(cpus).unwrap(), slots.as_deref()).unwrap()
}

#[test]
fn recorded_replies_have_the_shape_that_qemu_was_started_with() {
    let Some(data) = data("configs and replies") else {
        return;
    };
    let mut checked = 0;
    for file in files(&data.join("qmp")) {
        let name = file.display();
        let recording: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        if !recording.is_object() {
            continue;
        }
        let hotpluggable = recording.get("query-hotpluggable-cpus").map(list);
        let shape = shape(
            &list(&recording["query-cpus-fast"]),
            hotpluggable.as_deref(),
        );
        let guest = Guest::new(shape.parts("a.qmp")).unwrap();
        let (smp, nodes) = started(&recording["cmd"]);
        if hotpluggable.is_some() {
            let threads = smp.get("threads").copied().unwrap_or(1);
            assert_eq!(
                (guest.sockets, guest.cores, guest.threads),
                (smp["sockets"], smp["cores"], threads),
                "{name}"
            );
            let found = guest
                .virtual_nodes
                .iter()
                .map(|node| (node.id.to_string(), node.vcpus.to_string()));
            let expected = nodes.iter().map(|(id, cpus)| (id.clone(), cpus.join(",")));
            match nodes.is_empty() {
                true => assert_eq!(guest.virtual_nodes.len(), 1, "{name}"),
                false => assert!(found.eq(expected), "{name}"),
            }
            assert_eq!(
                guest.plugged.len(),
                usize::try_from(smp["cpus"]).unwrap(),
                "{name}"
            );
        } else {
            assert_eq!(guest.plugged.to_string(), "0-2,5", "{name}");
        }
        assert_eq!(guest.numa, !nodes.is_empty(), "{name}");
        checked += 1;
    }
    assert!(checked > 12, "only {checked} recordings");
}

#[test]
fn hotplug_out_of_order_leaves_gaps() {
    let Some(data) = data("configs and replies") else {
        return;
    };
    for file in ["hotplug-kvm.json", "hotplug-tcg-thread_multi.json"] {
        let path = data.join("qmp").join(file);
        let steps: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let step = |name: &str| {
            let step = steps
                .as_array()
                .unwrap()
                .iter()
                .find(|step| step["step"] == name);
            list(&step.unwrap()["result"])
        };
        let shape = shape(&step("cpus after"), Some(&step("hotpluggable")));
        let guest = Guest::new(shape.parts("a.qmp")).unwrap();
        assert_eq!((guest.sockets, guest.cores), (1, 8));
        assert_eq!(guest.plugged.to_string(), "0-2,5");
        assert_eq!(guest.virtual_nodes[1].vcpus.to_string(), "4-7");

        let text = "cores: 8\nvcpus: 2\nnuma: 1\nmemory: 512\nnuma0: cpus=0-3,memory=256\nnuma1: cpus=4-7,memory=256\n";
        let config = pve::parse(Path::new("100.conf"), text, Pending::Leave)
            .unwrap()
            .config;
        let guest = config
            .guest(
                GuestName("100".into()),
                &Overrides::default(),
                pve::Beside::default(),
            )
            .unwrap();
        assert_eq!(qmp::compare(&guest, &shape), []);
        assert_eq!(
            qmp::corrected(&guest, &shape).unwrap().plugged.to_string(),
            "0-2,5"
        );
    }
}
