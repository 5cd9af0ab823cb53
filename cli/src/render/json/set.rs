//! The JSON of `set` and `unset`.

use numapin_core::id::Vmid;
use serde::Serialize;

use super::SCHEMA;

/// The answer of `set` and `unset`.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct SetDocument {
    schema: u32,
    vmid: Vmid,
    changed: bool,
    /// The guest's line as it stands now.
    line: Option<String>,
}

impl SetDocument {
    /// The line of a guest, and whether it is new.
    pub(crate) fn new(vmid: Vmid, changed: bool, line: Option<String>) -> Self {
        Self {
            schema: SCHEMA,
            vmid,
            changed,
            line,
        }
    }
}
