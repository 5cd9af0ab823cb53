//! Reads /run/qemu-server, /proc and the cgroups of containers.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::command::Command;
use super::{Container, Live, LiveGuest, LiveThread, LiveWarning};
use crate::cpulist;
use crate::guest::GuestName;
use crate::id::{Pid, Tid, Vmid};
use crate::idset::CpuSet;
use crate::process::Look;
use crate::root::{FileError, Reader, Root, read_names};
use crate::sorted;
use crate::thread::Thread;

pub(super) fn live(look: Look<'_>, apart: Option<Pid>) -> Result<Live, FileError> {
    let root = look.root();
    let mut live = Live::default();
    let by_file = pid_files(root, &mut live.warnings)?;
    let mut proc = Reader::below(root.proc());
    let mut hidden = 0;
    let mut found = Vec::new();
    let mut named = BTreeSet::new();
    for name in read_names(root.proc())?.unwrap_or_default() {
        let Some(pid) = number(&name).map(Pid) else {
            continue;
        };
        if root.is_live() && is_single(&mut proc, pid) {
            continue;
        }
        let command = match proc.read(format_args!("{pid}/cmdline")) {
            Ok(text) => Command::parse(text.unwrap_or_default()),
            Err(e) if e.source.kind() == io::ErrorKind::PermissionDenied => {
                hidden += 1;
                continue;
            }
            Err(e) => {
                live.warnings.push(e.into());
                continue;
            }
        };
        // A pid file can be a leftover whose number is in use again: on this machine the process must be that guest's QEMU.
        // A capture may have no command lines: there the pid file alone decides.
        let by_file = by_file.get(&pid).copied().filter(|vmid| {
            !root.is_live() || command.as_ref().and_then(|command| command.vmid) == Some(*vmid)
        });
        if command.is_none() && by_file.is_none() {
            continue;
        }
        let command = command.unwrap_or_default();
        found.push(Found {
            pid,
            vmid: by_file.or(command.vmid),
            by_file: by_file.is_some(),
            command,
        });
    }
    if hidden > 0 {
        live.warnings.push(LiveWarning::Hidden { count: hidden });
    }
    // The process that a pid file names goes before another one that claims the same number.
    sorted::sort_by_key(&mut found, |found| {
        (found.vmid.is_none(), found.vmid, !found.by_file, found.pid)
    });
    let once = unique_names(&found);
    for found in found {
        let vmid = found.vmid.filter(|vmid| named.insert(*vmid));
        let name = match (vmid, &found.command.name) {
            (Some(vmid), _) => vmid.to_string(),
            (None, Some(name)) if once.contains(name) => name.clone(),
            (None, _) => format!("pid {}", found.pid),
        };
        let mut guest = LiveGuest {
            name: GuestName(name),
            vmid,
            pid: found.pid,
            threads: Vec::new(),
        };
        if apart == Some(guest.pid) {
            live.guests.push(guest);
            continue;
        }
        guest.threads = threads(&mut proc, look, guest.pid, &mut live.warnings);
        let nameless = guest.is_nameless();
        if nameless && !found.command.system && vmid.is_none() {
            continue;
        }
        if nameless {
            live.warnings.push(LiveWarning::nameless(&guest));
        }
        if !guest.threads.is_empty() {
            live.guests.push(guest);
        }
    }
    sorted::sort_by_key(&mut live.guests, |guest| {
        (guest.vmid.is_none(), guest.vmid, guest.pid)
    });
    live.containers = containers(root, &mut live.warnings);
    Ok(live)
}

/// Whether a process has one thread only, as nearly all on a node have: it is no QEMU, which has one for RCU from its first
/// moment and one more for each vCPU. A third of the cost of its command line.
///
/// The `task` directory of a process has two links and one more for each thread (`proc_task_getattr` of `fs/proc/base.c`).
fn is_single(proc: &mut Reader, pid: Pid) -> bool {
    proc.has_links(format_args!("{pid}/task"), 3)
}

