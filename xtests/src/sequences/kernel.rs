//! What the kernel of a simulated node does: CPUs go and come, cpusets change, and masks are set from outside.

use std::fs;

use numapin_core::apply::captured::Event as Kernel;
use numapin_core::apply::{Affinity as _, Thread};
use numapin_core::id::{CpuId, Pid, Tid};

use super::world::{World, text};
use crate::flow::masks;
use crate::flow::{Broken, Ids};

impl World {
    /// Takes a CPU offline or back; false where that can't be.
    ///
    /// # Errors
    /// The tree can't be changed.
    pub fn set_online(&mut self, cpu: u32, online: bool, busy: bool) -> Result<bool, Broken> {
        let known = self.topology.node.contains_key(&cpu);
        let changes = self.online.contains(&cpu) != online;
        // The kernel keeps the last one, and mostly the first.
        let mut confined = self.guests.values().filter_map(|vm| vm.cpuset.as_ref());
        let strands = |cpuset: &Ids| cpuset.intersection(&self.online).all(|left| *left == cpu);
        let needed = cpu == 0 || self.online.len() <= 2 || confined.any(strands);
        if !known || !changes || (!online && needed) {
            return Ok(false);
        }
        let root = self.root().to_owned();
        self.host.set_online(&root, cpu, online)?;
        if online {
            self.online.insert(cpu);
        } else {
            self.online.remove(&cpu);
        }
        self.replay(Kernel::CpusOnline, None, busy)?;
        Ok(true)
    }

    /// Sets the cpuset of a guest, or of all.
    ///
    /// # Errors
    /// Its files can't be written.
    pub fn set_cpuset(&mut self, vmid: u32, cpus: Option<Ids>) -> Result<(), Broken> {
        let scope = self.scope(Some(vmid));
        let vm = self.vm_mut(vmid)?;
        if vm.mock.is_none() {
            return Ok(());
        }
        vm.confined = true;
        vm.cpuset.clone_from(&cpus);
        fs::create_dir_all(&scope)?;
        let cpus = cpus.unwrap_or_else(|| self.topology.all());
        let text = text(&cpus);
        fs::write(scope.join("cpuset.cpus.effective"), format!("{text}\n"))?;
        self.replay(Kernel::Cpuset, Some(vmid), false)
    }

    /// Sets a mask behind numapin's back, as taskset does.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn taskset(&mut self, vmid: u32, tid: u32, cpus: &Ids) -> Result<(), Broken> {
        let pid = self.mock(vmid)?.pid();
        let thread = Thread {
            pid: Pid(i32::try_from(pid)?),
            tid: Tid(i32::try_from(tid)?),
        };
        let mask = cpus.iter().map(|cpu| CpuId(*cpu)).collect();
        // What the kernel refuses, taskset tells.
        if self.kernel.set(thread, &mask).is_ok() {
            self.touched(vmid, &[tid])?;
        }
        Ok(())
    }

    /// Does what the kernel does, and takes note of the masks that it changed.
    fn replay(&mut self, event: Kernel, of: Option<u32>, busy: bool) -> Result<(), Broken> {
        for vmid in self.guests.keys().copied().collect::<Vec<_>>() {
            if of.is_some_and(|of| of != vmid) {
                continue;
            }
            let Some(mock) = &self.guests[&vmid].mock else {
                continue;
            };
            let pid = mock.pid();
            let threads = || masks::of_process(&self.root().join("proc"), pid);
            let before = threads()?;
            let process = Pid(i32::try_from(pid)?);
            self.kernel.replay(event, process, &|_| busy)?;
            let after = threads()?;
            // What is wanted may be something else from now on.
            self.tainted.extend(after.keys());
            let changed = after.iter().filter(|(tid, seen)| {
                let old = before.get(tid).map(|seen| &seen.mask);
                old != Some(&seen.mask)
            });
            let changed: Vec<u32> = changed.map(|(tid, _)| *tid).collect();
            self.touched(vmid, &changed)?;
        }
        Ok(())
    }

    /// Masks of a guest were changed from outside: where numapin does not look after it, that is what it has from now on.
    fn touched(&mut self, vmid: u32, tids: &[u32]) -> Result<(), Broken> {
        if tids.is_empty() {
            return Ok(());
        }
        let seen = self.look()?;
        let entry = seen.entries.get(&vmid);
        for tid in tids {
            self.tainted.insert(*tid);
            let ours = entry.is_some_and(|entry| {
                entry.state == "applied" && entry.found.iter().any(|f| f.thread.tid == *tid)
            });
            if !ours {
                self.base.insert(*tid, seen.mask(*tid));
            }
        }
        Ok(())
    }
}
