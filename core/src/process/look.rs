//! How threads are looked at: their masks from files, or from the system call where it says the same.

use std::collections::BTreeSet;

use super::{ProcessError, Task, Wrong, numbers, parse_stat, uptime};
use crate::apply::{Affinity, AffinityError};
use crate::cpulist;
use crate::host::Host;
use crate::id::{Pid, Tid};
use crate::idset::CpuSet;
use crate::root::{Reader, Root};
use crate::thread::Thread;

/// How threads are looked at.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    root: &'a Root,
    /// What tells masks in place of the files.
    calls: Option<&'a dyn Affinity>,
}

/// What a transaction must know of a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// When it had started, in clock ticks since the host's boot (see [`Target::started_by`](crate::thread::Target)).
    pub started_by: u64,
    /// Its mask.
    pub mask: CpuSet,
}

impl From<Task> for Sighting {
    fn from(task: Task) -> Self {
        Self {
            started_by: task.start_time,
            mask: task.mask,
        }
    }
}

/// Looks at threads that were never set before ([`Look::sights`]).
#[derive(Clone, Copy)]
pub struct Sights<'a> {
    look: Look<'a>,
    now: Option<u64>,
}

impl Sights<'_> {
    /// A thread of a process; `None` where the process has no such thread.
    ///
    /// # Errors
    /// As [`Look::task`].
    pub fn sight(&self, thread: Thread) -> Result<Option<Sighting>, ProcessError> {
        let look = &self.look;
        match (look.calls, self.now) {
            (Some(affinity), Some(started_by)) => {
                if !affinity.is_there(thread) {
                    return Ok(None);
                }
                let mask = look.mask(thread)?;
                Ok(mask.map(|mask| Sighting { started_by, mask }))
            }
            _ => look.sighting(thread),
        }
    }
}

impl<'a> Look<'a> {
    /// Masks as `status` has them: with the CPUs that are offline.
    #[must_use]
    pub fn files(root: &'a Root) -> Self {
        Self { root, calls: None }
    }

    /// Masks of a host's threads as cheap as they can be had.
    ///
    /// `sched_getaffinity` costs a fiftieth of `status`, of which the kernel makes 60 lines for each reader, and hides CPUs
    /// that are offline: so it is asked on this machine where no CPU is. A captured root has files only.
    #[must_use]
    pub fn of(root: &'a Root, host: &Host, affinity: &'a dyn Affinity) -> Self {
        let same = root.is_live() && host.offline.is_empty();
        Self {
            root,
            calls: same.then_some(affinity),
        }
    }

