//! The best plan of a tiny guest on a tiny host by looking at every plan, with costs counted as the manual has them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::cost::{Ratio, Trial, cost};
use super::{claims, explicit, guest, host, offline, pinned};
use crate::host::NodeMemory;
use crate::id::{CpuId, NodeId, PackageId};
use crate::placement::*;
use crate::policy::{Isolated, Overlap};

fn subsets(ids: &[CpuId], size: usize) -> Vec<CpuSet> {
    let masks = (0_u32..1 << ids.len()).filter(|m| m.count_ones() as usize == size);
    masks
        .map(|m| {
            (0..ids.len())
                .filter(|i| m >> i & 1 == 1)
                .map(|i| ids[i])
                .collect()
        })
        .collect()
}

/// Every plan within the rules; the best one's cost, host nodes and CPUs.
fn best(
    host: &Host,
    guest: &Guest,
    claims: &Claims,
    policy: &Policy,
) -> Option<(Vec<Vec<Ratio>>, Vec<NodeSet>, CpuSet)> {
    let one = policy.mode == Mode::OneToOne;
    let mut usable = host.online().difference(&host.reserved);
    match (one, policy.isolated) {
        (true, Isolated::Only) => usable = usable.intersection(&host.isolated),
        (true, Isolated::Allow) => {}
        _ => usable = usable.difference(&host.isolated),
    }
    if policy.overlap == Overlap::Deny {
        usable = usable.difference(&claims.claimed());
    }
    let on = |h: &NodeSet| -> CpuSet {
        usable
            .iter()
            .filter(|c| h.contains(host.cpu(*c).unwrap().node.unwrap()))
            .collect()
    };
    let nodes: Vec<NodeId> = host
        .nodes
        .iter()
        .map(|n| n.id)
        .filter(|n| !on(&NodeSet::from_iter([*n])).is_empty())
        .collect();
    let mut options: Vec<Vec<NodeSet>> = vec![Vec::new()];
    let spans = guest.virtual_nodes.len() == 1 && guest.virtual_nodes[0].host_node.is_none();
    for vnode in &guest.virtual_nodes {
        let sets: Vec<NodeSet> = match vnode.host_node {
            Some(n) => nodes
                .iter()
                .filter(|m| **m == n)
                .map(|n| NodeSet::from_iter([*n]))
                .collect(),
            None => (1_u32..1 << nodes.len())
                .filter(|m| spans || m.count_ones() == 1)
                .map(|m| {
                    (0..nodes.len())
                        .filter(|i| m >> i & 1 == 1)
                        .map(|i| nodes[i])
                        .collect()
                })
                .collect(),
        };
        options = options
            .into_iter()
            .flat_map(|o| {
                sets.iter()
                    .map(move |s| [o.clone(), vec![s.clone()]].concat())
            })
            .collect();
    }
    let mut found: Option<(Vec<Vec<Ratio>>, Vec<NodeSet>, CpuSet)> = None;
    for hosts in options {
        let groups: BTreeSet<NodeSet> = hosts.iter().cloned().collect();
        let mut trials: Vec<BTreeMap<NodeSet, CpuSet>> = vec![BTreeMap::new()];
        for h in &groups {
            let k: usize = (0..hosts.len())
                .filter(|v| hosts[*v] == *h)
                .map(|v| guest.virtual_nodes[v].vcpus.len())
                .sum();
            let ids: Vec<CpuId> = on(h).iter().collect();
            let core = |c: CpuId| host.cpu(c).unwrap().core;
            let strict = policy.overlap == Overlap::Deny;
            let fits = |set: &CpuSet| -> bool {
                let covers = h
                    .iter()
                    .all(|n| set.iter().any(|c| host.cpu(c).unwrap().node == Some(n)));
                let isolate = one && policy.smt == Smt::Isolate;
                let apart = set.iter().map(core).collect::<BTreeSet<_>>().len() == set.len();
                let clean = !strict
                    || host.cpus.iter().all(|c| {
                        !claims.one_to_one.contains_key(&c.id)
                            || set.iter().all(|s| core(s) != c.core)
                    });
                covers && (!isolate || (apart && clean))
            };
            let choices: Vec<CpuSet> = match policy.mode {
                Mode::OneToOne => subsets(&ids, k).into_iter().filter(fits).collect(),
                Mode::Numa => vec![on(h)].into_iter().filter(|a| a.len() >= k).collect(),
                _ => {
                    let key = |c: &CpuId| (host.cpu(*c).unwrap().node, host.cpu(*c).unwrap().l3);
                    let l3s: Vec<_> = ids
                        .iter()
                        .map(key)
                        .collect::<BTreeSet<_>>()
                        .into_iter()
                        .collect();
                    let area = |m: u32| -> CpuSet {
                        ids.iter()
                            .copied()
                            .filter(|c| m >> l3s.binary_search(&key(c)).unwrap() & 1 == 1)
                            .collect()
                    };
                    (1_u32..1 << l3s.len())
                        .map(area)
                        .filter(|a| a.len() >= k)
                        .filter(fits)
                        .collect()
                }
            };
            trials = trials
                .into_iter()
                .flat_map(|t| {
                    choices.iter().map(move |c| {
                        let mut t = t.clone();
                        t.insert(h.clone(), c.clone());
                        t
                    })
                })
                .collect();
        }
        for cpus in trials {
            let trial = Trial {
                hosts: hosts.clone(),
                cpus,
            };
            let cost = cost(host, guest, claims, policy, &usable, &trial);
            let masks = if one {
                trial.cpus.values().flat_map(|c| c.iter()).collect()
            } else {
                let claimed = if policy.overlap == Overlap::Allow {
                    CpuSet::new()
                } else {
                    claims.claimed()
                };
                let mask = |(v, h): (usize, &NodeSet)| {
                    let free = trial.cpus[h].difference(&claimed);
                    if free.len() >= guest.virtual_nodes[v].vcpus.len() {
                        free
                    } else {
                        trial.cpus[h].clone()
                    }
                };
                trial
                    .hosts
                    .iter()
                    .enumerate()
                    .map(mask)
                    .fold(CpuSet::new(), |a, b| a.union(&b))
            };
            let new = (cost, hosts.clone(), masks);
            if found.as_ref().is_none_or(|old| new < *old) {
                found = Some(new);
            }
        }
    }
    found
}

