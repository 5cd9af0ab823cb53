//! What can be wrong with a line of numapin.conf.

use std::path::PathBuf;

use super::PolicyError;
use super::parse::{list, perhaps};
use crate::cpulist::ListError;
use crate::id::Vmid;

/// A line that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {}{problem}", file.display(), about.prefix())]
pub struct LineError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What the line is about.
    pub about: About,
    /// What is wrong with it.
    pub problem: LineProblem,
}

/// What a line is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// The policy of a guest.
    Guest(Vmid),
    /// The policy of guests that have no other.
    Default,
    /// Another known key.
    Key(String),
    /// It can't be told.
    Unknown,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// No "key: value".
    #[error("{found:?} is not a setting (expected \"key: value\")")]
    NotASetting {
        /// The line.
        found: String,
    },
    /// A key that is neither a VMID nor one of the words.
    #[error(
        "{key:?} is not a key of numapin.conf ({}expected {})",
        perhaps(nearest.as_deref()),
        list(KEYS)
    )]
    Key {
        /// What is written.
        key: String,
        /// The nearest key, where one is near.
        nearest: Option<String>,
    },
    /// A policy that can't be read.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A list of CPUs that can't be read.
    #[error(transparent)]
    List(#[from] ListError),
    /// Neither yes nor no.
    #[error("{found:?} is unknown (expected yes or no)")]
    YesNo {
        /// What is written.
        found: String,
    },
    /// A key that comes twice.
    #[error("it is there twice, also in line {first} (expected each key once)")]
    Twice {
        /// Where it is first.
        first: usize,
    },
}

/// The keys that can stand in a line, in the order of the manual.
const KEYS: &[&str] = &[
    "a VMID from 100 to 999999999",
    "default",
    "reserved",
    "reserved.NODENAME",
    "isolated",
    "tags",
];

impl About {
    fn prefix(&self) -> String {
        match self {
            Self::Guest(vmid) => format!("{vmid}: "),
            Self::Default => "default: ".to_owned(),
            Self::Key(key) => format!("{key}: "),
            Self::Unknown => String::new(),
        }
    }
}
