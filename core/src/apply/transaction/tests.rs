mod identity;
mod live;

use std::fs;

use rstest::rstest;

use super::*;
use crate::apply::testing::{Machine, Watched, name, process, stat, write};
use crate::apply::{AffinityError, Undone};
use crate::id::{Pid, Tid};
use crate::idset::CpuSet;
use crate::report::Narrowed;

const PINS: [(i32, &str); 4] = [(4701, "2"), (4702, "3"), (4703, "4-5"), (4704, "6")];

fn run(machine: &Machine, wishes: &[(i32, &str)]) -> Result<Report, ApplyError> {
    machine.prepare(wishes)?.run(machine.scene())
}

fn states(report: &Report) -> Vec<State> {
    report.threads.iter().map(|thread| thread.state).collect()
}

#[test]
fn masks_are_set_read_back_and_told() {
    let machine = Machine::new(4);
    let report = run(&machine, &PINS).unwrap();
    for (tid, mask) in PINS {
        assert_eq!(machine.mask(tid), mask);
    }
    assert_eq!(machine.mask(4700), "0-7", "the main thread is left alone");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(
        json["threads"][2],
        serde_json::json!({"kind": "vcpu", "vcpu": 2, "tid": 4703, "found": "0-7", "wanted": "4-5", "actual": "4-5",
            "state": "set", "narrowed": null})
    );
    assert_eq!(
        (json["schema"].as_u64(), &json["guest"], &json["pid"]),
        (Some(1), &"100".into(), &4700.into())
    );
    assert!(report.changed() && report.notes.is_empty());
}

#[test]
fn the_second_time_nothing_is_set() {
    let machine = Machine::new(4);
    run(&machine, &PINS).unwrap();
    let watched = Watched::new(&*machine.affinity, &|_, _| None);
    let scene = Scene {
        affinity: &watched,
        ..machine.scene()
    };
    let report = machine.prepare(&PINS).unwrap().run(scene).unwrap();
    assert_eq!(states(&report), [State::Already; 4]);
    assert!(watched.sets.borrow().is_empty() && !report.changed());
    assert_eq!(report.threads[2].actual, "4-5".parse().ok());
}

#[test]
fn masks_found_are_known_before_the_first_is_set() {
    let machine = Machine::new(2);
    run(&machine, &[(4702, "1")]).unwrap();
    let prepared = machine.prepare(&[(4701, "2"), (4702, "3")]).unwrap();
    let targets = prepared.targets();
    let short: Vec<_> = targets
        .iter()
        .map(|t| {
            (
                t.thread.tid.0,
                t.found.to_string(),
                t.unpinned,
                t.started_by,
            )
        })
        .collect();
    assert_eq!(
        short,
        [
            (4701, "0-7".into(), true, 77),
            (4702, "1".into(), false, 77)
        ]
    );
    assert_eq!(
        (machine.mask(4701), machine.mask(4702)),
        ("0-7".into(), "1".into())
    );
    let kept = serde_json::to_string(&targets).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Target>>(&kept).unwrap(), targets);
    assert_eq!(prepared.process(), process());
}

#[rstest]
#[case::denied(|| AffinityError::Denied, "permission denied; run as root, or with CAP_SYS_NICE")]
#[case::nothing_usable(
    || AffinityError::NothingUsable,
    "none of these cpus is online and allowed by the cpuset of the thread's cgroup"
)]
#[case::other(|| AffinityError::System(std::io::Error::other("odd")), "odd")]
fn whatever_fails_at_the_nth_thread_everything_is_put_back(
    #[case] error: fn() -> AffinityError,
    #[case] reason: &str,
    #[values(0, 1, 2, 3)] nth: usize,
) {
    let machine = Machine::new(4);
    run(&machine, &[(4702, "1")]).unwrap();
    let fails = |at, _| (at == nth).then(error);
    let watched = Watched::new(&*machine.affinity, &fails);
    let scene = Scene {
        affinity: &watched,
        ..machine.scene()
    };
    let failed = machine.prepare(&PINS).unwrap().run(scene).unwrap_err();
    for (tid, mask) in [(4701, "0-7"), (4702, "1"), (4703, "0-7"), (4704, "0-7")] {
        assert_eq!(machine.mask(tid), mask, "thread {tid}");
    }
    let undone = match nth {
        0 => "nothing had been set before".to_owned(),
        1 => "the mask set before it was put back".to_owned(),
        n => format!("the {n} masks set before it were put back"),
    };
    let (tid, cpus) = PINS[nth];
    let expected =
        format!("vcpu {nth} (thread {tid}): cpu(s) {cpus} could not be set: {reason}; {undone}");
    assert_eq!(failed.to_string(), expected);
    let states = states(failed.report().unwrap());
    assert_eq!(states[nth], State::Failed);
    assert!(states[..nth].iter().all(|state| *state == State::PutBack));
    assert!(
        states[nth + 1..]
            .iter()
            .all(|state| *state == State::Untouched)
    );
}

