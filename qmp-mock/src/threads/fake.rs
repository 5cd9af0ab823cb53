//! Made-up threads: entries of /proc below a captured root, written once.
//!
//! Masks in them are changed by the simulated kernel of the engine only. This side adds entries (a new thread gets the mask
//! that the main thread's status shows at that time) and removes them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::host::{BLOCK, FakeHost, claim, inside};
use super::proc_text::{Task, cmdline};
use super::{Places, make_dir, write};
use crate::MockError;
use crate::cmdline::command_line;
use crate::guest::{Guest, Vhost};
use crate::masks::{Mask, parse_list, to_list};

/// Where the simulated kernel keeps the mask that was asked for a thread, as a kernel from 6.2 on remembers it.
const ASKED: &str = "requested_cpus";

/// The made-up threads of one mock.
#[derive(Debug)]
pub(crate) struct FakeCrew {
    root: PathBuf,
    pid: u32,
    /// Where the process's directory is: first under a hidden name.
    dir: PathBuf,
    next: u32,
    tids: BTreeSet<u32>,
    kernel_threads: Vec<u32>,
    scope: Option<PathBuf>,
    published: bool,
    traits: Traits,
}

/// What all entries of a process share.
#[derive(Debug)]
struct Traits {
    comm: String,
    cpu_bits: u32,
    /// The mask that taskset asked for.
    asked: Option<String>,
    /// The last mask that was written.
    mask: Mask,
    mems: Mask,
    threads: usize,
    start: u64,
    cgroup: String,
}

impl FakeCrew {
    /// Writes the process, its main thread and its helpers under a name that is not seen yet; [`Self::publish`] shows it.
    pub(crate) fn prepare(
        host: &FakeHost,
        guest: &Guest,
        places: &Places,
    ) -> Result<Self, MockError> {
        let mask = Mask::new(&host.first_mask(guest)?, host.cpu_ids);
        // x86 kernels of distributions have room for 1,024 nodes, and print all of them.
        let mems = Mask::new(&parse_list(&host.mems)?, 1024);
        let proc = host.root.join("proc");
        make_dir(&proc)?;
        let (pid, dir) = claim(&proc, host.pid)?;
        let vhost = match guest.vhost {
            Vhost::Tasks(n) => n,
            Vhost::None | Vhost::KernelThreads(_) => 0,
        };
        let vcpus = guest.boot_vcpus() as usize + guest.plugged.len();
        let mut crew = Self {
            root: host.root.clone(),
            pid,
            dir,
            next: pid + 1,
            tids: BTreeSet::new(),
            kernel_threads: Vec::new(),
            scope: None,
            published: false,
            traits: Traits {
                comm: guest.process_comm(),
                cpu_bits: host.cpu_ids,
                asked: FakeHost::asked(guest)?,
                mask: mask.clone(),
                mems,
                threads: 3 + vcpus + guest.iothreads.len() + (vhost + guest.workers) as usize,
                start: guest.start_ticks.unwrap_or(100_000 + u64::from(pid)),
                cgroup: format!("0::{}\n", guest.cgroup_path()),
            },
        };
        let result = crew.fill(host, guest, places, &mask);
        if result.is_err() {
            crew.end_all();
        }
        result.map(|()| crew)
    }

