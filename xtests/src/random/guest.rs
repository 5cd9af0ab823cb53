//! Random guests.

use std::collections::{BTreeMap, BTreeSet};

use numapin_core::guest::{Device, Guest, GuestParts, Hugepages, Running, VirtualNode};
use numapin_core::host::Host;
use numapin_core::id::{CoreId, CpuId, NodeId};
use numapin_core::idset::VcpuSet;
use numapin_core::policy::{Mode, Policy, Smt};
use numapin_core::violation::Violations;

use super::Random;

/// A guest of 1 to 8 vCPUs in up to 6 virtual nodes, mostly small enough to fit.
pub(super) fn guest(
    random: &mut Random,
    host: &Host,
    policy: &Policy,
) -> Result<Guest, Violations> {
    let taken = host.isolated.union(&host.reserved);
    let mut room = host.online().difference(&taken).len();
    if policy.smt == Smt::Isolate && policy.mode == Mode::OneToOne {
        let cores: BTreeSet<CoreId> = host.cpus.iter().map(|cpu| cpu.core).collect();
        room = room.min(cores.len());
    }
    let most = if random.chance(90) {
        room.clamp(1, 8)
    } else {
        8
    };
    let explicit = random.chance(40);
    let numa = explicit || random.chance(50);
    let nodes = if numa {
        let most_nodes = if random.chance(5) { 6 } else { 4 };
        1 + random.index(most.min(most_nodes))
    } else {
        1
    };
    let host_node = |random: &mut Random| match random.below(100) {
        0..2 => NodeId(77),
        _ => host.nodes[random.index(host.nodes.len())].id,
    };
    let mut parts = if explicit {
        let vcpus = nodes + random.index(most - nodes + 1);
        let mut parts = GuestParts::new("100", 1, u32::try_from(vcpus).unwrap_or(1));
        // Each virtual node has one vCPU, the others any; now and then they take turns.
        let mut turns: Vec<usize> = (0..nodes).collect();
        turns.extend((nodes..vcpus).map(|_| random.index(nodes)));
        if random.chance(60) {
            turns.sort_unstable();
        }
        let all: Vec<_> = parts.virtual_nodes[0].vcpus.iter().collect();
        parts.virtual_nodes.clear();
        let knows_memory = random.one(&[0, 60, 100, 100, 100]);
        for node in 0..nodes {
            let own: VcpuSet = all
                .iter()
                .zip(&turns)
                .filter(|(_, t)| **t == node)
                .map(|(v, _)| *v)
                .collect();
            let mut made = VirtualNode::new(u32::try_from(node).unwrap_or(0), own);
            made.memory_mib = random
                .chance(knows_memory)
                .then(|| u64::from(random.below(6)) * 1024);
            parts.virtual_nodes.push(made);
        }
        parts.numa = true;
        parts.numa_explicit = true;
        parts
    } else {
        let cores = 1 + random.index((most / nodes).max(1));
        let sockets = u32::try_from(nodes).unwrap_or(1);
        let parts = GuestParts::new("100", sockets, u32::try_from(cores).unwrap_or(1));
        if numa { parts.with_numa() } else { parts }
    };
    if !explicit && random.chance(90) {
        parts.memory_mib = Some(random.one(&[512, 3000, 4096, 8192, 20480]));
        if numa {
            parts = parts.with_numa();
        }
    }
    let fixed = if explicit {
        random.one(&[0, 0, 40, 100])
    } else {
        0
    };
    for node in &mut parts.virtual_nodes {
        if random.chance(fixed) {
            node.host_node = Some(host_node(random));
        }
    }
    if random.chance(15) {
        let plugged = parts
            .plugged
            .iter()
            .filter(|_| random.chance(60))
            .collect::<VcpuSet>();
        if !plugged.is_empty() {
            parts.plugged = plugged;
        }
    }
    let all = host.online().union(&host.offline);
    if random.chance(15) {
        let mut affinity = random.some(&all, 80);
        if random.chance(20) {
            affinity.insert(CpuId(4000));
        }
        parts.affinity = Some(affinity);
    }
    if numa && random.chance(20) {
        parts.hugepages = Some(random.one(&[Hugepages::Any, Hugepages::Mib2, Hugepages::Gib1]));
    }
    for nth in 0..random.one(&[0, 0, 0, 1, 3]) {
        parts.devices.push(Device {
            address: format!("0000:0{nth}:00.0"),
            node: random.chance(85).then(|| host_node(random)),
        });
    }
    if random.chance(25) {
        let mut memory_mib = BTreeMap::new();
        for node in &host.nodes {
            if random.chance(60) {
                memory_mib.insert(node.id, u64::from(random.below(3)) * 1024);
            }
        }
        parts.running = Some(Running { memory_mib });
    }
    Guest::new(parts)
}
