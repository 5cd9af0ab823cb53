//! Where /sys, /proc, /run and /etc/pve are: of this machine, or of a captured or simulated one.
//!
//! Every reader takes a [`Root`]. Only a [`LiveRoot`] leads to real affinity system calls; a [`CapturedRoot`] leads to the
//! simulated kernel. So a plan made for another host can't reach a real thread.

mod reader;
mod reason;
mod stamp;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::steps::Steps;

pub use reader::Reader;
pub use reason::{FileError, reason};
pub use stamp::Stamp;

/// The machine that is read, and acted on.
#[derive(Debug, Clone)]
pub enum Root {
    /// This machine.
    Live(LiveRoot),
    /// A captured or simulated machine below a directory.
    Captured(CapturedRoot),
}

/// This machine. Made by [`Root::live`] only.
#[derive(Debug, Clone)]
pub struct LiveRoot {
    places: Places,
}

/// A captured or simulated machine. Made by [`Root::captured`] and [`Root::sysfs`] only.
#[derive(Debug, Clone)]
pub struct CapturedRoot {
    dir: PathBuf,
    places: Places,
    steps: Steps,
}

#[derive(Debug, Clone)]
struct Places {
    sys: PathBuf,
    proc: PathBuf,
    run: PathBuf,
    etc_pve: PathBuf,
    dev: PathBuf,
}

impl Root {
    /// This machine.
    #[must_use]
    pub fn live() -> Self {
        Self::Live(LiveRoot {
            places: Places::below(Path::new("/")),
        })
    }

    /// A machine of which everything is below `dir` (`dir/sys`, `dir/proc`, `dir/run`, `dir/etc/pve`).
    ///
    /// # Errors
    /// `dir` is not a directory that can be read.
    pub fn captured(dir: &Path) -> Result<Self, FileError> {
        must_be_dir(dir)?;
        Ok(Self::Captured(CapturedRoot {
            dir: dir.to_owned(),
            places: Places::below(dir),
            steps: Steps::below(dir),
        }))
    }

    /// The machine of a sysfs directory, or of a dump that holds `sys/`. `/sys` is a captured root like any other here: it
    /// is read, and nothing is set.
    ///
    /// # Errors
    /// `dir` is not a directory that can be read.
    pub fn sysfs(dir: &Path) -> Result<Self, FileError> {
        let sys = dir.join("sys");
        if sys.is_dir() {
            return Self::captured(dir);
        }
        must_be_dir(dir)?;
        // A bare sysfs tells nothing of the other places: none of them exists.
        let absent = dir.join("numapin-absent");
        let places = Places {
            sys: dir.to_owned(),
            ..Places::below(&absent)
        };
        Ok(Self::Captured(CapturedRoot {
            dir: dir.to_owned(),
            places,
            steps: Steps::default(),
        }))
    }

    /// Whether this is the machine itself.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    /// The directory that stands for `/sys`.
    #[must_use]
    pub fn sys(&self) -> &Path {
        &self.places().sys
    }

    /// The directory that stands for `/proc`.
    #[must_use]
    pub fn proc(&self) -> &Path {
        &self.places().proc
    }

    /// The directory that stands for `/run` (`/var/run` is the same).
    #[must_use]
    pub fn run(&self) -> &Path {
        &self.places().run
    }

    /// The directory that stands for `/etc/pve`.
    #[must_use]
    pub fn etc_pve(&self) -> &Path {
        &self.places().etc_pve
    }

    /// The directory that stands for `/dev` (old cpuset mounts are below it).
    #[must_use]
    pub fn dev(&self) -> &Path {
        &self.places().dev
    }

    /// Right before an effect: below a captured root it counts as one of its [`Steps`], on this machine nothing happens.
    ///
    /// # Errors
    /// A test of a captured root wants it refused.
    pub fn step(&self, what: fmt::Arguments<'_>) -> io::Result<()> {
        match self {
            Self::Live(_) => Ok(()),
            Self::Captured(root) => root.steps.step(what),
        }
    }

    fn places(&self) -> &Places {
        match self {
            Self::Live(root) => &root.places,
            Self::Captured(root) => &root.places,
        }
    }
}

impl CapturedRoot {
    /// The directory that holds the machine. Nothing outside it is touched.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory that stands for `/sys`.
    #[must_use]
    pub fn sys(&self) -> &Path {
        &self.places.sys
    }

    /// The directory that stands for `/proc`.
    #[must_use]
    pub fn proc(&self) -> &Path {
        &self.places.proc
    }

    /// The steps that a test of it counts.
    #[must_use]
    pub fn steps(&self) -> &Steps {
        &self.steps
    }
}

impl LiveRoot {
    /// The directory `/proc`.
    #[must_use]
    pub fn proc(&self) -> &Path {
        &self.places.proc
    }
}

impl Places {
    fn below(dir: &Path) -> Self {
        Self {
            sys: dir.join("sys"),
            proc: dir.join("proc"),
            run: dir.join("run"),
            etc_pve: dir.join("etc/pve"),
            dev: dir.join("dev"),
        }
    }
}

/// The text of a file, or `None` where it does not exist. Bytes that are not UTF-8 are replaced: what the kernel or
/// somebody's dump holds is read leniently.
///
/// # Errors
/// The file is there and can't be read.
pub fn read_text(path: &Path) -> Result<Option<String>, FileError> {
    let mut reader = Reader::below(path);
    Ok(reader.read(format_args!(""))?.map(ToOwned::to_owned))
}

/// The names in a directory in ascending order, or `None` where it does not exist. Names that are not UTF-8 are left out: the
/// kernel makes none.
///
/// # Errors
/// The directory is there and can't be read.
pub fn read_names(dir: &Path) -> Result<Option<Vec<String>>, FileError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if is_absent(&e) => return Ok(None),
        Err(source) => return Err(FileError::of(dir, source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| FileError::of(dir, source))?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(Some(names))
}

impl FileError {
    pub(crate) fn of(path: &Path, source: io::Error) -> Self {
        Self {
            path: path.to_owned(),
            source,
        }
    }
}

/// Whether it is not there. A CPU or device that goes away between open and read answers ENODEV or ENXIO, a process ESRCH.
fn is_absent(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    ) || matches!(
        e.raw_os_error(),
        Some(libc::ENODEV | libc::ENXIO | libc::ESRCH)
    )
}

fn must_be_dir(dir: &Path) -> Result<(), FileError> {
    fs::read_dir(dir)
        .map(drop)
        .map_err(|source| FileError::of(dir, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_and_a_bare_sysfs_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let bare = Root::sysfs(dir.path()).unwrap();
        assert_eq!(bare.sys(), dir.path());
        assert!(!bare.proc().exists() && !bare.is_live());
        fs::create_dir(dir.path().join("sys")).unwrap();
        let dump = Root::sysfs(dir.path()).unwrap();
        assert_eq!(dump.sys(), dir.path().join("sys"));
        assert_eq!(dump.etc_pve(), dir.path().join("etc/pve"));
    }

    #[test]
    fn a_missing_root_is_named() {
        let e = Root::captured(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(e.to_string(), "/nowhere/at/all: no such file or directory");
    }
}
