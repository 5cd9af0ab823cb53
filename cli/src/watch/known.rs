//! What the watch remembers of a guest from round to round. What must outlive it stands in the ledger.

use std::collections::BTreeSet;
use std::time::Duration;

use numapin_core::claims::ledger::{Entry, EntryState};
use numapin_core::claims::live::LiveGuest;
use numapin_core::guest::{Guest, GuestName};
use numapin_core::id::{Tid, Vmid};
use numapin_core::placement::Plan;
use numapin_core::process;
use numapin_core::qmp::Answer;
use numapin_core::reconcile::pace::{Asking, Tries};
use numapin_core::root::Root;
use numapin_core::sorted;
use numapin_core::thread::{Process, ThreadKind};

/// How long a guest is given to show threads that are named as vCPUs are.
const NAMELESS: Duration = Duration::from_secs(10);

/// How often a config is looked for every two seconds.
const PATIENCE: u32 = 30;

/// A guest that runs.
pub(super) struct Known {
    /// How it is called.
    pub(super) name: GuestName,
    /// Its number.
    pub(super) vmid: Option<Vmid>,
    /// Its process.
    pub(super) process: Process,
    /// What is to be done about it while it has no entry in the ledger.
    pub(super) standing: Standing,
    /// Whether its entry says that it is kept.
    pub(super) kept: bool,
    /// The threads that run its vCPUs, by their names.
    pub(super) vcpus: BTreeSet<Tid>,
    /// Whether its QMP is to be asked.
    pub(super) asking: Asking,
    /// What QMP said, until it is used.
    pub(super) answer: Option<Answer>,
    /// When placing it is tried again.
    pub(super) tries: Tries,
    /// When setting its masks is tried again.
    pub(super) repairs: Tries,
    /// Whether its masks are to be set, and were not.
    pub(super) unset: bool,
    /// When it was seen first.
    since: Duration,
    /// How often its config could not be read.
    unread: u32,
    /// What a dry run would have made of it.
    pub(super) would: Option<(Guest, Plan)>,
}

/// What is to be done about a guest that has no entry in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It ran before the watch met the node: it is reported.
    Stranger {
        /// Whether it was.
        told: bool,
    },
    /// It is to be planned and pinned.
    New,
    /// It is left alone until its next start: it has no policy, or somebody took its entry away.
    Left,
}

impl Known {
    /// A guest that is seen for the first time; `None` where it is gone already.
    pub(super) fn new(root: &Root, guest: &LiveGuest, now: Duration) -> Option<Self> {
        let process = process::process(root, guest.pid).ok().flatten()?;
        Some(Self {
            name: guest.name.clone(),
            vmid: guest.vmid,
            process,
            // A plain QEMU has no config and so no policy: who pins it says so himself.
            standing: match guest.vmid {
                Some(_) => Standing::New,
                None => Standing::Left,
            },
            kept: false,
            vcpus: BTreeSet::new(),
            asking: Asking::default(),
            answer: None,
            tries: Tries::default(),
            repairs: Tries::default(),
            unset: false,
            since: now,
            unread: 0,
            would: None,
        })
    }

    /// Takes note of what it is now, and of what the ledger says about it.
    pub(super) fn see(&mut self, guest: &LiveGuest, entry: Option<&Entry>) {
        let vcpus = guest.threads.iter().filter(|thread| thread.runs_vcpus());
        let vcpus: BTreeSet<Tid> = sorted::set(vcpus.map(|thread| thread.tid));
        if vcpus != self.vcpus {
            self.answer = None;
            self.asking.hope();
            self.vcpus = vcpus;
        }
        let entry = entry.filter(|entry| entry.state != EntryState::Pending);
        let kept = entry.is_some_and(|entry| entry.state == EntryState::Applied);
        if let Some(entry) = entry.filter(|_| kept && !self.kept) {
            // Somebody else asked QMP when he pinned it, or the watch before.
            let set = entry.found.iter();
            let set = set.filter(|target| matches!(target.kind, ThreadKind::Vcpu { .. }));
            self.asking
                .known(sorted::set(set.map(|target| target.thread.tid)));
        }
        if entry.is_some() {
            self.standing = Standing::Left;
            self.would = None;
        }
        self.kept = kept;
    }

    /// Whether its process has ended; a number that is used again is another process.
    pub(super) fn is_gone(&self, root: &Root) -> bool {
        let pid = self.process.pid;
        let started = process::task_start(root, pid, Tid(pid.0));
        // What can't be read is not taken for gone: the next look at everything tells.
        started.is_ok_and(|started| started != Some(self.process.start_time))
    }

    /// Whether it is to be placed now.
    ///
    /// QEMU writes its pid file before it has memory, and only then makes the threads of the vCPUs and answers: where they are
    /// named there is no point in asking before they are there.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        let begun = !self.vcpus.is_empty() || now >= self.since + NAMELESS;
        begun && self.is_new(now)
    }

    /// Whether it is to be placed as soon as it can be.
    fn is_new(&self, now: Duration) -> bool {
        let told = self.answer.is_some() || self.asking.may(now);
        self.standing == Standing::New && told && self.tries.may(now)
    }

    /// Its config could not be read. /etc/pve is away for seconds now and then; what is broken for good is looked at less
    /// often.
    pub(super) fn is_unread(&mut self, now: Duration) {
        self.unread += 1;
        if self.unread > PATIENCE {
            self.tries.failed(now);
        }
    }

    /// Whether something is to be done about it that was put off.
    pub(super) fn waits(&self, now: Duration) -> bool {
        self.is_new(now) || self.may_be_asked(now) || (self.unset && self.repairs.may(now))
    }

    /// Whether QMP is to be asked about a guest that is kept.
    pub(super) fn may_be_asked(&self, now: Duration) -> bool {
        self.kept
            && self.vmid.is_some()
            && self.asking.is_wanted(&self.vcpus)
            && self.asking.may(now)
    }
}
