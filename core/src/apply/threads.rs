//! The threads of a running guest, and whose process they must belong to.

use super::wishes::{Found, wishes};
use super::{ApplyError, Wishes};
use crate::id::{Pid, Tid, Vmid};
use crate::placement::Plan;
use crate::process::{self, Process, guest_process, owner, process};
use crate::qmp::{Answer, Iothread, QmpError, Vcpu};
use crate::report::ReportNote;
use crate::root::Root;

/// The threads of a running guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestThreads {
    /// The process that they must belong to.
    pub process: Process,
    /// The vCPUs that are plugged.
    pub vcpus: Vec<Vcpu>,
    /// The iothreads; `None` where QMP could not be asked.
    pub iothreads: Option<Vec<Iothread>>,
    /// What is to be said.
    pub notes: Vec<ReportNote>,
}

impl GuestThreads {
    /// The threads that QMP told. Whether each belongs to the process is looked at when they are prepared for a transaction.
    ///
    /// # Errors
    /// The process can't be told, or the socket is served by another one than the pid file names.
    pub fn from_answer(
        root: &Root,
        vmid: Option<Vmid>,
        answer: &Answer,
    ) -> Result<Self, ApplyError> {
        let first = answer.vcpus.first().map(|vcpu| vcpu.tid);
        Ok(Self {
            process: owner_of_guest(root, vmid, answer.peer, first)?,
            vcpus: answer.vcpus.clone(),
            iothreads: Some(answer.iothreads.clone()),
            notes: Vec::new(),
        })
    }

    /// The vCPUs that the names of a Proxmox VE guest's tasks tell: for when QMP stays busy.
    ///
    /// # Errors
    /// The guest is not running, or no task is named like a vCPU.
    pub fn from_names(root: &Root, vmid: Vmid, busy: &QmpError) -> Result<Self, ApplyError> {
        let process = owner_of_guest(root, Some(vmid), None, None)?;
        let tasks = process::tasks(root, process.pid)?;
        let named = process::named_vcpus(&tasks);
        if let Some(tid) = named.shared {
            return Err(ApplyError::NamedShared { tid });
        }
        if named.vcpus.is_empty() {
            return Err(ApplyError::NoNames { pid: process.pid });
        }
        Ok(Self {
            process,
            vcpus: named.vcpus,
            iothreads: None,
            notes: vec![ReportNote::ByName {
                reason: busy.to_string(),
            }],
        })
    }

    /// What a plan wants of these threads.
    ///
    /// # Errors
    /// vCPUs share a thread, QEMU has a vCPU that the plan does not have, or /proc can't be understood.
    pub fn wishes(&self, root: &Root, plan: &Plan) -> Result<Wishes, ApplyError> {
        let pid = self.process.pid;
        let masks = &plan.threads;
        let tasks = if masks.emulator.is_some() || masks.vhost.is_some() {
            process::tasks(root, pid)?
        } else {
            Vec::new()
        };
        // All of /proc is looked through for them, so only where they are to be set.
        let kernel = if masks.vhost.is_some() {
            process::vhost_kernel_threads(root, pid)?
        } else {
            Vec::new()
        };
        let mut found = wishes(
            plan,
            &Found {
                process: self.process,
                vcpus: &self.vcpus,
                iothreads: self.iothreads.as_deref(),
                tasks: &tasks,
                vhost_kernel_threads: &kernel,
            },
        )?;
        found.notes.splice(0..0, self.notes.iter().cloned());
        Ok(found)
    }
}

/// The process whose threads a guest's are.
///
/// On this machine it is the peer of the socket, as the kernel tells it, and for a Proxmox VE guest also the one that its pid
/// file names. In a captured root the pid file alone decides (the socket is served by the mock); for a guest without a VMID
/// it is there the process that has the first vCPU's thread.
///
/// `peer` is absent where QMP was not asked: then the pid file decides.
///
/// # Errors
/// There is no such process, or two are named.
fn owner_of_guest(
    root: &Root,
    vmid: Option<Vmid>,
    peer: Option<Pid>,
    first_vcpu: Option<Tid>,
) -> Result<Process, ApplyError> {
    if let Some(vmid) = vmid {
        let found = guest_process(root, vmid)?.ok_or_else(|| ApplyError::NotRunning {
            looked: format!("{}/qemu-server/{vmid}.pid", root.run().display()),
        })?;
        return match peer {
            Some(peer) if root.is_live() && peer != found.pid => Err(ApplyError::ForeignPeer {
                peer,
                pid: found.pid,
            }),
            _ => Ok(found),
        };
    }
    let pid = if root.is_live() {
        peer.ok_or(ApplyError::NoOwner(
            "the kernel does not tell which process serves the qmp socket (is it in another pid namespace?)",
        ))?
    } else {
        let tid = first_vcpu.ok_or(ApplyError::NoOwner("no thread of the guest is known"))?;
        owner(root, tid)?.ok_or_else(|| ApplyError::NotRunning {
            looked: format!("thread {tid} below {}", root.proc().display()),
        })?
    };
    process(root, pid)?.ok_or_else(|| ApplyError::NotRunning {
        looked: format!("process {pid}"),
    })
}
