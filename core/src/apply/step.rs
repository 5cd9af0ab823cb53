//! One thread of a transaction: looked at, set, read back, put back.

use super::error::Undone;
use super::transaction::Scene;
use super::{AffinityError, Target, Wish};
use crate::host::Host;
use crate::id::CpuId;
use crate::idset::CpuSet;
use crate::process::{self, Process, Sighting};
use crate::report::{Narrowed, State, ThreadReport};

/// Every number up to this one is in the mask that stands for all CPUs; beyond the kernel's own limit on x86 (8,192).
const ALL_CPUS: u32 = 8_191;

/// One thread of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) wish: Wish,
    /// `None`: the thread had ended before it could be looked at.
    pub(super) target: Option<Target>,
    /// What the kernel is asked for instead of the wish: the way back of an unpinned thread.
    pub(super) release: Option<CpuSet>,
    pub(super) state: State,
    pub(super) actual: Option<CpuSet>,
    pub(super) narrowed: Option<Narrowed>,
}

impl Step {
    pub(super) fn found(host: &Host, wish: Wish, sighting: Sighting) -> Self {
        let target = Target {
            kind: wish.kind.clone(),
            thread: wish.thread,
            started_by: sighting.started_by,
            unpinned: is_unpinned(host, &sighting.mask),
            found: sighting.mask,
            wanted: wish.cpus.clone(),
        };
        Self {
            target: Some(target),
            state: State::Untouched,
            ..Self::ended(wish)
        }
    }

    pub(super) fn ended(wish: Wish) -> Self {
        Self {
            wish,
            target: None,
            release: None,
            state: State::Ended,
            actual: None,
            narrowed: None,
        }
    }

    /// Sets the mask; the error says why it could not be. `alive`: whether the process is, which need not be asked for each
    /// thread.
    pub(super) fn run(
        &mut self,
        scene: Scene<'_>,
        process: Process,
        alive: &Result<bool, String>,
    ) -> Result<(), String> {
        let Some(target) = &self.target else {
            return Ok(());
        };
        match still_there(scene, process, alive, target) {
            Ok(true) => {}
            Ok(false) => {
                self.state = State::Ended;
                return Ok(());
            }
            Err(reason) => {
                self.state = State::Failed;
                return Err(reason);
            }
        }
        // Right already, unless something has changed it since: what is offline the system call hides.
        if target.found == self.wish.cpus
            && self.release.is_none()
            && let Ok(actual) = scene.affinity.get(target.thread)
            && (actual == target.found || target.found.intersection(&scene.host.online()) == actual)
        {
            self.state = State::Already;
            return self.read_back(scene.host, actual);
        }
        let asked = self.release.as_ref().unwrap_or(&self.wish.cpus);
        match scene.affinity.set(target.thread, asked) {
            Ok(()) => self.state = State::Set,
            Err(AffinityError::Gone) => {
                self.state = State::Ended;
                return Ok(());
            }
            Err(e) => {
                self.state = State::Failed;
                return Err(e.to_string());
            }
        }
        match scene.affinity.get(target.thread) {
            Ok(actual) => self.read_back(scene.host, actual),
            Err(AffinityError::Gone) => {
                self.state = State::Ended;
                Ok(())
            }
            Err(e) => Err(format!("its mask can't be read back: {e}")),
        }
    }

    fn read_back(&mut self, host: &Host, actual: CpuSet) -> Result<(), String> {
        let wanted = &self.wish.cpus;
        let beyond = actual.difference(wanted);
        self.actual = Some(actual.clone());
        // An unpinned thread has whatever its cgroup allows by now.
        if self.release.is_some() {
            return Ok(());
        }
        if !beyond.is_empty() {
            return Err(format!(
                "it reads back as cpu(s) {actual}: something else sets masks at the same time, or a cpu has just gone offline"
            ));
        }
        let lost = wanted.difference(&actual);
        if !lost.is_empty() {
            let online = host.online();
            self.narrowed = Some(Narrowed {
                offline: lost.difference(&online),
                cpuset: lost.intersection(&online),
            });
        }
        Ok(())
    }

