//! A reader of trees that shares no code with the generator, nor with numapin: small, and for tests only.

// Each test file uses a part of it.
#![allow(dead_code, clippy::unwrap_used, clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use numapin_sysfs_sim::{Entry, Host, Tree};

pub(crate) type Cpus = BTreeSet<u32>;

/// What a tree says, as sets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) online: Cpus,
    pub(crate) cores: BTreeSet<Cpus>,
    pub(crate) packages: BTreeSet<Cpus>,
    pub(crate) package_ids: BTreeMap<u32, String>,
    pub(crate) l3s: BTreeSet<Cpus>,
    pub(crate) nodes: BTreeMap<u32, Cpus>,
    pub(crate) distances: BTreeMap<u32, String>,
}

/// The files of a tree, by path.
pub(crate) struct Files(pub(crate) BTreeMap<String, Vec<u8>>);

impl Files {
    pub(crate) fn of_tree(tree: &Tree) -> Self {
        let files = tree.iter().filter_map(|(path, entry)| match entry {
            Entry::File(bytes) => Some((path.clone(), bytes.to_vec())),
            _ => None,
        });
        Self(files.collect())
    }

    pub(crate) fn of_host(host: &Host) -> Self {
        Self::of_tree(&host.tree().unwrap())
    }

    pub(crate) fn of_dir(root: &Path) -> Self {
        let mut files = BTreeMap::new();
        let mut dirs = vec![root.to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
                let (kind, path) = (entry.file_type().unwrap(), entry.path());
                if kind.is_dir() {
                    dirs.push(path);
                } else if kind.is_file() {
                    let name = path
                        .strip_prefix(root)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned();
                    files.insert(name, fs::read(&path).unwrap());
                }
            }
        }
        Self(files)
    }

    /// The text of a file; nothing where there is none.
    pub(crate) fn get(&self, path: &str) -> Option<&str> {
        self.0
            .get(path)
            .map(|bytes| std::str::from_utf8(bytes).unwrap())
    }

    pub(crate) fn cpu(&self, path: &str) -> Option<&str> {
        self.get(&format!("sys/devices/system/cpu/{path}"))
    }

    pub(crate) fn node(&self, path: &str) -> Option<&str> {
        self.get(&format!("sys/devices/system/node/{path}"))
    }

    /// The numbers N of `DIR/prefixN/...`.
    fn numbered(&self, start: &str) -> BTreeSet<u32> {
        let range = self.0.range(start.to_owned()..);
        let rest = range.map_while(|(path, _)| path.strip_prefix(start));
        rest.filter_map(|rest| rest.split('/').next()?.parse().ok())
            .collect()
    }

    /// The set of `PATH_list`, `PATHlist`, `PATH_map`, `PATHmap` or `PATH`, the first there is.
    fn set(&self, stem: &str) -> Option<Cpus> {
        let list = ["_list", "list"]
            .iter()
            .find_map(|end| self.get(&format!("{stem}{end}")));
        let mask = || {
            ["_map", "map", ""]
                .iter()
                .find_map(|end| self.get(&format!("{stem}{end}")))
        };
        list.map(from_list).or_else(|| mask().map(from_mask))
    }

    pub(crate) fn reading(&self) -> Reading {
        const CPU: &str = "sys/devices/system/cpu/cpu";
        const NODE: &str = "sys/devices/system/node/node";
        let mut all = Reading::default();
        for cpu in self.numbered(CPU) {
            let topology = format!("{CPU}{cpu}/topology");
            let Some(id) = self.get(&format!("{topology}/physical_package_id")) else {
                continue;
            };
            all.online.insert(cpu);
            all.package_ids.insert(cpu, id.trim().to_owned());
            all.cores
                .insert(self.set(&format!("{topology}/thread_siblings")).unwrap());
            all.packages
                .insert(self.set(&format!("{topology}/core_siblings")).unwrap());
            let cache = format!("{CPU}{cpu}/cache/index");
            for index in self.numbered(&cache) {
                if self.get(&format!("{cache}{index}/level")) == Some("3\n") {
                    all.l3s
                        .insert(self.set(&format!("{cache}{index}/shared_cpu")).unwrap());
                }
            }
        }
        for node in self.numbered(NODE) {
            let cpus = self.set(&format!("{NODE}{node}/cpu")).unwrap();
            all.nodes
                .insert(node, cpus.intersection(&all.online).copied().collect());
            if let Some(row) = self.get(&format!("{NODE}{node}/distance")) {
                all.distances.insert(node, row.to_owned());
            }
        }
        all
    }
}

pub(crate) fn from_list(text: &str) -> Cpus {
    let text = text.trim_end_matches(['\n', '\0']);
    let mut cpus = Cpus::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let mut ends = part.split('-').map(|n| n.parse::<u32>().unwrap());
        let first = ends.next().unwrap();
        cpus.extend(first..=ends.next().unwrap_or(first));
    }
    cpus
}

pub(crate) fn from_mask(text: &str) -> Cpus {
    let digits: Vec<u32> = text.chars().rev().filter_map(|c| c.to_digit(16)).collect();
    let bits = (0..).step_by(4).zip(digits);
    bits.flat_map(|(base, digit)| {
        (0..4)
            .filter(move |b| digit >> b & 1 == 1)
            .map(move |b| base + b)
    })
    .collect()
}

/// A directory for thousands of small files: in memory, where the system has a place for that.
pub(crate) fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// Unpacks `NUMAPIN_DATA/PATH`; nothing where the variable is unset (which is told).
pub(crate) fn unpacked(path: &str) -> Option<tempfile::TempDir> {
    let Some(data) = std::env::var_os("NUMAPIN_DATA").map(PathBuf::from) else {
        let required = std::env::var("NUMAPIN_REQUIRE").unwrap_or_default();
        assert!(
            !required.split(',').any(|word| word == "data"),
            "NUMAPIN_DATA is unset"
        );
        eprintln!("passed over: NUMAPIN_DATA is unset, {path} is not there to compare with");
        return None;
    };
    let dir = tempdir();
    let archive = data.join(path);
    let tar = Command::new("tar")
        .arg("xJf")
        .arg(&archive)
        .arg("-C")
        .arg(dir.path())
        .status();
    assert!(tar.unwrap().success(), "tar xJf {}", archive.display());
    Some(dir)
}

/// Where in an unpacked archive `sys/` is: at its top, or in the one directory it has.
pub(crate) fn root_of(dir: &Path) -> PathBuf {
    if dir.join("sys").is_dir() {
        return dir.to_owned();
    }
    let mut entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries.find(|path| path.join("sys").is_dir()).unwrap()
}
