//! The guests that are put on every host, and whether they fit there: told by counting alone.

use std::collections::BTreeMap;
use std::path::Path;

use numapin_core::guest::flags::Overrides;
use numapin_core::guest::pve::{self, Beside, Pending};
use numapin_core::guest::{Guest, GuestName, Running};
use numapin_core::host::Host;
use numapin_core::id::Vmid;
use numapin_core::policy::{Mode, Policy, Smt};
use numapin_qmp_mock as mock;

use super::{Broken, Ids};

const MEMORY_MIB: u32 = 2048;

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

    /// Its config, as Proxmox VE writes it.
    #[must_use]
    pub fn config(&self) -> String {
        let list = |cpus: &Ids| {
            let words: Vec<String> = cpus.iter().map(ToString::to_string).collect();
            words.join(",")
        };
        let mut lines = Vec::new();
        lines.extend(
            self.affinity
                .as_ref()
                .map(|cpus| format!("affinity: {}", list(cpus))),
        );
        lines.push(format!("cores: {}", self.cores));
        lines.push(format!("memory: {MEMORY_MIB}"));
        lines.push(format!("numa: {}", u32::from(self.nodes != Nodes::None)));
        if let Nodes::Bound(host_nodes) = &self.nodes {
            let memory = MEMORY_MIB / self.sockets;
            for (i, host_node) in (0..self.sockets).zip(host_nodes) {
                let (first, last) = (i * self.cores, (i + 1) * self.cores - 1);
                lines.push(format!(
                    "numa{i}: cpus={first}-{last},hostnodes={host_node},memory={memory},policy=bind"
                ));
            }
        }
        lines.push(format!("sockets: {}\n", self.sockets));
        lines.join("\n")
    }

    /// As numapin reads it from that config.
    ///
    /// # Errors
    /// The config can't be read, or is odd, or is of no possible guest.
    pub fn guest(&self) -> Result<Guest, Broken> {
        let file = format!("{}.conf", self.vmid);
        let parsed = pve::parse(Path::new(&file), &self.config(), Pending::Leave)?;
        if let Some(warning) = parsed.warnings.first() {
            return Err(warning.to_string().into());
        }
        let beside = Beside {
            vmid: Some(Vmid(self.vmid)),
            running: Some(Running::default()),
            ..Beside::default()
        };
        let name = GuestName(self.vmid.to_string());
        Ok(parsed.config.guest(name, &Overrides::default(), beside)?)
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

/// Every mode, one-to-one with every `smt`, as they stand in a config.
pub const POLICIES: [&str; 8] = [
    "none",
    "numa",
    "l3",
    "one-to-one",
    "one-to-one,smt=isolate",
    "one-to-one,smt=pack",
    "one-to-one,smt=any",
    "shared",
];

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
