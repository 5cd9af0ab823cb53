//! A QEMU that misbehaves: each fault ends in its error with no mask changed, or is passed over and all is as planned.

use std::time::{Duration, Instant};

use numapin_core::apply::{GuestThreads, Scene, affinity};
use numapin_core::claims::Claims;
use numapin_core::placement;
use numapin_core::policy::Policy;
use numapin_core::report::State;
use numapin_qmp_mock::{Accel, At, Fault, LyingTid, Mock, Pick, Script, Then};
use numapin_xtests::flow::Broken;
use numapin_xtests::flow::guests::Shape;
use numapin_xtests::flow::judge::{difference, wanted};
use numapin_xtests::flow::lab::Lab;
use numapin_xtests::flow::masks::Masks;
use numapin_xtests::flow::road::{self, DEADLINE, Pinned, Stop};
use rstest::rstest;
use serde_json::json;

/// For what never comes.
const SHORT: Duration = Duration::from_millis(300);

/// Eight vCPUs in two virtual nodes on the host of four nodes, beside a pinned neighbour.
struct Stage {
    lab: Lab,
    shape: Shape,
    mock: Mock,
    neighbour: Mock,
    before: Masks,
}

impl Stage {
    fn new(script: Script) -> Result<Self, Broken> {
        Self::with(script, |_| {})
    }

    fn with(script: Script, change: fn(&mut numapin_qmp_mock::Guest)) -> Result<Self, Broken> {
        let lab = Lab::named("epyc7351p")?;
        let other = Shape::new(99, 1, 4);
        let neighbour = lab.start(other.qemu(), Script::healthy())?;
        pin(&lab, &other, &neighbour, DEADLINE)?;
        let shape = Shape::new(100, 2, 4).numa();
        let mut guest = shape.qemu();
        change(&mut guest);
        let mock = lab.start(guest, script)?;
        Ok(Self {
            before: lab.masks()?,
            lab,
            shape,
            mock,
            neighbour,
        })
    }

    fn pin(&self, deadline: Duration) -> Result<Pinned, Broken> {
        pin(&self.lab, &self.shape, &self.mock, deadline)
    }

    /// The guest is refused with this kind and text, and every mask of the machine is as before.
    fn refused(&self, word: &str, text: &str, deadline: Duration) -> Result<(), Broken> {
        let start = Instant::now();
        let error = match self.pin(deadline) {
            Ok(pinned) => return Err(format!("pinned: {:?}", pinned.report).into()),
            Err(error) => error,
        };
        assert!(start.elapsed() < deadline + Duration::from_secs(10));
        let stop = error.downcast::<Stop>()?;
        assert_eq!(stop.word(), word, "{stop}");
        let told = stop.to_string();
        assert!(told.contains(text), "{told:?} does not contain {text:?}");
        assert!(!told.contains('\n'), "{told:?} is more than one line");
        difference(&self.before, &self.lab.masks()?)
    }
}

fn pin(lab: &Lab, shape: &Shape, mock: &Mock, deadline: Duration) -> Result<Pinned, Broken> {
    let host = lab.host_of(shape.vmid, mock)?;
    let kernel = affinity(&lab.root);
    let scene = Scene {
        root: &lab.root,
        affinity: &*kernel,
        host: &host,
    };
    let guest = shape.guest()?;
    let answer = road::ask(mock.socket(), deadline)?;
    let policy: Policy = "one-to-one".parse()?;
    let plan = placement::plan(&host, &guest, &Claims::default(), &policy)?;
    Ok(road::apply(scene, &guest, plan, answer)?)
}

fn cpus() -> At {
    At::Command("query-cpus-fast".into())
}

