//! What can go wrong when a mock is started or told to change.

use std::io;
use std::path::PathBuf;

/// Why a mock could not be started or could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MockError {
    /// The shape of the guest is one that no QEMU could have.
    #[error("guest {guest}: {what}")]
    Guest {
        /// The guest's name.
        guest: String,
        /// What is wrong with it, with the rejected value quoted.
        what: String,
    },
    /// A list of CPUs or nodes that is not in the kernel's list form.
    #[error("{value:?} is no list of ids: expected e.g. \"0-3,16-19\"")]
    List {
        /// The rejected value.
        value: String,
    },
    /// A file or directory of the mock could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A process with this id is there already below the root.
    #[error("{}: a process with this id is there already, choose another one", path.display())]
    PidTaken {
        /// Its directory.
        path: PathBuf,
    },
    /// A JSON file with a guest or a script that can't be read as one.
    #[error("{}:{line}: {what}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser said.
        what: String,
    },
    /// QEMU would refuse this, with the reply that QEMU gives.
    #[error("{desc}")]
    Refused {
        /// QEMU's text.
        desc: String,
    },
    /// The guest has no such vCPU, iothread or thread.
    #[error("guest {guest} has no {what}")]
    Missing {
        /// The guest's name.
        guest: String,
        /// What was looked for.
        what: String,
    },
    /// The mock has ended: by `quit`, [`crate::Mock::stop`] or [`crate::Mock::crash`].
    #[error("guest {guest} has ended")]
    Ended {
        /// The guest's name.
        guest: String,
    },
    /// The thread that all mocks of one [`crate::Mocks`] run on could not be started, or has ended.
    #[error("the thread of the mocks: {source}")]
    Runtime {
        /// What the system said.
        source: io::Error,
    },
}

impl MockError {
    /// For `map_err` on what touches `path`.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
