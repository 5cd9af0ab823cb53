//! What a set of ids looks like in JSON.

use super::IdSet;
use crate::id::Id;

impl<I: Id> schemars::JsonSchema for IdSet<I> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "IdSet".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A set of ids in the kernel's list form, ascending; the empty string is the empty set.",
            "type": "string",
            "pattern": r"^([0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*)?$",
            "examples": ["0-3,16-19"],
        })
    }
}
