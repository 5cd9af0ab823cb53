//! Why a guest can't be placed: data with all numbers, and a text that says how to mend it.

use std::fmt;

use serde::Serialize;

use crate::guest::GuestName;
use crate::id::{NodeId, VnodeId};
use crate::idset::{CpuSet, NodeSet, VcpuSet};
use crate::placement::Change;
use crate::placement::room::{NodeRoom, Taken, Unit};

/// All reasons why one guest can't be placed; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violations {
    /// Which guest.
    pub guest: GuestName,
    /// The reasons, in the order of virtual nodes.
    pub list: Vec<Violation>,
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list: Vec<String> = self.list.iter().map(ToString::to_string).collect();
        write!(f, "guest {}: {}", self.guest, list.join("; "))
    }
}

impl std::error::Error for Violations {}

/// One reason. Serialises with its `kind` in snake case and its own fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Violation {
    /// A virtual node names more than one host node.
    #[error(
        "virtual node {virtual_node} names several host nodes ({hostnodes:?}) (expected exactly one, or none: write one \
         hostnodes value, or one numaN line for each host node)"
    )]
    SeveralHostNodes {
        /// Which one.
        virtual_node: VnodeId,
        /// What `hostnodes` says.
        hostnodes: String,
    },
    /// A virtual node names a host node that does not exist.
    #[error(
        "virtual node {virtual_node} names host node {host_node}, which does not exist on this host{}",
        mend(change.as_ref())
    )]
    NoSuchHostNode {
        /// Which one.
        virtual_node: VnodeId,
        /// The host node it names.
        host_node: NodeId,
        /// The smallest change with which the guest fits.
        change: Option<Change>,
    },
    /// Sockets and cores that make no vCPU, or more than a guest can have.
    #[error(
        "{sockets} socket(s) of {cores} core(s){} are not a number of vcpus that a guest can have (expected 1 to {max})",
        smt(*threads)
    )]
    VcpuCount {
        /// `sockets`.
        sockets: u32,
        /// `cores`.
        cores: u32,
        /// Threads of a core.
        threads: u32,
        /// The most vCPUs.
        max: u32,
    },
    /// More virtual nodes than QEMU takes.
    #[error(
        "{virtual_nodes} virtual nodes are more than a guest can have (expected at most {max})"
    )]
    TooManyVirtualNodes {
        /// How many.
        virtual_nodes: u32,
        /// The most there can be.
        max: u32,
    },
    /// Two virtual nodes with one number.
    #[error("virtual node {virtual_node} is there twice (expected each once)")]
    VirtualNodeTwice {
        /// Which one.
        virtual_node: VnodeId,
    },
    /// A virtual node that the guest does not have.
    #[error(
        "virtual node {virtual_node} is to go to host node {host_node}, but the guest has only virtual node(s) {}",
        ids(virtual_nodes)
    )]
    NoSuchVirtualNode {
        /// Which one.
        virtual_node: VnodeId,
        /// Where it is to go.
        host_node: NodeId,
        /// The ones there are.
        virtual_nodes: Vec<VnodeId>,
    },
    /// A virtual node without vCPUs.
    #[error("virtual node {virtual_node} has no vcpus (expected at least one in its cpus)")]
    NoVcpus {
        /// Which one.
        virtual_node: VnodeId,
    },
    /// vCPUs in two virtual nodes, or twice in one.
    #[error("vcpu(s) {vcpus} are {} (expected each vcpu once)", twice(*first, *second))]
    VcpuTwice {
        /// Which ones.
        vcpus: VcpuSet,
        /// Where they are first.
        first: VnodeId,
        /// Where they are again; the same for those that are twice in one.
        second: VnodeId,
    },
    /// vCPUs in no virtual node.
    #[error(
        "vcpu(s) {vcpus} are in no virtual node (expected each of the {total} vcpus, sockets x cores, once in the cpus of a \
         numaN line)"
    )]
    VcpuMissing {
        /// Which ones.
        vcpus: VcpuSet,
        /// How many the guest has.
        total: u32,
    },
    /// vCPUs that the guest does not have.
    #[error(
        "virtual node {virtual_node} names vcpu(s) {vcpus}, but the guest has only {total} vcpus (sockets x cores): 0 to {}",
        total.saturating_sub(1)
    )]
    VcpuBeyond {
        /// Which virtual node.
        virtual_node: VnodeId,
        /// Which vCPUs.
        vcpus: VcpuSet,
        /// How many the guest has.
        total: u32,
    },
    /// Plugged vCPUs that the guest does not have.
    #[error(
        "vcpu(s) {vcpus} are plugged, but the guest has only {total} vcpus (sockets x cores): 0 to {}",
        total.saturating_sub(1)
    )]
    PluggedBeyond {
        /// Which ones.
        vcpus: VcpuSet,
        /// How many the guest has.
        total: u32,
    },
    /// A virtual node that no host node, or not the one it names, has room for.
    #[error(
        "virtual node {virtual_node} needs {wanted} {unit} of one host node{}{}",
        rooms(host_nodes, offline),
        mend(change.as_ref())
    )]
    NotEnoughCpus {
        /// Which one.
        virtual_node: VnodeId,
        /// How many it needs.
        wanted: u32,
        /// Of what.
        unit: Unit,
        /// What the host node that it names has, or each one.
        host_nodes: Vec<NodeRoom>,
        /// Which CPUs of the host are offline.
        offline: CpuSet,
        /// The smallest change with which the guest fits.
        change: Option<Change>,
    },
    /// Virtual nodes each of which would fit, but not together.
    #[error(
        "{} {wanted} {unit} together{}{}",
        need(virtual_nodes),
        rooms(host_nodes, offline),
        mend(change.as_ref())
    )]
    NotEnoughTogether {
        /// Which.
        virtual_nodes: Vec<VnodeId>,
        /// How many they need.
        wanted: u32,
        /// Of what.
        unit: Unit,
        /// What the host nodes have.
        host_nodes: Vec<NodeRoom>,
        /// Which CPUs of the host are offline.
        offline: CpuSet,
        /// The smallest change with which the guest fits.
        change: Option<Change>,
    },
    /// No CPU of the host is usable for the guest.
    #[error("no cpu of the host is usable{}{}", takers(taken), mend(change.as_ref()))]
    NoUsableCpus {
        /// What took them away.
        taken: Vec<Taken>,
        /// The smallest change with which the guest fits.
        change: Option<Change>,
    },
}

