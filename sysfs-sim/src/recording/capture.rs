//! Records a machine: copies the bytes of topology files, and interprets nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::in_a_line;
use super::patterns::{self, CPUSET_FILES, CPUSET_MOUNTS, PATTERNS};
use super::{Recording, destination};
use crate::error::Error;
use crate::tree::{Entry, Tree, bad_path};

/// The largest file that is recorded. Topology files are far smaller.
const MAX_FILE: u64 = 1 << 18;

/// Records the machine below `dir`: `/` for this one, the root of a dump (which holds `sys/`), or a sysfs directory alone.
/// Needs no privilege. A file that can't be read, is too large or leads out of the machine becomes a note.
///
/// # Errors
/// There is no `sys/devices/system/cpu` (or `devices/system/cpu`) below `dir`.
pub fn record(dir: &Path) -> Result<Recording, Error> {
    let bare = !dir.join("sys/devices/system/cpu").is_dir();
    if bare && !dir.join("devices/system/cpu").is_dir() {
        return Err(Error::NoSysfs {
            dir: dir.to_owned(),
        });
    }
    let canonical = fs::canonicalize(dir).map_err(|e| Error::io(dir, e))?;
    let mut capture = Capture {
        dir,
        canonical,
        bare,
        tree: Tree::new(),
        dirs: BTreeSet::new(),
        notes: BTreeSet::new(),
    };
    for pattern in PATTERNS {
        capture.walk(String::new(), pattern);
    }
    capture.cgroups_of_self();
    Ok(capture.finish())
}

struct Capture<'a> {
    dir: &'a Path,
    /// The same without symbolic links.
    canonical: PathBuf,
    /// `dir` is a sysfs itself.
    bare: bool,
    tree: Tree,
    /// Directories whose existence tells something.
    dirs: BTreeSet<String>,
    notes: BTreeSet<String>,
}

