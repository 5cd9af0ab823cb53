//! Random hosts.

use std::collections::BTreeMap;

use numapin_core::host::{Cpu, Host, Node, NodeMemory};
use numapin_core::id::{CoreId, CpuId, L3Id, NodeId, PackageId};

use super::Random;

/// A CPU of a host in the making: the numbers of its groups, before ids are given.
struct Seat {
    node: usize,
    package: usize,
    l3: usize,
    core: usize,
    kind: Option<u32>,
}

/// A host of 1 to 12 CPUs on up to 6 nodes.
pub(super) fn host(random: &mut Random) -> Host {
    let mut seats = seats(random);
    let offline_chance = random.one(&[0, 0, 10, 30]);
    // Blocked numbering, or any other; ids with gaps.
    if random.chance(60) {
        random.shuffle(&mut seats);
    }
    let stride = random.one(&[1, 1, 1, 2, 7]);
    let mut next = random.one(&[0, 0, 0, 1, 60]);
    let node_ids = random.one(&[
        [0, 1, 2, 3, 4, 5],
        [0, 1, 2, 3, 4, 5],
        [0, 2, 3, 8, 9, 10],
        [3, 4, 252, 253, 254, 255],
    ]);
    let packages = random.one(&[[0, 1, 2, 3, 4, 5], [36, 8442, 8443, 9000, 9001, 9002]]);
    let knows_packages = random.chance(90);
    let knows_l3s = random.chance(85);
    let knows_die = random.chance(50);
    let mut host = Host::default();
    let mut online: Vec<(CpuId, Seat)> = Vec::new();
    for seat in seats {
        let id = CpuId(next);
        next += random.below(stride) + 1;
        if random.chance(offline_chance) {
            host.offline.insert(id);
        } else {
            online.push((id, seat));
        }
    }
    let lowest = |same: &dyn Fn(&Seat) -> bool| {
        let first = online.iter().find(|(_, seat)| same(seat));
        first.map_or(0, |(id, _)| id.0)
    };
    let no_node = random.chance(2).then(|| random.index(12));
    for (id, seat) in &online {
        host.cpus.push(Cpu {
            id: *id,
            node: (no_node != Some(seat.core)).then(|| NodeId(node_ids[seat.node])),
            package: knows_packages.then(|| PackageId(packages[seat.package])),
            die: knows_die.then_some(0),
            core: CoreId(lowest(&|other| other.core == seat.core)),
            l3: knows_l3s.then(|| L3Id(lowest(&|other| other.l3 == seat.l3))),
            kind: seat.kind,
        });
    }
    let count = 1 + random
        .index(4)
        .max(online.iter().map(|(_, s)| s.node).max().unwrap_or(0));
    nodes(random, &mut host, &node_ids[..count]);
    let all = host.online();
    if random.chance(15) {
        host.isolated = random.some(&all, 40);
    }
    if random.chance(15) {
        host.reserved = random.some(&all, 20);
    }
    if random.chance(10) {
        host.allowed = Some(random.some(&all, 75));
    }
    host.zfs = random.chance(5);
    host
}

/// Up to 12 CPUs in the groups of a machine: regular or not, with SMT 1, 2 or 4.
fn seats(random: &mut Random) -> Vec<Seat> {
    let nodes = random.one(&[1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 4, 6]);
    let most = random.one(&[4, 8, 10, 12]);
    let nodes_of_package = random.one(&[1, 1, 2, 4]);
    // Without NUMA one node can hold two packages.
    let split_packages = nodes == 1 && random.chance(20);
    let l3_spans_nodes = random.chance(10);
    let l3_cores = random.one(&[1, 1, 2, 2, 3, 12]);
    let threads = random.one(&[1, 1, 2, 2, 2, 4]);
    let irregular = random.chance(40);
    let kinds = random.one(&[1, 1, 1, 2, 3]);
    let per_node = (most / (nodes * threads)).max(1);
    let (mut core, mut l3) = (0, 0);
    let mut seats = Vec::new();
    for node in 0..nodes {
        if !l3_spans_nodes || node % 2 == 0 {
            l3 += 1;
        }
        let cores = if irregular {
            random.index(per_node + 2)
        } else {
            per_node
        };
        for nth in 0..cores {
            if nth > 0 && nth % l3_cores == 0 && !l3_spans_nodes {
                l3 += 1;
            }
            let threads = if irregular {
                1 + random.index(threads)
            } else {
                threads
            };
            let mut kind = (kinds > 1).then(|| random.below(kinds));
            // no machine has threads of two kinds on one core, but files can say so
            let mixed = kinds > 1 && random.chance(5);
            for _ in 0..threads {
                if mixed {
                    kind = Some(random.below(kinds));
                }
                seats.push(Seat {
                    node,
                    package: if split_packages {
                        nth % 2
                    } else {
                        node / nodes_of_package
                    },
                    l3,
                    core,
                    kind,
                });
            }
            core += 1;
        }
    }
    seats.truncate(12);
    seats
}

fn nodes(random: &mut Random, host: &mut Host, ids: &[u32]) {
    let knows_distances = random.chance(70);
    let far = random.one(&[16, 20, 21, 32]);
    let uneven = random.chance(30);
    let knows_memory = random.one(&[0, 50, 100, 100]);
    for id in ids {
        let mut distances = BTreeMap::new();
        for other in ids.iter().filter(|_| knows_distances) {
            let more = if uneven { random.below(3) * 5 } else { 0 };
            let distance = if id == other { 10 } else { far + more };
            distances.insert(NodeId(*other), distance);
        }
        let memory = random.chance(knows_memory).then(|| {
            let total_kib = random.one(&[0u64, 4, 8, 64]) << 20;
            let mut free_hugepages = BTreeMap::new();
            for (size, most) in [(2048, 4096), (1 << 20, 9)] {
                if random.chance(70) {
                    free_hugepages.insert(size, u64::from(random.below(most)));
                }
            }
            NodeMemory {
                total_kib,
                available_kib: random
                    .chance(80)
                    .then(|| total_kib * u64::from(random.below(5)) / 4),
                free_hugepages,
            }
        });
        host.nodes.push(Node {
            id: NodeId(*id),
            cpus: host
                .cpus
                .iter()
                .filter(|cpu| cpu.node == Some(NodeId(*id)))
                .map(|cpu| cpu.id)
                .collect(),
            memory,
            distances,
        });
    }
}
