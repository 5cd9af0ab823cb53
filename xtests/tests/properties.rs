//! What must hold of plans whatever the host and the guest: laws that compare one plan with another.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use numapin_core::claims::Claims;
use numapin_core::guest::{Guest, GuestParts};
use numapin_core::host::{Cpu, Host, Node};
use numapin_core::id::{CoreId, CpuId, L3Id};
use numapin_core::idset::CpuSet;
use numapin_core::placement::{Plan, plan};
use numapin_core::policy::{Isolated, Mode, Overlap, Policy, Smt};
use numapin_xtests::random::{Case, Random};

const SEEDS: u64 = 3_000;

fn planned(case: &Case) -> Option<Plan> {
    plan(&case.host, &case.guest, &case.claims, &case.policy).ok()
}

/// The cases of the seeds that the law is about; there must be many.
fn cases(of: impl Fn(&Case) -> bool) -> Vec<Case> {
    let all = (0..SEEDS).map(|seed| Case::of(1_000_000 + seed).unwrap());
    let cases: Vec<Case> = all.filter(|case| of(case)).collect();
    assert!(cases.len() > 300, "only {} cases", cases.len());
    cases
}

#[test]
fn a_usable_cpu_more_never_makes_a_guest_unplaceable() {
    let random = &mut Random::new(1);
    for case in cases(|case| planned(case).is_some()) {
        for (what, more) in with_one_more(&case, random) {
            assert!(
                planned(&more).is_some(),
                "{what}:\n{case}\nis planned, but not\n{more}"
            );
        }
    }
}

/// A CPU that nothing held back any more, and a new one beside another.
fn with_one_more(case: &Case, random: &mut Random) -> Vec<(&'static str, Case)> {
    let mut all = Vec::new();
    let mut with = |what, change: &dyn Fn(&mut Case)| {
        let mut more = case.clone();
        change(&mut more);
        all.push((what, more));
    };
    if let Some(cpu) = case.host.reserved.first() {
        with("not reserved", &|c| {
            c.host.reserved.remove(cpu);
        });
    }
    if let Some(cpu) = case.host.isolated.first()
        && (case.policy.isolated != Isolated::Only || case.policy.mode != Mode::OneToOne)
    {
        with("not isolated", &|c| {
            c.host.isolated.remove(cpu);
        });
    }
    let gone = |set: &CpuSet| case.host.online().difference(set).first();
    if let Some(cpu) = case.host.allowed.as_ref().and_then(gone) {
        with("allowed", &|c| {
            c.host.allowed.as_mut().unwrap().insert(cpu);
        });
    }
    if let Some(cpu) = case.guest.affinity.as_ref().and_then(gone) {
        with("in affinity", &|c| {
            let wider = |g: &mut GuestParts| {
                g.affinity.as_mut().unwrap().insert(cpu);
            };
            c.guest = c.guest.changed(wider).unwrap();
        });
    }
    let beside = case.host.cpus[random.index(case.host.cpus.len())].clone();
    for (what, sibling) in [("a thread", true), ("a core", false)] {
        with(what, &|c| add_cpu(c, &beside, sibling));
    }
    all
}

/// Adds a CPU with the highest id: a thread of a core, or a core in its L3.
fn add_cpu(case: &mut Case, beside: &Cpu, sibling: bool) {
    let highest = case.host.online().union(&case.host.offline);
    let id = CpuId(highest.last().unwrap().0 + 1);
    let mut cpu = Cpu {
        id,
        ..beside.clone()
    };
    if !sibling {
        cpu.core = CoreId(id.0);
    }
    if let Some(node) = cpu.node {
        let at = case.host.nodes.iter().position(|n| n.id == node).unwrap();
        case.host.nodes[at].cpus.insert(id);
    }
    case.host.cpus.push(cpu);
}

#[test]
fn a_vcpu_more_never_makes_a_guest_use_fewer_cores_or_host_nodes() {
    // Where nothing that stands before cores in the order of items can turn the choice: no claims, one kind, and one package or
    // packages that are alike. (Else a guest that outgrows a package of many cores moves to one of few cores and many threads.)
    let spread = cases(|case| {
        let packages = case.host.cpus.iter().map(|cpu| cpu.package);
        let one_kind = case.host.cpus.iter().all(|cpu| cpu.kind.is_none());
        one_kind && (packages.collect::<BTreeSet<_>>().len() == 1 || is_regular(&case.host))
    });
    let policy = Policy {
        mode: Mode::OneToOne,
        smt: Smt::Spread,
        ..Policy::default()
    };
    let mut compared = 0;
    for mut case in spread {
        case.policy = policy.clone();
        case.claims = Claims::default();
        let mut before = (0, 0);
        for cores in 1..=8 {
            case.guest = Guest::new(GuestParts::new("100", 1, cores)).unwrap();
            let Some(plan) = planned(&case) else {
                break;
            };
            let now = cores_and_nodes(&case.host, &plan);
            assert!(
                now.0 >= before.0 && now.1 >= before.1,
                "{cores} vcpus use {now:?} cores and host nodes, one less {before:?}:\n{case}"
            );
            before = now;
            compared += 1;
        }
    }
    assert!(compared > 1000, "only {compared} plans were compared");
}