#[rstest]
fn a_thread_that_ends_at_the_nth_set_is_no_failure(#[values(0, 1, 2, 3)] nth: usize) {
    let machine = Machine::new(4);
    let gone = |at, _| (at == nth).then_some(AffinityError::Gone);
    let watched = Watched::new(&*machine.affinity, &gone);
    let scene = Scene {
        affinity: &watched,
        ..machine.scene()
    };
    let report = machine.prepare(&PINS).unwrap().run(scene).unwrap();
    let mut expected = [State::Set; 4];
    expected[nth] = State::Ended;
    assert_eq!(states(&report), expected);
}

#[test]
fn a_thread_that_ended_before_or_after_the_question_is_no_failure() {
    let machine = Machine::new(4);
    machine.end(4701);
    let prepared = machine.prepare(&PINS).unwrap();
    machine.end(4702);
    // Its number was used again by another process.
    machine.end(4703);
    machine.thread(4799, 4703, "worker");
    let report = prepared.run(machine.scene()).unwrap();
    assert_eq!(
        states(&report),
        [State::Ended, State::Ended, State::Ended, State::Set]
    );
    assert_eq!(
        report.notes[0].to_string(),
        "the thread of vcpu(s) 0-2 ended meanwhile; if they were not unplugged, apply again"
    );
    assert_eq!(
        (&report.threads[0].found, machine.mask_of(4799, 4703)),
        (&None, "0-7".into())
    );
}

#[rstest]
#[case::of_another(4800)]
#[case::a_process(4900)]
#[case::init(1)]
fn a_foreign_thread_is_refused_and_nothing_is_touched(#[case] tid: i32) {
    let machine = Machine::new(2);
    machine.thread(4799, 4800, "CPU 1/KVM");
    write(&machine.path("proc/4900/stat"), &stat(4900, "sshd", 5));
    let refused = run(&machine, &[(4701, "2"), (tid, "3")]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "thread {tid}, said to be vcpu 1, is no thread of process 4700; nothing was set; is something else than the \
             guest's QEMU answering on the socket?"
        )
    );
    assert_eq!(
        (machine.mask(4701), refused.word()),
        ("0-7".into(), "foreign_thread")
    );
}

#[test]
fn an_answer_of_which_no_thread_is_there_is_about_something_else() {
    let machine = Machine::new(2);
    let refused = run(&machine, &[(9901, "2"), (9902, "3")]).unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("thread 9901, said to be vcpu 0, is no thread of process 4700")
    );
    // Unless the whole process is gone.
    fs::remove_dir_all(machine.path("proc/4700")).unwrap();
    let report = run(&machine, &[(9901, "2"), (9902, "3")]).unwrap();
    assert_eq!(
        (states(&report), report.notes.len()),
        (vec![State::Ended; 2], 1)
    );
}

#[test]
fn what_the_kernel_takes_away_is_told() {
    let mut machine = Machine::new(3);
    write(&machine.path("sys/devices/system/cpu/online"), "0-3,5-7");
    machine.host.cpus.retain(|cpu| cpu.id.0 != 4);
    write(&machine.path("proc/4700/cgroup"), "0::/q\n");
    write(
        &machine.path("sys/fs/cgroup/q/cpuset.cpus.effective"),
        "0-5\n",
    );
    let report = run(&machine, &[(4701, "3-6"), (4702, "3-4"), (4703, "0,7")]).unwrap();
    let told: Vec<_> = report
        .threads
        .iter()
        .map(|t| t.narrowed.as_ref().unwrap().to_string())
        .collect();
    assert_eq!(
        told,
        [
            "without cpu(s) 4, which are offline, and cpu(s) 6, which the cpuset of the cgroup does not allow",
            "without cpu(s) 4, which are offline",
            "without cpu(s) 7, which the cpuset of the cgroup does not allow",
        ]
    );
    assert_eq!(report.threads[0].actual, "3,5".parse().ok());
    let narrowed = Narrowed {
        offline: "4".parse().unwrap(),
        cpuset: CpuSet::new(),
    };
    assert_eq!(report.threads[1].narrowed, Some(narrowed));
}

