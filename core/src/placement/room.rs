//! How much room a host node has for a guest, and what took the rest: the numbers of a refusal.

use std::fmt;

use serde::Serialize;

use crate::guest::GuestName;
use crate::id::NodeId;
use crate::idset::CpuSet;

/// What vCPUs are counted against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Usable CPUs.
    Cpus,
    /// Usable cores (smt=isolate).
    Cores,
}

/// What a host node has for a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodeRoom {
    /// Which one.
    pub host_node: NodeId,
    /// How many CPUs or cores the guest can use there.
    pub usable: u32,
    /// How many are online there.
    pub online: u32,
    /// What took the others away, each CPU counted under the first that did.
    pub taken: Vec<Taken>,
}

/// CPUs that something took away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Taken {
    /// What did.
    pub by: Taker,
    /// Which.
    pub cpus: CpuSet,
}

/// What takes CPUs away from a guest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Taker {
    /// The guest's `affinity` does not name them.
    Affinity,
    /// They are offline.
    Offline,
    /// numapin.conf keeps them for the host.
    Reserved,
    /// They are isolated from the scheduler.
    Isolated,
    /// They are not isolated (isolated=only).
    NotIsolated,
    /// They are of another kind than `kind` asks for.
    Kind,
    /// The cpuset of the guest's cgroup does not allow them.
    Cpuset,
    /// Another guest holds them one-to-one (overlap=deny), or a sibling of them (smt=isolate).
    Guest(GuestName),
    /// They belong to no host node.
    NoNode,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpus => "cpus",
            Self::Cores => "cores",
        })
    }
}

/// "host node 0 has 2 of 8 (affinity took cpu(s) 2-7)".
impl fmt::Display for NodeRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host_node,
            usable,
            online,
            taken,
        } = self;
        write!(f, "host node {host_node} has {usable} of {online}")?;
        for (i, taken) in taken.iter().enumerate() {
            write!(f, "{}{taken}", if i == 0 { " (" } else { ", " })?;
        }
        f.write_str(if taken.is_empty() { "" } else { ")" })
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpus = &self.cpus;
        match &self.by {
            Taker::Affinity => write!(f, "affinity leaves out cpu(s) {cpus}"),
            Taker::Offline => write!(f, "cpu(s) {cpus} are offline"),
            Taker::Reserved => write!(f, "cpu(s) {cpus} are reserved for the host"),
            Taker::Isolated => write!(f, "cpu(s) {cpus} are isolated"),
            Taker::NotIsolated => write!(f, "cpu(s) {cpus} are not isolated"),
            Taker::Kind => write!(f, "cpu(s) {cpus} are of another kind"),
            Taker::Cpuset => write!(f, "the cpuset of its cgroup leaves out cpu(s) {cpus}"),
            Taker::Guest(guest) => write!(f, "guest {guest} holds cpu(s) {cpus}"),
            Taker::NoNode => write!(f, "cpu(s) {cpus} belong to no host node"),
        }
    }
}
