//! The checker of plans: it finds each way in which a plan can be wrong, and nothing wrong with plans on hosts of every size.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use numapin_core::claims::Claims;
use numapin_core::guest::{Guest, GuestParts};
use numapin_core::id::{CpuId, NodeId};
use numapin_core::idset::CpuSet;
use numapin_core::placement::{Cost, Plan, plan};
use numapin_core::policy::{Mode, Overlap, Policy, Smt};
use numapin_sysfs_sim::topologies;
use numapin_xtests::check::{check_notes, check_plan};
use numapin_xtests::flow::guests::{POLICIES, table};
use numapin_xtests::flow::lab::Lab;
use numapin_xtests::random::Case;
use numapin_xtests::scene::Scene;

fn planned(case: &Case) -> Option<Plan> {
    plan(&case.host, &case.guest, &case.claims, &case.policy).ok()
}

fn faults(case: &Case, plan: &Plan) -> Vec<String> {
    check_plan(&case.host, &case.guest, &case.claims, &case.policy, plan)
}

#[test]
fn plans_on_every_topology_keep_to_the_rules() {
    let mut checked = 0;
    for name in topologies::names() {
        let host = Lab::named(name).unwrap().host().unwrap();
        for text in POLICIES {
            let mut policy: Policy = text.parse().unwrap();
            let mut claims = Claims::default();
            // Each guest sees the ones before.
            for (nth, (what, shape)) in table(&host).into_iter().enumerate() {
                policy.overlap = Overlap::ALL[nth % Overlap::ALL.len()];
                let guest = shape.guest().unwrap();
                let Ok(made) = plan(&host, &guest, &claims, &policy) else {
                    continue;
                };
                let faults = check_plan(&host, &guest, &claims, &policy, &made);
                let case = format!("{name}, {text}, overlap={}, {what}", policy.overlap);
                assert!(faults.is_empty(), "{case}:\n{}", faults.join("\n"));
                claims = claims.with_plan(&host, &guest, &made);
                checked += 1;
            }
        }
    }
    assert!(checked > 300, "only {checked} plans were checked");
}

#[test]
fn the_mode_shared_gives_every_usable_cpu_that_nobody_holds() {
    let (mut made, mut refused) = (0, 0);
    for seed in 2_000_000..2_003_000 {
        let mut case = Case::of(seed).unwrap();
        case.policy.mode = Mode::Shared;
        let scene = Scene::new(&case.host, &case.guest, &case.claims, &case.policy);
        let is_usable = !scene.usable.is_empty();
        let plan = planned(&case);
        assert_eq!(plan.is_some(), is_usable, "seed {seed}\n{case}");
        match plan {
            Some(plan) => {
                let faults = faults(&case, &plan);
                assert!(
                    faults.is_empty(),
                    "seed {seed}\n{case}{}",
                    faults.join("\n")
                );
                let zero = Cost::zero(case.policy.mode, case.policy.smt);
                assert_eq!(plan.cost, zero, "seed {seed}\n{case}");
                made += 1;
            }
            None => refused += 1,
        }
    }
    assert!(
        made > 1000 && refused > 30,
        "{made} made, {refused} refused"
    );
}

#[test]
fn the_mode_none_sets_nothing() {
    for seed in 3_000_000..3_000_500 {
        let mut case = Case::of(seed).unwrap();
        case.policy.mode = Mode::None;
        let plan = planned(&case).unwrap();
        assert_eq!(faults(&case, &plan), Vec::<String>::new(), "{case}");
        assert!(plan.vcpus.is_empty() && plan.claims.is_empty());
    }
}

/// One way to damage a plan; false where the plan can't be damaged like that.
type Damage = fn(&Case, &mut Plan) -> bool;

