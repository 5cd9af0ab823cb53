//! What runs on the node now: every QEMU process with the masks of its threads, whoever set them, and the cpusets of
//! containers.
//!
//! ```text
//! /run/qemu-server/VMID.pid ─┐                          ┌─► claims: one-to-one, set-pinned, unpinned
//! /proc/PID/cmdline ─────────┼─► guests ─► their tasks ─┤
//! /proc/PID/task/TID/status ─┘                          └─► what is, for status and watch
//! ```
//! Guests of Proxmox VE are told by their pid files, others by a command that ends in `kvm` or begins with `qemu-`; vCPUs by
//! the names of the tasks (`CPU n/KVM`), so that no QMP socket is needed, and no privilege. A process that ends meanwhile is
//! no error; what can't be understood is a warning and spoils nothing else.

mod again;
mod command;
mod read;
mod seen;

/// The name a guest was started with; a word in its place for one that has none and is called by its process.
fn or_any(guest: &GuestName) -> &str {
    if guest.0.starts_with("pid ") {
        "NAME"
    } else {
        &guest.0
    }
}

#[cfg(test)]
pub(crate) mod tests;

use std::path::PathBuf;

pub use again::Again;

use super::Claims;
use crate::guest::GuestName;
use crate::id::{Pid, Tid, VcpuId, Vmid};
use crate::idset::CpuSet;
use crate::process::{Look, ProcessError};
use crate::root::{FileError, Root};

/// What runs on a node.
#[derive(Debug, Default)]
pub struct Live {
    /// The QEMU processes: guests with a VMID ascending, then the others by process number.
    pub guests: Vec<LiveGuest>,
    /// Running containers (LXC) whose cgroup has a cpuset, ascending.
    pub containers: Vec<Container>,
    /// What could not be read or understood, in the order it was met.
    pub warnings: Vec<LiveWarning>,
}

/// A QEMU process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveGuest {
    /// The VMID; for others the name on the command line (`-name`), or "pid 4711" where there is none or another guest has it.
    pub name: GuestName,
    /// The VMID, for a Proxmox VE guest.
    pub vmid: Option<Vmid>,
    /// The process.
    pub pid: Pid,
    /// Its threads, ascending.
    pub threads: Vec<LiveThread>,
}

/// A thread of a QEMU process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveThread {
    /// Which one.
    pub tid: Tid,
    /// Its name, cut by the kernel at 15 characters; empty where QMP told what it is, and it was not looked at.
    pub comm: String,
    /// The vCPU that it runs by QMP's word, which goes before the name; `None` where QMP was not asked.
    pub told: Option<VcpuId>,
    /// Its mask, with the CPUs that are offline where there are any.
    pub mask: CpuSet,
}

/// A running container (LXC) and the CPUs that its cgroup's cpuset lets it use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its number.
    pub vmid: Vmid,
    /// Its CPUs.
    pub cpus: CpuSet,
}

/// The guest on whose behalf claims are read: its own are left out. Both are looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Own {
    /// Its VMID.
    pub vmid: Option<Vmid>,
    /// Its process.
    pub pid: Option<Pid>,
}

/// Something that could not be read or understood; what it would have said is not in the claims.
#[derive(Debug, thiserror::Error)]
pub enum LiveWarning {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The mask of a thread can't be told.
    #[error("{0}: the mask of this thread is not seen")]
    Mask(#[from] ProcessError),
    /// A file holds what it can't.
    #[error("{}: {value:?} is no {expected}; {unknown} not seen", file.display())]
    Malformed {
        /// Which file.
        file: PathBuf,
        /// What stands there.
        value: String,
        /// What was expected.
        expected: &'static str,
        /// What is not known for that reason.
        unknown: &'static str,
    },
    /// A file lacks a line.
    #[error("{}: has no line {key:?}: the mask of this thread is not seen", file.display())]
    NoLine {
        /// Which file.
        file: PathBuf,
        /// How the line begins.
        key: &'static str,
    },
    /// No task is named like a vCPU.
    #[error(
        "process {pid} is a QEMU whose threads are not named: what its vcpus hold is not seen; start it with \
         -name {},debug-threads=on",
        or_any(guest)
    )]
    Nameless {
        /// The process.
        pid: Pid,
        /// The guest.
        guest: GuestName,
    },
    /// Processes that this user may not look into.
    #[error(
        "{count} processes can't be looked into (is /proc mounted with hidepid?): guests among them are not seen; run as root"
    )]
    Hidden {
        /// How many.
        count: usize,
    },
}

