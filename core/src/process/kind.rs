//! What each thread of a QEMU process is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Task;
use crate::id::{Tid, VcpuId};
use crate::qmp::{Iothread, Vcpu};

/// What a thread of a guest is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// The vCPUs that the names of the tasks tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// Ascending by index; the first thread where two have the same name.
    pub vcpus: Vec<Vcpu>,
    /// A thread that runs all vCPUs.
    pub shared: Option<Tid>,
}

/// Says what each thread is. QMP's word goes before the name; a thread that is named like a vCPU and that QMP did not list
/// (it was plugged meanwhile, or is leaving) counts as that vCPU, so that it is not taken for one of QEMU's own.
#[must_use]
pub fn classify(
    tasks: &[Task],
    vcpus: &[Vcpu],
    iothreads: &[Iothread],
) -> BTreeMap<Tid, ThreadKind> {
    let mut by_tid: BTreeMap<Tid, ThreadKind> = BTreeMap::new();
    for iothread in iothreads {
        by_tid.insert(
            iothread.tid,
            ThreadKind::Iothread {
                iothread: iothread.id.clone(),
            },
        );
    }
    for vcpu in vcpus {
        by_tid.insert(vcpu.tid, ThreadKind::Vcpu { vcpu: vcpu.index });
    }
    let kind = |task: &Task| {
        by_tid
            .get(&task.tid)
            .cloned()
            .unwrap_or_else(|| by_name(task))
    };
    tasks.iter().map(|task| (task.tid, kind(task))).collect()
}

/// The vCPUs by the names of the tasks (`CPU n/KVM`, `CPU n/TCG`): known where QEMU was started with `debug-threads=on`, as
/// Proxmox VE does. For when QMP is busy.
#[must_use]
pub fn named_vcpus(tasks: &[Task]) -> Named {
    let mut named = Named::default();
    let mut seen = BTreeSet::new();
    for task in tasks {
        match by_name(task) {
            ThreadKind::Vcpu { vcpu } if seen.insert(vcpu) => named.vcpus.push(Vcpu {
                index: vcpu,
                tid: task.tid,
                node: None,
                socket: None,
                die: None,
                core: None,
                thread: None,
            }),
            ThreadKind::AllVcpus => named.shared = Some(task.tid),
            _ => {}
        }
    }
    named.vcpus.sort_by_key(|vcpu| vcpu.index);
    named
}

fn by_name(task: &Task) -> ThreadKind {
    let comm = &*task.comm;
    if comm.starts_with("ALL CPUs/") {
        return ThreadKind::AllVcpus;
    }
    let vcpu = comm
        .strip_prefix("CPU ")
        .and_then(|rest| rest.split_once('/'))
        .and_then(|(number, _)| number.parse().ok());
    if let Some(vcpu) = vcpu {
        return ThreadKind::Vcpu { vcpu: VcpuId(vcpu) };
    }
    if comm == format!("vhost-{}", task.pid) {
        return ThreadKind::Vhost;
    }
    ThreadKind::Emulator {
        name: comm.to_owned(),
    }
}

impl fmt::Display for ThreadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vcpu { vcpu } => write!(f, "vcpu {vcpu}"),
            Self::AllVcpus => f.write_str("all vcpus"),
            Self::Iothread { iothread } => write!(f, "iothread {iothread}"),
            Self::Vhost => f.write_str("vhost worker"),
            Self::Emulator { name } => write!(f, "emulator thread {name:?}"),
        }
    }
}
