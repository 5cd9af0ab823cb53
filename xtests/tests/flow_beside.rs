//! Guests beside each other, and hosts that change: claims of the ones before, CPUs offline, cpusets, failures at any thread.

use std::collections::BTreeMap;

use numapin_core::apply::{AffinityError, Scene, affinity};
use numapin_core::claims::Claims;
use numapin_core::guest::Guest;
use numapin_core::host::Host;
use numapin_core::id::CpuId;
use numapin_core::placement::{self, Note};
use numapin_core::policy::Policy;
use numapin_core::report::{Narrowed, State};
use numapin_qmp_mock::{Mock, Script};
use numapin_sysfs_sim::Machine;
use numapin_xtests::flow::doubles::FailsAt;
use numapin_xtests::flow::guests::{Shape, fits};
use numapin_xtests::flow::judge::{difference, valid, wanted};
use numapin_xtests::flow::lab::Lab;
use numapin_xtests::flow::machine::ids;
use numapin_xtests::flow::road::{self, Pinned, Stop};
use numapin_xtests::flow::{Broken, Ids};
use rstest::rstest;

/// One of the guests of a host.
struct Running {
    shape: Shape,
    guest: Guest,
    mock: Mock,
    host: Host,
}

impl Running {
    fn start(lab: &Lab, shape: Shape) -> Result<Self, Broken> {
        Self::with(lab, shape, |_| {})
    }

    fn with(
        lab: &Lab,
        shape: Shape,
        change: impl Fn(&mut numapin_qmp_mock::Guest),
    ) -> Result<Self, Broken> {
        let mut qemu = shape.qemu();
        change(&mut qemu);
        let mock = lab.start(qemu, Script::healthy())?;
        Ok(Self {
            guest: shape.guest()?,
            host: lab.host_of(shape.vmid, &mock)?,
            shape,
            mock,
        })
    }

    fn pin(&self, lab: &Lab, claims: &Claims, policy: &Policy) -> Result<Pinned, Stop> {
        let kernel = affinity(&lab.root);
        let scene = Scene {
            root: &lab.root,
            affinity: &*kernel,
            host: &self.host,
        };
        road::pin(scene, &self.guest, claims, policy, self.mock.socket())
    }

    fn undo(&self, lab: &Lab, pinned: &Pinned) -> Result<(), Broken> {
        let kernel = affinity(&lab.root);
        let scene = Scene {
            root: &lab.root,
            affinity: &*kernel,
            host: &self.host,
        };
        road::undo(scene, &self.guest, pinned)?;
        Ok(())
    }
}

