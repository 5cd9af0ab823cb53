//! Reads what a command needs to know of a node and of a guest, in the order of the flow. What it means is the engine's business.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use numapin_core::claims::Claims;
use numapin_core::claims::live::{self, Live, Own};
use numapin_core::guest::pve::devices::{self, Surroundings};
use numapin_core::guest::pve::mapping::PciMapping;
use numapin_core::guest::pve::{self, Beside, GuestConfig, Pending};
use numapin_core::guest::{Device, Guest, GuestName, Running};
use numapin_core::host::pci;
use numapin_core::host::sysfs::{self, Want};
use numapin_core::host::{Host, cpuset, memory};
use numapin_core::id::{Pid, Vmid};
use numapin_core::policy::Policy;
use numapin_core::process::{Process, guest_process};
use numapin_core::root::{self, Root};
use numapin_core::violation::Violations;

use crate::fault::Fault;
use crate::intent::{GuestRef, Over};

/// A node: its host, and what runs on it.
pub(crate) struct Node {
    /// Where it is.
    pub(crate) root: Root,
    /// Its host.
    pub(crate) host: Host,
    /// What runs on it.
    pub(crate) live: Live,
}

/// A guest that can be planned.
pub(crate) struct Loaded {
    /// The guest.
    pub(crate) guest: Guest,
    /// Its QEMU, where it runs.
    pub(crate) process: Option<Process>,
    /// Its policy.
    pub(crate) policy: Policy,
    /// Where the policy came from.
    pub(crate) source: String,
}

/// A guest's config, before it is known whether the guest holds together.
struct Config {
    name: GuestName,
    vmid: Option<Vmid>,
    config: GuestConfig,
    process: Option<Process>,
}

impl Node {
    /// Reads a node.
    ///
    /// # Errors
    /// Its host can't be read, or what runs on it can't be listed.
    pub(crate) fn read(root: Root, warn: &mut Vec<String>) -> Result<Self, Fault> {
        let host = sysfs::read(&root, Want::PLAN)?;
        let live = live::read(&root)?;
        warn.extend(host.warnings.iter().map(ToString::to_string));
        warn.extend(live.warnings.iter().map(ToString::to_string));
        Ok(Self { root, host, live })
    }

    /// Restricts the host to what a guest's cgroup allows.
    pub(crate) fn allow(&mut self, vmid: Option<Vmid>, pid: Option<Pid>) -> Result<(), Fault> {
        self.host.allowed = cpuset::allowed(&self.root, &self.host.online(), vmid, pid)?;
        Ok(())
    }

    /// What the other guests hold.
    pub(crate) fn claims(&self, guest: &Guest, process: Option<Process>) -> Claims {
        let own = Own {
            vmid: guest.vmid,
            pid: process.map(|process| process.pid),
        };
        self.live.claims(&self.host.online(), own)
    }

    /// Takes a guest out of what runs: a plan stands for it from now on.
    pub(crate) fn forget(&mut self, guest: &Guest) {
        self.live
            .guests
            .retain(|live| live.vmid != guest.vmid || guest.vmid.is_none());
    }

    /// A guest of a config, with its policy. The outer fault is about files, the inner result about the guest.
    pub(crate) fn guest(
        &self,
        which: &GuestRef,
        over: &Over,
        warn: &mut Vec<String>,
    ) -> Result<Result<Loaded, Violations>, Fault> {
        let Config {
            name,
            vmid,
            config,
            process,
        } = self.config(which, warn)?;
        let (policy, source) = over.policy_of(&config)?;
        let running = match process {
            Some(process) => Some(Running {
                memory_mib: memory::of_cgroup(&self.root, vmid, Some(process.pid))?,
            }),
            None => None,
        };
        let beside = Beside {
            vmid,
            devices: self.devices(&config, vmid, warn)?,
            running,
        };
        Ok(config.guest(name, &over.guest, beside).map(|guest| Loaded {
            guest,
            process,
            policy,
            source,
        }))
    }

