//! Small machines for tests: files below a temporary directory.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::host::{Host, HostError, sysfs};
use crate::root::Root;

/// A machine in a temporary directory.
pub(super) struct Tree(TempDir);

impl Tree {
    /// An empty machine.
    pub(super) fn new() -> Self {
        // In memory, where that is to be had.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self(dir.unwrap())
    }

    /// Puts a file in, with the directories above it.
    pub(super) fn file(self, path: &str, text: &str) -> Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// A file below sys/devices/system.
    pub(super) fn system(self, path: &str, text: &str) -> Self {
        self.file(&format!("sys/devices/system/{path}"), text)
    }

    /// A file of a CPU.
    pub(super) fn cpu(self, id: u32, path: &str, text: &str) -> Self {
        self.system(&format!("cpu/cpu{id}/{path}"), text)
    }

    /// Online CPUs that are cores of one thread in one node and one package, with one L3: the plain part of a machine.
    pub(super) fn plain(cpus: u32) -> Self {
        let all = format!("0-{}\n", cpus - 1);
        let mut tree = Self::new()
            .system("cpu/online", &all)
            .system("cpu/present", &all)
            .system("node/online", "0\n")
            .system("node/node0/cpulist", &all);
        for id in 0..cpus {
            tree = tree
                .cpu(id, "topology/core_cpus_list", &format!("{id}\n"))
                .cpu(id, "topology/physical_package_id", "0\n")
                .cpu(id, "topology/package_cpus_list", &all)
                .cpu(id, "cache/index3/level", "3\n")
                .cpu(id, "cache/index3/shared_cpu_list", &all);
        }
        tree
    }

    /// Takes a file or directory out.
    pub(super) fn without(self, path: &str) -> Self {
        let path = self.dir().join("sys/devices/system").join(path);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
        self
    }

    pub(super) fn dir(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn root(&self) -> Root {
        Root::captured(self.dir()).unwrap()
    }

    pub(super) fn read(&self) -> Result<Host, HostError> {
        sysfs::read(&self.root(), sysfs::Want::PLAN)
    }

    /// The host, which has no warnings.
    pub(super) fn host(&self) -> Host {
        let host = self.read().unwrap();
        assert_eq!(host.warnings, []);
        host
    }

    /// Warnings as text, with paths below the machine.
    pub(super) fn warnings(&self) -> Vec<String> {
        let host = self.read().unwrap();
        let short = |w: &crate::host::HostWarning| self.short(&w.to_string());
        host.warnings.iter().map(short).collect()
    }

    /// The error as text, with paths below the machine.
    pub(super) fn error(&self) -> String {
        self.short(&self.read().unwrap_err().to_string())
    }

    fn short(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.dir().display()), "")
    }
}

/// Something of each CPU, in order.
pub(super) fn of_cpus<T>(host: &Host, f: impl Fn(&super::Cpu) -> T) -> Vec<T> {
    host.cpus.iter().map(f).collect()
}
