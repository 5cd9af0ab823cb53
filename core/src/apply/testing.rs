//! A captured machine for tests: 8 CPUs, a QEMU (process 4700) with its threads.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::{JoinHandle, spawn};

use tempfile::TempDir;

use super::transaction::{Scene, Seen, Transaction};
use super::{Affinity, AffinityError, Thread, Wish, Wishes, affinity};
use crate::guest::GuestName;
use crate::host::{Cpu, Host};
use crate::id::{CoreId, CpuId, Pid, Tid, VcpuId};
use crate::idset::CpuSet;
use crate::process::{Process, ThreadKind};
use crate::root::Root;

pub(super) const PID: Pid = Pid(4700);

pub(super) struct Machine {
    pub(super) dir: TempDir,
    pub(super) root: Root,
    pub(super) host: Host,
    pub(super) affinity: Box<dyn Affinity>,
}

impl Machine {
    /// The main thread 4700 and the given vCPU threads 4701, 4702, ...
    pub(super) fn new(vcpus: i32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("sys/devices/system/cpu/online"), "0-7\n");
        let root = Root::captured(dir.path()).unwrap();
        let affinity = affinity(&root);
        let cpu = |id| Cpu {
            id: CpuId(id),
            node: None,
            package: None,
            die: None,
            core: CoreId(id),
            l3: None,
            kind: None,
        };
        let host = Host {
            cpus: (0..8).map(cpu).collect(),
            ..Host::default()
        };
        let machine = Self {
            dir,
            root,
            host,
            affinity,
        };
        write(&machine.path("proc/4700/stat"), &stat(PID.0, "kvm", 77));
        write(&machine.path("run/qemu-server/100.pid"), "4700\n");
        machine.thread(4700, 4700, "kvm");
        for vcpu in 0..vcpus {
            machine.thread(4700, 4701 + vcpu, &format!("CPU {vcpu}/KVM"));
        }
        machine
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Makes a thread with the mask of an unpinned one.
    pub(super) fn thread(&self, pid: i32, tid: i32, comm: &str) {
        let dir = self.path(&format!("proc/{pid}/task/{tid}"));
        write(&dir.join("stat"), &stat(tid, comm, 77));
        write(&dir.join("comm"), &format!("{comm}\n"));
        write(
            &dir.join("status"),
            "Cpus_allowed:\tff\nCpus_allowed_list:\t0-7\n",
        );
    }

    pub(super) fn end(&self, tid: i32) {
        fs::remove_dir_all(self.path(&format!("proc/4700/task/{tid}"))).unwrap();
    }

    pub(super) fn mask(&self, tid: i32) -> String {
        self.mask_of(4700, tid)
    }

    pub(super) fn mask_of(&self, pid: i32, tid: i32) -> String {
        let status = fs::read_to_string(self.path(&format!("proc/{pid}/task/{tid}/status")));
        let status = status.unwrap();
        let mut lines = status.lines();
        let list = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:\t"));
        list.unwrap().to_owned()
    }

    /// The mask that the simulated kernel remembers.
    pub(super) fn requested(&self, tid: i32) -> String {
        let file = self.path(&format!("proc/4700/task/{tid}/requested_cpus"));
        fs::read_to_string(file).unwrap().trim().to_owned()
    }

    pub(super) fn scene(&self) -> Scene<'_> {
        Scene {
            root: &self.root,
            affinity: &*self.affinity,
            host: &self.host,
        }
    }

    pub(super) fn prepare(&self, wishes: &[(i32, &str)]) -> Result<Transaction, super::ApplyError> {
        let list = wishes
            .iter()
            .enumerate()
            .map(|(i, (tid, cpus))| Wish {
                kind: ThreadKind::Vcpu {
                    vcpu: VcpuId(u32::try_from(i).unwrap()),
                },
                thread: Thread {
                    pid: PID,
                    tid: Tid(*tid),
                },
                cpus: cpus.parse().unwrap(),
            })
            .collect();
        let wishes = Wishes {
            list,
            notes: Vec::new(),
        };
        Transaction::prepare(self.scene(), &name(), process(), wishes, Seen::Before(&[]))
    }
}

pub(super) fn process() -> Process {
    Process {
        pid: PID,
        start_time: 77,
    }
}

pub(super) fn name() -> GuestName {
    GuestName("100".to_owned())
}

pub(super) fn stat(id: i32, comm: &str, start: u32) -> String {
    format!("{id} ({comm}) S 1 1 1 0 -1 64 0 0 0 0 0 0 0 0 20 0 1 0 {start} 0")
}

pub(super) fn write(file: &Path, text: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

/// Counts what is set, and fails where it is told to.
pub(super) struct Watched<'a> {
    pub(super) inner: &'a dyn Affinity,
    pub(super) sets: RefCell<Vec<i32>>,
    pub(super) fails: &'a dyn Fn(usize, Tid) -> Option<AffinityError>,
    pub(super) gets_beyond: Cell<Option<i32>>,
}

impl<'a> Watched<'a> {
    pub(super) fn new(
        inner: &'a dyn Affinity,
        fails: &'a dyn Fn(usize, Tid) -> Option<AffinityError>,
    ) -> Self {
        Self {
            inner,
            sets: RefCell::default(),
            fails,
            gets_beyond: Cell::new(None),
        }
    }
}

impl Affinity for Watched<'_> {
    fn set(&self, thread: Thread, cpus: &CpuSet) -> Result<(), AffinityError> {
        let nth = self.sets.borrow().len();
        self.sets.borrow_mut().push(thread.tid.0);
        match (self.fails)(nth, thread.tid) {
            Some(error) => Err(error),
            None => self.inner.set(thread, cpus),
        }
    }

    fn is_there(&self, thread: Thread) -> bool {
        self.inner.is_there(thread)
    }

    fn get(&self, thread: Thread) -> Result<CpuSet, AffinityError> {
        let mut mask = self.inner.get(thread)?;
        if self.gets_beyond.get() == Some(thread.tid.0) {
            mask.insert(CpuId(7));
        }
        Ok(mask)
    }
}

/// A thread that waits until it is dropped.
pub(super) struct Parked {
    pub(super) thread: Thread,
    handle: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Parked {
    pub(super) fn new() -> Self {
        let (tell, told) = channel();
        let (stop, stopped) = channel::<()>();
        let handle = spawn(move || {
            // A link to the caller's own directory: "PID/task/TID".
            tell.send(std::fs::read_link("/proc/thread-self").unwrap())
                .unwrap();
            let _ = stopped.recv();
        });
        let link = told.recv().unwrap();
        let tid = link.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let pid = Pid(std::process::id().cast_signed());
        Self {
            thread: Thread { pid, tid: Tid(tid) },
            handle: Some((stop, handle)),
        }
    }

    pub(super) fn end(&mut self) {
        if let Some((stop, handle)) = self.handle.take() {
            drop(stop);
            handle.join().unwrap();
        }
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.end();
    }
}