/// A QEMU process before its threads are read.
struct Found {
    pid: Pid,
    vmid: Option<Vmid>,
    by_file: bool,
    command: Command,
}

/// The names that exactly one guest without VMID has, and that are no numbers: those are VMIDs.
fn unique_names(found: &[Found]) -> BTreeSet<String> {
    let mut times: BTreeMap<&String, usize> = BTreeMap::new();
    for found in found.iter().filter(|found| found.vmid.is_none()) {
        if let Some(name) = &found.command.name {
            *times.entry(name).or_default() += 1;
        }
    }
    let once = times.into_iter().filter(|(name, times)| {
        *times == 1 && !name.bytes().all(|byte| byte.is_ascii_digit()) && !name.starts_with("pid ")
    });
    sorted::set(once.map(|(name, _)| name.clone()))
}

/// The processes that pid files name.
pub(super) fn pid_files(
    root: &Root,
    warnings: &mut Vec<LiveWarning>,
) -> Result<BTreeMap<Pid, Vmid>, FileError> {
    let dir = root.run().join("qemu-server");
    let mut reader = Reader::below(&dir);
    let mut pids = BTreeMap::new();
    for name in read_names(&dir)?.unwrap_or_default() {
        let vmid = name.strip_suffix(".pid").and_then(number);
        let Some(vmid) = vmid.and_then(|vmid| u32::try_from(vmid).ok()) else {
            continue;
        };
        match reader.read(format_args!("{name}")) {
            Ok(None) => {}
            Ok(Some(text)) => match number(text.trim_end()) {
                Some(pid) => {
                    pids.entry(Pid(pid)).or_insert(Vmid(vmid));
                }
                None => warnings.push(LiveWarning::Malformed {
                    value: shown(text),
                    file: dir.join(&name),
                    expected: "process number",
                    unknown: "what this guest holds is",
                }),
            },
            Err(e) => warnings.push(e.into()),
        }
    }
    Ok(pids)
}

/// The threads of a process, ascending; none where it is gone.
pub(super) fn tids(proc: &mut Reader, pid: Pid, warnings: &mut Vec<LiveWarning>) -> Vec<Tid> {
    let names = match proc.names(format_args!("{pid}/task")) {
        Ok(names) => names.unwrap_or_default(),
        Err(e) => {
            warnings.push(e.into());
            return Vec::new();
        }
    };
    let mut tids: Vec<i32> = names.iter().filter_map(|name| number(name)).collect();
    tids.sort_unstable();
    tids.into_iter().map(Tid).collect()
}

/// The threads of a process; those that end meanwhile are left out.
fn threads(
    proc: &mut Reader,
    look: Look<'_>,
    pid: Pid,
    warnings: &mut Vec<LiveWarning>,
) -> Vec<LiveThread> {
    let tids = tids(proc, pid, warnings);
    let mut tasks = tasks(look.root(), pid);
    let mut threads = Vec::with_capacity(tids.len());
    for tid in tids {
        match thread(&mut tasks, look, pid, tid) {
            Ok(thread) => threads.extend(thread),
            Err(warning) => warnings.push(warning),
        }
    }
    threads
}

/// What [`thread`] reads of.
pub(super) fn tasks(root: &Root, pid: Pid) -> Reader {
    Reader::of_tasks(&root.proc().join(pid.to_string()).join("task"))
}

