//! The ledger: what numapin planned for each guest, and which masks it found, one JSON file a guest below `/run/numapin`.
//!
//! ```text
//! /run/numapin ─┬─ lock        see [`lock`](super::lock): whoever writes holds it
//!               ├─ 100.json    a guest of Proxmox VE, by its VMID
//!               └─ pid-71.json another QEMU, by its process
//! ```
//! An entry is bound to its process (number and start time) and to the boot of the host; one whose process is gone counts as
//! absent, and is removed by the next holder of the lock. A file that can't be used is told, with what to do, and concerns its
//! own guest only. Everybody may read it, so that plan and status need no privilege.

mod again;
mod entry;
mod file;
#[cfg(test)]
pub(super) mod tests;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::lock::Lock;
use crate::id::Vmid;
use crate::process::{self, ProcessError};
use crate::root::{FileError, Root, read_names, read_text};
use crate::sorted;

pub use again::Again;
pub use entry::{Entry, EntryState, KeptPolicy};
pub(super) use file::directory;

/// The version of the ledger's files. Fields are only added within a version.
pub const SCHEMA: u32 = 1;

/// What the ledger holds.
#[derive(Debug, Default)]
pub struct Entries {
    /// The entries that count: guests with a VMID ascending, then the others by process.
    pub alive: Vec<Entry>,
    /// The entries whose process is gone, or that are of another boot.
    pub dead: Vec<Entry>,
    /// Files that can't be used.
    pub problems: Vec<LedgerError>,
}

/// Why a file of the ledger can't be used or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not what it should be.
    #[error("{}: {fault}", file.display())]
    Unfit {
        /// Which one.
        file: PathBuf,
        /// What is wrong.
        fault: Fault,
    },
    /// It ends too early.
    #[error("{}: ends in the middle of an entry; {REMOVE}", file.display())]
    Cut {
        /// Which one.
        file: PathBuf,
    },
    /// It is no entry.
    #[error("{}:{line}: is no entry of the ledger ({reason}); {REMOVE}", file.display())]
    Malformed {
        /// Which one.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What was expected.
        reason: String,
    },
    /// It was written by a newer numapin.
    #[error(
        "{}: has schema {found}, and this numapin knows up to {SCHEMA}; use the newer one, or stop the guest and remove the file", file.display()
    )]
    Newer {
        /// Which one.
        file: PathBuf,
        /// Its version.
        found: u64,
    },
    /// It holds another guest's entry.
    #[error("{}: holds the entry of {found:?}; {REMOVE}", file.display())]
    Misnamed {
        /// Which one.
        file: PathBuf,
        /// The name that the file should have, without its suffix.
        found: String,
    },
    /// Whether the process of an entry lives can't be told: it counts as living.
    #[error("{}: whether its process lives can't be told: {source}", file.display())]
    Process {
        /// Which one.
        file: PathBuf,
        /// What was not understood.
        source: Box<ProcessError>,
    },
}

/// What to do about an entry that is of no use.
const REMOVE: &str = "remove it: what runs is seen anyway, and the next apply writes it again";

/// What is wrong with a file or the directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A symbolic link.
    #[error("is a symbolic link, which is never followed here; remove it")]
    Symlink,
    /// Something else than a file.
    #[error("is no file; remove it")]
    NoFile,
    /// Something else than a directory.
    #[error("is no directory; remove it")]
    NoDirectory,
    /// Somebody else's.
    #[error("belongs to user {uid}, not to user {expected}; remove it, and find out who made it")]
    Foreign {
        /// The owner.
        uid: u32,
        /// Who should own it.
        expected: u32,
    },
    /// Others can write it.
    #[error("can be written by others (mode {mode:o}); remove it, and find out who changed it")]
    Writable {
        /// The permissions.
        mode: u32,
    },
    /// Far longer than any entry.
    #[error("is longer than any entry; {REMOVE}")]
    TooLong,
    /// Not UTF-8.
    #[error("is no text; {REMOVE}")]
    NotText,
}

