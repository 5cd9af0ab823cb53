//! What changes or fails under a guest: CPUs that go offline, cpusets, the kernel's refusal at any thread.

use numapin_core::apply::{AffinityError, Scene, affinity};
use numapin_core::claims::Claims;
use numapin_core::id::CpuId;
use numapin_core::placement;
use numapin_core::policy::Policy;
use numapin_core::report::{Narrowed, State};
use numapin_sysfs_sim::Machine;
use numapin_xtests::flow::doubles::FailsAt;
use numapin_xtests::flow::guests::Shape;
use numapin_xtests::flow::judge::{difference, valid, wanted};
use numapin_xtests::flow::lab::Lab;
use numapin_xtests::flow::machine::ids;
use numapin_xtests::flow::road;
use numapin_xtests::flow::running::Running;
use numapin_xtests::flow::{Broken, Ids};
use rstest::rstest;

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
            assert_eq!(running.vcpus(&lab)?[3], left);
        }
        Err(stop) => {
            assert!(single && stop.word() == "not_set", "{stop}");
            assert!(stop.to_string().starts_with("vcpu 3 (thread "), "{stop}");
            // All CPUs are put back: what is online of them is what a thread can have.
            for mask in running.vcpus(&lab)? {
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
            for mask in running.vcpus(&lab)? {
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
    let masks = running.vcpus(&lab)?;
    for at in [0, 1, 3] {
        let CpuId(cpu) = pinned.plan.vcpus[at].cpus.first().ok_or("no mask")?;
        assert_eq!(masks[at], Ids::from([cpu]));
    }
    Ok(())
}
