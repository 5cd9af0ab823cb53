//! numapin beside what people use instead, in one run, alternating:
//! `NUMAPIN_BIN=$(cli/dist/build) cargo bench -p numapin-cli --bench peers`, so that what ships is measured.
//!
//! CPU time of whole processes as getrusage(2) accounts it, medians over the rounds, and ratios. Peers that are not installed are
//! left out, saying so. Captured hosts are taken where `NUMAPIN_DATA` names a directory that holds them. The flow of the proposal is
//! measured on real threads; as root it leaves an entry in /run/numapin, as `apply` does, which goes with this process.

mod program;

use std::error::Error;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::Pid;
use numapin_qmp_mock::{Guest, Mocks, RealHost, Script, Threads};
use numapin_sysfs_sim::Machine;

use program::numapin;

type Fallible<T> = Result<T, Box<dyn Error>>;

const ROUNDS: usize = 40;

/// One side of a comparison.
struct Side<'a> {
    name: &'a str,
    /// Does it once, and says what it cost.
    run: Box<dyn FnMut() -> Fallible<Duration> + 'a>,
    spent: Vec<Duration>,
}

/// The word with which this program, as a process of its own, tells the peak memory of the command behind it.
const PEAK: &str = "peak-memory-of";

fn main() -> Fallible<()> {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == PEAK) {
        let mut command = Command::new(words.next().ok_or("no command")?);
        child(command.args(words))?;
        tell(&getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss().to_string());
        return Ok(());
    }
    tell(&format!("numapin is {}", numapin().display()));
    let dir = tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() {
        "/dev/shm"
    } else {
        "."
    })?;
    tell("memory and size");
    memory(dir.path())?;
    tell("start-up, and the hook of a guest without a policy");
    start(dir.path())?;
    for (host, cpus) in hosts(dir.path())? {
        tell(&format!("read a host: {cpus} cpus, {}", name(&host)));
        read(&host)?;
    }
    for vcpus in [8, 64, 256] {
        tell(&format!(
            "ask and pin {vcpus} real threads (mode shared, which has no limit of vcpus a node)"
        ));
        pin(dir.path(), vcpus)?;
    }
    Ok(())
}

/// The highest memory on 8,192 CPUs, and the size of the program. To the memory of a process the kernel counts what it was before its exec, which is
/// what its parent was. So a process that holds next to nothing starts it: this program anew, and not this one, which made the host.
fn memory(dir: &Path) -> Fallible<()> {
    let root = dir.join("big");
    let description = dir.join("big.toml");
    fs::write(
        &description,
        "provenance = \"for this benchmark\"\nshape = { packages = 4, dies = 1, nodes = 4, l3s = 16, cores = 16, threads = 2 }\n",
    )?;
    let machine = Machine::load(&description.display().to_string())?;
    machine.write_tree(&root)?;
    let config = dir.join("100.conf");
    fs::write(&config, "cores: 8\nsockets: 4\nnuma: 1\nmemory: 8192\n")?;
    let mut plan = Command::new(numapin());
    plan.args(["plan", "--mode", "one-to-one", "--format", "json"])
        .arg(&config)
        .arg("--sysfs-root")
        .arg(&root);
    let mut topology = Command::new(numapin());
    topology
        .args(["topology", "--format", "json", "--sysfs-root"])
        .arg(&root);
    for (name, mut command) in [("topology", topology), ("plan", plan)] {
        let cost = millis(child(&mut command)?);
        let mut peak = Command::new(std::env::current_exe()?);
        peak.arg(PEAK).arg(numapin()).args(command.get_args());
        let most: i64 = String::from_utf8(peak.output()?.stdout)?.trim().parse()?;
        tell(&format!(
            "  {:>9.1} MiB  peak memory of {name} on 8,192 cpus ({cost:.1} ms of CPU time)",
            to_f64(most) / 1024.0
        ));
    }
    let size = fs::metadata(numapin())?.len();
    tell(&format!(
        "  {:>9.2} MiB  the program",
        to_f64(i64::try_from(size)?) / 1024.0 / 1024.0
    ));
    Ok(())
}

fn start(dir: &Path) -> Fallible<()> {
    let root = dir.join("node");
    Machine::load("epyc7351p")?.write_tree(&root)?;
    fs::create_dir_all(root.join("etc/pve/qemu-server"))?;
    fs::write(root.join("etc/pve/qemu-server/100.conf"), "cores: 2\n")?;
    fs::write(root.join("etc/pve/numapin.conf"), "101: numa\n")?;
    let root = root.display().to_string();
    compare(vec![
        side("true", || child(&mut Command::new("true"))),
        side("numapin --version", || {
            child(Command::new(numapin()).arg("--version"))
        }),
        side("numapin hook 100 pre-start", || {
            child(Command::new(numapin()).args(["hook", "100", "pre-start", "--root", &root]))
        }),
    ])
}

