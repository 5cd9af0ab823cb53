//! Reads what a command needs to know of a node and of a guest, in the order of the flow. What it means is the engine's business.

mod configs;

use std::cell::OnceCell;
use std::collections::BTreeMap;

use numapin_core::apply::affinity;
use numapin_core::claims::ledger::{self, Entries, Entry};
use numapin_core::claims::live::{self, Live, LiveThread, Own};
use numapin_core::claims::{Claims, node};
use numapin_core::guest::pve::{Beside, passthrough};
use numapin_core::guest::{Guest, Running};
use numapin_core::host::sysfs::{self, Want};
use numapin_core::host::{Host, cpuset, memory};
use numapin_core::id::{Pid, VcpuId, Vmid};
use numapin_core::idset::CpuSet;
use numapin_core::policy::Policy;
use numapin_core::process::{self, Look, Process, Task};
use numapin_core::root::Root;
use numapin_core::sorted;
use numapin_core::violation::Violations;

pub(crate) use configs::{Config, Configs, conf_path};

use crate::fault::Fault;
use crate::intent::{GuestRef, Over};

/// A node: its host, its settings, and what runs on it.
pub(crate) struct Node {
    /// Where it is.
    pub(crate) root: Root,
    /// Its host, without what numapin.conf keeps from guests.
    pub(crate) host: Host,
    /// The configs of guests and numapin.conf.
    pub(crate) configs: Configs,
    /// What runs on it.
    pub(crate) live: Live,
    /// What numapin planned for whom.
    pub(crate) ledger: Entries,
    /// Its vhost workers that are kernel threads, by the process they work for; looked for where they are to be set.
    workers: OnceCell<BTreeMap<Pid, Vec<Task>>>,
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

impl Node {
    /// Reads a node.
    ///
    /// # Errors
    /// Its host can't be read, or what runs on it can't be listed.
    pub(crate) fn read(root: Root, warn: &mut Vec<String>) -> Result<Self, Fault> {
        let configs = Configs::read(&root, warn)?;
        Self::with(root, configs, warn)
    }

    /// Reads a node whose settings are known.
    ///
    /// # Errors
    /// As [`Node::read`].
    pub(crate) fn with(
        root: Root,
        configs: Configs,
        warn: &mut Vec<String>,
    ) -> Result<Self, Fault> {
        let mut node = Self::unlooked(root, configs, warn)?;
        node.look()?;
        warn.extend(node.warnings());
        Ok(node)
    }

    /// Reads the host of a node whose settings are known. What runs there is seen once its lock is held: before that it may be
    /// over by then.
    ///
    /// # Errors
    /// Its host can't be read.
    pub(crate) fn unlooked(
        root: Root,
        configs: Configs,
        warn: &mut Vec<String>,
    ) -> Result<Self, Fault> {
        let host = host(&root, &configs)?;
        warn.extend(host.warnings.iter().map(ToString::to_string));
        Ok(Self {
            root,
            host,
            configs,
            live: Live::default(),
            ledger: Entries::default(),
            workers: OnceCell::new(),
        })
    }

    /// What is to be told of what runs and of what was planned.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        let live = self.live.warnings.iter().map(ToString::to_string);
        live.chain(self.ledger.problems.iter().map(ToString::to_string))
    }

    /// What was read, on one line, for `--verbose`.
    pub(crate) fn told(&self) -> String {
        let place = match &self.root {
            Root::Live(_) => "this machine".to_owned(),
            Root::Captured(root) => format!(
                "the machine below {} (nothing real is touched)",
                root.dir().display()
            ),
        };
        format!(
            "read {place}: {} cpu(s) online on {} host node(s), {} QEMU process(es), {} plan(s) kept",
            self.host.cpus.len(),
            self.host.nodes.len(),
            self.live.guests.len(),
            self.ledger.alive.len()
        )
    }

    /// Looks again at what runs and what was planned.
    ///
    /// # Errors
    /// It can't be listed.
    pub(crate) fn look(&mut self) -> Result<(), Fault> {
        // The ledger first: an entry whose process ends meanwhile holds nothing that is seen afterwards.
        self.ledger = ledger::read(&self.root).map_err(Fault::system)?;
        self.look_at_live(None)
    }

    /// Looks again at what runs; the threads of the process `apart` are looked at by whoever sets them.
    ///
    /// # Errors
    /// It can't be listed.
    pub(crate) fn look_at_live(&mut self, apart: Option<Pid>) -> Result<(), Fault> {
        let affinity = affinity(&self.root);
        let look = Look::of(&self.root, &self.host, affinity.as_ref());
        self.live = live::look(look, apart)?;
        self.forget_workers();
        Ok(())
    }

