//! What a plan wants of which thread.

use std::collections::BTreeMap;

use super::{ApplyError, Thread, Wish};
use crate::id::{Tid, VcpuId};
use crate::idset::{CpuSet, VcpuSet};
use crate::placement::{PlacedVcpu, ThreadMasks};
use crate::process::{Process, Task, ThreadKind, classify};
use crate::qmp::{Iothread, Vcpu};
use crate::report::ReportNote;
use crate::sorted;

/// All wishes of a plan, with what is to be said about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wishes {
    /// vCPUs ascending, then iothreads, vhost workers and QEMU's own threads, each ascending by thread.
    pub list: Vec<Wish>,
    /// What is to be said.
    pub notes: Vec<ReportNote>,
}

/// The threads of a guest as QMP and /proc tell them.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// Whose they are.
    pub process: Process,
    /// The vCPUs that are plugged.
    pub vcpus: &'a [Vcpu],
    /// The iothreads; `None` where QMP was not asked.
    pub iothreads: Option<&'a [Iothread]>,
    /// The tasks of the process; may be empty where neither QEMU's own threads nor vhost workers are to be set.
    pub tasks: &'a [Task],
    /// Its vhost workers that are kernel threads.
    pub vhost_kernel_threads: &'a [Task],
}

/// What a plan (its vCPUs and the masks of the other threads) wants of the threads of a guest. Pure.
///
/// `iothreads` is `None` where QMP was not asked: then iothreads can't be told from QEMU's own threads, and both are left as
/// they are.
///
/// # Errors
/// vCPUs share a thread, or QEMU has a vCPU that the plan does not have.
pub fn wishes(
    placed: &[PlacedVcpu],
    masks: &ThreadMasks,
    found: &Found<'_>,
) -> Result<Wishes, ApplyError> {
    let Found {
        process,
        vcpus,
        iothreads,
        tasks,
        vhost_kernel_threads,
    } = *found;
    must_be_apart(vcpus, iothreads.unwrap_or_default())?;
    let mut list = vcpu_wishes(placed, process, vcpus)?;
    let mut notes = Vec::new();
    let plugged: VcpuSet = vcpus.iter().map(|vcpu| vcpu.index).collect();
    let planned: VcpuSet = placed.iter().map(|placed| placed.vcpu).collect();
    let unplugged = planned.difference(&plugged);
    if !unplugged.is_empty() {
        notes.push(ReportNote::NotPlugged { vcpus: unplugged });
    }
    if iothreads.is_none() && (masks.emulator.is_some() || masks.iothreads.is_some()) {
        notes.push(ReportNote::IothreadsUnknown);
    }
    let mut others = Vec::new();
    // Iothreads are those of QMP, whether they are tasks of the process or not: one that is not must be found out.
    if let Some(cpus) = &masks.iothreads {
        others.extend(iothreads.unwrap_or_default().iter().map(|iothread| Wish {
            kind: ThreadKind::Iothread {
                iothread: iothread.id.clone(),
            },
            thread: Thread {
                pid: process.pid,
                tid: iothread.tid,
            },
            cpus: cpus.clone(),
        }));
    }
    let kinds = classify(tasks, vcpus, iothreads.unwrap_or_default());
    for task in tasks.iter().chain(vhost_kernel_threads) {
        let kind = match kinds.get(&task.tid) {
            Some(kind) if task.pid == process.pid => kind.clone(),
            _ => ThreadKind::Vhost,
        };
        let cpus = match kind {
            ThreadKind::Vhost => masks.vhost.as_ref(),
            ThreadKind::Emulator { .. } => masks.emulator.as_ref().filter(|_| iothreads.is_some()),
            ThreadKind::Vcpu { .. } | ThreadKind::AllVcpus | ThreadKind::Iothread { .. } => None,
        };
        let thread = Thread {
            pid: task.pid,
            tid: task.tid,
        };
        others.extend(cpus.map(|cpus| Wish {
            kind,
            thread,
            cpus: cpus.clone(),
        }));
    }
    // By kind (iothread, vhost worker, QEMU's own), then by thread.
    let rank = |kind: &ThreadKind| match kind {
        ThreadKind::Vcpu { .. } | ThreadKind::AllVcpus => 0,
        ThreadKind::Iothread { .. } => 1,
        ThreadKind::Vhost => 2,
        ThreadKind::Emulator { .. } => 3,
    };
    sorted::sort_by_key(&mut others, |wish| (rank(&wish.kind), wish.thread.tid));
    list.extend(others);
    Ok(Wishes { list, notes })
}

fn must_be_apart(vcpus: &[Vcpu], iothreads: &[Iothread]) -> Result<(), ApplyError> {
    let mut by_tid: BTreeMap<Tid, VcpuSet> = BTreeMap::new();
    for vcpu in vcpus {
        by_tid.entry(vcpu.tid).or_default().insert(vcpu.index);
    }
    if let Some((tid, vcpus)) = by_tid.iter().find(|(_, vcpus)| vcpus.len() > 1) {
        return Err(ApplyError::SharedThread {
            tid: *tid,
            vcpus: vcpus.clone(),
        });
    }
    let mut seen: BTreeMap<Tid, ThreadKind> = sorted::map(
        vcpus
            .iter()
            .map(|vcpu| (vcpu.tid, ThreadKind::Vcpu { vcpu: vcpu.index })),
    );
    for iothread in iothreads {
        let second = ThreadKind::Iothread {
            iothread: iothread.id.clone(),
        };
        if let Some(first) = seen.insert(iothread.tid, second.clone()) {
            return Err(ApplyError::TwoKinds {
                tid: iothread.tid,
                first,
                second,
            });
        }
    }
    Ok(())
}

fn vcpu_wishes(
    placed: &[PlacedVcpu],
    process: Process,
    vcpus: &[Vcpu],
) -> Result<Vec<Wish>, ApplyError> {
    // The mode none.
    if placed.is_empty() {
        return Ok(Vec::new());
    }
    let masks: BTreeMap<VcpuId, &CpuSet> =
        sorted::map(placed.iter().map(|placed| (placed.vcpu, &placed.cpus)));
    let mut ascending: Vec<&Vcpu> = vcpus.iter().collect();
    sorted::sort_by_key(&mut ascending, |vcpu| vcpu.index);
    ascending
        .into_iter()
        .map(|vcpu| match masks.get(&vcpu.index) {
            Some(cpus) => Ok(Wish {
                kind: ThreadKind::Vcpu { vcpu: vcpu.index },
                thread: Thread {
                    pid: process.pid,
                    tid: vcpu.tid,
                },
                cpus: (*cpus).clone(),
            }),
            None => Err(ApplyError::NotPlanned {
                vcpu: vcpu.index,
                planned: masks.keys().copied().collect(),
            }),
        })
        .collect()
}

#[cfg(test)]
mod tests;
