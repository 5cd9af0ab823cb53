//! What ends a command early: a kind that decides the exit code, and a line for people.

use std::io::ErrorKind;
use std::process::ExitCode;

use numapin_core::apply::ApplyError;
use numapin_core::claims::recorded::RecordedError;
use numapin_core::host::HostError;
use numapin_core::process::ProcessError;
use numapin_core::qmp::QmpError;
use numapin_core::root::FileError;
use serde::Serialize;

/// The reason why a command ended without its answer.
#[derive(Debug)]
pub(crate) struct Fault {
    /// What it is, for programs.
    pub(crate) kind: FaultKind,
    /// One line: what is wrong, where, what was expected, what to do.
    pub(crate) message: String,
}

/// Kinds of faults; each has one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaultKind {
    /// A file or the system did not do what it should.
    System,
    /// The command line asks for something that can't be.
    Usage,
    /// A file can't be parsed.
    Malformed,
    /// QMP did not answer.
    Qmp,
    /// The affinity could not be set; what had been set was put back.
    Affinity,
}

impl Fault {
    /// A fault of a kind.
    pub(crate) fn new(kind: FaultKind, message: impl ToString) -> Self {
        Self {
            kind,
            message: message.to_string(),
        }
    }

    /// Wrong usage.
    pub(crate) fn usage(message: impl ToString) -> Self {
        Self::new(FaultKind::Usage, message)
    }

    /// A file that can't be parsed.
    pub(crate) fn malformed(message: impl ToString) -> Self {
        Self::new(FaultKind::Malformed, message)
    }

    /// The system did not do what it should.
    pub(crate) fn system(message: impl ToString) -> Self {
        Self::new(FaultKind::System, message)
    }
}

impl FaultKind {
    /// The exit code, as `numapin --help` lists them.
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::System => Exit::Fault,
            Self::Usage | Self::Malformed => Exit::Usage,
            Self::Qmp => Exit::Qmp,
            Self::Affinity => Exit::Affinity,
        }
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// A fault of numapin or of the system.
    Fault = 1,
    /// Wrong usage, or a file that can't be parsed.
    Usage = 2,
    /// The constraints can't be met.
    Constraints = 3,
    /// QMP did not answer.
    Qmp = 4,
    /// The affinity could not be set.
    Affinity = 5,
    /// What is differs from what is wanted.
    Drift = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<HostError> for Fault {
    fn from(error: HostError) -> Self {
        match error {
            HostError::File(error) => error.into(),
            HostError::Malformed { .. } | HostError::NoCpu { .. } => Self::malformed(error),
        }
    }
}

impl From<FileError> for Fault {
    fn from(error: FileError) -> Self {
        match error.source.kind() {
            // Nothing is wrong with the system then, but with what it was pointed at.
            ErrorKind::IsADirectory => Self::malformed(format!(
                "{}: is a directory (expected a file)",
                error.path.display()
            )),
            _ => Self::system(error),
        }
    }
}

impl From<QmpError> for Fault {
    fn from(error: QmpError) -> Self {
        Self::new(FaultKind::Qmp, error)
    }
}

impl From<ApplyError> for Fault {
    fn from(error: ApplyError) -> Self {
        let kind = match &error {
            ApplyError::Process(_) => FaultKind::System,
            // Nobody is there to be asked, as without a socket.
            ApplyError::NotRunning { .. } => FaultKind::Qmp,
            _ => FaultKind::Affinity,
        };
        Self::new(kind, error)
    }
}

impl From<RecordedError> for Fault {
    fn from(error: RecordedError) -> Self {
        match error {
            RecordedError::Apply(error) => (*error).into(),
            RecordedError::Ledger(_) | RecordedError::NoProcess { .. } => Self::system(error),
        }
    }
}

impl From<ProcessError> for Fault {
    fn from(error: ProcessError) -> Self {
        Self::system(error)
    }
}

impl From<numapin_sysfs_sim::Error> for Fault {
    fn from(error: numapin_sysfs_sim::Error) -> Self {
        match error {
            numapin_sysfs_sim::Error::Io { path, source } => FileError { path, source }.into(),
            _ => Self::malformed(error),
        }
    }
}

impl From<numapin_qmp_mock::MockError> for Fault {
    fn from(error: numapin_qmp_mock::MockError) -> Self {
        match error {
            numapin_qmp_mock::MockError::File { path, source } => FileError { path, source }.into(),
            _ => Self::system(error),
        }
    }
}
