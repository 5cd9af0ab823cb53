//! Reading what runs again and again, as watch does: at a fraction of the cost of a first reading.
//!
//! A mask is a file of some 60 lines that the kernel makes anew for each reader; asking for the affinity of a thread is one
//! system call. So a thread's file is read again only when that answer has changed. Where guests come or go, everything is read.

use std::collections::{BTreeMap, BTreeSet};

use super::{Live, LiveGuest, LiveThread, read};
use crate::apply::{Affinity, Sign};
use crate::id::{Pid, Vmid};
use crate::process::Look;
use crate::root::{FileError, Reader, Root};
use crate::sorted;
use crate::thread::Thread;

/// What was read last time.
#[derive(Debug, Default)]
pub struct Again {
    pid_files: Option<BTreeMap<Pid, Vmid>>,
    /// Processes that pid files name and that were not there: leftovers, or guests that are just starting.
    absent: BTreeSet<Pid>,
    guests: Vec<LiveGuest>,
    threads: BTreeMap<Thread, Known>,
}

#[derive(Debug)]
struct Known {
    thread: LiveThread,
    sign: Option<Sign>,
    /// Whether name, mask and sign were twice the same: a thread gets its name a moment after it was made, and its mask can
    /// change between file and sign.
    settled: bool,
}

impl Again {
    /// Whether guests of Proxmox VE came or went since the last reading, as their pid files tell; nothing else is read.
    ///
    /// # Errors
    /// `/run/qemu-server` is there and can't be listed.
    pub fn has_come_or_gone(&self, root: &Root) -> Result<bool, FileError> {
        let pid_files = read::pid_files(root, &mut Vec::new())?;
        Ok(self.differs(root, &pid_files))
    }

    /// Reads what runs. With `all` every process is looked at, as [`read()`](super::read()) does; without, other QEMUs than those
    /// of Proxmox VE are found only when they were known before, and containers and what is malformed are not told.
    ///
    /// # Errors
    /// As [`read()`](super::read()).
    pub fn read(
        &mut self,
        look: Look<'_>,
        affinity: &dyn Affinity,
        all: bool,
    ) -> Result<Live, FileError> {
        let root = look.root();
        let pid_files = read::pid_files(root, &mut Vec::new())?;
        if all || self.differs(root, &pid_files) {
            let live = super::look(look, None)?;
            self.guests.clone_from(&live.guests);
            let named = pid_files.keys().copied();
            self.absent = sorted::set(named.filter(|pid| !is_there(root, *pid)));
            self.pid_files = Some(pid_files);
            self.remember(affinity);
            return Ok(live);
        }
        let mut live = Live::default();
        let mut proc = Reader::below(root.proc());
        for guest in &mut self.guests {
            let mut threads = Vec::with_capacity(guest.threads.len());
            let mut tasks = None;
            for tid in read::tids(&mut proc, guest.pid, &mut live.warnings) {
                let thread = Thread {
                    pid: guest.pid,
                    tid,
                };
                let known = self.threads.get(&thread).filter(|known| known.settled);
                match known {
                    Some(known) if known.sign.is_some() && affinity.sign(thread) == known.sign => {
                        threads.push(known.thread.clone());
                    }
                    _ => {
                        let tasks = tasks.get_or_insert_with(|| read::tasks(root, guest.pid));
                        match read::thread(tasks, look, guest.pid, tid) {
                            Ok(thread) => threads.extend(thread),
                            Err(warning) => live.warnings.push(warning),
                        }
                    }
                }
            }
            guest.threads = threads;
        }
        let gone = self.guests.iter().filter(|guest| guest.threads.is_empty());
        let gone = gone.map(|guest| guest.pid);
        self.absent
            .extend(gone.filter(|pid| pid_files.contains_key(pid)));
        self.guests.retain(|guest| !guest.threads.is_empty());
        self.remember(affinity);
        live.guests.clone_from(&self.guests);
        Ok(live)
    }

    fn differs(&self, root: &Root, pid_files: &BTreeMap<Pid, Vmid>) -> bool {
        self.pid_files.as_ref() != Some(pid_files)
            || self.absent.iter().any(|pid| is_there(root, *pid))
    }

    fn remember(&mut self, affinity: &dyn Affinity) {
        let mut threads = BTreeMap::new();
        for guest in &self.guests {
            for thread in &guest.threads {
                let id = Thread {
                    pid: guest.pid,
                    tid: thread.tid,
                };
                let before = self.threads.remove(&id);
                let same = before.filter(|known| known.thread == *thread);
                let known = match same {
                    Some(known) if known.settled => known,
                    same => {
                        let sign = affinity.sign(id);
                        Known {
                            thread: thread.clone(),
                            settled: sign.is_some() && same.is_some_and(|known| known.sign == sign),
                            sign,
                        }
                    }
                };
                threads.insert(id, known);
            }
        }
        self.threads = threads;
    }
}

