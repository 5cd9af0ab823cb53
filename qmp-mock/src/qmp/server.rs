//! The socket: one client at a time, as QEMU does it.
//!
//! QEMU listens with a backlog of one and stops accepting while a client is connected: the next one's connect succeeds and
//! gets no greeting until the first has gone; with two waiting, a non-blocking connect gets EAGAIN.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::sync::broadcast::{self, error::RecvError};

use super::commands::{self, Answer, Later, QmpError};
use super::replies;
use super::wire::{Decoder, Request};
use crate::MockError;
use crate::faults::{Ids, Line, Op, bytes, steps};
use crate::machine::{Ending, Machine, event};
use crate::script::{Door, Script};
use crate::threads::make_dir;

/// The machine, shared by the socket and the handle.
pub(crate) type Shared = Arc<Mutex<Machine>>;

/// Looks into the machine. A panic elsewhere can't leave it half changed in a way that matters to a mock.
pub(crate) fn lock(machine: &Shared) -> MutexGuard<'_, Machine> {
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A listening socket, or what stands in its place.
#[derive(Debug)]
pub(crate) struct Server {
    listener: Option<UnixListener>,
    /// The client that holds the socket at first, and for how long.
    holder: Option<(StdStream, Duration)>,
    machine: Shared,
    script: Script,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// This side closes, or the client has gone.
    Closed,
    /// QEMU itself ends.
    Quit,
}

impl Server {
    /// Binds the machine's socket. Must be called within the runtime.
    pub(crate) fn bind(machine: Shared, script: Script) -> Result<Self, MockError> {
        let path = lock(&machine).places.socket.clone();
        let door = script.door();
        let mut server = Self {
            listener: None,
            holder: None,
            machine,
            script,
        };
        if door != Door::Absent {
            let listener = listen(&path)?;
            if let Door::Held(ms) = door {
                let held = connect(&path).map_err(MockError::file(&path))?;
                server.holder = Some((held, Duration::from_millis(ms)));
            }
            if door != Door::Refused {
                server.listener = Some(listener);
            }
        }
        Ok(server)
    }

    /// The machine behind the socket.
    pub(crate) fn machine(&self) -> Shared {
        Arc::clone(&self.machine)
    }

    /// Serves one client after the other until QEMU ends.
    pub(crate) async fn run(mut self) {
        if let Some((stream, time)) = self.holder.take() {
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                drop(stream);
            });
        }
        let Some(listener) = self.listener.take() else {
            // Nobody can come in; the machine lives until its handle ends it.
            return std::future::pending().await;
        };
        let mut connection = 0;
        while let Ok((stream, _)) = listener.accept().await {
            connection += 1;
            let session = Session::new(stream, &self, connection);
            if session.run().await == End::Quit {
                lock(&self.machine).end(Ending::Clean);
                return;
            }
        }
    }
}

/// A connected client.
struct Session<'a> {
    stream: UnixStream,
    server: &'a Server,
    connection: u32,
    events: broadcast::Receiver<Arc<Value>>,
    replies: u32,
    negotiated: bool,
    silent: bool,
}

impl<'a> Session<'a> {
    fn new(stream: UnixStream, server: &'a Server, connection: u32) -> Self {
        Self {
            stream,
            server,
            connection,
            events: lock(&server.machine).events.subscribe(),
            replies: 0,
            negotiated: false,
            silent: false,
        }
    }

    async fn run(mut self) -> End {
        // A client that is gone, or closes while it is written to, just ends its session.
        self.talk().await.unwrap_or(End::Closed)
    }

    async fn talk(&mut self) -> io::Result<End> {
        let greeting = replies::greeting(&lock(&self.server.machine).guest);
        let line = Line {
            reply: None,
            command: None,
        };
        if let Some(end) = self.send(line, greeting).await? {
            return Ok(end);
        }
        let mut decoder = Decoder::default();
        let mut buffer = vec![0; 16 << 10];
        loop {
            tokio::select! {
                biased;
                event = self.events.recv() => match event {
                    Ok(event) => self.tell(&event).await?,
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Ok(End::Closed),
                },
                read = self.stream.read(&mut buffer) => {
                    let read = read?;
                    if read == 0 {
                        return Ok(End::Closed);
                    }
                    if self.silent {
                        continue;
                    }
                    for request in decoder.feed(&buffer[..read]) {
                        if let Some(end) = self.answer(request).await? {
                            return Ok(end);
                        }
                    }
                }
            }
        }
    }

