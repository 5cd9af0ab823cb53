//! What whole processes of numapin cost, in CPU time: `cargo bench -p numapin-cli`.
//!
//! CPU time of the children as the kernel accounts it (fields cutime and cstime of /proc/self/stat), over many runs of each
//! command in turn, so that a noisy machine disturbs all of them alike. `true` is the floor: a process that does nothing.

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
    let mut commands = vec![("true".to_owned(), vec!["true".to_owned()])];
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
    for ((name, _), spent) in commands.iter().zip(spent) {
        println!("  {:7.3} ms  {name}", spent * 1000.0 / f64::from(RUNS));
    }
    Ok(())
}

fn arguments(words: &[&str], config: Option<&PathBuf>, root: &Path) -> Vec<String> {
    let mut all = vec![env!("CARGO_BIN_EXE_numapin").to_owned()];
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
