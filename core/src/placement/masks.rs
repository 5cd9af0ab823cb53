//! From a solution to masks: which vCPU has which CPUs, and where the guest's other threads go.

use std::collections::BTreeMap;

use super::notes::Note;
use super::problem::Problem;
use super::solve::Solution;
use super::{PlacedNode, PlacedVcpu, ThreadMasks};
use crate::id::{CpuId, VcpuId, VnodeId};
use crate::idset::{CpuSet, NodeSet, VcpuSet};
use crate::policy::{Mode, Place, Smt};
use crate::sorted;

/// The masks of a guest.
#[derive(Debug, Default)]
pub(super) struct Masks {
    pub virtual_nodes: Vec<PlacedNode>,
    pub vcpus: Vec<PlacedVcpu>,
    pub threads: ThreadMasks,
    /// CPUs held one-to-one by plugged vCPUs.
    pub claims: CpuSet,
    /// CPUs that are the guest's alone, plugged or not: nothing of it is put beside them.
    own: CpuSet,
    pub notes: Vec<Note>,
}

impl Masks {
    /// The masks of a solution (one-to-one, numa, l3).
    pub(super) fn of(problem: &Problem<'_>, solution: &Solution) -> Self {
        let mut masks = Self::default();
        let id = |n: &usize| problem.index.nodes[*n].id;
        for (vnode, hosts) in problem.vnodes.iter().zip(&solution.hosts) {
            masks.place(vnode.id, &vnode.vcpus, hosts.iter().map(id).collect());
        }
        for (nodes, cpus) in &solution.cpus {
            let there = problem.vnodes.iter().zip(&solution.hosts);
            let there = there
                .filter(|(_, hosts)| *hosts == nodes)
                .map(|(vnode, _)| vnode);
            match problem.policy.mode {
                Mode::OneToOne => {
                    let mut order = topological(problem, nodes, cpus).into_iter();
                    for vnode in there {
                        for (vcpu, cpu) in vnode.vcpus.iter().zip(&mut order) {
                            masks.set(problem, vnode.id, vcpu, CpuSet::from_iter([cpu]));
                        }
                    }
                }
                _ => {
                    for vnode in there {
                        masks.area(problem, vnode.id, &vnode.vcpus, cpus);
                    }
                }
            }
        }
        sorted::sort_by_key(&mut masks.vcpus, |placed| placed.vcpu);
        masks.hold(problem);
        masks.other_threads(problem);
        masks
    }

    /// The masks of the mode shared: the whole host.
    pub(super) fn shared(problem: &Problem<'_>) -> Self {
        let mut masks = Self::default();
        for vnode in &problem.vnodes {
            masks.area(problem, vnode.id, &vnode.vcpus, &problem.usable.cpus);
            let hosts = masks.vcpus.last().map(|placed| placed.host_nodes.clone());
            masks.place(vnode.id, &vnode.vcpus, hosts.unwrap_or_default());
        }
        sorted::sort_by_key(&mut masks.vcpus, |placed| placed.vcpu);
        masks.hold(problem);
        masks.other_threads(problem);
        masks
    }

    fn place(&mut self, virtual_node: VnodeId, vcpus: &VcpuSet, host_nodes: NodeSet) {
        self.virtual_nodes.push(PlacedNode {
            virtual_node,
            vcpus: vcpus.clone(),
            host_nodes,
        });
    }

    fn set(&mut self, problem: &Problem<'_>, virtual_node: VnodeId, vcpu: VcpuId, cpus: CpuSet) {
        let nodes = cpus.iter().filter_map(|cpu| problem.host.cpu(cpu)?.node);
        self.vcpus.push(PlacedVcpu {
            vcpu,
            virtual_node,
            host_nodes: nodes.collect(),
            cpus,
        });
    }

