//! The JSON of every command. It changes only by addition; sets of ids are strings in the kernel's list form.

mod advise;
mod apply;
mod hook;
mod plan;
mod reset;
#[cfg(feature = "schema")]
mod schema;
mod set;
mod simulate;
mod status;
mod topology;

use serde::Serialize;

pub(crate) use advise::AdviseDocument;
pub(crate) use apply::ApplyDocument;
pub(crate) use hook::HookDocument;
pub(crate) use plan::{CheckDocument, PlanDocument};
pub(crate) use reset::ResetDocument;
#[cfg(feature = "schema")]
pub use schema::schema;
pub(crate) use set::SetDocument;
pub(crate) use simulate::SimulateDocument;
pub(crate) use status::StatusDocument;
pub(crate) use topology::TopologyDocument;

use crate::fault::{Fault, FaultKind};

/// The version of every JSON answer.
pub(crate) const SCHEMA: u32 = 1;

/// A document on one line, as it is printed.
pub(crate) fn line(document: &impl Serialize) -> String {
    // Our own documents have string keys only, so that writing them can't fail.
    serde_json::to_string(document).unwrap_or_default()
}

/// The answer of a command that ended in a fault.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct FaultDocument<'a> {
    schema: u32,
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct ErrorBody<'a> {
    kind: FaultKind,
    message: &'a str,
}

impl<'a> From<&'a Fault> for FaultDocument<'a> {
    fn from(fault: &'a Fault) -> Self {
        Self {
            schema: SCHEMA,
            error: ErrorBody {
                kind: fault.kind,
                message: &fault.message,
            },
        }
    }
}