/// Reads what runs on a node. Each file is read once. Without /proc and /run (a bare sysfs) nothing runs.
///
/// # Errors
/// `/proc` or `/run/qemu-server` is there and can't be listed.
pub fn read(root: &Root) -> Result<Live, FileError> {
    look(Look::files(root), None)
}

/// As [`read()`], with masks looked at as `look` does. The threads of the process `apart` are not looked at: whoever is about
/// to set their masks has to look at them more closely, and tells it by [`Live::see`].
///
/// # Errors
/// As [`read()`].
pub fn look(look: Look<'_>, apart: Option<Pid>) -> Result<Live, FileError> {
    read::live(look, apart)
}

/// The claims of the live masks, without those of one guest, and what could not be read.
///
/// # Errors
/// As [`read()`].
pub fn claims(
    root: &Root,
    online: &CpuSet,
    own: Own,
) -> Result<(Claims, Vec<LiveWarning>), FileError> {
    let live = read(root)?;
    Ok((live.claims(online, own), live.warnings))
}

impl Live {
    /// The claims of the masks, on a host with these online CPUs, without those of one guest.
    #[must_use]
    pub fn claims(&self, online: &CpuSet, own: Own) -> Claims {
        let mut claims = Claims::default();
        for guest in self.guests.iter().filter(|guest| !own.is(guest)) {
            claims.add_masks(&guest.name, online, guest.vcpu_masks());
        }
        claims
    }

    /// The containers that may run on some of these CPUs, each with those; containers that may run on every online CPU sit
    /// anywhere, as the host's own processes do, and are not told.
    #[must_use]
    pub fn containers_on(&self, cpus: &CpuSet, online: &CpuSet) -> Vec<Container> {
        let confined = self.containers.iter();
        let confined = confined.filter(|container| !online.is_subset(&container.cpus));
        let there = confined.map(|container| Container {
            vmid: container.vmid,
            cpus: container.cpus.intersection(cpus),
        });
        there.filter(|there| !there.cpus.is_empty()).collect()
    }
}

impl LiveGuest {
    /// The masks of the threads that run vCPUs.
    pub fn vcpu_masks(&self) -> impl Iterator<Item = &CpuSet> {
        let vcpus = self.threads.iter().filter(|thread| thread.runs_vcpus());
        vcpus.map(|thread| &thread.mask)
    }
}

impl LiveThread {
    /// The vCPU that QMP or its name tells.
    #[must_use]
    pub fn vcpu(&self) -> Option<VcpuId> {
        if self.told.is_some() {
            return self.told;
        }
        let rest = self.comm.strip_prefix("CPU ")?;
        let (number, _) = rest.split_once('/')?;
        number.parse().ok().map(VcpuId)
    }

    /// Whether it runs a vCPU, or all of them in turn (TCG with `thread=single`).
    #[must_use]
    pub fn runs_vcpus(&self) -> bool {
        self.vcpu().is_some() || self.comm.starts_with("ALL CPUs/")
    }
}

impl Own {
    /// The guest with this VMID.
    #[must_use]
    pub fn guest(vmid: Vmid) -> Self {
        Self {
            vmid: Some(vmid),
            pid: None,
        }
    }

    /// The guest of this process.
    #[must_use]
    pub fn process(pid: Pid) -> Self {
        Self {
            vmid: None,
            pid: Some(pid),
        }
    }

    /// Whether a process is the guest's.
    #[must_use]
    pub fn is(&self, guest: &LiveGuest) -> bool {
        self.pid == Some(guest.pid) || (self.vmid.is_some() && self.vmid == guest.vmid)
    }
}
