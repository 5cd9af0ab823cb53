//! One guest on one host, as the search sees it: numbers instead of names.

use std::collections::BTreeSet;

use super::areas::Areas;
use super::cost::Item;
use super::fits;
use super::index::Index;
use super::memory::{self, Need};
use super::scale::Limits;
use super::{PlacedNode, Plan};

use super::usable::Usable;
use crate::claims::Claims;
use crate::guest::Guest;
use crate::host::Host;
use crate::id::{NodeId, VnodeId};
use crate::idset::{NodeSet, VcpuSet};
use crate::policy::{Mode, Policy, Smt};
use crate::sorted;

/// All that is known about a guest on a host.
pub(super) struct Problem<'a> {
    /// The host.
    pub host: &'a Host,
    /// The guest.
    pub guest: &'a Guest,
    /// What others hold.
    pub claims: &'a Claims,
    /// How it is to be placed.
    pub policy: &'a Policy,
    /// The CPUs.
    pub usable: Usable<'a>,
    /// The usable CPUs laid out.
    pub index: Index,
    /// The figures of areas (numa, l3).
    pub areas: Areas,
    /// The virtual nodes to be placed, in ascending order.
    pub vnodes: Vec<Vnode>,
    /// Whether only the plugged vCPUs are to be placed.
    only_plugged: bool,
    /// After so much work the search for the best host nodes stops, where it may.
    pub patience: u64,
}

/// About as many nanoseconds.
const PATIENCE: u64 = 300_000_000;

/// A virtual node to be placed.
#[derive(Debug, Clone)]
pub(super) struct Vnode {
    /// Which one.
    pub id: VnodeId,
    /// The vCPUs to be placed, at least one.
    pub vcpus: VcpuSet,
    /// The host node it must go to.
    pub tied: Option<NodeId>,
    /// Whether `hostnodes` says so.
    pub named: bool,
    /// The memory it needs, where that counts.
    pub need: Option<Need>,
}

impl Vnode {
    /// How many vCPUs it has.
    pub(super) fn size(&self) -> usize {
        self.vcpus.len()
    }
}

impl<'a> Problem<'a> {
    /// The problem of a guest, all its vCPUs or only those that are plugged.
    pub(super) fn new(
        host: &'a Host,
        guest: &'a Guest,
        claims: &'a Claims,
        policy: &'a Policy,
        only_plugged: bool,
    ) -> Self {
        let usable = Usable::new(host, guest, claims, policy);
        let index = Index::new(host, &usable, policy);
        let areas = Areas::new(&index, &usable, policy.mode);
        let mut vnodes = Vec::new();
        for node in &guest.virtual_nodes {
            let vcpus = match only_plugged {
                true => node.vcpus.intersection(&guest.plugged),
                false => node.vcpus.clone(),
            };
            if !vcpus.is_empty() {
                vnodes.push(Vnode {
                    id: node.id,
                    vcpus,
                    tied: node.host_node,
                    named: node.host_node.is_some(),
                    need: Need::new(host, guest, node),
                });
            }
        }
        Self {
            only_plugged,
            host,
            guest,
            claims,
            policy,
            usable,
            index,
            areas,
            vnodes,
            patience: PATIENCE,
        }
    }

    /// The same problem once more, to be changed.
    pub(super) fn again(&self) -> Self {
        self.with(self.host, self.guest, self.claims, self.policy)
    }

