//! The guests that are put on every host, and whether they fit there: told by counting alone.

use std::collections::BTreeMap;

use numapin_core::guest::{Guest, GuestParts};
use numapin_core::host::Host;
use numapin_core::id::{NodeId, Vmid};
use numapin_core::policy::{Mode, Policy, Smt};
use numapin_core::violation::Violations;
use numapin_qmp_mock as mock;

use super::Ids;

/// The shape of a guest: the same for the planner and for the mock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Its VMID.
    pub vmid: u32,
    /// Sockets.
    pub sockets: u32,
    /// Cores a socket.
    pub cores: u32,
    /// Virtual nodes.
    pub nodes: Nodes,
    /// CPUs that the key `affinity` names.
    pub affinity: Option<Ids>,
}

/// The virtual nodes of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nodes {
    /// `numa: 0`.
    None,
    /// `numa: 1`: one for each socket.
    PerSocket,
    /// `numa: 1`, one for each socket, each bound to the host node at its place.
    Bound(Vec<u32>),
}

impl Shape {
    /// Without virtual nodes of its own.
    #[must_use]
    pub fn new(vmid: u32, sockets: u32, cores: u32) -> Self {
        Self {
            vmid,
            sockets,
            cores,
            nodes: Nodes::None,
            affinity: None,
        }
    }

    /// With one virtual node for each socket.
    #[must_use]
    pub fn numa(self) -> Self {
        Self {
            nodes: Nodes::PerSocket,
            ..self
        }
    }

    /// With one virtual node for each socket, on these host nodes.
    #[must_use]
    pub fn bound(self, host_nodes: Vec<u32>) -> Self {
        Self {
            nodes: Nodes::Bound(host_nodes),
            ..self
        }
    }

    /// As numapin reads it from a config.
    ///
    /// # Errors
    /// It is no possible guest.
    pub fn guest(&self) -> Result<Guest, Violations> {
        let mut parts = GuestParts::new(&self.vmid.to_string(), self.sockets, self.cores);
        parts.vmid = Some(Vmid(self.vmid));
        parts.memory_mib = Some(2048);
        if self.nodes != Nodes::None {
            parts = parts.with_numa();
        }
        if let Nodes::Bound(host_nodes) = &self.nodes {
            parts.numa_explicit = true;
            for (node, host_node) in parts.virtual_nodes.iter_mut().zip(host_nodes) {
                node.host_node = Some(NodeId(*host_node));
                node.bound = true;
            }
        }
        let named = self.affinity.as_ref();
        parts.affinity = named.map(|cpus| {
            cpus.iter()
                .map(|cpu| numapin_core::id::CpuId(*cpu))
                .collect()
        });
        Guest::new(parts)
    }

    /// As QEMU runs it, with two iothreads, vhost workers (tasks or kernel threads, by turns) and workers.
    #[must_use]
    pub fn qemu(&self) -> mock::Guest {
        let mut guest = mock::Guest::proxmox(self.vmid, self.sockets, self.cores);
        if self.nodes != Nodes::None {
            guest = guest.numa_per_socket();
        }
        if let Nodes::Bound(host_nodes) = &self.nodes {
            for (node, host_node) in guest.nodes.iter_mut().zip(host_nodes) {
                node.host_nodes = Some(host_node.to_string());
            }
        }
        guest.iothreads = vec!["iothread-virtioscsi0".into(), "iothread-virtio1".into()];
        guest.vhost = match self.vmid % 2 {
            0 => mock::Vhost::Tasks(2),
            _ => mock::Vhost::KernelThreads(1),
        };
        guest.workers = 1;
        guest
    }
}

