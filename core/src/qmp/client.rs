//! The client: one connection, at most four questions, closed at once. The only user of tokio in this package.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::error::{QmpError, QmpErrorKind, Step};
use super::reply::{self, Iothread, Slot, Vcpu};
use super::wire::{self, Decoder, Message};
use crate::id::Pid;

/// What is asked beside `query-cpus-fast` and `query-iothreads`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Questions {
    /// `query-hotpluggable-cpus`: the whole shape of the guest, with what is not plugged.
    pub hotpluggable: bool,
}

/// What QEMU said.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The process at the other end of the socket, where the kernel tells it: the one that listens.
    pub peer: Option<Pid>,
    /// QEMU's version ("7.2.22"), where the greeting tells it.
    pub version: Option<String>,
    /// The vCPUs that are plugged, in QEMU's order.
    pub vcpus: Vec<Vcpu>,
    /// The iothreads, in QEMU's order.
    pub iothreads: Vec<Iothread>,
    /// The places for vCPUs; `None` where they were not asked for, or the machine type has no such list (QEMU refuses then).
    pub slots: Option<Vec<Slot>>,
}

/// Asks the QEMU that listens on a socket, and waits for it no longer than the deadline.
///
/// # Errors
/// What happened, at which step, after how long.
pub fn ask(socket: &Path, deadline: Duration, questions: Questions) -> Result<Answer, QmpError> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(ask_async(socket, deadline, questions)),
            Err(source) => Err(QmpError {
                socket: socket.to_owned(),
                waited: Duration::ZERO,
                kind: Box::new(QmpErrorKind::Io {
                    step: Step::Connect,
                    source,
                }),
            }),
        }
    };
    if tokio::runtime::Handle::try_current().is_err() {
        return run();
    }
    // A runtime can't be started within one: a thread of its own.
    std::thread::scope(|scope| match scope.spawn(run).join() {
        Ok(answer) => answer,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// [`ask`], within a tokio runtime that has time and I/O enabled.
///
/// # Errors
/// Those of [`ask`].
pub async fn ask_async(
    socket: &Path,
    deadline: Duration,
    questions: Questions,
) -> Result<Answer, QmpError> {
    let start = Instant::now();
    // A deadline so far away that the clock can't hold it: a year will do.
    let until = start
        .checked_add(deadline)
        .unwrap_or_else(|| start + Duration::from_secs(365 * 24 * 3600));
    let answered = converse(socket, until, questions).await;
    answered.map_err(|kind| QmpError {
        socket: socket.to_owned(),
        waited: start.elapsed(),
        kind: Box::new(kind),
    })
}

/// Pause between two tries, as Proxmox VE's own client makes it.
const RETRY: Duration = Duration::from_millis(100);

/// How often a refused connection is tried again: QEMU binds the socket a moment before it listens.
const REFUSED_TRIES: u32 = 3;

/// The longest path that `sockaddr_un` holds, without its closing NUL.
const SUN_PATH: usize = 107;

async fn converse(
    socket: &Path,
    until: Instant,
    questions: Questions,
) -> Result<Answer, QmpErrorKind> {
    let stream = connect(socket, until).await?;
    let peer = stream
        .peer_cred()
        .ok()
        .and_then(|cred| cred.pid())
        .filter(|pid| *pid > 0);
    let mut talk = Talk {
        stream,
        decoder: Decoder::new(),
        until,
        id: 0,
        chunk: vec![0; 64 << 10],
    };
    let version = talk.greeting().await?;
    talk.command("qmp_capabilities").await?;
    let cpus = talk.command("query-cpus-fast").await?;
    let iothreads = talk.command("query-iothreads").await?;
    let hotpluggable = if questions.hotpluggable {
        match talk.command("query-hotpluggable-cpus").await {
            Ok(value) => Some(value),
            Err(QmpErrorKind::ErrorReply { .. }) => None,
            Err(other) => return Err(other),
        }
    } else {
        None
    };
    // Others wait for the socket: it is closed before the answers are read.
    drop(talk);
    let bad = |command| move |source| QmpErrorKind::BadReply { command, source };
    Ok(Answer {
        peer: peer.map(Pid),
        version,
        vcpus: reply::vcpus(&cpus).map_err(bad("query-cpus-fast"))?,
        iothreads: reply::iothreads(&iothreads).map_err(bad("query-iothreads"))?,
        slots: hotpluggable.as_deref().map(reply::slots),
    })
}

async fn connect(socket: &Path, until: Instant) -> Result<UnixStream, QmpErrorKind> {
    let (path, _held) = reachable(socket).map_err(refusal)?;
    let mut refused = 0;
    loop {
        let error = match timeout_at(until, UnixStream::connect(&path)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => return Err(QmpErrorKind::Busy),
        };
        match error.kind() {
            // EAGAIN: QEMU's backlog of one is taken.
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
            io::ErrorKind::ConnectionRefused if refused < REFUSED_TRIES => refused += 1,
            _ => return Err(refusal(error)),
        }
        let again = Instant::now() + RETRY;
        if again >= until {
            return Err(match error.kind() {
                io::ErrorKind::ConnectionRefused => QmpErrorKind::Refused,
                _ => QmpErrorKind::Busy,
            });
        }
        sleep(RETRY).await;
    }
}

/// A path under which the socket can be connected to. A longer one than `sockaddr_un` holds goes through the opened file,
/// which must be held meanwhile.
fn reachable(socket: &Path) -> io::Result<(PathBuf, Option<File>)> {
    let metadata = std::fs::metadata(socket)?;
    if !metadata.file_type().is_socket() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    if socket.as_os_str().as_bytes().len() <= SUN_PATH {
        return Ok((socket.to_owned(), None));
    }
    let held = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(socket)?;
    let path = format!("/proc/self/fd/{}", held.as_raw_fd());
    Ok((path.into(), Some(held)))
}

fn refusal(error: io::Error) -> QmpErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => QmpErrorKind::NoSocket,
        io::ErrorKind::InvalidInput => QmpErrorKind::NotASocket,
        io::ErrorKind::ConnectionRefused => QmpErrorKind::Refused,
        io::ErrorKind::PermissionDenied => QmpErrorKind::Denied,
        _ => QmpErrorKind::Io {
            step: Step::Connect,
            source: error,
        },
    }
}

