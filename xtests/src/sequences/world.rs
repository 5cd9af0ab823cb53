//! A simulated node: its host, its files, its guests, and what its kernel does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use numapin_cli::watch::{Options, Watch};
use numapin_core::apply::Captured;
use numapin_core::root::Root;
use numapin_qmp_mock::{FakeHost, Mock, Mocks, Script, Threads};
use numapin_sysfs_sim::Host;
use tempfile::TempDir;

use super::host::Topology;
use super::judge::claims::entry;
use super::judge::told::policy;
use super::seen::Seen;
use super::setting::{Setting, Spec};
use crate::flow::masks;
use crate::flow::{Broken, Ids};

/// The node's name in its cluster.
const HERE: &str = "pve1";
/// Another node's.
const THERE: &str = "pve2";

/// Process ids that a mock has for itself.
const BLOCK: u32 = 8192;

/// A simulated node.
pub struct World {
    dir: TempDir,
    mocks: Mocks,
    pub(super) host: Host,
    pub(super) kernel: Captured,
    started: u64,
    /// The host with all of its CPUs.
    pub topology: Topology,
    /// The CPUs that are online.
    pub online: Ids,
    /// The guests by VMID.
    pub guests: BTreeMap<u32, Vm>,
    /// The containers with their CPUs.
    pub containers: BTreeMap<u32, Ids>,
    /// Whether /etc/pve is there.
    pub configs: bool,
    /// What each thread would have if there were no numapin.
    pub base: BTreeMap<u32, Ids>,
    /// Threads whose masks something else than numapin changed since they were last as wanted.
    pub tainted: BTreeSet<u32>,
    /// The guest whose start is under way: Proxmox VE holds the lock of its config.
    pub starting: Option<u32>,
    /// The service, where it runs.
    pub watch: Option<Watch>,
    /// How long the service has run.
    pub time: Duration,
    /// Processes that ran already, and were not placed, when the service met the node.
    pub strangers: BTreeSet<u32>,
    /// What the service has told.
    pub said: Vec<String>,
    /// A guest's CPU that another one holds, too, which was told or is the world's own doing.
    pub told: BTreeSet<(u32, u32)>,
}

/// A guest.
#[derive(Debug)]
pub struct Vm {
    /// Its config.
    pub spec: Spec,
    /// Its name.
    pub name: String,
    /// Its QEMU.
    pub mock: Option<Mock>,
    /// Whether its config is at another node.
    pub away: bool,
    /// Whether it runs for a backup alone.
    pub backup: bool,
    /// The cpuset of its cgroup.
    pub cpuset: Option<Ids>,
    /// Whether that was ever changed since it was started.
    pub confined: bool,
    /// Its policy when it was started.
    pub policy: Option<String>,
    /// The CPUs that were online when it was started.
    pub started_on: Ids,
}

