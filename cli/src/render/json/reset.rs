//! The JSON of `reset`.

use numapin_core::guest::GuestName;
use numapin_core::report::Report;
use serde::Serialize;

use super::SCHEMA;
use crate::flow::Resets;

/// The answer of `reset`.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct ResetDocument<'a> {
    schema: u32,
    guests: Vec<GuestBody<'a>>,
    /// Other guests, whose masks follow the claims.
    followed: &'a [Report],
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct GuestBody<'a> {
    guest: &'a GuestName,
    /// What was put back; no thread where numapin had set nothing.
    report: &'a Report,
}

impl<'a> From<&'a Resets> for ResetDocument<'a> {
    fn from(resets: &'a Resets) -> Self {
        Self {
            schema: SCHEMA,
            guests: resets
                .guests
                .iter()
                .map(|back| GuestBody {
                    guest: &back.guest,
                    report: &back.report,
                })
                .collect(),
            followed: &resets.followed,
        }
    }
}
