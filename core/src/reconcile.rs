//! What is, beside what is wanted: which masks are to be set, and what there is to tell. Pure and level-triggered: the same
//! state gives the same answer, however it came about, so nothing is lost where a signal was missed.
//!
//! ```text
//! ledger ── Entry ───┐
//! live ─── threads ──┼─► reconcile ─┬─► actions: this thread, this mask, for this reason (a transaction sets them)
//! claims of others ──┤              ├─► every thread with its state, for status
//! host, cpuset ──────┘              └─► notes
//! ```
//! Apply, the hook and watch all go through it once a guest has a plan. A guest keeps its host nodes: what goes offline is
//! made good inside them.

mod masks;
pub mod pace;
#[cfg(test)]
mod tests;
mod threads;
pub mod told;

use serde::Serialize;

use crate::claims::Claims;
use crate::claims::ledger::{Entry, EntryState};
use crate::claims::live::{LiveGuest, LiveThread};
use crate::host::Host;
use crate::id::{VcpuId, VnodeId};
use crate::idset::{CpuSet, VcpuSet};
use crate::report::Narrowed;
use crate::thread::ThreadKind;
use crate::thread::{Thread, Wish};

/// What all guests of a node have in common.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// The host as it is now.
    pub host: &'a Host,
    /// What everybody holds; each guest's own is left out here.
    pub claims: &'a Claims,
    /// Whether the set of online CPUs has been the same for long enough: before that, a vCPU that lost its CPU is left alone,
    /// as SMT is switched off CPU by CPU.
    pub settled: bool,
}

/// One guest as it is now.
#[derive(Debug, Clone, Copy)]
pub struct Now<'a> {
    /// What the ledger says.
    pub entry: &'a Entry,
    /// Its process; `None` where it is gone.
    pub live: Option<&'a LiveGuest>,
    /// Its vhost workers that are kernel threads.
    pub vhost: &'a [LiveThread],
    /// The CPUs that the cpuset of its cgroup allows; `None` where nothing restricts it.
    pub allowed: Option<&'a CpuSet>,
}

/// What is to be done and told about one guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// vCPUs ascending, then iothreads, vhost workers and QEMU's own threads, each ascending by thread.
    pub threads: Vec<ThreadNow>,
    /// The masks to be set, in the same order; empty where all is as wanted.
    pub actions: Vec<Action>,
    /// What there is to say.
    pub notes: Vec<Note>,
}

/// A mask to be set, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Which thread, and the mask.
    pub wish: Wish,
    /// Why.
    pub why: Why,
}

/// Why a mask is to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The thread was never set: the guest is new, or something was plugged.
    New,
    /// Something else changed it.
    Drifted,
    /// Other guests hold other CPUs than before.
    Claims,
    /// The CPU it should have is offline or not allowed: another one stands in.
    StandIn,
    /// The CPU it should have is there again.
    Back,
}

/// One thread: what it should have and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ThreadNow {
    /// What it is.
    #[serde(flatten)]
    pub kind: ThreadKind,
    /// Which one; `None` for a vCPU that has no thread.
    pub thread: Option<Thread>,
    /// The mask of the plan; `None`: it is left as it is.
    pub planned: Option<CpuSet>,
    /// The mask it should have now: the plan's, as claims and offline CPUs leave it.
    pub wanted: Option<CpuSet>,
    /// The mask it has.
    pub actual: Option<CpuSet>,
    /// How they agree.
    pub state: ThreadState,
    /// What is missing of the mask of the plan, and why.
    pub narrowed: Option<Narrowed>,
}

/// How a thread's mask agrees with what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ThreadState {
    /// As wanted.
    Right,
    /// Something else, also where nothing of what was planned is left and the thread was sent elsewhere.
    Drifted,
    /// As much of what is wanted as is online and allowed; or another CPU stands in for one that is not.
    Narrowed,
    /// A vCPU that is planned and not plugged.
    NotPlugged,
    /// Its process is gone.
    Gone,
    /// Its mask was put back, and is left alone until the next start or apply.
    Held,
    /// Nothing is wanted of it.
    Kept,
}

