//! One transaction over the threads of one process: all masks are set, or none is.

use std::collections::BTreeMap;

use super::step::{Step, put_back, way_back};
use super::{Affinity, ApplyError, Target, Thread, Wish, Wishes};
use crate::guest::GuestName;
use crate::host::Host;
use crate::idset::VcpuSet;
use crate::process::{self, Look, Process, ProcessError, Sighting, Sights, Task, ThreadKind};
use crate::report::{Report, ReportNote, SCHEMA, State};
use crate::root::Root;
use crate::sorted;

/// What a transaction works on, beside the threads.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// Where the threads are.
    pub root: &'a Root,
    /// How masks are set: the one of `root`.
    pub affinity: &'a dyn Affinity,
    /// The host, with the cpuset of the guest's cgroup in `allowed`.
    pub host: &'a Host,
}

impl<'a> Scene<'a> {
    /// How its threads are looked at.
    #[must_use]
    pub fn look(&self) -> Look<'a> {
        Look::of(self.root, self.host, self.affinity)
    }
}

/// Threads that were looked at just now, and are not looked at again. All others are.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// Masks may have been set before: with its start a thread is known again.
    Before(&'a [Task]),
    /// None was ever set: of the others it is enough that they are there ([`Look::sights`]).
    New(&'a [Task]),
}

/// Masks that are to be set together. Made by [`Transaction::prepare`] or [`Transaction::undo`], which change nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    guest: GuestName,
    process: Process,
    steps: Vec<Step>,
    notes: Vec<ReportNote>,
    way_back: bool,
}

impl Transaction {
    /// Looks at every thread: it must be of the process. Records its mask. Nothing is changed.
    ///
    /// A thread that is nowhere has ended, which is no failure; one that is elsewhere is foreign.
    ///
    /// # Errors
    /// A foreign thread, or a file of /proc that can't be understood.
    pub fn prepare(
        scene: Scene<'_>,
        guest: &GuestName,
        process: Process,
        wishes: Wishes,
        seen: Seen<'_>,
    ) -> Result<Self, ApplyError> {
        let alive = process::process(scene.root, process.pid)? == Some(process);
        let eyes = Eyes::of(scene, seen)?;
        let mut steps = Vec::with_capacity(wishes.list.len());
        let mut lost = None;
        for wish in wishes.list {
            let thread = wish.thread;
            match eyes.sight(thread)? {
                Some(sighting) if alive => steps.push(Step::found(scene.host, wish, sighting)),
                _ if alive && elsewhere(scene.root, thread)? => {
                    return Err(foreign(&wish, process));
                }
                _ => {
                    lost = lost.or(Some(wish.clone()).filter(is_vcpu));
                    steps.push(Step::ended(wish));
                }
            }
        }
        // One vCPU can end between question and pinning. If none at all is there, the answer was about something else.
        let any_vcpu = |step: &Step| step.target.is_some() && is_vcpu(&step.wish);
        if let Some(wish) = lost.filter(|_| alive && !steps.iter().any(any_vcpu)) {
            return Err(foreign(&wish, process));
        }
        Ok(Self {
            guest: guest.clone(),
            process,
            steps,
            notes: wishes.notes,
            way_back: false,
        })
    }

    /// The way back from targets that were recorded: each thread that still lives is to have the mask it had. Threads that were
    /// looked at just now (`seen`) are not looked at again.
    ///
    /// # Errors
    /// A file of /proc that can't be understood.
    pub fn undo(
        scene: Scene<'_>,
        guest: &GuestName,
        process: Process,
        recorded: &[Target],
        seen: &[Task],
    ) -> Result<Self, ApplyError> {
        let alive = process::process(scene.root, process.pid)? == Some(process);
        let eyes = Eyes::of(scene, Seen::Before(seen))?;
        let mut steps = Vec::with_capacity(recorded.len());
        for target in recorded {
            let wish = Wish {
                kind: target.kind.clone(),
                thread: target.thread,
                cpus: target.found.clone(),
            };
            let release = target.unpinned.then(|| way_back(scene.host, target));
            let sighting = eyes.sight(target.thread)?;
            let same = sighting.filter(|sighting| target.is_what_started(sighting.started_by));
            steps.push(match same.filter(|_| alive) {
                Some(sighting) => Step {
                    release,
                    ..Step::found(scene.host, wish, sighting)
                },
                None => Step::ended(wish),
            });
        }
        Ok(Self {
            guest: guest.clone(),
            process,
            steps,
            notes: Vec::new(),
            way_back: true,
        })
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> Process {
        self.process
    }

    /// The threads with the masks that were found: what must be kept somewhere safe before [`run`](Self::run), so that they
    /// can be put back even if this program is killed.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        let targets = self.steps.iter().filter_map(|step| step.target.clone());
        targets.collect()
    }

    /// Lets what is wanted be something else: `adjust` may change the mask of a wish, and has it dropped by `false`.
    pub fn adjust(&mut self, mut adjust: impl FnMut(&mut Wish) -> bool) {
        self.steps.retain_mut(|step| {
            let stays = adjust(&mut step.wish);
            if let Some(target) = &mut step.target {
                target.wanted.clone_from(&step.wish.cpus);
            }
            stays
        });
    }

