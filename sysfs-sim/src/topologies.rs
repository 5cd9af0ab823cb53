//! The machines that come with the program. Their texts are in the folder `topologies/`, each with its provenance.

use crate::error::Error;
use crate::machine::Machine;

/// Name and text of each.
const ALL: &[(&str, &str)] = &[("epyc7351p", include_str!("../../topologies/epyc7351p.toml"))];

/// The names, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

/// The machine of a name, or nothing. (The texts are tested: the result is a machine.)
#[must_use]
pub fn get(name: &str) -> Option<Result<Machine, Error>> {
    text(name).map(|text| Machine::from_text(text, name))
}

/// The text of a name: a description or a recording.
#[must_use]
pub fn text(name: &str) -> Option<&'static str> {
    ALL.iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
}
