//! The value of a guest's line in numapin.conf: a policy, with the name that the guest must have.

use std::fmt;

use super::parse::nearest;
use super::{Policy, PolicyError, PolicyPatch};
use crate::guest::property;

/// The policy of a guest, and the name that the guest must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestLine {
    /// The line counts only for a guest of this name: VMIDs are recycled.
    pub name: Option<String>,
    /// The policy.
    pub policy: Policy,
}

/// The keys of a guest's line: the name, and those of a policy.
const GUEST_KEYS: &[&str] = &[
    "name",
    "vcpus",
    "smt",
    "overlap",
    "isolated",
    "kind",
    "emulator",
    "iothreads",
    "vhost",
    "require",
];

impl GuestLine {
    /// Reads the value of a guest's line.
    ///
    /// # Errors
    /// It is no policy.
    pub fn read(text: &str) -> Result<Self, PolicyError> {
        let (mut name, mut patch) = (None, PolicyPatch::default());
        for (key, value) in property::read(text, Some("vcpus"))?.iter() {
            if key == "name" {
                name = Some(value.to_owned());
                continue;
            }
            patch.set(key, value).map_err(|error| match error {
                PolicyError::Key { key, .. } => PolicyError::Key {
                    nearest: nearest(&key, GUEST_KEYS),
                    key,
                    allowed: GUEST_KEYS,
                },
                other => other,
            })?;
        }
        if patch.is_empty() {
            return Err(PolicyError::Empty);
        }
        Ok(Self {
            name,
            policy: patch.over(&Policy::default()),
        })
    }
}

impl fmt::Display for GuestLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "name={name},")?;
        }
        self.policy.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_line_has_the_keys_of_a_policy() {
        assert_eq!(GUEST_KEYS[1..], *PolicyPatch::KEYS);
    }
}
