//! What planning costs, and how it grows: `cargo bench -p numapin-core --bench planner`.
//!
//! CPU time of one thread, so that a busy machine disturbs little: as many plans in a row as fill a few milliseconds, seven times,
//! of which the median counts. With `-- goals`, `-- uneven`, `-- worst` or `-- growth` only that is measured; with `-- --svg DIR`
//! the rows of growth are drawn into files of that directory as well.

mod growth;
mod hosts;
mod picture;

use std::error::Error;
use std::path::PathBuf;

use nix::sys::resource::{UsageWho, getrusage};
use numapin_core::claims::Claims;
use numapin_core::guest::Guest;
use numapin_core::host::Host;
use numapin_core::placement::plan;
use numapin_core::policy::{Mode, Policy};

type Fallible<T> = Result<T, Box<dyn Error>>;

const MODES: [Mode; 3] = [Mode::Numa, Mode::L3, Mode::OneToOne];
const RUNS: usize = 7;
/// How long the plans of one run take together, at least, in microseconds.
const ENOUGH: f64 = 3000.0;

/// What a plan costs.
struct Spent {
    micros: f64,
    /// "yes", "no" or "refused".
    optimal: &'static str,
}

fn main() -> Fallible<()> {
    let mut words = std::env::args().skip(1);
    let (mut groups, mut drawn) = (Vec::new(), None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "goals" | "uneven" | "worst" | "growth" => groups.push(word),
            "--svg" => drawn = Some(PathBuf::from(words.next().ok_or("--svg: no directory")?)),
            // cargo's own
            "--bench" => {}
            _ => {
                let expected = "goals, uneven, worst, growth or --svg DIR";
                return Err(format!("{word}: expected {expected}").into());
            }
        }
    }
    let wanted = |group: &str| groups.is_empty() || groups.iter().any(|word| word == group);
    if wanted("goals") {
        goals()?;
    }
    if wanted("uneven") {
        tell(
            "uneven hosts: claims by chance, distances of two packages; 8 virtual nodes of 1 to 8 vcpus",
        );
        uneven(false)?;
    }
    if wanted("worst") {
        tell(
            "the worst hosts: claims and all distances by chance; 8 virtual nodes of 1 to 8 vcpus",
        );
        uneven(true)?;
    }
    if !wanted("growth") {
        return Ok(());
    }
    for row in growth::rows()? {
        row.tell();
        if let Some(dir) = &drawn {
            let file = dir.join(format!("growth-{}.svg", row.file));
            std::fs::write(file, picture::draw(&row))?;
        }
    }
    Ok(())
}

fn goals() -> Fallible<()> {
    tell("the planner's goals");
    for (goal, nodes, cpus, guest) in [
        ("20 ms", 16, 64, hosts::free_nodes(8, 4)?),
        ("1 s", 64, 64, hosts::free_nodes(8, 4)?),
        ("20 ms", 1, 8192, hosts::one_node(64)?),
        ("20 ms", 64, 128, hosts::one_node(32)?),
    ] {
        let host = hosts::host(nodes, cpus);
        let (virtual_nodes, vcpus) = (guest.virtual_nodes.len(), guest.vcpus().len());
        for mode in MODES {
            let spent = measure(&host, &guest, &Claims::default(), mode)?;
            tell(&format!(
                "{}  {mode}: {vcpus} vcpus in {virtual_nodes} virtual node(s) on {nodes} host nodes x {cpus} cpus (goal {goal})",
                spent.told()
            ));
        }
    }
    Ok(())
}

fn uneven(distances_by_chance: bool) -> Fallible<()> {
    for (goal, nodes) in [("20 ms", 16), ("1 s", 64)] {
        for seed in [1, 2, 3] {
            let (host, claims) = hosts::uneven(nodes, 64, seed, distances_by_chance);
            for mode in MODES {
                let spent = measure(&host, &hosts::uneven_guest()?, &claims, mode)?;
                tell(&format!(
                    "{}  {mode}: {nodes} host nodes x 64 cpus, seed {seed} (goal {goal})",
                    spent.told()
                ));
            }
        }
    }
    Ok(())
}

impl Spent {
    fn told(&self) -> String {
        format!("  {:>9.3} ms  {:<8}", self.micros / 1000.0, self.optimal)
    }
}

fn measure(host: &Host, guest: &Guest, claims: &Claims, mode: Mode) -> Fallible<Spent> {
    let policy = Policy {
        mode,
        ..Policy::default()
    };
    let mut optimal = "refused";
    let mut times = Vec::new();
    let mut plans = 1;
    while times.len() < RUNS {
        let before = micros()?;
        for _ in 0..plans {
            optimal = match plan(host, guest, claims, &policy) {
                Ok(plan) if plan.optimal => "yes",
                Ok(_) => "no",
                Err(_) => "refused",
            };
        }
        let spent = micros()? - before;
        if spent < ENOUGH {
            plans *= 2;
        } else {
            times.push(spent / f64::from(plans));
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(Spent {
        micros: times[RUNS / 2],
        optimal,
    })
}

/// The CPU time of this process so far, in microseconds.
fn micros() -> Fallible<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let times = [usage.user_time(), usage.system_time()];
    let micros = times.map(|time| time.tv_sec() * 1_000_000 + time.tv_usec());
    // a day is 2^37 microseconds: u32 would be an hour
    let all = std::time::Duration::from_micros(u64::try_from(micros.iter().sum::<i64>())?);
    Ok(all.as_secs_f64() * 1e6)
}

#[expect(clippy::print_stdout, reason = "a benchmark tells its figures")]
fn tell(line: &str) {
    println!("{line}");
}
