//! What a guest's administrator asks for: the mode and how it is to be met.
//!
//! A policy is a property string ("one-to-one,smt=isolate"); `FromStr` reads it, `Display` writes it.

pub mod choose;
pub mod edit;
mod guest_line;
mod line_error;
pub mod node_conf;
mod parse;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::choose::{ChoiceError, ChosenPolicy, Places, PolicyNote, Source, choose};
pub use self::edit::{set_line, unset_line};
pub use self::guest_line::GuestLine;
pub use self::line_error::{About, LineError, LineProblem};
pub use self::node_conf::NodeConf;
pub use self::parse::{PolicyError, PolicyPatch};

/// How a guest is to be placed. The defaults are those of a policy string that names only the mode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// What each vCPU gets.
    pub mode: Mode,
    /// How vCPUs share cores (one-to-one).
    pub smt: Smt,
    /// What CPUs that other guests hold one-to-one mean.
    pub overlap: Overlap,
    /// What isolated CPUs mean.
    pub isolated: Isolated,
    /// Which kind of core.
    pub kind: Kind,
    /// QEMU's own threads; `None`: the default of the mode.
    pub emulator: Option<Place>,
    /// Iothreads; `None`: the default of the mode.
    pub iothreads: Option<Place>,
    /// Vhost workers; `None`: the default of the mode.
    pub vhost: Option<Place>,
    /// What the hook does when the guest can't be pinned.
    pub require: Require,
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// All values, in the order of the manual.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// All words, in the same order.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word in a policy string and in output.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// The value that a word names.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.word() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    )*};
}

words! {
    /// What each vCPU gets.
    Mode {
        /// Nothing is set.
        #[default]
        None = "none",
        /// The usable CPUs of its virtual node's host node.
        Numa = "numa",
        /// The usable CPUs of some L3s of that host node.
        L3 = "l3",
        /// One CPU of its own.
        OneToOne = "one-to-one",
        /// Every usable CPU of the host that no guest holds one-to-one.
        Shared = "shared",
    }

    /// How the vCPUs of a one-to-one guest share cores.
    Smt {
        /// A core for each vCPU while cores last, siblings evenly after that.
        #[default]
        Spread = "spread",
        /// A core for each vCPU, its other threads idle and claimed.
        Isolate = "isolate",
        /// As few cores as possible.
        Pack = "pack",
        /// Cores do not matter.
        Any = "any",
    }

    /// What CPUs that other guests hold one-to-one mean.
    Overlap {
        /// They are avoided where possible.
        #[default]
        Avoid = "avoid",
        /// They are not usable at all.
        Deny = "deny",
        /// They are used as if nobody held them.
        Allow = "allow",
    }

    /// What isolated CPUs mean.
    Isolated {
        /// They are not usable, unless `affinity` names them.
        #[default]
        Avoid = "avoid",
        /// They are as usable as others.
        Allow = "allow",
        /// Only they are usable (one-to-one).
        Only = "only",
    }

    /// Which kind of core is usable, on a host with several.
    Kind {
        /// All.
        #[default]
        Any = "any",
        /// The fastest.
        Performance = "performance",
        /// All but the fastest.
        Efficiency = "efficiency",
    }

    /// Where a guest's other threads go.
    Place {
        /// Their mask is left.
        #[default]
        Keep = "keep",
        /// The usable CPUs of the guest's host nodes.
        Node = "node",
        /// The reserved and the unclaimed CPUs of those host nodes, without the guest's own.
        Spare = "spare",
    }

    /// What the hook does when a guest can't be pinned.
    Require {
        /// The guest starts unpinned, with a warning.
        #[default]
        Warn = "warn",
        /// The start is refused.
        Fail = "fail",
    }
}
