//! The machines that come with the program: each is one, says where it comes from, and agrees with the captured host that
//! it describes.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use numapin_sysfs_sim::{Machine, record, topologies};
use rstest::rstest;
use support::{Files, from_list, root_of, unpacked};

#[test]
fn every_one_is_a_machine_and_says_where_it_comes_from() {
    let names: Vec<&str> = topologies::names().collect();
    assert_eq!(names.len(), 13);
    assert!(names.is_sorted());
    for name in names {
        let machine = topologies::get(name).unwrap().unwrap();
        let provenance = machine.provenance();
        let known = ["Described from facts: ", "Recorded from a booted kernel"];
        assert!(
            known.iter().any(|start| provenance.starts_with(start)),
            "{name}: {provenance}"
        );
        if let Machine::Recording(recording) = &machine {
            let text = topologies::text(name).unwrap();
            assert!(
                recording.to_string() == text,
                "{name} is not as record writes it"
            );
        }
        let read = Files::of_tree(&machine.tree().unwrap()).reading();
        assert!(!read.online.is_empty(), "{name}");
        let in_nodes: usize = read
            .nodes
            .values()
            .map(std::collections::BTreeSet::len)
            .sum();
        assert_eq!(
            in_nodes,
            read.online.len(),
            "{name}: every cpu is in one node"
        );
    }
    assert!(topologies::get("epyc").is_none());
}

#[rstest]
#[case("epyc7451-2s", "epyc7451-2s8n")]
#[case("xeon6230-2s", "xeon6230-2s-smt")]
#[case("xeon6230-2s-snc2", "xeon-2s-snc2-msc")]
#[case("xeon6130-2s-nosmt", "xeon-2s-nosmt")]
#[case("hybrid-i7-1370p", "hybrid-i7-1370p")]
#[case("kunpeng920-2s", "arm-kunpeng920")]
fn a_described_host_agrees_with_the_captured_one(#[case] name: &str, #[case] captured: &str) {
    let Some(archive) = unpacked(&format!("hosts/{captured}.tar.xz")) else {
        return;
    };
    let mut described = files(name).reading();
    let captured = Files::of_dir(&root_of(archive.path())).reading();
    assert!(!captured.online.is_empty() && !captured.nodes.is_empty() && !captured.l3s.is_empty());
    // One captured host tells no distances: then there is nothing to agree with.
    if captured.distances.is_empty() {
        described.distances = BTreeMap::new();
    }
    assert_eq!(described, captured);
}

#[rstest]
#[case("lab-memless")]
#[case("lab-xeon2x16ht-interleaved")]
#[case("lab-epyc2x32-nps2")]
fn a_recorded_host_is_what_was_captured(#[case] name: &str) {
    let archive = name.strip_prefix("lab-").unwrap();
    let Some(archive) = unpacked(&format!("lab-hosts/{archive}.tar.xz")) else {
        return;
    };
    let captured = record(&root_of(archive.path())).unwrap();
    let Machine::Recording(recording) = Machine::load(name).unwrap() else {
        panic!("{name} is no recording");
    };
    assert_eq!(recording.tree, captured.tree);
    let captured = Files::of_dir(&root_of(archive.path())).reading();
    assert_eq!(Files::of_tree(&recording.tree).reading(), captured);
}

fn files(name: &str) -> Files {
    Files::of_tree(&Machine::load(name).unwrap().tree().unwrap())
}

#[test]
fn the_hosts_of_facts_are_as_facts_have_them() {
    let of = |name: &str| files(name).reading();
    let read = of("epyc7351p");
    let nodes: Vec<_> = read.nodes.values().cloned().collect();
    let expected = ["0-3,16-19", "4-7,20-23", "8-11,24-27", "12-15,28-31"];
    assert_eq!(nodes, expected.map(from_list));
    assert_eq!(read.distances[&1], "16 10 16 16\n");
    assert_eq!((read.l3s.len(), read.cores.len()), (8, 16));
    assert!(read.l3s.contains(&from_list("0-1,16-17")) && read.cores.contains(&from_list("0,16")));
    let files = files("epyc7351p");
    let meminfo = files.node("node3/meminfo").unwrap();
    assert!(
        meminfo.starts_with("Node 3 MemTotal:       16384000 kB\n"),
        "{meminfo}"
    );

    let read = of("epyc7351p-nosmt");
    assert_eq!(read.nodes[&3], from_list("12-15"));
    assert_eq!(
        (read.l3s.len(), read.cores.len(), read.online.len()),
        (8, 16, 16)
    );

    let read = of("epyc7713-2s-nps1");
    assert_eq!(
        (read.nodes.len(), read.l3s.len(), read.online.len()),
        (2, 16, 256)
    );
    assert_eq!(read.nodes[&1], from_list("64-127,192-255"));
    assert_eq!(read.distances[&0], "10 32\n");

    let read = of("epyc7713-2s-nps4");
    assert_eq!(
        (read.nodes.len(), read.l3s.len(), read.packages.len()),
        (8, 16, 2)
    );
    assert_eq!(read.nodes[&5], from_list("80-95,208-223"));
    assert_eq!(read.distances[&5], "32 32 32 32 12 10 12 12\n");
    assert!(read.l3s.iter().all(|l3| l3.len() == 16));

    let read = of("kunpeng920-2s");
    assert_eq!(
        (read.nodes.len(), read.packages.len(), read.online.len()),
        (4, 2, 128)
    );
}
