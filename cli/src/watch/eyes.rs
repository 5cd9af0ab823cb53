//! What the watch sees of a node: read again only as far as it can have changed.

use std::collections::BTreeMap;

use numapin_core::apply::{Affinity, Sign, affinity};
use numapin_core::claims::Claims;
use numapin_core::claims::ledger::{self, Entry};
use numapin_core::claims::live::{self, LiveGuest, LiveThread};
use numapin_core::host::sysfs;
use numapin_core::host::{Host, cpuset};
use numapin_core::id::Pid;
use numapin_core::idset::CpuSet;
use numapin_core::process::{self, Look};
use numapin_core::reconcile::{Around, Now, Outcome, reconcile};
use numapin_core::root::{FileError, Root, read_text};
use numapin_core::sorted;
use numapin_core::thread::Thread;

use super::Priority;
use super::say::Say;
use crate::fault::Fault;
use crate::load::{Configs, Node, conf_path};

/// What was seen last, and what it was read with.
pub(super) struct Eyes {
    affinity: Box<dyn Affinity>,
    live: live::Again,
    ledger: ledger::Again,
    /// The vhost workers that are kernel threads, by the process they work for.
    workers: BTreeMap<Pid, Vec<Worker>>,
    /// The text of numapin.conf.
    conf: Option<String>,
}

struct Worker {
    thread: LiveThread,
    sign: Option<Sign>,
}

impl Eyes {
    /// Eyes for a node with this numapin.conf.
    pub(super) fn new(root: &Root, conf: Option<String>) -> Self {
        Self {
            affinity: affinity(root),
            live: live::Again::default(),
            ledger: ledger::Again::default(),
            workers: BTreeMap::new(),
            conf,
        }
    }

    /// Whether guests came or went.
    pub(super) fn has_come_or_gone(&self, root: &Root) -> Result<bool, Fault> {
        Ok(self.live.has_come_or_gone(root)?)
    }

    /// Looks at the node; whether it has changed.
    ///
    /// # Errors
    /// Something can't be read, without which nothing can be said.
    pub(super) fn look(
        &mut self,
        node: &mut Node,
        everything: bool,
        say: &mut Say,
    ) -> Result<bool, Fault> {
        let mut changed = everything;
        let conf = self.look_at_conf(node, say);
        let online = sysfs::online_cpus(&node.root)?;
        if everything || conf || online != node.host.online() {
            let before = std::mem::take(&mut node.host);
            if let Err(fault) = node.look_at_host() {
                node.host = before;
                return Err(fault);
            }
            changed |= is_another(&before, &node.host);
            tell_online(&before.online(), &node.host.online(), say);
            let warnings = node.host.warnings.iter().map(ToString::to_string);
            say.state(Priority::Warning, "", "host", warnings);
        }
        // The ledger first: an entry whose process ends meanwhile holds nothing that is seen afterwards.
        let entries = self.ledger.read(&node.root).map_err(Fault::system)?;
        if let Some(entries) = entries {
            let problems = entries.problems.iter().map(ToString::to_string);
            say.state(Priority::Warning, "", "ledger", problems);
            node.ledger = entries;
            changed = true;
        }
        let moved = self.has_come_or_gone(&node.root)?;
        let affinity = self.affinity.as_ref();
        let look = Look::of(&node.root, &node.host, affinity);
        let live = self.live.read(look, affinity, everything)?;
        changed |= live.guests != node.live.guests;
        node.live.guests = live.guests;
        if everything || moved {
            let warnings = live.warnings.iter().map(ToString::to_string);
            say.state(Priority::Warning, "", "live", warnings);
            node.live.containers = live.containers;
            changed |= self.look_for_workers(node)?;
        } else {
            changed |= self.look_at_workers(&node.root);
        }
        Ok(changed)
    }

    /// Reads numapin.conf; whether it has changed. Where it can't be read, or all of /etc/pve is away for a moment, what was
    /// read last stands.
    pub(super) fn look_at_conf(&mut self, node: &mut Node, say: &mut Say) -> bool {
        let text = match conf(&node.root) {
            Ok(text) => text,
            Err(error) => {
                let line = format!("{error}; what it said before stands");
                say.state(Priority::Warning, "", "conf", [line]);
                return false;
            }
        };
        let away = text.is_none() && !node.root.etc_pve().join("qemu-server").exists();
        let changed = text != self.conf && !away;
        if changed {
            node.configs = Configs::of(&node.root, text.as_deref());
            self.conf = text;
        }
        let errors = node.configs.conf.errors.iter();
        let lines = errors.map(ToString::to_string);
        say.state(Priority::Warning, "", "conf", lines);
        changed
    }

