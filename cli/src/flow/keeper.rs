//! A node whose lock is held: what is planned and set here, nobody else plans or sets at the same time.

use std::collections::BTreeMap;
use std::time::Duration;

use numapin_core::apply::{ApplyError, GuestThreads, Scene, Transaction, Wishes, affinity};
use numapin_core::claims::ledger::{self, Entry, EntryState};
use numapin_core::claims::live::{LiveGuest, LiveThread, Own};
use numapin_core::claims::recorded::{self, RecordedError};
use numapin_core::claims::{Claims, Lock, node};
use numapin_core::host::{Host, cpuset};
use numapin_core::idset::CpuSet;
use numapin_core::placement::Plan;
use numapin_core::policy::Mode;
use numapin_core::process;
use numapin_core::reconcile::{Around, Now, Outcome, reconcile};
use numapin_core::report::Report;
use numapin_core::thread::{Process, Target, ThreadKind};

use crate::fault::Fault;
use crate::load::Node;

/// A node whose lock is held until this is dropped.
pub(crate) struct Keeper<'a> {
    /// The node as it was when the lock was got.
    pub(crate) node: &'a mut Node,
    /// The boot of the host.
    pub(crate) boot_id: String,
    lock: Lock,
    affinity: Box<dyn numapin_core::apply::Affinity>,
}

impl<'a> Keeper<'a> {
    /// Waits for the lock, removes entries whose process is gone, and looks at the node.
    ///
    /// # Errors
    /// Another process holds the lock beyond `wait`, or the node can't be read.
    pub(crate) fn acquire(
        node: &'a mut Node,
        command: &str,
        wait: Duration,
    ) -> Result<Self, Fault> {
        let lock = Lock::acquire(&node.root, command, wait).map_err(Fault::system)?;
        Self::with(node, lock)
    }

    /// As [`Keeper::acquire`], of a lock that was got.
    ///
    /// # Errors
    /// The node can't be read.
    pub(crate) fn with(node: &'a mut Node, lock: Lock) -> Result<Self, Fault> {
        ledger::tidy(&node.root, &lock).map_err(Fault::system)?;
        node.look()?;
        Ok(Self {
            boot_id: ledger::boot_id(&node.root),
            affinity: affinity(&node.root),
            lock,
            node,
        })
    }

    /// What a transaction works on.
    pub(crate) fn scene<'s>(&'s self, host: &'s Host) -> Scene<'s> {
        Scene {
            root: &self.node.root,
            affinity: self.affinity.as_ref(),
            host,
        }
    }

    /// The masks that were found before the first time: those of an entry that holds are numapin's no more, as far as they
    /// were put back.
    pub(crate) fn found(&self, before: Option<&Entry>) -> Result<Vec<Target>, Fault> {
        let Some(before) = before else {
            return Ok(Vec::new());
        };
        let mut found = before.found.clone();
        if before.state == EntryState::Held {
            let mut still = Vec::new();
            for target in found {
                let thread = target.thread;
                let task = process::task(&self.node.root, thread.pid, thread.tid)?;
                if task.is_some_and(|task| task.mask == target.wanted) {
                    still.push(target);
                }
            }
            found = still;
        }
        Ok(found)
    }

    /// What is wanted of a guest's threads now, and what is. `entry` need not be in the ledger yet.
    pub(crate) fn outcome(&self, entry: &Entry, settled: bool) -> Result<Outcome, Fault> {
        outcome(self.node, entry, &self.everybody(Some(entry)), settled)
    }

    /// What everybody holds, with this entry instead of the one in the ledger.
    pub(crate) fn everybody(&self, entry: Option<&Entry>) -> Claims {
        let online = self.node.host.online();
        let Some(entry) = entry else {
            return self.node.claims_beside(Own::default());
        };
        let same = |other: &&Entry| {
            let vmid = entry.vmid.is_some() && entry.vmid == other.vmid;
            vmid || (entry.process.is_some() && entry.process == other.process)
        };
        let alive = self.node.ledger.alive.iter();
        let others = alive.filter(|other| !same(other)).cloned();
        let entries: Vec<Entry> = others.chain([entry.clone()]).collect();
        node::merge(&self.node.live, &entries, &online, Own::default())
    }