    pub(super) fn report(&self) -> ThreadReport {
        ThreadReport {
            kind: self.wish.kind.clone(),
            tid: self.wish.thread.tid,
            found: self.target.as_ref().map(|target| target.found.clone()),
            wanted: self.wish.cpus.clone(),
            actual: self.actual.clone(),
            state: self.state,
            narrowed: self.narrowed.clone(),
        }
    }
}

/// Whether the thread is still the one that was looked at.
///
/// Between the look and the system call the thread can end and its number be given to another one: the kernel has no call
/// that binds both (there is none for threads that takes a pidfd). Numbers are given out in a circle, so the window of some
/// milliseconds would have to see all of them used; and whoever could start that many threads in the guest's own process
/// gains the mask of another thread of it. A kernel thread is a process of its own: its start is looked at again.
fn still_there(
    scene: Scene<'_>,
    process: Process,
    alive: &Result<bool, String>,
    target: &Target,
) -> Result<bool, String> {
    if !alive.clone()? {
        return Ok(false);
    }
    let thread = target.thread;
    if thread.pid != process.pid {
        let started = process::task_start(scene.root, thread.pid, thread.tid);
        let started = started.map_err(|e| e.to_string())?;
        return Ok(started.is_some_and(|started| target.is_what_started(started)));
    }
    Ok(scene.affinity.is_there(thread))
}

/// Puts back what was set, the last first.
pub(super) fn put_back(
    scene: Scene<'_>,
    process: Process,
    alive: &Result<bool, String>,
    steps: &mut [Step],
) -> Undone {
    let mut undone = Undone {
        put_back: 0,
        left: Vec::new(),
    };
    for step in steps.iter_mut().rev() {
        let Some(target) = step.target.as_ref().filter(|_| step.state == State::Set) else {
            continue;
        };
        let mask = way_back(scene.host, target);
        let done = match still_there(scene, process, alive, target) {
            Ok(true) => scene
                .affinity
                .set(target.thread, &mask)
                .map_err(|e| match e {
                    AffinityError::Gone => None,
                    e => Some(e.to_string()),
                }),
            Ok(false) => Err(None),
            Err(reason) => Err(Some(reason)),
        };
        match done {
            Ok(()) => {
                step.state = State::PutBack;
                step.actual = scene.affinity.get(target.thread).ok();
                step.narrowed = None;
                undone.put_back += 1;
            }
            Err(None) => step.state = State::Ended,
            Err(Some(reason)) => {
                step.state = State::NotPutBack;
                undone
                    .left
                    .push((target.thread.tid, target.found.clone(), reason));
            }
        }
    }
    undone
}

/// Whether a mask is what a thread has that nobody pinned: every online CPU that its cpuset allows, or those without the
/// isolated ones (isolcpus takes them from init, and so from everything).
fn is_unpinned(host: &Host, mask: &CpuSet) -> bool {
    let whole = reach(host);
    let housekeeping = whole.difference(&host.isolated);
    whole.is_subset(mask) || !housekeeping.is_empty() && housekeeping.is_subset(mask)
}

/// Every online CPU that the cpuset of the guest's cgroup allows.
fn reach(host: &Host) -> CpuSet {
    let online = host.online();
    match &host.allowed {
        Some(allowed) => online.intersection(allowed),
        None => online,
    }
}

/// What is asked for to put a mask back. For an unpinned thread that is all CPUs that there are or could be, without isolated
/// ones that it did not have: a list would hold for ever, also when the cpuset widens or more CPUs come online.
pub(super) fn way_back(host: &Host, target: &Target) -> CpuSet {
    if !target.unpinned {
        return target.found.clone();
    }
    let last = host.online().union(&host.offline).last();
    let mut all = CpuSet::new();
    all.insert_range(CpuId(0), last.unwrap_or_default().max(CpuId(ALL_CPUS)));
    all.difference(&host.isolated.difference(&target.found))
}
