//! The JSON of `simulate`.

use std::collections::BTreeMap;

use numapin_core::id::VcpuId;
use numapin_core::idset::CpuSet;
use numapin_core::report::Report;
use serde::Serialize;

use super::SCHEMA;
use super::plan::{PlanBody, ViolationBody, body, of_guest};
use crate::simulate::{Outcome, Walk};

/// The answer of `simulate`.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct SimulateDocument<'a> {
    schema: u32,
    host: &'a str,
    guests: Vec<WalkBody<'a>>,
}

/// The road of one guest.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct WalkBody<'a> {
    label: &'a str,
    started: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<ViolationBody<'a>>,
    plan: Option<PlanBody<'a>>,
    report: Option<&'a Report>,
    masks: Option<&'a BTreeMap<VcpuId, CpuSet>>,
    sibling_pairs: Option<usize>,
    /// Estimates in percent.
    local_before: Option<f64>,
    local_after: Option<f64>,
}

impl<'a> SimulateDocument<'a> {
    /// What became of the guests on a host.
    pub(crate) fn new(host: &'a str, outcome: &'a Outcome) -> Self {
        Self {
            schema: SCHEMA,
            host,
            guests: outcome.walks.iter().map(walk).collect(),
        }
    }
}

fn walk(walk: &Walk) -> WalkBody<'_> {
    let steps = walk.steps.as_ref().ok();
    WalkBody {
        label: &walk.label,
        started: steps.is_some(),
        violations: walk
            .steps
            .as_ref()
            .err()
            .into_iter()
            .flat_map(of_guest)
            .collect(),
        plan: steps.map(|steps| body(&steps.planned)),
        report: steps.and_then(|steps| steps.report.as_ref()),
        masks: steps.map(|steps| &steps.masks),
        sibling_pairs: steps.and_then(|steps| steps.sibling_pairs),
        local_before: steps.map(|steps| percent(steps.local.0)),
        local_after: steps.map(|steps| percent(steps.local.1)),
    }
}

/// With one digit behind the point, so that the last bits of an estimate do not show.
fn percent(share: f64) -> f64 {
    (share * 1000.0).round() / 10.0
}
