//! The whole flow on a simulated machine: a host tree, a mock QEMU for each guest, and start (check) -> query-cpus-fast ->
//! affinity -> read back. No hypervisor, no privilege, nothing real is touched.

pub(crate) mod estimate;
mod guests;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use numapin_core::host::Host;
use numapin_core::id::{CoreId, VcpuId, Vmid};
use numapin_core::idset::CpuSet;
use numapin_core::placement::plan;
use numapin_core::process;
use numapin_core::report::Report;
use numapin_core::root::{Root, reason};
use numapin_core::sorted;
use numapin_core::violation::Violations;
use numapin_qmp_mock::{FakeHost, Mock, Mocks, Script, Threads};
use numapin_sysfs_sim::Machine;
use tempfile::TempDir;

pub(crate) use guests::Sim;

use crate::fault::Fault;
use crate::flow::{self, How};
use crate::intent::{GuestRef, Over};
use crate::load::{Configs, Node};
use crate::planned::Planned;
use crate::progress::Progress;

/// What is simulated.
pub(crate) struct Setup<'a> {
    /// The host.
    pub(crate) machine: Machine,
    /// The guests, in the order they start.
    pub(crate) guests: Vec<Sim>,
    /// Whether each guest has the host for itself.
    pub(crate) alone: bool,
    /// What is laid over configs and policies.
    pub(crate) over: Over,
    /// Where the machine is to be left.
    pub(crate) keep: Option<&'a Path>,
    /// How long QMP may take.
    pub(crate) deadline: Duration,
}

/// A simulation that has ended.
pub(crate) struct Outcome {
    /// The host, as the reader read it.
    pub(crate) host: Host,
    /// What became of each guest.
    pub(crate) walks: Vec<Walk>,
    /// Machines that were left, for `--root`.
    pub(crate) kept: Vec<PathBuf>,
    /// What was odd.
    pub(crate) warnings: Vec<String>,
}

/// What became of one guest.
pub(crate) struct Walk {
    /// How output calls it.
    pub(crate) label: String,
    /// Where it got, or why it was refused before it started.
    pub(crate) steps: Result<Steps, Violations>,
}

/// The road of a guest that started.
pub(crate) struct Steps {
    /// Its plan.
    pub(crate) planned: Planned,
    /// The threads of its vCPUs.
    pub(crate) threads: BTreeMap<VcpuId, u32>,
    /// What was done to them; `None` where nothing is pinned.
    pub(crate) report: Option<Report>,
    /// The masks that the simulated kernel shows in the end.
    pub(crate) masks: BTreeMap<VcpuId, CpuSet>,
    /// The estimated share of local memory accesses before and after, 0 to 1.
    pub(crate) local: (f64, f64),
    /// Pairs of vCPUs on SMT threads of one core; `None` where the kernel moves vCPUs about.
    pub(crate) sibling_pairs: Option<usize>,
}

/// Runs a simulation.
///
/// # Errors
/// The machine can't be made, or a guest's config not be read.
pub(crate) fn run(setup: &Setup<'_>) -> Result<Outcome, Fault> {
    let mut stage = Stage::new(setup)?;
    let mut walks = Vec::new();
    let mut first_host = None;
    let progress = Progress::new(setup.guests.len());
    for sim in &setup.guests {
        progress.begins(&format!("guest {}", sim.label));
        let dir = stage.machine_for(sim)?;
        let root = Root::captured(&dir)?;
        let (host, walk) = walk(setup, &mut stage, sim, root)?;
        first_host.get_or_insert(host);
        walks.push(walk);
        progress.done();
    }
    drop(progress);
    let host = match first_host {
        Some(host) => host,
        None => {
            return Err(Fault::usage(
                "no guest is to be simulated (expected at least one .conf file)",
            ));
        }
    };
    stage.warnings.dedup();
    let (kept, warnings) = stage.end();
    Ok(Outcome {
        host,
        walks,
        kept,
        warnings,
    })
}

fn walk(
    setup: &Setup<'_>,
    stage: &mut Stage<'_>,
    sim: &Sim,
    root: Root,
) -> Result<(Host, Walk), Fault> {
    let which = GuestRef::Vmid(Vmid(sim.vmid));
    let refused = |host, violations| {
        Ok((
            host,
            Walk {
                label: sim.label.clone(),
                steps: Err(violations),
            },
        ))
    };

    // start: what `check` does before a guest starts.
    let node = Node::read(root.clone(), &mut stage.warnings)?;
    let host = node.host.clone();
    let loaded = match node.guest(&which, &setup.over, &mut stage.warnings)? {
        Ok(loaded) => loaded,
        Err(violations) => return refused(host, violations),
    };
    let claims = node.claims(&loaded.guest, None);
    if let Err(violations) = plan(&node.host, &loaded.guest, &claims, &loaded.policy) {
        return refused(host, violations);
    }
    let fake = FakeHost::at(root_dir(&root))?;
    let mock = stage.mocks.spawn(
        guests::mock(sim, &loaded.guest),
        Threads::Fake(fake),
        Script::healthy(),
    )?;
    let threads = sorted::map(
        mock.vcpus()
            .into_iter()
            .map(|vcpu| (VcpuId(vcpu.index), vcpu.tid)),
    );
    stage.running.push(mock);

    // query-cpus-fast -> affinity
    let configs = Configs::read(&root, &mut Vec::new())?;
    let mut node = Node::unlooked(root, configs, &mut stage.warnings)?;
    let before = masks(&node.root, Vmid(sim.vmid))?;
    let applied = match flow::apply(
        &mut node,
        &which,
        &setup.over,
        &How {
            deadline: setup.deadline,
            wait: setup.deadline,
            replan: false,
            command: "numapin simulate".to_owned(),
        },
        &mut stage.warnings,
    )? {
        Ok(applied) => applied,
        Err(violations) => return refused(host, violations),
    };

    // read back
    let after = masks(&node.root, Vmid(sim.vmid))?;
    let guest = &applied.planned.guest;
    let steps = Steps {
        local: (
            estimate::local_share(&host, guest, &before),
            estimate::local_share(&host, guest, &after),
        ),
        sibling_pairs: sibling_pairs(&host, &after),
        threads,
        report: applied.report,
        masks: after,
        planned: applied.planned,
    };
    Ok((
        host,
        Walk {
            label: sim.label.clone(),
            steps: Ok(steps),
        },
    ))
}

