//! Records a machine: copies the bytes of topology files, and interprets nothing.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Recording, bad_path, destination};
use crate::error::Error;
use crate::tree::{Entry, Tree};

/// The files that are recorded, below the root of the machine. `#` stands for a number, `*` for any text without a slash;
/// a pattern that ends with a slash is a directory whose existence tells something.
///
/// These tell how the machine is built, how much memory its nodes have, and which CPUs may be used. Nothing here tells
/// who it belongs to, what runs on it, or its serial numbers (`ppin`, DMI, PCI serials, command lines, guests).
pub const PATTERNS: &[&str] = &[
    "sys/devices/system/cpu/online",
    "sys/devices/system/cpu/offline",
    "sys/devices/system/cpu/present",
    "sys/devices/system/cpu/possible",
    "sys/devices/system/cpu/isolated",
    "sys/devices/system/cpu/kernel_max",
    "sys/devices/system/cpu/smt/active",
    "sys/devices/system/cpu/smt/control",
    "sys/devices/system/cpu/cpu#/",
    "sys/devices/system/cpu/cpu#/online",
    "sys/devices/system/cpu/cpu#/cpu_capacity",
    "sys/devices/system/cpu/cpu#/node#",
    "sys/devices/system/cpu/cpu#/topology/*_id",
    "sys/devices/system/cpu/cpu#/topology/*_cpus",
    "sys/devices/system/cpu/cpu#/topology/*_cpus_list",
    "sys/devices/system/cpu/cpu#/topology/*_siblings",
    "sys/devices/system/cpu/cpu#/topology/*_siblings_list",
    "sys/devices/system/cpu/cpu#/cache/index#/level",
    "sys/devices/system/cpu/cpu#/cache/index#/type",
    "sys/devices/system/cpu/cpu#/cache/index#/id",
    "sys/devices/system/cpu/cpu#/cache/index#/shared_cpu_list",
    "sys/devices/system/cpu/cpu#/cache/index#/shared_cpu_map",
    "sys/devices/system/node/online",
    "sys/devices/system/node/possible",
    "sys/devices/system/node/has_cpu",
    "sys/devices/system/node/has_memory",
    "sys/devices/system/node/has_normal_memory",
    "sys/devices/system/node/node#/",
    "sys/devices/system/node/node#/cpulist",
    "sys/devices/system/node/node#/cpumap",
    "sys/devices/system/node/node#/cpu#",
    "sys/devices/system/node/node#/distance",
    "sys/devices/system/node/node#/meminfo",
    "sys/devices/system/node/node#/hugepages/hugepages-*/nr_hugepages",
    "sys/devices/system/node/node#/hugepages/hugepages-*/free_hugepages",
    "sys/devices/system/node/node#/hugepages/hugepages-*/surplus_hugepages",
    "sys/devices/cpu_*/cpus",
    "sys/bus/pci/devices/*/numa_node",
    "sys/bus/pci/devices/*/class",
    "sys/bus/pci/devices/*/local_cpulist",
    "sys/fs/cgroup/cpuset.cpus*",
    "sys/fs/cgroup/cpuset.mems*",
    "sys/fs/cgroup/qemu.slice/cpuset.cpus*",
    "sys/fs/cgroup/qemu.slice/cpuset.mems*",
    "sys/fs/cgroup/cpuset/cpuset.*cpus",
    "sys/fs/cgroup/cpuset/cpuset.*mems",
    "sys/fs/cgroup/cpuset/qemu.slice/cpuset.*cpus",
    "sys/fs/cgroup/cpuset/qemu.slice/cpuset.*mems",
    "dev/cpuset/cpus",
    "dev/cpuset/mems",
    "dev/cpuset/qemu.slice/cpus",
    "dev/cpuset/qemu.slice/mems",
    "proc/self/cgroup",
    "proc/self/cpuset",
    "proc/sys/kernel/osrelease",
];

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
            // that is fixed (/proc/self) is passed through.
            if open && full.is_symlink() {
                match self.link(&next) {
                    Some(destination) => next = destination,
                    None => continue,
                }
            }
            let Some(full) = self.on_disk(&next).filter(|full| full.is_dir()) else {
                continue;
            };
            if !fs::canonicalize(&full).is_ok_and(|full| full.starts_with(&self.canonical)) {
                self.notes
                    .insert(format!("{next}: not recorded: leads out of the machine"));
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
            .filter(|name| matches(part, name))
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
                    self.notes.insert(format!(
                        "{path}: not recorded: larger than {MAX_FILE} bytes"
                    ));
                }
                Ok(_) => {
                    self.tree
                        .insert(path.to_owned(), Entry::File(Arc::from(bytes)));
                }
                Err(e) => {
                    self.notes.insert(format!("{path}: not recorded: {e}"));
                }
            }
        } else if !kind.is_dir() {
            self.notes
                .insert(format!("{path}: not recorded: not a regular file"));
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
                self.notes
                    .insert(format!("{path}: not recorded: leads out of the machine"));
                None
            }
        }
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

/// Whether a name is one that a part of a pattern stands for.
fn matches(pattern: &str, name: &str) -> bool {
    let Some(at) = pattern.find(['#', '*']) else {
        return pattern == name;
    };
    let (before, open) = pattern.split_at(at);
    let (open, after) = open.split_at(1);
    let Some(rest) = name.strip_prefix(before) else {
        return false;
    };
    (0..=rest.len())
        .filter(|end| rest.is_char_boundary(*end))
        .any(|end| {
            let (filler, rest) = rest.split_at(end);
            let fits =
                open == "*" || (!filler.is_empty() && filler.bytes().all(|b| b.is_ascii_digit()));
            fits && matches(after, rest)
        })
}
