//! A mock as a process of its own: on the calling thread, until it ends.

use std::future::Future;
use std::path::PathBuf;

use serde::Serialize;

use crate::guest::Guest;
use crate::machine::{Ending, Vcpu};
use crate::mock::start;
use crate::qmp::server::lock;
use crate::threads::Threads;
use crate::{MockError, Script};

/// What a mock that can be connected to tells of itself.
#[derive(Debug, Clone, Serialize)]
pub struct Ready {
    /// The process.
    pub pid: u32,
    /// Its main thread.
    pub main_tid: u32,
    /// The QMP socket.
    pub socket: PathBuf,
    /// vCPUs in plug order: cpu-index and thread.
    pub vcpus: Vec<Vcpu>,
    /// Iothreads, the oldest first: id and thread.
    pub iothreads: Vec<(String, u32)>,
}

/// Serves a mock on the calling thread, which stands for QEMU's main thread, until `quit` or until `stop` is ready; then
/// all is removed as when QEMU ends. Must be called on a runtime of tokio with one thread.
///
/// # Errors
/// The guest's shape is impossible, or files, the socket or threads can't be made.
pub async fn serve(
    guest: Guest,
    threads: &Threads,
    script: Script,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(&Ready),
) -> Result<(), MockError> {
    let server = start(guest, threads, script)?;
    let machine = server.machine();
    let told = {
        let machine = lock(&machine);
        Ready {
            pid: machine.pid(),
            main_tid: machine.main_tid(),
            socket: machine.places.socket.clone(),
            vcpus: machine.vcpus(),
            iothreads: machine.iothreads.clone(),
        }
    };
    ready(&told);
    tokio::select! {
        () = server.run() => {}
        () = stop => {}
    }
    lock(&machine).end(Ending::Clean);
    Ok(())
}
