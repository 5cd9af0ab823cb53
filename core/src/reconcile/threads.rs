//! What each thread is, and how its mask agrees with what is wanted.

use std::collections::BTreeMap;

use super::masks::{Masks, Wanted};
use super::{Action, Around, Note, Now, Outcome, ThreadNow, ThreadState, Why};
use crate::claims::ledger::Entry;
use crate::claims::live::{LiveGuest, LiveThread};
use crate::id::{Pid, Tid, VcpuId};
use crate::idset::{CpuSet, VcpuSet};
use crate::placement::ThreadMasks;
use crate::policy::Mode;
use crate::report::Narrowed;
use crate::sorted;
use crate::thread::ThreadKind;
use crate::thread::{Target, Thread, Wish};

/// A thread of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen<'a> {
    pub(super) kind: ThreadKind,
    pub(super) thread: Thread,
    pub(super) mask: &'a CpuSet,
}

/// Says what each thread is: vCPUs first, then iothreads, vhost workers and QEMU's own.
///
/// The name goes first, as it is the thread's own; where names tell nothing, what QMP said when the thread was set.
pub(super) fn classify<'a>(now: Now<'a>, live: &'a LiveGuest) -> Vec<Seen<'a>> {
    let recorded: BTreeMap<Tid, &ThreadKind> = sorted::map(
        now.entry
            .found
            .iter()
            .map(|target| (target.thread.tid, &target.kind)),
    );
    let named = live.threads.iter().any(LiveThread::runs_vcpus);
    let worker = format!("vhost-{}", live.pid);
    let kind = |thread: &LiveThread| {
        if let Some(vcpu) = thread.vcpu() {
            return ThreadKind::Vcpu { vcpu };
        }
        if thread.runs_vcpus() {
            return ThreadKind::AllVcpus;
        }
        if thread.comm == worker {
            return ThreadKind::Vhost;
        }
        match recorded.get(&thread.tid) {
            Some(ThreadKind::Vcpu { vcpu }) if !named => ThreadKind::Vcpu { vcpu: *vcpu },
            Some(kind @ ThreadKind::Iothread { .. }) => (*kind).clone(),
            _ if now.entry.iothreads.contains_key(&thread.tid) => ThreadKind::Iothread {
                iothread: now.entry.iothreads[&thread.tid].clone(),
            },
            // Plugged since then: QEMU names it after its object, "iothread-..." with Proxmox VE.
            None if thread.comm.starts_with("IO iothread") => ThreadKind::Iothread {
                iothread: thread.comm["IO ".len()..].to_owned(),
            },
            _ => ThreadKind::Emulator {
                name: thread.comm.clone(),
            },
        }
    };
    let own = live.threads.iter().map(|thread| Seen {
        kind: kind(thread),
        thread: Thread {
            pid: live.pid,
            tid: thread.tid,
        },
        mask: &thread.mask,
    });
    let workers = now.vhost.iter().map(|thread| Seen {
        kind: ThreadKind::Vhost,
        thread: Thread {
            pid: Pid(thread.tid.0),
            tid: thread.tid,
        },
        mask: &thread.mask,
    });
    let mut seen: Vec<Seen<'a>> = own.chain(workers).collect();
    sorted::sort_by_key(&mut seen, |seen| (order(&seen.kind), seen.thread.tid));
    seen
}

