//! The planner beside its exhaustive twin, over many thousands of small random hosts and guests: a plan exists exactly where the
//! twin finds one, keeps to every rule, costs what the twin's best costs, item by item, and is the one that ties decide for.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use numapin_core::placement::{Item, plan};
use numapin_core::policy::{Mode, Overlap, Smt};
use numapin_xtests::check::check_plan;
use numapin_xtests::cost::Value;
use numapin_xtests::random::Case;
use numapin_xtests::scene::Scene;
use numapin_xtests::shrink::smallest;
use numapin_xtests::twin::{Best, best};
use rstest::rstest;

/// Seeds of one test; four of them share the cores of the machine.
const SEEDS: u64 = 8_000;

/// What is wrong with the plan of a case, if anything.
fn wrong(case: &Case) -> Option<String> {
    let scene = Scene::new(&case.host, &case.guest, &case.claims, &case.policy);
    judge(case, best(&scene).as_ref())
}

fn judge(case: &Case, best: Option<&Best<'_>>) -> Option<String> {
    let Case {
        host,
        guest,
        claims,
        policy,
    } = case;
    let (plan, best) = match (plan(host, guest, claims, policy), best) {
        (Err(_), None) => return None,
        (Err(refused), Some(best)) => {
            return Some(format!(
                "refused, but {:?} is within the rules\n{:?}",
                best.masks, refused.list
            ));
        }
        (Ok(plan), None) => {
            return Some(format!(
                "nothing is within the rules, planned was\n{:?}",
                plan.vcpus
            ));
        }
        (Ok(plan), Some(best)) => (plan, best),
    };
    let masks: BTreeMap<_, _> = plan
        .vcpus
        .iter()
        .map(|v| (v.vcpu, v.cpus.clone()))
        .collect();
    let text = |(item, value): (Item, String)| format!("{item} {value}");
    let twin = best
        .cost
        .iter()
        .map(|(item, value)| text((*item, value.to_string())));
    let planner = plan
        .cost
        .iter()
        .map(|(item, value)| text((item, value.to_string())));
    if let Some((twin, planner)) = twin.zip(planner).find(|(a, b)| a != b) {
        return Some(format!(
            "the planner has {planner}, the twin {twin}\nplanner {masks:?}\ntwin {:?}",
            best.masks
        ));
    }
    if masks != best.masks {
        return Some(format!(
            "at the same cost\nplanner {masks:?}\ntwin {:?}",
            best.masks
        ));
    }
    let mut faults = check_plan(host, guest, claims, policy, &plan);
    if !plan.optimal || plan.bound.is_some() {
        faults.push("it is not said to be optimal".to_owned());
    }
    (!faults.is_empty()).then(|| format!("{}\n{plan:?}", faults.join("\n")))
}

/// Counts what a case was about, so that a generator that forgets a kind of case is found out.
fn count(seen: &mut BTreeMap<String, usize>, case: &Case, best: Option<&Best<'_>>) {
    let policy = &case.policy;
    let mut add = |kind: String| *seen.entry(kind).or_default() += 1;
    let Some(best) = best else {
        add("refused".to_owned());
        return;
    };
    add(format!("mode {} overlap {}", policy.mode, policy.overlap));
    add(format!("mode {} isolated {}", policy.mode, policy.isolated));
    add(format!("mode {} kind {}", policy.mode, policy.kind));
    if policy.mode == Mode::OneToOne {
        add(format!("smt {} overlap {}", policy.smt, policy.overlap));
    }
    for (item, value) in &best.cost {
        let nothing = match value {
            Value::Count(count) => *count == 0,
            Value::Share(share) => share.to_string() == "0",
            Value::Shares(shares) => shares.is_empty(),
        };
        if !nothing {
            add(format!("item {item}"));
        }
    }
    let spans = best.placement.nodes[0].len() > 1;
    for (is, what) in [
        (spans, format!("mode {} spans", policy.mode)),
        (best.plugged_only, "unplugged vcpus left out".to_owned()),
        (case.guest.hugepages.is_some(), "hugepages".to_owned()),
        (case.guest.running.is_some(), "running".to_owned()),
        (best.seen > 1000, "more than 1000 placements".to_owned()),
        (best.seen == 1, "one placement".to_owned()),
    ] {
        if is {
            add(what);
        }
    }
}

#[rstest]
#[case(0)]
#[case(1)]
#[case(2)]
#[case(3)]
fn the_plan_is_the_best_of_all(#[case] quarter: u64) {
    let mut seen = BTreeMap::new();
    for seed in quarter * SEEDS..(quarter + 1) * SEEDS {
        let case = Case::of(seed).unwrap();
        let scene = Scene::new(&case.host, &case.guest, &case.claims, &case.policy);
        let best = best(&scene);
        count(&mut seen, &case, best.as_ref());
        if judge(&case, best.as_ref()).is_some() {
            let case = smallest(case.clone(), |case| wrong(case).is_some());
            let fault = wrong(&case).unwrap();
            panic!("seed {seed}, made as small as it goes:\n{case}\n{fault}\n");
        }
    }
    let mut expected = vec!["refused".to_owned()];
    for item in Item::ALL {
        expected.push(format!("item {item}"));
    }
    for overlap in Overlap::ALL {
        for mode in [Mode::Numa, Mode::L3] {
            expected.push(format!("mode {mode} overlap {overlap}"));
        }
        for smt in Smt::ALL {
            expected.push(format!("smt {smt} overlap {overlap}"));
        }
    }
    for mode in [Mode::Numa, Mode::L3, Mode::OneToOne] {
        expected.push(format!("mode {mode} spans"));
        expected.push(format!("mode {mode} isolated only"));
        expected.push(format!("mode {mode} kind efficiency"));
    }
    for what in [
        "unplugged vcpus left out",
        "hugepages",
        "running",
        "more than 1000 placements",
        "one placement",
    ] {
        expected.push(what.to_owned());
    }
    expected.retain(|what| seen.get(what).is_none_or(|n| *n < 10));
    assert!(
        expected.is_empty(),
        "too few cases with {expected:?} in {seen:#?}"
    );
}
