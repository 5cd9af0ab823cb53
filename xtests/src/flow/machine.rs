//! This machine itself, for real system calls.

use std::time::{Duration, Instant};

use numapin_core::guest::{Guest, GuestParts};
use numapin_core::host::sysfs::{self, Want};
use numapin_core::host::{Host, cpuset};
use numapin_core::id::Pid;
use numapin_core::idset::CpuSet;
use numapin_core::root::Root;

use super::{Broken, Ids};

/// This machine as a process on it sees it: with what the cpuset of its cgroup allows.
///
/// # Errors
/// It can't be read.
pub fn host(root: &Root, pid: u32) -> Result<Host, Broken> {
    let mut host = sysfs::read(root, Want::PLAN)?;
    let pid = Pid(i32::try_from(pid)?);
    host.allowed = cpuset::allowed(root, &host.online(), None, Some(pid))?;
    Ok(host)
}

/// The CPUs of the host that a guest can use.
#[must_use]
pub fn usable(host: &Host) -> CpuSet {
    let usable = host.online().difference(&host.isolated);
    match &host.allowed {
        Some(allowed) => usable.intersection(allowed),
        None => usable,
    }
}

/// A guest of plain QEMU with one virtual node for each socket; `affinity` stands for the flag of that name.
///
/// # Errors
/// It is no possible guest.
pub fn guest(sockets: u32, cores: u32, affinity: Option<CpuSet>) -> Result<Guest, Broken> {
    let mut parts = GuestParts::new("flow", sockets, cores).with_numa();
    parts.affinity = affinity;
    Ok(Guest::new(parts)?)
}

/// One CPU as a set; the last one of several.
#[must_use]
pub fn last(cpus: &CpuSet) -> CpuSet {
    cpus.last().into_iter().collect()
}

/// A set without its types.
#[must_use]
pub fn ids(cpus: &CpuSet) -> Ids {
    cpus.iter().map(|cpu| cpu.0).collect()
}

/// Waits until something is there, for at most 20 seconds.
///
/// # Errors
/// It did not come.
pub fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) -> Result<(), Broken> {
    let start = Instant::now();
    while !is_there() {
        if start.elapsed() > Duration::from_secs(20) {
            return Err(format!("{what} did not come within 20 seconds").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
