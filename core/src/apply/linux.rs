//! The kernel's own affinity calls. The only unsafe code of the project.
//!
//! The system calls are made directly: the wrappers of libc, nix and rustix stop at 1,024 CPUs, the calls themselves take a
//! mask of any length (`kernel/sched/syscalls.c`).
#![allow(unsafe_code)]

use std::io;

use super::{Affinity, AffinityError, Thread};
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
    let set = |index: &usize| mask[index / WORD_BITS] >> (index % WORD_BITS) & 1 == 1;
    let all = 0..mask.len() * WORD_BITS;
    all.filter(set).map(crate::id::Id::from_index).collect()
}

fn last_error() -> AffinityError {
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ESRCH) => AffinityError::Gone,
        Some(libc::EPERM) => AffinityError::Denied,
        Some(libc::EINVAL) => AffinityError::NothingUsable,
        _ => AffinityError::System(error),
    }
}
