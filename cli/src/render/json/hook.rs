//! The JSON of `hook`.

use numapin_core::id::Vmid;
use numapin_core::report::Report;
use serde::Serialize;

use super::SCHEMA;
use super::plan::{PlanBody, ViolationBody, body, of_guest};
use crate::flow::{Applied, Begun, Step};

/// The answer of `hook`.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct HookDocument<'a> {
    schema: u32,
    vmid: Vmid,
    phase: &'static str,
    /// What was done about the guest.
    did: Did,
    /// Where it goes, or went.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<PlanBody<'a>>,
    /// Why it can't be pinned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<ViolationBody<'a>>,
    /// What was set of its threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<&'a Report>,
    /// Other guests, whose masks follow the claims.
    followed: &'a [Report],
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum Did {
    /// It has no policy, or there was nothing to do.
    Nothing,
    /// It runs already.
    Runs,
    /// `reset` holds it.
    Held,
    /// It was planned, and holds its CPUs from now on.
    Planned,
    /// It was planned, and holds its CPUs once it runs.
    Checked,
    /// It can't be pinned, and runs without.
    Refused,
    /// It can't be pinned, and does not start.
    Stopped,
    /// It was pinned.
    Pinned,
    /// It holds nothing any more.
    Freed,
}

impl<'a> HookDocument<'a> {
    /// What a phase brought.
    pub(crate) fn new(vmid: Vmid, phase: &'static str, step: &'a Step) -> Self {
        let nothing = |did| Self {
            schema: SCHEMA,
            vmid,
            phase,
            did,
            plan: None,
            violations: Vec::new(),
            report: None,
            followed: &[],
        };
        match step {
            Step::Nothing => nothing(Did::Nothing),
            Step::Runs => nothing(Did::Runs),
            Step::Held => nothing(Did::Held),
            Step::Planned(begun) => {
                let Begun {
                    planned,
                    kept,
                    followed,
                } = &**begun;
                Self {
                    plan: Some(body(planned)),
                    followed,
                    ..nothing(if *kept { Did::Planned } else { Did::Checked })
                }
            }
            Step::Refused(violations) => Self {
                violations: of_guest(violations).collect(),
                ..nothing(Did::Refused)
            },
            Step::Stopped(violations) => Self {
                violations: of_guest(violations).collect(),
                ..nothing(Did::Stopped)
            },
            Step::Pinned(applied) => {
                let Applied {
                    planned,
                    report,
                    followed,
                    ..
                } = &**applied;
                Self {
                    plan: Some(body(planned)),
                    report: report.as_ref(),
                    followed,
                    ..nothing(Did::Pinned)
                }
            }
            Step::Freed(followed) => Self {
                followed,
                ..nothing(Did::Freed)
            },
        }
    }
}
