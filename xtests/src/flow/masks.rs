//! What /proc says about masks: read here by a reader of its own, from a simulated root or from the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use super::Ids;

/// A thread as /proc shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The process that it is below.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// The CPUs of `Cpus_allowed_list`.
    pub mask: Ids,
}

/// Threads by their number.
pub type Masks = BTreeMap<u32, Seen>;

/// The threads of one process. Those that end meanwhile are left out.
///
/// # Errors
/// A file can't be read, or its two lines about CPUs do not say the same.
pub fn of_process(proc: &Path, pid: u32) -> io::Result<Masks> {
    let mut masks = Masks::new();
    for tid in numbers(&proc.join(pid.to_string()).join("task"))? {
        let dir = proc.join(format!("{pid}/task/{tid}"));
        let (Some(comm), Some(status)) = (text(&dir.join("comm"))?, text(&dir.join("status"))?)
        else {
            continue;
        };
        let mask = mask(&status)
            .ok_or_else(|| io::Error::other(format!("{}: {status:?}", dir.display())))?;
        let comm = comm.trim_end().to_owned();
        masks.insert(tid, Seen { pid, comm, mask });
    }
    Ok(masks)
}

/// The threads of every process.
///
/// # Errors
/// As [`of_process`].
pub fn of_all(proc: &Path) -> io::Result<Masks> {
    let mut masks = Masks::new();
    for pid in numbers(proc)? {
        masks.extend(of_process(proc, pid)?);
    }
    Ok(masks)
}

/// A list as the kernel prints it.
#[must_use]
pub fn list(text: &str) -> Option<Ids> {
    let mut ids = Ids::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        ids.extend(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?);
    }
    Some(ids)
}

/// The CPUs of a `status`, if its list and its mask agree.
fn mask(status: &str) -> Option<Ids> {
    let line = |key| status.lines().find_map(|line| line.strip_prefix(key));
    let listed = list(line("Cpus_allowed_list:")?)?;
    let mut bits = Ids::new();
    let words = line("Cpus_allowed:")?.trim().rsplit(',');
    for (at, word) in words.enumerate() {
        let word = u32::from_str_radix(word, 16).ok()?;
        let first = u32::try_from(at).ok()? * 32;
        bits.extend(
            (0..32)
                .filter(|bit| word >> bit & 1 == 1)
                .map(|bit| first + bit),
        );
    }
    (bits == listed).then_some(listed)
}

fn numbers(dir: &Path) -> io::Result<BTreeSet<u32>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if is_gone(&e) => return Ok(BTreeSet::new()),
        Err(e) => return Err(e),
    };
    let mut numbers = BTreeSet::new();
    for entry in entries {
        numbers.extend(
            entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u32>().ok()),
        );
    }
    Ok(numbers)
}

fn text(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if is_gone(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

/// ESRCH is what /proc answers for a thread that ended after its file was opened.
fn is_gone(e: &io::Error) -> bool {
    const ESRCH: i32 = 3;
    e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_and_mask_must_agree() {
        let status =
            |mask, list| format!("Name:\tx\nCpus_allowed:\t{mask}\nCpus_allowed_list:\t{list}\n");
        let agreed = mask(&status("00000001,0000000f", "0-3,32"));
        assert_eq!(agreed, Some([0, 1, 2, 3, 32].into()));
        assert_eq!(mask(&status("00000001,0000000f", "0-3,33")), None);
        assert_eq!(mask("Name:\tx\n"), None);
    }
}
