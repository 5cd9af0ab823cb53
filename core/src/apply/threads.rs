//! The threads of a running guest, and whose process they must belong to.

use super::wishes::{Found, wishes};
use super::{ApplyError, Wishes};
use crate::id::{Pid, Tid, Vmid};
use crate::placement::Plan;
use crate::process::{self, Process, Task, guest_process, owner, process};
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

    /// What a plan wants of these threads, of the process's other tasks, and of its vhost workers that are kernel threads.
    ///
    /// # Errors
    /// vCPUs share a thread, or QEMU has a vCPU that the plan does not have.
    pub fn wishes(
        &self,
        plan: &Plan,
        tasks: &[Task],
        kernel: &[Task],
    ) -> Result<Wishes, ApplyError> {
        let mut found = wishes(
            &plan.vcpus,
            &plan.threads,
            &Found {
                process: self.process,
                vcpus: &self.vcpus,
                iothreads: self.iothreads.as_deref(),
                tasks,
                vhost_kernel_threads: kernel,
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
        return must_be_peer(found, peer.filter(|_| root.is_live()));
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

fn must_be_peer(found: Process, peer: Option<Pid>) -> Result<Process, ApplyError> {
    match peer {
        Some(peer) if peer != found.pid => Err(ApplyError::ForeignPeer {
            peer,
            pid: found.pid,
        }),
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::apply::testing::{Machine, PID, process, stat, write};
    use crate::id::VcpuId;
    use crate::qmp::{Place, QmpErrorKind};

    fn answer(peer: i32, tid: i32) -> Answer {
        let vcpu = Vcpu {
            index: VcpuId(0),
            tid: Tid(tid),
            node: None,
            place: Place::default(),
        };
        Answer {
            peer: Some(Pid(peer)),
            version: None,
            vcpus: vec![vcpu],
            iothreads: vec![],
            slots: None,
        }
    }

    fn busy() -> QmpError {
        QmpError {
            socket: PathBuf::from("/run/qemu-server/100.qmp"),
            waited: Duration::from_secs(5),
            kind: Box::new(QmpErrorKind::NoGreeting),
        }
    }

    #[test]
    fn in_a_captured_root_the_pid_file_decides() {
        let machine = Machine::new(1);
        // The mock serves the socket, and is no process of the captured machine.
        let threads =
            GuestThreads::from_answer(&machine.root, Some(Vmid(100)), &answer(1, 4701)).unwrap();
        assert_eq!(
            (threads.process, threads.iothreads),
            (process(), Some(vec![]))
        );
        let refused = GuestThreads::from_answer(&machine.root, Some(Vmid(101)), &answer(1, 4701))
            .unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "no process of the guest was found ({}/qemu-server/101.pid); nothing was set; is the guest running?",
                machine.root.run().display()
            )
        );
    }

    #[test]
    fn without_a_vmid_a_captured_thread_tells_its_process() {
        let machine = Machine::new(1);
        let threads = GuestThreads::from_answer(&machine.root, None, &answer(1, 4701)).unwrap();
        assert_eq!(threads.process.pid, PID);
        let refused = GuestThreads::from_answer(&machine.root, None, &answer(1, 9)).unwrap_err();
        assert_eq!(refused.word(), "not_running");
    }

    #[test]
    fn on_this_machine_the_peer_of_the_socket_decides() {
        let me = std::process::id().cast_signed();
        let threads = GuestThreads::from_answer(&Root::live(), None, &answer(me, 1)).unwrap();
        assert_eq!(threads.process.pid.0, me);
        let unknown = Answer {
            peer: None,
            ..answer(me, 1)
        };
        let refused = GuestThreads::from_answer(&Root::live(), None, &unknown).unwrap_err();
        assert_eq!(refused.word(), "no_owner");
    }

    #[test]
    fn a_peer_that_the_pid_file_does_not_name_is_refused() {
        assert_eq!(must_be_peer(process(), Some(PID)).unwrap(), process());
        assert_eq!(must_be_peer(process(), None).unwrap(), process());
        let told = must_be_peer(process(), Some(Pid(9)))
            .unwrap_err()
            .to_string();
        assert_eq!(
            told,
            "the qmp socket is served by process 9, but the guest's pid file names process 4700; nothing was set"
        );
    }

    #[test]
    fn where_qmp_is_busy_names_tell_the_vcpus() {
        let machine = Machine::new(2);
        let threads = GuestThreads::from_names(&machine.root, Vmid(100), &busy()).unwrap();
        let short: Vec<_> = threads.vcpus.iter().map(|v| (v.index.0, v.tid.0)).collect();
        assert_eq!(
            (short, threads.iothreads),
            (vec![(0, 4701), (1, 4702)], None)
        );
        assert!(threads.notes[0].to_string().starts_with(
            "qmp was busy: vcpus were told by the names of the threads (qmp socket /run/qemu-server/100.qmp: no greeting within 5.0 s"
        ));
    }

    #[test]
    fn names_that_tell_no_vcpus_are_refused() {
        let machine = Machine::new(0);
        let told = |machine: &Machine| {
            GuestThreads::from_names(&machine.root, Vmid(100), &busy()).unwrap_err()
        };
        assert!(
            told(&machine)
                .to_string()
                .starts_with("no thread of process 4700 is named like a vcpu")
        );
        machine.thread(4700, 4705, "ALL CPUs/TCG");
        assert!(
            told(&machine)
                .to_string()
                .starts_with("thread 4705 runs all vcpus")
        );
        write(&machine.path("proc/4700/stat"), &stat(4700, "kvm", 77)[..9]);
        assert_eq!(told(&machine).word(), "process");
    }
}
