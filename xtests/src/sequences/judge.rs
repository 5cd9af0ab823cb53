//! What must hold on a node after every step, written from the manual alone.
//!
//! ```text
//! claims   who holds which CPUs one-to-one
//! wanted   the mask that each thread should have
//! changes  what a command may change, and what it must have mended
//! plans    what a plan that is made may take
//! told     what `status` says, against all of it
//! ```

pub mod changes;
pub mod claims;
pub mod plans;
pub mod told;
pub mod wanted;

use std::fmt;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// Which rule it is against.
    pub rule: &'static str,
    /// What was seen.
    pub what: String,
}

impl Breach {
    /// A breach.
    #[must_use]
    pub fn new(rule: &'static str, what: String) -> Self {
        Self { rule, what }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}
