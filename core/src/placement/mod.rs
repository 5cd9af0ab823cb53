//! The plan: which CPUs each vCPU gets, and why. Pure: no file, socket, clock, environment or random number.

mod among;
mod apart;
mod areas;
mod assign;
mod chain;
pub mod change;
pub mod cost;
mod cpus;
pub mod explain;
mod fits;
pub mod fraction;
mod index;
mod inner;
mod make;
mod masks;
mod memory;
mod mend;
mod nodes;
pub mod notes;
mod number;
mod picks;
mod places;
mod problem;
mod remarks;
pub mod room;
mod scale;
mod search;
mod sets;
mod solve;
mod span;
mod tables;
mod together;
mod trim;
mod usable;
mod why;
mod wide;

use serde::{Deserialize, Serialize};

pub use self::change::Change;
pub use self::cost::{Cost, Item, Value};
pub use self::explain::Explanation;
pub use self::fraction::Fraction;
pub use self::notes::Note;
use crate::claims::Claims;
use crate::guest::{Guest, GuestName};
use crate::host::Host;
use crate::id::{VcpuId, VnodeId};
use crate::idset::{CpuSet, NodeSet, VcpuSet};
use crate::policy::{Mode, Policy, Smt};
use crate::violation::Violations;

/// Where everything of a guest goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Whose plan.
    pub guest: GuestName,
    /// The mode it was made with.
    pub mode: Mode,
    /// The smt policy it was made with (one-to-one).
    pub smt: Smt,
    /// One for each virtual node, ascending.
    pub virtual_nodes: Vec<PlacedNode>,
    /// One for each vCPU, ascending; empty for the mode none. vCPUs that are not plugged and do not fit are left out.
    pub vcpus: Vec<PlacedVcpu>,
    /// Masks of the guest's other threads.
    pub threads: ThreadMasks,
    /// The CPUs it holds one-to-one when it runs: those of its plugged vCPUs and, for smt=isolate, their idle siblings.
    pub claims: CpuSet,
    /// What it costs: no plan within the rules costs less where `optimal` is true.
    pub cost: Cost,
    /// Whether it is proved that no plan costs less.
    pub optimal: bool,
    /// Where that is not proved: no plan costs less than this.
    pub bound: Option<Cost>,
    /// What is legal but will disappoint.
    pub notes: Vec<Note>,
}

/// Where a virtual node goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PlacedNode {
    /// Which one.
    pub virtual_node: VnodeId,
    /// Its vCPUs.
    pub vcpus: VcpuSet,
    /// Its host node, or several where the guest spans.
    pub host_nodes: NodeSet,
}

/// Where a vCPU goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PlacedVcpu {
    /// Which one.
    pub vcpu: VcpuId,
    /// Its virtual node.
    pub virtual_node: VnodeId,
    /// The host nodes of its CPUs.
    pub host_nodes: NodeSet,
    /// Its mask.
    pub cpus: CpuSet,
}

/// Masks of a guest's other threads; `None`: they are left as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ThreadMasks {
    /// Every task that is no vCPU, iothread or vhost worker.
    pub emulator: Option<CpuSet>,
    /// Iothreads.
    pub iothreads: Option<CpuSet>,
    /// Vhost workers.
    pub vhost: Option<CpuSet>,
}

/// Makes the plan of a guest on a host beside what other guests hold.
///
/// Of all plans within the rules it is the one with the lowest [`Cost`], then the one with the lowest host nodes in order of
/// virtual nodes, then the one with the lowest set of CPUs: the same input gives the same plan.
///
/// The plan is made for all vCPUs. If only those that are not plugged do not fit, it is made without them, with a note.
///
/// # Errors
/// Every reason why it can't be placed within the rules.
pub fn plan(
    host: &Host,
    guest: &Guest,
    claims: &Claims,
    policy: &Policy,
) -> Result<Plan, Violations> {
    make::plan(host, guest, claims, policy)
}

/// The CPUs of a host that a guest can use, whoever holds them.
#[must_use]
pub fn usable(host: &Host, guest: &Guest, policy: &Policy) -> CpuSet {
    usable::Usable::new(host, guest, &Claims::default(), policy).cpus
}

/// Why each virtual node of a plan is where it is, and what spoke against each other host node.
///
/// Each answer is found by planning again with the virtual node on that host node. `plan` is the plan of the same host, guest,
/// claims and policy.
#[must_use]
pub fn explain(
    host: &Host,
    guest: &Guest,
    claims: &Claims,
    policy: &Policy,
    plan: &Plan,
) -> Explanation {
    explain::explain(host, guest, claims, policy, plan)
}

#[cfg(test)]
mod testing;
