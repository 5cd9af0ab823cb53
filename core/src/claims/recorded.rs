//! Masks that are set and put back with their record: whatever kills the program in between, the next one finishes or undoes.
//!
//! ```text
//! set       prepare ─► ledger: masks found, what is wanted ─► set ─► read back
//! put back  ledger: held ─► the masks found, last of all
//! ```
//! The record goes first each time: a mask that was recorded and not set is put back to what it is anyway, one that was set and
//! not recorded could never be put back.

use super::ledger::{self, Entry, EntryState, LedgerError};
use super::lock::Lock;
use crate::apply::{ApplyError, Scene, Transaction};
use crate::process::Process;
use crate::report::Report;

/// Why masks were not set or not put back.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// The masks, or their threads.
    #[error(transparent)]
    Apply(Box<ApplyError>),
    /// The ledger; then no mask was touched.
    #[error("{0}; no mask was touched")]
    Ledger(#[from] LedgerError),
    /// The entry is of a guest that has no process yet.
    #[error("guest {guest} has no process yet: its masks can't be set")]
    NoProcess {
        /// Which guest.
        guest: crate::guest::GuestName,
    },
}

/// Sets masks of the entry's guest as one transaction, recorded before the first is set. The entry counts as applied from then
/// on, and its memory as taken.
///
/// # Errors
/// A mask could not be set and all were put back: the ledger is as it was before, too, unless something could not be put back.
pub fn set(
    scene: Scene<'_>,
    lock: &Lock,
    entry: &mut Entry,
    transaction: Transaction,
) -> Result<Report, RecordedError> {
    let before = entry.clone();
    entry.remember(&transaction.targets());
    entry.state = EntryState::Applied;
    entry.promised_kib.clear();
    let existed = match ledger::write(lock, entry) {
        Ok(existed) => existed,
        Err(e) => {
            *entry = before;
            return Err(e.into());
        }
    };
    match transaction.run(scene) {
        Ok(report) => Ok(report),
        Err(e) => {
            if matches!(&e, ApplyError::NotSet { undone, .. } if undone.left.is_empty()) {
                *entry = before;
                // The masks are as they were; a record too many is harmless, so nothing hides why they were not set.
                let _ = match existed {
                    true => ledger::write(lock, entry).map(drop),
                    false => ledger::remove(lock, entry).map(drop),
                };
            }
            Err(e.into())
        }
    }
}

/// Puts back the masks that were found before the first set, and has the guest left alone from then on.
///
/// # Errors
/// A mask could not be put back; the others were. The entry stays, so that it can be tried again.
pub fn put_back(scene: Scene<'_>, lock: &Lock, entry: &mut Entry) -> Result<Report, RecordedError> {
    let process = process_of(entry)?;
    let tasks = scene.look().tasks(process.pid).map_err(ApplyError::from)?;
    let back = entry.way_back(&tasks);
    let undo = Transaction::undo(scene, &entry.guest, process, &back, &tasks)?;
    entry.state = EntryState::Held;
    ledger::write(lock, entry)?;
    Ok(undo.run(scene)?)
}

impl From<ApplyError> for RecordedError {
    fn from(e: ApplyError) -> Self {
        Self::Apply(Box::new(e))
    }
}

