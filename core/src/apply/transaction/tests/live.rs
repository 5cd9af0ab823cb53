//! On real threads of this machine.

use rstest::rstest;

use super::*;
use crate::apply::testing::Parked;
use crate::host::{Cpu, Host};
use crate::id::{CoreId, CpuId, VcpuId};

/// A host with the CPUs that a thread of the tests may run on.
fn host(usable: &CpuSet) -> Host {
    let cpu = |id: CpuId| Cpu {
        id,
        node: None,
        package: None,
        die: None,
        core: CoreId(id.0),
        l3: None,
        kind: None,
    };
    Host {
        cpus: usable.iter().map(cpu).collect(),
        ..Host::default()
    }
}

fn wish(vcpu: u32, thread: Thread, cpus: CpuSet) -> Wish {
    Wish {
        kind: ThreadKind::Vcpu { vcpu: VcpuId(vcpu) },
        thread,
        cpus,
    }
}

fn status(thread: Thread) -> CpuSet {
    process::task(&Root::live(), thread.pid, thread.tid)
        .unwrap()
        .unwrap()
        .mask
}

#[rstest]
#[case::as_they_may_have_been_set_before(Seen::Before(&[]))]
#[case::as_new_ones(Seen::New(&[]))]
fn real_threads_are_pinned_and_put_back(#[case] seen: Seen<'_>) {
    let (a, b) = (Parked::new(), Parked::new());
    let (root, pid) = (Root::live(), a.thread.pid);
    let me = process::process(&root, pid).unwrap().unwrap();
    let affinity = crate::apply::affinity(&root);
    let usable = affinity.get(a.thread).unwrap();
    let host = host(&usable);
    let scene = Scene {
        root: &root,
        affinity: &*affinity,
        host: &host,
    };
    let one = |cpu: Option<CpuId>| -> CpuSet { cpu.into_iter().collect() };
    let (first, last) = (one(usable.first()), one(usable.last()));
    let prepare = |b_cpus: &CpuSet| {
        let list = vec![
            wish(0, a.thread, first.clone()),
            wish(1, b.thread, b_cpus.clone()),
        ];
        Transaction::prepare(
            scene,
            &name(),
            me,
            Wishes {
                list,
                notes: vec![],
            },
            seen,
        )
        .unwrap()
    };
    // The second one can't be: the first is put back.
    let absent = one(Some(CpuId(8_000)));
    let failed = prepare(&absent).run(scene).unwrap_err();
    assert!(
        failed
            .to_string()
            .contains("cpu(s) 8000 could not be set: none of these cpus is online"),
        "{failed}"
    );
    assert_eq!(
        (
            affinity.get(a.thread).unwrap(),
            affinity.get(b.thread).unwrap()
        ),
        (usable.clone(), usable.clone())
    );
    // Both can be.
    let prepared = prepare(&last);
    let targets = prepared.targets();
    let report = prepared.run(scene).unwrap();
    assert!(
        report
            .threads
            .iter()
            .all(|thread| thread.actual.as_ref() == Some(&thread.wanted))
    );
    assert_eq!(
        (status(a.thread), status(b.thread)),
        (first.clone(), last.clone())
    );
    // And back.
    Transaction::undo(scene, &name(), me, &targets, &[])
        .unwrap()
        .run(scene)
        .unwrap();
    assert_eq!(
        (
            affinity.get(a.thread).unwrap(),
            affinity.get(b.thread).unwrap()
        ),
        (usable.clone(), usable)
    );
}

/// The moment at which a thread was seen stands for its start: it is known again by it, and what starts later is not.
#[test]
fn a_number_that_is_used_again_is_another_thread() {
    let seen = Parked::new();
    let (root, pid) = (Root::live(), seen.thread.pid);
    let me = process::process(&root, pid).unwrap().unwrap();
    let affinity = crate::apply::affinity(&root);
    let usable = affinity.get(seen.thread).unwrap();
    let host = host(&usable);
    let scene = Scene {
        root: &root,
        affinity: &*affinity,
        host: &host,
    };
    let wishes = Wishes {
        list: vec![wish(0, seen.thread, usable.clone())],
        notes: vec![],
    };
    let prepared = Transaction::prepare(scene, &name(), me, wishes, Seen::New(&[])).unwrap();
    let target = prepared.targets().remove(0);
    let started = |thread: Thread| {
        let started = process::task_start(&root, thread.pid, thread.tid);
        started.unwrap().unwrap()
    };
    assert!(target.is_what_started(started(seen.thread)));
    // A tick of the kernel's clock is ten milliseconds.
    let later = loop {
        let later = Parked::new();
        if started(later.thread) > target.started_by {
            break later;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    let way_back = |thread: Thread| {
        let target = Target {
            thread,
            ..target.clone()
        };
        let undo = Transaction::undo(scene, &name(), me, &[target], &[]).unwrap();
        undo.run(scene).unwrap().threads[0].state
    };
    assert_eq!(way_back(seen.thread), State::Set);
    assert_eq!(way_back(later.thread), State::Ended);
}

#[test]
fn a_foreign_thread_of_this_machine_is_refused() {
    let root = Root::live();
    let pid = Pid(std::process::id().cast_signed());
    let me = process::process(&root, pid).unwrap().unwrap();
    let parent = std::os::unix::process::parent_id().cast_signed();
    let wish = Wish {
        kind: ThreadKind::AllVcpus,
        thread: Thread {
            pid,
            tid: Tid(parent),
        },
        cpus: "0".parse().unwrap(),
    };
    let affinity = crate::apply::affinity(&root);
    let scene = Scene {
        root: &root,
        affinity: &*affinity,
        host: &Host::default(),
    };
    let wishes = Wishes {
        list: vec![wish],
        notes: vec![],
    };
    let refused = Transaction::prepare(scene, &name(), me, wishes, Seen::New(&[])).unwrap_err();
    assert_eq!(refused.word(), "foreign_thread");
}
