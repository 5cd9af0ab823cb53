//! Why a guest can't be placed: data with all numbers, and a text that says how to mend it.

use serde::Serialize;

use crate::guest::GuestName;
use crate::id::{NodeId, VcpuId, VnodeId};
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

/// One reason. Serialises with its `kind` in snake case and its own fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Violation {
    /// A virtual node names more than one host node.
    #[error(
        "virtual node {virtual_node} names several host nodes ({hostnodes:?}); expected exactly one, or none (write one \
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
        "virtual node {virtual_node} names host node {host_node}, which does not exist on this host"
    )]
    NoSuchHostNode {
        /// Which one.
        virtual_node: VnodeId,
        /// The host node it names.
        host_node: NodeId,
    },
    /// A vCPU in two virtual nodes, or twice in one.
    #[error(
        "vcpu {vcpu} is in virtual node {first} and again in virtual node {second}; expected each vcpu once"
    )]
    VcpuTwice {
        /// Which one.
        vcpu: VcpuId,
        /// Where it is first.
        first: VnodeId,
        /// Where it is again.
        second: VnodeId,
    },
    /// A vCPU in no virtual node.
    #[error(
        "vcpu {vcpu} is in no virtual node; expected each of the {vcpus} vcpus once in the cpus of a numaN line"
    )]
    VcpuMissing {
        /// Which one.
        vcpu: VcpuId,
        /// How many the guest has.
        vcpus: u32,
    },
    /// A vCPU that the guest does not have.
    #[error(
        "virtual node {virtual_node} names vcpu {vcpu}, but the guest has only {vcpus} vcpus (sockets x cores)"
    )]
    VcpuBeyond {
        /// Which virtual node.
        virtual_node: VnodeId,
        /// Which vCPU.
        vcpu: VcpuId,
        /// How many the guest has.
        vcpus: u32,
    },
    /// A virtual node that no host node, or not the one it names, has room for.
    #[error(
        "virtual node {virtual_node} needs {wanted} {unit} of one host node{}{}",
        rooms(host_nodes),
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
        /// The smallest change with which the guest fits.
        change: Option<Change>,
    },
    /// Virtual nodes each of which would fit, but not together.
    #[error(
        "virtual nodes {} need {wanted} {unit} together{}{}",
        ids(virtual_nodes),
        rooms(host_nodes),
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

fn rooms(host_nodes: &[NodeRoom]) -> String {
    let rooms: Vec<String> = host_nodes.iter().map(ToString::to_string).collect();
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

fn ids(virtual_nodes: &[VnodeId]) -> String {
    let ids: Vec<String> = virtual_nodes.iter().map(ToString::to_string).collect();
    ids.join(", ")
}
