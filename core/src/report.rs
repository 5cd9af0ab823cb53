//! What was done, as data. JSON changes only by addition.

use serde::Serialize;

use crate::guest::GuestName;
use crate::guest::qmp::Mismatch;
use crate::id::{Pid, Tid};
use crate::idset::{CpuSet, VcpuSet};
use crate::process::ThreadKind;

/// The version of [`Report`] in JSON.
pub const SCHEMA: u32 = 1;

/// What was done to the threads of one guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Report {
    /// The version of this form.
    pub schema: u32,
    /// Whose threads.
    pub guest: GuestName,
    /// Its process.
    pub pid: Pid,
    /// vCPUs ascending, then iothreads, vhost workers and QEMU's own threads, each ascending by thread. Threads whose mask is
    /// to be kept are not listed.
    pub threads: Vec<ThreadReport>,
    /// What is to be said.
    pub notes: Vec<ReportNote>,
}

/// What was done to one thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ThreadReport {
    /// What it is.
    #[serde(flatten)]
    pub kind: ThreadKind,
    /// The host thread.
    pub tid: Tid,
    /// Its mask before; `None` for a thread that had ended before it could be looked at.
    pub found: Option<CpuSet>,
    /// The mask it is to have.
    pub wanted: CpuSet,
    /// The CPUs it may run on now; `None` where that was not read.
    pub actual: Option<CpuSet>,
    /// What became of it.
    pub state: State,
    /// What the kernel took away from the mask.
    pub narrowed: Option<Narrowed>,
}

/// What became of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its mask was set.
    Set,
    /// It had the mask already; nothing was called.
    Already,
    /// It ended before its mask was set.
    Ended,
    /// Its mask could not be set.
    Failed,
    /// Its mask was set, and put back because another one could not be set.
    PutBack,
    /// Its mask was set and could not be put back.
    NotPutBack,
    /// It was not reached, because another mask could not be set.
    Untouched,
}

/// CPUs of a wanted mask that a thread may not run on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Narrowed {
    /// They are offline or do not exist.
    pub offline: CpuSet,
    /// They are online, and the cpuset of the thread's cgroup does not allow them.
    pub cpuset: CpuSet,
}

/// Something to be said about what was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReportNote {
    /// QMP was busy: the vCPUs are those that the names of the tasks tell.
    #[error("qmp was busy: vcpus were told by the names of the threads ({reason})")]
    ByName {
        /// What QMP said.
        reason: String,
    },
    /// vCPUs of the plan that are not plugged.
    #[error("vcpu(s) {vcpus} are not plugged: their cpus are kept for when they come")]
    NotPlugged {
        /// Which.
        vcpus: VcpuSet,
    },
    /// Iothreads are not known, so that they and QEMU's own threads are left as they are.
    #[error(
        "qmp did not tell the iothreads: they and QEMU's own threads keep their masks until the next apply"
    )]
    IothreadsUnknown,
    /// vCPUs whose thread ended before it could be pinned, while the guest lives: unplugged, or run by another thread by now.
    #[error(
        "the thread of vcpu(s) {vcpus} ended meanwhile; if they were not unplugged, apply again"
    )]
    VcpuEnded {
        /// Which.
        vcpus: VcpuSet,
    },
    /// The process ended while masks were set.
    #[error("process {pid} ended meanwhile")]
    ProcessEnded {
        /// Which one.
        pid: Pid,
    },
    /// QEMU and the config differ. It has a kind of its own in JSON.
    #[error(transparent)]
    #[serde(untagged)]
    Mismatch(#[from] Mismatch),
}

impl Report {
    /// Whether the kernel was asked to change any mask.
    #[must_use]
    pub fn changed(&self) -> bool {
        let changed = |thread: &ThreadReport| {
            !matches!(
                thread.state,
                State::Already | State::Ended | State::Untouched
            )
        };
        self.threads.iter().any(changed)
    }
}

impl std::fmt::Display for Narrowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.offline.is_empty(), self.cpuset.is_empty()) {
            (false, true) => write!(f, "without cpu(s) {}, which are offline", self.offline),
            (true, false) => write!(
                f,
                "without cpu(s) {}, which the cpuset of the cgroup does not allow",
                self.cpuset
            ),
            _ => write!(
                f,
                "without cpu(s) {}, which are offline, and cpu(s) {}, which the cpuset of the cgroup does not allow",
                self.offline, self.cpuset
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_note_has_one_kind_and_its_fields() {
        let vcpus = "0-1".parse().unwrap();
        let notes: [(ReportNote, _); 3] = [
            (
                ReportNote::NotPlugged { vcpus },
                serde_json::json!({"kind": "not_plugged", "vcpus": "0-1"}),
            ),
            (
                ReportNote::IothreadsUnknown,
                serde_json::json!({"kind": "iothreads_unknown"}),
            ),
            (
                Mismatch::VcpuCount { config: 4, qemu: 8 }.into(),
                serde_json::json!({"kind": "vcpu_count", "config": 4, "qemu": 8}),
            ),
        ];
        for (note, expected) in notes {
            assert_eq!(serde_json::to_value(&note).unwrap(), expected);
        }
    }
}
