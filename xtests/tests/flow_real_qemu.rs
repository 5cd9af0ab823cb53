//! A real QEMU: pinned, read back from /proc, and put back. Without one these tests are passed over, and say so;
//! `NUMAPIN_REQUIRE=qemu` makes that a failure.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use numapin_core::apply::{AffinityError, Scene, affinity};
use numapin_core::claims::Claims;
use numapin_core::guest::Guest;
use numapin_core::host::Host;
use numapin_core::id::Tid;
use numapin_core::placement;
use numapin_core::policy::Policy;
use numapin_core::process::ThreadKind;
use numapin_core::report::{ReportNote, State};
use numapin_core::root::Root;
use numapin_xtests::flow::doubles::{FailsAt, Watched};
use numapin_xtests::flow::machine::{self, ids, last, usable};
use numapin_xtests::flow::masks::Masks;
use numapin_xtests::flow::qemu::{Accel, Qemu, has_kvm, is_there};
use numapin_xtests::flow::road::{self, Pinned};
use numapin_xtests::flow::{Broken, Ids};
use rstest::rstest;

/// A real QEMU on this machine, with its threads as they were at the start.
struct Stage {
    root: Root,
    host: Host,
    qemu: Qemu,
    before: Masks,
}

impl Stage {
    /// `None` where QEMU, or the accelerator, is absent.
    fn new(accel: Accel, sockets: u32, cores: u32) -> Result<Option<Self>, Broken> {
        if !is_there()? || (accel == Accel::Kvm && !has_kvm()?) {
            return Ok(None);
        }
        let root = Root::live();
        let qemu = Qemu::start(accel, sockets, cores)?;
        // Once it answers, all its threads are there.
        road::ask(&qemu.socket(), road::DEADLINE)?;
        Ok(Some(Self {
            host: machine::host(&root, qemu.pid())?,
            before: qemu.masks()?,
            qemu,
            root,
        }))
    }

    /// Compares with what is found now: every vCPU and iothread must still be there, workers come and go.
    fn has(&self, wanted: &Masks) -> Result<(), Broken> {
        let found = self.qemu.masks()?;
        for (tid, wanted) in wanted {
            match found.get(tid) {
                Some(found) => assert_eq!(found, wanted, "thread {tid}"),
                None => assert!(!wanted.comm.starts_with("CPU "), "{wanted:?} is gone"),
            }
        }
        Ok(())
    }

    /// What a pinned guest should have, told by QMP's own words and the plan.
    fn wanted(&self, pinned: &Pinned) -> Result<Masks, Broken> {
        let mut wanted = self.before.clone();
        if let Some(emulator) = &pinned.plan.threads.emulator {
            wanted
                .values_mut()
                .for_each(|seen| seen.mask = ids(emulator));
        }
        let mut set = |tid: Tid, mask: Option<Ids>, comm: &str| -> Result<(), Broken> {
            let tid = u32::try_from(tid.0)?;
            let before = self.before.get(&tid).ok_or("a thread that is not QEMU's")?;
            assert!(before.comm.starts_with(comm), "{before:?}");
            let mask = mask.unwrap_or_else(|| before.mask.clone());
            wanted.insert(
                tid,
                numapin_xtests::flow::masks::Seen {
                    mask,
                    ..before.clone()
                },
            );
            Ok(())
        };
        for cpu in &pinned.answer.vcpus {
            let index = cpu.index;
            let placed = pinned.plan.vcpus.iter().find(|placed| placed.vcpu == index);
            set(
                cpu.tid,
                placed.map(|placed| ids(&placed.cpus)),
                &format!("CPU {index}/"),
            )?;
        }
        for iothread in &pinned.answer.iothreads {
            set(
                iothread.tid,
                pinned.plan.threads.iothreads.as_ref().map(ids),
                "",
            )?;
        }
        Ok(wanted)
    }
}

/// A guest whose vCPUs all go to the last CPU of the machine: on a machine of several CPUs each one has to be set.
fn all_on_the_last(host: &Host) -> Result<(Guest, Policy), Broken> {
    let guest = machine::guest(2, 4, Some(last(&usable(host))))?;
    Ok((guest, "shared,emulator=keep".parse()?))
}

/// The numa mode of a guest as large as the smallest host node; the others as the machine allows.
#[rstest]
fn pinned_read_back_and_put_back(
    #[values(Accel::Kvm, Accel::TcgMulti)] accel: Accel,
    #[values(
        "numa",
        "l3",
        "one-to-one",
        "shared",
        "shared,emulator=node,iothreads=node"
    )]
    policy: &str,
) -> Result<(), Broken> {
    let root = Root::live();
    let host = machine::host(&root, std::process::id())?;
    let shared = policy.starts_with("shared");
    let nodes = host
        .nodes
        .iter()
        .map(|node| node.cpus.common(&usable(&host)));
    let smallest = nodes.filter(|cpus| *cpus > 0).min().unwrap_or(1).min(4);
    let (sockets, cores) = if shared {
        (2, 4)
    } else {
        (1, u32::try_from(smallest)?)
    };
    let Some(stage) = Stage::new(accel, sockets, cores)? else {
        return Ok(());
    };
    let guest = machine::guest(sockets, cores, shared.then(|| last(&usable(&host))))?;
    let policy: Policy = policy.parse()?;
    let kernel = Watched::new(affinity(&stage.root));
    let scene = Scene {
        root: &stage.root,
        affinity: &kernel,
        host: &stage.host,
    };
    let pin = || {
        road::pin(
            scene,
            &guest,
            &Claims::default(),
            &policy,
            &stage.qemu.socket(),
        )
    };
    let pinned = pin()?;
    assert!(pinned.agrees(&guest));
    assert_eq!(pinned.process.pid.0.cast_unsigned(), stage.qemu.pid());
    assert_eq!(pinned.plan.vcpus.len(), (sockets * cores) as usize);
    stage.has(&stage.wanted(&pinned)?)?;

    kernel.take();
    let again = pin()?;
    let vcpu = |kind: &ThreadKind| matches!(kind, ThreadKind::Vcpu { .. });
    let mut vcpus = again
        .report
        .threads
        .iter()
        .filter(|thread| vcpu(&thread.kind));
    assert!(vcpus.all(|thread| thread.state == State::Already));
    let called = kernel.take();
    assert!(
        again
            .answer
            .vcpus
            .iter()
            .all(|vcpu| called.iter().all(|thread| thread.tid != vcpu.tid))
    );

    road::undo(scene, &guest, &pinned)?;
    stage.has(&stage.before)
}