/// Reads the ledger. Needs no privilege and no lock.
///
/// # Errors
/// The directory is there and can't be used.
pub fn read(root: &Root) -> Result<Entries, LedgerError> {
    let dir = file::place(root);
    let mut entries = Entries::default();
    if !file::check_directory(root, &dir)? {
        return Ok(entries);
    }
    let owner = file::owner(root);
    let boot = boot_id(root);
    for name in read_names(&dir)?.unwrap_or_default() {
        let Some(stem) = name.strip_suffix(".json") else {
            continue;
        };
        let path = dir.join(&name);
        match entry(&path, stem, owner) {
            Ok(None) => {}
            Ok(Some(entry)) => {
                let alive = is_alive(root, &entry, &boot);
                entries.add(path, entry, alive);
            }
            Err(problem) => entries.problems.push(problem),
        }
    }
    entries.sort();
    Ok(entries)
}

/// Writes an entry whole or not at all; whether there was one before. Written before the first mask is set, it tells the way
/// back.
///
/// # Errors
/// The file can't be written, or is of a newer numapin, which alone knows the way back; then the old one is as it was.
pub fn write(lock: &Lock, entry: &Entry) -> Result<bool, LedgerError> {
    let path = path(lock.dir(), entry);
    let existed = must_not_be_newer(lock, &path)?;
    file::write(lock, &path, &entry.to_text())?;
    Ok(existed)
}

/// Removes an entry; whether it was there.
///
/// # Errors
/// The file can't be removed, or is of a newer numapin.
pub fn remove(lock: &Lock, entry: &Entry) -> Result<bool, LedgerError> {
    let path = path(lock.dir(), entry);
    must_not_be_newer(lock, &path)?;
    file::remove(lock, &path)
}

/// Where the entry of a guest of Proxmox VE is, if it has one: whether it is there can be told without reading anything.
#[must_use]
pub fn file_of(root: &Root, vmid: Vmid) -> PathBuf {
    file::place(root).join(format!("{vmid}.json"))
}

/// Reads the ledger, and removes the entries that are dead and what killed programs left.
///
/// # Errors
/// A file can't be removed, or the directory not be read.
pub fn tidy(root: &Root, lock: &Lock) -> Result<Entries, LedgerError> {
    let mut entries = read(root)?;
    for entry in entries.dead.drain(..) {
        remove(lock, &entry)?;
    }
    for name in read_names(lock.dir())?.unwrap_or_default() {
        if name.ends_with(file::TEMPORARY) {
            file::remove(lock, &lock.dir().join(name))?;
        }
    }
    Ok(entries)
}

/// The entry of one guest: of a VMID, else of a process; nothing else is read. `None` where it has none, or one that is dead or
/// can't be used, which is told when the ledger is read.
///
/// # Errors
/// The directory is there and can't be used.
pub fn of(
    root: &Root,
    vmid: Option<Vmid>,
    process: Option<process::Process>,
) -> Result<Option<Entry>, LedgerError> {
    let dir = file::place(root);
    let stem = entry::stem(vmid, process);
    if !file::check_directory(root, &dir)? {
        return Ok(None);
    }
    let path = dir.join(format!("{stem}.json"));
    let entry = entry(&path, &stem, file::owner(root)).ok().flatten();
    let boot = boot_id(root);
    Ok(entry.filter(|entry| is_alive(root, entry, &boot).unwrap_or(true)))
}

/// The id of this boot of the host; empty where a captured machine does not tell.
#[must_use]
pub fn boot_id(root: &Root) -> String {
    let text = read_text(&root.proc().join("sys/kernel/random/boot_id"));
    let text = text.ok().flatten().unwrap_or_default();
    text.trim().to_owned()
}

