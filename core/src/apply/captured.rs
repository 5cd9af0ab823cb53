//! The simulated kernel: affinity of the threads below a captured root. The only simulated kernel of the project.
//!
//! Masks are where the kernel shows them, in `proc/PID/task/TID/status`; beside it, `requested_cpus` holds the mask that was
//! asked for, which a kernel from 6.2 on remembers. Nothing outside the root is read or written.

mod replay;
mod tree;

use std::io;
use std::path::PathBuf;

use super::{Affinity, AffinityError, Sign, Thread};
use crate::idset::CpuSet;
use crate::root::{CapturedRoot, Stamp};

pub use replay::Event;

/// Affinity of the fake threads below a captured root.
#[derive(Debug, Clone)]
pub struct Captured {
    root: CapturedRoot,
    remembers: bool,
}

impl Captured {
    /// The simulated kernel of a captured root, with the rules of the version that its `proc/sys/kernel/osrelease` names; a
    /// root without that file has those of 6.2 and later.
    #[must_use]
    pub fn new(root: &CapturedRoot) -> Self {
        let release = tree::text(&root.proc().join("sys/kernel/osrelease"));
        Self {
            root: root.clone(),
            remembers: release.is_none_or(|release| remembers(&release)),
        }
    }

    /// The directory of a thread, which must be below the root.
    fn dir(&self, thread: Thread) -> Result<PathBuf, AffinityError> {
        let process = self.root.proc().join(thread.pid.to_string());
        let dir = process.join("task").join(thread.tid.to_string());
        match dir.canonicalize() {
            Ok(real) if real.starts_with(self.top()?) => Ok(real),
            Ok(_) => Err(AffinityError::System(io::Error::other(format!(
                "{} leads out of {}",
                dir.display(),
                self.root.dir().display()
            )))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(AffinityError::Gone),
            Err(e) => Err(e.into()),
        }
    }

    fn top(&self) -> io::Result<PathBuf> {
        self.root.dir().canonicalize()
    }
}

impl Affinity for Captured {
    fn set(&self, thread: Thread, cpus: &CpuSet) -> Result<(), AffinityError> {
        let dir = self.dir(thread)?;
        let usable = match tree::cpuset(&self.root, thread.pid) {
            Some(cpuset) => cpus.intersection(&cpuset),
            None => cpus.clone(),
        };
        let online = tree::online(&self.root);
        if online.is_empty() {
            let cpus = self.root.sys().join("devices/system/cpu");
            let told = format!("{}: tells of no cpu that is online", cpus.display());
            return Err(io::Error::other(told).into());
        }
        let usable = usable.intersection(&online);
        if usable.is_empty() {
            return Err(AffinityError::NothingUsable);
        }
        // As the real call may be refused.
        let Thread { tid, .. } = thread;
        self.root
            .steps()
            .step(format_args!("set the mask of thread {tid}"))
            .map_err(AffinityError::of)?;
        // First what may be refused, so that nothing is half done.
        if self.remembers {
            tree::write_requested(&dir, cpus)?;
        }
        Ok(tree::write_mask(&dir, &usable)?)
    }

    fn get(&self, thread: Thread) -> Result<CpuSet, AffinityError> {
        let mask = match tree::read_mask(&self.dir(thread)?) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(AffinityError::Gone),
            mask => mask?,
        };
        Ok(mask.intersection(&tree::online(&self.root)))
    }

    fn is_there(&self, thread: Thread) -> bool {
        self.dir(thread).is_ok()
    }

    fn sign(&self, thread: Thread) -> Option<Sign> {
        let name = format!("{}/task/{}/status", thread.pid, thread.tid);
        Stamp::of(&self.root.proc().join(name)).map(Sign::File)
    }
}

/// Whether a kernel remembers the mask that was asked for: from 6.2 on (commit 8f9ea86fdf99).
fn remembers(release: &str) -> bool {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    let mut part = || parts.next().and_then(|part| part.parse::<u32>().ok());
    match (part(), part()) {
        (Some(major), Some(minor)) => (major, minor) >= (6, 2),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
