//! The lock of a node: claims, plan and ledger are one step, so that two starts at once never take the same CPU.
//!
//! It is a `flock` on a file below `/run/numapin`: the kernel lets go of it when its holder ends, however it ends, so a crashed
//! holder blocks nobody. Nothing is waited for while it is held, QMP least of all.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::ledger::{LedgerError, directory};
use crate::root::{FileError, Root};

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    dir: PathBuf,
    root: Root,
}

/// That this is the only watch of the node, until it is dropped. Nobody who plans or sets waits for it.
#[derive(Debug)]
pub struct WatchLock {
    file: File,
}

/// Why the lock was not got.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error(
        "{} is locked by {holder}, still after {} ms; try again when that is done", file.display(), waited.as_millis()
    )]
    Held {
        /// The file.
        file: PathBuf,
        /// The process that holds it.
        holder: Holder,
        /// How long it was waited.
        waited: Duration,
    },
    /// The directory is not fit to be used.
    #[error(transparent)]
    Directory(#[from] LedgerError),
    /// The file can't be opened or locked.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Who holds the lock, as it wrote itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process number and command ("4711 numapin apply 100"); `None` where it had not written them yet.
    pub text: Option<String>,
}

/// How long is slept between two tries: short beside what a holder does, long beside what a try costs.
const PAUSE: Duration = Duration::from_millis(25);

impl Lock {
    /// Takes the lock of a node, waiting at most so long. `command` is what others are told who waits for it.
    ///
    /// # Errors
    /// It is held by another process beyond the deadline, or it can't be made.
    pub fn acquire(root: &Root, command: &str, wait: Duration) -> Result<Self, LockError> {
        let dir = directory(root)?;
        let file = take(root, "the lock", &dir.join("lock"), command, wait)?;
        let root = root.clone();
        Ok(Self { file, dir, root })
    }

    /// The directory that it guards.
    #[must_use]
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The machine that it is of.
    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// Right before an effect on a file in it, as [`Root::step`].
    pub(super) fn step(&self, what: &str, path: &Path) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default();
        self.root
            .step(format_args!("{what} {}", name.to_string_lossy()))
    }
}

impl WatchLock {
    /// Takes the watch of a node, without waiting.
    ///
    /// # Errors
    /// Another process has it, or it can't be made.
    pub fn acquire(root: &Root, command: &str) -> Result<Self, LockError> {
        let path = directory(root)?.join("watch.lock");
        let file = take(
            root,
            "the lock of the watch",
            &path,
            command,
            Duration::ZERO,
        )?;
        Ok(Self { file })
    }
}

impl Drop for WatchLock {
    fn drop(&mut self) {
        // Best effort, as with the other one.
        let _ = self.file.set_len(0);
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.root.step(format_args!("let go of the lock"));
        // Best effort: the lock itself ends with the file.
        let _ = self.file.set_len(0);
    }
}

impl Holder {
    fn read(file: &mut File) -> Self {
        let mut text = String::new();
        let read = file.take(200).read_to_string(&mut text);
        let text = text.trim();
        Self {
            text: (read.is_ok() && !text.is_empty()).then(|| text.to_owned()),
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self
            .text
            .as_deref()
            .map(|text| (text, text.split_once(' ')))
        {
            Some((_, Some((pid, command)))) => write!(f, "process {pid} ({command})"),
            Some((pid, None)) => write!(f, "process {pid}"),
            None => f.write_str("a process that has not said which"),
        }
    }
}

/// Locks a file, waiting at most so long.
fn take(
    root: &Root,
    what: &str,
    path: &Path,
    command: &str,
    wait: Duration,
) -> Result<File, LockError> {
    let refused = |source| FileError {
        path: path.to_owned(),
        source,
    };
    root.step(format_args!("open {what}")).map_err(refused)?;
    let begin = Instant::now();
    loop {
        let mut file = open(path)?;
        match file.try_lock() {
            // Somebody may have removed the file between open and lock: then another one can be locked by others.
            Ok(()) if same(&file, path) => {
                root.step(format_args!("sign {what}")).map_err(refused)?;
                // Only who waits reads it; without it the lock is as good.
                let _ = sign(&mut file, command);
                return Ok(file);
            }
            Ok(()) => {}
            Err(TryLockError::Error(source)) => return Err(refused(source).into()),
            Err(TryLockError::WouldBlock) => {
                let waited = begin.elapsed();
                if waited >= wait {
                    return Err(LockError::Held {
                        file: path.to_owned(),
                        holder: Holder::read(&mut file),
                        waited,
                    });
                }
                thread::sleep(PAUSE.min(wait - waited));
            }
        }
    }
}

/// Opens the file for its owner only: whoever can open a file can lock it, and must not be able to stop every start.
fn open(path: &Path) -> Result<File, FileError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    file.map_err(|source| FileError {
        path: path.to_owned(),
        source,
    })
}

