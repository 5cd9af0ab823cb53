//! The real system calls over real parked threads, on this machine: of this process, and of another one.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use numapin_core::apply::{AffinityError, Scene, affinity};
use numapin_core::claims::Claims;
use numapin_core::guest::Guest;
use numapin_core::host::Host;
use numapin_core::policy::Policy;
use numapin_core::process::ThreadKind;
use numapin_core::report::{Report, State};
use numapin_core::root::Root;
use numapin_qmp_mock::{Fault, LyingTid, Mock, Pick, RealHost, Script, Threads};
use numapin_xtests::flow::doubles::{FailsAt, Watched};
use numapin_xtests::flow::machine::{self, ids, last, usable, wait_for};
use numapin_xtests::flow::masks::{self, Masks};
use numapin_xtests::flow::road::{self, Pinned, Stop};
use numapin_xtests::flow::{Broken, Ids};
use rstest::rstest;
use tempfile::TempDir;

const PROC: &str = "/proc";

/// A mock with real threads of this process, and this machine.
struct Stage {
    root: Root,
    host: Host,
    mock: Mock,
    _dir: TempDir,
}

impl Stage {
    fn new(sockets: u32, cores: u32, script: Script) -> Result<Self, Broken> {
        let dir = tempfile::tempdir()?;
        let guest = numapin_qmp_mock::Guest::plain("flow", sockets, cores).numa_per_socket();
        let threads = Threads::Real(RealHost::at(dir.path().join("qmp")));
        let root = Root::live();
        Ok(Self {
            host: machine::host(&root, std::process::id())?,
            mock: Mock::spawn(guest, threads, script)?,
            root,
            _dir: dir,
        })
    }

    /// Masks of the vCPUs in plug order, as /proc has them.
    fn vcpus(&self) -> Result<Vec<Ids>, Broken> {
        let masks = masks::of_process(Path::new(PROC), self.mock.pid())?;
        let tids = self.mock.vcpu_tids();
        Ok(tids.iter().map(|tid| masks[tid].mask.clone()).collect())
    }
}

/// How many vCPUs a guest of this machine can have in the mode numa: as its smallest host node with CPUs has.
fn size(host: &Host) -> u32 {
    let usable = usable(host);
    let nodes = host.nodes.iter().map(|node| node.cpus.common(&usable));
    let smallest = nodes.filter(|cpus| *cpus > 0).min().unwrap_or(1);
    u32::try_from(smallest).unwrap_or(u32::MAX).min(8)
}

/// One socket of so many vCPUs as the mode asks for: numa and one-to-one as many as fit, shared more than there are CPUs.
#[rstest]
#[case::numa("numa", false)]
#[case::l3("l3", false)]
#[case::one_to_one("one-to-one", false)]
#[case::shared("shared", true)]
fn set_read_back_and_put_back(#[case] policy: &str, #[case] many: bool) -> Result<(), Broken> {
    let root = Root::live();
    let host = machine::host(&root, std::process::id())?;
    let cores = if many { 9 } else { size(&host) };
    let affinity = many.then(|| last(&usable(&host)));
    let guest = machine::guest(1, cores, affinity)?;
    let stage = Stage::new(1, cores, Script::healthy())?;
    let kernel = Watched::new(numapin_core::apply::affinity(&root));
    let scene = Scene {
        root: &root,
        affinity: &kernel,
        host: &host,
    };
    let before = stage.vcpus()?;
    let policy: Policy = policy.parse()?;
    let pin = || {
        road::pin(
            scene,
            &guest,
            &Claims::default(),
            &policy,
            stage.mock.socket(),
        )
    };
    let pinned = pin()?;
    assert_eq!(pinned.process.pid.0.cast_unsigned(), std::process::id());
    let planned: Vec<Ids> = pinned
        .plan
        .vcpus
        .iter()
        .map(|placed| ids(&placed.cpus))
        .collect();
    assert_eq!(planned.len(), cores as usize);
    assert_eq!(stage.vcpus()?, planned);

    kernel.take();
    assert!(!pin()?.report.changed());
    assert_eq!(kernel.take(), []);

    road::undo(scene, &guest, &pinned)?;
    assert_eq!(stage.vcpus()?, before);
    Ok(())
}

