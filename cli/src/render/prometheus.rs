//! `status` for the textfile collector of Prometheus' node_exporter.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use crate::survey::{Free, GuestStatus, NodeStatus};

/// All metrics, each with its help and type.
pub(crate) fn text(guests: &[GuestStatus], node: Option<&NodeStatus>) -> String {
    let mut out = String::new();
    let each = |value: &dyn Fn(&GuestStatus) -> u64| -> Vec<(String, u64)> {
        let line = |guest: &GuestStatus| (label("guest", &guest.guest), value(guest));
        guests.iter().map(line).collect()
    };
    metric(
        &mut out,
        "numapin_guest_drift",
        "Whether a mask of the guest differs from what is wanted",
        each(&|guest| u64::from(guest.drift)),
    );
    metric(
        &mut out,
        "numapin_guest_info",
        "How far the guest has come: pinned, drifted, unplaced, starting, held, no policy or stopped",
        guests.iter().map(|guest| {
            let name = guest.title.as_deref().unwrap_or_default();
            let policy = guest.policy.as_ref().map_or("none", |policy| &*policy.text);
            let labels = [
                label("guest", &guest.guest),
                label("name", name),
                label("state", guest.state.word()),
                label("policy", policy),
            ];
            (labels.join(","), 1)
        }),
    );
    metric(
        &mut out,
        "numapin_guest_threads",
        "Threads of the guest by the state of their masks",
        guests.iter().flat_map(|guest| {
            let mut states: BTreeMap<&str, u64> = BTreeMap::new();
            for thread in &guest.threads {
                *states.entry(thread.state.word()).or_default() += 1;
            }
            let name = label("guest", &guest.guest);
            let line = move |(state, n)| (format!("{name},{}", label("state", state)), n);
            states.into_iter().map(line)
        }),
    );
    metric(
        &mut out,
        "numapin_guest_claimed_cpus",
        "CPUs that the guest holds one-to-one",
        each(&|guest| guest.claimed.len() as u64),
    );
    metric(
        &mut out,
        "numapin_guest_memory_bytes",
        "Memory of the guest by host node, and whether that is one of its host nodes",
        guests.iter().flat_map(|guest| {
            guest.memory_mib.iter().map(|(node, mib)| {
                let own = guest.host_nodes.contains(*node);
                let labels = [
                    label("guest", &guest.guest),
                    label("node", node),
                    label("own", own),
                ];
                (labels.join(","), mib * 1_048_576)
            })
        }),
    );
    if let Some(node) = node {
        of_node(&mut out, node);
    }
    out
}

fn of_node(out: &mut String, node: &NodeStatus) {
    let mut each = |name: &str, help: &str, value: &dyn Fn(&Free) -> usize| {
        let line = |free: &Free| (label("node", free.node), value(free) as u64);
        metric(out, name, help, node.nodes.iter().map(line));
    };
    each(
        "numapin_node_cpus",
        "Online CPUs of the host node",
        &|free| free.cpus.len(),
    );
    each(
        "numapin_node_claimed_cpus",
        "CPUs of the host node that guests hold one-to-one",
        &|free| free.claimed.len(),
    );
    each(
        "numapin_node_free_cores",
        "Cores of the host node of which every CPU is free",
        &|free| free.free_cores,
    );
    each(
        "numapin_node_free_l3s",
        "L3s of the host node of which every CPU is free",
        &|free| free.free_l3s,
    );
    let lines = [(String::new(), node.lines_without_guest.len() as u64)];
    metric(
        out,
        "numapin_policy_lines_without_guest",
        "Lines of numapin.conf whose guest does not exist",
        lines,
    );
}

fn metric(
    out: &mut String,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (String, u64)>,
) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
    for (labels, value) in values {
        let _ = match labels.is_empty() {
            true => writeln!(out, "{name} {value}"),
            false => writeln!(out, "{name}{{{labels}}} {value}"),
        };
    }
}

/// A label; backslash, quote and line feed are escaped (Prometheus' exposition format).
fn label(key: &str, value: impl Display) -> String {
    let value = value.to_string();
    let value = value
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("{key}=\"{value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(label("name", "a\"b\\c\nd"), r#"name="a\"b\\c\nd""#);
    }
}
