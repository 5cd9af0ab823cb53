//! The kernel's own affinity calls. The only unsafe code of the project.
//!
//! The system calls are made directly: the wrappers of libc, nix and rustix stop at 1,024 CPUs, the calls themselves take a
//! mask of any length (`kernel/sched/syscalls.c`).
#![allow(unsafe_code)]

use std::io;

use super::{Affinity, AffinityError, Thread};
use crate::id::{CpuId, Id};
use crate::idset::CpuSet;
use crate::root::LiveRoot;

/// Affinity of real threads.
#[derive(Debug)]
pub struct Linux(());

/// Length of the first buffer for a mask: 1,024 CPUs.
const FIRST_WORDS: usize = 1024 / WORD_BITS;

/// Where a growing buffer ends: a mask of 8 million CPUs.
const MOST_WORDS: usize = FIRST_WORDS << 13;

/// Bits of the kernel's `unsigned long`, the unit of its masks.
const WORD_BITS: usize = libc::c_ulong::BITS as usize;

impl Linux {
    /// Affinity of this machine's threads. A captured root can't get here.
    #[must_use]
    pub fn new(_: &LiveRoot) -> Self {
        Self(())
    }
}

impl Affinity for Linux {
    fn set(&self, thread: Thread, cpus: &CpuSet) -> Result<(), AffinityError> {
        must_be_another(thread)?;
        let mask = to_kernel(cpus);
        // SAFETY: `mask` outlives the call, which only reads the given number of bytes of it.
        let done = unsafe {
            libc::syscall(
                libc::SYS_sched_setaffinity,
                thread.tid.0,
                size_of_val(&*mask),
                mask.as_ptr(),
            )
        };
        if done < 0 { Err(last_error()) } else { Ok(()) }
    }

    fn get(&self, thread: Thread) -> Result<CpuSet, AffinityError> {
        must_be_another(thread)?;
        let mut words = FIRST_WORDS;
        loop {
            let mut mask: Vec<libc::c_ulong> = vec![0; words];
            // SAFETY: `mask` outlives the call, which writes at most the given number of bytes to it.
            let done = unsafe {
                libc::syscall(
                    libc::SYS_sched_getaffinity,
                    thread.tid.0,
                    size_of_val(&*mask),
                    mask.as_mut_ptr(),
                )
            };
            if done >= 0 {
                return Ok(from_kernel(&mask));
            }
            // EINVAL: the kernel's masks are longer than the buffer.
            match last_error() {
                AffinityError::NothingUsable if words < MOST_WORDS => words *= 2,
                AffinityError::NothingUsable => {
                    return Err(io::Error::from_raw_os_error(libc::EINVAL).into());
                }
                error => return Err(error),
            }
        }
    }

    /// The null signal (kill(2)) is sent to nobody: it only tells whether the thread is one of the process
    /// (`do_send_specific` of `kernel/signal.c`). That it may not be sent a signal says that it is there.
    fn is_there(&self, thread: Thread) -> bool {
        let Thread { pid, tid } = thread;
        if pid.0 <= 0 || tid.0 <= 0 {
            return false;
        }
        // SAFETY: the call takes no pointer, and signal 0 has no effect.
        let done = unsafe { libc::syscall(libc::SYS_tgkill, pid.0, tid.0, 0) };
        done == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
    }
}

/// To the calls, thread 0 is the caller itself, which is never meant.
fn must_be_another(thread: Thread) -> Result<(), AffinityError> {
    if thread.tid.0 > 0 {
        Ok(())
    } else {
        Err(AffinityError::Gone)
    }
}

/// The words of a mask as the kernel has them; at least one, so that an empty mask is one without CPUs.
fn to_kernel(cpus: &CpuSet) -> Vec<libc::c_ulong> {
    let mut mask = vec![
        0;
        cpus.last()
            .map_or(1, |last| last.0 as usize / WORD_BITS + 1)
    ];
    for cpu in cpus.iter() {
        mask[cpu.0 as usize / WORD_BITS] |= 1 << (cpu.0 as usize % WORD_BITS);
    }
    mask
}

fn from_kernel(mask: &[libc::c_ulong]) -> CpuSet {
    let mut cpus = CpuSet::new();
    for (at, word) in mask.iter().enumerate() {
        let mut left = *word;
        while left != 0 {
            let bit = left.trailing_zeros() as usize;
            cpus.insert(CpuId::from_index(at * WORD_BITS + bit));
            left &= left - 1;
        }
    }
    cpus
}

