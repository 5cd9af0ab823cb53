//! Threads of a guest as values: what they are, which mask they had, and which one they are to have.
//!
//! They are found in [`process`](crate::process), set in [`apply`](crate::apply), kept in the ledger of
//! [`claims`](crate::claims), and thought about in [`reconcile`](crate::reconcile), which touches no thread itself.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{Pid, Tid, VcpuId};
use crate::idset::CpuSet;

/// A process, bound to its start: a number that was used again is another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Process {
    /// Its number.
    pub pid: Pid,
    /// When it started, in clock ticks since the host's boot (field 22 of `stat`).
    pub start_time: u64,
}

/// A thread, and the process whose `task` directory holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Thread {
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: Tid,
}

/// What a thread of a guest is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ThreadKind {
    /// Runs a vCPU.
    Vcpu {
        /// Which one.
        vcpu: VcpuId,
    },
    /// Runs several vCPUs in turn (TCG with `thread=single`).
    AllVcpus,
    /// An iothread.
    Iothread {
        /// Its name in QEMU.
        iothread: String,
    },
    /// A vhost worker: of QEMU, or of the kernel.
    Vhost,
    /// QEMU's own: the main loop and everything else.
    Emulator {
        /// Its name.
        name: String,
    },
}

/// A mask that a thread is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// What the thread is.
    pub kind: ThreadKind,
    /// Which one.
    pub thread: Thread,
    /// The mask.
    pub cpus: CpuSet,
}

/// A thread with the mask it had and the one it is to have. What a ledger keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Target {
    /// What the thread is.
    #[serde(flatten)]
    pub kind: ThreadKind,
    /// Which one.
    pub thread: Thread,
    /// When it started, in clock ticks since the host's boot: a number used again is another thread.
    pub start_time: u64,
    /// Its mask before, as `status` had it.
    pub found: CpuSet,
    /// Whether `found` is what a thread has that nobody pinned: then not this list is put back but all CPUs, because a kernel
    /// from 6.2 on takes a list that is set for what the thread wants for ever.
    pub unpinned: bool,
    /// The mask it is to have.
    pub wanted: CpuSet,
}

impl fmt::Display for ThreadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vcpu { vcpu } => write!(f, "vcpu {vcpu}"),
            Self::AllVcpus => f.write_str("all vcpus"),
            // QEMU's user chose the name: it goes to a terminal.
            Self::Iothread { iothread } => write!(f, "iothread {}", iothread.escape_debug()),
            Self::Vhost => f.write_str("vhost worker"),
            Self::Emulator { name } => write!(f, "emulator thread {name:?}"),
        }
    }
}
