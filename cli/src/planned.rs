//! What is shown of a guest: its plan with its policy (`plan`, `apply`, `simulate`), or what is better (`advise`).

use numapin_core::advise::Advice;
use numapin_core::guest::Guest;
use numapin_core::placement::Plan;
use numapin_core::policy::Policy;

/// A guest that was planned.
pub(crate) struct Planned {
    /// The guest.
    pub(crate) guest: Guest,
    /// Its policy.
    pub(crate) policy: Policy,
    /// Where the policy came from.
    pub(crate) source: String,
    /// Its plan.
    pub(crate) plan: Plan,
}

/// What was advised, and by which policy.
pub(crate) struct Advised {
    /// The advice.
    pub(crate) advice: Advice,
    /// Where the policy came from.
    pub(crate) source: String,
}