/// An open connection.
struct Talk {
    stream: UnixStream,
    decoder: Decoder,
    until: Instant,
    id: u64,
    /// What is read at once.
    chunk: Vec<u8>,
}

impl Talk {
    async fn greeting(&mut self) -> Result<Option<String>, QmpErrorKind> {
        loop {
            match self.message(Step::Greeting).await? {
                Message::Greeting { version } => return Ok(version),
                Message::Unknown => return Err(QmpErrorKind::NoQmpGreeting),
                // Events and answers to nobody's question may come first.
                Message::Event { .. } | Message::Return { .. } | Message::Error { .. } => {}
            }
        }
    }

    /// Sends a command and waits for its answer. Answers with another id belong to nobody here and are passed over. One
    /// without an id is taken: only one command is under way, and QEMU leaves the id out where it could not read the command.
    async fn command(&mut self, name: &'static str) -> Result<String, QmpErrorKind> {
        let step = Step::Command(name);
        self.id += 1;
        let line = wire::command(name, self.id);
        match timeout_at(self.until, self.stream.write_all(line.as_bytes())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(broken(step, error)),
            Err(_) => {
                return Err(QmpErrorKind::Silence {
                    step,
                    unfinished: self.decoder.unfinished(),
                });
            }
        }
        let expected = self.id.to_string();
        let ours = |id: &Option<String>| id.as_ref().is_none_or(|id| *id == expected);
        loop {
            match self.message(step).await? {
                Message::Return { id, value } if ours(&id) => return Ok(value),
                Message::Error { id, class, desc } if ours(&id) => {
                    return Err(QmpErrorKind::ErrorReply {
                        command: name,
                        class,
                        desc,
                    });
                }
                _ => {}
            }
        }
    }

    async fn message(&mut self, step: Step) -> Result<Message, QmpErrorKind> {
        loop {
            let next = self.decoder.next_message();
            if let Some(message) = next.map_err(|source| QmpErrorKind::NotQmp { step, source })? {
                return Ok(message);
            }
            let unfinished = self.decoder.unfinished();
            let late = || match step {
                Step::Greeting if unfinished == 0 => QmpErrorKind::NoGreeting,
                _ => QmpErrorKind::Silence { step, unfinished },
            };
            // Checked here, too: a server that never stops sending would always be ready to read.
            if Instant::now() >= self.until {
                return Err(late());
            }
            match timeout_at(self.until, self.stream.read(&mut self.chunk)).await {
                Ok(Ok(0)) => return Err(QmpErrorKind::Closed { step }),
                Ok(Ok(length)) => self.decoder.feed(&self.chunk[..length]),
                Ok(Err(error)) => return Err(broken(step, error)),
                Err(_) => return Err(late()),
            }
        }
    }
}

fn broken(step: Step, source: io::Error) -> QmpErrorKind {
    match source.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => QmpErrorKind::Closed { step },
        _ => QmpErrorKind::Io { step, source },
    }
}

#[cfg(test)]
mod tests;