    /// Lets the threads that QEMU told have what the plan of an entry wants of them now, and records it.
    ///
    /// # Errors
    /// As [`Keeper::set`]; or the threads are not those of the plan.
    pub(crate) fn carry_out(
        &self,
        entry: &mut Entry,
        before: Option<&Entry>,
        plan: &Plan,
        threads: &GuestThreads,
        settled: bool,
    ) -> Result<(Report, Outcome), Fault> {
        let process = threads.process;
        entry.plan.plugged = threads.vcpus.iter().map(|vcpu| vcpu.index).collect();
        entry.iothreads = match (&threads.iothreads, before) {
            (Some(told), _) => told.iter().map(|io| (io.tid, io.id.clone())).collect(),
            (None, Some(before)) => before.iothreads.clone(),
            (None, None) => BTreeMap::new(),
        };
        let mut wishes = threads.wishes(&self.node.root, plan)?;
        // What a new plan leaves alone gets back what it had.
        let left = self.left_alone(entry, &wishes)?;
        let scene = self.scene(&self.node.host);
        let looked = Transaction::prepare(scene, &entry.guest, process, wishes.clone())?;
        entry.remember(&looked.targets());
        let outcome = self.outcome(entry, settled)?;
        adjust(&mut wishes, &outcome);
        let mut report = self.set(entry, before, wishes)?;
        self.put_back(entry, &left, &mut report)?;
        Ok((report, outcome))
    }

    /// Writes an entry with the masks found, then sets the masks. Where that fails all are put back, and so is the entry.
    ///
    /// # Errors
    /// The entry can't be written (nothing was set), or a mask not be set.
    pub(crate) fn set(
        &self,
        entry: &mut Entry,
        before: Option<&Entry>,
        wishes: Wishes,
    ) -> Result<Report, Fault> {
        let host = self.host_for(entry)?;
        let scene = self.scene(&host);
        recorded::set(scene, &self.lock, entry, wishes).map_err(|error| {
            let left = matches!(&error, RecordedError::Apply(e)
                if matches!(&**e, ApplyError::NotSet { undone, .. } if !undone.left.is_empty()));
            // Where nothing is set, what was kept before counts again. That it can't be written hides nothing: a record too
            // many is harmless.
            let _ = match before {
                _ if left => Ok(()),
                Some(before) => self.write(before),
                None => self.remove(entry),
            };
            Fault::from(error)
        })
    }

    /// Threads that were set once and are not to be any more.
    pub(crate) fn left_alone(&self, entry: &Entry, wishes: &Wishes) -> Result<Vec<Target>, Fault> {
        if entry.found.is_empty() {
            return Ok(Vec::new());
        }
        let process = running(entry)?;
        let tasks = process::tasks(&self.node.root, process.pid)?;
        let wished = |target: &Target| wishes.list.iter().any(|wish| wish.thread == target.thread);
        // Iothreads may be unknown for now: they are not left alone for that.
        let kept = |target: &Target| match target.kind {
            ThreadKind::Vcpu { .. } | ThreadKind::AllVcpus => entry.plan.mode != Mode::None,
            ThreadKind::Iothread { .. } => entry.plan.threads.iothreads.is_some(),
            ThreadKind::Vhost => entry.plan.threads.vhost.is_some(),
            ThreadKind::Emulator { .. } => entry.plan.threads.emulator.is_some(),
        };
        let mut back = entry.way_back(&tasks);
        back.retain(|target| !wished(target) && !kept(target));
        Ok(back)
    }