impl Capture<'_> {
    /// What a dump says of the control group in which it was made: the CPU sets of that group and of those above it. On a living
    /// machine `proc/self` is a link, and says where this program runs: that is nobody's business, and left out.
    fn cgroups_of_self(&mut self) {
        if !self
            .on_disk("proc/self")
            .is_some_and(|full| full.is_dir() && !full.is_symlink())
        {
            return;
        }
        let mut groups = BTreeSet::new();
        for file in ["proc/self/cgroup", "proc/self/cpuset"] {
            self.leaf(file);
            let Some(Entry::File(bytes)) = self.tree.get(file) else {
                continue;
            };
            // The path stands last: `0::/a/b`, or alone.
            for line in String::from_utf8_lossy(bytes).lines() {
                let path = line
                    .rsplit(':')
                    .next()
                    .unwrap_or_default()
                    .trim_matches('/');
                groups.extend(
                    Some(path)
                        .filter(|path| bad_path(path).is_none())
                        .map(str::to_owned),
                );
            }
        }
        for group in groups {
            let ends = group
                .match_indices('/')
                .map(|(at, _)| at)
                .chain([group.len()]);
            for dir in ends.filter_map(|end| group.get(..end)) {
                for (mount, file) in CPUSET_MOUNTS
                    .iter()
                    .flat_map(|m| CPUSET_FILES.map(|f| (m, f)))
                {
                    let parent = format!("{mount}/{dir}");
                    // Names are taken as they stand, never as patterns.
                    if self
                        .on_disk(&parent)
                        .is_some_and(|full| self.is_inside(&full))
                    {
                        for name in self.names(&parent, file) {
                            self.leaf(&join(&parent, &name));
                        }
                    }
                }
            }
        }
    }

    fn is_inside(&self, full: &Path) -> bool {
        fs::canonicalize(full).is_ok_and(|full| full.starts_with(&self.canonical))
    }

    /// Where a path of the machine is on disk, if it can be there.
    fn on_disk(&self, path: &str) -> Option<PathBuf> {
        if !self.bare {
            return Some(self.dir.join(path));
        }
        match path.strip_prefix("sys") {
            Some("") => Some(self.dir.to_owned()),
            Some(rest) => Some(self.dir.join(rest.strip_prefix('/')?)),
            None => None,
        }
    }

    /// Follows what is left of a pattern from the directory `at`.
    fn walk(&mut self, at: String, pattern: &str) {
        let Some((part, rest)) = pattern.split_once('/') else {
            for name in self.names(&at, pattern) {
                self.leaf(&join(&at, &name));
            }
            return;
        };
        let open = part.contains(['#', '*']);
        for name in self.names(&at, part) {
            let mut next = join(&at, &name);
            let Some(full) = self.on_disk(&next) else {
                continue;
            };
            // A link among many (a PCI device) is recorded as one, and followed to where the files are. A link of a name
            // that is fixed is passed through.
            if open && full.is_symlink() {
                match self.link(&next) {
                    Some(destination) => next = destination,
                    None => continue,
                }
            }
            let Some(full) = self.on_disk(&next).filter(|full| full.is_dir()) else {
                continue;
            };
            if !self.is_inside(&full) {
                self.note(&next, format_args!("leads out of the machine"));
            } else if rest.is_empty() {
                self.dirs.insert(next);
            } else {
                self.walk(next, rest);
            }
        }
    }

    /// The names in a directory that a part of a pattern stands for, in order.
    fn names(&mut self, at: &str, part: &str) -> BTreeSet<String> {
        if !part.contains(['#', '*']) {
            return BTreeSet::from([part.to_owned()]);
        }
        let Some(entries) = self.on_disk(at).and_then(|full| fs::read_dir(full).ok()) else {
            return BTreeSet::new();
        };
        entries
            .filter_map(Result::ok)
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| patterns::matches(part, name))
            .collect()
    }

    fn leaf(&mut self, path: &str) {
        let Some(full) = self.on_disk(path) else {
            return;
        };
        let Ok(kind) = fs::symlink_metadata(&full) else {
            return;
        };
        if kind.is_symlink() {
            self.link(path);
        } else if kind.is_file() {
            let mut bytes = Vec::new();
            let read =
                fs::File::open(&full).and_then(|f| f.take(MAX_FILE + 1).read_to_end(&mut bytes));
            match read {
                Ok(_) if bytes.len() as u64 > MAX_FILE => {
                    self.note(path, format_args!("larger than {MAX_FILE} bytes"));
                }
                Ok(_) => {
                    self.tree
                        .insert(path.to_owned(), Entry::File(Arc::from(bytes)));
                }
                Err(e) => {
                    self.note(path, format_args!("{e}"));
                }
            }
        } else if !kind.is_dir() {
            self.note(path, format_args!("not a regular file"));
        }
    }

    /// Records a link. Gives the path where it leads to.
    fn link(&mut self, path: &str) -> Option<String> {
        let target = self
            .on_disk(path)
            .and_then(|full| fs::read_link(full).ok())?;
        let target = target.to_str().unwrap_or_default();
        match destination(path, target).filter(|_| bad_path(path).is_none()) {
            Some(destination) => {
                self.tree
                    .insert(path.to_owned(), Entry::Link(target.to_owned()));
                Some(destination)
            }
            None => {
                self.note(path, format_args!("leads out of the machine"));
                None
            }
        }
    }

    fn note(&mut self, path: &str, why: fmt::Arguments<'_>) {
        self.notes
            .insert(in_a_line(&format!("{path}: not recorded: {why}")));
    }

    fn finish(mut self) -> Recording {
        for dir in self.dirs {
            let below = format!("{dir}/");
            let filled = self
                .tree
                .range(below.clone()..)
                .next()
                .is_some_and(|(path, _)| path.starts_with(&below));
            if !filled {
                self.tree.insert(dir, Entry::Dir);
            }
        }
        Recording {
            provenance: format!("recorded by numapin {}", env!("CARGO_PKG_VERSION")),
            notes: self.notes.into_iter().collect(),
            tree: self.tree,
        }
    }
}

fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() {
        name.to_owned()
    } else {
        format!("{dir}/{name}")
    }
}