fn process_of(entry: &Entry) -> Result<Process, RecordedError> {
    entry.process.ok_or_else(|| RecordedError::NoProcess {
        guest: entry.guest.clone(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;
    use crate::apply::{Affinity, AffinityError, Seen, Wishes, affinity};
    use crate::claims::ledger::tests::{entry, machine};
    use crate::host::{Cpu, Host};
    use crate::id::{CoreId, CpuId, Pid, Tid, VcpuId, Vmid};
    use crate::idset::CpuSet;
    use crate::process;
    use crate::root::Root;
    use crate::thread::{Thread, ThreadKind, Wish};

    struct Scenery {
        dir: TempDir,
        root: Root,
        host: Host,
        affinity: Box<dyn Affinity>,
    }

    fn scenery() -> Scenery {
        let (dir, root) = machine();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("sys/devices/system/cpu/online", "0-7\n");
        let stat = |tid: i32| format!("{tid} (kvm) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 77 0");
        put("proc/4000/stat", &stat(4000));
        for (tid, comm) in [(4000, "kvm"), (4001, "CPU 0/KVM"), (4002, "CPU 1/KVM")] {
            put(&format!("proc/4000/task/{tid}/stat"), &stat(tid));
            put(&format!("proc/4000/task/{tid}/comm"), comm);
            let status = "Cpus_allowed:\tff\nCpus_allowed_list:\t0-7\n";
            put(&format!("proc/4000/task/{tid}/status"), status);
        }
        let cpu = |id| Cpu {
            id: CpuId(id),
            node: None,
            package: None,
            die: None,
            core: CoreId(id),
            l3: None,
            kind: None,
        };
        Scenery {
            host: Host {
                cpus: (0..8).map(cpu).collect(),
                ..Host::default()
            },
            affinity: affinity(&root),
            dir,
            root,
        }
    }

    impl Scenery {
        fn scene(&self) -> Scene<'_> {
            Scene {
                root: &self.root,
                affinity: &*self.affinity,
                host: &self.host,
            }
        }

        fn lock(&self) -> Lock {
            Lock::acquire(&self.root, "numapin test", Duration::ZERO).unwrap()
        }

        fn masks(&self) -> String {
            let mask = |tid: i32| {
                let task = process::task(&self.root, Pid(4000), Tid(tid)).unwrap();
                task.unwrap().mask.to_string()
            };
            [4001, 4002].map(mask).join(" ")
        }

        fn kept(&self) -> Option<Entry> {
            ledger::read(&self.root).unwrap().of(Vmid(100)).cloned()
        }
    }

    fn prepared(scene: Scene<'_>) -> Transaction {
        let entry = running();
        let process = entry.process.unwrap();
        Transaction::prepare(scene, &entry.guest, process, wishes(), Seen::Before(&[])).unwrap()
    }

    fn wishes() -> Wishes {
        let wish = |n: u32, tid: i32| Wish {
            kind: ThreadKind::Vcpu { vcpu: VcpuId(n) },
            thread: Thread {
                pid: Pid(4000),
                tid: Tid(tid),
            },
            cpus: [CpuId(n + 2)].into_iter().collect(),
        };
        Wishes {
            list: vec![wish(0, 4001), wish(1, 4002)],
            notes: Vec::new(),
        }
    }

    fn running() -> Entry {
        entry(
            100,
            Some(Process {
                pid: Pid(4000),
                start_time: 77,
            }),
        )
    }

    #[test]
    fn masks_are_set_and_put_back_with_their_record() {
        let scenery = scenery();
        let lock = scenery.lock();
        let mut entry = running();
        let transaction = prepared(scenery.scene());
        set(scenery.scene(), &lock, &mut entry, transaction).unwrap();
        assert_eq!(scenery.masks(), "2 3");
        let kept = scenery.kept().unwrap();
        assert_eq!((&kept, kept.state), (&entry, EntryState::Applied));
        assert!(kept.found.iter().all(|target| target.unpinned) && kept.promised_kib.is_empty());
        put_back(scenery.scene(), &lock, &mut entry).unwrap();
        assert_eq!(scenery.masks(), "0-7 0-7");
        assert_eq!(scenery.kept().unwrap().state, EntryState::Held);
    }

    /// The kernel, for as many calls as are left; then it refuses, or the program is killed.
    struct Ends<'a> {
        kernel: &'a dyn Affinity,
        left: std::cell::Cell<u32>,
        killed: bool,
    }

    impl Affinity for Ends<'_> {
        fn set(&self, thread: Thread, cpus: &CpuSet) -> Result<(), AffinityError> {
            if self.left.get() == 0 {
                assert!(!self.killed, "killed");
                return Err(AffinityError::NothingUsable);
            }
            self.left
                .set(self.left.get() - u32::from(self.killed || self.left.get() == 1));
            self.kernel.set(thread, cpus)
        }

        fn is_there(&self, thread: Thread) -> bool {
            self.kernel.is_there(thread)
        }

        fn get(&self, thread: Thread) -> Result<CpuSet, AffinityError> {
            self.kernel.get(thread)
        }
    }

    #[test]
    fn killed_at_any_point_the_way_back_is_known() {
        for calls in 0..=2 {
            let scenery = scenery();
            let ends = Ends {
                kernel: &*scenery.affinity,
                left: calls.into(),
                killed: true,
            };
            let scene = Scene {
                affinity: &ends,
                ..scenery.scene()
            };
            let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                set(scene, &scenery.lock(), &mut running(), prepared(scene)).map(drop)
            }));
            assert_eq!(killed.is_err(), calls < 2);
            let mut kept = scenery.kept().unwrap();
            assert_eq!(kept.found.len(), 2, "after {calls} calls");
            put_back(scenery.scene(), &scenery.lock(), &mut kept).unwrap();
            assert_eq!(scenery.masks(), "0-7 0-7", "after {calls} calls");
        }
    }

    #[test]
    fn what_could_not_be_set_leaves_no_record() {
        let scenery = scenery();
        let refuses = Ends {
            kernel: &*scenery.affinity,
            left: 0.into(),
            killed: false,
        };
        let scene = Scene {
            affinity: &refuses,
            ..scenery.scene()
        };
        let lock = scenery.lock();
        let mut entry = running();
        let refused = set(scene, &lock, &mut entry, prepared(scene)).unwrap_err();
        assert!(
            refused.to_string().contains("could not be set"),
            "{refused}"
        );
        assert_eq!((entry, scenery.kept()), (running(), None));
        assert_eq!(scenery.masks(), "0-7 0-7");
        assert!(scenery.dir.path().join("run/numapin/lock").is_file());
    }
}