/// The masks of a guest's vCPU threads, by their names, as the simulated kernel shows them.
fn masks(root: &Root, vmid: Vmid) -> Result<BTreeMap<VcpuId, CpuSet>, Fault> {
    let Some(process) = process::guest_process(root, vmid)? else {
        return Ok(BTreeMap::new());
    };
    let tasks = process::tasks(root, process.pid)?;
    let named = process::named_vcpus(&tasks);
    let mask = |tid| {
        tasks
            .iter()
            .find(|task| task.tid == tid)
            .map(|task| task.mask.clone())
    };
    Ok(sorted::map(
        named
            .vcpus
            .iter()
            .filter_map(|vcpu| Some((vcpu.index, mask(vcpu.tid)?))),
    ))
}

/// Pairs of vCPUs that share a core, where each has one CPU.
fn sibling_pairs(host: &Host, masks: &BTreeMap<VcpuId, CpuSet>) -> Option<usize> {
    let mut cores: BTreeMap<CoreId, usize> = BTreeMap::new();
    for mask in masks.values() {
        let cpu = mask
            .first()
            .filter(|_| mask.len() == 1)
            .and_then(|cpu| host.cpu(cpu))?;
        *cores.entry(cpu.core).or_default() += 1;
    }
    Some(cores.values().map(|vcpus| vcpus * (vcpus - 1) / 2).sum())
}

fn root_dir(root: &Root) -> &Path {
    match root {
        Root::Captured(captured) => captured.dir(),
        Root::Live(_) => Path::new("/"),
    }
}

/// Where the simulated machines are, and what runs on them.
struct Stage<'a> {
    setup: &'a Setup<'a>,
    base: PathBuf,
    temporary: Option<TempDir>,
    machines: Vec<PathBuf>,
    mocks: Mocks,
    running: Vec<Mock>,
    warnings: Vec<String>,
}

impl<'a> Stage<'a> {
    fn new(setup: &'a Setup<'a>) -> Result<Self, Fault> {
        let temporary = match setup.keep {
            Some(_) => None,
            None => Some(temporary()?),
        };
        let base = match (&temporary, setup.keep) {
            (Some(dir), _) => dir.path().to_owned(),
            (None, dir) => dir.unwrap_or(Path::new(".")).to_owned(),
        };
        Ok(Self {
            setup,
            base,
            temporary,
            machines: Vec::new(),
            mocks: Mocks::new()?,
            running: Vec::new(),
            warnings: Vec::new(),
        })
    }

    /// The machine that a guest is to run on, with the guest's config in it.
    fn machine_for(&mut self, sim: &Sim) -> Result<PathBuf, Fault> {
        if self.setup.alone || self.machines.is_empty() {
            let dir = if self.setup.alone {
                self.base.join(&sim.label)
            } else {
                self.base.clone()
            };
            self.setup.machine.write_tree(&dir)?;
            self.machines.push(dir);
        }
        let dir = self.machines.last().cloned().unwrap_or_default();
        let configs = dir.join("etc/pve/qemu-server");
        let path = configs.join(format!("{}.conf", sim.vmid));
        fs::create_dir_all(&configs)
            .and_then(|()| fs::write(&path, &sim.config))
            .map_err(|e| Fault::system(format!("{}: {}", path.display(), reason(&e))))?;
        Ok(dir)
    }

    /// Ends the guests; machines that are kept stay as they are.
    fn end(self) -> (Vec<PathBuf>, Vec<String>) {
        let keep = self.temporary.is_none();
        for mock in self.running {
            if keep { mock.leave() } else { mock.stop() }
        }
        (if keep { self.machines } else { Vec::new() }, self.warnings)
    }
}

/// A directory for the time of the simulation; in memory where that can be had, for thousands of small files.
fn temporary() -> Result<TempDir, Fault> {
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("numapin-simulate-");
        builder
    };
    builder()
        .tempdir_in("/dev/shm")
        .or_else(|_| builder().tempdir())
        .map_err(|e| {
            Fault::system(format!(
                "a directory for the simulated machine can't be made: {}",
                reason(&e)
            ))
        })
}
