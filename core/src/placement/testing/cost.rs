//! The cost of a plan, counted as the manual's table has it, item by item.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::{CoreId, CpuId, NodeId, PackageId};
use crate::placement::*;
use crate::policy::Overlap;

pub(super) type Ratio = num_rational::Ratio<i64>;

/// One plan: for each virtual node its host nodes; for each host node (or the spanning set) the CPUs taken or its area.
pub(super) struct Trial {
    pub hosts: Vec<NodeSet>,
    pub cpus: BTreeMap<NodeSet, CpuSet>,
}

/// Costs as lists of fractions, in order.
pub(super) fn cost(
    host: &Host,
    guest: &Guest,
    claims: &Claims,
    policy: &Policy,
    usable: &CpuSet,
    trial: &Trial,
) -> Vec<Vec<Ratio>> {
    let none = Claims::default();
    let claims = if policy.overlap == Overlap::Allow {
        &none
    } else {
        claims
    };
    let claimed = claims.claimed();
    let one = policy.mode == Mode::OneToOne;
    let all: CpuSet = trial.cpus.values().flat_map(|c| c.iter()).collect();
    let cpu = |id: CpuId| host.cpu(id).unwrap();
    let cores = |cpus: &CpuSet| {
        cpus.iter()
            .map(|c| cpu(c).core)
            .collect::<BTreeSet<CoreId>>()
    };
    let of_core = |core: CoreId| -> CpuSet {
        host.cpus
            .iter()
            .filter(|c| c.core == core)
            .map(|c| c.id)
            .collect()
    };
    let nodes: NodeSet = trial.hosts.iter().flat_map(|h| h.iter()).collect();
    let int = |n: usize| Ratio::from_integer(n as i64);
    let there = |h: &NodeSet| -> Vec<usize> {
        (0..trial.hosts.len())
            .filter(|v| trial.hosts[*v] == *h)
            .collect()
    };
    let size = |v: usize| guest.virtual_nodes[v].vcpus.len();
    let k = |h: &NodeSet| there(h).into_iter().map(size).sum::<usize>();
    let mask = |h: &NodeSet| -> CpuSet {
        let area = &trial.cpus[h];
        let free = area.difference(&claimed);
        let masks = there(h).into_iter().map(|v| {
            if free.len() >= size(v) {
                free.clone()
            } else {
                area.clone()
            }
        });
        masks.fold(CpuSet::new(), |a, b| a.union(&b))
    };
    let l3 = |c: CpuId| (cpu(c).node, cpu(c).l3);
    let l3s: BTreeSet<_> = all.iter().map(l3).collect();
    let ignore = one && policy.smt == Smt::Any;
    let mut value: BTreeMap<Item, Vec<Ratio>> = BTreeMap::new();
    let mut set = |item, n: usize| value.insert(item, vec![int(n)]);
    let shares = |v: &usize| {
        guest.virtual_nodes[*v].host_node.is_none() && there(&trial.hosts[*v]).len() > 1
    };
    set(
        Item::SharedNodes,
        (0..trial.hosts.len()).filter(shares).count(),
    );
    let lacking = |have: &dyn Fn(&NodeSet) -> usize| {
        trial
            .cpus
            .keys()
            .map(|h| k(h).saturating_sub(have(h)))
            .sum::<usize>()
    };
    set(
        Item::Overlap,
        if one {
            all.common(&claimed)
        } else {
            lacking(&|h| trial.cpus[h].difference(&claimed).len())
        },
    );
    let foreign = |c: &&CoreId| !of_core(**c).is_disjoint(&claimed);
    set(
        Item::ForeignCores,
        if one && !ignore {
            cores(&all).iter().filter(foreign).count()
        } else {
            0
        },
    );
    let spanning = trial.hosts.iter().find(|h| h.len() > 1);
    let packages: BTreeSet<PackageId> = spanning.map_or(BTreeSet::new(), |s| {
        usable
            .iter()
            .filter(|c| s.contains(cpu(*c).node.unwrap()))
            .filter_map(|c| cpu(c).package)
            .collect()
    });
    set(Item::Packages, packages.len().saturating_sub(1));
    set(Item::Spanned, spanning.map_or(0, |s| s.len() - 1));
    let kinds: BTreeSet<u32> = all.iter().map(|c| cpu(c).kind.unwrap_or(0)).collect();
    let fast = host.fastest_kind();
    set(Item::CoreKinds, if one { kinds.len() - 1 } else { 0 });
    set(
        Item::SlowVcpus,
        if one {
            all.iter()
                .filter(|c| cpu(*c).kind.unwrap_or(0) > fast)
                .count()
        } else {
            0
        },
    );
    let shared = match policy.smt {
        _ if !one => lacking(&|h| cores(&mask(h)).len()),
        Smt::Spread => cores(&all)
            .iter()
            .map(|c| all.common(&of_core(*c)))
            .map(|m| m * (m - 1) / 2)
            .sum(),
        Smt::Pack => cores(&all).len(),
        _ => 0,
    };
    set(Item::SharedCores, shared);
    let half = |c: &&CoreId| !of_core(**c).is_subset(usable);
    set(
        Item::HalfCores,
        if one && !ignore {
            cores(&all).iter().filter(half).count()
        } else {
            0
        },
    );
    let needs = |h: &NodeSet| {
        there(h)
            .iter()
            .map(|v| guest.memory_of(&guest.virtual_nodes[*v]))
            .sum::<Option<u64>>()
    };
    let has = |h: &NodeSet| {
        h.iter()
            .map(|n| Some(host.node(n)?.memory.as_ref()?.total_kib))
            .sum::<Option<u64>>()
    };
    let groups: BTreeSet<&NodeSet> = trial.hosts.iter().collect();
    let short = |h: &&&NodeSet| {
        needs(h)
            .zip(has(h))
            .is_some_and(|(need, has)| has < need * 1024)
    };
    let stopped = guest.running.is_none();
    set(
        Item::ShortMemory,
        if stopped {
            groups.iter().filter(short).count()
        } else {
            0
        },
    );
    let resident = guest.running.iter().flat_map(|r| &r.memory_mib);
    set(
        Item::RemoteMemory,
        resident
            .filter(|(n, _)| !nodes.contains(**n))
            .map(|(_, m)| usize::try_from(*m).unwrap())
            .sum(),
    );
    set(
        Item::RemoteDevices,
        guest
            .devices
            .iter()
            .filter(|d| d.node.is_some_and(|n| !nodes.contains(n)))
            .count(),
    );
    let mut distance = 0;
    for a in nodes.iter() {
        for b in nodes.iter().filter(|b| *b > a) {
            distance += host.distance(a, b).max(host.distance(b, a)) as usize;
        }
    }
    set(Item::Distance, distance);
    let boot = of_core(host.cpus[0].core);
    set(Item::BootCore, if one { all.common(&boot) } else { 0 });
    set(
        Item::L3Domains,
        if policy.mode == Mode::Numa {
            0
        } else {
            l3s.len()
        },
    );
    let free = |c: &CpuId| l3s.contains(&l3(*c)) && !claimed.contains(*c) && !all.contains(*c);
    set(
        Item::Leftover,
        if one {
            usable.iter().filter(free).count()
        } else {
            0
        },
    );
    let strange =
        |v: &usize| trial.hosts[*v] != NodeSet::from_iter([NodeId(guest.virtual_nodes[*v].id.0)]);
    set(
        Item::Renumbered,
        (0..trial.hosts.len()).filter(strange).count(),
    );
    let share =
        |mask: &CpuSet, area: &CpuSet| Ratio::new(mask.common(area) as i64, mask.len() as i64);
    let crowd = claims
        .set_pinned
        .iter()
        .map(|p| share(&p.mask, &all) * Ratio::from_integer(i64::from(p.vcpus)));
    value.insert(Item::Crowding, vec![if one { crowd.sum() } else { int(0) }]);
    let mut load: Vec<Ratio> = Vec::new();
    for (h, area) in trial.cpus.iter().filter(|_| !one) {
        let others = claims
            .set_pinned
            .iter()
            .map(|p| share(&p.mask, area) * Ratio::from_integer(i64::from(p.vcpus)));
        load.push((int(area.common(&claimed) + k(h)) + others.sum::<Ratio>()) / int(area.len()));
    }
    load.sort_by_key(|l| Reverse(*l));
    value.insert(Item::Load, load);
    Item::order(policy.mode, policy.smt)
        .into_iter()
        .map(|item| value[&item].clone())
        .collect()
}
