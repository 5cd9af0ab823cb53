//! What `apply` costs in system calls (strace): each thread of the node is looked at once, and those of the guest that is pinned
//! cost a look and three calls each, so that the cost can't creep back.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use numapin_qmp_mock::{Guest, Mock, RealHost, Script, Threads};
use numapin_xtests::flow::Broken;
use numapin_xtests::namespace::{self, for_everybody, shell};
use numapin_xtests::node::Node;

const PROGRAM: &str = env!("CARGO_BIN_EXE_numapin-tested");

/// How often each file was opened for reading; strace tells the directory that a file is opened from (`-y`).
fn opened(trace: &str) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    let reads = |line: &&str| line.contains("O_RDONLY") && !line.contains("ENOENT");
    for line in trace.lines().filter(reads) {
        let Some(name) = line.split('"').nth(1) else {
            continue;
        };
        let dir = line
            .split_once('<')
            .and_then(|(_, rest)| rest.split_once('>'));
        let path = match dir {
            Some((dir, _)) if !name.starts_with('/') => format!("{dir}/{name}"),
            _ => name.to_owned(),
        };
        *times.entry(path).or_default() += 1;
    }
    times
}

/// How often a call was made with this thread as its first argument, or as its second for `tgkill`.
fn calls(trace: &str, call: &str, tid: u32) -> usize {
    let of = |line: &&str| {
        let Some((_, rest)) = line.split_once(&format!("{call}(")) else {
            return false;
        };
        let mut words = rest.split([',', ')']);
        let place = usize::from(call == "tgkill");
        words.nth(place).map(str::trim) == Some(&tid.to_string())
    };
    trace.lines().filter(of).count()
}

/// On a node of many guests all files of a thread of others are opened once, and so is each entry of the ledger but the own one.
#[test]
fn threads_of_others_are_looked_at_once() -> Result<(), Broken> {
    // Nobody's masks are to follow: what is set costs more.
    const POLICY: &str = "one-to-one,emulator=keep,iothreads=keep,vhost=keep";
    if !namespace::has_strace() {
        return Ok(());
    }
    let node = Node::of(&numapin_sysfs_sim::Host::grid(1, 2, 2, 8, 2))?;
    let own = node.guest(100, 4, Script::healthy())?;
    let mut conf = format!("100: {POLICY}\n");
    let mut others = Vec::new();
    for vmid in 101..109 {
        others.push((vmid, node.guest(vmid, 4, Script::healthy())?));
        conf += &format!("{vmid}: {POLICY}\n");
    }
    node.write("etc/pve/numapin.conf", conf)?;
    for (vmid, _) in &others {
        assert_eq!(node.run(&["apply", &vmid.to_string()]).code, 0, "{vmid}");
    }
    let trace = tempfile::NamedTempFile::new()?;
    let root = node.dir().display().to_string();
    for (time, state) in [(1, "set"), (2, "already")] {
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-s", "4096", "-e", "trace=file", "-o"]);
        let run = command.arg(trace.path()).arg(PROGRAM);
        let ended = run
            .args(["apply", "100", "--format", "json", "--root", &root])
            .output()?;
        let told = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(
            ended.status.success() && told.contains(&format!("\"state\":\"{state}\"")),
            "{ended:?}"
        );
        let opened = opened(&fs::read_to_string(trace.path())?);
        let times = |path: String| opened.get(&format!("{root}/{path}")).copied();
        for (vmid, other) in &others {
            let pid = other.pid();
            for tid in other.vcpu_tids() {
                let dir = format!("{root}/proc/{pid}/task/{tid}/");
                let files = opened.iter().filter(|(path, _)| path.starts_with(&dir));
                let files: Vec<usize> = files.map(|(_, times)| *times).collect();
                assert_eq!(files, [1], "time {time}: thread {tid} of {vmid}");
            }
            assert_eq!(times(format!("run/numapin/{vmid}.json")), Some(1), "{time}");
        }
        // The thread's stat is looked at once; the simulated kernel, which keeps masks in files, reads its status for itself.
        for tid in own.vcpu_tids() {
            let stat = format!("proc/{}/task/{tid}/stat", own.pid());
            assert_eq!(times(stat), Some(1), "time {time}: thread {tid}");
        }
    }
    Ok(())
}

/// Real threads: where none was set before, a question, a look, and again a question, one set, one read back, and no file at all.
/// The second time the start of each is read, by which it is known again. Their number shows that nothing is done twice.
#[test]
fn a_thread_that_is_pinned_costs_five_calls() -> Result<(), Broken> {
    const VCPUS: u32 = 16;
    if !namespace::can_be_had() || !namespace::has_strace() {
        return Ok(());
    }
    let (dir, program) = for_everybody(PROGRAM)?;
    let threads = Threads::Real(RealHost::at(dir.path().join("qmp")));
    let mock = Mock::spawn(Guest::plain("flow", 1, VCPUS), threads, Script::healthy())?;
    let traces = ["first", "second"].map(|name| dir.path().join(name));
    let variables = [
        ("FIRST", &*traces[0].display().to_string()),
        ("SECOND", &traces[1].display().to_string()),
        ("PROGRAM", &program.display().to_string()),
        ("SOCKET", &mock.socket().display().to_string()),
    ];
    let script = "true; for trace in $FIRST $SECOND; do strace -f -y -s 4096 -o $trace \
        $PROGRAM apply --qmp $SOCKET --mode shared --affinity 0 || exit; done";
    let ended = shell(script, &variables)?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let offline = fs::read_to_string("/sys/devices/system/cpu/present")?
        != fs::read_to_string("/sys/devices/system/cpu/online")?;
    if offline {
        eprintln!("passed over: cpus are offline, so masks are read from files");
        return Ok(());
    }
    // Opened files; calls of tgkill, sched_getaffinity and sched_setaffinity.
    let expected = [(vec![], [2, 2, 1]), (vec![("stat", 1)], [1, 2, 0])];
    for (trace, (files, costs)) in traces.iter().zip(expected) {
        let trace = fs::read_to_string(trace)?;
        let opened = opened(&trace);
        let pid = std::process::id();
        for tid in mock.vcpu_tids() {
            let dir = format!("/proc/{pid}/task/{tid}/");
            let found = opened.iter().filter(|(path, _)| path.starts_with(&dir));
            let found: Vec<(&str, usize)> = found
                .map(|(path, times)| (&path[dir.len()..], *times))
                .collect();
            assert_eq!(found, files, "thread {tid}");
            let count = |call| calls(&trace, call, tid);
            let counts = ["tgkill", "sched_getaffinity", "sched_setaffinity"].map(count);
            assert_eq!(counts, costs, "thread {tid}");
        }
    }
    Ok(())
}
