//! Whatever happens to a machine: one step puts it right, and the next has nothing to do.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Event {
    Offline(u8),
    Online(u8),
    Claim(u8),
    Free(u8),
    Drift(u8, u16),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0_u8..16).prop_map(Event::Offline),
        (0_u8..16).prop_map(Event::Online),
        (0_u8..16).prop_map(Event::Claim),
        (0_u8..16).prop_map(Event::Free),
        (0_u8..4, 1_u16..).prop_map(|(thread, mask)| Event::Drift(thread, mask)),
    ]
}

fn modes() -> impl Strategy<Value = Policy> {
    let mode = (1..Mode::ALL.len()).prop_map(|i| Mode::ALL[i]);
    let smt = (0..Smt::ALL.len()).prop_map(|i| Smt::ALL[i]);
    let overlap = (0..Overlap::ALL.len()).prop_map(|i| Overlap::ALL[i]);
    (mode, smt, overlap).prop_map(|(mode, smt, overlap)| Policy {
        smt,
        overlap,
        ..policy(mode)
    })
}

fn with(list: &str, cpu: u8, there: bool) -> String {
    let mut cpus = set(list);
    let cpu = CpuId(u32::from(cpu));
    if there {
        cpus.insert(cpu);
    } else {
        cpus.remove(cpu);
    }
    cpus.to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn one_step_is_enough_and_no_vcpu_leaves_its_host_node(
        policy in modes(),
        cores in 1_u32..=4,
        events in prop::collection::vec(event(), 1..24),
    ) {
        let mut world = World::new(cores, &policy);
        world.run();
        for event in events {
            match event {
                // One CPU stays: a machine has at least that.
                Event::Offline(cpu) if cpu != 5 => world.offline = with(&world.offline, cpu, true),
                Event::Offline(_) => {}
                Event::Online(cpu) => world.offline = with(&world.offline, cpu, false),
                Event::Claim(cpu) => world.claimed = with(&world.claimed, cpu, true),
                Event::Free(cpu) => world.claimed = with(&world.claimed, cpu, false),
                Event::Drift(thread, mask) => {
                    let at = 1 + usize::from(thread) % cores as usize;
                    let online = host(&world.offline).online();
                    let mask: CpuSet = (0..16).filter(|cpu| mask & (1 << cpu) != 0).map(CpuId).collect();
                    let mask = mask.intersection(&online);
                    if !mask.is_empty() {
                        world.live.threads[at].mask = mask;
                    }
                }
            }
            let outcome = world.run();
            let again = world.outcome();
            prop_assert_eq!(&again.actions, &Vec::new());
            prop_assert!(!again.has_drifted());
            let host = host(&world.offline);
            let others = set(&world.claimed);
            let mut single = CpuSet::new();
            for now in again.threads.iter().filter(|now| now.wanted.is_some()) {
                let planned = now.planned.clone().unwrap();
                let wanted = now.wanted.clone().unwrap();
                let actual = now.actual.clone().unwrap().intersection(&host.online());
                let kept = matches!(&now.kind, ThreadKind::Vcpu { vcpu } if {
                    let home = &world.entry.plan.vcpu(*vcpu).unwrap().placed.virtual_node;
                    wanted.is_subset(&world.entry.plan.virtual_node(*home).unwrap().node)
                });
                prop_assert!(kept, "{:?}", now);
                if policy.mode == Mode::OneToOne {
                    if !planned.is_disjoint(&host.online()) {
                        prop_assert_eq!(&wanted, &planned, "a vcpu that did not lose its cpu stays");
                    } else if wanted.len() == 1 && !outcome.notes.iter().any(|note| matches!(note, Note::Shares { .. })) {
                        prop_assert!(policy.overlap == Overlap::Allow || wanted.is_disjoint(&others));
                        prop_assert!(wanted.is_disjoint(&single), "two stand in on one cpu");
                    }
                    single = single.union(&actual);
                }
            }
        }
    }
}
