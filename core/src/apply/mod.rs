//! Applying a plan: one transaction over the threads of one process.
//!
//! ```text
//! Plan ────────────┐
//! QMP's answer ────┼─► GuestThreads, wishes ──► Transaction::prepare ──► masks found (to be kept) ──► run ──► Report
//! tasks of /proc ──┘                                                                                   │
//!                                                         Affinity: linux (live) or captured ◄─────────┘
//! ```
//! Nothing is set before every thread is known to belong to the process and its mask is recorded. Whatever fails after that,
//! all masks are put back.

pub mod captured;
mod error;
pub mod linux;
mod step;
#[cfg(test)]
mod testing;
mod threads;
pub mod transaction;
mod wishes;

use crate::idset::CpuSet;
use crate::root::{Root, Stamp};

pub use crate::thread::{Target, Thread, Wish};
pub use captured::Captured;
pub use error::{AffinityError, ApplyError, Undone};
pub use linux::Linux;
pub use threads::GuestThreads;
pub use transaction::{Scene, Seen, Transaction};
pub use wishes::{Found, Wishes, wishes};

/// Affinity of threads: the kernel's, or that of the simulated kernel of a captured root.
pub trait Affinity {
    /// Sets the mask of a thread, as `sched_setaffinity(2)` does: what can't be used is left out in silence, and only a mask
    /// of which nothing can be used is an error.
    ///
    /// # Errors
    /// The thread is gone, this user may not, or nothing of the mask can be used.
    fn set(&self, thread: Thread, cpus: &CpuSet) -> Result<(), AffinityError>;

    /// The CPUs a thread may run on now, as `sched_getaffinity(2)` tells them: without those that are offline.
    ///
    /// # Errors
    /// The thread is gone, or the system refuses.
    fn get(&self, thread: Thread) -> Result<CpuSet, AffinityError>;

    /// Whether a process has this thread now: asked right before each set.
    fn is_there(&self, thread: Thread) -> bool;

    /// Something that differs where the mask of a thread does, and costs less than reading its `status`; `None` where nothing
    /// can be told.
    fn sign(&self, thread: Thread) -> Option<Sign> {
        self.get(thread).ok().map(Sign::Affinity)
    }
}

/// What is the same as long as the mask of a thread is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// What the system call answers.
    Affinity(CpuSet),
    /// When the file was written that holds the mask.
    File(Stamp),
}

/// The affinity of the machine that a root stands for: a captured one never leads to a system call.
#[must_use]
pub fn affinity(root: &Root) -> Box<dyn Affinity> {
    match root {
        Root::Live(live) => Box::new(Linux::new(live)),
        Root::Captured(captured) => Box::new(Captured::new(captured)),
    }
}
