//! The files of a captured root that stand for the kernel's own knowledge.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cpulist;
use crate::id::{CpuId, Pid};
use crate::idset::CpuSet;
use crate::root::CapturedRoot;

/// The mask that was asked for, beside `status`.
const REQUESTED: &str = "requested_cpus";

/// The text of a file; `None` where it can't be read.
pub(super) fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The CPUs that are online: `cpu/online`, or without it (old captures) every cpuN whose `online` is not 0.
pub(super) fn online(root: &CapturedRoot) -> CpuSet {
    let cpu = root.sys().join("devices/system/cpu");
    if let Some(online) = text(&cpu.join("online")).and_then(|text| text.parse().ok()) {
        return online;
    }
    let off = |id: &CpuId| {
        let file = cpu.join(format!("cpu{id}/online"));
        text(&file).is_some_and(|text| text.trim() == "0")
    };
    existing(root).iter().filter(|id| !off(id)).collect()
}

/// The CPUs that exist: every cpuN, or those of `cpu/possible` or `cpu/present` where a capture has no directories.
pub(super) fn existing(root: &CapturedRoot) -> CpuSet {
    let cpu = root.sys().join("devices/system/cpu");
    let number = |name: &str| name.strip_prefix("cpu")?.parse().ok().map(CpuId);
    let listed: CpuSet = fs::read_dir(&cpu)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| number(entry.file_name().to_str()?))
        .collect();
    let lists = ["possible", "present", "online"];
    let named = lists
        .iter()
        .find_map(|name| text(&cpu.join(name))?.parse::<CpuSet>().ok());
    if listed.is_empty() {
        named.unwrap_or_default()
    } else {
        listed
    }
}

/// The CPUs that the cpuset of a process's cgroup allows; `None` where nothing restricts it. A cgroup without the controller
/// has no file of its own and is bound by the next one above that has; at the top that is all but isolated partitions.
pub(super) fn cpuset(root: &CapturedRoot, pid: Pid) -> Option<CpuSet> {
    let lines = text(&root.proc().join(pid.to_string()).join("cgroup"))?;
    let mount = root.sys().join("fs/cgroup");
    lines.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let (top, file) = match controllers {
            "" => (mount.clone(), "cpuset.cpus.effective"),
            v1 if v1.split(',').any(|name| name == "cpuset") => {
                (mount.join("cpuset"), "cpuset.effective_cpus")
            }
            _ => return None,
        };
        // `..` would lead out of the mount: such a path restricts nothing.
        if path.split('/').any(|part| part == "..") {
            return None;
        }
        let dir = top.join(path.trim_start_matches('/'));
        let mut up = dir.ancestors().take_while(|dir| dir.starts_with(&top));
        up.find_map(|dir| text(&dir.join(file))?.parse().ok())
    })
}

/// The mask of a thread.
pub(super) fn read_mask(dir: &Path) -> io::Result<CpuSet> {
    let status = fs::read_to_string(dir.join("status"))?;
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let mask = || {
        status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed:"))
    };
    let parsed = match list {
        Some(list) => list.parse().ok(),
        None => mask().and_then(|mask| cpulist::parse_mask(mask).ok()),
    };
    parsed.ok_or_else(|| {
        let file = dir.join("status");
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "{}: has no line Cpus_allowed_list with a list of cpus",
                file.display()
            ),
        )
    })
}

/// Writes the mask of a thread: the two lines of its `status`, as wide as they were; all other lines stay.
pub(super) fn write_mask(dir: &Path, cpus: &CpuSet) -> io::Result<()> {
    let status = fs::read_to_string(dir.join("status"))?;
    let width = |old: &str| old.split(',').map(|group| group.trim().len() * 4).sum();
    let mut new = String::with_capacity(status.len() + 64);
    let (mut mask, mut list) = (false, false);
    for line in status.lines() {
        if let Some(old) = line.strip_prefix("Cpus_allowed:") {
            new.push_str(&format!(
                "Cpus_allowed:\t{}",
                cpulist::format_mask(cpus, width(old))
            ));
            mask = true;
        } else if line.starts_with("Cpus_allowed_list:") {
            new.push_str(&format!("Cpus_allowed_list:\t{cpus}"));
            list = true;
        } else {
            new.push_str(line);
        }
        new.push('\n');
    }
    if !mask {
        new.push_str(&format!(
            "Cpus_allowed:\t{}\n",
            cpulist::format_mask(cpus, 0)
        ));
    }
    if !list {
        new.push_str(&format!("Cpus_allowed_list:\t{cpus}\n"));
    }
    replace(&dir.join("status"), &new)
}

/// The mask that was asked for; `None` where none was.
pub(super) fn read_requested(dir: &Path) -> Option<CpuSet> {
    text(&dir.join(REQUESTED))?.parse().ok()
}

/// Remembers the mask that was asked for.
pub(super) fn write_requested(dir: &Path, cpus: &CpuSet) -> io::Result<()> {
    replace(&dir.join(REQUESTED), &format!("{cpus}\n"))
}

/// Forgets the mask that was asked for.
pub(super) fn forget_requested(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(REQUESTED)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Replaces a file as a whole: whoever reads it sees the old or the new text. A symlink is refused: it could lead anywhere.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    if fs::symlink_metadata(file).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(io::Error::other(format!(
            "{} is not a regular file",
            file.display()
        )));
    }
    let fresh = fresh_name(file);
    let written = fs::File::create_new(&fresh)
        .and_then(|mut new| new.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&fresh, file));
    if written.is_err() {
        // What remains of the try is of no use; the error of the try is what counts.
        let _ = fs::remove_file(&fresh);
    }
    written
}

/// A name beside the file that nobody else uses.
fn fresh_name(file: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}-{count}", std::process::id()));
    file.with_file_name(name)
}
