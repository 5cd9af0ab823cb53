//! Small hosts and guests for tests, in few words.

mod brute;
mod budget;
mod cost;
mod modes;
mod rfc;
mod threads;
mod words;

use crate::claims::{Claims, SetPinned};
use crate::guest::{Guest, GuestName, GuestParts, VirtualNode};
use crate::host::{Cpu, Host, Node};
use crate::id::{CoreId, CpuId, L3Id, NodeId, PackageId, VcpuId};
use crate::placement::{Plan, plan};
use crate::policy::{Mode, Overlap, Policy, Smt};

/// A host in words: so many host nodes, L3s in a node, cores in an L3, threads in a core. CPU ids count threads first
/// (`blocked`), or run through all cores once for each thread, as firmware does.
pub(in crate::placement) fn host(nodes: u32, l3s: u32, cores: u32, threads: u32) -> Host {
    let total = nodes * l3s * cores;
    let mut host = Host::default();
    for core in 0..total {
        for thread in 0..threads {
            let node = core / (l3s * cores);
            host.cpus.push(Cpu {
                id: CpuId(core + thread * total),
                node: Some(NodeId(node)),
                package: Some(PackageId(0)),
                die: None,
                core: CoreId(core),
                l3: Some(L3Id(core / cores * cores)),
                kind: None,
            });
        }
    }
    host.cpus.sort_by_key(|cpu| cpu.id);
    for node in 0..nodes {
        let id = NodeId(node);
        let cpus = host
            .cpus
            .iter()
            .filter(|cpu| cpu.node == Some(id))
            .map(|cpu| cpu.id)
            .collect();
        let distance = |to: u32| if to == node { 10 } else { 16 };
        let distances = (0..nodes).map(|to| (NodeId(to), distance(to))).collect();
        host.nodes.push(Node {
            id,
            cpus,
            memory: None,
            distances,
        });
    }
    host
}

/// The host of the RFC: 4 nodes of 4 cores with 2 threads, two cores to an L3; node 0 has CPUs 0-3,16-19.
pub(in crate::placement) fn epyc() -> Host {
    host(4, 2, 2, 2)
}

/// Takes CPUs offline.
pub(in crate::placement) fn offline(host: &mut Host, cpus: &str) {
    host.offline = cpus.parse().unwrap();
    let offline = host.offline.clone();
    host.cpus.retain(|cpu| !offline.contains(cpu.id));
    for node in &mut host.nodes {
        node.cpus = node.cpus.difference(&offline);
    }
    // a core and an L3 are known by their lowest online CPU
    let cpus = host.cpus.clone();
    for cpu in &mut host.cpus {
        cpu.core = CoreId(cpus.iter().find(|c| c.core == cpu.core).unwrap().id.0);
        cpu.l3 = cpu
            .l3
            .map(|l3| L3Id(cpus.iter().find(|c| c.l3 == Some(l3)).unwrap().id.0));
    }
}

/// A guest with `numa: 1`: so many sockets of so many cores. With one socket it may span.
pub(in crate::placement) fn guest(sockets: u32, cores: u32) -> Guest {
    Guest::new(GuestParts::new("100", sockets, cores).with_numa()).unwrap()
}

/// A guest with numaN lines: the size of each virtual node and the host node it names.
pub(in crate::placement) fn explicit(nodes: &[(u32, Option<u32>)]) -> Guest {
    let mut parts = GuestParts::new("100", 1, nodes.iter().map(|(size, _)| size).sum());
    let mut next = 0;
    parts.numa = true;
    parts.numa_explicit = true;
    parts.virtual_nodes = (0..)
        .zip(nodes)
        .map(|(id, (size, host_node))| {
            let vcpus = (next..next + size).map(VcpuId).collect();
            next += size;
            let host_node = host_node.map(NodeId);
            let bound = host_node.is_some();
            VirtualNode {
                host_node,
                bound,
                ..VirtualNode::new(id, vcpus)
            }
        })
        .collect();
    Guest::new(parts).unwrap()
}

/// The plan of a guest that is alone on a host.
pub(in crate::placement) fn made(host: &Host, guest: &Guest, policy: &Policy) -> Plan {
    plan(host, guest, &Claims::default(), policy).unwrap()
}

/// The masks of all vCPUs, one after the other.
pub(in crate::placement) fn masks(plan: &Plan) -> String {
    let masks = plan.vcpus.iter().map(|placed| placed.cpus.to_string());
    masks.collect::<Vec<String>>().join(" ")
}

/// The host nodes of all virtual nodes, one after the other.
pub(in crate::placement) fn hosts(plan: &Plan) -> String {
    let hosts = plan
        .virtual_nodes
        .iter()
        .map(|placed| placed.host_nodes.to_string());
    hosts.collect::<Vec<String>>().join(" ")
}

/// A policy of a mode.
pub(in crate::placement) fn policy(mode: Mode) -> Policy {
    Policy {
        mode,
        ..Policy::default()
    }
}

/// One-to-one with smt and overlap.
pub(in crate::placement) fn one_to_one(smt: Smt, overlap: Overlap) -> Policy {
    Policy {
        mode: Mode::OneToOne,
        smt,
        overlap,
        ..Policy::default()
    }
}

/// Claims of guest 200.
pub(in crate::placement) fn claims(cpus: &str) -> Claims {
    let cpus: crate::idset::CpuSet = cpus.parse().unwrap();
    let mut claims = Claims::default();
    for cpu in cpus.iter() {
        claims
            .one_to_one
            .insert(cpu, vec![GuestName(String::from("200"))]);
    }
    claims
}

/// Adds vCPUs of guest 300 with a mask of several CPUs.
pub(in crate::placement) fn pinned(mut claims: Claims, mask: &str, vcpus: u32) -> Claims {
    let guest = GuestName(String::from("300"));
    claims.set_pinned.push(SetPinned {
        guest,
        mask: mask.parse().unwrap(),
        vcpus,
    });
    claims
}
