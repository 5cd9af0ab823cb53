//! Why masks could not be set.

use std::io;

use crate::id::{Pid, Tid, VcpuId};
use crate::idset::{CpuSet, VcpuSet};
use crate::process::{ProcessError, ThreadKind};
use crate::report::Report;
use crate::root::reason;

/// Why a mask could not be set or read.
#[derive(Debug, thiserror::Error)]
pub enum AffinityError {
    /// The thread has ended (ESRCH).
    #[error("the thread has ended")]
    Gone,
    /// This user may not (EPERM).
    #[error("permission denied; run as root, or with CAP_SYS_NICE")]
    Denied,
    /// Nothing of the mask is online and allowed by the cpuset (EINVAL).
    #[error("none of these cpus is online and allowed by the cpuset of the thread's cgroup")]
    NothingUsable,
    /// Anything else.
    #[error("{}", reason(.0))]
    System(#[from] io::Error),
}

impl AffinityError {
    /// What the number of a failed system call says.
    pub(super) fn of(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ESRCH) => Self::Gone,
            Some(libc::EPERM) => Self::Denied,
            Some(libc::EINVAL) => Self::NothingUsable,
            _ => Self::System(error),
        }
    }
}

/// Why a plan was not applied. Nothing is changed then: either nothing was set, or it was put back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// Something of /proc could not be read, before anything was set.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// vCPUs that share one thread can't be pinned one by one.
    #[error(
        "vcpus {vcpus} share thread {tid}, so that none can be pinned alone (TCG with thread=single runs all vcpus in turn); \
         nothing was set; start QEMU with KVM or with -accel tcg,thread=multi"
    )]
    SharedThread {
        /// The thread.
        tid: Tid,
        /// The vCPUs.
        vcpus: VcpuSet,
    },
    /// One thread is named as running all vCPUs.
    #[error(
        "thread {tid} runs all vcpus (it is named \"ALL CPUs\", as TCG with thread=single does it), so that none can be \
         pinned alone; nothing was set; start QEMU with KVM or with -accel tcg,thread=multi"
    )]
    NamedShared {
        /// The thread.
        tid: Tid,
    },
    /// QMP is busy, and the names of the tasks do not tell the vCPUs.
    #[error(
        "no thread of process {pid} is named like a vcpu (\"CPU 0/KVM\"), and qmp is busy; nothing was set; try again, give a \
         longer --deadline, or start QEMU with -name NAME,debug-threads=on"
    )]
    NoNames {
        /// The process.
        pid: Pid,
    },
    /// Two kinds of work in one thread: QMP contradicts itself.
    #[error(
        "thread {tid} is said to be both {first} and {second}; nothing was set; is something else than QEMU answering on the socket?"
    )]
    TwoKinds {
        /// The thread.
        tid: Tid,
        /// What it is first.
        first: ThreadKind,
        /// What it is again.
        second: ThreadKind,
    },
    /// A thread of another process.
    #[error(
        "thread {tid}, said to be {kind}, is no thread of process {pid}; nothing was set; is something else than the guest's \
         QEMU answering on the socket?"
    )]
    ForeignThread {
        /// The thread.
        tid: Tid,
        /// What it is said to be.
        kind: ThreadKind,
        /// The process it should belong to.
        pid: Pid,
    },
    /// The process at the other end of the socket is not the guest's.
    #[error(
        "the qmp socket is served by process {peer}, but the guest's pid file names process {pid}; nothing was set"
    )]
    ForeignPeer {
        /// Who serves the socket.
        peer: Pid,
        /// Whom the pid file names.
        pid: Pid,
    },
    /// Whose threads they are can't be told.
    #[error("{0}; nothing was set")]
    NoOwner(&'static str),
    /// The guest is not running.
    #[error("no process of the guest was found ({looked}); nothing was set; is the guest running?")]
    NotRunning {
        /// Where it was looked for.
        looked: String,
    },
    /// QEMU has a vCPU that the plan does not know.
    #[error(
        "vcpu {vcpu} of the running guest is not in the plan, which has vcpus {planned}; nothing was set; does `args: -smp` \
         differ from the config?"
    )]
    NotPlanned {
        /// The vCPU.
        vcpu: VcpuId,
        /// Those of the plan.
        planned: VcpuSet,
    },
    /// A mask could not be set, and everything was put back.
    #[error("{kind} (thread {tid}): cpu(s) {wanted} could not be set: {reason}; {undone}")]
    NotSet {
        /// What the thread is.
        kind: ThreadKind,
        /// Which one.
        tid: Tid,
        /// The mask.
        wanted: CpuSet,
        /// Why.
        reason: String,
        /// What became of the masks that had been set.
        undone: Undone,
        /// Every thread, with what became of it.
        report: Box<Report>,
    },
    /// Masks could not be put back; those of the other threads were.
    #[error("not every mask could be put back{}", told_left(left))]
    NotPutBack {
        /// Which: the thread, its mask before, and why.
        left: Vec<(Tid, CpuSet, String)>,
        /// Every thread, with what became of it.
        report: Box<Report>,
    },
}

impl ApplyError {
    /// The kind in JSON.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Process(_) => "process",
            Self::SharedThread { .. } | Self::NamedShared { .. } => "shared_thread",
            Self::NoNames { .. } => "no_names",
            Self::TwoKinds { .. } => "two_kinds",
            Self::ForeignThread { .. } => "foreign_thread",
            Self::ForeignPeer { .. } => "foreign_peer",
            Self::NoOwner(_) => "no_owner",
            Self::NotRunning { .. } => "not_running",
            Self::NotPlanned { .. } => "not_planned",
            Self::NotSet { .. } => "not_set",
            Self::NotPutBack { .. } => "not_put_back",
        }
    }

    /// What was done before it failed, where anything was tried.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::NotSet { report, .. } | Self::NotPutBack { report, .. } => Some(report),
            _ => None,
        }
    }
}

/// What became of masks that had been set before a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    /// How many were put back.
    pub put_back: usize,
    /// Those that could not be put back: the thread, its mask before, and why.
    pub left: Vec<(Tid, CpuSet, String)>,
}

impl std::fmt::Display for Undone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.put_back, self.left.len()) {
            (0, 0) => f.write_str("nothing had been set before")?,
            (1, 0) => f.write_str("the mask set before it was put back")?,
            (n, 0) => write!(f, "the {n} masks set before it were put back")?,
            (n, left) => write!(f, "{n} of {} masks set before it were put back", n + left)?,
        }
        f.write_str(&told_left(&self.left))
    }
}

fn told_left(left: &[(Tid, CpuSet, String)]) -> String {
    let told = left.iter().map(|(tid, found, reason)| {
        format!("; thread {tid} could not be put back to cpu(s) {found}: {reason}")
    });
    told.collect()
}
