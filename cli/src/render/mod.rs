//! The answer as text or as JSON; one file a form. Nothing is decided here.

pub(crate) mod advise;
pub(crate) mod drawing;
pub(crate) mod explain;
pub(crate) mod hook;
pub(crate) mod json;
pub(crate) mod look;
pub(crate) mod map;
pub(crate) mod paint;
pub(crate) mod plan;
pub(crate) mod prometheus;
pub(crate) mod report;
pub(crate) mod simulate;
pub(crate) mod status;
pub(crate) mod svg;
mod table;
pub(crate) mod topology;
pub(crate) mod violations;
mod words;