/// Whether all CPUs are usable, cores have as many threads, host nodes as many CPUs and packages as many host nodes.
fn is_regular(host: &Host) -> bool {
    fn sizes<K: Ord, V: Ord>(pairs: impl Iterator<Item = (K, V)>) -> usize {
        let mut groups: BTreeMap<K, BTreeSet<V>> = BTreeMap::new();
        for (group, member) in pairs {
            groups.entry(group).or_default().insert(member);
        }
        groups
            .values()
            .map(BTreeSet::len)
            .collect::<BTreeSet<_>>()
            .len()
    }
    let all_usable = host.allowed.is_none() && host.isolated.is_empty() && host.reserved.is_empty();
    all_usable
        && sizes(host.cpus.iter().map(|cpu| (cpu.core, cpu.id))) == 1
        && sizes(host.cpus.iter().map(|cpu| (cpu.node, cpu.id))) == 1
        && sizes(host.cpus.iter().map(|cpu| (cpu.package, cpu.node))) == 1
}

fn cores_and_nodes(host: &Host, plan: &Plan) -> (usize, usize) {
    let cpus = plan.vcpus.iter().flat_map(|v| v.cpus.iter());
    let cpus: Vec<&Cpu> = cpus.map(|id| host.cpu(id).unwrap()).collect();
    let cores: BTreeSet<_> = cpus.iter().map(|cpu| cpu.core).collect();
    let nodes: BTreeSet<_> = cpus.iter().map(|cpu| cpu.node).collect();
    (cores.len(), nodes.len())
}

#[test]
fn other_numbers_for_the_cpus_give_the_same_plan_up_to_ties() {
    let random = &mut Random::new(2);
    let mut differ = 0;
    for case in cases(|case| planned(case).is_some()) {
        let other = relabelled(&case, random);
        let (plan, renamed) = (planned(&case).unwrap(), planned(&other));
        let cost = renamed.as_ref().map(|plan| &plan.cost);
        assert_eq!(cost, Some(&plan.cost), "\n{case}\n{other}");
        differ += usize::from(renamed.unwrap().vcpus != plan.vcpus);
    }
    assert!(differ > 100, "only {differ} plans were on other CPUs");
}

/// The same machine with other numbers for all CPUs but the lowest online one, of which the boot core is told.
fn relabelled(case: &Case, random: &mut Random) -> Case {
    let fixed = case.host.cpus[0].id;
    let all = case.host.online().union(&case.host.offline);
    // Offline ones may be below it: they are not told from others.
    let old: Vec<CpuId> = all.iter().filter(|id| *id > fixed).collect();
    let mut new = old.clone();
    random.shuffle(&mut new);
    let names: BTreeMap<CpuId, CpuId> = old.into_iter().zip(new).collect();
    let name = |id: CpuId| names.get(&id).copied().unwrap_or(id);
    let set = |set: &CpuSet| set.iter().map(name).collect::<CpuSet>();
    let mut other = case.clone();
    for cpu in &mut other.host.cpus {
        cpu.id = name(cpu.id);
    }
    other.host.cpus.sort_by_key(|cpu| cpu.id);
    // Cores and L3s are called by their lowest CPU.
    let before = other.host.cpus.clone();
    for cpu in &mut other.host.cpus {
        let core = before.iter().find(|other| other.core == cpu.core).unwrap();
        cpu.core = CoreId(core.id.0);
        let l3 = before.iter().find(|other| other.l3 == cpu.l3).unwrap();
        cpu.l3 = cpu.l3.map(|_| L3Id(l3.id.0));
    }
    for Node { cpus, .. } in &mut other.host.nodes {
        *cpus = set(cpus);
    }
    other.host.offline = set(&other.host.offline);
    other.host.isolated = set(&other.host.isolated);
    other.host.reserved = set(&other.host.reserved);
    other.host.allowed = other.host.allowed.as_ref().map(set);
    let affinity = other.guest.affinity.as_ref().map(set);
    other.guest = other.guest.changed(|g| g.affinity = affinity).unwrap();
    let held = std::mem::take(&mut other.claims.one_to_one);
    other.claims.one_to_one = held.into_iter().map(|(id, by)| (name(id), by)).collect();
    for claim in &mut other.claims.set_pinned {
        claim.mask = set(&claim.mask);
    }
    other
}

#[test]
fn others_never_change_a_plan_made_with_overlap_allow() {
    let of = |case: &Case| !case.claims.one_to_one.is_empty() || !case.claims.set_pinned.is_empty();
    let mut made = 0;
    for mut case in cases(of) {
        case.policy.overlap = Overlap::Allow;
        let mut alone = case.clone();
        alone.claims.one_to_one.clear();
        alone.claims.set_pinned.clear();
        // Only the notes tell who sits there.
        let plans = [&case, &alone].map(|case| {
            planned(case).map(|plan| Plan {
                notes: Vec::new(),
                ..plan
            })
        });
        assert_eq!(plans[0], plans[1], "\n{case}");
        made += usize::from(plans[0].is_some());
    }
    assert!(made > 300, "only {made} plans were compared");
}

#[test]
fn others_only_ever_cost() {
    // In the items that tell of sharing; without them, more vCPUs may fit.
    for case in cases(|case| planned(case).is_some()) {
        let mut alone = case.clone();
        alone.claims.one_to_one.clear();
        alone.claims.set_pinned.clear();
        let plan = planned(&case).unwrap();
        let alone = planned(&alone).unwrap();
        if alone.vcpus.len() != plan.vcpus.len() {
            continue;
        }
        let overlap = |plan: &Plan| {
            plan.cost
                .iter()
                .take(3)
                .map(|(_, v)| v.clone())
                .collect::<Vec<_>>()
        };
        assert!(overlap(&alone) <= overlap(&plan), "\n{case}");
    }
}

#[test]
fn the_same_input_gives_the_same_plan() {
    for case in cases(|case| planned(case).is_some()) {
        let again = case.clone();
        let text = |case: &Case| format!("{:?}", planned(case));
        assert_eq!(text(&case), text(&again));
    }
}