    /// What is wanted of the threads of an entry's guest, and what is.
    ///
    /// # Errors
    /// Its cgroup can't be read.
    pub(super) fn outcome(
        &self,
        node: &Node,
        entry: &Entry,
        live: &LiveGuest,
        claims: &Claims,
        settled: bool,
    ) -> Result<Outcome, Fault> {
        let online = node.host.online();
        let allowed = cpuset::allowed(&node.root, &online, entry.vmid, Some(live.pid))?;
        let workers = match entry.plan.threads.vhost {
            Some(_) => self.workers.get(&live.pid),
            None => None,
        };
        let workers = workers.into_iter().flatten();
        let vhost: Vec<LiveThread> = workers.map(|worker| worker.thread.clone()).collect();
        let around = Around {
            host: &node.host,
            claims,
            settled,
        };
        let now = Now {
            entry,
            live: Some(live),
            vhost: &vhost,
            allowed: allowed.as_ref(),
        };
        Ok(reconcile(around, now))
    }

    fn look_for_workers(&mut self, node: &Node) -> Result<bool, Fault> {
        let mut found = process::all_vhost_kernel_threads(&node.root)?;
        found.retain(|pid, _| node.live.guests.iter().any(|guest| guest.pid == *pid));
        let worker = |task: process::Task| Worker {
            sign: self.affinity.sign(thread(&task)),
            thread: LiveThread {
                tid: task.tid,
                comm: task.comm,
                told: None,
                mask: task.mask,
            },
        };
        let workers: BTreeMap<Pid, Vec<Worker>> = sorted::map(
            found
                .into_iter()
                .map(|(pid, tasks)| (pid, tasks.into_iter().map(worker).collect())),
        );
        let changed = !same(&workers, &self.workers);
        self.workers = workers;
        Ok(changed)
    }

    /// Looks at the masks of the workers that are known; a file is read only where the system says something else than before.
    fn look_at_workers(&mut self, root: &Root) -> bool {
        let mut changed = false;
        for workers in self.workers.values_mut() {
            workers.retain_mut(|worker| {
                let tid = worker.thread.tid;
                let pid = Pid(tid.0);
                let sign = self.affinity.sign(Thread { pid, tid });
                if sign.is_some() && sign == worker.sign {
                    return true;
                }
                worker.sign = sign;
                match process::task(root, pid, tid) {
                    Ok(Some(task)) => {
                        changed |= task.mask != worker.thread.mask;
                        worker.thread.mask = task.mask;
                        true
                    }
                    Ok(None) | Err(_) => {
                        changed = true;
                        false
                    }
                }
            });
        }
        changed
    }
}

/// The text of numapin.conf; `None` where there is none.
pub(super) fn conf(root: &Root) -> Result<Option<String>, FileError> {
    read_text(&conf_path(root))
}

fn thread(task: &process::Task) -> Thread {
    Thread {
        pid: task.pid,
        tid: task.tid,
    }
}

fn same(one: &BTreeMap<Pid, Vec<Worker>>, other: &BTreeMap<Pid, Vec<Worker>>) -> bool {
    let threads = |workers: &BTreeMap<Pid, Vec<Worker>>| -> Vec<LiveThread> {
        let all = workers.values().flatten();
        all.map(|worker| worker.thread.clone()).collect()
    };
    threads(one) == threads(other)
}

/// Whether what a mask can be made of differs; free memory always does.
fn is_another(before: &Host, now: &Host) -> bool {
    let nodes =
        |host: &Host| -> Vec<CpuSet> { host.nodes.iter().map(|node| node.cpus.clone()).collect() };
    before.cpus != now.cpus
        || before.isolated != now.isolated
        || before.reserved != now.reserved
        || nodes(before) != nodes(now)
}

fn tell_online(before: &CpuSet, now: &CpuSet, say: &mut Say) {
    let gone = before.difference(now);
    let come = now.difference(before);
    if !gone.is_empty() {
        say.event(Priority::Notice, format!("cpu(s) {gone} went offline"));
    }
    if !come.is_empty() {
        say.event(Priority::Notice, format!("cpu(s) {come} came online"));
    }
}
