//! The machines that come with the program. Their texts are in the folder `topologies/`, each with its provenance.

use crate::error::Error;
use crate::machine::Machine;

macro_rules! file {
    ($name:literal, $ending:literal) => {
        (
            $name,
            include_str!(concat!("../../topologies/", $name, ".", $ending)),
        )
    };
}

/// Name and text of each, in order of names.
const ALL: &[(&str, &str)] = &[
    file!("epyc7351p", "toml"),
    file!("epyc7351p-nosmt", "toml"),
    file!("epyc7451-2s", "toml"),
    file!("epyc7713-2s-nps1", "toml"),
    file!("epyc7713-2s-nps4", "toml"),
    file!("hybrid-i7-1370p", "toml"),
    file!("kunpeng920-2s", "toml"),
    file!("lab-epyc2x32-nps2", "recording"),
    file!("lab-memless", "recording"),
    file!("lab-xeon2x16ht-interleaved", "recording"),
    file!("xeon6130-2s-nosmt", "toml"),
    file!("xeon6230-2s", "toml"),
    file!("xeon6230-2s-snc2", "toml"),
];

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
