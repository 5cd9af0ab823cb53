//! What the watch of a full and idle node costs: `cargo bench -p numapin-cli --bench watch`.
//!
//! 100 guests of 16 vCPUs on a simulated host of 256 CPUs, all pinned: the CPU time of this thread (`schedstat`, in
//! nanoseconds) for each second of the watch's life, over half an hour of rounds with invented time; then the memory (`VmRSS`)
//! after the first 1,000 rounds and 10,000 rounds later. The goal is 1 % of a core, 10 ms a second.
//!
//! The node's files are in memory (`/dev/shm`), as those of /proc and /sys are. On a captured machine the affinity of a thread
//! is read from a file where a real one costs a system call, so the real cost is lower.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use numapin_cli::watch::{Options, Watch};
use numapin_core::root::Root;
use numapin_qmp_mock::{FakeHost, Guest, Mocks, Script, Threads, Vhost};
use numapin_sysfs_sim::Machine;

type Fallible<T> = Result<T, Box<dyn Error>>;

const GUESTS: u32 = 100;
const VCPUS: u32 = 16;
/// So many hold their CPUs one-to-one: half of the host.
const ONE_TO_ONE: u32 = 8;

#[expect(clippy::print_stdout, reason = "a benchmark tells its figures")]
fn main() -> Fallible<()> {
    let shm = Path::new("/dev/shm");
    let dir = match shm.is_dir() {
        true => tempfile::tempdir_in(shm)?,
        false => tempfile::tempdir()?,
    };
    let root = dir.path();
    Machine::load("epyc7713-2s-nps4")?.write_tree(root)?;
    let pve = root.join("etc/pve");
    fs::create_dir_all(pve.join("qemu-server"))?;
    let mut conf = "default: shared\n".to_owned();
    for vmid in 100..100 + ONE_TO_ONE {
        conf += &format!("{vmid}: one-to-one\n");
    }
    fs::write(pve.join("numapin.conf"), conf)?;
    let mocks = Mocks::new()?;
    let mut guests = Vec::new();
    for vmid in 100..100 + GUESTS {
        let text = format!("name: vm{vmid}\ncores: {VCPUS}\nmemory: 1024\n");
        fs::write(pve.join(format!("qemu-server/{vmid}.conf")), text)?;
        let mut guest = Guest::proxmox(vmid, 1, VCPUS);
        guest.iothreads = vec!["iothread-scsi0".to_owned()];
        guest.vhost = Vhost::Tasks(1);
        let threads = Threads::Fake(FakeHost::at(root)?);
        guests.push(mocks.spawn(guest, threads, Script::healthy())?);
    }
    let options = Options {
        adopt: true,
        ..Options::default()
    };
    let begin = Instant::now();
    let mut watch = Watch::new(Root::captured(root)?, options)?;
    let mut life = Life {
        now: Duration::ZERO,
        rounds: 0,
    };
    life.pass(&mut watch, Duration::from_secs(60));
    println!(
        "{GUESTS} guests of {VCPUS} vcpus on 256 cpus met and pinned in {:.1} s: {}",
        begin.elapsed().as_secs_f64(),
        watch.status()
    );
    // Nobody has to answer any more: idle guests are asked nothing.
    guests.into_iter().for_each(numapin_qmp_mock::Mock::leave);

    let seconds = 1800;
    let (cpu, rounds) = (cpu_time()?, life.rounds);
    life.pass(&mut watch, Duration::from_secs(seconds));
    let spent = cpu_time()? - cpu;
    let rounds = life.rounds - rounds;
    let each = spent.as_secs_f64() * 1000.0 / f64::from(u32::try_from(seconds)?);
    println!(
        "idle: {each:.3} ms of cpu time a second, {:.2} % of a core ({rounds} rounds in {seconds} s); goal 10 ms, 1 %",
        each / 10.0
    );

    life.rounds(&mut watch, 1_000);
    let before = resident()?;
    life.rounds(&mut watch, 10_000);
    let after = resident()?;
    println!("memory: {before} kB after 1,000 rounds, {after} kB after 10,000 more");
    match watch.status().starts_with("100 guest(s): 100 kept pinned") {
        true => Ok(()),
        false => Err(format!("not all guests were kept: {}", watch.status()).into()),
    }
}

struct Life {
    now: Duration,
    rounds: u64,
}

impl Life {
    fn pass(&mut self, watch: &mut Watch, time: Duration) {
        let until = self.now + time;
        while watch.next() <= until {
            self.round(watch);
        }
    }

    fn rounds(&mut self, watch: &mut Watch, rounds: u64) {
        (0..rounds).for_each(|_| self.round(watch));
    }

    #[expect(
        clippy::print_stdout,
        reason = "a benchmark tells what is not as expected"
    )]
    fn round(&mut self, watch: &mut Watch) {
        self.now = self.now.max(watch.next());
        self.rounds += 1;
        for line in watch.round(self.now) {
            if self.rounds > 100 {
                println!("{:?}", line.text);
            }
        }
    }
}

/// CPU time of this thread, user and system.
fn cpu_time() -> Fallible<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split(' ').next().ok_or("schedstat is empty")?;
    Ok(Duration::from_nanos(first.parse()?))
}

/// Resident memory of this process, in kB.
fn resident() -> Fallible<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.ok_or("no VmRSS")?.trim().trim_end_matches(" kB");
    Ok(kb.parse()?)
}
