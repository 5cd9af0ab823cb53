//! `plan` for people: guest by guest, where each vCPU goes, what it costs, and what to know about it.

use std::fmt::Write as _;

use numapin_core::guest::Guest;
use numapin_core::idset::VcpuSet;
use numapin_core::placement::{PlacedVcpu, Plan, Value};
use numapin_core::policy::{Mode, Policy};

use crate::planned::Planned;

/// One plan as text.
pub(crate) fn text(planned: &Planned) -> String {
    titled(&planned.guest.name.0, planned)
}

/// One plan as text, under another name than the guest's own.
pub(crate) fn titled(name: &str, planned: &Planned) -> String {
    let Planned {
        guest,
        policy,
        source,
        plan,
    } = planned;
    let mut out = head(name, guest, policy, source);
    if policy.mode == Mode::None {
        out.push_str("  nothing is pinned\n");
    }
    for node in &plan.virtual_nodes {
        if node.host_nodes.is_empty() {
            continue;
        }
        let nodes = if node.host_nodes.len() == 1 {
            "host node"
        } else {
            "host nodes"
        };
        let _ = writeln!(
            out,
            "  virtual node {} -> {nodes} {}",
            node.virtual_node, node.host_nodes
        );
        for (vcpus, cpus) in together(plan, &node.vcpus) {
            let (vcpu, cpu) = (plural(vcpus.len(), "vcpu"), plural(cpus.cpus.len(), "cpu"));
            let _ = writeln!(out, "    {vcpu} {vcpus} -> {cpu} {}", cpus.cpus);
        }
    }
    let threads = [
        ("emulator threads", &plan.threads.emulator),
        ("iothreads", &plan.threads.iothreads),
        ("vhost workers", &plan.threads.vhost),
    ];
    for (name, cpus) in threads {
        if let Some(cpus) = cpus {
            let _ = writeln!(out, "  {name} -> cpus {cpus}");
        }
    }
    if policy.mode != Mode::None {
        let _ = writeln!(out, "  cost: {}", cost(plan));
    }
    for note in &plan.notes {
        let _ = writeln!(out, "  note: {note}");
    }
    out
}

/// A plan on one line: the guest, its policy, and what the plan costs.
pub(crate) fn line(planned: &Planned) -> String {
    let Planned {
        guest,
        policy,
        source,
        plan,
    } = planned;
    let head = head(&guest.name.0, guest, policy, source);
    match policy.mode {
        Mode::None => format!("{}; nothing is pinned", head.trim_end()),
        _ => format!("{}; cost: {}", head.trim_end(), cost(plan)),
    }
}

/// Guest, shape and policy on one line.
fn head(name: &str, guest: &Guest, policy: &Policy, source: &str) -> String {
    let threads = if guest.threads > 1 {
        format!(" x {} threads", guest.threads)
    } else {
        String::new()
    };
    let nodes = match guest.virtual_nodes.len() {
        1 => "1 virtual node".to_owned(),
        n => format!("{n} virtual nodes"),
    };
    format!(
        "guest {}: {} x {}{threads}, {nodes}; policy {policy} ({source})\n",
        name,
        count(guest.sockets, "socket"),
        count(guest.cores, "core"),
    )
}

/// Neighbouring vCPUs of a virtual node with the same mask, so that a mode with one mask for all takes one line.
fn together<'a>(plan: &'a Plan, vcpus: &VcpuSet) -> Vec<(VcpuSet, &'a PlacedVcpu)> {
    let mut groups: Vec<(VcpuSet, &PlacedVcpu)> = Vec::new();
    for placed in plan
        .vcpus
        .iter()
        .filter(|placed| vcpus.contains(placed.vcpu))
    {
        match groups.last_mut() {
            Some((group, first)) if first.cpus == placed.cpus => {
                group.insert(placed.vcpu);
            }
            _ => groups.push((VcpuSet::from_iter([placed.vcpu]), placed)),
        }
    }
    groups
}

/// The items that are not zero, in the order of comparison, and whether the plan is proved best.
fn cost(plan: &Plan) -> String {
    let zero = |value: &Value| match value {
        Value::Count(count) => *count == 0,
        Value::Fraction(fraction) => *fraction == Default::default(),
        Value::Fractions(list) => list.is_empty(),
    };
    let items: Vec<_> = plan
        .cost
        .iter()
        .filter(|(_, value)| !zero(value))
        .map(|(item, value)| format!("{item} {value}"))
        .collect();
    let items = if items.is_empty() {
        "0 in every item".to_owned()
    } else {
        items.join(", ")
    };
    format!(
        "{items}; {}",
        if plan.optimal {
            "proved the lowest"
        } else {
            "not proved the lowest"
        }
    )
}

fn count(n: u32, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn plural(n: usize, what: &str) -> String {
    format!("{what}{}", if n == 1 { "" } else { "s" })
}

/// That a guest fits, with what is worth knowing.
pub(crate) fn fits(planned: &Planned) -> String {
    let mut out = head(
        &planned.guest.name.0,
        &planned.guest,
        &planned.policy,
        &planned.source,
    );
    out.push_str("  it fits\n");
    for note in &planned.plan.notes {
        let _ = writeln!(out, "  note: {note}");
    }
    out
}
