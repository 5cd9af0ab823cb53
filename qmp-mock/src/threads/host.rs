//! The captured root that fake threads live below: its CPUs, its process ids, its paths.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Places;
use crate::MockError;
use crate::guest::Guest;
use crate::masks::{parse_list, to_list};

/// Ids that a mock has for itself: its process gets the first, its threads the next ones.
pub(super) const BLOCK: u32 = 8192;

/// The machine below `root` that fake threads belong to.
#[derive(Debug, Clone)]
pub struct FakeHost {
    /// Holds `proc`, `run`, `sys`.
    pub root: PathBuf,
    /// CPUs of a thread that nobody pinned (list form).
    pub allowed: String,
    /// Number of CPU ids the kernel has room for: the width of its masks.
    pub cpu_ids: u32,
    /// Host nodes with memory (list form).
    pub mems: String,
    /// Process id; none: the lowest multiple of 8,192 whose block of ids is free below `root`, so that mocks of one root,
    /// also of several programs, never share an id.
    pub pid: Option<u32>,
    /// QMP socket; none: `run/qemu-server/VMID.qmp` below `root`, or `run/NAME.qmp` for plain QEMU.
    pub socket: Option<PathBuf>,
}

impl FakeHost {
    /// The host below `root`, with the CPUs and nodes that its sysfs calls online; one CPU and node 0 where there is none.
    ///
    /// # Errors
    /// One of these files is not in the kernel's list form.
    pub fn at(root: impl Into<PathBuf>) -> Result<Self, MockError> {
        let root = root.into();
        let list = |path: &str| {
            let text = fs::read_to_string(root.join("sys/devices/system").join(path)).ok();
            // Some captured hosts have a NUL behind the list.
            text.map(|text| {
                text.trim_matches(|c: char| c.is_whitespace() || c == '\0')
                    .to_owned()
            })
            .filter(|text| !text.is_empty())
        };
        let online = list("cpu/online")
            .or_else(|| online_one_by_one(&root))
            .unwrap_or_else(|| "0".to_owned());
        let possible = list("cpu/possible").unwrap_or_else(|| online.clone());
        let mems = list("node/has_memory").or_else(|| list("node/online"));
        let mut host = Self::with_cpus(root, &online)?;
        host.cpu_ids = host.cpu_ids.max(width(&parse_list(&possible)?));
        host.mems = mems.unwrap_or_else(|| "0".to_owned());
        parse_list(&host.mems)?;
        Ok(host)
    }

    /// A host below `root` with these CPUs (list form) and node 0.
    ///
    /// # Errors
    /// `cpus` is not in the kernel's list form.
    pub fn with_cpus(root: impl Into<PathBuf>, cpus: &str) -> Result<Self, MockError> {
        Ok(Self {
            root: root.into(),
            allowed: cpus.to_owned(),
            cpu_ids: width(&parse_list(cpus)?),
            mems: "0".to_owned(),
            pid: None,
            socket: None,
        })
    }

    pub(crate) fn places(&self, guest: &Guest) -> Places {
        let run = self.root.join("run");
        let (socket, pid_file) = match guest.vmid {
            Some(vmid) => {
                let dir = run.join("qemu-server");
                (
                    dir.join(format!("{vmid}.qmp")),
                    dir.join(format!("{vmid}.pid")),
                )
            }
            None => (
                run.join(format!("{}.qmp", guest.name)),
                run.join(format!("{}.pid", guest.name)),
            ),
        };
        Places {
            socket: self.socket.clone().unwrap_or(socket),
            pid_file: Some(pid_file),
        }
    }

    /// What taskset asks the kernel for, if the guest was started by it: the kernel narrows that, and remembers it.
    pub(super) fn asked(guest: &Guest) -> Result<Option<String>, MockError> {
        let list = guest.affinity.as_deref().map(parse_list).transpose()?;
        Ok(list.map(|list| format!("{}\n", to_list(&list))))
    }

