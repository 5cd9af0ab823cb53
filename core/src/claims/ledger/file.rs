//! Files of the ledger: read without following anything, and written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Fault, LedgerError};
use crate::claims::Lock;
use crate::root::{FileError, Root};

/// A ledger file of 1,024 vCPUs takes some hundred kB.
const LONGEST: u64 = 8 << 20;

/// The directory of the ledger, where it is; not whether it is there.
pub(super) fn place(root: &Root) -> PathBuf {
    root.run().join("numapin")
}

/// The directory of the ledger, made where it is missing, and fit to be used.
pub(in super::super) fn directory(root: &Root) -> Result<PathBuf, LedgerError> {
    let dir = place(root);
    // What is above it is the system's, or that of who captured the machine; a capture may lack it.
    if !root.run().is_dir() {
        fs::create_dir_all(root.run()).map_err(|source| error(root.run(), source))?;
    }
    root.step(format_args!("make the directory of the ledger"))
        .map_err(|source| error(&dir, source))?;
    match DirBuilder::new().mode(0o755).create(&dir) {
        Ok(()) => fs::set_permissions(&dir, Permissions::from_mode(0o755))
            .map_err(|source| error(&dir, source))?,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(error(&dir, source)),
    }
    check_directory(root, &dir)?;
    Ok(dir)
}

/// Whether the directory is there; it must be one, of its rightful owner, and nobody else may write in it.
pub(super) fn check_directory(root: &Root, dir: &Path) -> Result<bool, LedgerError> {
    let meta = match fs::symlink_metadata(dir) {
        Ok(meta) => meta,
        Err(e) if is_absent(&e) => return Ok(false),
        Err(source) => return Err(error(dir, source)),
    };
    let fault = |fault| LedgerError::Unfit {
        file: dir.to_owned(),
        fault,
    };
    if meta.is_symlink() {
        return Err(fault(Fault::Symlink));
    }
    if !meta.is_dir() {
        return Err(fault(Fault::NoDirectory));
    }
    check_owner(owner(root), &meta).map_err(fault)?;
    Ok(true)
}

/// Whom the ledger belongs to: whoever has the directory it is in (root on this machine, the captor of a captured one).
pub(super) fn owner(root: &Root) -> u32 {
    fs::metadata(root.run()).map_or(0, |meta| meta.uid())
}

/// The text of a ledger file; `None` where it is gone.
pub(super) fn read(path: &Path, owner: u32) -> Result<Option<String>, LedgerError> {
    let unfit = |fault| LedgerError::Unfit {
        file: path.to_owned(),
        fault,
    };
    let file = OpenOptions::new()
        .read(true)
        // Not blocking, so that a FIFO is no wait without end.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    let file = match file {
        Ok(file) => file,
        Err(e) if is_absent(&e) => return Ok(None),
        Err(e) if e.raw_os_error() == Some(libc::ELOOP) => return Err(unfit(Fault::Symlink)),
        Err(source) => return Err(error(path, source)),
    };
    let meta = file.metadata().map_err(|source| error(path, source))?;
    if !meta.is_file() {
        return Err(unfit(Fault::NoFile));
    }
    check_owner(owner, &meta).map_err(unfit)?;
    let mut bytes = Vec::new();
    file.take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| error(path, source))?;
    if bytes.len() as u64 > LONGEST {
        return Err(unfit(Fault::TooLong));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(unfit(Fault::NotText)),
    }
}

/// Writes a file whole: a reader sees the old one or the new one, also when this program is killed. Nothing is synced: `/run` is
/// in memory, a crash of the machine takes all of it, and an entry of another boot counts for nothing anyway.
pub(super) fn write(lock: &Lock, path: &Path, text: &str) -> Result<(), LedgerError> {
    let temporary = temporary(path);
    // One left by a killed program: the lock is ours, so nobody is writing it.
    remove(lock, &temporary)?;
    let result = fill(lock, &temporary, text)
        .and_then(|()| lock.step("rename", &temporary))
        .and_then(|()| fs::rename(&temporary, path));
    result.map_err(|source| {
        let _ = fs::remove_file(&temporary);
        error(path, source)
    })
}

/// Removes a file, also a symlink; whether it was there.
pub(super) fn remove(lock: &Lock, path: &Path) -> Result<bool, LedgerError> {
    if path.symlink_metadata().is_ok() {
        lock.step("remove", path)
            .map_err(|source| error(path, source))?;
    }
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if is_absent(&e) => Ok(false),
        Err(source) => Err(error(path, source)),
    }
}

/// The suffix of files that are being written.
pub(super) const TEMPORARY: &str = ".new";

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY);
    name.into()
}

fn fill(lock: &Lock, path: &Path, text: &str) -> io::Result<()> {
    lock.step("create", path)?;
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    // Whatever the umask: status and plan read it without privilege.
    file.set_permissions(Permissions::from_mode(0o644))?;
    lock.step("write", path)?;
    file.write_all(text.as_bytes())
}

fn check_owner(owner: u32, meta: &fs::Metadata) -> Result<(), Fault> {
    if meta.uid() != owner {
        return Err(Fault::Foreign {
            uid: meta.uid(),
            expected: owner,
        });
    }
    if meta.mode() & 0o022 != 0 {
        return Err(Fault::Writable {
            mode: meta.mode() & 0o777,
        });
    }
    Ok(())
}

fn is_absent(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn error(path: &Path, source: io::Error) -> LedgerError {
    LedgerError::File(FileError {
        path: path.to_owned(),
        source,
    })
}
