//! The policy string: strict, since it is numapin's own. An unknown key or value is an error that names the nearest one.
//!
//! A key that the mode makes no use of (`smt` of a numa guest) is no error: `--mode` on the command line may lie over the
//! policy, and back, key by key.

use std::fmt;
use std::str::FromStr;

use super::{Isolated, Kind, Mode, Overlap, Place, Policy, Require, Smt};
use crate::guest::excerpt;
use crate::guest::property::{self, PropertyError};

/// The keys of a policy that are given, and no others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyPatch {
    /// `vcpus`.
    pub mode: Option<Mode>,
    /// `smt`.
    pub smt: Option<Smt>,
    /// `overlap`.
    pub overlap: Option<Overlap>,
    /// `isolated`.
    pub isolated: Option<Isolated>,
    /// `kind`.
    pub kind: Option<Kind>,
    /// `emulator`.
    pub emulator: Option<Place>,
    /// `iothreads`.
    pub iothreads: Option<Place>,
    /// `vhost`.
    pub vhost: Option<Place>,
    /// `require`.
    pub require: Option<Require>,
}

/// Why a policy was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Nothing is there.
    #[error("the policy is empty (expected for example \"one-to-one,smt=isolate\")")]
    Empty,
    /// Not a property string.
    #[error(transparent)]
    Property(#[from] PropertyError),
    /// A key that a policy does not have.
    #[error("{key:?} is not a key of a policy ({}expected {})", perhaps(nearest.as_deref()), list(allowed))]
    Key {
        /// What is written.
        key: String,
        /// The nearest key, where one is near.
        nearest: Option<String>,
        /// All keys.
        allowed: &'static [&'static str],
    },
    /// A value that a key does not have.
    #[error("{key}: {value:?} is unknown ({}expected {})", perhaps(nearest.as_deref()), list(allowed))]
    Value {
        /// Which key.
        key: &'static str,
        /// What is written.
        value: String,
        /// The nearest value, where one is near.
        nearest: Option<String>,
        /// All values.
        allowed: &'static [&'static str],
    },
}

/// The key of the value that stands alone.
const MODE: &str = "vcpus";

impl PolicyPatch {
    /// All keys, in the order of the manual.
    pub const KEYS: &'static [&'static str] = &[
        MODE,
        "smt",
        "overlap",
        "isolated",
        "kind",
        "emulator",
        "iothreads",
        "vhost",
        "require",
    ];

    /// Sets one key.
    ///
    /// # Errors
    /// The key or its value is unknown.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), PolicyError> {
        macro_rules! word {
            ($key:literal, $field:ident, $words:ident) => {
                self.$field = Some(word($key, value, $words::from_word, $words::WORDS)?)
            };
        }
        match key {
            MODE => word!("vcpus", mode, Mode),
            "smt" => word!("smt", smt, Smt),
            "overlap" => word!("overlap", overlap, Overlap),
            "isolated" => word!("isolated", isolated, Isolated),
            "kind" => word!("kind", kind, Kind),
            "emulator" => word!("emulator", emulator, Place),
            "iothreads" => word!("iothreads", iothreads, Place),
            "vhost" => word!("vhost", vhost, Place),
            "require" => word!("require", require, Require),
            _ => {
                return Err(PolicyError::Key {
                    key: excerpt(key),
                    nearest: nearest(key, Self::KEYS),
                    allowed: Self::KEYS,
                });
            }
        }
        Ok(())
    }

    /// The policy with these keys laid over it.
    #[must_use]
    pub fn over(&self, policy: &Policy) -> Policy {
        Policy {
            mode: self.mode.unwrap_or(policy.mode),
            smt: self.smt.unwrap_or(policy.smt),
            overlap: self.overlap.unwrap_or(policy.overlap),
            isolated: self.isolated.unwrap_or(policy.isolated),
            kind: self.kind.unwrap_or(policy.kind),
            emulator: self.emulator.or(policy.emulator),
            iothreads: self.iothreads.or(policy.iothreads),
            vhost: self.vhost.or(policy.vhost),
            require: self.require.unwrap_or(policy.require),
        }
    }

    /// Whether no key is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl FromStr for PolicyPatch {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let properties = property::read(text, Some(MODE))?;
        let mut patch = Self::default();
        for (key, value) in properties.iter() {
            patch.set(key, value)?;
        }
        if patch.is_empty() {
            return Err(PolicyError::Empty);
        }
        Ok(patch)
    }
}

impl FromStr for Policy {
    type Err = PolicyError;

    /// Keys that are not given have their defaults.
    fn from_str(text: &str) -> Result<Self, PolicyError> {
        Ok(text.parse::<PolicyPatch>()?.over(&Self::default()))
    }
}

impl fmt::Display for Policy {
    /// The mode, then the keys that do not have their defaults.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = Self::default();
        f.write_str(self.mode.word())?;
        let different = [
            ("smt", (self.smt != plain.smt).then_some(self.smt.word())),
            (
                "overlap",
                (self.overlap != plain.overlap).then_some(self.overlap.word()),
            ),
            (
                "isolated",
                (self.isolated != plain.isolated).then_some(self.isolated.word()),
            ),
            (
                "kind",
                (self.kind != plain.kind).then_some(self.kind.word()),
            ),
            ("emulator", self.emulator.map(Place::word)),
            ("iothreads", self.iothreads.map(Place::word)),
            ("vhost", self.vhost.map(Place::word)),
            (
                "require",
                (self.require != plain.require).then_some(self.require.word()),
            ),
        ];
        for (key, word) in different {
            if let Some(word) = word {
                write!(f, ",{key}={word}")?;
            }
        }
        Ok(())
    }
}

