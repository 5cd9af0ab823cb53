//! Which notes a plan gets.

use super::Plan;
use super::cost::Item;
use super::mend;
use super::notes::Note;
use super::problem::Problem;
use crate::guest::GuestName;
use crate::id::{CpuId, NodeId, VnodeId};
use crate::idset::{CpuSet, NodeSet, VcpuSet};
use crate::policy::{Mode, Overlap, Smt};
use crate::sorted;

/// Adds what there is to say about a plan, in the order of its subjects: affinity, host nodes, CPUs, devices, memory.
pub(super) fn add(problem: &Problem<'_>, plan: &mut Plan) {
    if plan.mode == Mode::None {
        return;
    }
    let mut notes = std::mem::take(&mut plan.notes);
    of_affinity(problem, &mut notes);
    if plan.mode != Mode::Shared {
        of_nodes(problem, plan, &mut notes);
    }
    of_others(problem, plan, &mut notes);
    of_cpus(problem, plan, &mut notes);
    if plan.mode != Mode::Shared {
        of_devices(problem, plan, &mut notes);
        of_memory(problem, plan, &mut notes);
    }
    plan.notes = notes;
}

fn of_affinity(problem: &Problem<'_>, notes: &mut Vec<Note>) {
    let Some(affinity) = &problem.guest.affinity else {
        return;
    };
    let cpus = affinity.difference(&problem.usable.online);
    if !cpus.is_empty() {
        notes.push(Note::AffinityAbsent { cpus });
    }
    let cpus = affinity
        .intersection(&problem.host.reserved)
        .intersection(&problem.usable.online);
    if !cpus.is_empty() {
        notes.push(Note::AffinityReserved { cpus });
    }
}

fn of_nodes(problem: &Problem<'_>, plan: &Plan, notes: &mut Vec<Note>) {
    let hosts: NodeSet = plan
        .virtual_nodes
        .iter()
        .flat_map(|v| v.host_nodes.iter())
        .collect();
    for host_node in hosts.iter() {
        let there = problem.vnodes.iter().zip(&plan.virtual_nodes);
        let there = there.filter(|(_, placed)| placed.host_nodes.contains(host_node));
        if there.clone().count() > 1 && there.clone().any(|(vnode, _)| !vnode.named) {
            let virtual_nodes = there.map(|(vnode, _)| vnode.id).collect();
            notes.push(Note::SharedNode {
                virtual_nodes,
                host_node,
            });
        }
    }
    let pages = problem.guest.hugepages.is_some() && !problem.guest.numa_explicit;
    for placed in plan.virtual_nodes.iter().filter(|_| pages) {
        if placed.host_nodes != NodeSet::from_iter([NodeId(placed.virtual_node.0)]) {
            notes.push(Note::HugepagesElsewhere {
                virtual_node: placed.virtual_node,
            });
        }
    }
    if hosts.len() > 1 && problem.spans() {
        let better = mend::sockets(problem);
        notes.push(Note::Spanning {
            host_nodes: hosts,
            sockets: better.map(|(sockets, _)| sockets),
            cores: better.map(|(_, cores)| cores),
        });
    }
}

/// Who else is on the CPUs, or may be.
fn of_others(problem: &Problem<'_>, plan: &Plan, notes: &mut Vec<Note>) {
    let used: CpuSet = plan
        .vcpus
        .iter()
        .flat_map(|placed| placed.cpus.iter())
        .collect();
    if problem.policy.overlap == Overlap::Allow {
        let (cpus, guests) = problem.usable.guests_on(&used);
        if !cpus.is_empty() {
            notes.push(Note::OverlapAllowed { cpus, guests });
        }
    }
    if plan.mode != Mode::OneToOne {
        return;
    }
    let cpus = used.intersection(&problem.usable.claimed);
    if !cpus.is_empty() {
        let vcpus = u32::try_from(cpus.len()).unwrap_or(u32::MAX);
        let guests = problem.usable.holders_of(&cpus);
        notes.push(Note::Overlap {
            vcpus,
            cpus,
            guests,
        });
    }
    // the scheduler puts nothing on isolated CPUs by itself
    let cpus = plan.claims.difference(&problem.host.isolated);
    if !cpus.is_empty() {
        let guests: Vec<GuestName> = problem.claims.unpinned.keys().cloned().collect();
        notes.push(Note::NotAlone { cpus, guests });
    }
}