fn same(file: &File, path: &Path) -> bool {
    let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
    let there = fs::symlink_metadata(path).map(id).ok();
    there.is_some() && file.metadata().map(id).ok() == there
}

fn sign(file: &mut File, command: &str) -> io::Result<()> {
    let command: String = command
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(120)
        .collect();
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{} {command}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    fn machine() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::captured(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn the_second_waits_until_its_deadline_and_is_told_who_holds_it() {
        let (dir, root) = machine();
        let first = Lock::acquire(&root, "numapin apply\n100", Duration::ZERO).unwrap();
        let begin = Instant::now();
        let refused = Lock::acquire(&root, "numapin hook", Duration::from_millis(60)).unwrap_err();
        assert!(begin.elapsed() >= Duration::from_millis(60));
        let told = refused.to_string();
        let file = dir.path().join("run/numapin/lock");
        let expected = format!(
            "{} is locked by process {} (numapin apply 100), still after ",
            file.display(),
            std::process::id()
        );
        assert!(told.starts_with(&expected), "{told}");
        drop(first);
        let second = Lock::acquire(&root, "numapin hook", Duration::ZERO).unwrap();
        assert_eq!(second.dir(), dir.path().join("run/numapin"));
    }

    #[test]
    fn who_waits_gets_it_as_soon_as_it_is_free() {
        let (_dir, root) = machine();
        let first = Lock::acquire(&root, "numapin apply 100", Duration::ZERO).unwrap();
        let waiting = {
            let root = root.clone();
            thread::spawn(move || {
                Lock::acquire(&root, "numapin hook", Duration::from_secs(20)).is_ok()
            })
        };
        thread::sleep(Duration::from_millis(60));
        drop(first);
        assert!(waiting.join().unwrap());
    }

    #[test]
    fn what_a_crashed_holder_left_blocks_nobody() {
        let (dir, root) = machine();
        drop(Lock::acquire(&root, "numapin apply 100", Duration::ZERO).unwrap());
        // The text of a holder that was killed, and no lock.
        let file = dir.path().join("run/numapin/lock");
        fs::write(&file, "4711 numapin apply 100\n").unwrap();
        let _second = Lock::acquire(&root, "numapin reset 7", Duration::ZERO).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text, format!("{} numapin reset 7\n", std::process::id()));
    }

    #[test]
    fn a_lock_on_a_removed_file_is_no_lock() {
        let (dir, root) = machine();
        let file = dir.path().join("run/numapin/lock");
        let _first = Lock::acquire(&root, "numapin apply 100", Duration::ZERO).unwrap();
        fs::remove_file(&file).unwrap();
        let _second = Lock::acquire(&root, "numapin apply 101", Duration::ZERO).unwrap();
        let third = Lock::acquire(&root, "numapin apply 102", Duration::ZERO).unwrap_err();
        assert!(third.to_string().contains("(numapin apply 101)"), "{third}");
    }

    #[test]
    fn a_node_has_one_watch_and_everybody_else_goes_on() {
        let (_dir, root) = machine();
        let first = WatchLock::acquire(&root, "numapin watch").unwrap();
        let second = WatchLock::acquire(&root, "numapin watch --adopt").unwrap_err();
        let holder = format!("process {} (numapin watch)", std::process::id());
        assert!(second.to_string().contains(&holder), "{second}");
        Lock::acquire(&root, "numapin apply 100", Duration::ZERO).unwrap();
        drop(first);
        WatchLock::acquire(&root, "numapin watch").unwrap();
    }
}