fn is_there(root: &Root, pid: Pid) -> bool {
    root.proc().join(pid.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::apply::AffinityError;
    use crate::claims::live::tests::Tree;
    use crate::idset::CpuSet;

    /// The affinity that the files show, and how often it was asked for.
    struct Counted<'a> {
        tree: &'a Tree,
        asked: Cell<usize>,
    }

    impl Affinity for Counted<'_> {
        fn set(&self, _: Thread, _: &CpuSet) -> Result<(), AffinityError> {
            Err(AffinityError::Denied)
        }

        fn is_there(&self, _: Thread) -> bool {
            true
        }

        fn get(&self, thread: Thread) -> Result<CpuSet, AffinityError> {
            self.asked.set(self.asked.get() + 1);
            let file = format!("proc/{}/task/{}/status", thread.pid, thread.tid);
            let text = std::fs::read_to_string(self.tree.path(&file));
            let text = text.map_err(|_| AffinityError::Gone)?;
            let (_, list) = text.rsplit_once(':').unwrap();
            Ok(list.parse().unwrap())
        }
    }

    fn masks(live: &Live) -> Vec<String> {
        let guests = live.guests.iter();
        let mask = |guest: &LiveGuest| {
            let masks = guest.threads.iter().map(|thread| &thread.mask);
            let masks: Vec<String> = masks.map(ToString::to_string).collect();
            format!("{}: {}", guest.name, masks.join(" "))
        };
        guests.map(mask).collect()
    }

    #[test]
    fn what_has_changed_is_seen_and_the_rest_is_not_read_again() {
        let mut tree = Tree::new().proxmox(100, 4000, &[("CPU 0/KVM", "2"), ("CPU 1/KVM", "3")]);
        let mut again = Again::default();
        let mut look = |tree: &Tree, all| {
            let affinity = Counted {
                tree,
                asked: Cell::new(0),
            };
            masks(
                &again
                    .read(Look::files(&tree.root()), &affinity, all)
                    .unwrap(),
            )
        };
        for all in [false, false, true, false] {
            assert_eq!(look(&tree, all), ["100: 2 3"]);
        }
        let status =
            |comm: &str, mask: &str| format!("Name:\t{comm}\nCpus_allowed_list:\t{mask}\n");
        tree = tree.file("proc/4000/task/4000/status", &status("CPU 0/KVM", "5"));
        tree = tree.file("proc/4000/task/4002/status", &status("CPU 2/KVM", "0-7"));
        assert_eq!(
            look(&tree, false),
            ["100: 5 3 0-7"],
            "one changed, one was plugged"
        );
        std::fs::remove_dir_all(tree.path("proc/4000/task/4001")).unwrap();
        assert_eq!(look(&tree, false), ["100: 5 0-7"], "one was unplugged");
        tree = tree.proxmox(101, 5000, &[("CPU 0/KVM", "6")]);
        assert_eq!(
            look(&tree, false),
            ["100: 5 0-7", "101: 6"],
            "a guest started"
        );
        std::fs::remove_dir_all(tree.path("proc/4000")).unwrap();
        assert_eq!(look(&tree, false), ["101: 6"], "a guest stopped");
        // Its pid file is still there.
        tree = tree.proxmox(100, 4000, &[("CPU 0/KVM", "7")]);
        assert_eq!(
            look(&tree, false),
            ["100: 7", "101: 6"],
            "it is there again"
        );
    }

    #[test]
    fn a_settled_thread_costs_one_question() {
        let tree = Tree::new().proxmox(100, 4000, &[("CPU 0/KVM", "2"), ("kvm", "0-7")]);
        let mut again = Again::default();
        let affinity = Counted {
            tree: &tree,
            asked: Cell::new(0),
        };
        for _ in 0..2 {
            again
                .read(Look::files(&tree.root()), &affinity, false)
                .unwrap();
        }
        let before = affinity.asked.get();
        again
            .read(Look::files(&tree.root()), &affinity, false)
            .unwrap();
        assert_eq!(affinity.asked.get() - before, 2);
        // A name that changes alone is not seen, as its file is not read; it is when all is read.
        let renamed = "Name:\tkvm\nCpus_allowed_list:\t2\n";
        let tree = tree.file("proc/4000/task/4000/status", renamed);
        let affinity = Counted {
            tree: &tree,
            asked: Cell::new(0),
        };
        let mut name = |all| {
            let live = again
                .read(Look::files(&tree.root()), &affinity, all)
                .unwrap();
            live.guests[0].threads[0].comm.clone()
        };
        assert_eq!([name(false), name(true)], ["CPU 0/KVM", "kvm"]);
    }
}
