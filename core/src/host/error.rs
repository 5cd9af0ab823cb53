//! What can be wrong with the files that describe a host.
//!
//! The rule: what says which CPU is where, and which CPUs may be used, is an error when it can't be understood; what only
//! weighs one plan against another (distances, memory, kinds, packages, dies) is a warning and counts as unknown.

use std::path::PathBuf;

use crate::cpulist::ListError;
use crate::root::{FileError, Reader};

/// Why a host can't be read.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file that is there can't be read: a fault of the system.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file holds what is not expected there.
    #[error("{}: {problem}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: Problem,
    },
    /// No CPU is described.
    #[error(
        "{}: no online cpu found (expected the /sys of a Linux host: devices/system/cpu/online, or directories cpu0, cpu1, ...)",
        path.display()
    )]
    NoCpu {
        /// The directory that should describe them.
        path: PathBuf,
    },
}

/// What is wrong with the contents of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A list or mask.
    #[error(transparent)]
    List(#[from] ListError),
    /// A number.
    #[error("{found:?} is not a number (expected {expected})")]
    NotANumber {
        /// What is there, at most [`Problem::QUOTED`] characters of it.
        found: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A row of distances with fewer columns than there are online nodes.
    #[error("{found:?} has {columns} distances (expected {nodes}, one for each online host node)")]
    ShortRow {
        /// What is there.
        found: String,
        /// How many columns it has.
        columns: usize,
        /// How many nodes are online.
        nodes: usize,
    },
    /// A row of distances in which another node is nearer than the node itself.
    #[error("{found:?} says that another host node is nearer to host node {node} than itself")]
    NotNearest {
        /// What is there.
        found: String,
        /// Whose row.
        node: crate::id::NodeId,
    },
    /// A file that other nodes have.
    #[error("absent, though other host nodes have it")]
    Absent,
}

impl Problem {
    /// How much of a rejected text is quoted.
    pub const QUOTED: usize = 60;

    pub(crate) fn not_a_number(found: &str, expected: &'static str) -> Self {
        Self::NotANumber {
            found: quoted(found),
            expected,
        }
    }
}

/// The start of a text, for a message.
pub(crate) fn quoted(text: &str) -> String {
    trimmed(text).chars().take(Problem::QUOTED).collect()
}

/// Text without white space and NUL around it.
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\0')
}

/// Reads a file and understands it; `None` where it does not exist.
pub(crate) fn parse<T>(
    reader: &mut Reader,
    name: std::fmt::Arguments<'_>,
    understand: impl FnOnce(&str) -> Result<T, Problem>,
) -> Result<Option<T>, HostError> {
    let understood = match reader.read(name)? {
        None => return Ok(None),
        Some(text) => understand(text),
    };
    match understood {
        Ok(value) => Ok(Some(value)),
        Err(problem) => Err(HostError::Malformed {
            path: reader.path().to_owned(),
            problem,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_quoted_in_part() {
        let problem = Problem::not_a_number(&"x\n".repeat(100), "a distance");
        let Problem::NotANumber { found, .. } = &problem else {
            unreachable!()
        };
        assert_eq!(found.chars().count(), Problem::QUOTED);
        assert!(problem.to_string().ends_with("(expected a distance)"));
    }
}