    fn config(&self, which: &GuestRef, warn: &mut Vec<String>) -> Result<Config, Fault> {
        let (path, vmid) = match which {
            GuestRef::Vmid(vmid) => (self.config_path(*vmid)?, Some(*vmid)),
            GuestRef::File(path) => (path.clone(), which.vmid()),
            GuestRef::Qmp(socket) => {
                return Err(Fault::usage(format!(
                    "{}: a guest of --qmp has no config",
                    socket.display()
                )));
            }
        };
        // A file that only looks like a guest's says nothing about the guest of that number which may run here.
        let ours = matches!(which, GuestRef::Vmid(_)) || path.starts_with(self.root.etc_pve());
        let process = match vmid.filter(|_| ours) {
            Some(vmid) => guest_process(&self.root, vmid).map_err(Fault::system)?,
            None => None,
        };
        let text = root::read_text(&path)?.ok_or_else(|| {
            Fault::usage(format!(
                "{}: there is no such file (expected a VMID or the path of a .conf file)",
                path.display()
            ))
        })?;
        let pending = if process.is_some() {
            Pending::Leave
        } else {
            Pending::Merge
        };
        let parsed = pve::parse(&path, &text, pending).map_err(Fault::malformed)?;
        warn.extend(parsed.warnings.iter().map(ToString::to_string));
        let name = match vmid {
            Some(vmid) => vmid.to_string(),
            None => path
                .file_stem()
                .unwrap_or(path.as_os_str())
                .to_string_lossy()
                .into_owned(),
        };
        Ok(Config {
            name: GuestName(name),
            vmid,
            config: parsed.config,
            process,
        })
    }

    /// The config of a guest: of this node, or of another one of the cluster, from which it may be coming.
    fn config_path(&self, vmid: Vmid) -> Result<PathBuf, Fault> {
        let file = format!("{vmid}.conf");
        let here = self.root.etc_pve().join("qemu-server").join(&file);
        if here.exists() {
            return Ok(here);
        }
        let nodes = self.root.etc_pve().join("nodes");
        let mut elsewhere: Vec<_> = fs::read_dir(&nodes)
            .into_iter()
            .flatten()
            .flatten()
            .map(|node| node.path().join("qemu-server").join(&file))
            .filter(|path| path.exists())
            .collect();
        elsewhere.sort();
        elsewhere.into_iter().next().ok_or_else(|| {
            Fault::usage(format!(
                "guest {vmid} has no config: {} does not exist (on a dump without /etc/pve give the path of a .conf file)",
                here.display()
            ))
        })
    }

    /// The PCI devices of a guest. The mappings of the cluster are read only for a guest that uses one.
    fn devices(
        &self,
        config: &GuestConfig,
        vmid: Option<Vmid>,
        warn: &mut Vec<String>,
    ) -> Result<Vec<Device>, Fault> {
        if config.hostpci.is_empty() {
            return Ok(Vec::new());
        }
        let path = self.root.etc_pve().join("mapping/pci.cfg");
        let mapping = PciMapping::parse(&path, &root::read_text(&path)?.unwrap_or_default());
        let reservations = self.root.run().join("qemu-server/pci-id-reservations");
        let reserved = match (vmid, root::read_text(&reservations)?) {
            (Some(vmid), Some(text)) => devices::reserved(&text, vmid),
            _ => BTreeSet::new(),
        };
        let around = Surroundings {
            mapping: &mapping,
            node: &self.name()?,
            reserved: &reserved,
        };
        let (found, missing) =
            devices::devices(config, &around, |address| pci::node(&self.root, address))?;
        warn.extend(mapping.warnings.iter().map(ToString::to_string));
        warn.extend(missing.iter().map(ToString::to_string));
        Ok(found)
    }

    /// The name of this node in the cluster: what Proxmox VE's links below /etc/pve lead to, else the host's name.
    fn name(&self) -> Result<String, Fault> {
        let link = |name: &str| fs::read_link(self.root.etc_pve().join(name)).ok();
        let named = |path: &Path| {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
        };
        let local = link("local").and_then(|path| named(&path));
        let through_guests = || link("qemu-server").and_then(|path| path.parent().and_then(named));
        if let Some(name) = local.or_else(through_guests) {
            return Ok(name);
        }
        let hostname =
            root::read_text(&self.root.proc().join("sys/kernel/hostname"))?.unwrap_or_default();
        Ok(hostname
            .trim()
            .split('.')
            .next()
            .unwrap_or_default()
            .to_owned())
    }
}
