//! The schema of all JSON answers, made from the very types that are serialised.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _};
use serde_json::{Value, json};

use super::{
    AdviseDocument, ApplyDocument, CheckDocument, FaultDocument, HookDocument, PlanDocument,
    ResetDocument, SetDocument, SimulateDocument, StatusDocument, TopologyDocument,
};

/// One schema for the answers of every command, each under `$defs` by the name of its command.
#[must_use]
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator();
    let mut answers = Vec::new();
    let mut answer = |command: &'static str, schema: Schema| {
        answers.push(json!({"title": command, "$ref": schema.as_value()["$ref"]}));
    };
    macro_rules! answers {
        ($($command:literal: $document:ty,)*) => {$(
            answer($command, generator.subschema_for::<$document>());
        )*};
    }
    answers! {
        "topology": TopologyDocument,
        "check": CheckDocument<'_>,
        "plan": PlanDocument<'_>,
        "apply": ApplyDocument<'_>,
        "status": StatusDocument<'_>,
        "reset": ResetDocument<'_>,
        "set, unset": SetDocument,
        "advise": AdviseDocument<'_>,
        "hook": HookDocument<'_>,
        "simulate": SimulateDocument<'_>,
        "any, in a fault": FaultDocument<'_>,
    }
    let definitions = generator.take_definitions(true);
    let mut whole = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "numapin's JSON answers (--format json)",
        "description": "Changes only by addition. Sets of ids are strings in the kernel's list form.",
        "anyOf": answers,
        "$defs": definitions,
    });
    if let Ok(schema) = <&mut Schema>::try_from(&mut whole) {
        // What the integers are called in Rust says nothing to readers of JSON.
        RecursiveTransform(|schema: &mut Schema| {
            if schema.get("type").is_none_or(|kind| kind != "string") {
                schema.remove("format");
            }
        })
        .transform(schema);
    }
    whole
}
