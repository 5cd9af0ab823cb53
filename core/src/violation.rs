//! Why a guest can't be placed: data with all numbers, and a text that says how to mend it.

use serde::Serialize;

use crate::guest::GuestName;
use crate::id::{NodeId, VcpuId, VnodeId};

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
}
