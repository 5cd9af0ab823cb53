//! A guest with its policy and its plan: what `plan`, `apply` and `simulate` show.

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