/// Masks of a guest's vCPUs as /proc has them, in plug order.
fn vcpus(lab: &Lab, mock: &Mock) -> Result<Vec<Ids>, Broken> {
    let masks = lab.masks()?;
    Ok(mock
        .vcpu_tids()
        .iter()
        .map(|tid| masks[tid].mask.clone())
        .collect())
}

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
        for mask in vcpus(&lab, &running.mock)? {
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
    assert_eq!(vcpus(&lab, &shared.mock)?, [expected]);

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
        let cpus: Ids = vcpus(&lab, &running.mock)?.into_iter().flatten().collect();
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

#[rstest]
fn an_offline_cpu_is_planned_around(
    #[values("epyc7351p", "xeon6230-2s-snc2", "hybrid-i7-1370p")] topology: &str,
    #[values("one-to-one", "one-to-one,smt=isolate", "numa", "l3", "shared")] policy: &str,
) -> Result<(), Broken> {
    let Machine::Description(mut machine) = Machine::load(topology)? else {
        return Err("a recording can't take CPUs offline".into());
    };
    let lab = Lab::of(&Machine::Description(machine.clone()))?;
    let policy: Policy = policy.parse()?;
    let claims = Claims::default();
    let mut running = Running::start(&lab, Shape::new(100, 1, 4))?;
    let first = placement::plan(&running.host, &running.guest, &claims, &policy)?;
    let victim = first.vcpus[3].cpus.last().ok_or("no mask")?;

    machine.set_online(lab.dir(), victim.0, false)?;
    let whole = std::mem::replace(&mut running.host, lab.host_of(100, &running.mock)?);
    assert!(running.host.cpu(victim).is_none() && running.host.offline.contains(victim));
    let before = lab.masks()?;

    // The plan of before is of no use any more: a mask of that CPU alone can't be set, others are narrowed, which is told.
    let kernel = affinity(&lab.root);
    let scene = Scene {
        root: &lab.root,
        affinity: &*kernel,
        host: &running.host,
    };
    let answer = road::ask(running.mock.socket(), road::DEADLINE)?;
    let single = first.vcpus[3].cpus.len() == 1;
    match road::apply(scene, &running.guest, first.clone(), answer) {
        Ok(pinned) => {
            assert!(!single);
            let narrowed = Narrowed {
                offline: [victim].into_iter().collect(),
                ..Narrowed::default()
            };
            // A mask that all had before is not set again, and /proc goes on showing the CPU that is gone.
            let mut left = ids(&first.vcpus[3].cpus);
            let state = if before[&running.mock.vcpu_tids()[3]].mask == left {
                State::Already
            } else {
                left.remove(&victim.0);
                State::Set
            };
            let vcpu = &pinned.report.threads[3];
            assert_eq!(
                (vcpu.narrowed.as_ref(), vcpu.state),
                (Some(&narrowed), state)
            );
            assert_eq!(vcpus(&lab, &running.mock)?[3], left);
        }
        Err(stop) => {
            assert!(single && stop.word() == "not_set", "{stop}");
            assert!(stop.to_string().starts_with("vcpu 3 (thread "), "{stop}");
            // All CPUs are put back: what is online of them is what a thread can have.
            for mask in vcpus(&lab, &running.mock)? {
                assert!(mask.is_superset(&ids(&running.host.online())), "{mask:?}");
            }
        }
    }

    // A new plan knows of it.
    let pinned = running.pin(&lab, &claims, &policy)?;
    valid(
        &running.host,
        &running.guest,
        &claims,
        &policy,
        &pinned.plan,
    )?;
    assert!(
        pinned
            .plan
            .vcpus
            .iter()
            .all(|placed| !placed.cpus.contains(victim))
    );
    assert!(
        pinned
            .report
            .threads
            .iter()
            .all(|thread| thread.narrowed.is_none())
    );
    difference(&wanted(&running.mock, &before, &pinned.plan), &lab.masks()?)?;

    machine.set_online(lab.dir(), victim.0, true)?;
    assert_eq!(lab.host_of(100, &running.mock)?, whole);
    assert_eq!(
        placement::plan(&whole, &running.guest, &claims, &policy)?,
        first
    );
    Ok(())
}

#[rstest]
#[case::inside("numa", true)]
#[case::inside_one_to_one("one-to-one", true)]
#[case::unaware("shared", false)]
#[case::unaware_one_to_one("one-to-one", false)]
fn a_cpuset_is_kept_to_or_told(#[case] policy: &str, #[case] aware: bool) -> Result<(), Broken> {
    let lab = Lab::named("epyc7351p")?;
    let cpuset: Ids = (0..4).chain(16..20).collect();
    let mut running = Running::with(&lab, Shape::new(100, 1, 4), |guest| {
        guest.cpuset = Some("0-3,16-19".to_owned());
    })?;
    assert_eq!(running.host.allowed.as_ref().map(ids), Some(cpuset.clone()));
    if !aware {
        // As if the administrator had narrowed the slice right after the host was read.
        running.host.allowed = None;
    }
    let (policy, claims) = (policy.parse()?, Claims::default());
    let before = lab.masks()?;
    match running.pin(&lab, &claims, &policy) {
        Ok(pinned) => {
            valid(
                &running.host,
                &running.guest,
                &claims,
                &policy,
                &pinned.plan,
            )?;
            for mask in vcpus(&lab, &running.mock)? {
                assert!(mask.is_subset(&cpuset));
            }
            let narrowed = pinned
                .report
                .threads
                .iter()
                .filter_map(|thread| thread.narrowed.as_ref());
            let lost: Ids = (0..32).filter(|cpu| !cpuset.contains(cpu)).collect();
            let told: Vec<Ids> = narrowed.map(|narrowed| ids(&narrowed.cpuset)).collect();
            assert_eq!(told, if aware { vec![] } else { vec![lost; 4] });
        }
        Err(stop) => {
            assert!(!aware && stop.word() == "not_set", "{stop}");
            let told = stop.to_string();
            assert!(
                told.contains("none of these cpus is online and allowed by the cpuset"),
                "{told}"
            );
            difference(&before, &lab.masks()?)?;
        }
    }
    Ok(())
}

/// All kinds of threads are set: vCPUs, iothreads, vhost workers, QEMU's own.
#[test]
fn a_failure_at_any_thread_leaves_every_mask_as_it_was() -> Result<(), Broken> {
    let lab = Lab::named("epyc7351p")?;
    let running = Running::start(&lab, Shape::new(100, 2, 4).numa())?;
    let policy: Policy = "one-to-one,emulator=spare,iothreads=spare,vhost=node".parse()?;
    let before = lab.masks()?;
    let mut sets = 0;
    loop {
        let kernel = FailsAt::new(affinity(&lab.root), sets, || AffinityError::Denied);
        let scene = Scene {
            root: &lab.root,
            affinity: &kernel,
            host: &running.host,
        };
        let pinned = road::pin(
            scene,
            &running.guest,
            &Claims::default(),
            &policy,
            running.mock.socket(),
        );
        if !kernel.has_refused() {
            let pinned = pinned?;
            difference(&wanted(&running.mock, &before, &pinned.plan), &lab.masks()?)?;
            assert_eq!(pinned.report.threads.len(), sets);
            // 8 vCPUs, 2 iothreads, 2 vhost workers; the main loop, call_rcu, the monitor's thread and a worker.
            assert_eq!(sets, 16);
            return Ok(());
        }
        let stop = pinned.map(drop).unwrap_err();
        assert_eq!(stop.word(), "not_set", "{stop}");
        difference(&before, &lab.masks()?)?;
        sets += 1;
    }
}

/// A thread that the kernel says is gone has ended: the others are set.
#[test]
fn a_thread_that_ends_right_before_its_mask_is_set_is_no_failure() -> Result<(), Broken> {
    let lab = Lab::named("epyc7351p")?;
    let running = Running::start(&lab, Shape::new(100, 1, 4))?;
    let policy: Policy = "one-to-one,emulator=keep,iothreads=keep,vhost=keep".parse()?;
    let kernel = FailsAt::new(affinity(&lab.root), 2, || AffinityError::Gone);
    let scene = Scene {
        root: &lab.root,
        affinity: &kernel,
        host: &running.host,
    };
    let pinned = road::pin(
        scene,
        &running.guest,
        &Claims::default(),
        &policy,
        running.mock.socket(),
    )?;
    let states: Vec<State> = pinned
        .report
        .threads
        .iter()
        .map(|thread| thread.state)
        .collect();
    assert_eq!(states, [State::Set, State::Set, State::Ended, State::Set]);
    let masks = vcpus(&lab, &running.mock)?;
    for at in [0, 1, 3] {
        let CpuId(cpu) = pinned.plan.vcpus[at].cpus.first().ok_or("no mask")?;
        assert_eq!(masks[at], Ids::from([cpu]));
    }
    Ok(())
}