    /// CPUs of the guest's first thread: those of taskset where the host and the cgroup allow them.
    pub(super) fn first_mask(&self, guest: &Guest) -> Result<BTreeSet<u32>, MockError> {
        let mut mask = parse_list(&self.allowed)?;
        for list in [&guest.cpuset, &guest.affinity].into_iter().flatten() {
            let only = parse_list(list)?;
            mask.retain(|cpu| only.contains(cpu));
        }
        if mask.is_empty() {
            return Err(MockError::Guest {
                guest: guest.name.clone(),
                what: format!(
                    "taskset: no CPU of affinity {:?} is among {:?}",
                    guest.affinity.as_deref().unwrap_or_default(),
                    self.allowed
                ),
            });
        }
        Ok(mask)
    }
}

/// Takes a process id, and makes the hidden directory for it.
pub(super) fn claim(proc: &Path, wanted: Option<u32>) -> Result<(u32, PathBuf), MockError> {
    let hidden = |pid: u32| proc.join(format!(".new-{pid}"));
    if let Some(pid) = wanted {
        let path = proc.join(pid.to_string());
        if path.exists() {
            return Err(MockError::PidTaken { path });
        }
        let dir = hidden(pid);
        return match fs::create_dir(&dir) {
            Ok(()) => Ok((pid, dir)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(MockError::PidTaken { path }),
            Err(e) => Err(MockError::file(dir)(e)),
        };
    }
    let taken = taken_ids(proc)?;
    let mut pid = BLOCK;
    loop {
        let dir = hidden(pid);
        if taken.range(pid..pid + BLOCK).next().is_none() {
            match fs::create_dir(&dir) {
                // Another mock may have become visible since the ids were read.
                Ok(()) if proc.join(pid.to_string()).exists() => {
                    fs::remove_dir(&dir).map_err(MockError::file(&dir))?;
                }
                Ok(()) => return Ok((pid, dir)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(MockError::file(dir)(e)),
            }
        }
        pid += BLOCK;
    }
}

fn taken_ids(proc: &Path) -> Result<BTreeSet<u32>, MockError> {
    let entries = fs::read_dir(proc).map_err(MockError::file(proc))?;
    Ok(entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.trim_start_matches(".new-").parse().ok()
        })
        .collect())
}

/// How a path below the root looks from inside the machine; `/run` is also `/var/run`, which is what Proxmox VE writes.
pub(super) fn inside(root: &Path, path: &Path) -> String {
    match path.strip_prefix(root) {
        Ok(rest) if rest.starts_with("run") => format!("/var/{}", rest.display()),
        Ok(rest) => format!("/{}", rest.display()),
        Err(_) => path.display().to_string(),
    }
}

/// Bits that a kernel with these CPUs has in its masks.
fn width(cpus: &BTreeSet<u32>) -> u32 {
    cpus.last().map_or(1, |last| last + 1)
}

/// The CPUs of a host that has no cpu/online: those of which no `cpuN/online` says 0.
fn online_one_by_one(root: &Path) -> Option<String> {
    let dir = root.join("sys/devices/system/cpu");
    let mut cpus: Vec<u32> = fs::read_dir(&dir)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            entry
                .file_name()
                .to_str()?
                .strip_prefix("cpu")?
                .parse()
                .ok()
        })
        .filter(|cpu| {
            let online = fs::read_to_string(dir.join(format!("cpu{cpu}/online")));
            online.map_or(true, |online| online.trim() != "0")
        })
        .collect();
    cpus.sort_unstable();
    let list: Vec<_> = cpus.iter().map(ToString::to_string).collect();
    (!list.is_empty()).then(|| list.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_captures_tell_their_cpus_one_by_one_and_end_lists_with_nul() {
        let root = tempfile::tempdir().unwrap();
        let system = root.path().join("sys/devices/system");
        for (file, text) in [
            ("cpu/cpu0/topology/core_id", "0"),
            ("cpu/cpu2/online", "1\n"),
            ("cpu/cpu1/online", "0\n"),
            ("node/online", "0-1\n\0"),
        ] {
            let path = system.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let host = FakeHost::at(root.path()).unwrap();
        assert_eq!((host.allowed.as_str(), host.mems.as_str()), ("0,2", "0-1"));
    }
}
