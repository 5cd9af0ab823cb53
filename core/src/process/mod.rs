//! Processes and their threads: whether they are a guest's QEMU, what each thread is, and what its mask is.
//!
//! Everything is read from the `/proc` of a [`Root`] (`Documentation/filesystems/proc.rst` of the kernel). A thread that ends
//! while it is read is left out: threads of QEMU come and go.

mod kind;
mod look;
mod pidfile;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use crate::thread::{Process, ThreadKind};
pub use kind::{Named, classify, named_vcpus};
pub use look::{Look, Sighting, Sights};
pub use pidfile::{RunningGuest, guest_process, guests};

use crate::id::{Pid, Tid, Vmid};
use crate::idset::CpuSet;
use crate::root::{FileError, Reader, Root, read_text};

/// A thread of a process, or a kernel thread, which is a process of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The process in whose `task` directory it is.
    pub pid: Pid,
    /// Its number.
    pub tid: Tid,
    /// When it started, in clock ticks since the host's boot.
    pub start_time: u64,
    /// Its name, cut by the kernel at 15 characters.
    pub comm: String,
    /// Its mask as `status` has it: with the CPUs that are offline, which `sched_getaffinity` hides.
    pub mask: CpuSet,
}

/// What `stat` tells of a process or thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Its name.
    pub comm: String,
    /// The parent's number.
    pub parent: Pid,
    /// The kernel's flags (`PF_...` of `include/linux/sched.h`).
    pub flags: u64,
    /// When it started, in clock ticks since the host's boot.
    pub start_time: u64,
}

/// Why a process could not be read, or is not the one that is looked for.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file holds what it can't.
    #[error("{}:{line}: {value:?} is no {expected}", file.display())]
    Malformed {
        /// Which file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What stands there.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A file lacks a line.
    #[error("{}: has no line {key:?}", file.display())]
    NoLine {
        /// Which file.
        file: PathBuf,
        /// How the line begins.
        key: &'static str,
    },
    /// The process that a pid file names is not that guest's QEMU.
    #[error(
        "{} names process {pid}, which is not the QEMU of guest {vmid}: {reason}; is it a leftover, and the number in use again?",
        file.display()
    )]
    NotItsQemu {
        /// The pid file.
        file: PathBuf,
        /// Whose it is.
        vmid: Vmid,
        /// The process.
        pid: Pid,
        /// What does not fit.
        reason: String,
    },
}

/// A process; `None` where there is none of that number.
///
/// # Errors
/// Its `stat` is there and can't be read or understood.
pub fn process(root: &Root, pid: Pid) -> Result<Option<Process>, ProcessError> {
    let stat = stat(&root.proc().join(pid.to_string()))?;
    Ok(stat.map(|stat| Process {
        pid,
        start_time: stat.start_time,
    }))
}

/// All threads of a process with their masks as the files have them, ascending by number; empty where the process is gone.
///
/// # Errors
/// A file of a thread that lives can't be read or understood.
pub fn tasks(root: &Root, pid: Pid) -> Result<Vec<Task>, ProcessError> {
    Look::files(root).tasks(pid)
}

/// One thread of a process with its mask as the file has it; `None` where the process has no such thread.
///
/// # Errors
/// A file of it can't be read or understood.
pub fn task(root: &Root, pid: Pid, tid: Tid) -> Result<Option<Task>, ProcessError> {
    Look::files(root).task(pid, tid)
}

/// When a thread started; `None` where the process has no such thread.
///
/// # Errors
/// Its `stat` can't be read or understood.
pub fn task_start(root: &Root, pid: Pid, tid: Tid) -> Result<Option<u64>, ProcessError> {
    Ok(stat(&task_dir(root, pid, tid))?.map(|stat| stat.start_time))
}

/// The process that has a thread; `None` where no process has it.
///
/// # Errors
/// `/proc` can't be listed.
pub fn owner(root: &Root, tid: Tid) -> Result<Option<Pid>, ProcessError> {
    for pid in numbers(root.proc())? {
        if task_dir(root, Pid(pid), tid).is_dir() {
            return Ok(Some(Pid(pid)));
        }
    }
    Ok(None)
}

/// Kernel threads named `vhost-PID`: the vhost workers of a process on kernels before 6.4, and on newer ones where the
/// workers are not forked from their owner. Ascending by number.
///
/// # Errors
/// `/proc` can't be listed, or a file of such a thread can't be understood.
pub fn vhost_kernel_threads(root: &Root, pid: Pid) -> Result<Vec<Task>, ProcessError> {
    let name = format!("vhost-{pid}");
    let mut found = Vec::new();
    for number in numbers(root.proc())? {
        let dir = root.proc().join(number.to_string());
        let named = read_text(&dir.join("comm"))?.is_some_and(|comm| comm.trim_end() == name);
        if named && is_kernel_thread(root, &dir)? {
            found.extend(task(root, Pid(number), Tid(number))?);
        }
    }
    Ok(found)
}

