//! `status` for people: the node as tables, or guests thread by thread.

use std::fmt::Write as _;

use numapin_core::guest::GuestName;
use numapin_core::idset::CpuSet;
use numapin_core::reconcile::ThreadNow;

use super::table::Table;
use crate::survey::{GuestStatus, NodeStatus};

/// Guests, each with its threads, and the picture of them.
pub(crate) fn guests(guests: &[GuestStatus], picture: &str) -> String {
    let mut blocks: Vec<String> = guests.iter().map(guest).collect();
    if !picture.is_empty() {
        blocks.push(picture.to_owned());
    }
    blocks.join("\n")
}

/// The node: guests, what is free, and the picture of both.
pub(crate) fn node(guests: &[GuestStatus], node: &NodeStatus, picture: &str) -> String {
    let mut out = String::new();
    if guests.is_empty() {
        out.push_str("no guest runs here or has a policy\n");
    } else {
        let mut table = Table::new([
            "guest",
            "name",
            "state",
            "policy",
            "process",
            "holds cpus",
            "memory",
        ]);
        for guest in guests {
            let of = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            table.row([
                guest.guest.to_string(),
                of(guest.title.clone()),
                guest.state.word().to_owned(),
                of(guest
                    .policy
                    .as_ref()
                    .or(guest.planned_with.as_ref())
                    .map(|policy| policy.text.clone())),
                of(guest.pid.map(|pid| pid.to_string())),
                list(&guest.claimed),
                memory(guest),
            ]);
        }
        let _ = write!(out, "{table}");
    }
    let mut table = Table::new([
        "host node",
        "cpus",
        "held one-to-one",
        "free",
        "free cores",
        "free L3s",
    ]);
    for free in &node.nodes {
        table.row([
            free.node.to_string(),
            list(&free.cpus),
            list(&free.claimed),
            list(&free.free),
            format!("{} of {}", free.free_cores, free.cores),
            format!("{} of {}", free.free_l3s, free.l3s),
        ]);
    }
    let _ = write!(out, "\n{table}");
    if !picture.is_empty() {
        let _ = write!(out, "\n{picture}");
    }
    for container in &node.containers {
        let (vmid, cpus) = (container.vmid, &container.cpus);
        let _ = writeln!(
            out,
            "note: container {vmid} may run on cpu(s) {cpus}, held one-to-one"
        );
    }
    for vmid in &node.lines_without_guest {
        let _ = writeln!(
            out,
            "note: numapin.conf has a line for guest {vmid}, which does not exist (numapin unset {vmid} removes it)"
        );
    }
    for guest in guests {
        for note in &guest.notes {
            let _ = writeln!(out, "note: guest {}: {note}", guest.guest);
        }
    }
    out
}

fn guest(guest: &GuestStatus) -> String {
    let mut out = format!("guest {}", guest.guest);
    if let Some(title) = &guest.title {
        let _ = write!(out, " ({title})");
    }
    let _ = write!(out, ": {}", guest.state.word());
    if let Some(policy) = guest.policy.as_ref().or(guest.planned_with.as_ref()) {
        let _ = write!(out, "; policy {} ({})", policy.text, policy.source);
    }
    if let Some(pid) = guest.pid {
        let _ = write!(out, "; process {pid}");
    }
    out.push('\n');
    if !guest.threads.is_empty() {
        let mut table = Table::new(["  what", "thread", "wanted", "actual", "state"]);
        for thread in &guest.threads {
            table.row(row(thread));
        }
        let _ = write!(out, "{table}");
    }
    if !guest.memory_mib.is_empty() {
        let _ = writeln!(out, "  memory: {}", memory(guest));
    }
    for (who, names) in [
        ("also hold its cpus one-to-one", &guest.beside.one_to_one),
        ("have masks with some of its cpus", &guest.beside.set_pinned),
        (
            "are not pinned, and can be on its cpus",
            &guest.beside.unpinned,
        ),
    ] {
        if !names.is_empty() {
            let names: Vec<String> = names.iter().map(GuestName::to_string).collect();
            let _ = writeln!(out, "  beside it: guest(s) {} {who}", names.join(", "));
        }
    }
    for container in &guest.containers {
        let (vmid, cpus) = (container.vmid, &container.cpus);
        let _ = writeln!(
            out,
            "  beside it: container {vmid} may run on cpu(s) {cpus}"
        );
    }
    for note in &guest.notes {
        let _ = writeln!(out, "  note: {note}");
    }
    out
}

fn row(thread: &ThreadNow) -> [String; 5] {
    let of = |cpus: &Option<CpuSet>| cpus.as_ref().map_or_else(|| "-".to_owned(), list);
    let state = match &thread.narrowed {
        Some(narrowed) => format!("{}, {narrowed}", thread.state),
        None => thread.state.to_string(),
    };
    [
        format!("  {}", thread.kind),
        thread
            .thread
            .map_or_else(|| "-".to_owned(), |thread| thread.tid.to_string()),
        of(&thread.wanted.clone().or(thread.planned.clone())),
        of(&thread.actual),
        state,
    ]
}

fn memory(guest: &GuestStatus) -> String {
    let nodes = guest.memory_mib.iter().map(|(node, mib)| {
        let outside = !guest.host_nodes.is_empty() && !guest.host_nodes.contains(*node);
        format!(
            "{mib} MiB on host node {node}{}",
            if outside { " (outside)" } else { "" }
        )
    });
    let nodes: Vec<String> = nodes.collect();
    match nodes.is_empty() {
        true => "-".to_owned(),
        false => nodes.join(", "),
    }
}

fn list(cpus: &CpuSet) -> String {
    match cpus.is_empty() {
        true => "-".to_owned(),
        false => cpus.to_string(),
    }
}