fn last_error() -> AffinityError {
    AffinityError::of(io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::Parked;
    use crate::id::{Pid, Tid};
    use crate::process;
    use crate::root::Root;

    fn linux() -> Linux {
        match Root::live() {
            Root::Live(live) => Linux::new(&live),
            Root::Captured(_) => unreachable!(),
        }
    }

    fn one(cpu: CpuId) -> CpuSet {
        [cpu].into_iter().collect()
    }

    fn status(thread: Thread) -> CpuSet {
        process::task(&Root::live(), thread.pid, thread.tid)
            .unwrap()
            .unwrap()
            .mask
    }

    #[test]
    fn a_thread_is_pinned_to_each_of_its_cpus_and_back() {
        let (linux, parked) = (linux(), Parked::new());
        let found = linux.get(parked.thread).unwrap();
        assert!(!found.is_empty());
        for cpu in found.iter() {
            linux.set(parked.thread, &one(cpu)).unwrap();
            assert_eq!(linux.get(parked.thread).unwrap(), one(cpu));
            assert_eq!(status(parked.thread), one(cpu));
        }
        linux.set(parked.thread, &found).unwrap();
        assert_eq!(linux.get(parked.thread).unwrap(), found);
    }

    #[test]
    fn masks_of_any_length_are_taken_and_narrowed_in_silence() {
        let (linux, parked) = (linux(), Parked::new());
        let found = linux.get(parked.thread).unwrap();
        let first = found.first().unwrap();
        for beyond in [1_023, 1_024, 4_095, 70_000] {
            let mut mask = one(first);
            mask.insert(CpuId(beyond));
            linux.set(parked.thread, &mask).unwrap();
            assert_eq!(linux.get(parked.thread).unwrap(), one(first));
        }
        let mut all = CpuSet::new();
        all.insert_range(CpuId(0), CpuId(8_191));
        linux.set(parked.thread, &all).unwrap();
        assert_eq!(linux.get(parked.thread).unwrap(), found);
    }

    #[test]
    fn a_mask_of_which_nothing_can_be_used_is_refused() {
        let (linux, parked) = (linux(), Parked::new());
        let found = linux.get(parked.thread).unwrap();
        for mask in [CpuSet::new(), one(CpuId(8_000)), one(CpuId(100_000))] {
            let error = linux.set(parked.thread, &mask).unwrap_err();
            assert!(matches!(error, AffinityError::NothingUsable), "{error:?}");
        }
        assert_eq!(linux.get(parked.thread).unwrap(), found);
    }

    #[test]
    fn a_thread_that_has_ended_is_gone() {
        let (linux, mut parked) = (linux(), Parked::new());
        let found = linux.get(parked.thread).unwrap();
        parked.end();
        // The kernel takes a joined thread off the list a moment later.
        let gone = || matches!(linux.get(parked.thread), Err(AffinityError::Gone));
        let wait = || std::thread::sleep(std::time::Duration::from_millis(1));
        let tries = (0..10_000).take_while(|_| !gone()).map(|_| wait()).count();
        assert!(tries < 10_000);
        assert!(matches!(
            linux.set(parked.thread, &found),
            Err(AffinityError::Gone)
        ));
    }

    #[test]
    fn a_thread_is_there_in_its_own_process_while_it_lives() {
        let (linux, mut parked) = (linux(), Parked::new());
        let Thread { pid, tid } = parked.thread;
        assert!(linux.is_there(parked.thread));
        let there = |pid, tid| linux.is_there(Thread { pid, tid });
        // Of another process; a process that has no such thread; and the process of a thread that may not be sent signals.
        assert!(!there(Pid(1), tid) && !there(pid, Tid(1)) && there(Pid(1), Tid(1)));
        assert!(!there(Pid(0), tid) && !there(Pid(-1), tid) && !there(pid, Tid(0)));
        parked.end();
        let wait = || std::thread::sleep(std::time::Duration::from_millis(1));
        let there = || linux.is_there(parked.thread);
        let tries = (0..10_000).take_while(|_| there()).map(|_| wait()).count();
        assert!(tries < 10_000);
    }

    #[test]
    fn thread_0_is_never_the_caller() {
        let linux = linux();
        for tid in [0, -1] {
            let thread = Thread {
                pid: Pid(0),
                tid: Tid(tid),
            };
            assert!(matches!(linux.get(thread), Err(AffinityError::Gone)));
            assert!(matches!(
                linux.set(thread, &one(CpuId(0))),
                Err(AffinityError::Gone)
            ));
        }
    }

    #[test]
    fn words_of_the_kernel_and_sets_are_the_same() {
        for list in ["", "0", "63-64", "0,127,1024,5000-5003"] {
            let set: CpuSet = list.parse().unwrap();
            assert_eq!(from_kernel(&to_kernel(&set)), set);
        }
        assert_eq!(to_kernel(&CpuSet::new()), [0]);
    }
}
