//! The host: its online CPUs with node, package, core and L3, its NUMA nodes, and which CPUs are not to be used.
//!
//! ```text
//! Host ─┬─ nodes ──── Node ── id ─┬─ cpus          those of different nodes have none in common
//!       │                         ├─ distances     to each online node
//!       │                         └─ memory        total, available, free huge pages
//!       ├─ cpus ───── Cpu ─── id ─┬─ node          each CPU belongs to one node, or to none
//!       │                         ├─ package ─ die the kernel's ids, where it has them
//!       │                         ├─ l3            can span nodes; a node can hold many
//!       │                         ├─ core          its SMT threads are the CPUs that name the same core
//!       │                         └─ kind          of core, 0 the fastest (hybrid hosts)
//!       ├─ offline, isolated, reserved, allowed    sets of CPUs
//!       └─ warnings                                what was odd
//! ```
//! "Core" and "L3" are named by the lowest online CPU of the group; package, die and node by the kernel's ids. [`sysfs`] reads
//! all of this; [`cpuset`] what a guest's cgroup allows; [`memory`] what changes from minute to minute; [`pci`] where devices are.

pub mod cpuset;
mod error;
pub mod memory;
pub mod pci;
pub mod sysfs;
#[cfg(test)]
mod testing;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use error::{HostError, Problem};

use crate::id::{CoreId, CpuId, L3Id, NodeId, PackageId};
use crate::idset::CpuSet;

/// A host, as a reader found it and as the administrator's settings restrict it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// The online CPUs, ascending by id.
    pub cpus: Vec<Cpu>,
    /// The online NUMA nodes, ascending by id; also those without CPUs or memory. A host without NUMA has one node, 0.
    pub nodes: Vec<Node>,
    /// CPUs that exist and are offline.
    pub offline: CpuSet,
    /// CPUs isolated from the scheduler: isolcpus, isolated cgroup partitions, and those numapin.conf names.
    pub isolated: CpuSet,
    /// CPUs that numapin.conf keeps for the host itself.
    pub reserved: CpuSet,
    /// What the cpuset of the guest's cgroup allows; `None` where nothing restricts it.
    pub allowed: Option<CpuSet>,
    /// ZFS is in use, so that free memory says little (its cache counts as used).
    pub zfs: bool,
    /// What was odd about the host, in the order it was found.
    pub warnings: Vec<HostWarning>,
}

/// One online CPU (SMT thread).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpu {
    /// The kernel's number.
    pub id: CpuId,
    /// The NUMA node; `None` for a CPU that belongs to no node.
    pub node: Option<NodeId>,
    /// The socket, by the kernel's `physical_package_id`; `None` where the kernel does not know (-1, as on POWER).
    pub package: Option<PackageId>,
    /// The die within the package, by the kernel's `die_id`, where there is one.
    pub die: Option<u32>,
    /// The physical core: the lowest online CPU of it.
    pub core: CoreId,
    /// The level-3 cache: the lowest online CPU that shares it. A cache can span two nodes.
    pub l3: Option<L3Id>,
    /// The kind of core, 0 the fastest; `None` where all cores are alike.
    pub kind: Option<u32>,
}

/// One NUMA node of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// The kernel's number.
    pub id: NodeId,
    /// Its online CPUs. Those of different nodes have none in common.
    pub cpus: CpuSet,
    /// Its memory; `None` where the host does not say.
    pub memory: Option<NodeMemory>,
    /// The distance to each online node; empty where the host does not say.
    pub distances: BTreeMap<NodeId, u32>,
}

/// The memory of a node, in KiB, as `nodeN/meminfo` and `nodeN/hugepages` say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeMemory {
    /// `MemTotal`.
    pub total_kib: u64,
    /// `MemFree + FilePages - Shmem + KReclaimable`; `None` where a capture has only the total.
    pub available_kib: Option<u64>,
    /// Pages that are free, by the size of a page in KiB.
    pub free_hugepages: BTreeMap<u64, u64>,
}

/// Something odd about a host that does not stop numapin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostWarning {
    /// CPUs that belong to no node.
    #[error("cpu(s) {0} belong to no host node: only the mode shared can use them")]
    NoNode(CpuSet),
    /// CPUs that several nodes list: broken firmware.
    #[error(
        "cpu(s) {0} are listed by several host nodes: each is taken to belong to the lowest of them"
    )]
    SeveralNodes(CpuSet),
    /// A file that only weighs plans can't be understood: what it would say counts as unknown.
    #[error("{}: {problem}; {unknown} counts as unknown", path.display())]
    Unknown {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: Problem,
        /// What it would have said.
        unknown: &'static str,
    },
}

impl Host {
    /// The online CPUs.
    #[must_use]
    pub fn online(&self) -> CpuSet {
        self.cpus.iter().map(|cpu| cpu.id).collect()
    }

    /// The fastest kind of core among the online CPUs; 0 where all are alike.
    #[must_use]
    pub fn fastest_kind(&self) -> u32 {
        self.cpus
            .iter()
            .filter_map(|cpu| cpu.kind)
            .min()
            .unwrap_or(0)
    }

    /// A CPU that is online.
    #[must_use]
    pub fn cpu(&self, id: CpuId) -> Option<&Cpu> {
        self.cpus
            .binary_search_by_key(&id, |cpu| cpu.id)
            .ok()
            .map(|i| &self.cpus[i])
    }

    /// A node that is online.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes
            .binary_search_by_key(&id, |node| node.id)
            .ok()
            .map(|i| &self.nodes[i])
    }

    /// The distance between two nodes. Where the host does not say: the kernel's defaults, 10 within a node and 20 between
    /// two (LOCAL_DISTANCE and REMOTE_DISTANCE in include/linux/topology.h).
    #[must_use]
    pub fn distance(&self, from: NodeId, to: NodeId) -> u32 {
        let known = self
            .node(from)
            .and_then(|node| node.distances.get(&to))
            .copied();
        known.unwrap_or(if from == to { 10 } else { 20 })
    }
}