/// Something to be told about a guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Note {
    /// The mask of a virtual node includes CPUs of others.
    #[error(
        "virtual node {virtual_node} has {vcpus} vcpu(s) but only {unclaimed} cpu(s) that no guest holds one-to-one: its mask \
         includes cpu(s) {cpus} of others"
    )]
    WholeArea {
        /// Which one.
        virtual_node: VnodeId,
        /// How many vCPUs it has.
        vcpus: usize,
        /// How many CPUs of its area nobody holds.
        unclaimed: usize,
        /// The claimed CPUs in its mask.
        cpus: CpuSet,
    },
    /// A virtual node has fewer CPUs than vCPUs, as overlap=deny leaves those of others alone.
    #[error(
        "virtual node {virtual_node} has {vcpus} vcpu(s) on cpu(s) {cpus}: overlap=deny leaves it no more"
    )]
    FewCpus {
        /// Which one.
        virtual_node: VnodeId,
        /// How many vCPUs it has.
        vcpus: usize,
        /// What it has.
        cpus: CpuSet,
    },
    /// Another CPU of the host node stands in.
    #[error(
        "vcpu {vcpu} is on cpu(s) {cpus} of the same host node, since cpu(s) {planned} {}; it goes back when that returns", gone(*.offline)
    )]
    StandIn {
        /// Which vCPU.
        vcpu: VcpuId,
        /// The mask of the plan.
        planned: CpuSet,
        /// What it has instead.
        cpus: CpuSet,
        /// Whether the planned CPUs are offline; else the cpuset does not allow them.
        offline: bool,
    },
    /// No CPU of the host node is left for it alone.
    #[error(
        "vcpu {vcpu} shares cpu(s) {cpus} of its host node with others, since cpu(s) {planned} {} and no cpu there is free", gone(*.offline)
    )]
    Shares {
        /// Which vCPU.
        vcpu: VcpuId,
        /// The mask of the plan.
        planned: CpuSet,
        /// What it has instead.
        cpus: CpuSet,
        /// Whether the planned CPUs are offline; else the cpuset does not allow them.
        offline: bool,
    },
    /// The whole area is gone: the mask is the host node's.
    #[error(
        "virtual node {virtual_node} is on cpu(s) {cpus} of its host nodes, since none of cpu(s) {planned} is online and \
         allowed"
    )]
    OutOfArea {
        /// Which one.
        virtual_node: VnodeId,
        /// Its area.
        planned: CpuSet,
        /// What it has instead.
        cpus: CpuSet,
    },
    /// No CPU of the host nodes is online and allowed.
    #[error(
        "{what} can't have cpu(s) {planned}, nor another cpu of the same host node: none is online and allowed; its mask is \
         left as it is, and apply makes a new plan"
    )]
    NothingLeft {
        /// Which thread.
        what: String,
        /// The mask of the plan.
        planned: CpuSet,
    },
    /// CPUs are offline, and the set has not settled.
    #[error(
        "vcpu(s) {vcpus} lost their cpus: nothing is changed until the online cpus have settled"
    )]
    Unsettled {
        /// Which.
        vcpus: VcpuSet,
    },
    /// vCPUs that the plan does not have.
    #[error(
        "vcpu(s) {vcpus} are not in the plan and left as they are; does `args: -smp` differ from the config? (apply --replan)"
    )]
    NotPlanned {
        /// Which.
        vcpus: VcpuSet,
    },
    /// One thread runs all vCPUs.
    #[error("one thread runs all vcpus (TCG with thread=single): none can be pinned")]
    AllVcpus,
}

/// What is to be done and told about one guest.
#[must_use]
pub fn reconcile(around: Around<'_>, now: Now<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    let Some(live) = now.live else {
        outcome.threads = without_process(now.entry);
        return outcome;
    };
    let found = threads::classify(now, live);
    if now.entry.state == EntryState::Held {
        outcome.threads = threads::held(now.entry, &found);
        return outcome;
    }
    let masks = masks::Masks::of(around, now, &found, &mut outcome.notes);
    threads::compare(around, now, &found, &masks, &mut outcome);
    outcome
}

impl Outcome {
    /// Whether a mask differs from what is wanted: exit 6 of status. What the kernel narrowed, and what is held, does not count.
    #[must_use]
    pub fn has_drifted(&self) -> bool {
        let drifted = |thread: &ThreadNow| thread.state == ThreadState::Drifted;
        self.threads.iter().any(drifted)
    }
}

impl ThreadState {
    /// The word in output.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Drifted => "drifted",
            Self::Narrowed => "narrowed",
            Self::NotPlugged => "not plugged",
            Self::Gone => "gone",
            Self::Held => "held",
            Self::Kept => "kept",
        }
    }
}

impl std::fmt::Display for ThreadState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::New => "it was not set before",
            Self::Drifted => "something else changed its mask",
            Self::Claims => "other guests hold other cpus than before",
            Self::StandIn => "the cpu of its plan is offline or not allowed",
            Self::Back => "the cpu of its plan is there again",
        })
    }
}

fn gone(offline: bool) -> &'static str {
    if offline {
        "is offline"
    } else {
        "is not allowed by the cpuset of its cgroup"
    }
}

/// The vCPUs of a guest whose process is gone.
fn without_process(entry: &Entry) -> Vec<ThreadNow> {
    let vcpus = entry.plan.vcpus.iter().map(|kept| &kept.placed);
    let now = |placed: &crate::placement::PlacedVcpu| ThreadNow {
        kind: ThreadKind::Vcpu { vcpu: placed.vcpu },
        thread: None,
        planned: Some(placed.cpus.clone()),
        wanted: None,
        actual: None,
        state: match entry.plan.plugged.contains(placed.vcpu) {
            true => ThreadState::Gone,
            false => ThreadState::NotPlugged,
        },
        narrowed: None,
    };
    vcpus.map(now).collect()
}