#[test]
fn each_damage_to_a_plan_is_found() {
    let damages: [(&str, Damage); 12] = [
        ("a vcpu is left out", |_, plan| plan.vcpus.pop().is_some()),
        ("a mask is empty", |_, plan| {
            plan.vcpus[0].cpus = CpuSet::new();
            true
        }),
        ("a mask has a CPU that does not exist", |_, plan| {
            plan.vcpus[0].cpus.insert(CpuId(5000))
        }),
        ("a mask has a CPU that is not usable", |case, plan| {
            let scene = Scene::new(&case.host, &case.guest, &case.claims, &case.policy);
            let bad = case.host.online().difference(&scene.usable);
            bad.first().is_some_and(|cpu| {
                plan.vcpus[0].cpus = std::iter::once(cpu).collect();
                true
            })
        }),
        ("two vcpus change places", |case, plan| {
            let cpus: Vec<_> = plan.vcpus.iter().map(|v| v.cpus.clone()).collect();
            let differ = case.policy.mode == Mode::OneToOne && cpus.len() > 1;
            if differ {
                plan.vcpus[0].cpus.clone_from(&cpus[1]);
                plan.vcpus[1].cpus.clone_from(&cpus[0]);
            }
            differ
        }),
        ("two vcpus share a CPU", |case, plan| {
            let one = case.policy.mode == Mode::OneToOne && plan.vcpus.len() > 1;
            let first = plan.vcpus[0].clone();
            if one {
                plan.vcpus[1].cpus = first.cpus;
                plan.vcpus[1].host_nodes = first.host_nodes;
            }
            one
        }),
        ("the host nodes of a vcpu are others", |_, plan| {
            plan.vcpus[0].host_nodes.insert(NodeId(999))
        }),
        ("the host nodes of a virtual node are others", |_, plan| {
            plan.virtual_nodes[0].host_nodes = std::iter::once(NodeId(999)).collect();
            true
        }),
        ("a virtual node is left out", |_, plan| {
            plan.virtual_nodes.pop().is_some()
        }),
        ("claims are left out", |_, plan| {
            let any = !plan.claims.is_empty();
            plan.claims = CpuSet::new();
            // A mask of one CPU in the other modes may be told as a claim or not.
            any && plan.mode == Mode::OneToOne
        }),
        ("too much is claimed", |_, plan| {
            plan.claims.insert(CpuId(5000))
        }),
        ("the cost is nothing", |case, plan| {
            let zero = Cost::zero(case.policy.mode, case.policy.smt);
            let differs = plan.cost != zero;
            plan.cost = zero;
            differs
        }),
    ];
    let mut done: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 4_000_000..4_000_600 {
        let case = Case::of(seed).unwrap();
        let Some(plan) = planned(&case) else {
            continue;
        };
        for (name, damage) in damages {
            let mut damaged = plan.clone();
            if damage(&case, &mut damaged) && damaged != plan {
                let faults = faults(&case, &damaged);
                assert!(!faults.is_empty(), "{name}: not found\n{case}{damaged:?}");
                *done.entry(name).or_default() += 1;
            }
        }
    }
    for (name, _) in damages {
        let times = done.get(name).copied().unwrap_or(0);
        assert!(times > 20, "{name}: tried {times} times");
    }
}

#[test]
fn a_rule_that_is_broken_is_named() {
    let mut case = Case::of(0).unwrap();
    case.host = Lab::named("epyc7351p").unwrap().host().unwrap();
    case.claims = Claims::default();
    let guest = |vcpus| GuestParts::new("100", 1, vcpus);
    case.guest = Guest::new(guest(2)).unwrap();
    let moved = |case: &Case, cpus: [u32; 2]| {
        let mut plan = planned(case).unwrap();
        for (placed, cpu) in plan.vcpus.iter_mut().zip(cpus) {
            placed.cpus = std::iter::once(CpuId(cpu)).collect();
        }
        plan.claims = cpus.into_iter().map(CpuId).collect();
        faults(case, &plan).join("\n")
    };
    case.policy = Policy {
        mode: Mode::OneToOne,
        smt: Smt::Isolate,
        ..Policy::default()
    };
    // CPUs 0 and 16 are one core, 4 is on another host node.
    assert!(moved(&case, [0, 16]).contains("cores used with smt=isolate"));
    assert!(moved(&case, [1, 4]).contains("host nodes of vcpu 1"));
    case.policy.smt = Smt::Spread;
    assert!(moved(&case, [1, 0]).contains("in topological order"));
    assert!(moved(&case, [0, 16]).contains("shared_cores"));
}

#[test]
fn the_notes_are_where_their_reasons_are() {
    let mut made = 0;
    for seed in 7_000_000..7_004_000 {
        let case = Case::of(seed).unwrap();
        if let Some(plan) = planned(&case) {
            let Case {
                host,
                guest,
                claims,
                policy,
            } = &case;
            let faults = check_notes(host, guest, claims, policy, &plan);
            assert!(
                faults.is_empty(),
                "seed {seed}\n{case}{}\n{plan:?}",
                faults.join("\n")
            );
            made += 1;
        }
    }
    assert!(made > 1000, "only {made} plans");
}
