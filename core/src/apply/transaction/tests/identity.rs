//! Numbers that are used again, and threads that were looked at.

use super::*;
use crate::process::Task;

#[test]
fn a_number_that_was_used_again_since_it_was_recorded_is_left_alone() {
    let machine = Machine::new(2);
    let prepared = machine.prepare(&[(4701, "2"), (4702, "3")]).unwrap();
    let targets = prepared.targets();
    prepared.run(machine.scene()).unwrap();
    machine.thread(4700, 4701, "worker");
    write(
        &machine.path("proc/4700/task/4701/stat"),
        &stat(4701, "worker", 78),
    );
    let back = Transaction::undo(machine.scene(), &name(), process(), &targets, &[]).unwrap();
    let report = back.run(machine.scene()).unwrap();
    assert_eq!(states(&report), [State::Ended, State::Set]);
    let asked = machine.path("proc/4700/task/4701/requested_cpus");
    assert_eq!(fs::read_to_string(asked).unwrap(), "2\n", "nothing since");
}

#[test]
fn a_kernel_thread_whose_number_is_used_again_is_left_alone() {
    let machine = Machine::new(1);
    machine.thread(900, 900, "vhost-4700");
    let worker = Wish {
        kind: ThreadKind::Vhost,
        thread: Thread {
            pid: Pid(900),
            tid: Tid(900),
        },
        cpus: "3".parse().unwrap(),
    };
    for (start, state, mask) in [(78, State::Ended, "0-7"), (77, State::Set, "3")] {
        machine.thread(900, 900, "vhost-4700");
        let wishes = Wishes {
            list: vec![worker.clone()],
            notes: Vec::new(),
        };
        let scene = machine.scene();
        let prepared =
            Transaction::prepare(scene, &name(), process(), wishes, Seen::Before(&[])).unwrap();
        write(
            &machine.path("proc/900/task/900/stat"),
            &stat(900, "sshd", start),
        );
        assert_eq!(states(&prepared.run(scene).unwrap()), [state]);
        assert_eq!(machine.mask_of(900, 900), mask);
    }
}

#[test]
fn threads_that_were_looked_at_are_not_looked_at_again() {
    let machine = Machine::new(2);
    let seen = process::tasks(&machine.root, Pid(4700)).unwrap();
    fs::remove_file(machine.path("proc/4700/task/4701/stat")).unwrap();
    let wishes = |machine: &Machine| {
        let prepared = machine.prepare(&[(4701, "2"), (4702, "3")]).unwrap();
        let list = prepared.steps.into_iter().map(|step| step.wish).collect();
        let notes = Vec::new();
        Wishes { list, notes }
    };
    let of = |seen: &[Task]| {
        let scene = machine.scene();
        let prepared = Transaction::prepare(
            scene,
            &name(),
            process(),
            wishes(&machine),
            Seen::Before(seen),
        )
        .unwrap();
        prepared.targets().len()
    };
    assert_eq!((of(&[]), of(&seen)), (1, 2));
}

#[test]
fn a_process_whose_number_is_used_again_is_left_alone() {
    let machine = Machine::new(2);
    let prepared = machine.prepare(&[(4701, "2"), (4702, "3")]).unwrap();
    write(&machine.path("proc/4700/stat"), &stat(4700, "sshd", 99));
    let report = prepared.run(machine.scene()).unwrap();
    assert_eq!(states(&report), [State::Ended; 2]);
    assert_eq!(machine.mask(4701), "0-7");
    assert_eq!(report.notes, [ReportNote::ProcessEnded { pid: Pid(4700) }]);
    assert_eq!(report.notes[0].to_string(), "process 4700 ended meanwhile");
}
