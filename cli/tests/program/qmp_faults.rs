//! What each fault of QMP gets: one line, exit code 4, and no mask changed.

use std::time::{Duration, Instant};

use numapin_qmp_mock::{At, Fault, Guest, LyingTid, Pick, Script, Then};
use rstest::rstest;
use serde_json::json;

use crate::support::{Lab, Run, at};

/// The line behind the socket's path, with `T` for each time.
fn told(run: &Run) -> String {
    let line = run
        .err
        .strip_prefix("numapin: qmp socket ROOT/run/qemu-server/100.qmp: ");
    let line = line.unwrap_or_else(|| panic!("{run:?}"));
    let words = line.trim_end().split(' ').map(|word| {
        let number = word.parse::<f64>().is_ok() && word.contains('.');
        if number { "T" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn query() -> At {
    At::Command("query-cpus-fast".to_owned())
}

fn error(class: &str, desc: &str) -> Fault {
    Fault::Error {
        command: "query-cpus-fast".to_owned(),
        class: class.to_owned(),
        desc: desc.to_owned(),
    }
}

fn lie(tid: LyingTid) -> Fault {
    Fault::ThreadId {
        vcpu: Pick::Nth(0),
        tid,
    }
}

fn index(index: i64) -> Fault {
    Fault::CpuIndex {
        vcpu: Pick::Nth(0),
        index,
    }
}

#[rstest]
#[case::absent(
    Fault::AbsentSocket,
    "does not exist; is the guest running, and is this where its QEMU listens (-qmp unix:PATH,server=on,wait=off)?"
)]
#[case::refused(
    Fault::Refused,
    "nobody listens (connection refused): its QEMU has ended and left the file; start the guest again"
)]
#[case::closed_at_once(Fault::Close { at: At::Greeting }, "closed by the other side, waiting for the greeting, after T s; did the guest stop?")]
#[case::closed_at_capabilities(Fault::Close { at: At::Reply(0) }, "closed by the other side, waiting for the answer to qmp_capabilities, after T s; did the guest stop?")]
#[case::closed_at_query(Fault::Close { at: query() }, "closed by the other side, waiting for the answer to query-cpus-fast, after T s; did the guest stop?")]
#[case::closed_after_capabilities(Fault::CloseAfter { at: At::Reply(0) }, "closed by the other side, waiting for the answer to query-cpus-fast, after T s; did the guest stop?")]
#[case::half_and_closed(Fault::Cut { at: query(), bytes: None, then: Then::Close }, "closed by the other side, waiting for the answer to query-cpus-fast, after T s; did the guest stop?")]
#[case::silent(Fault::Silence { at: query() }, "silence until the deadline, waiting for the answer to query-cpus-fast, after T s; is QEMU stopped or overloaded? give a longer --deadline")]
#[case::half_and_silent(Fault::Cut { at: query(), bytes: Some(40), then: Then::Silence }, "silence until the deadline, waiting for the answer to query-cpus-fast, after T s; is QEMU stopped or overloaded? give a longer --deadline (40 bytes of an unfinished message had come)")]
#[case::late(Fault::Delay { at: query(), ms: 3_000 }, "silence until the deadline, waiting for the answer to query-cpus-fast, after T s; is QEMU stopped or overloaded? give a longer --deadline")]
#[case::wrong_id(Fault::WrongId { at: query(), id: json!("other") }, "silence until the deadline, waiting for the answer to query-cpus-fast, after T s; is QEMU stopped or overloaded? give a longer --deadline")]
#[case::garbage_greeting(Fault::Garbage { at: At::Greeting, then: Then::Silence }, "waiting for the greeting: ")]
#[case::garbage(Fault::Garbage { at: query(), then: Then::Silence }, "waiting for the answer to query-cpus-fast: ")]
#[case::not_utf8(Fault::InvalidUtf8 { at: query(), then: Then::Silence }, "waiting for the answer to query-cpus-fast: ")]
#[case::deep(Fault::Deep { at: query(), depth: 10_000, then: Then::Silence }, "waiting for the answer to query-cpus-fast: ")]
#[case::no_greeting(Fault::Remove { at: At::Greeting, pointer: "/QMP".into() }, "the first message is not a QMP greeting; is this a QMP socket?")]
#[case::refused_by_qemu(
    error("GenericError", "no"),
    "QEMU refused query-cpus-fast: GenericError: no"
)]
#[case::refused_by_a_newer_one(
    error("NewError", "never seen"),
    "QEMU refused query-cpus-fast: NewError: never seen"
)]
#[case::no_list(Fault::Replace { at: query(), pointer: "/return".into(), value: json!({}) }, "the answer to query-cpus-fast can't be used: ")]
#[case::no_index(Fault::Remove { at: query(), pointer: "/return/0/cpu-index".into() }, "the answer to query-cpus-fast can't be used: ")]
#[case::index_word(Fault::Replace { at: query(), pointer: "/return/0/cpu-index".into(), value: json!("one") }, "the answer to query-cpus-fast can't be used: ")]
#[case::index_negative(index(-1), "the answer to query-cpus-fast can't be used: ")]
#[case::index_twice(index(1), "the answer to query-cpus-fast can't be used: ")]
#[case::thread_zero(
    lie(LyingTid::Number(0)),
    "the answer to query-cpus-fast can't be used: "
)]
#[case::thread_negative(lie(LyingTid::Number(-7)), "the answer to query-cpus-fast can't be used: ")]
#[case::thread_huge(lie(LyingTid::Number(1 << 40)), "the answer to query-cpus-fast can't be used: ")]
#[case::no_thread(Fault::Remove { at: query(), pointer: "/return/0/thread-id".into() }, "the answer to query-cpus-fast can't be used: ")]
#[case::vcpu_twice(Fault::Twice { vcpu: Pick::Nth(0) }, "the answer to query-cpus-fast can't be used: ")]
fn a_fault_of_qmp_is_told_and_nothing_changed(#[case] fault: Fault, #[case] says: &str) {
    let mut lab = Lab::small();
    lab.config(100, "cores: 4\npinning: numa\n");
    let mock = lab.start(Guest::proxmox(100, 1, 4), Script::of(fault));
    let before = lab.masks(&mock);
    let begin = Instant::now();
    let run = lab
        .run(&["apply", "100", "--deadline", "0.4", "--format", "json"])
        .ended(4);
    // The deadline is kept, with room for slow machines.
    assert!(
        begin.elapsed() < Duration::from_secs(8),
        "{:?}",
        begin.elapsed()
    );
    let line = told(&run);
    assert!(
        line == says || says.ends_with(": ") && line.len() > says.len() && line.starts_with(says),
        "{line}"
    );
    let document = run.json();
    assert_eq!(at(&document, "/error/kind"), "qmp");
    assert_eq!(
        run.err,
        format!(
            "numapin: {}\n",
            at(&document, "/error/message").as_str().expect("a text")
        )
    );
    assert_eq!(lab.masks(&mock), before);
}

