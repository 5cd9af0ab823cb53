//! A node full of guests: starts, stops, hotplug, offline CPUs, masks changed behind numapin's back, configs that vanish,
//! commands at the same time, in random order; and after every step all that must hold.
//!
//! More than the fixed list: `NUMAPIN_SEEDS=1000..1200 cargo test --release -p numapin-xtests --test node_sequences`; one
//! seed with as many events as wanted: `NUMAPIN_SEEDS=7 NUMAPIN_EVENTS=200`. What goes wrong is made as short as can be, the
//! first of each kind; with `NUMAPIN_AS_IT_IS=1` only its seed, event and reason are told.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::env;
use std::ops::Range;

use numapin_xtests::sequences::{Outcome, Sequence, shrink};

/// Events of a sequence.
const EVENTS: usize = 60;

/// Seeds that are always run.
const SEEDS: Range<u64> = 0..8;

#[test]
fn whatever_happens_on_a_node_its_guests_stay_in_order() {
    let events = env::var("NUMAPIN_EVENTS").map_or(EVENTS, |text| text.parse().unwrap());
    let shrinks = env::var_os("NUMAPIN_AS_IT_IS").is_none();
    let mut wrong = Vec::new();
    let mut rules = BTreeMap::new();
    for seed in seeds() {
        let sequence = Sequence::of(seed, events);
        if let Outcome::Wrong { at, breaches } = sequence.run().unwrap() {
            let rule = breaches[0].rule;
            *rules.entry(rule).or_insert(0) += 1;
            if rules[rule] > 1 || !shrinks {
                wrong.push(format!(
                    "seed {seed}, event {at} {:?}: {}",
                    sequence.events[at], breaches[0]
                ));
                continue;
            }
            let mut until = sequence.clone();
            until.events.truncate(at + 1);
            let small = shrink::smallest(&until, rule).unwrap();
            let told = match small.run().unwrap() {
                Outcome::Wrong { breaches, .. } => breaches,
                Outcome::Right => breaches,
            };
            let told: Vec<String> = told.iter().map(ToString::to_string).collect();
            wrong.push(format!("seed {seed}:\n{small}{}\n", told.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn seeds() -> Vec<u64> {
    let Ok(text) = env::var("NUMAPIN_SEEDS") else {
        return SEEDS.collect();
    };
    match text.split_once("..") {
        Some((first, end)) => (first.parse().unwrap()..end.parse().unwrap()).collect(),
        None => vec![text.parse().unwrap()],
    }
}