    fn fill(
        &mut self,
        host: &FakeHost,
        guest: &Guest,
        places: &Places,
        mask: &Mask,
    ) -> Result<(), MockError> {
        let comm = self.traits.comm.clone();
        self.write_task(&self.dir.join("task"), self.pid, &comm, false, mask)?;
        let inside = |path: &Path| inside(&host.root, path);
        let pid_file = places.pid_file.as_deref().map(inside).unwrap_or_default();
        let args = command_line(guest, &inside(&places.socket), &pid_file);
        write(&self.dir.join("cmdline"), cmdline(&args))?;
        write(&self.dir.join("cgroup"), &self.traits.cgroup)?;
        write(&self.dir.join("comm"), format!("{comm}\n"))?;
        // /proc/PID/stat and status are the main thread's: links, so that they show what the simulated kernel changes.
        for name in ["stat", "status"] {
            let link = self.dir.join(name);
            let main = format!("task/{}/{name}", self.pid);
            std::os::unix::fs::symlink(main, &link).map_err(MockError::file(&link))?;
        }
        let named = |name: &str| {
            if guest.debug_threads {
                name.to_owned()
            } else {
                comm.clone()
            }
        };
        self.add(&named("call_rcu"), false, mask)?;
        self.add(&named("IO mon_iothread"), false, mask)?;
        for _ in 0..guest.workers {
            self.add(&named("worker"), false, mask)?;
        }
        match guest.vhost {
            Vhost::None => {}
            Vhost::Tasks(n) => {
                for _ in 0..n {
                    self.add(&format!("vhost-{}", self.pid), false, mask)?;
                }
            }
            Vhost::KernelThreads(n) => {
                let all = Mask::new(&parse_list(&host.allowed)?, host.cpu_ids);
                for _ in 0..n {
                    self.add_kernel_thread(&format!("vhost-{}", self.pid), &all)?;
                }
            }
        }
        self.write_cgroup(guest)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn spawn(&mut self, comm: &str, running: bool) -> Result<u32, MockError> {
        let mask = self.main_mask()?;
        self.add(comm, running, &mask)
    }

    pub(crate) fn end(&mut self, tid: u32) -> Result<(), MockError> {
        if !self.tids.remove(&tid) {
            return Ok(());
        }
        let dir = self.dir.join("task").join(tid.to_string());
        let gone = self.dir.join(format!(".gone-{tid}"));
        // Renamed first: a reader sees the whole entry, or none.
        fs::rename(&dir, &gone).map_err(MockError::file(&dir))?;
        fs::remove_dir_all(&gone).map_err(MockError::file(&gone))
    }

    /// An id of this mock's block that no thread has.
    pub(crate) fn dead_tid(&self) -> u32 {
        self.pid + BLOCK - 1
    }

    pub(crate) fn publish(&mut self) -> Result<(), MockError> {
        let dir = self.root.join("proc").join(self.pid.to_string());
        fs::rename(&self.dir, &dir).map_err(MockError::file(&dir))?;
        self.dir = dir;
        self.published = true;
        Ok(())
    }

    /// Removes every entry; what is gone already is passed over.
    pub(crate) fn end_all(&mut self) {
        let proc = self.root.join("proc");
        let gone = proc.join(format!(".gone-{}", self.pid));
        let old = if fs::rename(&self.dir, &gone).is_ok() {
            &gone
        } else {
            &self.dir
        };
        // Nothing can be done about what can't be removed: the root is the caller's.
        let _ = fs::remove_dir_all(old);
        for tid in self.kernel_threads.drain(..) {
            let _ = fs::remove_dir_all(proc.join(tid.to_string()));
        }
        if let Some(scope) = self.scope.take() {
            let _ = fs::remove_dir_all(scope);
        }
        self.tids.clear();
    }

    /// The main thread's mask as its status shows it now.
    fn main_mask(&mut self) -> Result<Mask, MockError> {
        // Before it is seen, nobody can have changed it.
        if self.published {
            let main = self.dir.join("task").join(self.pid.to_string());
            let path = main.join("status");
            let text = fs::read_to_string(&path).map_err(MockError::file(&path))?;
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
            let list = line.unwrap_or_default().trim();
            if list != self.traits.mask.list {
                self.traits.mask = Mask::new(&parse_list(list)?, self.traits.cpu_bits);
            }
        }
        Ok(self.traits.mask.clone())
    }

    /// The mask that was asked for the main thread: a new thread inherits that, too (kernels from 6.2 on).
    fn asked(&self) -> Option<String> {
        if !self.published {
            return self.traits.asked.clone();
        }
        let main = self.dir.join("task").join(self.pid.to_string());
        fs::read_to_string(main.join(ASKED)).ok()
    }

    fn add(&mut self, comm: &str, running: bool, mask: &Mask) -> Result<u32, MockError> {
        let tid = self.next_id()?;
        let tasks = self.dir.join("task");
        if self.published {
            // Filled under a hidden name: a reader sees the whole entry, or none.
            let hidden = self.dir.join(".new");
            self.write_task(&hidden, tid, comm, running, mask)?;
            let (from, to) = (hidden.join(tid.to_string()), tasks.join(tid.to_string()));
            fs::rename(&from, &to).map_err(MockError::file(&to))?;
        } else {
            self.write_task(&tasks, tid, comm, running, mask)?;
        }
        self.tids.insert(tid);
        Ok(tid)
    }

    fn add_kernel_thread(&mut self, comm: &str, mask: &Mask) -> Result<(), MockError> {
        let tid = self.next_id()?;
        let dir = self.root.join("proc").join(tid.to_string());
        self.kernel_threads.push(tid);
        let text = self.task(tid, tid, comm, false, mask, true);
        for place in [&dir, &dir.join("task").join(tid.to_string())] {
            write(&place.join("comm"), format!("{comm}\n"))?;
            write(&place.join("stat"), text.stat())?;
            write(&place.join("cmdline"), "")?;
            write(&place.join("cgroup"), &self.traits.cgroup)?;
        }
        let task = dir.join("task").join(tid.to_string());
        write(&task.join("status"), text.status())?;
        let link = dir.join("status");
        std::os::unix::fs::symlink(format!("task/{tid}/status"), &link)
            .map_err(MockError::file(&link))
    }

    fn write_task(
        &self,
        tasks: &Path,
        tid: u32,
        comm: &str,
        running: bool,
        mask: &Mask,
    ) -> Result<(), MockError> {
        let dir = tasks.join(tid.to_string());
        make_dir(&dir)?;
        let task = self.task(self.pid, tid, comm, running, mask, false);
        let file = |name: &str, text: String| {
            let path = dir.join(name);
            fs::write(&path, text).map_err(MockError::file(path))
        };
        file("comm", format!("{comm}\n"))?;
        file("stat", task.stat())?;
        file("status", task.status())?;
        match self.asked() {
            Some(asked) => file(ASKED, asked),
            None => Ok(()),
        }
    }

    fn task<'a>(
        &'a self,
        tgid: u32,
        tid: u32,
        comm: &'a str,
        running: bool,
        allowed: &'a Mask,
        kernel: bool,
    ) -> Task<'a> {
        Task {
            comm,
            tgid,
            tid,
            ppid: if kernel { 2 } else { 1 },
            running,
            kernel,
            allowed,
            mems: &self.traits.mems,
            threads: if kernel { 1 } else { self.traits.threads },
            start: self.traits.start + u64::from(tid - self.pid),
        }
    }

    /// The next id nobody has; ids are used again only after the whole block, as the kernel does it with all of its ids.
    fn next_id(&mut self) -> Result<u32, MockError> {
        let last = self.pid + BLOCK - 2;
        for _ in 0..BLOCK {
            let id = self.next;
            self.next = if id >= last { self.pid + 1 } else { id + 1 };
            if !self.tids.contains(&id) && !self.kernel_threads.contains(&id) {
                return Ok(id);
            }
        }
        Err(MockError::Refused {
            desc: format!("all {BLOCK} thread ids of process {} are taken", self.pid),
        })
    }

    /// The files of the guest's cgroup that the guest's shape asks for.
    fn write_cgroup(&mut self, guest: &Guest) -> Result<(), MockError> {
        if guest.cpuset.is_none() && guest.numa_stat.is_empty() {
            return Ok(());
        }
        let path = guest.cgroup_path();
        let scope = self
            .root
            .join("sys/fs/cgroup")
            .join(path.trim_start_matches('/'));
        self.scope = Some(scope.clone());
        if let Some(cpuset) = &guest.cpuset {
            let cpus = to_list(&parse_list(cpuset)?);
            write(&scope.join("cpuset.cpus.effective"), format!("{cpus}\n"))?;
        }
        if !guest.numa_stat.is_empty() {
            let line = |key: &str, share: u64| {
                let nodes = guest.numa_stat.iter();
                let text: String = nodes
                    .map(|(node, mib)| format!(" N{node}={}", (mib << 20) / share))
                    .collect();
                format!("{key}{text}\n")
            };
            let text = line("anon", 1) + &line("file", 1024) + &line("kernel_stack", 65536);
            write(&scope.join("memory.numa_stat"), text)?;
        }
        Ok(())
    }
}
