//! `topology` for people: what the host is made of, node by node.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use numapin_core::host::{Host, Node};
use numapin_core::idset::CpuSet;
use numapin_core::sorted;

use super::drawing::Drawing;
use super::look::Look;
use super::map;
use super::table::Table;
use super::words::gib;

/// The host as text.
pub(crate) fn text(host: &Host, look: Look) -> String {
    let mut out = summary(host);
    out.push('\n');
    out.push_str(&map::text(&Drawing::new(host), look));
    out.push('\n');
    let mut nodes = Table::new(["host node", "package", "cpus", "cores", "L3s", "memory"]);
    for node in &host.nodes {
        nodes.row(node_row(host, node));
    }
    out.push_str(&nodes.to_string());
    let l3s = l3s(host);
    if !l3s.is_empty() {
        out.push('\n');
        out.push_str(&l3s);
    }
    if host.nodes.len() > 1 && host.nodes.iter().any(|node| !node.distances.is_empty()) {
        out.push('\n');
        out.push_str(&distances(host));
    }
    for (name, cpus) in [
        ("offline", &host.offline),
        ("isolated", &host.isolated),
        ("reserved", &host.reserved),
    ] {
        if !cpus.is_empty() {
            let _ = writeln!(out, "{name}: cpus {cpus}");
        }
    }
    if let Some(allowed) = &host.allowed {
        let _ = writeln!(out, "allowed by the cpuset: cpus {allowed}");
    }
    out
}

/// What the host is made of, on one line.
pub(crate) fn summary(host: &Host) -> String {
    let cores: BTreeSet<_> = sorted::set(host.cpus.iter().map(|cpu| cpu.core));
    let packages: BTreeSet<_> = sorted::set(host.cpus.iter().map(|cpu| cpu.package));
    let mut threads: BTreeMap<_, usize> = BTreeMap::new();
    for cpu in &host.cpus {
        *threads.entry(cpu.core).or_default() += 1;
    }
    let smt = threads.values().max().copied().unwrap_or(0);
    let kinds: BTreeSet<_> = sorted::set(host.cpus.iter().filter_map(|cpu| cpu.kind));
    let mut text = format!(
        "{}, {}, {}, {}, {}",
        count(host.cpus.len(), "cpu online", "cpus online"),
        count(cores.len(), "core", "cores"),
        if smt > 1 {
            format!("up to {smt} SMT threads a core")
        } else {
            "no SMT".to_owned()
        },
        count(host.nodes.len(), "host node", "host nodes"),
        count(packages.len(), "package", "packages"),
    );
    if kinds.len() > 1 {
        let _ = write!(text, ", {} kinds of core", kinds.len());
    }
    text.push('\n');
    text
}

fn node_row(host: &Host, node: &Node) -> [String; 6] {
    let of_node = || host.cpus.iter().filter(|cpu| cpu.node == Some(node.id));
    let cores: BTreeSet<_> = sorted::set(of_node().map(|cpu| cpu.core));
    let l3s: BTreeSet<_> = sorted::set(of_node().filter_map(|cpu| cpu.l3));
    let packages: BTreeSet<_> = sorted::set(of_node().filter_map(|cpu| cpu.package));
    let packages: Vec<_> = packages.iter().map(ToString::to_string).collect();
    let or_dash = |text: String| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text
        }
    };
    [
        node.id.to_string(),
        or_dash(packages.join(",")),
        or_dash(node.cpus.to_string()),
        cores.len().to_string(),
        or_dash(if l3s.is_empty() {
            String::new()
        } else {
            l3s.len().to_string()
        }),
        node.memory
            .as_ref()
            .map_or("-".to_owned(), |memory| gib(memory.total_kib)),
    ]
}

/// The L3s, where a host node has several or one spans nodes: elsewhere the table of nodes says it all, as where none is known.
fn l3s(host: &Host) -> String {
    let mut groups: BTreeMap<_, (CpuSet, BTreeSet<_>)> = BTreeMap::new();
    for cpu in &host.cpus {
        if let Some(l3) = cpu.l3 {
            let (cpus, nodes) = groups.entry(l3).or_default();
            cpus.insert(cpu.id);
            nodes.extend(cpu.node);
        }
    }
    let nodes_with_cpus = host
        .nodes
        .iter()
        .filter(|node| !node.cpus.is_empty())
        .count();
    let one_each = groups.len() == nodes_with_cpus;
    if groups.is_empty() || one_each && groups.values().all(|(_, nodes)| nodes.len() <= 1) {
        return String::new();
    }
    let mut table = Table::new(["L3 of cpu", "host node", "cpus"]);
    for (l3, (cpus, nodes)) in groups {
        let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
        table.row([l3.to_string(), nodes.join(","), cpus.to_string()]);
    }
    table.to_string()
}

fn distances(host: &Host) -> String {
    let mut head = vec!["distance".to_owned()];
    head.extend(host.nodes.iter().map(|node| format!("to {}", node.id)));
    let mut table = Table::new(head);
    for node in &host.nodes {
        let mut row = vec![format!("from host node {}", node.id)];
        row.extend(host.nodes.iter().map(|to| {
            node.distances
                .get(&to.id)
                .map_or("-".to_owned(), ToString::to_string)
        }));
        table.row(row);
    }
    table.to_string()
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
