//! QMP servers that misbehave, and the whole program: one line, its exit code, and no mask changed. What the client alone makes
//! of them stands in `core/src/qmp/client/tests/faults.rs`, most lines in `cli/tests/program/qmp_faults.rs`; here are those that
//! other threads and processes are involved in, and every place at which a connection can break.

use std::time::{Duration, Instant};

use numapin_cli::Ran;
use numapin_qmp_mock::{At, Fault, Guest, LyingTid, Mock, Pick, Script, Then};
use numapin_xtests::flow::masks::Masks;
use numapin_xtests::flow::{Broken, Ids};
use numapin_xtests::node::Node;
use rstest::rstest;
use serde_json::json;

/// Two guests; 101 is the neighbour whose threads are lied about.
struct Stage {
    node: Node,
    guest: Mock,
    neighbour: Mock,
    before: Masks,
}

impl Stage {
    fn new(script: Script) -> Result<Self, Broken> {
        Self::of(Guest::proxmox(100, 1, 4), script)
    }

    fn of(guest: Guest, script: Script) -> Result<Self, Broken> {
        let node = Node::small()?;
        let neighbour = node.guest(101, 2, Script::healthy())?;
        let guest = node.start(guest, script)?;
        Ok(Self {
            before: node.masks()?,
            node,
            guest,
            neighbour,
        })
    }

    /// `apply` ends in this code with one line, within its deadline, and no mask is changed.
    fn refused(&self, code: u8, line: &str) -> Result<(), Broken> {
        let ran = self.apply(if line.contains("after T s") {
            SHORT
        } else {
            LONG
        });
        let told: Vec<String> = ran.told.iter().map(|line| without_time(line)).collect();
        assert_eq!((ran.code, told), (code, vec![line.to_owned()]));
        assert_eq!(ran.out, "");
        assert_eq!(self.node.masks()?, self.before);
        assert_eq!(self.node.leftovers()?, Vec::<String>::new());
        Ok(())
    }

    fn apply(&self, deadline: &str) -> Ran {
        let begin = Instant::now();
        let words = ["apply", "100", "--mode", "numa", "--deadline", deadline];
        let ran = self.node.run(&words);
        let taken = begin.elapsed();
        assert!(taken < Duration::from_secs(20), "{taken:?}");
        ran
    }

    /// `apply` pinned these threads, and nothing else.
    fn pinned(&self, ran: &Ran, tids: &[u32]) -> Result<(), Broken> {
        assert_eq!((ran.code, &*ran.told), (0, &[][..]), "{ran:?}");
        let now = self.node.masks()?;
        for (tid, seen) in &now {
            let wanted = match tids.contains(tid) {
                true => Ids::from([0, 1, 2, 3]),
                false => self.before[tid].mask.clone(),
            };
            assert_eq!(seen.mask, wanted, "thread {tid} of {}: {ran:?}", seen.pid);
        }
        assert!(tids.iter().all(|tid| now.contains_key(tid)), "{tids:?}");
        Ok(())
    }
}

/// For what never comes; long enough for what comes before it on a machine under load.
const SHORT: &str = "0.8";
/// For what comes.
const LONG: &str = "10";

/// With `T` for a time after "after" or "within".
fn without_time(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let is_time = |at: usize| {
        let before = at.checked_sub(1).map(|before| words[before]);
        matches!(before, Some("after" | "within")) && words[at].parse::<f64>().is_ok()
    };
    let words = (0..words.len()).map(|at| if is_time(at) { "T" } else { words[at] });
    words.collect::<Vec<_>>().join(" ")
}

const SHARED: &str = "so that none can be pinned alone (TCG with thread=single runs all vcpus in turn); nothing was set; start \
                      QEMU with KVM or with -accel tcg,thread=multi";

fn lie(vcpu: Pick, tid: LyingTid) -> Script {
    Script::of(Fault::ThreadId { vcpu, tid })
}

fn index(index: i64) -> Script {
    let vcpu = Pick::Nth(3);
    Script::of(Fault::CpuIndex { vcpu, index })
}