/// The kernel threads named `vhost-PID` of all processes, by process: as [`vhost_kernel_threads`], with one look for all.
///
/// # Errors
/// As [`vhost_kernel_threads`].
pub fn all_vhost_kernel_threads(root: &Root) -> Result<BTreeMap<Pid, Vec<Task>>, ProcessError> {
    let mut found: BTreeMap<Pid, Vec<Task>> = BTreeMap::new();
    let mut proc = Reader::below(root.proc());
    for number in numbers(root.proc())? {
        let comm = proc.read(format_args!("{number}/comm"))?;
        let owner = comm.and_then(|comm| comm.trim_end().strip_prefix("vhost-")?.parse().ok());
        if let Some(owner) = owner
            && is_kernel_thread(root, &root.proc().join(number.to_string()))?
        {
            let tasks = found.entry(Pid(owner)).or_default();
            tasks.extend(task(root, Pid(number), Tid(number))?);
        }
    }
    Ok(found)
}

/// Flag of kernel threads (`PF_KTHREAD`): anybody can name a thread `vhost-PID`, nobody can set this.
const PF_KTHREAD: u64 = 0x0020_0000;

fn is_kernel_thread(root: &Root, dir: &Path) -> Result<bool, ProcessError> {
    if root.is_live() {
        return Ok(stat(dir)?.is_some_and(|stat| stat.flags & PF_KTHREAD != 0));
    }
    // A captured tree is not asked for the kernel's flags: kernel threads have no command line, and that is enough there.
    Ok(read_text(&dir.join("cmdline"))?.is_none_or(|cmdline| cmdline.is_empty()))
}

fn task_dir(root: &Root, pid: Pid, tid: Tid) -> PathBuf {
    let process = root.proc().join(pid.to_string());
    process.join("task").join(tid.to_string())
}

/// The names of a directory that are numbers above 0, ascending; none where the directory is gone.
fn numbers(dir: &Path) -> Result<Vec<i32>, FileError> {
    let mut numbers = numbers_with_suffix(dir, "")?;
    numbers.retain(|number| *number > 0);
    Ok(numbers)
}

/// The numbers of a directory's names that are a number and a suffix, ascending; none where the directory is gone.
fn numbers_with_suffix<N: Ord + FromStr>(dir: &Path, suffix: &str) -> Result<Vec<N>, FileError> {
    let gone = |e: &io::Error| {
        matches!(
            e.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        ) || e.raw_os_error() == Some(libc::ESRCH)
    };
    let error = |source| FileError {
        path: dir.to_owned(),
        source,
    };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if gone(&e) => return Ok(Vec::new()),
        Err(e) => return Err(error(e)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => {
                let name = entry.file_name();
                let number = name.to_str().and_then(|name| name.strip_suffix(suffix));
                numbers.extend(number.and_then(|number| number.parse().ok()));
            }
            Err(e) if gone(&e) => break,
            Err(e) => return Err(error(e)),
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads `stat` of a process or thread. The name stands in brackets and may itself hold spaces and brackets: what counts is
/// the last closing one.
fn stat(dir: &Path) -> Result<Option<Stat>, ProcessError> {
    let file = dir.join("stat");
    let Some(text) = read_text(&file)? else {
        return Ok(None);
    };
    parse_stat(&text).map(Some).map_err(|wrong| wrong.of(&file))
}

/// For how long the host has been up, in the ticks in which `stat` tells when a thread started: `USER_HZ`, which is 100 on all
/// architectures that run QEMU guests. Both count the time that the host slept (`uptime_proc_show` of `fs/proc/uptime.c`).
fn uptime(root: &Root) -> Result<Option<u64>, ProcessError> {
    let file = root.proc().join("uptime");
    let Some(text) = read_text(&file)? else {
        return Ok(None);
    };
    let parse = || {
        let (seconds, rest) = text.split_once('.')?;
        let (hundredths, _) = rest.split_once(' ')?;
        let seconds: u64 = seconds.parse().ok()?;
        let hundredths: u64 = hundredths.parse().ok().filter(|n| *n < 100)?;
        seconds.checked_mul(100)?.checked_add(hundredths)
    };
    match parse() {
        Some(ticks) => Ok(Some(ticks)),
        None => Err(Wrong {
            line: 1,
            value: text.chars().take(80).collect(),
            expected: "uptime in seconds (\"12345.67 2345.60\")",
        }
        .of(&file)),
    }
}

fn parse_stat(text: &str) -> Result<Stat, Wrong> {
    let read = || {
        let (start, rest) = text.rsplit_once(')')?;
        let (_, comm) = start.split_once('(')?;
        // From field 3 on: the parent is field 4, the flags are field 9, the start time is field 22.
        let mut fields = rest.split_ascii_whitespace();
        Some(Stat {
            comm: comm.to_owned(),
            parent: Pid(fields.nth(1)?.parse().ok()?),
            flags: fields.nth(4)?.parse().ok()?,
            start_time: fields.nth(12)?.parse().ok()?,
        })
    };
    read().ok_or_else(|| Wrong {
        line: 1,
        value: text.chars().take(80).collect(),
        expected: "line of a process (\"PID (NAME) STATE PARENT ...\", at least 22 fields)",
    })
}

/// What stands in a file and can't be.
struct Wrong {
    line: usize,
    value: String,
    expected: &'static str,
}

impl Wrong {
    fn of(self, file: &Path) -> ProcessError {
        ProcessError::Malformed {
            file: file.to_owned(),
            line: self.line,
            value: self.value,
            expected: self.expected,
        }
    }
}

#[cfg(test)]
mod tests;
