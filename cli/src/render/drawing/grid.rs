//! The boxes of a picture: a host taken apart into host nodes, L3s, cores and threads.

use std::collections::{BTreeMap, BTreeSet};

use numapin_core::host::{Cpu, Host};
use numapin_core::id::{CpuId, L3Id, NodeId};
use numapin_core::idset::NodeSet;
use numapin_core::sorted;

use super::{Cell, Core, Group, Kind, NodeBox, Place, State};

/// The boxes of a host, and the cells of its CPUs.
pub(super) fn of(host: &Host) -> (Vec<NodeBox>, BTreeMap<CpuId, Cell>) {
    let kinds: BTreeSet<u32> = sorted::set(host.cpus.iter().filter_map(|cpu| cpu.kind));
    let mut boxes: Vec<NodeBox> = host
        .nodes
        .iter()
        .map(|node| {
            let mut of_node = boxed(host, &kinds, Place::Node(node.id), Some(node.id));
            of_node.memory_kib = node.memory.as_ref().map(|memory| memory.total_kib);
            of_node.distances = node.distances.clone();
            of_node
        })
        .collect();
    if host.cpus.iter().any(|cpu| cpu.node.is_none()) {
        boxes.push(boxed(host, &kinds, Place::NoNode, None));
    }
    if !host.offline.is_empty() {
        boxes.push(offline(host));
    }
    let online = host.cpus.iter().map(|cpu| (cpu.id, state(host, cpu.id)));
    let offline = host.offline.iter().map(|cpu| (cpu, State::Offline));
    let cell = |(cpu, state)| {
        let holders = Vec::new();
        (cpu, Cell { state, holders })
    };
    (boxes, sorted::map(online.chain(offline).map(cell)))
}

fn state(host: &Host, cpu: CpuId) -> State {
    if let Some(allowed) = &host.allowed
        && !allowed.contains(cpu)
    {
        State::Forbidden
    } else if host.reserved.contains(cpu) {
        State::Reserved
    } else if host.isolated.contains(cpu) {
        State::Isolated
    } else {
        State::Usable
    }
}

fn boxed(host: &Host, kinds: &BTreeSet<u32>, place: Place, node: Option<NodeId>) -> NodeBox {
    let members = || host.cpus.iter().filter(move |cpu| cpu.node == node);
    let mut groups: BTreeMap<(Option<L3Id>, Option<u32>), Vec<&Cpu>> = BTreeMap::new();
    for cpu in members() {
        groups.entry((cpu.l3, cpu.kind)).or_default().push(cpu);
    }
    let all: BTreeSet<_> = sorted::set(host.cpus.iter().map(|cpu| cpu.package));
    let packages: BTreeSet<_> = sorted::set(
        members()
            .filter(|_| all.len() > 1)
            .filter_map(|cpu| cpu.package),
    );
    NodeBox {
        place,
        packages: packages.into_iter().collect(),
        memory_kib: None,
        distances: BTreeMap::new(),
        groups: groups
            .into_iter()
            .map(|((l3, kind), cpus)| Group {
                l3,
                also_on: elsewhere(host, l3, node),
                kind: kind.and_then(|kind| named(kinds, kind)),
                cores: cores(&cpus),
            })
            .collect(),
        devices: Vec::new(),
    }
}

/// Cores by their lowest CPU here: of a core over two host nodes each has its part.
fn cores(cpus: &[&Cpu]) -> Vec<Core> {
    let mut cores: BTreeMap<_, Vec<CpuId>> = BTreeMap::new();
    for cpu in cpus {
        cores.entry(cpu.core).or_default().push(cpu.id);
    }
    let core = |(id, cpus)| Core { id: Some(id), cpus };
    cores.into_iter().map(core).collect()
}

fn elsewhere(host: &Host, l3: Option<L3Id>, node: Option<NodeId>) -> NodeSet {
    let sharing = host.cpus.iter().filter(|cpu| l3.is_some() && cpu.l3 == l3);
    let others = sharing.filter(|cpu| cpu.node != node);
    others.filter_map(|cpu| cpu.node).collect()
}

fn named(kinds: &BTreeSet<u32>, kind: u32) -> Option<Kind> {
    match kinds.len() {
        0 | 1 => None,
        2 if kinds.first() == Some(&kind) => Some(Kind::Performance),
        2 => Some(Kind::Efficiency),
        _ => Some(Kind::Of(kind)),
    }
}

fn offline(host: &Host) -> NodeBox {
    let alone = |cpu| Core {
        id: None,
        cpus: vec![cpu],
    };
    NodeBox {
        place: Place::Offline,
        packages: Vec::new(),
        memory_kib: None,
        distances: BTreeMap::new(),
        groups: vec![Group {
            l3: None,
            also_on: NodeSet::new(),
            kind: None,
            cores: host.offline.iter().map(alone).collect(),
        }],
        devices: Vec::new(),
    }
}
