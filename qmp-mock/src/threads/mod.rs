//! The threads of a mock: made up below a captured root, or real ones of this process.

mod fake;
mod host;
mod proc_text;
mod real;

use std::path::{Path, PathBuf};

pub use host::FakeHost;
pub use real::RealHost;

pub(crate) use fake::FakeCrew;
pub(crate) use real::RealCrew;

use crate::MockError;
use crate::guest::Guest;

/// What kind of threads a mock has.
#[derive(Debug, Clone)]
pub enum Threads {
    /// Made up: entries below a captured root, in which only the simulated kernel changes masks.
    Fake(FakeHost),
    /// Real parked threads of this process, for the real system calls.
    Real(RealHost),
}

/// The threads of one mock. (Two kinds, fixed: an enum, no trait.)
#[derive(Debug)]
pub(crate) enum Crew {
    Fake(Box<FakeCrew>),
    Real(RealCrew),
}

/// Where the outside of a mock is.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) socket: PathBuf,
    pub(crate) pid_file: Option<PathBuf>,
}

impl Crew {
    /// Makes the process with its main thread and the threads that are no vCPUs.
    pub(crate) fn start(threads: &Threads, guest: &Guest) -> Result<(Self, Places), MockError> {
        Ok(match threads {
            Threads::Fake(host) => {
                let places = host.places(guest);
                (
                    Self::Fake(Box::new(FakeCrew::prepare(host, guest, &places)?)),
                    places,
                )
            }
            Threads::Real(host) => (Self::Real(RealCrew::start(guest)?), host.places()),
        })
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Fake(crew) => crew.pid(),
            Self::Real(crew) => crew.pid(),
        }
    }

    /// The main thread: new threads inherit its mask.
    pub(crate) fn main_tid(&self) -> u32 {
        match self {
            Self::Fake(crew) => crew.pid(),
            Self::Real(crew) => crew.main_tid(),
        }
    }

    /// A new thread with the main thread's mask. `running`: it computes instead of sleeping.
    pub(crate) fn spawn(&mut self, comm: &str, running: bool) -> Result<u32, MockError> {
        match self {
            Self::Fake(crew) => crew.spawn(comm, running),
            Self::Real(crew) => crew.spawn(comm, running),
        }
    }

    /// Ends a thread; one that has ended already is passed over.
    pub(crate) fn end(&mut self, tid: u32) -> Result<(), MockError> {
        match self {
            Self::Fake(crew) => crew.end(tid),
            Self::Real(crew) => {
                crew.end(tid);
                Ok(())
            }
        }
    }

    /// Id of a thread that has ended.
    pub(crate) fn dead_tid(&mut self) -> Result<u32, MockError> {
        match self {
            Self::Fake(crew) => Ok(crew.dead_tid()),
            Self::Real(crew) => crew.dead_tid(),
        }
    }

    /// Makes the process visible as a whole.
    pub(crate) fn publish(&mut self) -> Result<(), MockError> {
        match self {
            Self::Fake(crew) => crew.publish(),
            Self::Real(_) => Ok(()),
        }
    }

    /// Ends all threads and the process.
    pub(crate) fn end_all(&mut self) {
        match self {
            Self::Fake(crew) => crew.end_all(),
            Self::Real(crew) => crew.end_all(),
        }
    }
}

/// Makes a directory and those above it.
pub(crate) fn make_dir(dir: &Path) -> Result<(), MockError> {
    std::fs::create_dir_all(dir).map_err(MockError::file(dir))
}

/// Writes a file, making the directories above it.
pub(crate) fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), MockError> {
    if let Some(dir) = path.parent() {
        make_dir(dir)?;
    }
    std::fs::write(path, bytes).map_err(MockError::file(path))
}
