//! Scripted faults: what a mock does otherwise than a healthy QEMU.
//!
//! A [`Script`] is a list of [`Rule`]s; each is a [`Fault`] and the connections it strikes. As JSON:
//!
//! ```
//! use numapin_qmp_mock::{At, Fault, Script, Then};
//!
//! let script: Script = serde_json::from_str(
//!     r#"{"rules": [
//!         {"fault": {"delay": {"at": "greeting", "ms": 50}}},
//!         {"fault": {"cut": {"at": {"command": "query-cpus-fast"}, "then": "close"}}, "connections": [1]}
//!     ]}"#,
//! )?;
//! let built = Script::of(Fault::Delay { at: At::Greeting, ms: 50 }).and_on(
//!     &[1],
//!     Fault::Cut { at: At::Command("query-cpus-fast".to_owned()), bytes: None, then: Then::Close },
//! );
//! assert_eq!(script, built);
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::MockError;

/// What a mock does otherwise than a healthy QEMU, rule by rule; without rules it is healthy.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// The rules; all that fit a line are applied to it, in order.
    pub rules: Vec<Rule>,
}

/// A fault and the connections it strikes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The fault.
    pub fault: Fault,
    /// Numbers of the accepted connections it strikes, from 1; empty: every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<u32>,
}

/// A line that the mock sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// The greeting.
    Greeting,
    /// The n-th reply of a connection, from 0: usually 0 is the answer to qmp_capabilities.
    Reply(u32),
    /// The reply to each command of this name.
    Command(String),
    /// The greeting and every reply.
    Any,
}

/// What follows a fault in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// The connection is closed.
    #[default]
    Close,
    /// Nothing is sent any more; the connection stays open until the client closes it.
    Silence,
    /// The true line follows, and all goes on.
    GoOn,
}

/// Which vCPUs of a query-cpus-fast reply are struck, by place in the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pick {
    /// The one at this place, from 0.
    Nth(usize),
    /// All of them.
    All,
}

/// A thread-id that is not the vCPU's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LyingTid {
    /// This number: 0, 1, negative, or a thread of another process.
    Number(i64),
    /// The process's own id, i.e. its main thread.
    Process,
    /// A thread that has ended.
    Dead,
    /// The thread of the vCPU at this place of the reply.
    OfVcpu(usize),
}

