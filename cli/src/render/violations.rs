//! Why a guest was refused, for people.

use numapin_core::violation::Violations;

/// Every reason on a line of its own.
pub(crate) fn text(violations: &Violations) -> String {
    let mut out = format!("guest {} can't be pinned:\n", violations.guest);
    for violation in &violations.list {
        out.push_str(&format!("  - {violation}\n"));
    }
    out
}