/// The guests that are put on a host, each with what it shows.
#[must_use]
pub fn table(host: &Host) -> Vec<(&'static str, Shape)> {
    let with_cpus = host.nodes.iter().filter(|node| !node.cpus.is_empty());
    let nodes: Vec<(u32, u32)> = with_cpus
        .map(|node| (node.id.0, count(node.cpus.len())))
        .collect();
    let turn = |i: usize| nodes.get(i % nodes.len().max(1)).map_or(0, |node| node.0);
    let smallest = nodes.iter().map(|node| node.1).min().unwrap_or(1);
    vec![
        ("one vcpu", Shape::new(100, 1, 1)),
        ("eight vcpus", Shape::new(101, 1, 8)),
        ("two virtual nodes", Shape::new(102, 2, 4).numa()),
        (
            "four bound virtual nodes",
            Shape::new(103, 4, 2).bound((0..4).map(turn).collect()),
        ),
        ("four virtual nodes", Shape::new(104, 4, 2).numa()),
        ("eight virtual nodes", Shape::new(105, 8, 1).numa()),
        (
            "half a host node",
            Shape::new(106, 1, (smallest / 2).max(1)),
        ),
        (
            "more than the host",
            Shape::new(107, 1, count(host.cpus.len()) + 1),
        ),
    ]
}

/// Every mode, one-to-one with every `smt`.
#[must_use]
pub fn policies() -> Vec<Policy> {
    let mut policies = Vec::new();
    for &mode in Mode::ALL {
        let smts = match mode {
            Mode::OneToOne => Smt::ALL,
            _ => &[Smt::Spread],
        };
        policies.extend(smts.iter().map(|&smt| Policy {
            mode,
            smt,
            ..Policy::default()
        }));
    }
    policies
}

/// Whether a guest fits, without the CPUs in `taken`: by counting the CPUs (for `isolate` the cores) of each host node.
///
/// The virtual nodes of a [`Shape`] are all of one size, so counting is enough.
#[must_use]
pub fn fits(host: &Host, shape: &Shape, policy: &Policy, taken: &Ids) -> bool {
    let isolate = policy.mode == Mode::OneToOne && policy.smt == Smt::Isolate;
    let free = |cpu: &numapin_core::host::Cpu| {
        let named = shape.affinity.as_ref();
        !taken.contains(&cpu.id.0)
            && !host.isolated.contains(cpu.id)
            && !host.reserved.contains(cpu.id)
            && host
                .allowed
                .as_ref()
                .is_none_or(|allowed| allowed.contains(cpu.id))
            && named.is_none_or(|named| named.contains(&cpu.id.0))
    };
    let usable = || host.cpus.iter().filter(|cpu| free(cpu));
    match policy.mode {
        Mode::None => return true,
        Mode::Shared => return usable().next().is_some(),
        Mode::Numa | Mode::L3 | Mode::OneToOne => {}
    }
    // Room by host node: CPUs, or for isolate those cores of which nobody has a CPU.
    let broken: Ids = host
        .cpus
        .iter()
        .filter(|cpu| taken.contains(&cpu.id.0))
        .map(|cpu| cpu.core.0)
        .collect();
    let mut room: BTreeMap<u32, Ids> = BTreeMap::new();
    for cpu in usable() {
        let unit = if isolate { cpu.core.0 } else { cpu.id.0 };
        if let Some(node) = cpu.node
            && !(isolate && broken.contains(&unit))
        {
            room.entry(node.0).or_default().insert(unit);
        }
    }
    let mut room: BTreeMap<u32, u32> = room
        .into_iter()
        .map(|(id, units)| (id, count(units.len())))
        .collect();
    match &shape.nodes {
        Nodes::None => room.values().sum::<u32>() >= shape.sockets * shape.cores,
        Nodes::PerSocket if shape.sockets == 1 => room.values().sum::<u32>() >= shape.cores,
        Nodes::PerSocket => {
            room.values().map(|units| units / shape.cores).sum::<u32>() >= shape.sockets
        }
        Nodes::Bound(host_nodes) => host_nodes.iter().all(|node| {
            let left = room.get_mut(node).filter(|left| **left >= shape.cores);
            left.map(|left| *left -= shape.cores).is_some()
        }),
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