/// What each host node has. Those from which nothing was taken and that have the same are named together, where the first of
/// them stands.
fn rooms(host_nodes: &[NodeRoom], offline: &CpuSet) -> String {
    let whole = |room: &NodeRoom| room.taken.is_empty().then_some((room.usable, room.online));
    let mut rooms: Vec<String> = Vec::new();
    for (i, room) in host_nodes.iter().enumerate() {
        let like = |other: &&NodeRoom| whole(room).is_some() && whole(other) == whole(room);
        if host_nodes[..i].iter().any(|other| like(&other)) {
            continue;
        }
        let alike: NodeSet = host_nodes[i..]
            .iter()
            .filter(like)
            .map(|r| r.host_node)
            .collect();
        rooms.push(match alike.len() {
            0 | 1 => room.to_string(),
            _ => format!(
                "host nodes {alike} have {} of {} each",
                room.usable, room.online
            ),
        });
    }
    if !offline.is_empty() {
        rooms.push(format!("cpu(s) {offline} of the host are offline"));
    }
    match rooms.as_slice() {
        [] => String::from(", and there is none"),
        _ => format!(", but {}", rooms.join("; ")),
    }
}

fn takers(taken: &[Taken]) -> String {
    let takers: Vec<String> = taken.iter().map(ToString::to_string).collect();
    match takers.as_slice() {
        [] => String::new(),
        _ => format!(": {}", takers.join(", ")),
    }
}

fn mend(change: Option<&Change>) -> String {
    change.map_or_else(String::new, |change| format!("; it fits with {change}"))
}

fn need(virtual_nodes: &[VnodeId]) -> String {
    match virtual_nodes {
        [one] => format!("virtual node {one} needs"),
        _ => format!("virtual nodes {} need", ids(virtual_nodes)),
    }
}

fn ids(virtual_nodes: &[VnodeId]) -> String {
    let ids: Vec<String> = virtual_nodes.iter().map(ToString::to_string).collect();
    ids.join(", ")
}

fn smt(threads: u32) -> String {
    match threads {
        1 => String::new(),
        _ => format!(" of {threads} thread(s)"),
    }
}

fn twice(first: VnodeId, second: VnodeId) -> String {
    if first == second {
        return format!("twice in virtual node {first}");
    }
    format!("in virtual node {first} and again in virtual node {second}")
}

impl Violation {
    /// Says which change would mend it, where there is one.
    pub(crate) fn mend_with(&mut self, mend: Option<Change>) {
        match self {
            Self::NotEnoughCpus { change, .. }
            | Self::NotEnoughTogether { change, .. }
            | Self::NoUsableCpus { change, .. }
            | Self::NoSuchHostNode { change, .. } => *change = mend,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::room::Taker;

    fn room(host_node: u32, usable: u32, taken: Option<&str>) -> NodeRoom {
        let taken = taken.map(|cpus| Taken {
            by: Taker::Affinity,
            cpus: cpus.parse().unwrap(),
        });
        NodeRoom {
            host_node: NodeId(host_node),
            usable,
            online: 8,
            taken: taken.into_iter().collect(),
        }
    }

    #[test]
    fn host_nodes_with_the_same_room_are_named_together() {
        let host_nodes = vec![
            room(0, 8, None),
            room(1, 6, Some("4-5")),
            room(2, 8, None),
            room(3, 8, None),
        ];
        let refused = Violation::NotEnoughTogether {
            virtual_nodes: vec![VnodeId(0)],
            wanted: 40,
            unit: Unit::Cpus,
            host_nodes,
            offline: CpuSet::new(),
            change: None,
        };
        assert_eq!(
            refused.to_string(),
            "virtual node 0 needs 40 cpus together, but host nodes 0,2-3 have 8 of 8 each; host node 1 has 6 of 8 (affinity \
             leaves out cpu(s) 4-5)"
        );
    }
}
