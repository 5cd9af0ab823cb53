//! The pinning engine of numapin.
//!
//! ```text
//! 100.conf ── guest ──► Guest ─────────┐
//! /sys ────── host ───► Host ──────────┼─► placement ─► Plan ─► apply ─► Report
//! /run, /proc  claims ─► Claims ───────┘      (pure)      ▲
//! QMP socket ─ qmp ───► [vCPU thread] ────────────────────┘
//! ```
//! Left of [`placement`] everything reads and parses; `placement` thinks; right of it everything acts and tells.

pub mod advise;
pub mod apply;
pub mod claims;
pub mod cpulist;
pub mod guest;
pub mod host;
pub mod id;
pub mod idset;
pub mod placement;
pub mod policy;
pub mod process;
pub mod qmp;
pub mod reconcile;
pub mod report;
pub mod root;
pub mod sorted;
pub mod steps;
pub mod thread;
pub mod violation;
