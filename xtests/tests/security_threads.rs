//! numapin never sets the mask of a thread that is not of the guest's QEMU: on this machine, with its real kernel, against pid
//! files and QMP servers that lie. `/run` is one of the test's own; where that can't be had it is said and passed over.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use numapin_qmp_mock::{Fault, Guest, LyingTid, Mock, Pick, RealHost, Script, Threads};
use numapin_xtests::flow::Broken;
use numapin_xtests::namespace::{self, Ended, mask, shell};
use rstest::rstest;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_numapin-tested");
const PIDFILE: &str = "/run/qemu-server/100.pid";

/// A process that waits, under a command line of the test's choice. It ends with its input.
struct Victim(Child);

impl Victim {
    fn start(name: &str, pidfile: Option<&str>) -> Result<Self, Broken> {
        let mut command = Command::new("bash");
        command.arg0(name).args(["-c", "read line", "x"]);
        if let Some(pidfile) = pidfile {
            command.args(["-pidfile", pidfile]);
        }
        Ok(Self(command.stdin(Stdio::piped()).spawn()?))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.0.stdin.take() {
            let _ = stdin.write_all(b"\n");
        }
        let _ = self.0.wait();
    }
}

/// A QMP server of this process with real threads, and the config of a guest to be asked for.
struct Stage {
    mock: Mock,
    config: PathBuf,
    _dir: TempDir,
}

impl Stage {
    fn new(script: Script) -> Result<Self, Broken> {
        let dir = tempfile::tempdir()?;
        let threads = Threads::Real(RealHost::at(dir.path().join("qmp")));
        let config = dir.path().join("100.conf");
        std::fs::write(&config, "cores: 2\nmemory: 512\nname: vm100\n")?;
        Ok(Self {
            mock: Mock::spawn(Guest::plain("flow", 1, 2), threads, script)?,
            config,
            _dir: dir,
        })
    }

    /// Asks for all vCPUs on the first CPU, so that a mask that should not be set would differ; `pid` is written to the pid file.
    fn apply(&self, pid: &str) -> Result<Ended, Broken> {
        let script = format!(
            "ln -s $SOCKET /run/qemu-server/100.qmp && echo \"{pid}\" >{PIDFILE} && \
             exec $PROGRAM apply $CONFIG --mode shared --affinity {} --deadline 5",
            first_cpu()?
        );
        let (socket, config) = (self.mock.socket().display(), self.config.display());
        let variables = [
            ("SOCKET", &*socket.to_string()),
            ("CONFIG", &config.to_string()),
            ("PROGRAM", PROGRAM),
        ];
        shell(&script, &variables)
    }
}

fn first_cpu() -> Result<String, Broken> {
    let own = mask(std::process::id())?;
    let first = own.split(['-', ',']).next().ok_or("no mask")?;
    Ok(first.to_owned())
}

/// A pid file that names something else than the guest's QEMU.
#[rstest]
#[case::init("1", "process 1,", "its command is ")]
#[case::numapin_itself("$$", "process ", "its command is ")]
#[case::another_program("VICTIM", "process VICTIM,", "its command is \"sleeper\"")]
#[case::another_guest(
    "OTHER",
    "process OTHER,",
    "its pid file is \"/run/qemu-server/101.pid\""
)]
#[case::a_qemu_without_pid_file("BARE", "process BARE,", "its command line names no pid file")]
fn a_pid_file_that_lies(
    #[case] pid: &str,
    #[case] whom: &str,
    #[case] reason: &str,
) -> Result<(), Broken> {
    if !namespace::can_be_had() {
        return Ok(());
    }
    let victims = [
        ("VICTIM", Victim::start("sleeper", Some(PIDFILE))?),
        (
            "OTHER",
            Victim::start("/usr/bin/kvm", Some("/run/qemu-server/101.pid"))?,
        ),
        ("BARE", Victim::start("/usr/bin/qemu-system-x86_64", None)?),
    ];
    let named = |text: &str| {
        let one = |text: String, (name, victim): &(&str, Victim)| {
            text.replace(name, &victim.pid().to_string())
        };
        victims.iter().fold(text.to_owned(), one)
    };
    let stage = Stage::new(Script::healthy())?;
    let masks = || -> Result<Vec<String>, Broken> {
        let mut pids: Vec<u32> = victims.iter().map(|(_, victim)| victim.pid()).collect();
        pids.extend(stage.mock.vcpu_tids());
        pids.push(1);
        Ok(pids.into_iter().map(mask).collect::<Result<_, _>>()?)
    };
    let before = masks()?;
    let ended = stage.apply(&named(pid))?;
    assert_eq!((ended.code, &*ended.out), (Some(1), ""), "{ended:?}");
    let line = ended.err.lines().last().unwrap_or_default();
    let begin = format!("numapin: {PIDFILE} names {}", named(whom));
    assert!(line.starts_with(&begin), "{line}");
    let middle = format!("which is not the QEMU of guest 100: {reason}");
    assert!(line.contains(&middle), "{line}");
    assert!(
        line.ends_with("; is it a leftover, and the number in use again?"),
        "{line}"
    );
    assert_eq!(masks()?, before);
    Ok(())
}