fn word<W>(
    key: &'static str,
    value: &str,
    read: fn(&str) -> Option<W>,
    allowed: &'static [&'static str],
) -> Result<W, PolicyError> {
    read(value).ok_or_else(|| PolicyError::Value {
        key,
        value: excerpt(value),
        nearest: nearest(value, allowed),
        allowed,
    })
}

/// The word that was probably meant: the most similar one, if it is similar or one change away; of several the first.
pub(super) fn nearest(found: &str, words: &[&str]) -> Option<String> {
    /// Below this Jaro-Winkler similarity words have only some letters in common.
    const SIMILAR: f64 = 0.75;
    let plain = excerpt(found.trim()).to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for word in words {
        let similarity = strsim::jaro_winkler(&plain, word);
        if best.is_none_or(|(highest, _)| similarity > highest) {
            best = Some((similarity, word));
        }
    }
    let (similarity, word) = best?;
    let near = similarity >= SIMILAR || strsim::osa_distance(&plain, word) <= 1;
    near.then(|| word.to_owned())
}

pub(super) fn perhaps(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("did you mean {nearest:?}? "))
}

/// "a, b or c".
pub(super) fn list(words: &[&'static str]) -> String {
    match words {
        [] => String::from("nothing"),
        [word] => (*word).to_owned(),
        [words @ .., last] => format!("{} or {last}", words.join(", ")),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("numa", Policy { mode: Mode::Numa, ..Policy::default() })]
    #[case("vcpus=one-to-one,smt=isolate", Policy { mode: Mode::OneToOne, smt: Smt::Isolate, ..Policy::default() })]
    #[case("smt=pack,one-to-one,", Policy { mode: Mode::OneToOne, smt: Smt::Pack, ..Policy::default() })]
    #[case("none", Policy::default())]
    #[case("l3,emulator=keep,require=fail", Policy {
        mode: Mode::L3, emulator: Some(Place::Keep), require: Require::Fail, ..Policy::default()
    })]
    fn is_read(#[case] text: &str, #[case] policy: Policy) {
        assert_eq!(text.parse(), Ok(policy));
    }

    #[rstest]
    #[case(
        "",
        "the policy is empty (expected for example \"one-to-one,smt=isolate\")"
    )]
    #[case(
        ",",
        "the policy is empty (expected for example \"one-to-one,smt=isolate\")"
    )]
    #[case(
        "one-to-one,smt=isolat",
        "smt: \"isolat\" is unknown (did you mean \"isolate\"? expected spread, isolate, pack or any)"
    )]
    #[case(
        "onetoone",
        "vcpus: \"onetoone\" is unknown (did you mean \"one-to-one\"? expected none, numa, l3, one-to-one or shared)"
    )]
    #[case(
        "one-to-one,overlapp=deny",
        "\"overlapp\" is not a key of a policy (did you mean \"overlap\"? expected vcpus, smt, \
        overlap, isolated, kind, emulator, iothreads, vhost or require)"
    )]
    #[case(
        "numa, smt=pack",
        "\" smt\" is not a key of a policy (did you mean \"smt\"? expected vcpus,"
    )]
    #[case(
        "one2one",
        "vcpus: \"one2one\" is unknown (did you mean \"one-to-one\"?"
    )]
    #[case("l2", "vcpus: \"l2\" is unknown (did you mean \"l3\"?")]
    #[case("dedicated", "vcpus: \"dedicated\" is unknown (expected none, numa,")]
    #[case("numa,x=y", "\"x\" is not a key of a policy (expected vcpus,")]
    #[case("NUMA", "vcpus: \"NUMA\" is unknown (did you mean \"numa\"?")]
    #[case("numa,l3", "\"vcpus\" is there twice in \"numa,l3\"")]
    #[case("numa,smt=", "\"smt=\" is half a property (expected key=value)")]
    fn is_refused(#[case] text: &str, #[case] says: &str) {
        let refused = text.parse::<Policy>().unwrap_err().to_string();
        assert!(refused.starts_with(says), "{refused}");
    }

    #[test]
    fn a_patch_changes_only_its_keys() {
        let policy: Policy = "one-to-one,smt=isolate,vhost=spare".parse().unwrap();
        let patch: PolicyPatch = "numa,vhost=keep".parse().unwrap();
        assert_eq!(
            patch.over(&policy).to_string(),
            "numa,smt=isolate,vhost=keep"
        );
        assert_eq!(PolicyPatch::default().over(&policy), policy);
    }

    pub(in crate::policy) fn any_policy() -> impl Strategy<Value = Policy> {
        let place = || proptest::option::of(select(Place::ALL));
        let first = (
            select(Mode::ALL),
            select(Smt::ALL),
            select(Overlap::ALL),
            select(Isolated::ALL),
        );
        let second = (
            select(Kind::ALL),
            place(),
            place(),
            place(),
            select(Require::ALL),
        );
        (first, second).prop_map(|((mode, smt, overlap, isolated), second)| {
            let (kind, emulator, iothreads, vhost, require) = second;
            Policy {
                mode,
                smt,
                overlap,
                isolated,
                kind,
                emulator,
                iothreads,
                vhost,
                require,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(policy in any_policy()) {
            prop_assert_eq!(policy.to_string().parse(), Ok(policy));
        }
    }
}
