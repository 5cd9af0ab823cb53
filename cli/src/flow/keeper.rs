//! A node whose lock is held: what is planned and set here, nobody else plans or sets at the same time.

use numapin_core::apply::{Affinity, GuestThreads, Scene, affinity};
use numapin_core::claims::ledger::{self, Entry, EntryState};
use numapin_core::claims::live::{LiveGuest, LiveThread, Own};
use numapin_core::claims::{Claims, Lock, node};
use numapin_core::host::{Host, cpuset};
use numapin_core::idset::CpuSet;
use numapin_core::placement::Plan;
use numapin_core::policy::Mode;
use numapin_core::process::Task;
use numapin_core::reconcile::{Around, Now, Outcome, reconcile};
use numapin_core::sorted;
use numapin_core::thread::{Process, Target};

use super::How;
use crate::fault::Fault;
use crate::load::Node;

/// A node whose lock is held until this is dropped.
pub(crate) struct Keeper<'a> {
    /// The node as it was when the lock was got.
    pub(crate) node: &'a mut Node,
    /// The boot of the host.
    pub(crate) boot_id: String,
    pub(super) lock: Lock,
    affinity: Box<dyn Affinity>,
}

impl<'a> Keeper<'a> {
    /// Waits for the lock, removes entries whose process is gone, and looks at the node. The threads of the process `own` are
    /// left to [`Keeper::carry_out`].
    ///
    /// # Errors
    /// Another process holds the lock beyond `wait`, or the node can't be read.
    pub(crate) fn acquire(
        node: &'a mut Node,
        own: Option<Process>,
        how: &How,
        warn: &mut Vec<String>,
    ) -> Result<Self, Fault> {
        let lock = Lock::acquire(&node.root, &how.command, how.wait).map_err(Fault::system)?;
        let keeper = Self::with(node, lock, own)?;
        warn.extend(keeper.node.warnings());
        Ok(keeper)
    }

    /// As [`Keeper::acquire`], of a lock that was got.
    ///
    /// # Errors
    /// The node can't be read.
    pub(crate) fn with(
        node: &'a mut Node,
        lock: Lock,
        own: Option<Process>,
    ) -> Result<Self, Fault> {
        // The ledger first: an entry whose process ends meanwhile holds nothing that is seen afterwards.
        node.ledger = ledger::tidy(&node.root, &lock).map_err(Fault::system)?;
        node.look_at_live(own.map(|process| process.pid))?;
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

    /// The tasks of a guest whose masks are to be set, as far as they must be looked at: where none was set before, not those
    /// that QEMU told, and the others only if the plan has masks for them.
    ///
    /// # Errors
    /// A file of a thread can't be understood.
    pub(super) fn look_at(
        &self,
        threads: &GuestThreads,
        plan: &Plan,
        is_new: bool,
    ) -> Result<Vec<Task>, Fault> {
        let look = self.scene(&self.node.host).look();
        let pid = threads.process.pid;
        // With the mode none no mask is set, and what the threads hold counts for others as it is.
        let told = is_new && plan.mode != Mode::None;
        let Some(iothreads) = threads.iothreads.as_ref().filter(|_| told) else {
            return Ok(look.tasks(pid)?);
        };
        if plan.threads.emulator.is_none() && plan.threads.vhost.is_none() {
            return Ok(Vec::new());
        }
        let iothreads = iothreads.iter().map(|iothread| iothread.tid);
        let vcpus = threads.vcpus.iter().map(|vcpu| vcpu.tid);
        let told = sorted::set(vcpus.chain(iothreads));
        Ok(look.tasks_beside(pid, &told)?)
    }

    /// The masks that were found before the first time: those of an entry that holds are numapin's no more, as far as they
    /// were put back.
    pub(crate) fn found(&self, before: Option<&Entry>) -> Result<Vec<Target>, Fault> {
        let Some(before) = before else {
            return Ok(Vec::new());
        };
        let mut found = before.found.clone();
        if before.state == EntryState::Held {
            let look = self.scene(&self.node.host).look();
            let mut still = Vec::new();
            for target in found {
                if look.mask(target.thread)?.as_ref() == Some(&target.wanted) {
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
        let others = alive.filter(|other| !same(other));
        let entries: Vec<&Entry> = others.chain([entry]).collect();
        node::merge(&self.node.live, &entries, &online, Own::default())
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn write(&mut self, entry: &Entry) -> Result<(), Fault> {
        ledger::write(&self.lock, entry).map_err(Fault::system)?;
        self.node.ledger.put(entry.clone());
        Ok(())
    }

    /// Removes an entry.
    ///
    /// # Errors
    /// It can't be removed.
    pub(crate) fn remove(&mut self, entry: &Entry) -> Result<(), Fault> {
        ledger::remove(&self.lock, entry).map_err(Fault::system)?;
        self.node.ledger.take_out(entry);
        Ok(())
    }

    /// The host as the cgroup of a guest lets it be used.
    pub(super) fn host_for(&self, entry: &Entry) -> Result<Host, Fault> {
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
        Some(live) if entry.plan.threads.vhost.is_some() => {
            let workers = node.workers(live.pid)?.iter();
            let thread = |task: &Task| LiveThread {
                tid: task.tid,
                comm: task.comm.clone(),
                told: None,
                mask: task.mask.clone(),
            };
            workers.map(thread).collect()
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
