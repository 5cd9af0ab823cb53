//! A simulated machine in a directory of its own, on which mocks run.

use std::path::Path;
use std::sync::Arc;

use numapin_core::host::sysfs::{self, Want};
use numapin_core::host::{Host, cpuset};
use numapin_core::id::{Pid, Vmid};
use numapin_core::root::Root;
use numapin_qmp_mock::{FakeHost, Guest, Mock, Mocks, Script, Threads};
use numapin_sysfs_sim::Machine;
use tempfile::TempDir;

use super::Broken;
use super::masks::{self, Masks};

/// A simulated machine. Its directory goes with it.
#[derive(Debug)]
pub struct Lab {
    /// The machine, as numapin sees it.
    pub root: Root,
    mocks: Mocks,
    dir: Arc<TempDir>,
}

impl Lab {
    /// Writes a machine: into memory where there is room, else to where temporary files go.
    ///
    /// # Errors
    /// The machine can't be written or read.
    pub fn of(machine: &Machine) -> Result<Self, Broken> {
        let mut new = tempfile::Builder::new();
        new.prefix("numapin-flow-");
        let in_memory = new.tempdir_in("/dev/shm").ok();
        let dir = match in_memory.filter(|dir| machine.write_tree(dir.path()).is_ok()) {
            Some(dir) => dir,
            None => {
                let dir = new.tempdir()?;
                machine.write_tree(dir.path())?;
                dir
            }
        };
        Ok(Self {
            root: Root::captured(dir.path())?,
            mocks: Mocks::new()?,
            dir: Arc::new(dir),
        })
    }

    /// One of the machines that come with numapin.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn named(name: &str) -> Result<Self, Broken> {
        Self::of(&Machine::load(name)?)
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The host as its sysfs tells it.
    ///
    /// # Errors
    /// It can't be read.
    pub fn host(&self) -> Result<Host, Broken> {
        Ok(sysfs::read(&self.root, Want::PLAN)?)
    }

    /// The host as one guest sees it: with what the cpuset of its cgroup allows.
    ///
    /// # Errors
    /// It can't be read.
    pub fn host_of(&self, vmid: u32, mock: &Mock) -> Result<Host, Broken> {
        let mut host = self.host()?;
        let pid = Pid(i32::try_from(mock.pid())?);
        host.allowed = cpuset::allowed(&self.root, &host.online(), Some(Vmid(vmid)), Some(pid))?;
        Ok(host)
    }

    /// Starts a guest.
    ///
    /// # Errors
    /// The mock can't be started.
    pub fn start(&self, guest: Guest, script: Script) -> Result<Mock, Broken> {
        let listed = self.root.sys().join("devices/system/cpu/online").exists();
        let host = match FakeHost::at(self.dir()) {
            Ok(host) if listed => host,
            // An old capture without that list, or with an odd one: the mock does not look further, numapin does.
            _ => FakeHost::with_cpus(self.dir(), &self.host()?.online().to_string())?,
        };
        Ok(self.mocks.spawn(guest, Threads::Fake(host), script)?)
    }

    /// All threads of the machine.
    ///
    /// # Errors
    /// They can't be read.
    pub fn masks(&self) -> Result<Masks, Broken> {
        Ok(masks::of_all(&self.dir().join("proc"))?)
    }
}
