//! Files, symbolic links and empty directories by path: what a generator makes and a recording holds.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use crate::error::Error;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A regular file with its bytes (shared: thousands of files of a tree say the same).
    File(Arc<[u8]>),
    /// A symbolic link with its target.
    Link(String),
    /// A directory with nothing in it.
    Dir,
}

/// The entries of a machine by their path, which is relative to the root: `sys/devices/system/cpu/online`.
pub type Tree = BTreeMap<String, Entry>;

/// Writes all entries below `dir`, which is made where it does not exist. Nothing that exists is changed, and no symbolic
/// link is followed.
pub(crate) fn write(tree: &Tree, dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
    // Paths come in order, so the directory of the last one is mostly that of the next one, too.
    let mut made = String::new();
    for (path, entry) in tree {
        if let Some(problem) = bad_path(path) {
            let what = format!("such a path of a machine {problem}");
            return Err(Error::io(
                path,
                io::Error::new(io::ErrorKind::InvalidInput, what),
            ));
        }
        let parent = match entry {
            Entry::Dir => path,
            _ => path.rsplit_once('/').map_or("", |(parent, _)| parent),
        };
        if parent != made {
            make_dirs(dir, parent)?;
            parent.clone_into(&mut made);
        }
        let full = dir.join(path);
        let done = match entry {
            Entry::File(bytes) => {
                fs::File::create_new(&full).and_then(|mut file| file.write_all(bytes))
            }
            Entry::Link(target) => std::os::unix::fs::symlink(target, &full),
            Entry::Dir => Ok(()),
        };
        done.map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists { path: full },
            _ => Error::io(full, e),
        })?;
    }
    Ok(())
}

/// Makes of a directory that holds `before` one that holds `after`; what is in neither stays as it is. A file is replaced
/// in one step, so that a reader sees the old or the new text. Directories of `before` that end up empty vanish.
pub(crate) fn change(dir: &Path, before: &Tree, after: &Tree) -> Result<(), Error> {
    for path in before.keys().filter(|path| !after.contains_key(*path)) {
        let full = dir.join(path);
        match before.get(path) {
            Some(Entry::Dir) => {}
            _ => remove(&full)?,
        }
        let mut parent = full.as_path();
        while let Some(up) = parent
            .parent()
            .filter(|up| *up != dir && up.starts_with(dir))
        {
            if fs::remove_dir(up).is_err() {
                break;
            }
            parent = up;
        }
    }
    for (path, entry) in after
        .iter()
        .filter(|(path, entry)| before.get(*path) != Some(*entry))
    {
        let full = dir.join(path);
        match (entry, path.rsplit_once('/')) {
            (Entry::Dir, _) => make_dirs(dir, path)?,
            (_, Some((parent, _))) => make_dirs(dir, parent)?,
            (_, None) => {}
        }
        match entry {
            Entry::File(bytes) => {
                let new = dir.join(".numapin-sim-new");
                fs::write(&new, bytes).map_err(|e| Error::io(&new, e))?;
                fs::rename(&new, &full).map_err(|e| Error::io(&full, e))?;
            }
            Entry::Link(target) => {
                remove(&full)?;
                std::os::unix::fs::symlink(target, &full).map_err(|e| Error::io(&full, e))?;
            }
            Entry::Dir => {}
        }
    }
    Ok(())
}

/// Why a path can't be one of a tree, if so.
pub(crate) fn bad_path(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("is empty");
    }
    if path.starts_with('/') {
        return Some("is absolute (expected one relative to the root of the machine)");
    }
    if path.contains('\0') {
        return Some("has a NUL");
    }
    if path.len() > 1024 {
        return Some("is longer than 1024 bytes");
    }
    path.split('/').find_map(|part| match part {
        "" => Some("has an empty part"),
        "." | ".." => Some("has a part '.' or '..'"),
        _ if part.len() > 255 => Some("has a part longer than 255 bytes"),
        _ => None,
    })
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(path, e)),
        _ => Ok(()),
    }
}

/// Makes `path` below `dir`, part by part, and refuses a part that is anything but a directory.
fn make_dirs(dir: &Path, path: &str) -> Result<(), Error> {
    let mut full = dir.to_owned();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        full.push(part);
        match fs::create_dir(&full) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let kind = fs::symlink_metadata(&full).map_err(|e| Error::io(&full, e))?;
                if !kind.is_dir() {
                    return Err(Error::Exists { path: full });
                }
            }
            Err(e) => return Err(Error::io(full, e)),
        }
    }
    Ok(())
}
