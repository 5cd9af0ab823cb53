//! Guests beside each other, planned in order: no CPU is held twice, and whoever comes later sees the ones before.

use std::collections::BTreeMap;

use numapin_core::claims::Claims;
use numapin_core::placement::Note;
use numapin_core::policy::Policy;
use numapin_xtests::flow::guests::{Shape, fits};
use numapin_xtests::flow::judge::{difference, valid, wanted};
use numapin_xtests::flow::lab::Lab;
use numapin_xtests::flow::machine::ids;
use numapin_xtests::flow::road::Stop;
use numapin_xtests::flow::running::Running;
use numapin_xtests::flow::{Broken, Ids};
use rstest::rstest;

/// The shape of the guest at a place in the row.
fn in_turn(place: u32) -> Shape {
    let vmid = 200 + place;
    match place % 4 {
        0 => Shape::new(vmid, 2, 2).numa(),
        1 => Shape::new(vmid, 1, 3),
        2 => Shape::new(vmid, 4, 1).numa(),
        _ => Shape::new(vmid, 1, 1),
    }
}

#[rstest]
fn one_to_one_guests_never_share_a_cpu(
    #[values(
        "epyc7351p",
        "epyc7351p-nosmt",
        "hybrid-i7-1370p",
        "lab-memless",
        "lab-xeon2x16ht-interleaved"
    )]
    topology: &str,
    #[values("spread", "isolate", "pack")] smt: &str,
) -> Result<(), Broken> {
    let lab = Lab::named(topology)?;
    let policy: Policy = format!("one-to-one,smt={smt},overlap=deny").parse()?;
    let (mut claims, mut taken) = (Claims::default(), Ids::new());
    let mut placed = Vec::new();
    let mut refused = 0;
    for place in 0..16 {
        let running = Running::start(&lab, in_turn(place))?;
        let before = lab.masks()?;
        match running.pin(&lab, &claims, &policy) {
            Ok(pinned) => {
                assert!(
                    fits(&running.host, &running.shape, &policy, &taken),
                    "guest {place} does not fit"
                );
                valid(
                    &running.host,
                    &running.guest,
                    &claims,
                    &policy,
                    &pinned.plan,
                )?;
                let held = ids(&pinned.plan.claims);
                assert!(
                    taken.is_disjoint(&held),
                    "guest {place} takes {held:?} of {taken:?}"
                );
                // Also the guests before: their masks are as they were.
                difference(&wanted(&running.mock, &before, &pinned.plan), &lab.masks()?)?;
                claims = claims.with_plan(&running.host, &running.guest, &pinned.plan);
                taken.extend(held);
                placed.push((running, pinned));
            }
            Err(Stop::Violations(violations)) => {
                assert!(
                    !fits(&running.host, &running.shape, &policy, &taken),
                    "{violations}"
                );
                assert!(!violations.list.is_empty());
                difference(&before, &lab.masks()?)?;
                refused += 1;
            }
            Err(other) => return Err(other.into()),
        }
    }
    assert!(!placed.is_empty() && placed.len() + refused == 16);
    let mut holders: BTreeMap<Ids, usize> = BTreeMap::new();
    for (running, _) in &placed {
        for mask in running.vcpus(&lab)? {
            assert_eq!(mask.len(), 1);
            *holders.entry(mask).or_default() += 1;
        }
    }
    assert!(holders.values().all(|holders| *holders == 1), "{holders:?}");

    // A shared guest beside them gets what nobody holds, if that is enough for it.
    let shared = Running::start(&lab, Shape::new(300, 1, 1))?;
    let policy: Policy = "shared".parse()?;
    let pinned = shared.pin(&lab, &claims, &policy)?;
    valid(&shared.host, &shared.guest, &claims, &policy, &pinned.plan)?;
    let all: Ids = ids(&shared.host.online().difference(&shared.host.isolated));
    let free: Ids = all.difference(&taken).copied().collect();
    let expected = if free.is_empty() { all } else { free };
    assert_eq!(shared.vcpus(&lab)?, [expected]);

    let before_undo = lab.masks()?;
    for (running, pinned) in placed.iter().rev() {
        running.undo(&lab, pinned)?;
    }
    let after = lab.masks()?;
    let online = ids(&shared.host.online());
    for (running, _) in &placed {
        let own = after
            .iter()
            .filter(|(_, seen)| seen.pid == running.mock.pid());
        assert!(own.clone().count() > 0);
        assert!(own.clone().all(|(_, seen)| seen.mask == online));
    }
    let other =
        |(_, seen): &(&u32, &numapin_xtests::flow::masks::Seen)| seen.pid == shared.mock.pid();
    assert!(
        before_undo
            .iter()
            .filter(other)
            .eq(after.iter().filter(other))
    );
    Ok(())
}

#[test]
fn claimed_cpus_are_shared_only_where_no_others_are_left() -> Result<(), Broken> {
    let lab = Lab::named("epyc7351p")?;
    let policy: Policy = "one-to-one".parse()?;
    let (mut claims, mut taken) = (Claims::default(), Ids::new());
    // 32 CPUs: five guests of six vCPUs leave two, so that the sixth one has to share four.
    for place in 0..6 {
        let running = Running::start(&lab, Shape::new(200 + place, 1, 6))?;
        let pinned = running.pin(&lab, &claims, &policy)?;
        valid(
            &running.host,
            &running.guest,
            &claims,
            &policy,
            &pinned.plan,
        )?;
        let cpus: Ids = running.vcpus(&lab)?.into_iter().flatten().collect();
        assert_eq!(cpus.len(), 6);
        let shared = cpus.intersection(&taken).count();
        assert_eq!(shared, if place < 5 { 0 } else { 4 });
        let told: Vec<u32> = pinned.plan.notes.iter().filter_map(overlapping).collect();
        assert_eq!(told, if place < 5 { vec![] } else { vec![4] });
        claims = claims.with_plan(&running.host, &running.guest, &pinned.plan);
        taken.extend(cpus);
    }
    assert_eq!(taken.len(), 32);
    Ok(())
}

/// How many vCPUs a note says are on CPUs that others hold.
fn overlapping(note: &Note) -> Option<u32> {
    match note {
        Note::Overlap { vcpus, .. } => Some(*vcpus),
        _ => None,
    }
}
