//! The answer as text or as JSON; one file a form. Nothing is decided here.

pub(crate) mod json;
mod table;
pub(crate) mod topology;