impl Entries {
    /// Adds an entry. One of which it can't be told whether its process lives counts as living.
    fn add(&mut self, file: PathBuf, entry: Entry, alive: Result<bool, ProcessError>) {
        match alive {
            Ok(false) => return self.dead.push(entry),
            Ok(true) => {}
            Err(source) => self.problems.push(LedgerError::Process {
                file,
                source: Box::new(source),
            }),
        }
        self.alive.push(entry);
    }

    fn sort(&mut self) {
        let order = |entry: &Entry| {
            let pid = entry.process.map(|process| process.pid);
            (entry.vmid.is_none(), entry.vmid, pid)
        };
        sorted::sort_by_key(&mut self.alive, order);
        sorted::sort_by_key(&mut self.dead, order);
    }

    /// Puts an entry in the place of the one that its guest had, as it was written.
    pub fn put(&mut self, entry: Entry) {
        self.take_out(&entry);
        self.alive.push(entry);
        self.sort();
    }

    /// Takes the entry of a guest out, as it was removed.
    pub fn take_out(&mut self, entry: &Entry) {
        let key = |entry: &Entry| match entry.vmid {
            Some(vmid) => (Some(vmid), None),
            None => (None, entry.process.map(|process| process.pid)),
        };
        self.alive.retain(|other| key(other) != key(entry));
    }

    /// The entry of a guest of Proxmox VE.
    #[must_use]
    pub fn of(&self, vmid: Vmid) -> Option<&Entry> {
        self.alive.iter().find(|entry| entry.vmid == Some(vmid))
    }

    /// The entry of a process.
    #[must_use]
    pub fn of_process(&self, process: process::Process) -> Option<&Entry> {
        let mut alive = self.alive.iter();
        alive.find(|entry| entry.process == Some(process))
    }
}

/// What a newer numapin kept is the only way back from what it set, and only it can read it. Whether there is a file at all.
fn must_not_be_newer(lock: &Lock, path: &Path) -> Result<bool, LedgerError> {
    let text = match file::read(path, file::owner(lock.root())) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(false),
        // Whatever it is, it is no entry.
        Err(_) => return Ok(true),
    };
    match entry::version(&text) {
        Ok(found) if found > u64::from(SCHEMA) => Err(LedgerError::Newer {
            file: path.to_owned(),
            found,
        }),
        _ => Ok(true),
    }
}

/// Reads an entry; `None` where its file is gone.
fn entry(path: &Path, stem: &str, owner: u32) -> Result<Option<Entry>, LedgerError> {
    match file::read(path, owner)? {
        Some(text) => Entry::parse(path, stem, &text).map(Some),
        None => Ok(None),
    }
}

fn path(dir: &Path, entry: &Entry) -> PathBuf {
    dir.join(format!("{}.json", entry.stem()))
}

/// Whether an entry counts: its process lives; or the guest is starting, which it is while its config is locked or its QEMU
/// lives.
fn is_alive(root: &Root, entry: &Entry, boot: &str) -> Result<bool, ProcessError> {
    if entry.boot_id != boot {
        return Ok(false);
    }
    if let Some(process) = entry.process {
        return Ok(process::process(root, process.pid)? == Some(process));
    }
    let Some(vmid) = entry.vmid else {
        return Ok(false);
    };
    if config_is_locked(root, vmid) {
        return Ok(true);
    }
    // A pid file that lies is no QEMU of this guest.
    Ok(matches!(process::guest_process(root, vmid), Ok(Some(_))))
}

/// Whether somebody holds the lock of a guest's config, as Proxmox VE does for a whole start. A file that may not be opened
/// counts as locked: a claim too many is seen, one too few is a CPU held twice.
///
/// The lock is tried shared and given back at once. Should Proxmox VE ask for it in just this moment, it waits for it as it
/// does for every other holder.
fn config_is_locked(root: &Root, vmid: Vmid) -> bool {
    let name = format!("lock/qemu-server/lock-{vmid}.conf");
    match File::open(root.run().join(name)) {
        Ok(file) => matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)),
        Err(e) => e.kind() == std::io::ErrorKind::PermissionDenied,
    }
}
