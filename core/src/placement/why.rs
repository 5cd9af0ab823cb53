//! Why a guest can't be placed: every reason, with its numbers.

use super::problem::{Problem, Vnode};
use super::room::{NodeRoom, Taken, Taker, Unit};
use crate::id::{NodeId, VnodeId};
use crate::idset::CpuSet;
use crate::policy::{Mode, Overlap, Smt};
use crate::sorted;
use crate::violation::Violation;

/// All reasons, at least one.
pub(super) fn reasons(problem: &Problem<'_>) -> Vec<Violation> {
    if problem.index.nodes.is_empty() {
        return vec![Violation::NoUsableCpus {
            taken: everywhere(problem),
            change: None,
        }];
    }
    let mut reasons: Vec<Violation> = Vec::new();
    for vnode in &problem.vnodes {
        reasons.extend(alone(problem, vnode));
    }
    if reasons.is_empty() {
        reasons.extend(on_named(problem));
    }
    if reasons.is_empty() {
        let all: Vec<&Vnode> = problem.vnodes.iter().collect();
        reasons.push(together(problem, &all, all_nodes(problem)));
    }
    reasons
}

/// Why a virtual node would not even fit if it were the only one.
fn alone(problem: &Problem<'_>, vnode: &Vnode) -> Option<Violation> {
    let room = |id: NodeId| {
        problem
            .index
            .position(id)
            .map_or(0, |n| problem.index.nodes[n].room)
    };
    let short = |nodes: Vec<NodeId>| Violation::NotEnoughCpus {
        virtual_node: vnode.id,
        wanted: count(vnode.size()),
        unit: unit(problem),
        host_nodes: nodes.into_iter().map(|id| node_room(problem, id)).collect(),
        offline: problem.host.offline.clone(),
        change: None,
    };
    match vnode.tied {
        Some(host_node) if problem.host.node(host_node).is_none() => {
            Some(Violation::NoSuchHostNode {
                virtual_node: vnode.id,
                host_node,
                change: None,
            })
        }
        Some(host_node) => (room(host_node) < vnode.size()).then(|| short(vec![host_node])),
        None if problem.spans() => {
            let all: usize = problem.index.nodes.iter().map(|node| node.room).sum();
            (all < vnode.size()).then(|| together(problem, &[vnode], all_nodes(problem)))
        }
        None => {
            let nodes = all_nodes(problem);
            let fits = nodes.iter().any(|id| room(*id) >= vnode.size());
            (!fits).then(|| short(nodes))
        }
    }
}

/// Host nodes that are too small for all virtual nodes that name them.
fn on_named(problem: &Problem<'_>) -> Vec<Violation> {
    let mut reasons = Vec::new();
    for node in &problem.index.nodes {
        let there: Vec<&Vnode> = problem
            .vnodes
            .iter()
            .filter(|vnode| vnode.tied == Some(node.id))
            .collect();
        if there.iter().map(|vnode| vnode.size()).sum::<usize>() > node.room {
            reasons.push(together(problem, &there, vec![node.id]));
        }
    }
    reasons
}

fn together(problem: &Problem<'_>, vnodes: &[&Vnode], nodes: Vec<NodeId>) -> Violation {
    Violation::NotEnoughTogether {
        virtual_nodes: vnodes
            .iter()
            .map(|vnode| vnode.id)
            .collect::<Vec<VnodeId>>(),
        wanted: count(vnodes.iter().map(|vnode| vnode.size()).sum()),
        unit: unit(problem),
        host_nodes: nodes.into_iter().map(|id| node_room(problem, id)).collect(),
        offline: problem.host.offline.clone(),
        change: None,
    }
}

/// What vCPUs are counted against.
pub(super) fn unit(problem: &Problem<'_>) -> Unit {
    let isolate = problem.policy.mode == Mode::OneToOne && problem.policy.smt == Smt::Isolate;
    if isolate { Unit::Cores } else { Unit::Cpus }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The host nodes that have CPUs.
fn all_nodes(problem: &Problem<'_>) -> Vec<NodeId> {
    let nodes = problem
        .host
        .nodes
        .iter()
        .filter(|node| !online_of(problem, node.id).is_empty());
    nodes.map(|node| node.id).collect()
}

fn online_of(problem: &Problem<'_>, id: NodeId) -> CpuSet {
    let cpus = problem.host.cpus.iter().filter(|cpu| cpu.node == Some(id));
    cpus.map(|cpu| cpu.id).collect()
}

/// What a host node has for the guest.
pub(super) fn node_room(problem: &Problem<'_>, id: NodeId) -> NodeRoom {
    let online = online_of(problem, id);
    let node = problem.index.position(id).map(|n| &problem.index.nodes[n]);
    let isolate = unit(problem) == Unit::Cores;
    let total = if isolate {
        let mut cores: Vec<_> = online
            .iter()
            .filter_map(|cpu| Some(problem.host.cpu(cpu)?.core))
            .collect();
        sorted::sort_by(&mut cores, Ord::cmp);
        cores.dedup();
        cores.len()
    } else {
        online.len()
    };
    // isolate with deny: cores of which others hold a CPU are lost as a whole
    let strict = isolate && problem.policy.overlap == Overlap::Deny;
    let held = if strict {
        problem.usable.claimed.intersection(&online)
    } else {
        CpuSet::new()
    };
    NodeRoom {
        host_node: id,
        usable: count(node.map_or(0, |node| node.room)),
        online: count(total),
        taken: problem.usable.taken(&online, &held),
    }
}

/// What took all CPUs of the host away.
fn everywhere(problem: &Problem<'_>) -> Vec<Taken> {
    let mut taken = problem.usable.taken(&problem.usable.online, &CpuSet::new());
    let lost: CpuSet = taken.iter().flat_map(|t| t.cpus.iter()).collect();
    let homeless = problem.usable.online.difference(&lost);
    for (by, cpus) in [
        (Taker::NoNode, homeless),
        (Taker::Offline, problem.host.offline.clone()),
    ] {
        if !cpus.is_empty() {
            taken.push(Taken { by, cpus });
        }
    }
    taken
}
