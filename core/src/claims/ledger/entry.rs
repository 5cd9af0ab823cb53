//! One entry of the ledger.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::Claims;
use super::super::kept::KeptPlan;
use super::super::live::{LiveGuest, Own};
use super::{LedgerError, SCHEMA};
use crate::cpulist::shown;
use crate::guest::{Guest, GuestName};
use crate::host::Host;
use crate::id::{NodeId, Tid, Vmid};
use crate::idset::{CpuSet, VcpuSet};
use crate::placement::Plan;
use crate::policy::Policy;
use crate::process::Task;
use crate::sorted;
use crate::thread::{Process, ThreadKind};
use crate::thread::{Target, Thread};

/// What numapin knows of one guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Entry {
    /// The version of this form.
    pub schema: u32,
    /// Whose entry.
    pub guest: GuestName,
    /// Its VMID, for a Proxmox VE guest.
    pub vmid: Option<Vmid>,
    /// How far it has come.
    pub state: EntryState,
    /// The boot of the host (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// Its process; `None` while the guest is starting.
    pub process: Option<Process>,
    /// The policy the plan was made with.
    pub policy: KeptPolicy,
    /// The plan.
    pub plan: KeptPlan,
    /// Each thread whose mask was set or was about to be, with the mask it had before the first time.
    pub found: Vec<Target>,
    /// What QMP said which threads are iothreads: QEMU leaves those of its command line the process's name, so that nothing else
    /// tells them from its own threads.
    #[serde(default)]
    pub iothreads: BTreeMap<Tid, String>,
    /// What the guest was promised of the memory of each host node while it starts, in KiB.
    pub promised_kib: BTreeMap<NodeId, u64>,
}

/// How far an entry has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EntryState {
    /// Planned before the start; nothing is set yet. Its claims stand.
    Pending,
    /// Its masks are set, or were about to be when the program was killed. Its claims stand.
    Applied,
    /// Its masks were put back, and it is left alone until its next start or apply. It claims what its live masks hold.
    Held,
}

/// A policy as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeptPolicy {
    /// The policy string.
    pub text: String,
    /// Where it stood.
    pub source: String,
}

impl Entry {
    /// The entry of a guest whose plan was just made, with the id of this boot (see [`boot_id`](super::boot_id)). Without a
    /// process it is pending: the guest starts. A guest that runs has taken its memory already, and is promised none.
    #[must_use]
    pub fn new(
        host: &Host,
        guest: &Guest,
        plan: &Plan,
        (policy, text): (&Policy, KeptPolicy),
        process: Option<Process>,
        boot_id: String,
    ) -> Self {
        let promised = match process {
            Some(_) => BTreeMap::new(),
            None => Claims::default().with_plan(host, guest, plan).promised_kib,
        };
        Self {
            schema: SCHEMA,
            guest: guest.name.clone(),
            vmid: guest.vmid,
            state: match process {
                Some(_) => EntryState::Applied,
                None => EntryState::Pending,
            },
            boot_id,
            process,
            policy: text,
            plan: KeptPlan::of(host, guest, policy, plan),
            found: Vec::new(),
            iothreads: BTreeMap::new(),
            promised_kib: promised,
        }
    }

    /// Whether it is the entry of a process that is running.
    #[must_use]
    pub fn is_of(&self, guest: &LiveGuest) -> bool {
        match self.process {
            Some(process) => process.pid == guest.pid,
            None => self.vmid.is_some() && self.vmid == guest.vmid,
        }
    }

    /// Whether it is the own entry of a guest on whose behalf claims are read.
    #[must_use]
    pub fn is_own(&self, own: Own) -> bool {
        let pid = self.process.map(|process| process.pid);
        (own.vmid.is_some() && own.vmid == self.vmid) || (own.pid.is_some() && own.pid == pid)
    }

    /// What it claims while these vCPUs are plugged (`None`: those of the plan); nothing where it is held.
    #[must_use]
    pub fn claims(&self, plugged: Option<&VcpuSet>) -> CpuSet {
        match self.state {
            EntryState::Held => CpuSet::new(),
            EntryState::Pending | EntryState::Applied => {
                self.plan.claims(plugged.unwrap_or(&self.plan.plugged))
            }
        }
    }

