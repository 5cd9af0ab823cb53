//! What a command knows of the threads that it looked at or set itself, without looking again.

use super::{Live, LiveGuest, LiveThread, LiveWarning};
use crate::id::Pid;
use crate::process::{Look, ProcessError, Task};
use crate::report::Report;
use crate::thread::Thread;

impl Live {
    /// Takes note of the threads of a process that was looked at apart. One that is no guest stays none.
    pub fn see(&mut self, pid: Pid, tasks: &[Task]) {
        let Some(guest) = self.guests.iter_mut().find(|guest| guest.pid == pid) else {
            return;
        };
        let untold = guest.threads.is_empty();
        let thread = |task: &Task| LiveThread {
            tid: task.tid,
            comm: task.comm.clone(),
            mask: task.mask.clone(),
        };
        guest.threads = tasks.iter().map(thread).collect();
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
