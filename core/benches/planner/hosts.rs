//! Hosts, guests and claims as values, so that nothing but `plan` is measured.

use std::collections::BTreeMap;
use std::error::Error;

use numapin_core::claims::Claims;
use numapin_core::guest::{Guest, GuestName, GuestParts, VirtualNode};
use numapin_core::host::{Cpu, Host, Node};
use numapin_core::id::{CoreId, CpuId, L3Id, NodeId, PackageId, VcpuId};
use numapin_core::idset::{CpuSet, VcpuSet};

/// So many virtual nodes with so many vCPUs each, none of which names a host node.
pub(crate) fn free_nodes(virtual_nodes: u32, vcpus: u32) -> Result<Guest, Box<dyn Error>> {
    Ok(Guest::new(
        GuestParts::new("bench", virtual_nodes, vcpus).with_numa(),
    )?)
}

/// One virtual node.
pub(crate) fn one_node(vcpus: u32) -> Result<Guest, Box<dyn Error>> {
    Ok(Guest::new(GuestParts::new("bench", 1, vcpus))?)
}

/// Two packages; L3s of 16 CPUs; SMT 2, siblings side by side; near nodes 12 apart, far ones 32.
pub(crate) fn host(nodes: u32, cpus_per_node: u32) -> Host {
    let package = |node: u32| if node < nodes.div_ceil(2) { 0 } else { 1 };
    let cpu = |id: u32| Cpu {
        id: CpuId(id),
        node: Some(NodeId(id / cpus_per_node)),
        package: Some(PackageId(package(id / cpus_per_node))),
        die: None,
        core: CoreId(id / 2 * 2),
        l3: Some(L3Id(id / 16 * 16)),
        kind: None,
    };
    let node = |id: u32| {
        let mut cpus = CpuSet::new();
        cpus.insert_range(
            CpuId(id * cpus_per_node),
            CpuId((id + 1) * cpus_per_node - 1),
        );
        let distance = |to: u32| match (id == to, package(id) == package(to)) {
            (true, _) => 10,
            (_, true) => 12,
            _ => 32,
        };
        let distances: BTreeMap<_, _> = (0..nodes).map(|to| (NodeId(to), distance(to))).collect();
        Node {
            id: NodeId(id),
            cpus,
            memory: None,
            distances,
        }
    };
    Host {
        cpus: (0..nodes * cpus_per_node).map(cpu).collect(),
        nodes: (0..nodes).map(node).collect(),
        ..Host::default()
    }
}

/// Eight virtual nodes of 1 to 8 vCPUs.
pub(crate) fn uneven_guest() -> Result<Guest, Box<dyn Error>> {
    let mut parts = GuestParts::new("bench", 1, 36);
    let mut first = 0;
    parts.virtual_nodes.clear();
    for id in 0..8 {
        let mut vcpus = VcpuSet::new();
        vcpus.insert_range(VcpuId(first), VcpuId(first + id));
        first += id + 1;
        parts.virtual_nodes.push(VirtualNode::new(id, vcpus));
    }
    (parts.numa, parts.numa_explicit) = (true, true);
    Ok(Guest::new(parts)?)
}

/// A fifth to all of each host node's CPUs held by others and, if asked for, distances from 11 to 40, by a fixed row of numbers.
pub(crate) fn uneven(
    nodes: u32,
    cpus_per_node: u32,
    seed: u64,
    distances_by_chance: bool,
) -> (Host, Claims) {
    let mut state = seed;
    // Knuth's linear congruential generator: the same numbers everywhere.
    let mut next = move |below: u32| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((state >> 33) % u64::from(below)).unwrap_or(0)
    };
    let mut host = host(nodes, cpus_per_node);
    let mut claims = Claims::default();
    for node in &mut host.nodes {
        let others = node.distances.iter_mut().filter(|_| distances_by_chance);
        for (to, distance) in others {
            *distance = if *to == node.id { 10 } else { 11 + next(30) };
        }
        let percent = 20 + next(80);
        for cpu in node.cpus.iter() {
            if next(100) < percent {
                claims
                    .one_to_one
                    .insert(cpu, vec![GuestName("other".to_owned())]);
            }
        }
    }
    (host, claims)
}

/// Guests spread over the host, each on four CPUs of its own.
pub(crate) fn claims(guests: u32) -> Claims {
    let mut claims = Claims::default();
    for guest in 0..guests {
        for cpu in 0..4 {
            let cpu = CpuId((guest * 8 + cpu * 2) % 4096);
            claims
                .one_to_one
                .entry(cpu)
                .or_default()
                .push(GuestName(guest.to_string()));
        }
    }
    claims
}