/// Each vCPU on the last CPU, so that on a machine of several CPUs each one has to be set.
fn all_on_the_last(host: &Host, vcpus: u32) -> Result<(Guest, Policy), Broken> {
    let guest = machine::guest(1, vcpus, Some(last(&usable(host))))?;
    Ok((guest, "shared".parse()?))
}

#[rstest]
fn a_failure_at_any_thread_puts_all_back(
    #[values(0, 1, 2, 3, 4, 5)] at: usize,
    #[values(
        || AffinityError::Denied,
        || AffinityError::NothingUsable,
        || AffinityError::System(std::io::Error::from_raw_os_error(5)),
    )]
    with: fn() -> AffinityError,
) -> Result<(), Broken> {
    let stage = Stage::new(1, 6, Script::healthy())?;
    if usable(&stage.host).len() < 2 {
        eprintln!("passed over: this machine has one usable cpu, so that no mask has to be set");
        return Ok(());
    }
    let (guest, policy) = all_on_the_last(&stage.host, 6)?;
    let kernel = FailsAt::new(affinity(&stage.root), at, with);
    let scene = Scene {
        root: &stage.root,
        affinity: &kernel,
        host: &stage.host,
    };
    let before = stage.vcpus()?;
    let claims = Claims::default();
    let stop = road::pin(scene, &guest, &claims, &policy, stage.mock.socket())
        .map(drop)
        .unwrap_err();
    assert!(kernel.has_refused());
    assert_eq!(stop.word(), "not_set");
    let told = stop.to_string();
    let tid = stage.mock.vcpu_tids()[at];
    assert!(
        told.starts_with(&format!("vcpu {at} (thread {tid}): cpu(s) ")),
        "{told}"
    );
    assert!(
        told.contains(&format!("could not be set: {};", with())),
        "{told}"
    );
    let undone = match at {
        0 => "nothing had been set before".to_owned(),
        1 => "the mask set before it was put back".to_owned(),
        n => format!("the {n} masks set before it were put back"),
    };
    assert!(told.ends_with(&undone), "{told}");
    assert_eq!(stage.vcpus()?, before);
    let Stop::Apply(error) = stop else {
        return Err("not an error of apply".into());
    };
    let states: Vec<State> = error
        .report()
        .map(|report: &Report| report.threads.iter().map(|thread| thread.state).collect())
        .unwrap_or_default();
    let mut expected = vec![State::PutBack; at];
    expected.push(State::Failed);
    expected.resize(6, State::Untouched);
    assert_eq!(states, expected);
    Ok(())
}

#[test]
fn a_thread_of_another_process_is_refused() -> Result<(), Broken> {
    let other = Other::start(2)?;
    let before = other.masks()?;
    let foreign = *before.keys().last().ok_or("no thread")?;
    let lie = Fault::ThreadId {
        vcpu: Pick::Nth(2),
        tid: LyingTid::Number(foreign.into()),
    };
    let stage = Stage::new(1, 4, Script::of(lie))?;
    let (guest, policy) = all_on_the_last(&stage.host, 4)?;
    let kernel = Watched::new(affinity(&stage.root));
    let scene = Scene {
        root: &stage.root,
        affinity: &kernel,
        host: &stage.host,
    };
    let own = stage.vcpus()?;
    let claims = Claims::default();
    let stop = road::pin(scene, &guest, &claims, &policy, stage.mock.socket())
        .map(drop)
        .unwrap_err();
    assert_eq!(
        stop.to_string(),
        format!(
            "thread {foreign}, said to be vcpu 2, is no thread of process {}; nothing was set; is something else than the \
             guest's QEMU answering on the socket?",
            std::process::id()
        )
    );
    assert_eq!(kernel.take(), []);
    assert_eq!((stage.vcpus()?, other.masks()?), (own, before));
    Ok(())
}

