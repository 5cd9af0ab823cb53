//! Masks of one guest: set with their record, and put back. What was set is known afterwards without looking again.

use std::collections::{BTreeMap, BTreeSet};

use numapin_core::apply::{ApplyError, GuestThreads, Seen, Transaction, Wishes, affinity};
use numapin_core::claims::ledger::Entry;
use numapin_core::claims::recorded::{self, RecordedError};
use numapin_core::host::Host;
use numapin_core::placement::Plan;
use numapin_core::policy::Mode;
use numapin_core::process::{Look, Task};
use numapin_core::reconcile::{Outcome, ThreadNow};
use numapin_core::report::{Report, ThreadReport};
use numapin_core::sorted;
use numapin_core::thread::{Process, Target, Thread, ThreadKind, Wish};

use super::Keeper;
use crate::fault::Fault;
use crate::load::Node;

impl Keeper<'_> {
    /// Lets the threads that QEMU told have what the plan of an entry wants of them now, and records it.
    ///
    /// # Errors
    /// As [`Keeper::set`]; or the threads are not those of the plan.
    pub(crate) fn carry_out(
        &mut self,
        entry: &mut Entry,
        before: Option<&Entry>,
        plan: &Plan,
        threads: &GuestThreads,
        settled: bool,
    ) -> Result<(Report, Outcome), Fault> {
        let process = threads.process;
        entry.plan.plugged = threads.vcpus.iter().map(|vcpu| vcpu.index).collect();
        entry.iothreads = match (&threads.iothreads, before) {
            (Some(told), _) => sorted::map(told.iter().map(|io| (io.tid, io.id.clone()))),
            (None, Some(before)) => before.iothreads.clone(),
            (None, None) => BTreeMap::new(),
        };
        let workers = match plan.threads.vhost {
            Some(_) => self.node.workers(process.pid)?,
            None => &[],
        };
        let is_new = entry.found.is_empty();
        let mut tasks = self.look_at(threads, plan, is_new)?;
        let wishes = threads.wishes(plan, &tasks, workers)?;
        // What a new plan leaves alone gets back what it had.
        let left = left_alone(entry, &wishes, &tasks);
        tasks.extend_from_slice(workers);
        let host = self.host_for(entry)?;
        let scene = self.scene(&host);
        let seen = match is_new {
            true => Seen::New(&tasks),
            false => Seen::Before(&tasks),
        };
        let mut transaction = Transaction::prepare(scene, &entry.guest, process, wishes, seen)?;
        let targets = transaction.targets();
        self.node.live.see(process.pid, &tasks, &targets);
        entry.remember(&targets);
        let outcome = self.outcome(entry, settled)?;
        let wanted = Wanted::of(&outcome);
        transaction.adjust(|wish| wanted.adjust(wish));
        let mut report = self.set_prepared(entry, before, &host, transaction)?;
        self.put_back(entry, &left, &mut report)?;
        Ok((report, outcome))
    }

    /// Writes an entry with the masks found, then sets the masks. Where that fails all are put back, and so is the entry.
    ///
    /// # Errors
    /// The entry can't be written (nothing was set), or a mask not be set.
    pub(crate) fn set(
        &mut self,
        entry: &mut Entry,
        before: Option<&Entry>,
        wishes: Wishes,
    ) -> Result<Report, Fault> {
        let host = self.host_for(entry)?;
        let process = running(entry)?;
        let scene = self.scene(&host);
        let seen = Seen::Before(&[]);
        let transaction = Transaction::prepare(scene, &entry.guest, process, wishes, seen)?;
        self.set_prepared(entry, before, &host, transaction)
    }

    fn set_prepared(
        &mut self,
        entry: &mut Entry,
        before: Option<&Entry>,
        host: &Host,
        transaction: Transaction,
    ) -> Result<Report, Fault> {
        match recorded::set(self.scene(host), &self.lock, entry, transaction) {
            Ok(report) => {
                self.node.ledger.put(entry.clone());
                self.take(&report)?;
                Ok(report)
            }
            Err(error) => {
                let left = matches!(&error, RecordedError::Apply(e)
                    if matches!(&**e, ApplyError::NotSet { undone, .. } if !undone.left.is_empty()));
                // Where nothing is set, what was kept before counts again. That it can't be written hides nothing: a record too
                // many is harmless.
                let _ = match before {
                    _ if left => Ok(()),
                    Some(before) => self.write(before),
                    None => self.remove(entry),
                };
                self.look_again();
                Err(error.into())
            }
        }
    }

    /// Puts masks back, and forgets them.
    ///
    /// # Errors
    /// A mask can't be put back.
    pub(crate) fn put_back(
        &mut self,
        entry: &mut Entry,
        targets: &[Target],
        report: &mut Report,
    ) -> Result<(), Fault> {
        if targets.is_empty() {
            return Ok(());
        }
        let more = self.undo(entry, targets)?;
        report.threads.extend(more.threads);
        let back = |known: &Target| targets.iter().any(|target| target.thread == known.thread);
        entry.found.retain(|known| !back(known));
        self.write(entry)
    }

    /// Puts back all masks that were found, and has the guest left alone.
    ///
    /// # Errors
    /// A mask can't be put back; the others are.
    pub(super) fn release(&mut self, entry: &mut Entry) -> Result<Report, Fault> {
        let host = self.host_for(entry)?;
        let done = recorded::put_back(self.scene(&host), &self.lock, entry);
        if done.is_ok() {
            self.node.ledger.put(entry.clone());
        }
        self.taken(done.map_err(Fault::from))
    }

    fn undo(&mut self, entry: &Entry, targets: &[Target]) -> Result<Report, Fault> {
        let process = running(entry)?;
        let host = self.host_for(entry)?;
        let scene = self.scene(&host);
        let undo = Transaction::undo(scene, &entry.guest, process, targets, &[])?;
        let done = undo.run(scene);
        self.taken(done.map_err(Fault::from))
    }

    /// Takes note of masks that were put back; where some could not be, all is looked at again.
    fn taken(&mut self, done: Result<Report, Fault>) -> Result<Report, Fault> {
        match &done {
            Ok(report) => self.take(report)?,
            Err(_) => self.look_again(),
        }
        done
    }

    /// Takes note of masks that were set.
    fn take(&mut self, report: &Report) -> Result<(), Fault> {
        let affinity = affinity(&self.node.root);
        let Node {
            root, host, live, ..
        } = &mut *self.node;
        live.take(Look::of(root, host, affinity.as_ref()), report)?;
        let is_worker = |thread: &ThreadReport| thread.kind == ThreadKind::Vhost;
        if report.threads.iter().any(is_worker) {
            self.node.forget_workers();
        }
        Ok(())
    }

    /// Looks at the node anew, as something went wrong. That it can't be seen hides nothing of that.
    fn look_again(&mut self) {
        let _ = self.node.look();
    }
}