#[test]
fn a_mask_that_somebody_else_changes_meanwhile_is_a_failure() {
    let machine = Machine::new(2);
    let watched = Watched::new(&*machine.affinity, &|_, _| None);
    watched.gets_beyond.set(Some(4702));
    let scene = Scene {
        affinity: &watched,
        ..machine.scene()
    };
    let failed = machine
        .prepare(&[(4701, "2"), (4702, "3")])
        .unwrap()
        .run(scene)
        .unwrap_err();
    assert!(
        failed
            .to_string()
            .contains("it reads back as cpu(s) 3,7: something else sets masks at the same time")
    );
    assert_eq!(
        (machine.mask(4701), machine.mask(4702)),
        ("0-7".into(), "0-7".into())
    );
}

#[test]
fn an_unpinned_mask_is_put_back_as_all_cpus() {
    let mut machine = Machine::new(3);
    machine.host.isolated = "6-7".parse().unwrap();
    // Unpinned where isolcpus keeps two CPUs away; and one that somebody pinned.
    for (tid, list) in [(4702, "0-5"), (4703, "0-4")] {
        write(
            &machine.path(&format!("proc/4700/task/{tid}/status")),
            &format!("Cpus_allowed_list:\t{list}\n"),
        );
    }
    let prepared = machine
        .prepare(&[(4701, "1"), (4702, "2"), (4703, "3")])
        .unwrap();
    let targets = prepared.targets();
    prepared.run(machine.scene()).unwrap();
    let back = Transaction::undo(machine.scene(), &name(), process(), &targets, &[]).unwrap();
    let report = back.run(machine.scene()).unwrap();
    assert_eq!(states(&report), [State::Set; 3]);
    let masks = [4701, 4702, 4703].map(|tid| (machine.mask(tid), machine.requested(tid)));
    let expected = [("0-7", "0-8191"), ("0-5", "0-5,8-8191"), ("0-4", "0-4")];
    assert_eq!(
        masks,
        expected.map(|(mask, asked)| (mask.to_owned(), asked.to_owned()))
    );
}

#[test]
fn the_way_back_goes_on_where_one_thread_fails() {
    let machine = Machine::new(3);
    run(&machine, &[(4702, "5")]).unwrap();
    let pins = [(4701, "1"), (4702, "2"), (4703, "3")];
    let prepared = machine.prepare(&pins).unwrap();
    let targets = prepared.targets();
    prepared.run(machine.scene()).unwrap();
    // The CPU that one of them was found on is gone by now.
    write(&machine.path("sys/devices/system/cpu/online"), "0-4,6-7");
    let back = Transaction::undo(machine.scene(), &name(), process(), &targets, &[]).unwrap();
    let failed = back.run(machine.scene()).unwrap_err();
    assert_eq!(
        failed.to_string(),
        "not every mask could be put back; thread 4702 could not be put back to cpu(s) 5: none of these cpus is online and \
         allowed by the cpuset of the thread's cgroup"
    );
    assert_eq!(
        states(failed.report().unwrap()),
        [State::Set, State::Failed, State::Set]
    );
    assert_eq!(machine.mask(4703), "0-4,6-7");
}

#[test]
fn what_can_not_be_put_back_is_told() {
    let machine = Machine::new(3);
    // The third set fails, and so does putting the first one back.
    let fails =
        |at, tid: Tid| (at == 2 || at > 2 && tid.0 == 4701).then_some(AffinityError::Denied);
    let watched = Watched::new(&*machine.affinity, &fails);
    let scene = Scene {
        affinity: &watched,
        ..machine.scene()
    };
    let failed = machine.prepare(&PINS[..3]).unwrap().run(scene).unwrap_err();
    let ApplyError::NotSet { undone, report, .. } = &failed else {
        panic!("{failed}");
    };
    let denied = AffinityError::Denied.to_string();
    let left = vec![(Tid(4701), "0-7".parse().unwrap(), denied)];
    assert_eq!(*undone, Undone { put_back: 1, left });
    assert_eq!(
        states(report),
        [State::NotPutBack, State::PutBack, State::Failed]
    );
    assert!(
        failed
            .to_string()
            .contains("thread 4701 could not be put back to cpu(s) 0-7: permission denied")
    );
    assert_eq!(machine.mask(4702), "0-7");
}
