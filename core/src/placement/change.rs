//! The smallest single change that would make a guest fit, each verified by planning with it.

use std::fmt;

use serde::Serialize;

use crate::guest::GuestName;
use crate::id::{NodeId, VnodeId};
use crate::idset::CpuSet;
use crate::policy::{Isolated, Kind, Overlap, Smt};

/// A single change of a guest, of its policy or of its neighbours with which it fits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// Another value of `hostnodes`.
    HostNode {
        /// Of which virtual node.
        virtual_node: VnodeId,
        /// The value with which it fits.
        host_node: NodeId,
    },
    /// No `hostnodes` for a virtual node.
    NoHostNode {
        /// Of which virtual node.
        virtual_node: VnodeId,
    },
    /// More CPUs in `affinity`.
    WidenAffinity {
        /// How many more.
        more: u32,
        /// Of which host node.
        host_node: NodeId,
        /// For example these.
        cpus: CpuSet,
    },
    /// Another shape with as many vCPUs: more virtual nodes, each smaller.
    Sockets {
        /// `sockets`.
        sockets: u32,
        /// `cores`.
        cores: u32,
    },
    /// Another `smt` in the policy.
    Smt {
        /// The value with which it fits.
        smt: Smt,
    },
    /// Another `overlap` in the policy.
    Overlap {
        /// The value with which it fits.
        overlap: Overlap,
    },
    /// Another `isolated` in the policy.
    Isolated {
        /// The value with which it fits.
        isolated: Isolated,
    },
    /// Another `kind` in the policy.
    Kind {
        /// The value with which it fits.
        kind: Kind,
    },
    /// Another guest moved away or stopped.
    MoveGuest {
        /// Which one.
        guest: GuestName,
    },
    /// Fewer vCPUs in a virtual node.
    FewerVcpus {
        /// Which one.
        virtual_node: VnodeId,
        /// How many fit.
        vcpus: u32,
    },
    /// Fewer vCPUs in every socket.
    FewerCores {
        /// How many `cores` fit.
        cores: u32,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostNode {
                virtual_node,
                host_node,
            } => {
                write!(f, "hostnodes={host_node} for virtual node {virtual_node}")
            }
            Self::NoHostNode { virtual_node } => {
                write!(f, "no hostnodes for virtual node {virtual_node}")
            }
            Self::WidenAffinity {
                more,
                host_node,
                cpus,
            } => write!(
                f,
                "an affinity with {more} more cpu(s) of host node {host_node}, for example {cpus}"
            ),
            Self::Sockets { sockets, cores } => {
                write!(f, "numa: 1 with sockets: {sockets} and cores: {cores}")
            }
            Self::Smt { smt } => write!(f, "smt={smt} in the policy"),
            Self::Overlap { overlap } => write!(f, "overlap={overlap} in the policy"),
            Self::Isolated { isolated } => write!(f, "isolated={isolated} in the policy"),
            Self::Kind { kind } => write!(f, "kind={kind} in the policy"),
            Self::MoveGuest { guest } => write!(f, "guest {guest} moved away"),
            Self::FewerVcpus {
                virtual_node,
                vcpus,
            } => {
                write!(
                    f,
                    "no more than {vcpus} vcpu(s) in virtual node {virtual_node}"
                )
            }
            Self::FewerCores { cores } => write!(f, "cores: {cores}"),
        }
    }
}
