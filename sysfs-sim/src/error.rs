//! What can go wrong, as data.

use std::io;
use std::path::PathBuf;

/// Why a machine can't be read, written or recorded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory that could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A machine description that is no TOML, or has an unknown or mistyped key.
    #[error("{file}:{line}: {what}")]
    Syntax {
        /// The file, or the name under which the text was given.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what was expected.
        what: String,
    },
    /// A machine description that describes no possible machine.
    #[error("machine description: {key}: {what}")]
    Description {
        /// The key that is wrong.
        key: String,
        /// What is wrong with it, and what was expected.
        what: String,
    },
    /// A recording with a line that can't be.
    #[error("{file}:{line}: {what}")]
    Recording {
        /// The file, or the name under which the text was given.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what was expected.
        what: String,
    },
    /// A path of a tree that exists in the directory it should be written to.
    #[error("{}: exists already; a machine is written into a directory that does not hold one", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// A directory with nothing of a machine in it.
    #[error("{}: holds neither sys/devices/system/cpu nor devices/system/cpu (expected the root of a machine, or its sysfs)", dir.display())]
    NoSysfs {
        /// The directory.
        dir: PathBuf,
    },
    /// No topology, file or directory of that name.
    #[error("'{name}' is neither a file, a directory nor one of the topologies {known}")]
    UnknownMachine {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A CPU that the machine does not have.
    #[error("cpu {cpu} is not a cpu of this machine, which has {cpus}")]
    NoSuchCpu {
        /// The CPU asked for.
        cpu: u32,
        /// The CPUs there are, as a list.
        cpus: String,
    },
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io {
            path: path.into(),
            source,
        }
    }

    pub(crate) fn description(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Description {
            key: key.into(),
            what: what.into(),
        }
    }
}

/// What a message quotes of somebody's text: its beginning, without characters that a terminal would obey.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut shown = String::new();
    for (nth, c) in text.chars().enumerate() {
        if nth == LONGEST {
            shown.push_str("...");
            break;
        }
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}
