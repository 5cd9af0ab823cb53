//! End-to-end tests of numapin and the laws of its house.
//!
//! ```text
//! flow                        guests walked over hosts: mocks, plans, masks set and read back
//! namespace                   programs with a /run of their own, on the real kernel
//! node                        the whole program on a node: run, refused at a step, killed at a step
//! pair                        two guests on such a node, and what must hold of them whatever happened
//! docs                        the documents, played as stories on a simulated node
//! sequences                   a node full of guests: random sequences of events, judged after every step
//! lab                         a real kernel with many host nodes, booted under QEMU, and numapin in it
//! source                      the project's own sources, for the laws
//! scene ─► cost ─┬─► twin     the best placement of all, by walking through all of them (small hosts)
//!                └─► check    whether a plan is valid and costs what it says (any host)
//! ```
//! What judges the planner is written from the manual alone and shares no code with it.

pub mod check;
pub mod cost;
pub mod docs;
pub mod flow;
pub mod fraction;
pub mod fuzz;
pub mod lab;
pub mod namespace;
pub mod node;
pub mod pair;
pub mod random;
pub mod scene;
pub mod sequences;
pub mod shrink;
pub mod source;
pub mod twin;