#[rstest]
#[case::absent(
    Fault::AbsentSocket,
    "no_socket",
    "100.qmp: does not exist; is the guest running"
)]
#[case::refused(Fault::Refused, "refused", "nobody listens (connection refused)")]
#[case::greeting_closed(Fault::Close { at: At::Greeting }, "closed", "waiting for the greeting")]
#[case::greeting_cut(
    Fault::Cut { at: At::Greeting, bytes: Some(9), then: Then::Close }, "closed", "waiting for the greeting"
)]
#[case::negotiation_closed(
    Fault::Close { at: At::Reply(0) }, "closed", "waiting for the answer to qmp_capabilities"
)]
#[case::closed_in_the_middle(
    Fault::Cut { at: cpus(), bytes: None, then: Then::Close }, "closed", "waiting for the answer to query-cpus-fast"
)]
#[case::closed_between_two(
    Fault::CloseAfter { at: cpus() }, "closed", "waiting for the answer to query-iothreads"
)]
#[case::closed_at_the_last(
    Fault::Close { at: At::Command("query-iothreads".into()) }, "closed", "query-iothreads"
)]
#[case::garbage(Fault::Garbage { at: At::Greeting, then: Then::Silence }, "not_qmp", "is this a QMP socket?")]
#[case::garbage_first(Fault::Garbage { at: cpus(), then: Then::GoOn }, "not_qmp", "query-cpus-fast")]
#[case::long(Fault::LongLine { at: cpus(), mib: 64, then: Then::GoOn }, "not_qmp", "more than 8388608 bytes")]
#[case::deep(Fault::Deep { at: cpus(), depth: 10_000, then: Then::GoOn }, "not_qmp", "nested more than 64 levels deep")]
#[case::error(
    Fault::Error { command: "query-cpus-fast".into(), class: "GenericError".into(), desc: "no".into() },
    "error_reply", "QEMU refused query-cpus-fast: GenericError: no"
)]
#[case::unknown_error(
    Fault::Error { command: "query-iothreads".into(), class: "Newer".into(), desc: "no".into() },
    "error_reply", "QEMU refused query-iothreads: Newer: no"
)]
#[case::no_list(
    Fault::Replace { at: cpus(), pointer: "/return".into(), value: json!({}) }, "bad_reply", "not a list"
)]
#[case::no_vcpu(Fault::Omit { vcpu: Pick::All }, "bad_reply", "lists no vcpu")]
#[case::negative_index(
    Fault::CpuIndex { vcpu: Pick::Nth(0), index: -1 }, "bad_reply", "entry 0 has cpu-index -1"
)]
#[case::doubled_index(
    Fault::CpuIndex { vcpu: Pick::Nth(0), index: 3 }, "bad_reply", "vcpu 3 is listed twice"
)]
#[case::listed_twice(Fault::Twice { vcpu: Pick::Nth(7) }, "bad_reply", "vcpu 7 is listed twice")]
#[case::beyond_the_guest(
    Fault::CpuIndex { vcpu: Pick::Nth(7), index: 8 },
    "not_planned", "vcpu 8 of the running guest is not in the plan, which has vcpus 0-7"
)]
#[case::no_thread_id(
    Fault::Remove { at: cpus(), pointer: "/return/2/thread-id".into() }, "bad_reply", "entry 2 has no thread-id"
)]
#[case::thread_0(
    Fault::ThreadId { vcpu: Pick::Nth(1), tid: LyingTid::Number(0) }, "bad_reply", "entry 1 has thread-id 0"
)]
#[case::thread_negative(
    Fault::ThreadId { vcpu: Pick::Nth(1), tid: LyingTid::Number(-7) }, "bad_reply", "entry 1 has thread-id -7"
)]
#[case::thread_1(
    Fault::ThreadId { vcpu: Pick::Nth(1), tid: LyingTid::Number(1) },
    "foreign_thread", "thread 1, said to be vcpu 1, is no thread of process"
)]
#[case::two_on_one_thread(
    Fault::ThreadId { vcpu: Pick::Nth(1), tid: LyingTid::OfVcpu(0) }, "shared_thread", "vcpus 0-1 share thread"
)]
#[case::all_on_one_thread(
    Fault::ThreadId { vcpu: Pick::All, tid: LyingTid::OfVcpu(0) }, "shared_thread", "vcpus 0-7 share thread"
)]
#[case::all_dead(Fault::Dies { vcpu: Pick::All }, "foreign_thread", "said to be vcpu 0")]
fn is_refused(#[case] fault: Fault, #[case] word: &str, #[case] text: &str) -> Result<(), Broken> {
    let stage = Stage::new(Script::of(fault.clone()))?;
    if matches!(fault, Fault::Dies { .. }) {
        // The mock takes the threads away itself; what is left must be as before.
        let stop = stage.pin(DEADLINE).unwrap_err().downcast::<Stop>()?;
        assert!(
            stop.word() == word && stop.to_string().contains(text),
            "{stop}"
        );
        let after = stage.lab.masks()?;
        assert_eq!(after.len() + 8, stage.before.len());
        assert!(
            after
                .iter()
                .all(|(tid, seen)| stage.before.get(tid) == Some(seen))
        );
        return Ok(());
    }
    stage.refused(word, text, DEADLINE)
}