#[rstest]
#[case::events_everywhere(Fault::Events { at: At::Any, events: vec![json!({"event": "NEVER_SEEN", "data": {"x": [1]}})] })]
#[case::late_but_in_time(Fault::Delay { at: query(), ms: 50 })]
#[case::in_pieces(Fault::Trickle { at: query(), bytes: 64, ms: 1 })]
#[case::an_unknown_target(Fault::Target { vcpu: Pick::All, target: "riscv128".to_owned() })]
#[case::unknown_fields(Fault::ExtraFields { at: At::Any, fields: serde_json::Map::from_iter([("x-new".to_owned(), json!({"y": null}))]) })]
#[case::a_stray_answer(Fault::Stale { at: query(), id: json!("long ago") })]
#[case::twice(Fault::Duplicate { at: query() })]
fn what_a_newer_qemu_may_do_is_no_fault(#[case] fault: Fault) {
    let mut lab = Lab::small();
    lab.config(100, "cores: 4\npinning: numa\n");
    let mock = lab.start(Guest::proxmox(100, 1, 4), Script::of(fault));
    lab.run(&["apply", "100", "--deadline", "5"]).quiet(0);
    let masks: Vec<_> = mock
        .vcpu_tids()
        .into_iter()
        .map(|tid| lab.mask(mock.pid(), tid))
        .collect();
    assert_eq!(masks, ["0-5"; 4]);
}

#[test]
fn a_line_without_end_is_given_up() {
    let mut lab = Lab::small();
    lab.config(100, "cores: 4\npinning: numa\n");
    let fault = Fault::LongLine {
        at: query(),
        mib: 64,
        then: Then::Silence,
    };
    let mock = lab.start(Guest::proxmox(100, 1, 4), Script::of(fault));
    let before = lab.masks(&mock);
    let run = lab.run(&["apply", "100", "--deadline", "30"]).ended(4);
    let says = "waiting for the answer to query-cpus-fast: a message has more than ";
    assert!(told(&run).starts_with(says), "{run:?}");
    assert_eq!(lab.masks(&mock), before);
}

#[test]
fn something_else_on_the_socket() {
    let lab = Lab::small();
    lab.config(100, "cores: 4\npinning: numa\n");
    lab.write("run/qemu-server/100.qmp", "");
    let line = "qmp socket ROOT/run/qemu-server/100.qmp: is not a socket (expected the one that QEMU listens on)";
    lab.run(&["apply", "100"]).refused(4, line);
    let line = "qmp socket nowhere.qmp: does not exist; is the guest running, and is this where its QEMU listens (-qmp \
                unix:PATH,server=on,wait=off)?";
    for command in ["apply", "check", "plan"] {
        lab.run(&[command, "--qmp", "nowhere.qmp", "--mode", "numa"])
            .refused(4, line);
    }
}
