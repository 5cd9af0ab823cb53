//! What a command knows of the threads that it looked at or set itself, without looking again.

use std::collections::BTreeMap;

use super::{Live, LiveGuest, LiveThread, LiveWarning};
use crate::id::{Pid, Tid};
use crate::process::{Look, ProcessError, Task};
use crate::report::Report;
use crate::thread::{Target, Thread, ThreadKind};

impl Live {
    /// Takes note of the threads of a process that was looked at apart: its tasks, as far as they were looked at, and those whose
    /// masks are about to be set, of which QMP told what they are. One that is no guest stays none.
    pub fn see(&mut self, pid: Pid, tasks: &[Task], targets: &[Target]) {
        let Some(guest) = self.guests.iter_mut().find(|guest| guest.pid == pid) else {
            return;
        };
        let untold = guest.threads.is_empty();
        let mut threads: BTreeMap<Tid, LiveThread> = BTreeMap::new();
        for task in tasks.iter().filter(|task| task.pid == pid) {
            let thread = LiveThread {
                tid: task.tid,
                comm: task.comm.clone(),
                told: None,
                mask: task.mask.clone(),
            };
            threads.insert(task.tid, thread);
        }
        for target in targets.iter().filter(|target| target.thread.pid == pid) {
            let tid = target.thread.tid;
            let thread = threads.entry(tid).or_insert_with(|| LiveThread {
                tid,
                comm: String::new(),
                told: None,
                mask: target.found.clone(),
            });
            if let ThreadKind::Vcpu { vcpu } = target.kind {
                thread.told = Some(vcpu);
            }
        }
        guest.threads = threads.into_values().collect();
        if untold && guest.is_nameless() {
            self.warnings.push(LiveWarning::nameless(guest));
        }
        self.guests.retain(|guest| !guest.threads.is_empty());
    }

    /// Takes note of masks that were set.
    ///
    /// # Errors
    /// Where the system call hides CPUs that are offline the masks are read, and one can't be.
    pub fn take(&mut self, look: Look<'_>, report: &Report) -> Result<(), ProcessError> {
        let guest = self.guests.iter_mut().find(|guest| guest.pid == report.pid);
        let Some(LiveGuest { pid, threads, .. }) = guest else {
            return Ok(());
        };
        for set in &report.threads {
            let (Some(actual), Ok(at)) = (
                &set.actual,
                threads.binary_search_by_key(&set.tid, |thread| thread.tid),
            ) else {
                continue;
            };
            let thread = Thread {
                pid: *pid,
                tid: set.tid,
            };
            threads[at].mask = match look.asks() {
                true => actual.clone(),
                false => look.mask(thread)?.unwrap_or_else(|| actual.clone()),
            };
        }
        Ok(())
    }
}

impl LiveGuest {
    /// Whether none of its threads is named like a vCPU.
    pub(super) fn is_nameless(&self) -> bool {
        !self.threads.is_empty() && !self.threads.iter().any(LiveThread::runs_vcpus)
    }
}

impl LiveWarning {
    pub(super) fn nameless(guest: &LiveGuest) -> Self {
        Self::Nameless {
            pid: guest.pid,
            guest: guest.name.clone(),
        }
    }
}
