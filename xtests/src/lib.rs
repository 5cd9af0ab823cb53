//! End-to-end tests of numapin and the laws of its house.
//!
//! `source` reads the project's own sources for the laws. What judges the planner is written from the manual alone and shares no
//! code with it.

pub mod flow;
pub mod source;