/// The pid file names a process that looks like the guest's QEMU in every way, and the socket (a link here) is served by
/// another one.
#[test]
fn a_socket_that_another_process_serves() -> Result<(), Broken> {
    if !namespace::can_be_had() {
        return Ok(());
    }
    let victim = Victim::start("/usr/bin/kvm", Some(PIDFILE))?;
    // Threads of the victim, told by the server that is not the victim.
    let lie = Fault::ThreadId {
        vcpu: Pick::Nth(0),
        tid: LyingTid::Number(victim.pid().into()),
    };
    for script in [Script::healthy(), Script::of(lie)] {
        let stage = Stage::new(script)?;
        let before = (mask(victim.pid())?, mask(stage.mock.vcpu_tids()[1])?);
        let ended = stage.apply(&victim.pid().to_string())?;
        let own = std::process::id();
        assert_eq!((ended.code, &*ended.out), (Some(5), ""), "{ended:?}");
        let line = ended.err.lines().last().unwrap_or_default();
        assert!(
            line.contains(&own.to_string()) && line.contains(&victim.pid().to_string()),
            "{line}"
        );
        assert_eq!(
            (mask(victim.pid())?, mask(stage.mock.vcpu_tids()[1])?),
            before
        );
    }
    Ok(())
}

/// A plain QEMU's server names threads of others: of another process, of init, of this process but not its own vCPU twice.
#[rstest]
fn a_qmp_server_that_names_threads_of_others(
    #[values("victim", "init")] whose: &str,
    #[values(Pick::Nth(0), Pick::Nth(1))] vcpu: Pick,
) -> Result<(), Broken> {
    if !namespace::can_be_had() {
        return Ok(());
    }
    let victim = Victim::start("/usr/bin/kvm", Some(PIDFILE))?;
    let tid = if whose == "victim" { victim.pid() } else { 1 };
    let stage = Stage::new(Script::of(Fault::ThreadId {
        vcpu,
        tid: LyingTid::Number(tid.into()),
    }))?;
    let tids = stage.mock.vcpu_tids();
    let masks = || -> Result<Vec<String>, Broken> {
        let all = tids.iter().copied().chain([tid]);
        Ok(all.map(mask).collect::<Result<_, _>>()?)
    };
    let before = masks()?;
    let script = format!(
        "exec $PROGRAM apply --qmp $SOCKET --mode shared --affinity {}",
        first_cpu()?
    );
    let socket = stage.mock.socket().display().to_string();
    let ended = shell(&script, &[("SOCKET", &socket), ("PROGRAM", PROGRAM)])?;
    let index = if vcpu == Pick::Nth(0) { 0 } else { 1 };
    let line = format!(
        "numapin: thread {tid}, said to be vcpu {index}, is no thread of process {}; nothing was set; is something else than \
         the guest's QEMU answering on the socket?\n",
        std::process::id()
    );
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert!(ended.err.ends_with(&line), "{ended:?}");
    assert_eq!(masks()?, before);
    Ok(())
}
