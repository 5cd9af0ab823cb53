//! Why a plan is as it is, for people.

use std::fmt::Write as _;

use numapin_core::idset::NodeSet;
use numapin_core::placement::Explanation;

/// For each virtual node why it is where it is; host nodes that fell to the same reason share a line.
pub(crate) fn text(explanation: &Explanation) -> String {
    let mut out = String::new();
    for node in &explanation.virtual_nodes {
        let nodes = if node.host_nodes.len() == 1 {
            "host node"
        } else {
            "host nodes"
        };
        let _ = writeln!(
            out,
            "  why virtual node {} is on {nodes} {}: {}",
            node.virtual_node, node.host_nodes, node.reason
        );
        let mut groups: Vec<(String, NodeSet)> = Vec::new();
        for other in &node.others {
            let against = other.against.to_string();
            match groups.iter_mut().find(|(same, _)| *same == against) {
                Some((_, nodes)) => {
                    nodes.insert(other.host_node);
                }
                None => groups.push((against, NodeSet::from_iter([other.host_node]))),
            }
        }
        for (against, nodes) in groups {
            let node = if nodes.len() == 1 { "node" } else { "nodes" };
            let _ = writeln!(out, "    not host {node} {nodes}: {against}");
        }
    }
    out
}
