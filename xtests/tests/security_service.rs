//! The service's sandbox: what the unit file takes away, and that a watch still does its work without it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use numapin_qmp_mock::{Guest, Mock, RealHost, Script, Threads};
use numapin_xtests::flow::Broken;
use numapin_xtests::namespace::{self, for_everybody, shell};
use numapin_xtests::pair::Pair;
use numapin_xtests::source::workspace;

const PROGRAM: &str = env!("CARGO_BIN_EXE_numapin-tested");

/// What `systemd-analyze security` may say at most, in tenths: from 0 (nothing is exposed) to 100.
const EXPOSURE: u32 = 15;

fn unit() -> Result<String, Broken> {
    Ok(fs::read_to_string(
        workspace().join("cli/dist/numapin.service"),
    )?)
}

/// The values of a setting, in order.
fn values(unit: &str, key: &str) -> Vec<String> {
    let lines = unit
        .lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.map(str::to_owned).collect()
}

fn systemd_analyze(args: &[&str]) -> Option<String> {
    let output = Command::new("systemd-analyze").args(args).output();
    let output = output.ok().filter(|output| output.status.success());
    if output.is_none() {
        namespace::passed_over("there is no systemd-analyze of that kind");
    }
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_unit_takes_away_what_it_can() -> Result<(), Broken> {
    let unit = unit()?;
    for (key, value) in [
        ("CapabilityBoundingSet", "CAP_SYS_NICE"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ReadWritePaths", "/run/numapin"),
        ("RuntimeDirectory", "numapin"),
        ("RuntimeDirectoryPreserve", "yes"),
        ("PrivateNetwork", "yes"),
        ("RestrictAddressFamilies", "AF_UNIX"),
        ("MemoryDenyWriteExecute", "yes"),
    ] {
        assert_eq!(values(&unit, key), [value], "{key}");
    }
    // They would hide guests.
    for key in ["ProtectProc", "ProcSubset", "PrivateUsers", "User"] {
        assert_eq!(values(&unit, key), Vec::<String>::new(), "{key}");
    }
    Ok(())
}

#[test]
fn systemd_says_how_much_is_exposed() -> Result<(), Broken> {
    let file = workspace().join("cli/dist/numapin.service");
    let file = file.display().to_string();
    let Some(text) = systemd_analyze(&["security", "--offline=yes", "--no-pager", &file]) else {
        return Ok(());
    };
    let level = text
        .lines()
        .find_map(|line| line.split("exposure level for ").nth(1)?.split(' ').nth(1))
        .ok_or("no level")?;
    let tenths: u32 = level.replace('.', "").parse()?;
    assert!(tenths <= EXPOSURE, "exposure {level}");
    Ok(())
}

/// The system calls of a set of systemd's, also those of the sets within it.
fn calls_of(set: &str) -> Option<BTreeSet<String>> {
    let text = systemd_analyze(&["syscall-filter", "--no-pager", set])?;
    let mut calls = BTreeSet::new();
    for word in text.lines().skip(1).map(str::trim) {
        if word.starts_with('@') {
            calls.extend(calls_of(word)?);
        } else if !word.is_empty() && !word.starts_with('#') {
            calls.insert(word.to_owned());
        }
    }
    Some(calls)
}

/// The system calls that the unit lets through; `None` where systemd can't be asked.
fn allowed(unit: &str) -> Option<BTreeSet<String>> {
    let mut allowed = BTreeSet::new();
    for line in values(unit, "SystemCallFilter") {
        let (words, taken) = match line.strip_prefix('~') {
            Some(words) => (words, true),
            None => (&*line, false),
        };
        for word in words.split(' ') {
            let calls = match word.starts_with('@') {
                true => calls_of(word)?,
                false => [word.to_owned()].into(),
            };
            if taken {
                allowed = allowed.difference(&calls).cloned().collect();
            } else {
                allowed.extend(calls);
            }
        }
    }
    Some(allowed)
}

/// The names of the system calls of a trace.
fn calls(trace: &str) -> BTreeSet<String> {
    let call = |line: &str| -> Option<String> {
        let line = line.split_once(' ')?.1.trim_start();
        let (name, _) = line.split_once('(')?;
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        (!name.is_empty() && name.bytes().all(word)).then(|| name.to_owned())
    };
    trace.lines().filter_map(call).collect()
}

/// Every system call of a watch that adopts two guests, tells systemd that it is ready and stops, and of masks that are really
/// set, is among those that the unit lets through.
#[test]
fn the_filter_lets_the_work_through() -> Result<(), Broken> {
    let Some(allowed) = allowed(&unit()?) else {
        return Ok(());
    };
    assert!(allowed.contains("sched_setaffinity") && !allowed.contains("ptrace"));
    let traced = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .status();
    if !traced.is_ok_and(|status| status.success()) {
        namespace::passed_over("there is no strace that may trace");
        return Ok(());
    }
    let pair = Pair::new()?;
    let dir = tempfile::tempdir()?;
    let (notify, trace) = (dir.path().join("notify"), dir.path().join("trace"));
    let systemd = UnixDatagram::bind(&notify)?;
    systemd.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut watch = Command::new("strace");
    watch.args(["-f", "-o"]).arg(&trace).arg(PROGRAM);
    watch
        .args(["watch", "--adopt", "--root"])
        .arg(pair.node.dir());
    watch
        .env("NOTIFY_SOCKET", &notify)
        .env("WATCHDOG_USEC", "1000000");
    let mut watch = watch.stderr(Stdio::piped()).spawn()?;
    // It is ready after its first round.
    let mut ready = [0; 64];
    let length = systemd.recv(&mut ready);
    let own = fs::read_to_string(format!("/proc/{0}/task/{0}/children", watch.id()))?;
    for pid in own.split_whitespace() {
        Command::new("kill").args(["-TERM", pid]).status()?;
    }
    let mut told = String::new();
    if let Some(mut stderr) = watch.stderr.take() {
        stderr.read_to_string(&mut told)?;
    }
    assert!(watch.wait()?.success(), "{told}");
    assert!(ready[..length?].starts_with(b"READY=1"), "{ready:?}");
    assert!(
        pair.node.masks()? != pair.first,
        "nothing was pinned: {told}"
    );
    let mut called = calls(&fs::read_to_string(&trace)?);
    assert!(
        called.contains("connect") && called.contains("flock"),
        "{called:?}"
    );

    if namespace::can_be_had() {
        let (open, program) = for_everybody(PROGRAM)?;
        let threads = Threads::Real(RealHost::at(open.path().join("qmp")));
        let mock = Mock::spawn(Guest::plain("flow", 1, 2), threads, Script::healthy())?;
        let script =
            "exec strace -f -o $TRACE $PROGRAM apply --qmp $SOCKET --mode shared --affinity 0";
        let variables = [
            ("TRACE", &*trace.display().to_string()),
            ("PROGRAM", &program.display().to_string()),
            ("SOCKET", &mock.socket().display().to_string()),
        ];
        let ended = shell(&format!("true; {script}"), &variables)?;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        called.extend(calls(&fs::read_to_string(&trace)?));
    }
    let refused: Vec<&String> = called.difference(&allowed).collect();
    assert_eq!(refused, Vec::<&String>::new());
    Ok(())
}
