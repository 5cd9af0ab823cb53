//! What the answers mean: vCPUs and iothreads with their host threads.
//!
//! The schema is QEMU's `qapi/machine.json` (CpuInfoFast, CpuInstanceProperties) and `qapi/misc.json` (IOThreadInfo). A vCPU
//! has two fields `thread-id`: the one at the top is the host's thread, the one in `props` is the guest's SMT thread.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::id::{Tid, VcpuId, VnodeId};

/// A vCPU that is plugged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vcpu {
    /// QEMU's cpu-index. Gaps are possible: vCPUs are plugged in any order.
    pub index: VcpuId,
    /// The host thread that runs it.
    pub tid: Tid,
    /// Its virtual node; `None` where the guest has none of its own, or an old QEMU does not say.
    pub node: Option<VnodeId>,
    /// Its socket in the guest.
    pub socket: Option<u32>,
    /// Its die in the guest; QEMU before 8.0 does not say.
    pub die: Option<u32>,
    /// Its core in the guest, numbered within the die or socket.
    pub core: Option<u32>,
    /// Its SMT thread in the guest, numbered within the core.
    pub thread: Option<u32>,
}

/// An iothread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Iothread {
    /// Its name ("iothread-virtioscsi0").
    pub id: String,
    /// The host thread that runs it.
    pub tid: Tid,
}

/// Why an answer that is good JSON can't be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The answer is not a list.
    #[error("the answer is not a list of objects")]
    NotAList,
    /// No vCPU at all.
    #[error("the answer lists no vcpu")]
    Empty,
    /// A field is absent.
    #[error("entry {entry} has no {field}")]
    Missing {
        /// Which entry, from 0.
        entry: usize,
        /// The field.
        field: &'static str,
    },
    /// A field holds what it can't.
    #[error("entry {entry} has {field} {value} (expected {expected})")]
    Bad {
        /// Which entry, from 0.
        entry: usize,
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A vCPU is listed twice.
    #[error("vcpu {index} is listed twice (expected each cpu-index once)")]
    Doubled {
        /// Which one.
        index: VcpuId,
    },
}

/// Reads the answer to `query-cpus-fast`, in QEMU's order.
///
/// # Errors
/// An index or a host thread is absent, can't be, or an index is there twice. Threads that vCPUs share are not an error here:
/// they are, when it comes to pinning.
pub fn vcpus(answer: &Value) -> Result<Vec<Vcpu>, ReplyError> {
    let mut seen = BTreeSet::new();
    let mut vcpus = Vec::new();
    for (entry, value) in list(answer)?.iter().enumerate() {
        let index = VcpuId(index(entry, value)?);
        if !seen.insert(index) {
            return Err(ReplyError::Doubled { index });
        }
        let prop = |key| {
            let id = value.get("props")?.get(key)?.as_u64()?;
            u32::try_from(id).ok()
        };
        vcpus.push(Vcpu {
            index,
            tid: tid(entry, value)?,
            node: prop("node-id").map(VnodeId),
            socket: prop("socket-id"),
            die: prop("die-id"),
            core: prop("core-id"),
            thread: prop("thread-id"),
        });
    }
    if vcpus.is_empty() {
        return Err(ReplyError::Empty);
    }
    Ok(vcpus)
}

/// Reads the answer to `query-iothreads`, in QEMU's order (the newest first).
///
/// # Errors
/// A name or a host thread is absent or can't be.
pub fn iothreads(answer: &Value) -> Result<Vec<Iothread>, ReplyError> {
    let entries = list(answer)?.iter().enumerate();
    entries
        .map(|(entry, value)| {
            let id = value.get("id").and_then(Value::as_str);
            Ok(Iothread {
                id: id
                    .ok_or(ReplyError::Missing { entry, field: "id" })?
                    .to_owned(),
                tid: tid(entry, value)?,
            })
        })
        .collect()
}

fn list(answer: &Value) -> Result<&[Value], ReplyError> {
    match answer.as_array() {
        Some(list) if list.iter().all(Value::is_object) => Ok(list),
        _ => Err(ReplyError::NotAList),
    }
}

/// The highest cpu-index that is read: a bound so that a wrong answer does not cost memory. QEMU's own limit is 4,096.
const MAX_INDEX: u64 = 65_535;

fn index(entry: usize, value: &Value) -> Result<u32, ReplyError> {
    let field = "cpu-index";
    let found = value
        .get(field)
        .ok_or(ReplyError::Missing { entry, field })?;
    let number = found.as_u64().filter(|number| *number <= MAX_INDEX);
    number
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| ReplyError::Bad {
            entry,
            field,
            value: shortened(found),
            expected: "a number from 0 to 65535",
        })
}

/// 0 must never pass: to the affinity system calls it means the caller itself.
fn tid(entry: usize, value: &Value) -> Result<Tid, ReplyError> {
    let field = "thread-id";
    let found = value
        .get(field)
        .ok_or(ReplyError::Missing { entry, field })?;
    let number = found.as_i64().and_then(|number| i32::try_from(number).ok());
    match number {
        Some(number) if number > 0 => Ok(Tid(number)),
        _ => Err(ReplyError::Bad {
            entry,
            field,
            value: shortened(found),
            expected: "the id of a host thread, above 0",
        }),
    }
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