#[rstest]
#[case::no_greeting(Fault::Silence { at: At::Greeting }, "no_greeting", "another client is being served")]
#[case::half_a_greeting(
    Fault::Cut { at: At::Greeting, bytes: Some(20), then: Then::Silence }, "silence", "20 bytes of an unfinished message"
)]
#[case::silence(Fault::Silence { at: cpus() }, "silence", "waiting for the answer to query-cpus-fast")]
#[case::half_a_line(
    Fault::Cut { at: cpus(), bytes: Some(100), then: Then::Silence }, "silence", "100 bytes of an unfinished message"
)]
#[case::wrong_id(Fault::WrongId { at: cpus(), id: json!("other") }, "silence", "query-cpus-fast")]
#[case::too_slow(Fault::Trickle { at: cpus(), bytes: 1, ms: 20 }, "silence", "unfinished message")]
#[case::late(Fault::Delay { at: cpus(), ms: 60_000 }, "silence", "query-cpus-fast")]
#[case::held(Fault::Held { ms: 60_000 }, "no_greeting", "another client is being served")]
fn ends_at_the_deadline(
    #[case] fault: Fault,
    #[case] word: &str,
    #[case] text: &str,
) -> Result<(), Broken> {
    Stage::new(Script::of(fault))?.refused(word, text, SHORT)
}

#[rstest]
#[case::events(Fault::Events {
    at: At::Any,
    events: vec![json!({"event": "RESUME", "timestamp": {}}), json!({"event": "OF_THE_FUTURE", "data": {"a": [1]}})],
})]
#[case::stale(Fault::Stale { at: At::Any, id: json!("proxmox:1") })]
#[case::no_id(Fault::MissingId { at: cpus() })]
#[case::twice(Fault::Duplicate { at: At::Any })]
#[case::more_fields(Fault::ExtraFields { at: At::Any, fields: json!({"new": {"x": 1}}).as_object().unwrap().clone() })]
#[case::target(Fault::Target { vcpu: Pick::All, target: "riscv128".into() })]
#[case::slow(Fault::Trickle { at: cpus(), bytes: 200, ms: 1 })]
#[case::late(Fault::Delay { at: At::Any, ms: 30 })]
#[case::held_for_a_while(Fault::Held { ms: 300 })]
fn is_passed_over(#[case] fault: Fault) -> Result<(), Broken> {
    let stage = Stage::new(Script::of(fault))?;
    let pinned = stage.pin(DEADLINE)?;
    difference(
        &wanted(&stage.mock, &stage.before, &pinned.plan),
        &stage.lab.masks()?,
    )
}