    /// The mask of a virtual node with an area: its unclaimed part if that is large enough, else all of it.
    fn area(
        &mut self,
        problem: &Problem<'_>,
        virtual_node: VnodeId,
        vcpus: &VcpuSet,
        area: &CpuSet,
    ) {
        let unclaimed = area.difference(&problem.usable.claimed);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let enough = unclaimed.len() >= vcpus.len();
        let mask = if enough { &unclaimed } else { area };
        if !enough && unclaimed.len() < area.len() {
            self.notes.push(Note::WholeArea {
                virtual_node,
                vcpus: count(vcpus.len()),
                unclaimed: count(unclaimed.len()),
                cpus: area.intersection(&problem.usable.claimed),
            });
        }
        let nodes: NodeSet = mask
            .iter()
            .filter_map(|cpu| problem.host.cpu(cpu)?.node)
            .collect();
        for vcpu in vcpus.iter() {
            let (cpus, host_nodes) = (mask.clone(), nodes.clone());
            self.vcpus.push(PlacedVcpu {
                vcpu,
                virtual_node,
                host_nodes,
                cpus,
            });
        }
    }

    /// What the guest holds one-to-one: masks of one CPU, and for isolate the whole cores.
    fn hold(&mut self, problem: &Problem<'_>) {
        let one_to_one = problem.policy.mode == Mode::OneToOne;
        let isolate = one_to_one && problem.policy.smt == Smt::Isolate;
        let mut cores: BTreeMap<CpuId, &CpuSet> = BTreeMap::new();
        for node in problem.index.nodes.iter().filter(|_| isolate) {
            for core in node.cores() {
                cores.extend(core.cpus.iter().map(|cpu| (cpu.id, &core.online)));
            }
        }
        for placed in self.vcpus.iter().filter(|placed| placed.cpus.len() == 1) {
            let mut held = placed.cpus.clone();
            for cpu in placed.cpus.iter() {
                if let Some(core) = cores.get(&cpu) {
                    held = held.union(core);
                }
            }
            self.own = self.own.union(&held);
            if problem.guest.plugged.contains(placed.vcpu) {
                self.claims = self.claims.union(&held);
            }
        }
    }

    fn other_threads(&mut self, problem: &Problem<'_>) {
        let policy = problem.policy;
        let hosts: NodeSet = self
            .virtual_nodes
            .iter()
            .flat_map(|v| v.host_nodes.iter())
            .collect();
        let on_hosts = |cpus: &CpuSet| -> CpuSet {
            let node = |cpu: &CpuId| problem.host.cpu(*cpu).and_then(|cpu| cpu.node);
            cpus.iter()
                .filter(|cpu| node(cpu).is_some_and(|n| hosts.contains(n)))
                .collect()
        };
        // the reserved and the unclaimed CPUs: what is claimed stays its holder's, even if it is reserved since
        let usable = &problem.usable;
        let mut spare = usable.online.difference(&usable.claimed);
        spare = spare.union(&usable.online.intersection(&problem.host.reserved));
        spare = spare
            .difference(&problem.host.isolated)
            .difference(&self.own);
        if let Some(allowed) = &problem.host.allowed {
            // the kernel would narrow the mask to the cpuset anyway
            spare = spare.intersection(allowed);
        }
        let spare = on_hosts(&spare);
        let node = on_hosts(&usable.cpus);
        let default = match policy.mode {
            Mode::OneToOne if spare.len() >= 2 => Place::Spare,
            _ => Place::Keep,
        };
        let mut mask = |place: Option<Place>, threads: &str| match place.unwrap_or(default) {
            Place::Keep => None,
            Place::Node => Some(node.clone()).filter(|node| !node.is_empty()),
            Place::Spare if spare.is_empty() => {
                let threads = String::from(threads);
                self.notes.push(Note::NothingSpare {
                    host_nodes: hosts.clone(),
                    threads,
                });
                None
            }
            Place::Spare => Some(spare.clone()),
        };
        self.threads = ThreadMasks {
            emulator: mask(policy.emulator, "emulator"),
            iothreads: mask(policy.iothreads, "iothreads"),
            vhost: mask(policy.vhost, "vhost"),
        };
    }
}

/// CPUs in topological order: host node, L3, core, thread.
fn topological(problem: &Problem<'_>, nodes: &[usize], cpus: &CpuSet) -> Vec<CpuId> {
    let nodes = nodes.iter().map(|n| &problem.index.nodes[*n]);
    let all = nodes
        .flat_map(|node| node.cores())
        .flat_map(|core| &core.cpus);
    all.map(|cpu| cpu.id)
        .filter(|cpu| cpus.contains(*cpu))
        .collect()
}