    /// Puts masks back, and forgets them.
    ///
    /// # Errors
    /// A mask can't be put back.
    pub(crate) fn put_back(
        &self,
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
    pub(super) fn release(&self, entry: &mut Entry) -> Result<Report, Fault> {
        let host = self.host_for(entry)?;
        Ok(recorded::put_back(self.scene(&host), &self.lock, entry)?)
    }

    fn undo(&self, entry: &Entry, targets: &[Target]) -> Result<Report, Fault> {
        let process = running(entry)?;
        let host = self.host_for(entry)?;
        let scene = self.scene(&host);
        Ok(Transaction::undo(scene, &entry.guest, process, targets)?.run(scene)?)
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn write(&self, entry: &Entry) -> Result<(), Fault> {
        ledger::write(&self.lock, entry).map_err(Fault::system)?;
        Ok(())
    }

    /// Removes an entry.
    ///
    /// # Errors
    /// It can't be removed.
    pub(crate) fn remove(&self, entry: &Entry) -> Result<(), Fault> {
        ledger::remove(&self.lock, entry).map_err(Fault::system)?;
        Ok(())
    }

    /// The host as the cgroup of a guest lets it be used.
    fn host_for(&self, entry: &Entry) -> Result<Host, Fault> {
        let mut host = self.node.host.clone();
        let pid = entry.process.map(|process| process.pid);
        host.allowed = cpuset::allowed(&self.node.root, &host.online(), entry.vmid, pid)?;
        Ok(host)
    }
}

/// What is wanted of the threads of an entry's guest now, and what is.
///
/// # Errors
/// A file of /proc or of its cgroup can't be read.
pub(crate) fn outcome(
    node: &Node,
    entry: &Entry,
    claims: &Claims,
    settled: bool,
) -> Result<Outcome, Fault> {
    let live = node.live.guests.iter().find(|guest| entry.is_of(guest));
    outcome_of(node, entry, live, claims, settled)
}

/// As [`outcome`], of a guest whose process is known.
///
/// # Errors
/// As [`outcome`].
pub(crate) fn outcome_of(
    node: &Node,
    entry: &Entry,
    live: Option<&LiveGuest>,
    claims: &Claims,
    settled: bool,
) -> Result<Outcome, Fault> {
    let allowed: Option<CpuSet> = match live {
        Some(live) => cpuset::allowed(&node.root, &node.host.online(), entry.vmid, Some(live.pid))?,
        None => None,
    };
    let vhost: Vec<LiveThread> = match live {
        // All of /proc is looked through for them, so only where they are to be set.
        Some(live) if entry.plan.threads.vhost.is_some() => {
            let workers = process::vhost_kernel_threads(&node.root, live.pid)?;
            let thread = |task: process::Task| LiveThread {
                tid: task.tid,
                comm: task.comm,
                mask: task.mask,
            };
            workers.into_iter().map(thread).collect()
        }
        _ => Vec::new(),
    };
    let around = Around {
        host: &node.host,
        claims,
        settled,
    };
    let now = Now {
        entry,
        live,
        vhost: &vhost,
        allowed: allowed.as_ref(),
    };
    Ok(reconcile(around, now))
}

/// Lets wishes be what is wanted now: the masks of the plan, as claims and offline CPUs leave them.
pub(super) fn adjust(wishes: &mut Wishes, outcome: &Outcome) {
    wishes.list.retain_mut(|wish| {
        let now = outcome
            .threads
            .iter()
            .find(|now| now.thread == Some(wish.thread));
        // Where the name of a thread says something else than QMP, QMP is right.
        match now.filter(|now| now.kind == wish.kind) {
            Some(now) => match &now.wanted {
                Some(wanted) => {
                    wish.cpus.clone_from(wanted);
                    true
                }
                None => now.planned.is_none(),
            },
            None => true,
        }
    });
}

fn running(entry: &Entry) -> Result<Process, Fault> {
    entry
        .process
        .ok_or_else(|| Fault::system(format!("guest {} has no process yet", entry.guest)))
}