/// `GUEST`, `DEAD` and so on stand for numbers that only the machine knows.
#[rstest]
#[case::thread_1(
    lie(Pick::Nth(1), LyingTid::Number(1)),
    5,
    "thread 1, said to be vcpu 1, is no thread of process GUEST; nothing was set; is something else than the guest's QEMU \
     answering on the socket?"
)]
#[case::all_the_same(
    lie(Pick::All, LyingTid::OfVcpu(0)),
    5,
    &format!("vcpus 0-3 share thread VCPU0, {SHARED}")
)]
#[case::two_the_same(
    lie(Pick::Nth(1), LyingTid::OfVcpu(0)),
    5,
    &format!("vcpus 0-1 share thread VCPU0, {SHARED}")
)]
#[case::all_dead(
    lie(Pick::All, LyingTid::Dead),
    5,
    &format!("vcpus 0-3 share thread DEAD, {SHARED}")
)]
#[case::thread_0(
    lie(Pick::Nth(2), LyingTid::Number(0)),
    4,
    "USED entry 2 has thread-id 0 (expected the id of a host thread, above 0)"
)]
#[case::thread_negative(
    lie(Pick::Nth(2), LyingTid::Number(-1)),
    4,
    "USED entry 2 has thread-id -1 (expected the id of a host thread, above 0)"
)]
#[case::index_negative(index(-1), 4, "USED entry 3 has cpu-index -1 (expected a number from 0 to 65535)")]
#[case::index_doubled(
    index(2),
    4,
    "USED vcpu 2 is listed twice (expected each cpu-index once)"
)]
#[case::index_far_beyond(
    index(1 << 40),
    4,
    "USED entry 3 has cpu-index 1099511627776 (expected a number from 0 to 65535)"
)]
#[case::no_vcpu(Script::of(Fault::Omit { vcpu: Pick::All }), 4, "USED the answer lists no vcpu")]
#[case::half_a_greeting(
    Script::of(Fault::Cut { at: At::Greeting, bytes: Some(10), then: Then::Silence }),
    4,
    "SOCKET silence until the deadline, waiting for the greeting, after T s; is QEMU stopped or overloaded? give a longer \
     --deadline (10 bytes of an unfinished message had come)"
)]
fn a_lie_is_refused(
    #[case] script: Script,
    #[case] code: u8,
    #[case] line: &str,
) -> Result<(), Broken> {
    let stage = Stage::new(script)?;
    let line = line
        .replace(
            "USED",
            "SOCKET the answer to query-cpus-fast can't be used:",
        )
        .replace("SOCKET", "qmp socket ROOT/run/qemu-server/100.qmp:")
        .replace("GUEST", &stage.guest.pid().to_string())
        .replace("VCPU0", &stage.guest.vcpu_tids()[0].to_string())
        .replace("DEAD", &(stage.guest.pid() + 8191).to_string());
    stage.refused(code, &line)
}

/// A thread of another guest, and the main thread of its process.
#[rstest]
fn a_thread_of_the_neighbour_is_refused(
    #[values(0, 1)] which: usize,
    #[values(Pick::Nth(2), Pick::All)] vcpu: Pick,
) -> Result<(), Broken> {
    let of = |mock: &Mock| [mock.vcpu_tids()[0], mock.pid()][which];
    // Numbers are given out in the same order below every root.
    let foreign = of(&Stage::new(Script::healthy())?.neighbour);
    let stage = Stage::new(lie(vcpu, LyingTid::Number(foreign.into())))?;
    assert_eq!(of(&stage.neighbour), foreign);
    let line = match vcpu {
        Pick::Nth(_) => format!(
            "thread {foreign}, said to be vcpu 2, is no thread of process {}; nothing was set; is something else than the \
             guest's QEMU answering on the socket?",
            stage.guest.pid()
        ),
        Pick::All => format!("vcpus 0-3 share thread {foreign}, {SHARED}"),
    };
    stage.refused(5, &line)
}

