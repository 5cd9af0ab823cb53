//! QMP: what a running QEMU says about its vCPUs and iothreads, and which host threads they are.
//!
//! ```text
//! socket ── client ──► bytes ── wire ──► Message ── reply ──► Vcpu, Iothread, Slot
//! ```
//! QEMU serves one client at a time. So the client connects, asks at most four questions and closes at once, all under one
//! deadline; what it does not know (fields, events, error classes, targets) it passes over.

pub mod client;
mod error;
mod message;
pub mod reply;
pub mod wire;

use std::path::PathBuf;

use crate::id::Vmid;
use crate::root::Root;

pub use client::{Answer, Questions, ask, ask_async};
pub use error::{QmpError, QmpErrorKind, Step};
pub use reply::{Iothread, Place, ReplyError, Slot, Vcpu};

/// Where the QEMU of a Proxmox VE guest listens: `/run/qemu-server/VMID.qmp`.
#[must_use]
pub fn socket_of(root: &Root, vmid: Vmid) -> PathBuf {
    root.run().join("qemu-server").join(format!("{vmid}.qmp"))
}