/// The threads of a guest that is left alone.
pub(super) fn held(entry: &Entry, found: &[Seen<'_>]) -> Vec<ThreadNow> {
    let mut threads: Vec<ThreadNow> = found
        .iter()
        .map(|seen| ThreadNow {
            planned: planned(entry, &seen.kind),
            state: ThreadState::Held,
            ..unwanted(seen)
        })
        .collect();
    add_unplugged(entry, found, &mut threads);
    threads
}

/// Compares each thread with what is wanted.
pub(super) fn compare(
    around: Around<'_>,
    now: Now<'_>,
    found: &[Seen<'_>],
    masks: &Masks,
    outcome: &mut Outcome,
) {
    let online = around.host.online();
    let allowed = now.allowed.cloned().unwrap_or_else(|| online.clone());
    let there = There { online, allowed };
    let entry = now.entry;
    let last: BTreeMap<Thread, &Target> =
        sorted::map(entry.found.iter().map(|target| (target.thread, target)));
    let mut strangers = VcpuSet::new();
    for seen in found {
        let planned = planned(entry, &seen.kind);
        match &seen.kind {
            ThreadKind::Vcpu { vcpu } if planned.is_none() && entry.plan.mode != Mode::None => {
                strangers.insert(*vcpu);
            }
            ThreadKind::AllVcpus if entry.plan.mode != Mode::None => {
                outcome.notes.push(Note::AllVcpus);
            }
            _ => {}
        }
        let mut thread = ThreadNow {
            planned,
            ..unwanted(seen)
        };
        let wanted = wanted(masks, &seen.kind);
        if let Some(wanted) = wanted {
            there.judge(&mut thread, &wanted, seen.mask, &mut outcome.notes);
            if thread.state == ThreadState::Drifted && thread.wanted.is_some() {
                let last = last.get(&seen.thread).copied();
                outcome.actions.push(Action {
                    why: there.why(entry, last, seen, &wanted),
                    wish: Wish {
                        kind: seen.kind.clone(),
                        thread: seen.thread,
                        cpus: wanted.cpus,
                    },
                });
            }
        } else if let Some(planned) = &thread.planned {
            // It can't have what was planned, and nothing stands in (yet).
            thread.state = match around.settled {
                true => there.without(seen.mask, planned),
                false => ThreadState::Narrowed,
            };
            thread.narrowed = there.lost(planned);
        }
        outcome.threads.push(thread);
    }
    if !strangers.is_empty() {
        outcome.notes.push(Note::NotPlanned { vcpus: strangers });
    }
    add_unplugged(entry, found, &mut outcome.threads);
}

struct There {
    online: CpuSet,
    allowed: CpuSet,
}

impl There {
    /// Whether a mask is what the kernel makes of another one: it hides what is offline and leaves out what the cpuset does.
    fn same(&self, actual: &CpuSet, asked: &CpuSet) -> bool {
        actual.intersection(&self.online) == self.left(asked)
    }

    fn left(&self, mask: &CpuSet) -> CpuSet {
        mask.intersection(&self.online).intersection(&self.allowed)
    }

    fn lost(&self, mask: &CpuSet) -> Option<Narrowed> {
        let offline = mask.difference(&self.online);
        let cpuset = mask.intersection(&self.online).difference(&self.allowed);
        let lost = !offline.is_empty() || !cpuset.is_empty();
        lost.then_some(Narrowed { offline, cpuset })
    }

    /// The state of a thread to which nothing of its mask is left: a sleeping one keeps what is offline, any other has been
    /// sent elsewhere.
    fn without(&self, actual: &CpuSet, mask: &CpuSet) -> ThreadState {
        match actual.intersection(&self.online).is_subset(mask) {
            true => ThreadState::Narrowed,
            false => ThreadState::Drifted,
        }
    }

    fn judge(
        &self,
        thread: &mut ThreadNow,
        wanted: &Wanted,
        actual: &CpuSet,
        notes: &mut Vec<Note>,
    ) {
        let mask = &wanted.cpus;
        thread.wanted = Some(mask.clone());
        thread.narrowed = match (&thread.planned, wanted.stand_in) {
            (Some(planned), true) => self.lost(planned),
            _ => self.lost(mask),
        };
        thread.state = if self.left(mask).is_empty() {
            // No kernel would set it.
            thread.wanted = None;
            notes.push(Note::NothingLeft {
                what: thread.kind.to_string(),
                planned: mask.clone(),
            });
            self.without(actual, mask)
        } else if !self.same(actual, mask) {
            ThreadState::Drifted
        } else if thread.narrowed.is_some() {
            ThreadState::Narrowed
        } else {
            ThreadState::Right
        };
    }

    /// Why a mask is to be set: what was asked for last time tells whether the thread or the wish has changed.
    fn why(&self, entry: &Entry, last: Option<&Target>, seen: &Seen<'_>, wanted: &Wanted) -> Why {
        let Some(last) = last else {
            return Why::New;
        };
        let asked_before = last.wanted == wanted.cpus;
        if wanted.stand_in {
            return if asked_before {
                Why::Drifted
            } else {
                Why::StandIn
            };
        }
        let has = seen.mask.intersection(&self.online);
        let one = matches!(seen.kind, ThreadKind::Vcpu { .. }) && entry.plan.mode == Mode::OneToOne;
        if asked_before {
            // What is a part of the mask is what the kernel left of it; the rest has come back since.
            let narrowed = !has.is_empty() && has.is_subset(&self.left(&wanted.cpus));
            if narrowed { Why::Back } else { Why::Drifted }
        } else if !self.same(seen.mask, &last.wanted) && !self.left(&last.wanted).is_empty() {
            Why::Drifted
        } else if one {
            Why::Back
        } else {
            Why::Claims
        }
    }
}

fn wanted(masks: &Masks, kind: &ThreadKind) -> Option<Wanted> {
    if let ThreadKind::Vcpu { vcpu } = kind {
        return masks.vcpus.get(vcpu).cloned();
    }
    other(&masks.threads, kind).map(|cpus| Wanted {
        cpus: cpus.clone(),
        stand_in: false,
    })
}

fn planned(entry: &Entry, kind: &ThreadKind) -> Option<CpuSet> {
    if let ThreadKind::Vcpu { vcpu } = kind {
        return Some(entry.plan.vcpu(*vcpu)?.placed.cpus.clone());
    }
    other(&entry.plan.threads, kind).cloned()
}

fn other<'a>(masks: &'a ThreadMasks, kind: &ThreadKind) -> Option<&'a CpuSet> {
    match kind {
        ThreadKind::Iothread { .. } => masks.iothreads.as_ref(),
        ThreadKind::Vhost => masks.vhost.as_ref(),
        ThreadKind::Emulator { .. } => masks.emulator.as_ref(),
        ThreadKind::Vcpu { .. } | ThreadKind::AllVcpus => None,
    }
}

