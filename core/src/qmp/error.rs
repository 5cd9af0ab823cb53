//! Why QMP gave no answer: where, at which step, after how long, and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::reply::ReplyError;
use super::wire::WireError;
use crate::root::reason;

/// Why QMP gave no answer.
#[derive(Debug, thiserror::Error)]
#[error("qmp socket {}: {}", socket.display(), Told(self))]
pub struct QmpError {
    /// The socket.
    pub socket: PathBuf,
    /// How long it took until this was known.
    pub waited: Duration,
    /// What happened.
    pub kind: Box<QmpErrorKind>,
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum QmpErrorKind {
    /// There is no such file.
    NoSocket,
    /// The file is not a socket.
    NotASocket,
    /// Nobody listens on it.
    Refused,
    /// This user may not connect.
    Denied,
    /// The queue of waiting clients was full until the deadline.
    Busy,
    /// The connection stood, and no greeting came until the deadline: another client is served.
    NoGreeting,
    /// No answer until the deadline.
    Silence {
        /// At which step.
        step: Step,
        /// Bytes of an unfinished message that had come.
        unfinished: usize,
    },
    /// The other side closed the connection.
    Closed {
        /// At which step.
        step: Step,
    },
    /// What came is not QMP.
    NotQmp {
        /// At which step.
        step: Step,
        /// What is wrong with it.
        source: WireError,
    },
    /// The first message is an object, but no greeting.
    NoQmpGreeting,
    /// QEMU refused a command.
    ErrorReply {
        /// Which one.
        command: &'static str,
        /// The error class, known or not.
        class: String,
        /// QEMU's own words.
        desc: String,
    },
    /// An answer can't be meant.
    BadReply {
        /// To which command.
        command: &'static str,
        /// What is wrong with it.
        source: ReplyError,
    },
    /// The system has no connection or runtime to give.
    Io {
        /// At which step.
        step: Step,
        /// What it said.
        source: io::Error,
    },
}

/// A step of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Opening the connection.
    Connect,
    /// Waiting for the greeting.
    Greeting,
    /// A command and its answer.
    Command(&'static str),
}

impl QmpError {
    /// Whether QEMU may well be fine and only busy with another client: then vCPUs can be taken from the names of the tasks.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(*self.kind, QmpErrorKind::Busy | QmpErrorKind::NoGreeting)
    }
}

impl QmpErrorKind {
    /// The kind in JSON.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NoSocket => "no_socket",
            Self::NotASocket => "not_a_socket",
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::Busy => "busy",
            Self::NoGreeting => "no_greeting",
            Self::Silence { .. } => "silence",
            Self::Closed { .. } => "closed",
            Self::NotQmp { .. } | Self::NoQmpGreeting => "not_qmp",
            Self::ErrorReply { .. } => "error_reply",
            Self::BadReply { .. } => "bad_reply",
            Self::Io { .. } => "io",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connecting"),
            Self::Greeting => f.write_str("waiting for the greeting"),
            Self::Command(name) => write!(f, "waiting for the answer to {name}"),
        }
    }
}

struct Told<'a>(&'a QmpError);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waited = format!("{:.1} s", self.0.waited.as_secs_f64());
        match &*self.0.kind {
            QmpErrorKind::NoSocket => f.write_str(
                "does not exist; is the guest running, and is this where its QEMU listens \
                 (-qmp unix:PATH,server=on,wait=off)?",
            ),
            QmpErrorKind::NotASocket => {
                f.write_str("is not a socket (expected the one that QEMU listens on)")
            }
            QmpErrorKind::Refused => f.write_str(
                "nobody listens (connection refused): its QEMU has ended and left the file; start the guest again",
            ),
            QmpErrorKind::Denied => {
                f.write_str("permission denied; run as root, or as the user that QEMU runs as")
            }
            QmpErrorKind::Busy => write!(
                f,
                "no connection within {waited}: other clients are waiting already, and QEMU serves one at a time; try \
                 again, or give a longer --deadline"
            ),
            QmpErrorKind::NoGreeting => write!(
                f,
                "no greeting within {waited}: another client is being served, and QEMU serves one at a time; try \
                 again, or give a longer --deadline"
            ),
            QmpErrorKind::Silence { step, unfinished } => {
                write!(
                    f,
                    "silence until the deadline, {step}, after {waited}; is QEMU stopped or overloaded? give a longer \
                     --deadline"
                )?;
                told_unfinished(*unfinished, f)
            }
            QmpErrorKind::Closed { step } => write!(
                f,
                "closed by the other side, {step}, after {waited}; did the guest stop?"
            ),
            QmpErrorKind::NotQmp { step, source } => {
                write!(f, "{step}: {source}; is this a QMP socket?")
            }
            QmpErrorKind::NoQmpGreeting => {
                write!(
                    f,
                    "the first message is not a QMP greeting; is this a QMP socket?"
                )
            }
            QmpErrorKind::ErrorReply {
                command,
                class,
                desc,
            } => {
                let (class, desc) = (one_line(class), one_line(desc));
                write!(f, "QEMU refused {command}: {class}: {desc}")
            }
            QmpErrorKind::BadReply { command, source } => {
                write!(f, "the answer to {command} can't be used: {source}")
            }
            QmpErrorKind::Io { step, source } => write!(f, "{step}: {}", reason(source)),
        }
    }
}

/// What the other side says goes to a terminal as one line, whatever it holds.
fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).take(200).collect()
}

fn told_unfinished(bytes: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match bytes {
        0 => Ok(()),
        _ => write!(f, " ({bytes} bytes of an unfinished message had come)"),
    }
}
