//! Why a guest was refused, for people.

use numapin_core::violation::Violations;

/// Every reason on a line of its own.
pub(crate) fn text(violations: &Violations) -> String {
    titled(&violations.guest.0, violations)
}

/// The same, under another name than the guest's own.
pub(crate) fn titled(name: &str, violations: &Violations) -> String {
    let mut out = format!("guest {name} can't be pinned:\n");
    for violation in &violations.list {
        out.push_str(&format!("  - {violation}\n"));
    }
    out
}
