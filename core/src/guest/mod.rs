//! The guest: what it is made of, valid by construction.
//!
//! ```text
//! 100.conf ── pve, property ──► GuestConfig (as written) ─┐
//! flags ──────────────────────────────────────────────────┼─► GuestParts ─► Guest
//! query-cpus-fast, query-hotpluggable-cpus ── qmp ────────┘
//! ```
//! A [`Guest`] can only be made by [`Guest::new`], which holds its parts to the rules; it reads like its [`GuestParts`].

mod check;
pub mod flags;
pub mod property;
pub mod pve;
pub mod qmp;
pub mod ranges;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

pub(crate) use crate::cpulist::excerpt;
use crate::id::{NodeId, Vmid, VnodeId};
use crate::idset::{CpuSet, NodeSet, VcpuSet};
use crate::sorted;
use crate::violation::Violations;

/// A guest whose virtual nodes are a partition of its vCPUs.
///
/// ```
/// use numapin_core::guest::{Guest, GuestParts};
///
/// let guest = Guest::new(GuestParts::new("100", 2, 4).with_numa())?;
/// assert_eq!(guest.virtual_nodes[1].vcpus.to_string(), "4-7");
///
/// let mut parts = GuestParts::new("100", 2, 4);
/// parts.virtual_nodes[0].vcpus = "0-6".parse().unwrap();
/// let refused = Guest::new(parts).unwrap_err();
/// assert!(refused.list[0].to_string().starts_with("vcpu(s) 7 are in no virtual node"));
/// # Ok::<(), numapin_core::violation::Violations>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest(GuestParts);

/// What a [`Guest`] is made of, not yet held to any rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestParts {
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// The most vCPUs a guest can have: no machine of QEMU's has more than 4,096 on x86 (KVM's own limit), and no host that
    /// Linux runs on has more than 8,192 CPUs to pin them to.
    pub const MAX_VCPUS: u32 = 8_192;

    /// The most virtual nodes a guest can have: QEMU's `MAX_NODES`.
    pub const MAX_VIRTUAL_NODES: u32 = 128;

    /// Makes a guest of its parts. Virtual nodes are put in ascending order.
    ///
    /// # Errors
    /// Every rule that the parts break: the vCPUs are not a partition of `0..sockets * cores * threads`, or there are too many.
    pub fn new(mut parts: GuestParts) -> Result<Self, Violations> {
        sorted::sort_by_key(&mut parts.virtual_nodes, |node| node.id);
        let list = check::violations(&parts);
        if list.is_empty() {
            return Ok(Self(parts));
        }
        Err(Violations {
            guest: parts.name,
            list,
        })
    }

    /// What it is made of, to be changed.
    #[must_use]
    pub fn into_parts(self) -> GuestParts {
        self.0
    }

    /// This guest with a change, held to the rules again.
    ///
    /// # Errors
    /// Every rule that the changed parts break.
    pub fn changed(&self, change: impl FnOnce(&mut GuestParts)) -> Result<Self, Violations> {
        let mut parts = self.0.clone();
        change(&mut parts);
        Self::new(parts)
    }
}

impl Deref for Guest {
    type Target = GuestParts;

    fn deref(&self) -> &GuestParts {
        &self.0
    }
}

impl GuestParts {
    /// A guest with one virtual node that holds all its vCPUs, all plugged, and nothing else known.
    #[must_use]
    pub fn new(name: &str, sockets: u32, cores: u32) -> Self {
        let total = check::total(sockets, cores, 1).unwrap_or(0);
        Self {
            name: GuestName(name.to_owned()),
            vmid: None,
            sockets,
            cores,
            threads: 1,
            numa: false,
            numa_explicit: false,
            virtual_nodes: vec![VirtualNode::new(0, check::run(0, total))],
            plugged: check::run(0, total),
            affinity: None,
            memory_mib: None,
            hugepages: None,
            devices: Vec::new(),
            running: None,
        }
    }

    /// With `numa: 1` and no numaN lines: one virtual node for each socket, the memory divided evenly.
    #[must_use]
    pub fn with_numa(mut self) -> Self {
        self.numa = true;
        if check::total(self.sockets, self.cores, self.threads).is_none() {
            return self;
        }
        let memory_mib = self.memory_mib.map(|mib| mib / u64::from(self.sockets));
        let per_socket = self.cores * self.threads;
        self.virtual_nodes = (0..self.sockets)
            .map(|socket| VirtualNode {
                memory_mib,
                ..VirtualNode::new(socket, check::run(socket * per_socket, per_socket))
            })
            .collect();
        self
    }

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

impl VirtualNode {
    /// A virtual node of which only the vCPUs are known.
    #[must_use]
    pub fn new(id: u32, vcpus: VcpuSet) -> Self {
        Self {
            id: VnodeId(id),
            vcpus,
            host_node: None,
            memory_mib: None,
            bound: false,
        }
    }
}

impl fmt::Display for GuestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