    async fn answer(&mut self, request: Request) -> io::Result<Option<End>> {
        let Answer { result, later } = self.execute(&request);
        // What a command tells (RESUME, STOP) comes before its answer.
        while let Ok(event) = self.events.try_recv() {
            self.tell(&event).await?;
        }
        let mut reply = match result {
            Ok(value) => json!({ "return": value }),
            Err(e) => json!({ "error": e.to_value() }),
        };
        if let Some(id) = request.id {
            reply["id"] = id;
        }
        let name = request.command.as_ref().map(|(name, _)| name.as_str()).ok();
        let line = Line {
            reply: Some(self.replies),
            command: name,
        };
        self.replies += 1;
        let end = self.send(line, reply).await?;
        match later {
            Some((_, Later::Quit)) => {
                let data = json!({ "guest": false, "reason": "host-qmp-quit" });
                self.tell(&event("SHUTDOWN", Some(data))).await?;
                return Ok(Some(End::Quit));
            }
            Some((time, later)) => happen_later(&self.server.machine, time, later),
            None => {}
        }
        Ok(end)
    }

    fn execute(&mut self, request: &Request) -> Answer {
        let now = |result| Answer {
            result,
            later: None,
        };
        let (name, args) = match &request.command {
            Ok(command) => command,
            Err(desc) => return now(Err(QmpError::generic(desc))),
        };
        if self.negotiated {
            return commands::run(&mut lock(&self.server.machine), name, args);
        }
        if name == "qmp_capabilities" {
            self.negotiated = true;
            return now(Ok(json!({})));
        }
        let desc = "Expecting capabilities negotiation with 'qmp_capabilities'";
        now(Err(QmpError::not_found(desc)))
    }

    /// Sends an event, to a client that has negotiated.
    async fn tell(&mut self, event: &Value) -> io::Result<()> {
        if self.negotiated && !self.silent {
            self.stream.write_all(&bytes(event)).await?;
        }
        Ok(())
    }

    /// Sends a line the way the script wants it.
    async fn send(&mut self, line: Line<'_>, value: Value) -> io::Result<Option<End>> {
        if self.silent {
            return Ok(None);
        }
        let server = self.server;
        let faults: Vec<_> = server.script.faults(self.connection).collect();
        if faults.is_empty() {
            self.stream.write_all(&bytes(&value)).await?;
            return Ok(None);
        }
        let ids = {
            let mut machine = lock(&server.machine);
            Ids {
                process: machine.pid(),
                dead: machine.dead_tid().unwrap_or(u32::MAX >> 1),
            }
        };
        for op in steps(faults.into_iter(), line, value, ids) {
            match op {
                Op::Wait(time) => tokio::time::sleep(time).await,
                Op::Bytes(bytes) => self.stream.write_all(&bytes).await?,
                Op::Close => return Ok(Some(End::Closed)),
                Op::Silence => {
                    self.silent = true;
                    return Ok(None);
                }
                // A vCPU that has gone meanwhile has no thread to end.
                Op::Kill(index) => drop(lock(&server.machine).kill_vcpu_thread(index)),
                Op::Renew(index) => drop(lock(&server.machine).replace_vcpu_thread(index)),
            }
        }
        Ok(None)
    }
}

/// Connects to a socket however deep it lies: its path may be longer than the 108 bytes an address holds.
///
/// # Errors
/// As [`StdStream::connect`].
pub fn connect(path: &Path) -> io::Result<StdStream> {
    let (_dir, short) = short_path(path)?;
    StdStream::connect(short)
}

fn listen(path: &Path) -> Result<UnixListener, MockError> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        make_dir(dir)?;
    }
    // QEMU takes over a socket file that a dead one left.
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(MockError::file(path)(e)),
        _ => {}
    }
    let listen = || {
        let (_dir, short) = short_path(path)?;
        let socket = UnixSocket::new_stream()?;
        socket.bind(short)?;
        socket.listen(1)
    };
    listen().map_err(MockError::file(path))
}

/// The same place by way of its opened directory, which must stay open while the path is used.
fn short_path(path: &Path) -> io::Result<(File, PathBuf)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = File::open(parent.unwrap_or(Path::new(".")))?;
    let short = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string());
    Ok((dir, short.join(name)))
}

fn happen_later(machine: &Shared, time: Duration, later: Later) {
    // Weak: what is still to come does not keep an ended machine alive.
    let machine = Arc::downgrade(machine);
    tokio::spawn(async move {
        tokio::time::sleep(time).await;
        let Some(machine) = machine.upgrade() else {
            return;
        };
        let mut machine = lock(&machine);
        match later {
            Later::Ost {
                id,
                index,
                source,
                status,
            } => machine.tell_ost(&id, index, source, status),
            // Unplugged otherwise meanwhile, or ended: nothing to do.
            Later::Gone { index } => drop(machine.unplug(index)),
            Later::Quit => machine.end(Ending::Clean),
        }
    });
}
