//! Threads of a guest as values: what they are, which mask they had, and which one they are to have.
//!
//! They are found in [`process`](crate::process), set in [`apply`](crate::apply), kept in the ledger of
//! [`claims`](crate::claims), and thought about in [`reconcile`](crate::reconcile), which touches no thread itself.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Target {
    /// What the thread is.
    #[serde(flatten)]
    pub kind: ThreadKind,
    /// Which one.
    pub thread: Thread,
    /// When it had started, in clock ticks since the host's boot: its start, or a later moment at which it was there. What has
    /// its number and started after that is another thread.
    #[serde(rename = "start_time")]
    pub started_by: u64,
    /// Its mask before, as `status` had it.
    pub found: CpuSet,
    /// Whether `found` is what a thread has that nobody pinned: then not this list is put back but all CPUs, because a kernel
    /// from 6.2 on takes a list that is set for what the thread wants for ever.
    pub unpinned: bool,
    /// The mask it is to have.
    pub wanted: CpuSet,
}

/// Read field by field: what `flatten` derives reads everything into values first, and a ledger has one of these a thread.
impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Flat {
            kind: Word,
            vcpu: Option<VcpuId>,
            iothread: Option<String>,
            name: Option<String>,
            thread: Thread,
            start_time: u64,
            found: CpuSet,
            unpinned: bool,
            wanted: CpuSet,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Word {
            Vcpu,
            AllVcpus,
            Iothread,
            Vhost,
            Emulator,
        }
        let flat = Flat::deserialize(deserializer)?;
        let missing = D::Error::missing_field;
        Ok(Self {
            kind: match flat.kind {
                Word::Vcpu => ThreadKind::Vcpu {
                    vcpu: flat.vcpu.ok_or_else(|| missing("vcpu"))?,
                },
                Word::AllVcpus => ThreadKind::AllVcpus,
                Word::Iothread => ThreadKind::Iothread {
                    iothread: flat.iothread.ok_or_else(|| missing("iothread"))?,
                },
                Word::Vhost => ThreadKind::Vhost,
                Word::Emulator => ThreadKind::Emulator {
                    name: flat.name.ok_or_else(|| missing("name"))?,
                },
            },
            thread: flat.thread,
            started_by: flat.start_time,
            found: flat.found,
            unpinned: flat.unpinned,
            wanted: flat.wanted,
        })
    }
}

impl Target {
    /// Whether what has the number of this thread now, and started then, is this thread.
    #[must_use]
    pub fn is_what_started(&self, start_time: u64) -> bool {
        start_time <= self.started_by
    }
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(r#""kind":"vcpu","vcpu":3"#, Ok("vcpu 3"))]
    #[case(r#""vcpu":3,"kind":"vcpu","later":{"x":[]}"#, Ok("vcpu 3"))]
    #[case(r#""kind":"all_vcpus""#, Ok("all vcpus"))]
    #[case(r#""kind":"iothread","iothread":"a""#, Ok("iothread a"))]
    #[case(r#""kind":"vhost""#, Ok("vhost worker"))]
    #[case(r#""kind":"emulator","name":"kvm""#, Ok("emulator thread \"kvm\""))]
    #[case(r#""kind":"vcpu""#, Err("missing field `vcpu`"))]
    #[case(r#""kind":"iothread","name":"a""#, Err("missing field `iothread`"))]
    #[case(r#""kind":"emulator","vcpu":1"#, Err("missing field `name`"))]
    #[case(r#""kind":"other""#, Err("unknown variant `other`"))]
    fn what_a_target_is_stands_beside_it(#[case] kind: &str, #[case] expected: Result<&str, &str>) {
        let rest = r#""thread":{"pid":1,"tid":2},"start_time":7,"found":"0-1","unpinned":true,"wanted":"0""#;
        let read = serde_json::from_str::<Target>(&format!("{{{kind},{rest}}}"));
        match (read, expected) {
            (Ok(target), Ok(kind)) => {
                assert_eq!((&*target.kind.to_string(), target.started_by), (kind, 7));
            }
            (Err(e), Err(reason)) => assert!(e.to_string().starts_with(reason), "{e}"),
            (read, expected) => panic!("{read:?}, not {expected:?}"),
        }
    }
}