    /// The problem of something else, with the same vCPUs in question: all, or those that are plugged.
    pub(super) fn with<'b>(
        &self,
        host: &'b Host,
        guest: &'b Guest,
        claims: &'b Claims,
        policy: &'b Policy,
    ) -> Problem<'b> {
        Problem::new(host, guest, claims, policy, self.only_plugged)
    }

    /// The virtual nodes as a plan has them that places nothing.
    pub(super) fn unplaced(&self) -> Vec<PlacedNode> {
        let placed = |vnode: &Vnode| PlacedNode {
            virtual_node: vnode.id,
            vcpus: vnode.vcpus.clone(),
            host_nodes: NodeSet::new(),
        };
        self.vnodes.iter().map(placed).collect()
    }

    /// Huge pages without numaN: Proxmox VE reserves the pages of virtual node i on host node i, so there it goes if the rules
    /// allow. One after the other is tied, as long as all can still be placed.
    pub(super) fn tie_huge_pages(&mut self) {
        if self.guest.hugepages.is_none() || self.guest.numa_explicit {
            return;
        }
        let ties: Vec<Option<NodeId>> = self.vnodes.iter().map(|vnode| self.own(vnode)).collect();
        // each on a host node of its own, with room: no more to be proved
        let sure = ties.iter().all(Option::is_some);
        for (v, tie) in ties.into_iter().enumerate() {
            if tie.is_some() {
                self.vnodes[v].tied = tie;
                if !sure && !fits::fits(self) {
                    self.vnodes[v].tied = None;
                }
            }
        }
    }

    /// The host node with the number of a virtual node, if there is room.
    fn own(&self, vnode: &Vnode) -> Option<NodeId> {
        let node = &self.index.nodes[self.index.position(NodeId(vnode.id.0))?];
        (node.room >= vnode.size()).then_some(node.id)
    }

    /// Whether the guest may span host nodes: it has one virtual node (to be placed), which is free.
    pub(super) fn spans(&self) -> bool {
        self.vnodes.len() == 1 && self.vnodes.iter().all(|node| node.tied.is_none())
    }

    /// All vCPUs to be placed.
    pub(super) fn vcpus(&self) -> usize {
        self.vnodes.iter().map(Vnode::size).sum()
    }

    /// How much work the search may be (see [`super::search::Budget`]); `None`: as much as the proof takes.
    pub(super) fn budget(&self) -> Option<u64> {
        (!self.small()).then_some(self.patience)
    }

    /// Whether the proof is wanted at any price: 8 virtual nodes, 16 host nodes, 1,024 CPUs.
    pub(super) fn small(&self) -> bool {
        let cpus: usize = self.index.nodes.iter().map(|node| node.cpus.len()).sum();
        self.vnodes.len() <= 8 && self.index.nodes.len() <= 16 && cpus <= 1024
    }

    /// Whether the virtual nodes have less memory than they need on host nodes.
    pub(super) fn short(&self, nodes: &[usize], vnodes: &[usize]) -> bool {
        let ids: Vec<NodeId> = nodes
            .iter()
            .map(|node| self.index.nodes[*node].id)
            .collect();
        let needs: Vec<Option<Need>> = vnodes.iter().map(|v| self.vnodes[*v].need).collect();
        memory::short(self.host, self.claims, &ids, &needs)
    }

    /// The host nodes of a plan with less memory than is needed there.
    pub(super) fn short_nodes(&self, plan: &Plan) -> NodeSet {
        let mut short = NodeSet::new();
        for placed in &plan.virtual_nodes {
            let there = self.vnodes.iter().zip(&plan.virtual_nodes);
            let there = there.filter(|(_, other)| other.host_nodes == placed.host_nodes);
            let needs: Vec<Option<Need>> = there.map(|(vnode, _)| vnode.need).collect();
            let ids: Vec<NodeId> = placed.host_nodes.iter().collect();
            if memory::short(self.host, self.claims, &ids, &needs) {
                short.extend(ids);
            }
        }
        short
    }

    /// The distance between any two host nodes: the larger of both directions. A host node is not apart from itself.
    pub(super) fn distances(&self) -> Vec<Vec<u64>> {
        let ids: Vec<NodeId> = self.index.nodes.iter().map(|node| node.id).collect();
        let from = |a: NodeId| -> Vec<u32> {
            let known = self.host.node(a).map(|node| node.distances.iter());
            let mut known = known.into_iter().flatten().peekable();
            let to = |b: &NodeId| {
                // both are in ascending order
                while known.next_if(|(id, _)| *id < b).is_some() {}
                match known.peek() {
                    Some((id, distance)) if *id == b => **distance,
                    _ => self.host.distance(a, *b),
                }
            };
            ids.iter().map(to).collect()
        };
        let there: Vec<Vec<u32>> = ids.iter().map(|a| from(*a)).collect();
        let apart = |a: usize, b: usize| match a == b {
            true => 0,
            false => u64::from(there[a][b].max(there[b][a])),
        };
        let row = |a: usize| (0..ids.len()).map(|b| apart(a, b)).collect();
        (0..ids.len()).map(row).collect()
    }

    /// How large each item of the cost can become.
    pub(super) fn limits(&self) -> Limits {
        let (policy, index) = (self.policy, &self.index);
        let one_to_one = policy.mode == Mode::OneToOne;
        let vcpus = self.vcpus() as u64;
        let vnodes = self.vnodes.len() as u64;
        let nodes = index.nodes.len() as u64;
        let mut limits = Limits::new(Item::order(policy.mode, policy.smt));
        limits.denominator = index.denominator.clone();
        limits.set(Item::SharedNodes, vnodes);
        let hosts = if self.spans() {
            nodes
        } else {
            vnodes.min(nodes)
        };
        if self.spans() {
            let packages: BTreeSet<_> = sorted::set(index.nodes.iter().flat_map(|n| &n.packages));
            limits.set(Item::Packages, packages.len() as u64);
            limits.set(Item::Spanned, nodes);
        }
        let claimed = !self.usable.claimed.is_empty();
        if claimed {
            limits.set(Item::Overlap, vcpus);
        }
        let cores = || index.nodes.iter().flat_map(|node| node.cores());
        let widest = cores().map(|core| core.cpus.len()).max().unwrap_or(1) as u64;
        if one_to_one {
            if claimed {
                limits.set(Item::ForeignCores, vcpus);
            }
            if index.kinds.len() > 1 {
                limits.set(Item::CoreKinds, index.kinds.len() as u64);
            }
            if cores().any(|core| core.cpus.iter().any(|cpu| cpu.slow)) {
                limits.set(Item::SlowVcpus, vcpus);
            }
            if cores().any(|core| core.half) {
                limits.set(Item::HalfCores, vcpus);
            }
            // each vCPU of other guests weighs one in all
            let others: u64 = self
                .usable
                .set_pinned
                .iter()
                .map(|p| u64::from(p.vcpus))
                .sum();
            limits.set(Item::Crowding, &index.denominator * others);
            limits.set(Item::BootCore, widest.min(vcpus));
            let unclaimed = index
                .nodes
                .iter()
                .flat_map(|node| &node.l3s)
                .map(|l3| l3.unclaimed.len());
            limits.set(Item::Leftover, unclaimed.sum::<usize>());
        }
        let shared = if one_to_one && policy.smt == Smt::Spread {
            vcpus * (widest - 1)
        } else {
            vcpus
        };
        limits.set(Item::SharedCores, shared);
        let l3s: usize = index.nodes.iter().map(|node| node.l3s.len()).sum();
        limits.set(Item::L3Domains, l3s);
        let running = self.guest.running.as_ref();
        let resident: u64 = running.map_or(0, |running| running.memory_mib.values().sum());
        limits.set(Item::RemoteMemory, resident);
        limits.set(Item::RemoteDevices, self.guest.devices.len());
        limits.set(Item::ShortMemory, vnodes);
        limits.set(Item::Distance, hosts * hosts * self.farthest());
        limits.set(Item::Renumbered, vnodes);
        limits.entries = vnodes;
        limits
    }

    fn farthest(&self) -> u64 {
        let known = self
            .host
            .nodes
            .iter()
            .flat_map(|node| node.distances.values());
        // 20 is what two nodes are apart where the host does not say
        u64::from(known.copied().max().unwrap_or(0).max(20))
    }

    /// What counts for or against using a host node at all: memory and devices of the guest that are there, which would be
    /// remote otherwise.
    pub(super) fn there(&self, node: usize) -> (u64, u64) {
        let id = self.index.nodes[node].id;
        (
            memory::resident(self.guest, id),
            memory::devices(self.guest, id),
        )
    }

    /// The same for the guest as a whole.
    pub(super) fn everywhere(&self) -> (u64, u64) {
        let running = self.guest.running.as_ref();
        let resident = running.map_or(0, |running| running.memory_mib.values().sum());
        (
            resident,
            self.guest
                .devices
                .iter()
                .filter(|device| device.node.is_some())
                .count() as u64,
        )
    }
}
