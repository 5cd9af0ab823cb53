//! The guest: what it is made of, valid by construction.
//!
//! ```text
//! 100.conf ── pve, property ──► GuestConfig (as written) ─┐
//! flags ──────────────────────────────────────────────────┼─► Guest
//! query-cpus-fast, query-hotpluggable-cpus ── qmp ────────┘
//! ```

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::id::{NodeId, Vmid, VnodeId};
use crate::idset::{CpuSet, NodeSet, VcpuSet};

/// A guest whose virtual nodes are a partition of its vCPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// How output calls it: the VMID, or the file or socket it was read from.
    pub name: GuestName,
    /// Its number, for a Proxmox VE guest.
    pub vmid: Option<Vmid>,
    /// Sockets, at least 1.
    pub sockets: u32,
    /// Cores of a socket, at least 1.
    pub cores: u32,
    /// SMT threads of a core as the guest sees them; Proxmox VE has no setting for it, so 1 from a config.
    pub threads: u32,
    /// Whether the guest has virtual nodes of its own (`numa: 1`).
    pub numa: bool,
    /// Whether `numaN` lines say which vCPUs are where.
    pub numa_explicit: bool,
    /// At least one, ascending by id; together all vCPUs, each once.
    pub virtual_nodes: Vec<VirtualNode>,
    /// The vCPUs that are plugged now, or at the next start.
    pub plugged: VcpuSet,
    /// The CPUs that the key `affinity` names; `None` without the key.
    pub affinity: Option<CpuSet>,
    /// Memory in MiB, where it is known.
    pub memory_mib: Option<u64>,
    /// Whether the memory is in huge pages, and in which.
    pub hugepages: Option<Hugepages>,
    /// PCI devices passed through.
    pub devices: Vec<Device>,
    /// What only a running guest has.
    pub running: Option<Running>,
}

/// The name of a guest in output: a VMID, or the file or socket it was read from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct GuestName(pub String);

/// A NUMA node of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualNode {
    /// Its number in the guest.
    pub id: VnodeId,
    /// Its vCPUs, at least one.
    pub vcpus: VcpuSet,
    /// The host node that `hostnodes` names.
    pub host_node: Option<NodeId>,
    /// Its memory in MiB, where it is known.
    pub memory_mib: Option<u64>,
    /// Whether its memory is bound to the host node (`policy=bind`), so that it can't be elsewhere.
    pub bound: bool,
}

/// The size of huge pages a guest asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hugepages {
    /// `any`: 1 GiB where the size allows, else 2 MiB.
    Any,
    /// 2 MiB.
    Mib2,
    /// 1 GiB.
    Gib1,
}

/// A PCI device passed through to the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its address on the host ("0000:0f:00.0").
    pub address: String,
    /// The host node it hangs on; `None` where sysfs does not know (-1) or the device is absent.
    pub node: Option<NodeId>,
}

/// What only a running guest has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Running {
    /// Its memory in MiB by host node, from its cgroup; empty where that is not known.
    pub memory_mib: BTreeMap<NodeId, u64>,
}

impl Guest {
    /// All vCPUs, plugged or not.
    #[must_use]
    pub fn vcpus(&self) -> VcpuSet {
        self.virtual_nodes
            .iter()
            .fold(VcpuSet::new(), |all, node| all.union(&node.vcpus))
    }

    /// The memory of one of its virtual nodes in MiB: its own, or the guest's where there is only one; `None` where that is
    /// not known.
    #[must_use]
    pub fn memory_of(&self, node: &VirtualNode) -> Option<u64> {
        let alone = self.virtual_nodes.len() == 1;
        node.memory_mib.or(self.memory_mib.filter(|_| alone))
    }

    /// The host nodes that its virtual nodes name.
    #[must_use]
    pub fn named_host_nodes(&self) -> NodeSet {
        self.virtual_nodes
            .iter()
            .filter_map(|node| node.host_node)
            .collect()
    }
}

impl fmt::Display for GuestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
