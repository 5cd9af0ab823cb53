//! Real threads of this process: parked, or spinning where the guest is busy.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use super::Places;
use crate::MockError;
use crate::guest::{Guest, cut_comm};

/// Where a mock with real threads listens.
#[derive(Debug, Clone)]
pub struct RealHost {
    /// The QMP socket.
    pub socket: PathBuf,
    /// The file that this process's id is written to, if any.
    pub pid_file: Option<PathBuf>,
}

/// Real threads, named as QEMU names its own.
///
/// They are started by the thread that runs the mock, and so inherit its mask: that thread stands for QEMU's main thread.
#[derive(Debug)]
pub(crate) struct RealCrew {
    threads: BTreeMap<u32, Parked>,
    main_tid: u32,
}

/// A thread that waits until `wake` is dropped, or spins until `stop` is set.
#[derive(Debug)]
struct Parked {
    stop: Arc<AtomicBool>,
    wake: mpsc::Sender<()>,
    handle: JoinHandle<()>,
}

impl RealHost {
    /// A mock that listens at `socket`, without a pid file.
    #[must_use]
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            pid_file: None,
        }
    }

    pub(crate) fn places(&self) -> Places {
        Places {
            socket: self.socket.clone(),
            pid_file: self.pid_file.clone(),
        }
    }
}

impl RealCrew {
    pub(crate) fn start(guest: &Guest) -> Result<Self, MockError> {
        let mut crew = Self {
            threads: BTreeMap::new(),
            main_tid: this_tid().map_err(MockError::file("/proc/thread-self"))?,
        };
        let comm = guest.process_comm();
        let named = |name: &'static str| {
            if guest.debug_threads {
                name.to_owned()
            } else {
                comm.clone()
            }
        };
        crew.spawn(&named("call_rcu"), false)?;
        crew.spawn(&named("IO mon_iothread"), false)?;
        for _ in 0..guest.workers {
            crew.spawn(&named("worker"), false)?;
        }
        Ok(crew)
    }

    pub(crate) fn pid(&self) -> u32 {
        std::process::id()
    }

    pub(crate) fn main_tid(&self) -> u32 {
        self.main_tid
    }

    pub(crate) fn spawn(&mut self, comm: &str, running: bool) -> Result<u32, MockError> {
        let (tid, parked) = park(comm, running).map_err(|source| MockError::Runtime { source })?;
        self.threads.insert(tid, parked);
        Ok(tid)
    }

    pub(crate) fn end(&mut self, tid: u32) {
        if let Some(parked) = self.threads.remove(&tid) {
            parked.end();
        }
    }

    pub(crate) fn dead_tid(&mut self) -> Result<u32, MockError> {
        let tid = self.spawn("gone", false)?;
        self.end(tid);
        Ok(tid)
    }

    pub(crate) fn end_all(&mut self) {
        let threads = std::mem::take(&mut self.threads);
        for parked in threads.values() {
            parked.stop.store(true, Ordering::Relaxed);
        }
        for parked in threads.into_values() {
            parked.end();
        }
    }
}

impl Drop for RealCrew {
    fn drop(&mut self) {
        self.end_all();
    }
}

impl Parked {
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.wake);
        // The thread can't panic: it only waits.
        let _ = self.handle.join();
    }
}

/// The kernel's id of the calling thread.
pub(crate) fn this_tid() -> io::Result<u32> {
    // "PID/task/TID": what gettid tells, without an unsafe call.
    let link = std::fs::read_link("/proc/thread-self")?;
    let name = link.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.parse().ok())
        .ok_or_else(|| io::Error::other(format!("{} names no thread", link.display())))
}

fn park(comm: &str, running: bool) -> io::Result<(u32, Parked)> {
    let stop = Arc::new(AtomicBool::new(false));
    let (wake, sleep) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let thread_stop = Arc::clone(&stop);
    let handle = std::thread::Builder::new()
        .name(cut_comm(comm))
        .stack_size(64 << 10)
        .spawn(move || {
            if tell.send(this_tid()).is_err() {
                return;
            }
            if running {
                while !thread_stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            } else {
                // Nothing is ever sent: this ends when the other side is dropped.
                let _ = sleep.recv();
            }
        })?;
    let tid = told
        .recv()
        .map_err(|_| io::Error::other("a thread ended before it told its id"))??;
    Ok((tid, Parked { stop, wake, handle }))
}
