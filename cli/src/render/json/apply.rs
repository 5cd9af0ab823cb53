//! The JSON of `apply`.

use numapin_core::report::Report;
use serde::Serialize;

use super::SCHEMA;
use super::plan::{PlanBody, body};
use crate::flow::Applied;

/// The answer of `apply`.
#[derive(Serialize)]
pub(crate) struct ApplyDocument<'a> {
    schema: u32,
    plan: PlanBody<'a>,
    report: Option<&'a Report>,
}

impl<'a> ApplyDocument<'a> {
    /// What was planned and what was done.
    pub(crate) fn new(applied: &'a Applied) -> Self {
        Self {
            schema: SCHEMA,
            plan: body(&applied.planned),
            report: applied.report.as_ref(),
        }
    }
}
