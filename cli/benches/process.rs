//! What whole processes of numapin cost, in CPU time and in instructions:
//! `NUMAPIN_BIN=$(cli/dist/build) cargo bench -p numapin-cli --bench process`, so that what ships is measured.
//!
//! CPU time of the children as the kernel accounts it (fields cutime and cstime of /proc/self/stat), over many runs of each
//! command in turn, so that a noisy machine disturbs all of them alike. `true` is the floor: a process that does nothing.
//! Instructions of user space as valgrind's callgrind counts them, where it is installed: the same on a noisy machine.

mod program;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use numapin_sysfs_sim::Machine;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// Runs of each command; one tick of the kernel's accounts is 10 ms, so that 200 runs tell 0.05 ms.
const RUNS: u32 = 200;
/// Clock ticks a second in /proc, the same on every Linux of the last twenty years (USER_HZ).
const TICKS: f64 = 100.0;

#[expect(clippy::print_stdout, reason = "a benchmark tells its figures")]
fn main() -> Fallible<()> {
    let dir = tempfile::tempdir()?;
    let config = dir.path().join("100.conf");
    fs::write(&config, "cores: 2\nsockets: 4\nnuma: 1\nmemory: 8192\n")?;
    let version = vec![
        program::numapin().display().to_string(),
        "--version".to_owned(),
    ];
    let mut commands = vec![
        ("true".to_owned(), vec!["true".to_owned()]),
        ("--version".to_owned(), version),
    ];
    for host in [
        "epyc7351p",
        "epyc7451-2s",
        "lab-epyc2x32-nps2",
        "epyc7713-2s-nps4",
    ] {
        let root = dir.path().join(host);
        Machine::load(host)?.write_tree(&root)?;
        commands.push((
            format!("topology {host}"),
            arguments(&["topology", "--format", "json"], None, &root),
        ));
        for mode in ["numa", "one-to-one"] {
            commands.push((
                format!("plan {mode} {host}"),
                arguments(&["plan", "--mode", mode], Some(&config), &root),
            ));
        }
    }
    let mut spent = vec![0.0; commands.len()];
    for _ in 0..RUNS / 20 {
        for ((_, command), spent) in commands.iter().zip(&mut spent) {
            let before = children_seconds()?;
            for _ in 0..20 {
                run(command)?;
            }
            *spent += children_seconds()? - before;
        }
    }
    println!("CPU time of a whole process, mean of {RUNS} runs:");
    for ((name, command), spent) in commands.iter().zip(spent) {
        let instructions = match instructions(command) {
            Some(count) => format!("{:8} thousand instructions", count / 1000),
            None => String::new(),
        };
        println!(
            "  {:7.3} ms {instructions}  {name}",
            spent * 1000.0 / f64::from(RUNS)
        );
    }
    Ok(())
}

fn arguments(words: &[&str], config: Option<&PathBuf>, root: &Path) -> Vec<String> {
    let mut all = vec![program::numapin().display().to_string()];
    all.extend(words.iter().map(ToString::to_string));
    all.extend(config.map(|path| path.display().to_string()));
    all.extend(["--sysfs-root".to_owned(), root.display().to_string()]);
    all
}

fn run(command: &[String]) -> Fallible<()> {
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let status = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{command:?}: {status}").into())
    }
}

/// The instructions of one run, all of them in user space; `None` where there is no valgrind.
fn instructions(command: &[String]) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(command)
        .output()
        .ok()?;
    // "==123== Collected : 681645"
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// CPU time of the children that have ended, user and system.
fn children_seconds() -> Fallible<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The command in parentheses can hold anything; the fields after it are numbers. cutime and cstime are fields 16 and 17.
    let (_, fields) = stat
        .rsplit_once(')')
        .ok_or("/proc/self/stat has no command")?;
    let field = |n: usize| -> Fallible<f64> {
        Ok(fields
            .split_whitespace()
            .nth(n - 3)
            .ok_or("too few fields")?
            .parse()?)
    };
    Ok((field(16)? + field(17)?) / TICKS)
}