fn unwanted(seen: &Seen<'_>) -> ThreadNow {
    ThreadNow {
        kind: seen.kind.clone(),
        thread: Some(seen.thread),
        planned: None,
        wanted: None,
        actual: Some(seen.mask.clone()),
        state: ThreadState::Kept,
        narrowed: None,
    }
}

/// Adds the vCPUs of the plan that have no thread.
fn add_unplugged(entry: &Entry, found: &[Seen<'_>], threads: &mut Vec<ThreadNow>) {
    let has = |vcpu: VcpuId| {
        found
            .iter()
            .any(|seen| seen.kind == ThreadKind::Vcpu { vcpu })
    };
    let kept = entry.plan.vcpus.iter().map(|kept| &kept.placed);
    for placed in kept.filter(|placed| !has(placed.vcpu)) {
        threads.push(ThreadNow {
            kind: ThreadKind::Vcpu { vcpu: placed.vcpu },
            thread: None,
            planned: Some(placed.cpus.clone()),
            wanted: None,
            actual: None,
            state: ThreadState::NotPlugged,
            narrowed: None,
        });
    }
    sorted::sort_by_key(threads, |thread| {
        (order(&thread.kind), thread.thread.map(|thread| thread.tid))
    });
}

/// vCPUs ascending, then iothreads, vhost workers and QEMU's own threads.
fn order(kind: &ThreadKind) -> (u32, VcpuId) {
    match kind {
        ThreadKind::Vcpu { vcpu } => (0, *vcpu),
        ThreadKind::AllVcpus => (1, VcpuId(0)),
        ThreadKind::Iothread { .. } => (2, VcpuId(0)),
        ThreadKind::Vhost => (3, VcpuId(0)),
        ThreadKind::Emulator { .. } => (4, VcpuId(0)),
    }
}