fn read(root: &Path) -> Fallible<()> {
    let mut sides = vec![side("numapin topology --format json", || {
        child(
            Command::new(numapin())
                .args(["topology", "--format", "json", "--sysfs-root"])
                .arg(root),
        )
    })];
    if there("lstopo-no-graphics") {
        sides.push(side("lstopo --of xml (HWLOC_FSROOT)", || {
            child(
                Command::new("lstopo-no-graphics")
                    .args(["--of", "xml"])
                    .env("HWLOC_FSROOT", root)
                    .env("HWLOC_COMPONENTS", "linux,stop"),
            )
        }));
    }
    if there("lscpu") {
        sides.push(side("lscpu --json --sysroot", || {
            child(
                Command::new("lscpu")
                    .args(["--json", "--sysroot"])
                    .arg(root),
            )
        }));
    }
    compare(sides)
}

/// All vCPU threads to CPU 0, from all CPUs: by numapin, by one taskset a thread as the proposal does it, and by the bare calls.
fn pin(dir: &Path, vcpus: u32) -> Fallible<()> {
    let mocks = Mocks::new()?;
    let socket = dir.join(format!("{vcpus}.qmp"));
    let host = RealHost::at(&socket);
    let mock = mocks.spawn(
        Guest::plain("bench", 1, vcpus),
        Threads::Real(host),
        Script::healthy(),
    )?;
    let tids: Vec<i32> = mock
        .vcpus()
        .iter()
        .map(|vcpu| i32::try_from(vcpu.tid))
        .collect::<Result<_, _>>()?;
    let all = sched_getaffinity(Pid::from_raw(0))?;
    let mut first = CpuSet::new();
    first.set(0)?;
    let back = |tids: &[i32]| -> Fallible<()> {
        for tid in tids {
            sched_setaffinity(Pid::from_raw(*tid), &all)?;
        }
        Ok(())
    };
    // The threads are this process's own.
    let entry = format!("/run/numapin/pid-{}.json", std::process::id());
    let apply = || -> Fallible<Duration> {
        let mut command = Command::new(numapin());
        command.args(["apply", "--mode", "shared", "--affinity", "0"]);
        command.args(["--overlap", "allow", "--qmp"]).arg(&socket);
        child(&mut command)
    };
    let mut sides = vec![
        side("numapin apply, as after a start", || {
            back(&tids)?;
            let _ = fs::remove_file(&entry);
            apply()
        }),
        side("numapin apply, to threads it has set before", || {
            back(&tids)?;
            apply()
        }),
        side("numapin --version (process start)", || {
            child(Command::new(numapin()).arg("--version"))
        }),
        side("the bare calls, one QMP exchange, no process", || {
            back(&tids)?;
            let before = usage(UsageWho::RUSAGE_THREAD)?;
            let tids = asked(&socket)?;
            for tid in &tids {
                sched_setaffinity(Pid::from_raw(*tid), &first)?;
                sched_getaffinity(Pid::from_raw(*tid))?;
            }
            Ok(usage(UsageWho::RUSAGE_THREAD)? - before)
        }),
    ];
    if there("taskset") {
        sides.push(side("taskset -c -p, one process a thread", || {
            back(&tids)?;
            let mut cost = Duration::ZERO;
            for tid in &tids {
                cost += child(Command::new("taskset").args(["-c", "-p", "0", &tid.to_string()]))?;
            }
            Ok(cost)
        }));
    }
    compare(sides)?;
    drop(mock);
    Ok(())
}

/// One exchange with QEMU as small as it can be: the threads of the vCPUs.
fn asked(socket: &Path) -> Fallible<Vec<i32>> {
    let mut stream = UnixStream::connect(socket)?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut answer = || -> Fallible<serde_json::Value> {
        loop {
            let value: serde_json::Value =
                serde_json::from_str(&lines.next().ok_or("the socket was closed")??)?;
            if value.get("return").is_some() || value.get("QMP").is_some() {
                return Ok(value);
            }
        }
    };
    answer()?;
    stream.write_all(b"{\"execute\":\"qmp_capabilities\"}\n")?;
    answer()?;
    stream.write_all(b"{\"execute\":\"query-cpus-fast\"}\n")?;
    let cpus = answer()?;
    let cpus = cpus["return"].as_array().ok_or("no list")?;
    let tid = |cpu: &serde_json::Value| cpu["thread-id"].as_i64().ok_or("no thread");
    cpus.iter()
        .map(|cpu| Ok(i32::try_from(tid(cpu)?)?))
        .collect()
}

