//! What the kernel does to masks by itself: when CPUs go offline or come back, and when a cpuset changes.

use std::fs;
use std::path::PathBuf;

use super::{Captured, tree};
use crate::id::{Pid, Tid};
use crate::idset::CpuSet;

/// Something that happened to the simulated machine. The files that tell it are changed first, by whoever changes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// `cpu/online` has changed.
    CpusOnline,
    /// The cpuset of the process's cgroup has changed, or the process was moved into another cgroup.
    Cpuset,
}

impl Captured {
    /// Does to the threads of a process what the kernel would do. `busy` tells the threads that are running, not sleeping.
    ///
    /// - A CPU goes offline: a mask of which something is left stays as it is (`sched_getaffinity` hides what is offline). Of a
    ///   mask of which nothing is left the thread keeps it while it sleeps; once it runs it gets all CPUs that its cpuset
    ///   allows, for good, and the kernel forgets what was asked for.
    /// - A cpuset changes: from 6.2 on each thread gets what it asked for as far as the cpuset allows it, or the whole
    ///   cpuset; up to 6.1 always the whole cpuset.
    ///
    /// # Errors
    /// A file of a thread can't be read or written.
    pub fn replay(
        &self,
        event: Event,
        pid: Pid,
        busy: &dyn Fn(Tid) -> bool,
    ) -> std::io::Result<()> {
        let top = self.top()?;
        let online = tree::online(&self.root);
        let allowed = tree::cpuset(&self.root, pid);
        let whole = allowed.unwrap_or_else(|| tree::existing(&self.root));
        for (tid, dir) in self.threads(pid) {
            let dir = dir.canonicalize()?;
            if !dir.starts_with(&top) {
                continue;
            }
            let mask = tree::read_mask(&dir)?;
            match event {
                Event::CpusOnline if mask.is_disjoint(&online) && busy(tid) => {
                    tree::write_mask(&dir, &whole)?;
                    tree::forget_requested(&dir)?;
                }
                Event::CpusOnline => {}
                Event::Cpuset => {
                    let new = self.after_cpuset(&whole, tree::read_requested(&dir));
                    tree::write_mask(&dir, &new)?;
                }
            }
        }
        Ok(())
    }

    fn after_cpuset(&self, whole: &CpuSet, requested: Option<CpuSet>) -> CpuSet {
        let kept = requested
            .filter(|_| self.remembers)
            .map(|requested| requested.intersection(whole))
            .filter(|kept| !kept.is_empty());
        kept.unwrap_or_else(|| whole.clone())
    }

    fn threads(&self, pid: Pid) -> Vec<(Tid, PathBuf)> {
        let task = self.root.proc().join(pid.to_string()).join("task");
        let number = |name: &std::ffi::OsStr| name.to_str()?.parse().ok().map(Tid);
        let mut threads: Vec<(Tid, PathBuf)> = fs::read_dir(task)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some((number(&entry.file_name())?, entry.path())))
            .collect();
        threads.sort();
        threads
    }
}