/// What is wanted now of threads that QEMU told.
struct Wanted<'a>(BTreeMap<Thread, &'a ThreadNow>);

impl<'a> Wanted<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        let threads = outcome.threads.iter();
        Self(sorted::map(
            threads.filter_map(|now| Some((now.thread?, now))),
        ))
    }

    /// Lets a wish be what is wanted now: the mask of the plan, as claims and offline CPUs leave it; false where nothing is.
    fn adjust(&self, wish: &mut Wish) -> bool {
        // Where the name of a thread says something else than QMP, QMP is right.
        match self.0.get(&wish.thread).filter(|now| now.kind == wish.kind) {
            Some(now) => match &now.wanted {
                Some(wanted) => {
                    wish.cpus.clone_from(wanted);
                    true
                }
                None => now.planned.is_none(),
            },
            None => true,
        }
    }
}

/// Threads that were set once and are not to be any more.
fn left_alone(entry: &Entry, wishes: &Wishes, tasks: &[Task]) -> Vec<Target> {
    if entry.found.is_empty() {
        return Vec::new();
    }
    let wished: BTreeSet<Thread> = sorted::set(wishes.list.iter().map(|wish| wish.thread));
    // Iothreads may be unknown for now: they are not left alone for that.
    let kept = |target: &Target| match target.kind {
        ThreadKind::Vcpu { .. } | ThreadKind::AllVcpus => entry.plan.mode != Mode::None,
        ThreadKind::Iothread { .. } => entry.plan.threads.iothreads.is_some(),
        ThreadKind::Vhost => entry.plan.threads.vhost.is_some(),
        ThreadKind::Emulator { .. } => entry.plan.threads.emulator.is_some(),
    };
    let mut back = entry.way_back(tasks);
    back.retain(|target| !wished.contains(&target.thread) && !kept(target));
    back
}

fn running(entry: &Entry) -> Result<Process, Fault> {
    entry
        .process
        .ok_or_else(|| Fault::system(format!("guest {} has no process yet", entry.guest)))
}
