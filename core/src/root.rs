//! Where /sys, /proc, /run and /etc/pve are: of this machine, or of a captured or simulated one.
//!
//! Every reader takes a [`Root`]. Only a [`LiveRoot`] leads to real affinity system calls; a [`CapturedRoot`] leads to the
//! simulated kernel. So a plan made for another host can't reach a real thread.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

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
}

#[derive(Debug, Clone)]
struct Places {
    sys: PathBuf,
    proc: PathBuf,
    run: PathBuf,
    etc_pve: PathBuf,
    dev: PathBuf,
}

/// A file or directory that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct FileError {
    /// Which one.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
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
    match fs::read(path) {
        Ok(bytes) => Ok(Some(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
        })),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(source) => Err(FileError {
            path: path.to_owned(),
            source,
        }),
    }
}

fn must_be_dir(dir: &Path) -> Result<(), FileError> {
    fs::read_dir(dir).map(drop).map_err(|source| FileError {
        path: dir.to_owned(),
        source,
    })
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
        assert_eq!(
            e.to_string(),
            "/nowhere/at/all: No such file or directory (os error 2)"
        );
    }
}