/// A thread of a process; `None` where it is gone.
pub(super) fn thread(
    tasks: &mut Reader,
    look: Look<'_>,
    pid: Pid,
    tid: Tid,
) -> Result<Option<LiveThread>, LiveWarning> {
    if look.asks() {
        let Some(comm) = tasks.read(format_args!("{tid}/comm"))? else {
            return Ok(None);
        };
        let comm = comm.trim_end_matches('\n').to_owned();
        let mask = look.mask(Thread { pid, tid })?;
        return Ok(mask.map(|mask| LiveThread {
            tid,
            comm,
            told: None,
            mask,
        }));
    }
    const LIST: &str = "Cpus_allowed_list:";
    let Some(text) = tasks.read(format_args!("{tid}/status"))? else {
        return Ok(None);
    };
    let mut comm = None;
    let (mut list, mut mask) = (None, None);
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("Name:") {
            comm = Some(rest.trim_start_matches([' ', '\t']).to_owned());
        } else if let Some(rest) = line.strip_prefix(LIST) {
            list = Some(rest);
            break;
        } else if let Some(rest) = line.strip_prefix("Cpus_allowed:") {
            mask = Some(rest);
        }
    }
    let parsed: Result<CpuSet, _> = match (list, mask) {
        (Some(list), _) => list.parse().map_err(|_| (list, "list of cpus")),
        (None, Some(mask)) => cpulist::parse_mask(mask).map_err(|_| (mask, "mask of cpus")),
        (None, None) => {
            return Err(LiveWarning::NoLine {
                file: tasks.path().to_owned(),
                key: LIST,
            });
        }
    };
    let mask = parsed.map_err(|(value, expected)| (shown(value), expected));
    let mask = mask.map_err(|(value, expected)| LiveWarning::Malformed {
        file: tasks.path().to_owned(),
        value,
        expected,
        unknown: "the mask of this thread is",
    })?;
    // A dump can lack the name in `status`.
    let comm = match comm {
        Some(comm) => comm,
        None => {
            let comm = tasks.read(format_args!("{tid}/comm"))?;
            comm.unwrap_or_default().trim_end_matches('\n').to_owned()
        }
    };
    Ok(Some(LiveThread {
        tid,
        comm,
        told: None,
        mask,
    }))
}

/// Where Proxmox VE puts containers: `lxc/VMID`, below the mount of cgroup v2 or of the v1 controller.
const CONTAINERS: [&str; 2] = ["fs/cgroup/lxc", "fs/cgroup/cpuset/lxc"];

/// The files of a container's cpuset; what is in force before what was asked for.
const CPUSETS: [&str; 3] = [
    "cpuset.cpus.effective",
    "cpuset.effective_cpus",
    "cpuset.cpus",
];

/// Running containers with a cpuset. Who sits where is worth knowing, and never worth an error.
fn containers(root: &Root, warnings: &mut Vec<LiveWarning>) -> Vec<Container> {
    let mut found: BTreeMap<Vmid, CpuSet> = BTreeMap::new();
    for place in CONTAINERS {
        let mut reader = Reader::below(&root.sys().join(place));
        let names = match reader.names(format_args!("")) {
            Ok(names) => names.unwrap_or_default(),
            Err(e) => {
                warnings.push(e.into());
                continue;
            }
        };
        for (name, vmid) in names.iter().filter_map(|name| Some((name, number(name)?))) {
            let Ok(vmid) = u32::try_from(vmid) else {
                continue;
            };
            match cpuset(&mut reader, name) {
                Ok(Some(cpus)) => {
                    found.entry(Vmid(vmid)).or_insert(cpus);
                }
                Ok(None) => {}
                Err(warning) => warnings.push(warning),
            }
        }
    }
    let container = |(vmid, cpus)| Container { vmid, cpus };
    found.into_iter().map(container).collect()
}

fn cpuset(reader: &mut Reader, name: &str) -> Result<Option<CpuSet>, LiveWarning> {
    for file in CPUSETS {
        let Some(text) = reader.read(format_args!("{name}/{file}"))? else {
            continue;
        };
        match text.parse::<CpuSet>() {
            Ok(cpus) if cpus.is_empty() => {}
            Ok(cpus) => return Ok(Some(cpus)),
            Err(_) => {
                let value = shown(text);
                return Err(LiveWarning::Malformed {
                    file: reader.path().to_owned(),
                    value,
                    expected: "list of cpus",
                    unknown: "the cpuset of this container is",
                });
            }
        }
    }
    Ok(None)
}

/// A number above 0, written in digits only.
fn number(text: &str) -> Option<i32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number > 0)
}

/// What of a wrong value is shown.
fn shown(text: &str) -> String {
    text.trim().chars().take(60).collect()
}