    /// Sets each mask and reads it back. Masks that are right already are not set.
    ///
    /// That the process is the one that was looked at is made sure of before the first mask and after the last, that a thread is
    /// one of the process right before its mask is set.
    ///
    /// # Errors
    /// A mask could not be set: everything is put back. On the way back ([`undo`](Self::undo)) the other threads are put back
    /// all the same.
    pub fn run(mut self, scene: Scene<'_>) -> Result<Report, ApplyError> {
        let mut failed = Vec::new();
        let alive = is_alive(scene, self.process);
        for (at, step) in self.steps.iter_mut().enumerate() {
            if let Err(reason) = step.run(scene, self.process, &alive) {
                failed.push((at, reason));
                if !self.way_back {
                    break;
                }
            }
        }
        let first = failed.first().cloned();
        let Some((at, reason)) = first else {
            return Ok(self.report(scene));
        };
        if self.way_back {
            let left = failed.into_iter().map(|(at, reason)| {
                let wish = &self.steps[at].wish;
                (wish.thread.tid, wish.cpus.clone(), reason)
            });
            let left = left.collect();
            let report = Box::new(self.report(scene));
            return Err(ApplyError::NotPutBack { left, report });
        }
        let alive = is_alive(scene, self.process);
        let undone = put_back(scene, self.process, &alive, &mut self.steps[..=at]);
        let Wish { kind, thread, cpus } = self.steps[at].wish.clone();
        Err(ApplyError::NotSet {
            kind,
            tid: thread.tid,
            wanted: cpus,
            reason,
            undone,
            report: Box::new(self.report(scene)),
        })
    }

    fn report(self, scene: Scene<'_>) -> Report {
        let mut notes = self.notes;
        let pid = self.process.pid;
        let now = process::process(scene.root, pid);
        let ended = |step: &Step| match step.wish.kind {
            ThreadKind::Vcpu { vcpu } if step.state == State::Ended => Some(vcpu),
            _ => None,
        };
        let vcpus: VcpuSet = self.steps.iter().filter_map(ended).collect();
        if now.is_ok_and(|now| now != Some(self.process)) {
            notes.push(ReportNote::ProcessEnded { pid });
        } else if !vcpus.is_empty() {
            notes.push(ReportNote::VcpuEnded { vcpus });
        }
        Report {
            schema: SCHEMA,
            guest: self.guest,
            pid,
            threads: self.steps.iter().map(Step::report).collect(),
            notes,
        }
    }
}

/// Threads that were looked at; the others are when they are asked for.
struct Eyes<'a> {
    look: Look<'a>,
    tasks: BTreeMap<Thread, &'a Task>,
    /// How the others are looked at where none was ever set.
    new: Option<Sights<'a>>,
}

impl<'a> Eyes<'a> {
    fn of(scene: Scene<'a>, seen: Seen<'a>) -> Result<Self, ProcessError> {
        let look = scene.look();
        let (tasks, new) = match seen {
            Seen::Before(tasks) => (tasks, None),
            Seen::New(tasks) => (tasks, Some(look.sights()?)),
        };
        let thread = |task: &'a Task| {
            let Task { pid, tid, .. } = *task;
            (Thread { pid, tid }, task)
        };
        Ok(Self {
            look,
            tasks: sorted::map(tasks.iter().map(thread)),
            new,
        })
    }

    fn sight(&self, thread: Thread) -> Result<Option<Sighting>, ProcessError> {
        match (self.tasks.get(&thread), &self.new) {
            (Some(task), _) => Ok(Some((*task).clone().into())),
            (None, Some(sights)) => sights.sight(thread),
            (None, None) => self.look.sighting(thread),
        }
    }
}

/// Whether a process lives; why that can't be told.
fn is_alive(scene: Scene<'_>, process: Process) -> Result<bool, String> {
    let now = process::process(scene.root, process.pid);
    now.map(|now| now == Some(process))
        .map_err(|e| e.to_string())
}

/// Whether a thread lives in another process. Numbers 0 and 1 are never a guest's.
fn elsewhere(root: &Root, thread: Thread) -> Result<bool, ProcessError> {
    let Thread { pid, tid } = thread;
    if tid.0 <= 1 {
        return Ok(true);
    }
    // One that is just ending is still there, but has no mask any more.
    let task = root.proc().join(pid.to_string()).join("task");
    if task.join(tid.to_string()).is_dir() {
        return Ok(false);
    }
    if root.proc().join(tid.to_string()).is_dir() {
        return Ok(true);
    }
    // The kernel's /proc has every thread's directory at the top, too (it only does not list it); a captured tree does not.
    Ok(!root.is_live() && process::owner(root, tid)?.is_some())
}

fn foreign(wish: &Wish, process: Process) -> ApplyError {
    ApplyError::ForeignThread {
        tid: wish.thread.tid,
        kind: wish.kind.clone(),
        pid: process.pid,
    }
}

fn is_vcpu(wish: &Wish) -> bool {
    matches!(wish.kind, ThreadKind::Vcpu { .. })
}

#[cfg(test)]
mod tests;