/// A fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// There is no socket file.
    AbsentSocket,
    /// The socket file is there, and nobody listens: connecting is refused.
    Refused,
    /// Another client holds the socket from the start on, for so many milliseconds.
    Held {
        /// How long.
        ms: u64,
    },
    /// The line comes late; meanwhile nothing is read.
    Delay {
        /// Which line.
        at: At,
        /// How late, in milliseconds.
        ms: u64,
    },
    /// The line comes in pieces of a few bytes, with a pause behind each: it never stalls, and takes long.
    Trickle {
        /// Which line.
        at: At,
        /// Bytes a piece, at least 1.
        bytes: usize,
        /// Milliseconds behind each piece.
        ms: u64,
    },
    /// This line and all that would follow never come; the connection stays open.
    Silence {
        /// Which line.
        at: At,
    },
    /// The connection is closed instead of the line.
    Close {
        /// Which line.
        at: At,
    },
    /// The connection is closed right behind the line.
    CloseAfter {
        /// Which line.
        at: At,
    },
    /// The line is cut.
    Cut {
        /// Which line.
        at: At,
        /// Bytes that come; none: half of them.
        #[serde(default)]
        bytes: Option<usize>,
        /// What follows; [`Then::GoOn`]: the rest never comes, but later lines do.
        #[serde(default)]
        then: Then,
    },
    /// Events before the line; also such as are of a kind nobody knows.
    Events {
        /// Which line.
        at: At,
        /// The events, sent as they are.
        events: Vec<Value>,
    },
    /// A stray answer with this id before the line, as if to an earlier command.
    Stale {
        /// Which line.
        at: At,
        /// Its id.
        id: Value,
    },
    /// The reply has this id.
    WrongId {
        /// Which line.
        at: At,
        /// The id.
        id: Value,
    },
    /// The reply has no id, although the command had one.
    MissingId {
        /// Which line.
        at: At,
    },
    /// The line comes twice.
    Duplicate {
        /// Which line.
        at: At,
    },
    /// The command is answered with an error; a class nobody knows is a fault of its own.
    Error {
        /// The command.
        command: String,
        /// The error's class, e.g. `GenericError`.
        class: String,
        /// Its text.
        desc: String,
    },
    /// A field of the line is replaced.
    Replace {
        /// Which line.
        at: At,
        /// Where, as a JSON pointer, e.g. `/return/0/cpu-index`.
        pointer: String,
        /// The value put there.
        value: Value,
    },
    /// A field of the line is left away.
    Remove {
        /// Which line.
        at: At,
        /// Where, as a JSON pointer.
        pointer: String,
    },
    /// Every object of the line has these fields, too.
    ExtraFields {
        /// Which line.
        at: At,
        /// The fields.
        fields: Map<String, Value>,
    },
    /// vCPUs of another target than x86.
    Target {
        /// Which vCPUs.
        vcpu: Pick,
        /// E.g. `riscv128`.
        target: String,
    },
    /// A cpu-index that is not the vCPU's: negative, another one's, or beyond the guest.
    CpuIndex {
        /// Which vCPUs.
        vcpu: Pick,
        /// The index told.
        index: i64,
    },
    /// A thread-id that is not the vCPU's.
    ThreadId {
        /// Which vCPUs.
        vcpu: Pick,
        /// The id told.
        tid: LyingTid,
    },
    /// A vCPU is left out.
    Omit {
        /// Which vCPUs.
        vcpu: Pick,
    },
    /// A vCPU is listed twice.
    Twice {
        /// Which vCPUs.
        vcpu: Pick,
    },
    /// The thread of a vCPU ends between the question and the pinning: just before the query-cpus-fast reply is sent.
    Dies {
        /// Which vCPUs.
        vcpu: Pick,
    },
    /// As [`Fault::Dies`], and another thread takes its place, which the next reply tells.
    Reborn {
        /// Which vCPUs.
        vcpu: Pick,
    },
    /// Bytes that are no JSON.
    Garbage {
        /// Which line.
        at: At,
        /// What follows.
        then: Then,
    },
    /// Bytes that are no UTF-8, within a line that would be JSON.
    InvalidUtf8 {
        /// Which line.
        at: At,
        /// What follows.
        then: Then,
    },
    /// A line of so many MiB; it is JSON if it comes to its end.
    LongLine {
        /// Which line.
        at: At,
        /// Its length.
        mib: usize,
        /// What follows.
        then: Then,
    },
    /// JSON nested so deep.
    Deep {
        /// Which line.
        at: At,
        /// Opening brackets.
        depth: usize,
        /// What follows.
        then: Then,
    },
}

impl Script {
    /// No faults.
    #[must_use]
    pub fn healthy() -> Self {
        Self::default()
    }

    /// One fault, on every connection.
    #[must_use]
    pub fn of(fault: Fault) -> Self {
        Self::healthy().and(fault)
    }

    /// One more fault, on every connection.
    #[must_use]
    pub fn and(self, fault: Fault) -> Self {
        self.and_on(&[], fault)
    }

    /// One more fault, on these connections (counted from 1).
    #[must_use]
    pub fn and_on(mut self, connections: &[u32], fault: Fault) -> Self {
        self.rules.push(Rule {
            fault,
            connections: connections.to_vec(),
        });
        self
    }

    /// Reads a script from a JSON file.
    ///
    /// # Errors
    /// The file can't be read, or is no script: unknown fields are refused.
    pub fn load(path: &Path) -> Result<Self, MockError> {
        crate::load_json(path)
    }

    /// The faults that strike a connection.
    pub(crate) fn faults(&self, connection: u32) -> impl Iterator<Item = &Fault> {
        let strikes = move |rule: &&Rule| {
            rule.connections.is_empty() || rule.connections.contains(&connection)
        };
        self.rules.iter().filter(strikes).map(|rule| &rule.fault)
    }

    /// How the socket is at the start.
    pub(crate) fn door(&self) -> Door {
        let mut door = Door::Open;
        for rule in &self.rules {
            match rule.fault {
                Fault::AbsentSocket => door = Door::Absent,
                Fault::Refused => door = Door::Refused,
                Fault::Held { ms } => door = Door::Held(ms),
                _ => {}
            }
        }
        door
    }
}

/// How the socket is at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Open,
    Absent,
    Refused,
    Held(u64),
}