/// The hosts to be read: captured ones of 96, 128 and 256 CPUs where they are, and else described ones of such sizes.
fn hosts(dir: &Path) -> Fallible<Vec<(PathBuf, usize)>> {
    let data = std::env::var_os("NUMAPIN_DATA").map(PathBuf::from);
    let mut hosts = Vec::new();
    for (captured, described) in [
        ("hosts/epyc7451-2s8n", "epyc7451-2s"),
        ("lab-hosts/epyc2x32-nps2", "lab-epyc2x32-nps2"),
        ("hosts/power7-256-sparse", "epyc7713-2s-nps4"),
    ] {
        let file = data
            .as_ref()
            .map(|data| data.join(format!("{captured}.tar.xz")));
        let root = match file.filter(|file| file.exists()) {
            Some(file) => {
                let root = dir.join(captured.rsplit('/').next().unwrap_or(captured));
                fs::create_dir_all(&root)?;
                let mut tar = Command::new("tar");
                child(
                    tar.arg("-xJf")
                        .arg(file)
                        .arg("-C")
                        .arg(&root)
                        .arg("--strip-components=0"),
                )?;
                within(&root)?
            }
            None => {
                let root = dir.join(described);
                Machine::load(described)?.write_tree(&root)?;
                root
            }
        };
        let cpus = fs::read_dir(root.join("sys/devices/system/cpu"))?
            .filter_map(Result::ok)
            .filter(|entry| {
                let name = entry.file_name();
                let number = name.to_str().and_then(|name| name.strip_prefix("cpu"));
                number.is_some_and(|number| number.parse::<u32>().is_ok())
            });
        let cpus = cpus.count();
        hosts.push((root, cpus));
    }
    Ok(hosts)
}

/// The directory that holds sys/: the archive's own, or the one inside it.
fn within(root: &Path) -> Fallible<PathBuf> {
    if root.join("sys").is_dir() {
        return Ok(root.to_owned());
    }
    let mut inside = fs::read_dir(root)?.filter_map(Result::ok).map(|e| e.path());
    let found = inside.find(|path| path.join("sys").is_dir());
    Ok(found.ok_or("the archive holds no sys/")?)
}

fn side<'a>(name: &'a str, run: impl FnMut() -> Fallible<Duration> + 'a) -> Side<'a> {
    Side {
        name,
        run: Box::new(run),
        spent: Vec::new(),
    }
}

/// Runs all sides in turn, and tells medians and ratios to the first.
fn compare(mut sides: Vec<Side<'_>>) -> Fallible<()> {
    // A peer that can't do it (lscpu on some captures) is told and left out; numapin stands first, and must.
    let mut place = 0;
    sides.retain_mut(|side| {
        place += 1;
        let failed = if place > 1 { (side.run)().err() } else { None };
        if let Some(why) = &failed {
            tell(&format!("  {} left out: {why}", side.name));
        }
        failed.is_none()
    });
    for _ in 0..ROUNDS {
        for side in &mut sides {
            let spent = (side.run)()?;
            side.spent.push(spent);
        }
    }
    let mut first = None;
    for side in &mut sides {
        side.spent.sort();
        let median = millis(side.spent[ROUNDS / 2]);
        let ratio = median / *first.get_or_insert(median);
        tell(&format!("  {median:>9.3} ms  {ratio:>7.2}x  {}", side.name));
    }
    Ok(())
}

fn there(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if found.is_err() {
        tell(&format!("  {program} is not installed: left out"));
    }
    found.is_ok()
}

/// Runs a child to its end; its CPU time.
fn child(command: &mut Command) -> Fallible<Duration> {
    let before = usage(UsageWho::RUSAGE_CHILDREN)?;
    let status = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    Ok(usage(UsageWho::RUSAGE_CHILDREN)? - before)
}

fn usage(who: UsageWho) -> Fallible<Duration> {
    let usage = getrusage(who)?;
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    let all = micros(usage.user_time()) + micros(usage.system_time());
    Ok(Duration::from_micros(u64::try_from(all)?))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "figures far below 2^52")]
fn to_f64(number: i64) -> f64 {
    number as f64
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[expect(clippy::print_stdout, reason = "a benchmark tells its figures")]
fn tell(line: &str) {
    println!("{line}");
}
