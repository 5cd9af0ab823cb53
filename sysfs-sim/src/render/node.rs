//! `/sys/devices/system/node`.

use std::fmt::Write as _;

use super::{Out, bytes};
use crate::description::{Memory, Pages};
use crate::layout::NodeLayout;
use crate::list;

const NODE: &str = "sys/devices/system/node";

pub(super) fn render(out: &mut Out<'_>) {
    if !out.host.quirks.no_node_lists {
        lists(out);
    }
    let layout = out.layout;
    for (id, node) in &layout.nodes {
        one(out, *id, node);
    }
}

fn lists(out: &mut Out<'_>) {
    let nodes = &out.layout.nodes;
    let with_cpus = nodes
        .iter()
        .filter(|(_, n)| !out.layout.online(n.cpus.iter().copied()).is_empty());
    let with_cpus = list::list(with_cpus.map(|(id, _)| *id));
    let with_memory = list::list(
        nodes
            .iter()
            .filter(|(_, n)| n.memory.total_kib > 0)
            .map(|(id, _)| *id),
    );
    let mut possible = out.host.quirks.possible_nodes.0.clone();
    possible.extend(nodes.keys());
    for (name, text) in [
        ("online", list::list(nodes.keys().copied())),
        ("possible", list::list(possible)),
        ("has_cpu", with_cpus),
        ("has_memory", with_memory.clone()),
        ("has_normal_memory", with_memory),
    ] {
        out.line(format!("{NODE}/{name}"), text);
    }
}

fn one(out: &mut Out<'_>, id: u32, node: &NodeLayout) {
    let dir = format!("{NODE}/node{id}");
    let quirks = &out.host.quirks;
    let shown = if quirks.node_keeps_offline {
        node.cpus.clone()
    } else {
        out.layout.online(node.cpus.iter().copied())
    };
    let cpulist = !quirks.masks_only && !quirks.no_node_cpulist;
    let text = out.text(&shown);
    if !quirks.lists_only {
        out.file(format!("{dir}/cpumap"), text.mask);
    }
    if cpulist {
        out.file(format!("{dir}/cpulist"), text.list);
    }
    for cpu in &node.cpus {
        out.link(format!("{dir}/cpu{cpu}"), format!("../../cpu/cpu{cpu}"));
    }
    let quirks = &out.host.quirks;
    let (meminfo, hugepages) = (!quirks.no_meminfo, !quirks.no_hugepages);
    if !quirks.no_distance {
        let mut row = node.distances.clone();
        row.extend((0..quirks.extra_distance_columns).map(|_| out.host.distance_across));
        let row: Vec<String> = row.iter().map(u32::to_string).collect();
        out.line(format!("{dir}/distance"), row.join(" "));
    }
    if meminfo {
        let text = meminfo_text(out, id, &node.memory);
        out.file(format!("{dir}/meminfo"), bytes(&text));
    }
    if hugepages {
        for (size, pages) in [
            ("1048576", node.memory.pages_1g),
            ("2048", node.memory.pages_2m),
        ] {
            let Pages {
                total,
                free,
                surplus,
            } = pages;
            for (name, count) in [("nr", total), ("free", free), ("surplus", surplus)] {
                out.line(
                    format!("{dir}/hugepages/hugepages-{size}kB/{name}_hugepages"),
                    count,
                );
            }
        }
    }
}

fn meminfo_text(out: &Out<'_>, id: u32, memory: &Memory) -> String {
    let used_by_files = memory.file_kib.saturating_add(memory.reclaimable_kib);
    let pages = memory.pages_2m.total.saturating_mul(2 << 10);
    let pages = pages.saturating_add(memory.pages_1g.total.saturating_mul(1 << 20));
    let rest = memory
        .total_kib
        .saturating_sub(used_by_files)
        .saturating_sub(pages);
    let free = memory.free_kib.unwrap_or(rest);
    let mut text = String::new();
    if out.host.quirks.meminfo_blank_line {
        text.push('\n');
    }
    let mut line = |key: &str, kib: u64| {
        let _ = writeln!(text, "Node {id} {key:<16}{kib:>8} kB");
    };
    line("MemTotal:", memory.total_kib);
    line("MemFree:", free);
    line("MemUsed:", memory.total_kib.saturating_sub(free));
    line("FilePages:", memory.file_kib);
    line("Shmem:", memory.shmem_kib);
    if !out.host.quirks.no_kreclaimable {
        line("KReclaimable:", memory.reclaimable_kib);
    }
    let Pages {
        total,
        free,
        surplus,
    } = memory.pages_2m;
    for (key, count) in [("Total", total), ("Free", free), ("Surp", surplus)] {
        let _ = writeln!(
            text,
            "Node {id} {:<16}{count:>6}",
            format!("HugePages_{key}:")
        );
    }
    text
}