    /// Remembers threads whose masks are about to be set. The mask found before the first time is the one that counts. A
    /// thread that came later and has the mask numapin gave its main thread has it from there: it would have had what the main
    /// thread had.
    pub fn remember(&mut self, targets: &[Target]) {
        let main = self.main();
        let found = std::mem::take(&mut self.found).into_iter();
        let mut found = sorted::map(found.map(|known| (known.thread, known)));
        for target in targets {
            if let Some(known) = found.get_mut(&target.thread)
                && known.is_what_started(target.started_by)
            {
                known.kind = target.kind.clone();
                known.wanted = target.wanted.clone();
                continue;
            }
            let mut target = target.clone();
            if let Some(main) = &main
                && inherits(main, &target.found)
            {
                target.found = main.found.clone();
                target.unpinned = main.unpinned;
            }
            // A number that is used again is another thread.
            found.insert(target.thread, target);
        }
        self.found = found.into_values().collect();
    }

    /// Each thread of the process that is to have another mask again: those that were remembered and live, and those that
    /// came later and inherited what numapin had set.
    #[must_use]
    pub fn way_back(&self, tasks: &[Task]) -> Vec<Target> {
        let main = self.main();
        let process = self.process.map(|process| process.pid);
        let started = sorted::map(tasks.iter().map(|task| (thread(task), task.start_time)));
        let lives = |known: &&Target| {
            let started = started.get(&known.thread);
            // Vhost workers of the kernel are no tasks of the process.
            Some(known.thread.pid) != process
                || started.is_some_and(|at| known.is_what_started(*at))
        };
        let mut back: Vec<Target> = self.found.iter().filter(lives).cloned().collect();
        let known = sorted::set(back.iter().map(|target| target.thread));
        for task in tasks {
            if let Some(main) = main.as_ref().filter(|main| inherits(main, &task.mask))
                && !known.contains(&thread(task))
            {
                back.push(Target {
                    kind: ThreadKind::Emulator {
                        name: task.comm.clone(),
                    },
                    thread: thread(task),
                    started_by: task.start_time,
                    found: main.found.clone(),
                    unpinned: main.unpinned,
                    wanted: task.mask.clone(),
                });
            }
        }
        back
    }

    /// The name of its file, without the suffix.
    #[must_use]
    pub(super) fn stem(&self) -> String {
        stem(self.vmid, self.process)
    }

    /// The text of its file.
    #[must_use]
    pub fn to_text(&self) -> String {
        // Numbers, texts and lists: nothing of it can't be written. On one line: read and written at each pinning.
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Reads the text of its file. `path` is only what messages call it; `stem` is its name without the suffix.
    ///
    /// # Errors
    /// It is no entry, one of a newer numapin, or another guest's.
    pub fn parse(path: &Path, stem: &str, text: &str) -> Result<Self, LedgerError> {
        let file = || path.to_owned();
        let bad = |e: serde_json::Error| {
            if e.is_eof() {
                LedgerError::Cut { file: file() }
            } else {
                LedgerError::Malformed {
                    file: file(),
                    line: e.line().max(1),
                    reason: shown(&e.to_string(), 300),
                }
            }
        };
        let entry: Result<Self, _> = serde_json::from_str(text);
        // Of a newer version nothing else is known; one that can't be read may be one.
        let version = match &entry {
            Ok(entry) => u64::from(entry.schema),
            Err(_) => version(text).map_err(bad)?,
        };
        if version > u64::from(SCHEMA) {
            return Err(LedgerError::Newer {
                file: file(),
                found: version,
            });
        }
        let entry = entry.map_err(bad)?;
        if entry.stem() != stem {
            return Err(LedgerError::Misnamed {
                file: file(),
                found: entry.stem(),
            });
        }
        Ok(entry)
    }

    fn main(&self) -> Option<Target> {
        let pid = self.process?.pid;
        let main = self
            .found
            .iter()
            .find(|known| known.thread.tid == Tid(pid.0));
        main.cloned()
    }
}

/// The version of the form that a file is in: all that is known of one in a newer form.
pub(super) fn version(text: &str) -> Result<u64, serde_json::Error> {
    #[derive(Deserialize)]
    struct Version {
        schema: u64,
    }
    Ok(serde_json::from_str::<Version>(text)?.schema)
}

/// The name of the file of an entry, without the suffix.
pub(super) fn stem(vmid: Option<Vmid>, process: Option<Process>) -> String {
    match (vmid, process) {
        (Some(vmid), _) => vmid.to_string(),
        (None, Some(process)) => format!("pid-{}", process.pid),
        (None, None) => "unnamed".to_owned(),
    }
}

/// Whether a mask is the one that numapin gave the main thread.
fn inherits(main: &Target, mask: &CpuSet) -> bool {
    *mask == main.wanted && main.wanted != main.found
}

fn thread(task: &Task) -> Thread {
    Thread {
        pid: task.pid,
        tid: task.tid,
    }
}