    /// Where is looked.
    #[must_use]
    pub fn root(&self) -> &'a Root {
        self.root
    }

    /// Whether masks come from the system call, which tells nothing but the mask.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.calls.is_some()
    }

    /// All threads of a process, ascending by number; empty where the process is gone.
    ///
    /// # Errors
    /// A file of a thread that lives can't be read or understood.
    pub fn tasks(&self, pid: Pid) -> Result<Vec<Task>, ProcessError> {
        self.tasks_beside(pid, &BTreeSet::new())
    }

    /// The threads of a process but for these, ascending by number.
    ///
    /// # Errors
    /// A file of one of them that lives can't be read or understood.
    pub fn tasks_beside(&self, pid: Pid, told: &BTreeSet<Tid>) -> Result<Vec<Task>, ProcessError> {
        let dir = self.root.proc().join(pid.to_string()).join("task");
        let mut reader = Reader::of_tasks(&dir);
        let mut tasks = Vec::new();
        for tid in numbers(&dir)?.into_iter().map(Tid) {
            if !told.contains(&tid) {
                tasks.extend(self.read(&mut reader, pid, tid)?);
            }
        }
        Ok(tasks)
    }

    /// How threads are looked at that were never set before: that each is there is all there is to know of it, beside its mask.
    /// Its start is a file, which costs more than all else that pinning does to a thread; where masks come from the system call,
    /// the moment before it was seen stands for it. Only what QMP told before that moment is looked at so.
    ///
    /// # Errors
    /// The moment can't be told.
    pub fn sights(&self) -> Result<Sights<'a>, ProcessError> {
        let now = match self.asks() {
            true => uptime(self.root)?,
            false => None,
        };
        Ok(Sights { look: *self, now })
    }

    /// One thread of a process; `None` where the process has no such thread.
    ///
    /// # Errors
    /// A file of it can't be read or understood.
    pub fn task(&self, pid: Pid, tid: Tid) -> Result<Option<Task>, ProcessError> {
        let dir = self.root.proc().join(pid.to_string()).join("task");
        self.read(&mut Reader::below(&dir), pid, tid)
    }

    /// What a transaction must know of a thread, with its start; `None` where the process has no such thread.
    ///
    /// # Errors
    /// As [`Look::task`].
    pub fn sighting(&self, thread: Thread) -> Result<Option<Sighting>, ProcessError> {
        let task = self.task(thread.pid, thread.tid)?;
        Ok(task.map(Sighting::from))
    }

    /// The mask of a thread; `None` where it is gone.
    ///
    /// # Errors
    /// Its file can't be read or understood.
    pub fn mask(&self, thread: Thread) -> Result<Option<CpuSet>, ProcessError> {
        if let Some(told) = self.told(thread) {
            return Ok(told);
        }
        let process = self.root.proc().join(thread.pid.to_string());
        self.mask_in(&mut Reader::below(&process.join("task")), thread)
    }

    fn read(&self, reader: &mut Reader, pid: Pid, tid: Tid) -> Result<Option<Task>, ProcessError> {
        // Of another process the kernel finds no such file here.
        let Some(text) = reader.read(format_args!("{tid}/stat"))? else {
            return Ok(None);
        };
        let stat = parse_stat(text).map_err(|wrong| wrong.of(reader.path()))?;
        let Some(mask) = self.mask_of(reader, Thread { pid, tid })? else {
            return Ok(None);
        };
        let mut comm = stat.comm;
        // The kernel has the same name in both; a captured tree may have the whole one only there.
        if !self.root.is_live()
            && let Some(text) = reader.read(format_args!("{tid}/comm"))?
        {
            text.trim_end_matches('\n').clone_into(&mut comm);
        }
        Ok(Some(Task {
            pid,
            tid,
            start_time: stat.start_time,
            comm,
            mask,
        }))
    }

    fn mask_of(&self, reader: &mut Reader, thread: Thread) -> Result<Option<CpuSet>, ProcessError> {
        match self.told(thread) {
            Some(told) => Ok(told),
            None => self.mask_in(reader, thread),
        }
    }

    /// The mask by the system call, where that is asked; `None` where the file must tell, as the call is not asked or may not tell.
    fn told(&self, thread: Thread) -> Option<Option<CpuSet>> {
        match self.calls?.get(thread) {
            Ok(mask) => Some(Some(mask)),
            Err(AffinityError::Gone) => Some(None),
            Err(_) => None,
        }
    }

    /// The mask by the file.
    fn mask_in(&self, reader: &mut Reader, thread: Thread) -> Result<Option<CpuSet>, ProcessError> {
        let Some(text) = reader.read(format_args!("{}/status", thread.tid))? else {
            return Ok(None);
        };
        match parse_mask(text) {
            Ok(mask) => Ok(Some(mask)),
            Err(Some(wrong)) => Err(wrong.of(reader.path())),
            Err(None) => Err(ProcessError::NoLine {
                file: reader.path().to_owned(),
                key: LIST,
            }),
        }
    }
}

const LIST: &str = "Cpus_allowed_list:";

/// The mask in a `status`; no fault where it has none.
fn parse_mask(text: &str) -> Result<CpuSet, Option<Wrong>> {
    let line = |key| {
        let mut lines = text.lines().enumerate();
        lines.find_map(|(i, line)| Some((i + 1, line.strip_prefix(key)?)))
    };
    let wrong = |line, value: &str, expected| {
        Some(Wrong {
            line,
            value: value.trim().to_owned(),
            expected,
        })
    };
    if let Some((number, list)) = line(LIST) {
        return list
            .parse()
            .map_err(|_| wrong(number, list, "list of cpus"));
    }
    if let Some((number, mask)) = line("Cpus_allowed:") {
        return cpulist::parse_mask(mask).map_err(|_| wrong(number, mask, "mask of cpus"));
    }
    Err(None)
}