fn read(cost: &Cost) -> Vec<Vec<Ratio>> {
    let ratio = |text: &str| text.parse::<Ratio>().unwrap();
    let list =
        |value: &Value| -> Vec<Ratio> { value.to_string().split_whitespace().map(ratio).collect() };
    cost.iter().map(|(_, value)| list(value)).collect()
}

fn bits(mask: u32, total: u32) -> String {
    let cpus: CpuSet = (0..total)
        .filter(|i| mask >> i & 1 == 1)
        .map(CpuId)
        .collect();
    cpus.to_string()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn the_plan_is_the_best_of_all(
        shape in prop::sample::select(vec![(1, 1, 4, 2), (2, 1, 2, 2), (2, 2, 2, 1), (2, 1, 4, 1), (4, 1, 1, 2), (4, 1, 2, 1), (3, 1, 3, 1), (2, 2, 1, 2), (1, 2, 2, 2), (1, 4, 2, 1)]),
        sizes in prop::collection::vec((1_u32..4, prop::option::weighted(0.3, 0_u32..4)), 1..4),
        free in 0_u32..6,
        masks in (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>()),
        crowd in prop::collection::vec((any::<u32>(), 1_u32..4), 0..3),
        modes in (0_usize..5, 0_usize..4, 0_usize..3, 0_usize..3),
        odd in (0_u32..3, 0_u32..4, 0_u32..4, 0_u32..4),
        memory in prop::collection::vec(0_u64..4, 4),
        far in prop::collection::vec(10_u32..14, 16),
    ) {
        let (nodes, l3s, cores, threads) = shape;
        let total = nodes * l3s * cores * threads;
        let mut host = host(nodes, l3s, cores, threads);
        for cpu in &mut host.cpus {
            cpu.package = Some(PackageId((cpu.node.unwrap().0 % (1 + odd.0)) as i32));
            if odd.1 == 3 {
                cpu.kind = Some((cpu.core.0 + far[0]) % 3);
            }
        }
        for node in &mut host.nodes {
            let i = node.id.0 as usize;
            node.memory = (memory[i] > 0).then(|| NodeMemory { total_kib: memory[i] * 1024, ..NodeMemory::default() });
            for (to, distance) in &mut node.distances {
                *distance = if to.0 as usize == i { 10 } else { far[i * 4 + to.0 as usize] };
            }
        }
        if odd.2 == 1 {
            let cpus = bits(masks.0 & masks.1 & masks.2, total);
            if cpus.parse::<CpuSet>().unwrap().len() < total as usize {
                offline(&mut host, &cpus);
            }
        }
        if odd.3 == 1 {
            host.reserved = bits(masks.3 & masks.1 & masks.0, total).parse().unwrap();
            host.isolated = bits(masks.4 & masks.2, total).parse().unwrap();
        }
        let mut guest = if free > 0 && free < 6 { guest(1, free) } else { explicit(&sizes) };
        guest = guest.changed(|parts| {
            for (i, vnode) in parts.virtual_nodes.iter_mut().enumerate() {
                vnode.memory_mib = Some(far[i] as u64 % 4);
            }
            let device = |n: u32| crate::guest::Device { address: String::new(), node: Some(NodeId(n % 5)) };
            parts.devices = vec![device(far[3]), device(far[4])];
            if odd.0 == 2 {
                let memory_mib = (0..4).map(|n| (NodeId(n), memory[n as usize])).collect();
                parts.running = Some(crate::guest::Running { memory_mib });
            }
        }).unwrap();
        let mut claims = claims(&bits(masks.0 & masks.3, total));
        for (mask, vcpus) in crowd {
            let mask = bits(mask, total);
            if mask.parse::<CpuSet>().unwrap().len() > 1 {
                claims = pinned(claims, &mask, vcpus);
            }
        }
        let policy = Policy {
            mode: [Mode::OneToOne, Mode::OneToOne, Mode::OneToOne, Mode::Numa, Mode::L3][modes.0],
            smt: Smt::ALL[modes.1],
            overlap: Overlap::ALL[modes.2],
            isolated: Isolated::ALL[modes.3],
            ..Policy::default()
        };
        let found = plan(&host, &guest, &claims, &policy);
        let wanted = best(&host, &guest, &claims, &policy);
        prop_assert_eq!(found.is_ok(), wanted.is_some(), "{:?}", found);
        if let (Ok(plan), Some((cost, hosts, cpus))) = (found, wanted) {
            let names: Vec<_> = plan.cost.iter().map(|(i, _)| i).zip(read(&plan.cost)).zip(&cost).filter(|((_, a), b)| a != *b).collect();
            prop_assert!(names.is_empty(), "{:?} {:?}, wanted {:?} {} ", names, plan, hosts, cpus);
            prop_assert!(plan.optimal);
            let placed: Vec<NodeSet> = plan.virtual_nodes.iter().map(|v| v.host_nodes.clone()).collect();
            prop_assert_eq!(placed, hosts);
            let all: CpuSet = plan.vcpus.iter().flat_map(|v| v.cpus.iter()).collect();
            prop_assert_eq!(all, cpus);
        }
    }
}