impl World {
    /// Makes the node of a setting; nothing runs on it.
    ///
    /// # Errors
    /// Its files can't be written.
    pub fn new(setting: &Setting) -> Result<Self, Broken> {
        let mut new = tempfile::Builder::new();
        new.prefix("numapin-node-");
        let in_memory = Path::new("/dev/shm").is_dir();
        let dir = match in_memory {
            true => new.tempdir_in("/dev/shm").or_else(|_| new.tempdir())?,
            false => new.tempdir()?,
        };
        let host = setting.machine()?;
        host.write_tree(dir.path())?;
        let topology = Topology::read(dir.path())?;
        let pve = dir.path().join("etc/pve");
        for node in [HERE, THERE] {
            fs::create_dir_all(pve.join("nodes").join(node).join("qemu-server"))?;
        }
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, pve.join(name));
        link(&format!("nodes/{HERE}"), "local")?;
        link(&format!("nodes/{HERE}/qemu-server"), "qemu-server")?;
        fs::write(pve.join("numapin.conf"), setting.conf.join("\n") + "\n")?;
        for made in ["run/lock/qemu-server", "run/qemu-server", "proc"] {
            fs::create_dir_all(dir.path().join(made))?;
        }
        let Root::Captured(root) = Root::captured(dir.path())? else {
            return Err("a captured root was asked for".into());
        };
        let mut world = Self {
            online: topology.all(),
            kernel: Captured::new(&root),
            mocks: Mocks::new()?,
            dir,
            host,
            started: 0,
            topology,
            guests: BTreeMap::new(),
            containers: BTreeMap::new(),
            configs: true,
            base: BTreeMap::new(),
            tainted: BTreeSet::new(),
            starting: None,
            watch: None,
            time: Duration::ZERO,
            strangers: BTreeSet::new(),
            said: Vec::new(),
            told: BTreeSet::new(),
        };
        for spec in &setting.guests {
            let vm = Vm {
                name: format!("vm{}", spec.vmid),
                spec: spec.clone(),
                mock: None,
                away: false,
                backup: false,
                cpuset: None,
                confined: false,
                policy: None,
                started_on: Ids::new(),
            };
            world.guests.insert(spec.vmid, vm);
            world.write_config(spec.vmid)?;
        }
        world.stranger()?;
        if setting.watch {
            world.watch()?;
        }
        Ok(world)
    }

    /// Starts the service, or starts it anew.
    ///
    /// # Errors
    /// It can't be started.
    pub fn watch(&mut self) -> Result<(), Broken> {
        // There can be only one.
        self.watch = None;
        self.watch = Some(Watch::new(
            Root::captured(self.root())?,
            Options::default(),
        )?);
        self.time = Duration::ZERO;
        self.said.clear();
        let seen = self.look()?;
        let running = self.guests.iter().filter_map(|(vmid, vm)| {
            let placed = entry(self, &seen, *vmid).is_some();
            vm.mock.as_ref().filter(|_| !placed)
        });
        self.strangers = running.map(Mock::pid).collect();
        Ok(())
    }

    /// Its directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// What is on it.
    ///
    /// # Errors
    /// It can't be read.
    pub fn look(&self) -> Result<Seen, Broken> {
        Seen::look(self.root())
    }

    /// The text of numapin.conf, wherever /etc/pve is.
    ///
    /// # Errors
    /// It can't be read.
    pub fn conf(&self) -> Result<String, Broken> {
        Ok(fs::read_to_string(self.pve().join("numapin.conf"))?)
    }

    /// The online CPUs that a guest's cgroup allows.
    #[must_use]
    pub fn allowed(&self, vmid: u32) -> Ids {
        match self.guests.get(&vmid).and_then(|vm| vm.cpuset.as_ref()) {
            Some(cpuset) => &self.online & cpuset,
            None => self.online.clone(),
        }
    }

    /// Writes a guest's config where it belongs.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write_config(&self, vmid: u32) -> Result<(), Broken> {
        let vm = self.vm(vmid)?;
        let lock = if vm.backup { "lock: backup\n" } else { "" };
        let text = vm.spec.config(&vm.name, lock);
        let place = |node: &str| {
            let dir = self.pve().join("nodes").join(node).join("qemu-server");
            dir.join(format!("{vmid}.conf"))
        };
        let (is, is_not) = match vm.away {
            true => (THERE, HERE),
            false => (HERE, THERE),
        };
        if place(is_not).exists() {
            fs::remove_file(place(is_not))?;
        }
        Ok(fs::write(place(is), text)?)
    }

    /// Lets /etc/pve vanish, or come back.
    ///
    /// # Errors
    /// It can't be moved.
    pub fn set_configs(&mut self, there: bool) -> Result<(), Broken> {
        if there != self.configs {
            let from = self.pve();
            self.configs = there;
            fs::rename(from, self.pve())?;
        }
        Ok(())
    }

    /// Starts the QEMU of a guest.
    ///
    /// # Errors
    /// The mock can't be started.
    pub fn start(&mut self, vmid: u32) -> Result<(), Broken> {
        let online = self.online.clone();
        let vm = self.vm(vmid)?;
        let mut guest = vm.spec.qemu(vm.backup);
        // taskset fails where nothing of it is online: Proxmox VE does not start the guest then; here it starts without.
        let affinity = guest.affinity.as_deref().and_then(masks::list);
        if affinity.is_some_and(|cpus| cpus.is_disjoint(&online)) {
            guest.affinity = None;
        }
        self.started += 1;
        guest.start_ticks = Some(100_000 * self.started);
        let mut host = FakeHost::at(self.root())?;
        // A captured root has only the pid file to go by: a number that is used again after a crash would be that guest.
        host.pid = Some(BLOCK * u32::try_from(self.started)?);
        let mock = self
            .mocks
            .spawn(guest, Threads::Fake(host), Script::healthy())?;
        let vm = self.vm_mut(vmid)?;
        vm.mock = Some(mock);
        vm.confined = false;
        vm.cpuset = None;
        vm.started_on = online;
        let policy = policy(self, vmid);
        self.vm_mut(vmid)?.policy = policy;
        self.note_new()
    }

    /// Ends the QEMU of a guest.
    ///
    /// # Errors
    /// There is no such guest.
    pub fn end(&mut self, vmid: u32, crash: bool) -> Result<(), Broken> {
        let vm = self.vm_mut(vmid)?;
        vm.cpuset = None;
        match vm.mock.take() {
            Some(mock) if crash => mock.crash(),
            Some(mock) => mock.stop(),
            None => {}
        }
        let scope = self.scope(Some(vmid));
        if scope.exists() {
            fs::remove_dir_all(scope)?;
        }
        self.told.retain(|(of, _)| *of != vmid);
        let there = self.look()?.threads;
        self.base.retain(|tid, _| there.contains_key(tid));
        self.tainted.retain(|tid| there.contains_key(tid));
        Ok(())
    }

    /// New threads would have what their main thread would have.
    ///
    /// # Errors
    /// /proc can't be read.
    pub fn note_new(&mut self) -> Result<(), Broken> {
        for (tid, seen) in self.look()?.threads {
            if self.base.contains_key(&tid) {
                continue;
            }
            let base = self.base.get(&seen.pid).cloned().unwrap_or(seen.mask);
            self.base.insert(tid, base);
            self.tainted.insert(tid);
        }
        Ok(())
    }

    /// Writes the cgroup of a container, or removes it.
    ///
    /// # Errors
    /// It can't be written.
    pub fn set_container(&mut self, vmid: u32, cpus: Option<Ids>) -> Result<(), Broken> {
        let dir = self.root().join(format!("sys/fs/cgroup/lxc/{vmid}"));
        match cpus {
            Some(cpus) => {
                fs::create_dir_all(&dir)?;
                let file = dir.join("cpuset.cpus.effective");
                fs::write(file, format!("{}\n", text(&cpus)))?;
                self.containers.insert(vmid, cpus);
            }
            None => {
                if self.containers.remove(&vmid).is_some() {
                    fs::remove_dir_all(dir)?;
                }
            }
        }
        Ok(())
    }

    /// Takes the lock of a guest's config, as Proxmox VE does for a start, until it is dropped.
    ///
    /// # Errors
    /// It can't be taken.
    pub fn lock(&self, vmid: u32) -> Result<fs::File, Broken> {
        let dir = self.root().join("run/lock/qemu-server");
        let file = fs::File::create(dir.join(format!("lock-{vmid}.conf")))?;
        file.lock()?;
        Ok(file)
    }

    /// A guest.
    ///
    /// # Errors
    /// There is none.
    pub fn vm(&self, vmid: u32) -> Result<&Vm, Broken> {
        let vm = self.guests.get(&vmid);
        vm.ok_or_else(|| format!("there is no guest {vmid}").into())
    }

    /// As [`Self::vm`].
    ///
    /// # Errors
    /// As there.
    pub fn vm_mut(&mut self, vmid: u32) -> Result<&mut Vm, Broken> {
        let vm = self.guests.get_mut(&vmid);
        vm.ok_or_else(|| format!("there is no guest {vmid}").into())
    }

    /// The QEMU of a guest that runs.
    ///
    /// # Errors
    /// It does not.
    pub fn mock(&self, vmid: u32) -> Result<&Mock, Broken> {
        let mock = self.vm(vmid)?.mock.as_ref();
        mock.ok_or_else(|| format!("guest {vmid} does not run").into())
    }

    fn pve(&self) -> PathBuf {
        let name = if self.configs { "pve" } else { ".pve" };
        self.root().join("etc").join(name)
    }

    pub(super) fn scope(&self, vmid: Option<u32>) -> PathBuf {
        let slice = self.root().join("sys/fs/cgroup/qemu.slice");
        match vmid {
            Some(vmid) => slice.join(format!("{vmid}.scope")),
            None => slice,
        }
    }

    /// A process that is nobody's guest.
    fn stranger(&mut self) -> Result<(), Broken> {
        let dir = self.root().join("proc/300");
        let task = dir.join("task/300");
        fs::create_dir_all(&task)?;
        fs::write(dir.join("cmdline"), "/usr/sbin/sshd\0-D\0")?;
        fs::write(dir.join("cgroup"), "0::/system.slice/ssh.service\n")?;
        let stat = "300 (sshd) S 1 300 300 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 77 0 0\n";
        let status = "Name:\tsshd\nCpus_allowed:\t00000006\nCpus_allowed_list:\t1-2\n";
        for dir in [&dir, &task] {
            fs::write(dir.join("stat"), stat)?;
            fs::write(dir.join("comm"), "sshd\n")?;
            fs::write(dir.join("status"), status)?;
        }
        Ok(())
    }
}

/// A set as a list of single ids, which the kernel's grammar allows.
#[must_use]
pub fn text(ids: &Ids) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(",")
}
