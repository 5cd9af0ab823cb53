//! The whole flow, guest start -> query-cpus-fast -> affinity, as its tests walk it.
//!
//! ```text
//! Machine ──► Lab ─┬─ host() ──► Host ───────────┐
//!                  └─ start() ─► Mock (or QEMU) ─┼─► road::pin ──► Pinned ──► road::undo
//! Shape ─┬─ guest() ───────────► Guest ──────────┘        │
//!        └─ qemu() ─► what the mock pretends to run       └─► masks: what /proc says afterwards
//! ```
//! What judges the result shares no code with what is judged: masks are read by a reader of their own, and [`guests::fits`]
//! says by counting alone whether a guest can be placed.

pub mod doubles;
pub mod guests;
pub mod judge;
pub mod lab;
pub mod machine;
pub mod masks;
pub mod qemu;
pub mod road;
pub mod running;
pub mod walk;

/// Ids of CPUs, nodes or threads, outside of numapin's own types.
pub type Ids = std::collections::BTreeSet<u32>;

/// What ends a test that can't go on.
pub type Broken = Box<dyn std::error::Error>;