    /// The vhost workers of a process that are kernel threads. All of /proc is looked through for them, for all at once.
    ///
    /// # Errors
    /// /proc can't be read.
    pub(crate) fn workers(&self, pid: Pid) -> Result<&[Task], Fault> {
        let all = match self.workers.get() {
            Some(all) => all,
            None => {
                let found = process::all_vhost_kernel_threads(&self.root)?;
                self.workers.get_or_init(|| found)
            }
        };
        Ok(all.get(&pid).map_or(&[], Vec::as_slice))
    }

    /// Has the vhost workers looked for again, as their masks were set.
    pub(crate) fn forget_workers(&mut self) {
        self.workers = OnceCell::new();
    }

    /// Looks again at the host.
    ///
    /// # Errors
    /// It can't be read.
    pub(crate) fn look_at_host(&mut self) -> Result<(), Fault> {
        self.host = host(&self.root, &self.configs)?;
        Ok(())
    }

    /// Restricts the host to what a guest's cgroup allows.
    pub(crate) fn allow(&mut self, vmid: Option<Vmid>, pid: Option<Pid>) -> Result<(), Fault> {
        self.host.allowed = cpuset::allowed(&self.root, &self.host.online(), vmid, pid)?;
        Ok(())
    }

    /// What the other guests hold.
    pub(crate) fn claims(&self, guest: &Guest, process: Option<Process>) -> Claims {
        self.claims_beside(Own {
            vmid: guest.vmid,
            pid: process.map(|process| process.pid),
        })
    }

    /// What everybody but one guest holds.
    pub(crate) fn claims_beside(&self, own: Own) -> Claims {
        node::merge(&self.live, &self.ledger.alive, &self.host.online(), own)
    }

    /// What numapin planned for a guest that runs or is starting.
    pub(crate) fn entry(&self, vmid: Option<Vmid>, process: Option<Process>) -> Option<&Entry> {
        let ledger = &self.ledger;
        let of = process.and_then(|process| ledger.of_process(process));
        of.or_else(|| vmid.and_then(|vmid| ledger.of(vmid)))
    }

    /// The masks that the vCPUs of a guest have now; empty where it does not run.
    pub(crate) fn masks_now(
        &self,
        vmid: Option<Vmid>,
        process: Option<Process>,
    ) -> BTreeMap<VcpuId, CpuSet> {
        let own = Own {
            vmid,
            pid: process.map(|process| process.pid),
        };
        let mut running = self.live.guests.iter();
        let threads = running
            .find(|live| own.is(live))
            .map_or(&[][..], |live| &live.threads);
        let mask = |thread: &LiveThread| Some((thread.vcpu()?, thread.mask.clone()));
        sorted::map(threads.iter().filter_map(mask))
    }

    /// Takes a guest out of what runs: a plan stands for it from now on.
    pub(crate) fn forget(&mut self, guest: &Guest) {
        if guest.vmid.is_some() {
            self.live.guests.retain(|live| live.vmid != guest.vmid);
            self.ledger.alive.retain(|entry| entry.vmid != guest.vmid);
        }
    }

    /// A guest of a config, with its policy. The outer fault is about files, the inner result about the guest.
    pub(crate) fn guest(
        &self,
        which: &GuestRef,
        over: &Over,
        warn: &mut Vec<String>,
    ) -> Result<Result<Loaded, Violations>, Fault> {
        let config = self.configs.config(which, warn)?;
        self.guest_of(config, over, warn)
    }

    /// A guest of a config that was read, with its policy.
    pub(crate) fn guest_of(
        &self,
        config: Config,
        over: &Over,
        warn: &mut Vec<String>,
    ) -> Result<Result<Loaded, Violations>, Fault> {
        let chosen = self.configs.policy(&config, over)?;
        let name = &config.name;
        warn.extend(
            chosen
                .notes
                .iter()
                .map(|note| format!("guest {name}: {note}")),
        );
        let Config {
            name,
            vmid,
            config,
            process,
            ..
        } = config;
        let running = match process {
            Some(process) => Some(Running {
                memory_mib: memory::of_cgroup(&self.root, vmid, Some(process.pid))?,
            }),
            None => None,
        };
        let found = passthrough::read(&self.root, &config, vmid)?;
        warn.extend(found.warnings);
        let beside = Beside {
            vmid,
            devices: found.devices,
            running,
        };
        Ok(config.guest(name, &over.guest, beside).map(|guest| Loaded {
            guest,
            process,
            source: chosen.origin(),
            policy: chosen.policy,
        }))
    }
}

/// The host, without what numapin.conf keeps from guests.
fn host(root: &Root, configs: &Configs) -> Result<Host, Fault> {
    let mut host = sysfs::read(root, Want::PLAN)?;
    let name = passthrough::node_name(root)?.unwrap_or_default();
    configs.conf.restrict(&name, &mut host);
    Ok(host)
}
