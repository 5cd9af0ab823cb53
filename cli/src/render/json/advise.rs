//! The JSON of `advise`.

use numapin_core::advise::{Change, Reason, Remark, Setting};
use numapin_core::guest::GuestName;
use numapin_core::id::Vmid;
use numapin_core::placement::{Cost, Note, Plan};
use numapin_core::violation::Violations;
use serde::Serialize;

use super::SCHEMA;
use super::plan::{ViolationBody, of_guest};
use crate::planned::Advised;

/// The answer of `advise`.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct AdviseDocument<'a> {
    schema: u32,
    guest: GuestBody<'a>,
    policy: PolicyBody<'a>,
    /// Nothing is better, and nothing is wrong.
    right: bool,
    template: bool,
    /// The plan as it is; null where there is none.
    before: Option<PlanBody<'a>>,
    violations: Vec<ViolationBody<'a>>,
    /// What is better; null where nothing is.
    better: Option<BetterBody<'a>>,
    remarks: Vec<Told<'a, Remark>>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct GuestBody<'a> {
    name: &'a GuestName,
    vmid: Option<Vmid>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct PolicyBody<'a> {
    policy: String,
    source: &'a str,
    /// The guest has none, and this one was assumed.
    assumed: bool,
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct PlanBody<'a> {
    cost: &'a Cost,
    notes: Vec<Told<'a, Note>>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct BetterBody<'a> {
    set: &'a [Setting],
    delete: &'a [String],
    /// For a shell of the node.
    commands: Vec<String>,
    /// The lines of the config file.
    config: Vec<String>,
    reasons: Vec<Told<'a, Reason>>,
    changes: &'a [Change],
    /// Notes that end.
    ends: Vec<Told<'a, Note>>,
    /// What kept the guest from starting, and does not any more.
    starts: Vec<String>,
    plan: PlanBody<'a>,
}

/// Something with its text beside its own fields.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Told<'a, T> {
    #[serde(flatten)]
    what: &'a T,
    message: String,
}

impl<'a> AdviseDocument<'a> {
    /// The advice for a guest.
    pub(crate) fn new(advised: &'a Advised) -> Self {
        let advice = &advised.advice;
        let plan = advice
            .before
            .as_ref()
            .and_then(|before| before.as_ref().ok());
        let refused: Option<&Violations> = advice
            .before
            .as_ref()
            .and_then(|before| before.as_ref().err());
        Self {
            schema: SCHEMA,
            guest: GuestBody {
                name: &advice.guest,
                vmid: advice.vmid,
            },
            policy: PolicyBody {
                policy: advice.policy.to_string(),
                source: &advised.source,
                assumed: advice.assumed,
            },
            right: advice.is_right(),
            template: advice.template,
            before: plan.map(body),
            violations: refused.into_iter().flat_map(of_guest).collect(),
            better: advice.better.as_ref().map(|better| BetterBody {
                set: &better.settings.set,
                delete: &better.settings.delete,
                commands: better.settings.commands(advice.vmid),
                config: better.settings.config_lines(),
                reasons: told(&better.reasons),
                changes: &better.changes,
                ends: told(&better.ends),
                starts: better.starts.iter().map(ToString::to_string).collect(),
                plan: body(&better.plan),
            }),
            remarks: told(&advice.remarks),
        }
    }
}

fn body(plan: &Plan) -> PlanBody<'_> {
    PlanBody {
        cost: &plan.cost,
        notes: told(&plan.notes),
    }
}

fn told<T: ToString>(list: &[T]) -> Vec<Told<'_, T>> {
    let one = |what| Told {
        what,
        message: ToString::to_string(what),
    };
    list.iter().map(one).collect()
}
