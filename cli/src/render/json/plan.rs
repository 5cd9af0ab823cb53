//! The JSON of `plan` and `check`.

use numapin_core::guest::{Guest, GuestName};
use numapin_core::id::Vmid;
use numapin_core::placement::explain::NodeWhy;
use numapin_core::placement::{Cost, Explanation, Note, PlacedNode, PlacedVcpu, ThreadMasks};
use numapin_core::policy::{Isolated, Kind, Mode, Overlap, Place, Policy, Require, Smt};
use numapin_core::violation::{Violation, Violations};
use serde::Serialize;

use super::SCHEMA;
use crate::planned::Planned;

/// The answer of `plan`.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct PlanDocument<'a> {
    schema: u32,
    plans: Vec<PlanBody<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<ViolationBody<'a>>,
}

/// The answer of `check`.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct CheckDocument<'a> {
    schema: u32,
    ok: bool,
    violations: Vec<ViolationBody<'a>>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct PlanBody<'a> {
    guest: GuestBody<'a>,
    policy: PolicyBody<'a>,
    virtual_nodes: &'a [PlacedNode],
    vcpus: &'a [PlacedVcpu],
    threads: &'a ThreadMasks,
    /// Null for a plan that was kept: its cost was that of another moment.
    cost: Option<&'a Cost>,
    optimal: bool,
    bound: Option<&'a Cost>,
    notes: Vec<NoteBody<'a>>,
    /// Only where an explanation was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a [NodeWhy]>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct GuestBody<'a> {
    name: &'a GuestName,
    vmid: Option<Vmid>,
    sockets: u32,
    cores: u32,
    threads: u32,
    numa: bool,
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct PolicyBody<'a> {
    mode: Mode,
    smt: Smt,
    overlap: Overlap,
    isolated: Isolated,
    kind: Kind,
    emulator: Option<Place>,
    iothreads: Option<Place>,
    vhost: Option<Place>,
    require: Require,
    source: &'a str,
}

/// A note with its text beside its own fields.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct NoteBody<'a> {
    #[serde(flatten)]
    note: &'a Note,
    message: String,
}

/// A violation with its guest and its text beside its own fields.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct ViolationBody<'a> {
    guest: &'a GuestName,
    #[serde(flatten)]
    violation: &'a Violation,
    message: String,
}

impl<'a> PlanDocument<'a> {
    /// Plans that stand, and the reasons of guests that were refused.
    ///
    /// `why` explains each plan, or is empty.
    pub(crate) fn new(
        plans: &'a [Planned],
        why: &'a [Explanation],
        refused: &'a [Violations],
    ) -> Self {
        Self {
            schema: SCHEMA,
            plans: plans
                .iter()
                .enumerate()
                .map(|(i, planned)| explained(planned, why.get(i)))
                .collect(),
            violations: reasons(refused),
        }
    }
}

fn explained<'a>(planned: &'a Planned, why: Option<&'a Explanation>) -> PlanBody<'a> {
    PlanBody {
        why: why.map(|why| why.virtual_nodes.as_slice()),
        ..body(planned)
    }
}

impl<'a> CheckDocument<'a> {
    /// Whether a guest fits, and if not, why.
    pub(crate) fn new(refused: &'a [Violations]) -> Self {
        Self {
            schema: SCHEMA,
            ok: refused.is_empty(),
            violations: reasons(refused),
        }
    }
}

pub(super) fn body(planned: &Planned) -> PlanBody<'_> {
    let Planned {
        guest,
        policy,
        source,
        plan,
    } = planned;
    PlanBody {
        guest: guest_body(guest),
        policy: policy_body(policy, source),
        virtual_nodes: &plan.virtual_nodes,
        vcpus: &plan.vcpus,
        threads: &plan.threads,
        cost: Some(&plan.cost),
        optimal: plan.optimal,
        bound: plan.bound.as_ref(),
        notes: plan
            .notes
            .iter()
            .map(|note| NoteBody {
                note,
                message: note.to_string(),
            })
            .collect(),
        why: None,
    }
}

/// A plan that was kept for a process.
pub(super) fn kept(planned: &Planned) -> PlanBody<'_> {
    PlanBody {
        cost: None,
        ..body(planned)
    }
}

fn guest_body(guest: &Guest) -> GuestBody<'_> {
    GuestBody {
        name: &guest.name,
        vmid: guest.vmid,
        sockets: guest.sockets,
        cores: guest.cores,
        threads: guest.threads,
        numa: guest.numa,
    }
}

fn policy_body<'a>(policy: &Policy, source: &'a str) -> PolicyBody<'a> {
    PolicyBody {
        mode: policy.mode,
        smt: policy.smt,
        overlap: policy.overlap,
        isolated: policy.isolated,
        kind: policy.kind,
        emulator: policy.emulator,
        iothreads: policy.iothreads,
        vhost: policy.vhost,
        require: policy.require,
        source,
    }
}

fn reasons(refused: &[Violations]) -> Vec<ViolationBody<'_>> {
    refused.iter().flat_map(of_guest).collect()
}

pub(super) fn of_guest(violations: &Violations) -> impl Iterator<Item = ViolationBody<'_>> {
    violations.list.iter().map(|violation| ViolationBody {
        guest: &violations.guest,
        violation,
        message: violation.to_string(),
    })
}