/// vCPUs that come or go meanwhile: those that are there are pinned, and what became of the others is told.
#[rstest]
#[case::dead(Fault::ThreadId { vcpu: Pick::Nth(3), tid: LyingTid::Dead }, &[3], 0)]
#[case::dies(Fault::Dies { vcpu: Pick::Nth(3) }, &[3], 1)]
#[case::reborn(Fault::Reborn { vcpu: Pick::Nth(3) }, &[3], 0)]
#[case::unplugged(Fault::Omit { vcpu: Pick::Nth(3) }, &[], 0)]
fn others_are_pinned(
    #[case] fault: Fault,
    #[case] ended: &[usize],
    #[case] gone: usize,
) -> Result<(), Broken> {
    let stage = Stage::new(Script::of(fault))?;
    let pinned = stage.pin(DEADLINE)?;
    let threads = pinned.report.threads.iter().enumerate();
    let told: Vec<usize> = threads
        .filter(|(_, thread)| thread.state == State::Ended)
        .map(|(i, _)| i)
        .collect();
    assert_eq!(told, ended);
    let after = stage.lab.masks()?;
    assert_eq!(after.len() + gone, stage.before.len());
    let pinned_vcpus = stage
        .mock
        .vcpus()
        .into_iter()
        .filter(|vcpu| vcpu.index != 3);
    for vcpu in pinned_vcpus {
        let placed = &pinned.plan.vcpus[vcpu.index as usize];
        let mask = after[&vcpu.tid].mask.iter().copied();
        assert!(
            mask.eq(placed.cpus.iter().map(|cpu| cpu.0)),
            "vcpu {}",
            vcpu.index
        );
    }
    Ok(())
}

#[test]
fn a_thread_of_the_neighbour_is_refused() -> Result<(), Broken> {
    let probe = Stage::new(Script::healthy())?;
    // Numbers are given out in the same order below every root.
    let foreign = probe.neighbour.vcpus()[0].tid;
    let lie = Fault::ThreadId {
        vcpu: Pick::Nth(5),
        tid: LyingTid::Number(foreign.into()),
    };
    let stage = Stage::new(Script::of(lie))?;
    assert_eq!(stage.neighbour.vcpus()[0].tid, foreign);
    let text = format!(
        "thread {foreign}, said to be vcpu 5, is no thread of process {}",
        stage.mock.pid()
    );
    stage.refused("foreign_thread", &text, DEADLINE)
}

#[test]
fn vcpus_in_turn_on_one_thread_are_refused() -> Result<(), Broken> {
    let stage = Stage::with(Script::healthy(), |guest| guest.accel = Accel::TcgSingle)?;
    let text = "start QEMU with KVM or with -accel tcg,thread=multi";
    stage.refused("shared_thread", text, DEADLINE)
}

#[test]
fn a_held_socket_is_waited_for_or_left_to_the_names() -> Result<(), Broken> {
    let stage = Stage::new(Script::healthy())?;
    let holder = stage.mock.hold()?;
    stage.refused("no_greeting", "longer --deadline", SHORT)?;

    // Its threads are named, so that they are known without QMP.
    let Err(Stop::Qmp(busy)) = road::ask(stage.mock.socket(), SHORT) else {
        return Err("the socket is held".into());
    };
    assert!(busy.is_busy());
    let guest = stage.shape.guest()?;
    let named = GuestThreads::from_names(&stage.lab.root, guest.vmid.ok_or("no vmid")?, &busy)?;
    let named = named.vcpus.iter().map(|vcpu| vcpu.tid.0.cast_unsigned());
    assert!(named.eq(stage.mock.vcpu_tids()));
    difference(&stage.before, &stage.lab.masks()?)?;

    // Whoever holds it lets go within the deadline.
    let pinned = std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(SHORT);
            drop(holder);
        });
        stage.pin(DEADLINE)
    })?;
    difference(
        &wanted(&stage.mock, &stage.before, &pinned.plan),
        &stage.lab.masks()?,
    )
}

#[test]
fn a_guest_that_stopped_is_told() -> Result<(), Broken> {
    let mut stage = Stage::new(Script::healthy())?;
    let shape = Shape::new(101, 1, 2);
    let crashed = stage.lab.start(shape.qemu(), Script::healthy())?;
    let socket = crashed.socket().to_owned();
    crashed.crash();
    let refused = road::ask(&socket, DEADLINE).map(drop).unwrap_err();
    assert_eq!(refused.word(), "refused");
    stage.before = stage.lab.masks()?;
    let pinned = stage.pin(DEADLINE)?;
    difference(
        &wanted(&stage.mock, &stage.before, &pinned.plan),
        &stage.lab.masks()?,
    )
}