/// vCPUs that come and go between question and pinning: the others are pinned, and it is told.
#[rstest]
#[case::dead(lie(Pick::Nth(1), LyingTid::Dead), &[0, 2, 3], "the thread of vcpu(s) 1 ended meanwhile")]
#[case::dies(Script::of(Fault::Dies { vcpu: Pick::Nth(1) }), &[0, 2, 3], "the thread of vcpu(s) 1 ended meanwhile")]
#[case::reborn(Script::of(Fault::Reborn { vcpu: Pick::Nth(1) }), &[0, 2, 3], "the thread of vcpu(s) 1 ended meanwhile")]
#[case::unplugged(Script::of(Fault::Omit { vcpu: Pick::Nth(1) }), &[0, 2, 3], "vcpu(s) 1 are not plugged")]
#[case::in_no_time(
    Script::of(Fault::Events { at: At::Any, events: vec![json!({"event": "NEVER_SEEN"}), json!({"event": "STOP", "data": {}})] }),
    &[0, 1, 2, 3],
    "pinning vcpu 3"
)]
fn the_others_are_pinned(
    #[case] script: Script,
    #[case] vcpus: &[usize],
    #[case] says: &str,
) -> Result<(), Broken> {
    let mut stage = Stage::new(script)?;
    let ran = stage.apply(LONG);
    let all = stage.guest.vcpu_tids();
    // A thread that came meanwhile was not there before.
    for (tid, seen) in stage.node.masks()? {
        stage.before.entry(tid).or_insert(seen);
    }
    let tids: Vec<u32> = vcpus.iter().map(|vcpu| all[*vcpu]).collect();
    stage.pinned(&ran, &tids)?;
    assert!(ran.out.contains(says), "{}", ran.out);
    Ok(())
}

/// The socket serves somebody else, or says nothing: the names of the threads tell the vCPUs; where they do not, it is refused.
#[rstest]
fn a_busy_socket(
    #[values(Fault::Held { ms: 5_000 }, Fault::Silence { at: At::Greeting })] fault: Fault,
) -> Result<(), Broken> {
    let stage = Stage::new(Script::of(fault.clone()))?;
    let ran = stage.apply(SHORT);
    stage.pinned(&ran, &stage.guest.vcpu_tids())?;
    let note = "note: qmp was busy: vcpus were told by the names of the threads (qmp socket ROOT/run/qemu-server/100.qmp: no \
                greeting within T s: another client is being served, and QEMU serves one at a time; try again, or give a \
                longer --deadline)\n";
    assert!(without_time(&ran.out).contains(note), "{}", ran.out);

    let mut nameless = Guest::proxmox(100, 1, 4);
    nameless.debug_threads = false;
    let stage = Stage::of(nameless, Script::of(fault))?;
    let ran = stage.apply(SHORT);
    let line = format!(
        "no thread of process {} is named like a vcpu (\"CPU 0/KVM\"), and qmp is busy; nothing was set; try again, give a \
         longer --deadline, or start QEMU with -name NAME,debug-threads=on",
        stage.guest.pid()
    );
    assert_eq!((ran.code, ran.told.last()), (4, Some(&line)));
    assert_eq!(stage.node.masks()?, stage.before);
    Ok(())
}

/// Each line that QEMU sends, cut before its first byte, in its first word, in the middle: then closed, or nothing more comes.
#[rstest]
fn a_connection_that_breaks_at_any_place(
    #[values(
        "greeting",
        "qmp_capabilities",
        "query-cpus-fast",
        "query-iothreads",
        "query-hotpluggable-cpus"
    )]
    line: &str,
    #[values(Then::Close, Then::Silence)] then: Then,
) -> Result<(), Broken> {
    let at = || match line {
        "greeting" => At::Greeting,
        command => At::Command(command.to_owned()),
    };
    let what = match line {
        "greeting" => "the greeting".to_owned(),
        command => format!("the answer to {command}"),
    };
    // Silence takes its deadline each time.
    let (deadline, cuts) = match then {
        Then::Close => (LONG, &[Some(0), Some(1), Some(2), Some(9), None][..]),
        _ => (SHORT, &[Some(0), Some(9), None][..]),
    };
    for bytes in cuts.iter().copied() {
        let stage = Stage::new(Script::of(Fault::Cut {
            at: at(),
            bytes,
            then,
        }))?;
        let ran = stage.apply(deadline);
        if (line, bytes, then) == ("greeting", Some(0), Then::Silence) {
            // As busy as a QEMU that serves somebody else.
            stage.pinned(&ran, &stage.guest.vcpu_tids())?;
            continue;
        }
        assert_eq!((ran.code, ran.told.len()), (4, 1), "{bytes:?}: {ran:?}");
        let begin = match then {
            Then::Close => "closed by the other side",
            _ => "silence until the deadline",
        };
        let begin =
            format!("qmp socket ROOT/run/qemu-server/100.qmp: {begin}, waiting for {what}, after ");
        assert!(ran.told[0].starts_with(&begin), "{bytes:?}: {ran:?}");
        assert_eq!(stage.node.masks()?, stage.before, "{bytes:?}");
    }
    Ok(())
}