/// The threads are those of the process at the other end of the socket, which the kernel tells.
#[test]
fn threads_of_another_process_are_pinned_there() -> Result<(), Broken> {
    let other = Other::start(3)?;
    let root = Root::live();
    let host = machine::host(&root, other.child.id())?;
    let kernel = affinity(&root);
    let scene = Scene {
        root: &root,
        affinity: &*kernel,
        host: &host,
    };
    let (guest, policy) = all_on_the_last(&host, 3)?;
    let before = other.masks()?;
    let pinned: Pinned = road::pin(scene, &guest, &Claims::default(), &policy, &other.socket)?;
    assert_eq!(pinned.process.pid.0.cast_unsigned(), other.child.id());
    let vcpus: Ids = pinned
        .answer
        .vcpus
        .iter()
        .map(|vcpu| vcpu.tid.0.cast_unsigned())
        .collect();
    let mut wanted = before.clone();
    for tid in &vcpus {
        wanted
            .get_mut(tid)
            .ok_or("a vcpu is no thread of the process")?
            .mask = ids(&last(&usable(&host)));
    }
    assert_eq!(other.masks()?, wanted);
    let kinds = pinned.report.threads.iter().map(|thread| &thread.kind);
    assert_eq!(
        kinds
            .filter(|kind| matches!(kind, ThreadKind::Vcpu { .. }))
            .count(),
        3
    );
    road::undo(scene, &guest, &pinned)?;
    assert_eq!(other.masks()?, before);
    Ok(())
}

/// Says in which directory this program, started once more, is to be that other process.
const ROLE: &str = "NUMAPIN_FLOW_OTHER_PROCESS";

/// This program as another process, which serves a mock until its standard input ends.
struct Other {
    child: Child,
    stdin: Option<ChildStdin>,
    socket: PathBuf,
    _dir: TempDir,
}

impl Other {
    fn start(vcpus: u32) -> Result<Self, Broken> {
        let dir = tempfile::tempdir()?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--exact", "as_another_process", "--nocapture"])
            .env(ROLE, format!("{vcpus} {}", dir.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let other = Self {
            stdin: child.stdin.take(),
            child,
            socket: dir.path().join("qmp"),
            _dir: dir,
        };
        let served = other.socket.with_file_name("served");
        wait_for("the other process", || served.exists())?;
        Ok(other)
    }

    fn masks(&self) -> Result<Masks, Broken> {
        Ok(masks::of_process(Path::new(PROC), self.child.id())?)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // It ends by itself; and if it does not, it is ended.
        let ended = wait_for("its end", || matches!(self.child.try_wait(), Ok(Some(_))));
        if ended.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Started by [`Other`] this is the other process; else the test that such a process ends with its input.
#[test]
fn as_another_process() -> Result<(), Broken> {
    let Some(role) = std::env::var_os(ROLE) else {
        let mut other = Other::start(1)?;
        assert!(other.masks()?.values().any(|seen| seen.comm == "CPU 0/KVM"));
        drop(other.stdin.take());
        assert!(other.child.wait()?.success());
        assert!(!other.socket.exists());
        return Ok(());
    };
    let role = role
        .into_string()
        .map_err(|_| "a directory that is not UTF-8")?;
    let (vcpus, dir) = role.split_once(' ').ok_or("no directory")?;
    let guest = numapin_qmp_mock::Guest::plain("flow", 1, vcpus.parse()?).numa_per_socket();
    let threads = Threads::Real(RealHost::at(Path::new(dir).join("qmp")));
    let mock = Mock::spawn(guest, threads, Script::healthy())?;
    std::fs::write(Path::new(dir).join("served"), "")?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    mock.stop();
    Ok(())
}
