//! The handles: one mock ([`Mock`]), or many on one thread ([`Mocks`]).

use std::io::{self, BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::guest::{Guest, RunState};
use crate::machine::{Ending, Machine, Vcpu};
use crate::qmp::server::{Server, Shared, connect, lock};
use crate::threads::Threads;
use crate::{MockError, Script};

/// A thread that many mocks run on: cheap enough for hundreds of guests.
///
/// It lives until the last of its mocks has ended and this handle is dropped.
#[derive(Debug, Clone)]
pub struct Mocks {
    runner: Arc<Runner>,
}

/// A running mock QEMU. Dropping it ends it as QEMU ends: its /proc entries, pid file and socket are removed.
#[derive(Debug)]
pub struct Mock {
    machine: Shared,
    socket: PathBuf,
    pid_file: Option<PathBuf>,
    pid: u32,
    main_tid: u32,
    task: AbortHandle,
    /// Says nothing; hangs up when the task is gone.
    served: mpsc::Receiver<()>,
    runner: Arc<Runner>,
}

/// A client that holds a mock's socket until it is dropped.
#[derive(Debug)]
pub struct Holder {
    _stream: UnixStream,
}

/// The thread with the runtime.
#[derive(Debug)]
struct Runner {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Mocks {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`MockError::Runtime`].
    pub fn new() -> Result<Self, MockError> {
        let runner = Runner::start().map_err(|source| MockError::Runtime { source })?;
        Ok(Self {
            runner: Arc::new(runner),
        })
    }

    /// Starts a mock on this thread; when this returns it can be connected to.
    ///
    /// # Errors
    /// The guest's shape is impossible, or files, the socket or threads can't be made; nothing is left behind then.
    pub fn spawn(&self, guest: Guest, threads: Threads, script: Script) -> Result<Mock, MockError> {
        let (hold, served) = mpsc::channel();
        let (machine, task) = self.runner.run(move || {
            let server = start(guest, &threads, script)?;
            let machine = server.machine();
            let task = tokio::spawn(async move {
                server.run().await;
                drop(hold);
            });
            Ok::<_, MockError>((machine, task.abort_handle()))
        })??;
        let inside = lock(&machine);
        let (socket, pid_file) = (inside.places.socket.clone(), inside.places.pid_file.clone());
        let (pid, main_tid) = (inside.pid(), inside.main_tid());
        drop(inside);
        Ok(Mock {
            machine,
            socket,
            pid_file,
            pid,
            main_tid,
            task,
            served,
            runner: Arc::clone(&self.runner),
        })
    }
}

impl Mock {
    /// Starts a mock on a thread of its own.
    ///
    /// # Errors
    /// As [`Mocks::spawn`].
    pub fn spawn(guest: Guest, threads: Threads, script: Script) -> Result<Self, MockError> {
        Mocks::new()?.spawn(guest, threads, script)
    }

    /// The QMP socket. [`crate::connect`] reaches it however long the path is.
    #[must_use]
    pub fn socket(&self) -> &std::path::Path {
        &self.socket
    }

    /// The pid file, if there is one.
    #[must_use]
    pub fn pid_file(&self) -> Option<&std::path::Path> {
        self.pid_file.as_deref()
    }

    /// The process: made up, or this one where threads are real.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The main thread, whose mask new threads inherit. Real threads: the one that runs the mock.
    #[must_use]
    pub fn main_tid(&self) -> u32 {
        self.main_tid
    }

    /// The vCPUs that are there, in plug order, with their threads.
    #[must_use]
    pub fn vcpus(&self) -> Vec<Vcpu> {
        lock(&self.machine).vcpus()
    }

    /// Threads of the vCPUs, in plug order.
    #[must_use]
    pub fn vcpu_tids(&self) -> Vec<u32> {
        self.vcpus().into_iter().map(|vcpu| vcpu.tid).collect()
    }

    /// Ids and threads of the iothreads, the oldest first.
    #[must_use]
    pub fn iothread_tids(&self) -> Vec<(String, u32)> {
        lock(&self.machine).iothreads.clone()
    }

    /// Plugs a vCPU as Proxmox VE does (id `cpuN`, N = index + 1) and tells its thread.
    ///
    /// # Errors
    /// It is there already, or beyond the guest; the mock has ended.
    pub fn plug_vcpu(&self, index: u32) -> Result<u32, MockError> {
        self.on(move |machine| {
            let id = format!("cpu{}", index.saturating_add(1));
            let tid = machine.plug(index, &id)?;
            machine.tell_plugged(&id, index);
            Ok(tid)
        })
    }

    /// Takes a vCPU away at once, as if the guest had let it go.
    ///
    /// # Errors
    /// There is no such vCPU; the mock has ended.
    pub fn unplug_vcpu(&self, index: u32) -> Result<(), MockError> {
        self.on(move |machine| machine.unplug(index))
    }

    /// Ends a vCPU's thread while the vCPU stays listed with it.
    ///
    /// # Errors
    /// As [`Self::unplug_vcpu`].
    pub fn kill_vcpu_thread(&self, index: u32) -> Result<(), MockError> {
        self.on(move |machine| machine.kill_vcpu_thread(index))
    }

    /// Ends a vCPU's thread and gives it another one, which is told.
    ///
    /// # Errors
    /// As [`Self::unplug_vcpu`].
    pub fn replace_vcpu_thread(&self, index: u32) -> Result<u32, MockError> {
        self.on(move |machine| machine.replace_vcpu_thread(index))
    }

    /// Adds an iothread and tells its thread.
    ///
    /// # Errors
    /// There is one with this id; the mock has ended.
    pub fn plug_iothread(&self, id: &str) -> Result<u32, MockError> {
        let id = id.to_owned();
        self.on(move |machine| machine.plug_iothread(&id))
    }

    /// Removes an iothread.
    ///
    /// # Errors
    /// There is none with this id; the mock has ended.
    pub fn unplug_iothread(&self, id: &str) -> Result<(), MockError> {
        let id = id.to_owned();
        self.on(move |machine| machine.unplug_iothread(&id))
    }

    /// Adds any other thread, e.g. `worker` or `vhost-PID`, and tells its id.
    ///
    /// # Errors
    /// The mock has ended.
    pub fn add_thread(&self, comm: &str) -> Result<u32, MockError> {
        let comm = comm.to_owned();
        self.on(move |machine| machine.add_thread(&comm))
    }

    /// Ends a thread of [`Self::add_thread`].
    ///
    /// # Errors
    /// There is no such thread; the mock has ended.
    pub fn end_thread(&self, tid: u32) -> Result<(), MockError> {
        self.on(move |machine| machine.end_thread(tid))
    }

    /// Changes the run state (RESUME or STOP is told), e.g. at the end of a migration.
    pub fn set_state(&self, state: RunState) {
        lock(&self.machine).set_state(state);
    }

    /// Sends an event to the client of the moment, if it has negotiated.
    pub fn tell(&self, event: &str, data: Option<serde_json::Value>) {
        lock(&self.machine).tell(event, data);
    }

    /// Whether it has ended, e.g. by `quit`.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        lock(&self.machine).has_ended()
    }

    /// Holds the socket as another client would, from the moment this returns.
    ///
    /// # Errors
    /// The mock can't be connected to, or does not greet within 5 seconds.
    pub fn hold(&self) -> io::Result<Holder> {
        let stream = connect(&self.socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        // The greeting says that this client is the one served.
        if BufReader::new(&stream).read_line(&mut String::new())? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Holder { _stream: stream })
    }

    /// Ends it as QEMU ends: connections are closed; /proc entries, pid file and socket removed.
    pub fn stop(self) {
        drop(self);
    }

    /// Ends it as a process that was killed: connections closed, /proc entries gone; pid file and socket file stay.
    pub fn crash(self) {
        self.finish(Ending::Crash);
    }

    /// Stops answering and leaves everything else as it is, fake threads with their masks included: a machine to be looked
    /// into.
    pub fn leave(self) {
        self.finish(Ending::Left);
    }

    fn finish(&self, ending: Ending) {
        self.task.abort();
        // Hangs up when the task, and with it the socket, is gone.
        let _ = self.served.recv();
        lock(&self.machine).end(ending);
    }

    /// Does something on the mock's own thread, whose mask real threads inherit.
    fn on<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Machine) -> Result<T, MockError> + Send + 'static,
    ) -> Result<T, MockError> {
        let machine = Arc::clone(&self.machine);
        self.runner.run(move || work(&mut lock(&machine)))?
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.finish(Ending::Clean);
    }
}

impl Runner {
    fn start() -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new()
            .name("qmp-mock".to_owned())
            .spawn(move || {
                // Either way it is time to end.
                let _ = runtime.block_on(stopped);
            })?;
        Ok(Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Runs something on the thread and waits for what it gives.
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, MockError> {
        let (give, given) = mpsc::channel();
        self.handle.spawn(async move {
            // Nobody waits any more only if the waiting thread died.
            let _ = give.send(work());
        });
        given.recv().map_err(|_| MockError::Runtime {
            source: io::Error::other("it has ended"),
        })
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It does not panic; and if it did, the tests have seen it.
            let _ = thread.join();
        }
    }
}

/// Makes the machine and its socket; the pid file comes last. Nothing is left behind by a failure.
pub(crate) fn start(guest: Guest, threads: &Threads, script: Script) -> Result<Server, MockError> {
    let machine = Arc::new(Mutex::new(Machine::start(guest, threads)?));
    let server = Server::bind(Arc::clone(&machine), script);
    let shown = server.and_then(|server| lock(&machine).publish().map(|()| server));
    if shown.is_err() {
        lock(&machine).end(Ending::Clean);
    }
    shown
}