#[rstest]
fn a_failure_at_the_third_thread_puts_the_first_two_back(
    #[values(Accel::Kvm, Accel::TcgMulti)] accel: Accel,
) -> Result<(), Broken> {
    let Some(stage) = Stage::new(accel, 2, 4)? else {
        return Ok(());
    };
    if usable(&stage.host).len() < 2 {
        eprintln!("passed over: this machine has one usable cpu, so that no mask has to be set");
        return Ok(());
    }
    let (guest, policy) = all_on_the_last(&stage.host)?;
    let kernel = FailsAt::new(affinity(&stage.root), 2, || AffinityError::Denied);
    let scene = Scene {
        root: &stage.root,
        affinity: &kernel,
        host: &stage.host,
    };
    let pinned = road::pin(
        scene,
        &guest,
        &Claims::default(),
        &policy,
        &stage.qemu.socket(),
    );
    let stop = pinned.map(drop).unwrap_err();
    assert!(kernel.has_refused());
    assert_eq!(stop.word(), "not_set");
    let told = stop.to_string();
    assert!(told.starts_with("vcpu 2 (thread "), "{told}");
    assert!(
        told.contains("permission denied; run as root, or with CAP_SYS_NICE"),
        "{told}"
    );
    assert!(
        told.ends_with("the 2 masks set before it were put back"),
        "{told}"
    );
    stage.has(&stage.before)
}

#[test]
fn vcpus_in_turn_on_one_thread_are_refused() -> Result<(), Broken> {
    let Some(stage) = Stage::new(Accel::TcgSingle, 2, 4)? else {
        return Ok(());
    };
    let (guest, policy) = all_on_the_last(&stage.host)?;
    let kernel = Watched::new(affinity(&stage.root));
    let scene = Scene {
        root: &stage.root,
        affinity: &kernel,
        host: &stage.host,
    };
    let pinned = road::pin(
        scene,
        &guest,
        &Claims::default(),
        &policy,
        &stage.qemu.socket(),
    );
    let stop = pinned.map(drop).unwrap_err();
    assert_eq!(stop.word(), "shared_thread");
    let told = stop.to_string();
    assert!(told.starts_with("vcpus 0-7 share thread "), "{told}");
    assert!(
        told.contains("start QEMU with KVM or with -accel tcg,thread=multi"),
        "{told}"
    );
    assert_eq!(kernel.take(), []);
    stage.has(&stage.before)
}

#[test]
fn a_busy_socket_is_waited_for() -> Result<(), Broken> {
    let Some(stage) = Stage::new(Accel::TcgMulti, 2, 4)? else {
        return Ok(());
    };
    let other = numapin_qmp_mock::connect(&stage.qemu.socket())?;
    // The greeting says that the other one is served.
    BufReader::new(&other).read_line(&mut String::new())?;
    let short = Duration::from_millis(300);
    let stop = road::ask(&stage.qemu.socket(), short)
        .map(drop)
        .unwrap_err();
    assert_eq!(stop.word(), "no_greeting", "{stop}");
    stage.has(&stage.before)?;

    let (guest, policy) = all_on_the_last(&stage.host)?;
    let kernel = affinity(&stage.root);
    let scene = Scene {
        root: &stage.root,
        affinity: &*kernel,
        host: &stage.host,
    };
    let pinned = std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(short);
            drop(other);
        });
        road::pin(
            scene,
            &guest,
            &Claims::default(),
            &policy,
            &stage.qemu.socket(),
        )
    })?;
    stage.has(&stage.wanted(&pinned)?)
}

#[test]
fn a_guest_that_ends_between_question_and_pinning_is_no_failure() -> Result<(), Broken> {
    let Some(mut stage) = Stage::new(Accel::TcgMulti, 2, 4)? else {
        return Ok(());
    };
    let (guest, policy) = all_on_the_last(&stage.host)?;
    let kernel = Watched::new(affinity(&stage.root));
    let answer = road::ask(&stage.qemu.socket(), road::DEADLINE)?;
    let plan = placement::plan(&stage.host, &guest, &Claims::default(), &policy)?;
    let scene = Scene {
        root: &stage.root,
        affinity: &kernel,
        host: &stage.host,
    };
    let (process, transaction) = road::prepare(scene, &guest, &plan, &answer)?;
    stage.qemu.kill()?;
    let report = transaction.run(scene)?;
    assert_eq!(report.threads.len(), 8);
    assert!(
        report
            .threads
            .iter()
            .all(|thread| thread.state == State::Ended)
    );
    assert_eq!(
        report.notes.last(),
        Some(&ReportNote::ProcessEnded { pid: process.pid })
    );
    assert_eq!(kernel.take(), []);
    Ok(())
}