fn of_cpus(problem: &Problem<'_>, plan: &Plan, notes: &mut Vec<Note>) {
    if plan.mode == Mode::OneToOne && plan.smt == Smt::Spread {
        let core = |cpu: CpuId| problem.host.cpu(cpu).map(|cpu| cpu.core);
        let mut cores: Vec<_> = plan
            .vcpus
            .iter()
            .map(|v| (v.cpus.first().and_then(core), v.vcpu))
            .collect();
        sorted::sort_by(&mut cores, Ord::cmp);
        let shared = cores
            .chunk_by(|a, b| a.0 == b.0)
            .filter(|core| core.len() > 1);
        let vcpus: VcpuSet = shared.flatten().map(|(_, vcpu)| *vcpu).collect();
        if !vcpus.is_empty() {
            notes.push(Note::SharedCores { vcpus });
        }
    }
    for vnode in &plan.virtual_nodes {
        let mask = plan
            .vcpus
            .iter()
            .find(|v| v.virtual_node == vnode.virtual_node);
        let cpus = mask
            .map(|v| v.cpus.intersection(&problem.host.isolated))
            .unwrap_or_default();
        if cpus.len() > 1 {
            notes.push(Note::IsolatedMask {
                virtual_node: vnode.virtual_node,
                cpus,
            });
        }
    }
}

fn of_devices(problem: &Problem<'_>, plan: &Plan, notes: &mut Vec<Note>) {
    for device in &problem.guest.devices {
        let here = |node| {
            plan.virtual_nodes
                .iter()
                .any(|v| v.host_nodes.contains(node))
        };
        if let Some(host_node) = device.node.filter(|node| !here(*node)) {
            notes.push(Note::RemoteDevice {
                address: device.address.clone(),
                host_node,
            });
        }
    }
}

fn of_memory(problem: &Problem<'_>, plan: &Plan, notes: &mut Vec<Note>) {
    let mib = plan.cost.count(Item::RemoteMemory);
    if mib > 0 {
        notes.push(Note::RemoteMemory { mib });
    }
    let hosts: NodeSet = plan
        .virtual_nodes
        .iter()
        .flat_map(|v| v.host_nodes.iter())
        .collect();
    if plan.cost.count(Item::ShortMemory) > 0 {
        notes.push(Note::ShortMemory {
            host_nodes: problem.short_nodes(plan),
        });
    }
    let several = problem
        .host
        .nodes
        .iter()
        .filter(|node| node.memory.is_some())
        .count()
        > 1;
    // with memory on one host node only, or where it is all on the right ones already, there is nothing to say
    let settled = problem
        .guest
        .running
        .as_ref()
        .is_some_and(|r| !r.memory_mib.is_empty());
    if !several || (settled && mib == 0) || hosts.is_empty() {
        return;
    }
    let before = !problem.guest.devices.is_empty() || problem.guest.hugepages.is_some();
    let unbound = problem
        .vnodes
        .iter()
        .zip(&plan.virtual_nodes)
        .filter(|(vnode, placed)| {
            let node = problem
                .guest
                .virtual_nodes
                .iter()
                .find(|node| node.id == vnode.id);
            let bound = node.is_some_and(|node| node.bound && node.host_node.is_some());
            // huge pages without numaN are reserved on the host node of the same number
            let own = NodeSet::from_iter([NodeId(vnode.id.0)]);
            let reserved = problem.guest.hugepages.is_some() && placed.host_nodes == own;
            !bound && !reserved
        });
    let virtual_nodes: Vec<VnodeId> = unbound.map(|(vnode, _)| vnode.id).collect();
    if !virtual_nodes.is_empty() {
        notes.push(Note::UnboundMemory {
            virtual_nodes,
            before,
        });
    }
}
