//! The JSON of `apply`.

use numapin_core::report::Report;
use serde::Serialize;

use super::SCHEMA;
use super::plan::{self, PlanBody};
use crate::flow::{Applied, Change};

/// The answer of `apply`.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct ApplyDocument<'a> {
    schema: u32,
    plan: PlanBody<'a>,
    /// Whether the plan is the one kept for this process: its cost is not kept with it.
    kept: bool,
    /// The vCPUs that a new plan moves.
    changes: &'a [Change],
    notes: &'a [String],
    report: Option<&'a Report>,
    /// Other guests, whose masks follow the claims.
    followed: &'a [Report],
}

impl<'a> ApplyDocument<'a> {
    /// What was planned and what was done.
    pub(crate) fn new(applied: &'a Applied) -> Self {
        Self {
            schema: SCHEMA,
            plan: match applied.kept {
                true => plan::kept(&applied.planned),
                false => plan::body(&applied.planned),
            },
            kept: applied.kept,
            changes: &applied.changes,
            notes: &applied.notes,
            report: applied.report.as_ref(),
            followed: &applied.followed,
        }
    }
}
