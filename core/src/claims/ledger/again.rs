//! Reading the ledger again and again, as watch does: a file is read only when it was written since.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Entries, Entry, LedgerError, boot_id, entry, file, is_alive};
use crate::root::{Root, Stamp, read_names};

/// What was read last time.
#[derive(Debug, Default)]
pub struct Again {
    boot_id: Option<String>,
    files: BTreeMap<String, Known>,
    /// Whether what was told last may differ from what `files` says.
    stale: bool,
}

#[derive(Debug)]
struct Known {
    /// `None` where it is not to be trusted.
    stamp: Option<Stamp>,
    /// `None` where it can't be used: it is read again, as its problem is to be told.
    entry: Option<Entry>,
    /// Whether it counts; `None` where that can't be told.
    alive: Option<bool>,
}

impl Again {
    /// What the ledger holds, as [`read()`](super::read()) gives it; `None` where that is what it was last time.
    ///
    /// # Errors
    /// As [`read()`](super::read()).
    pub fn read(&mut self, root: &Root) -> Result<Option<Entries>, LedgerError> {
        let mut changed = std::mem::replace(&mut self.stale, true) || self.boot_id.is_none();
        let dir = file::place(root);
        let names = match file::check_directory(root, &dir)? {
            true => read_names(&dir)?.unwrap_or_default(),
            false => Vec::new(),
        };
        let owner = file::owner(root);
        let boot = self.boot_id.get_or_insert_with(|| boot_id(root));
        let mut before = std::mem::take(&mut self.files);
        let mut problems = Vec::new();
        for name in names {
            let Some(stem) = name.strip_suffix(".json") else {
                continue;
            };
            let path = dir.join(&name);
            let stamp = Stamp::of(&path);
            let mut known = match before.remove(stem) {
                Some(known) if stamp.is_some() && known.stamp == stamp && known.entry.is_some() => {
                    known
                }
                known => {
                    let entry = match entry(&path, stem, owner) {
                        Ok(None) => continue,
                        Ok(entry) => entry,
                        Err(problem) => {
                            problems.push(problem);
                            None
                        }
                    };
                    // A problem is told each time: who reads says when it is told.
                    let same = known.filter(|known| entry.is_some() && known.entry == entry);
                    changed |= same.is_none();
                    Known {
                        stamp,
                        entry,
                        alive: same.and_then(|known| known.alive),
                    }
                }
            };
            if let Some(entry) = &known.entry {
                let alive = is_alive(root, entry, boot).ok();
                changed |= alive.is_none() || alive != known.alive;
                known.alive = alive;
            }
            self.files.insert(stem.to_owned(), known);
        }
        changed |= !before.is_empty();
        let told = changed.then(|| self.entries(root, &dir, problems));
        self.stale = false;
        Ok(told)
    }

    /// Has the next reading tell what the ledger holds, whether it was written or not.
    pub fn forget(&mut self) {
        self.stale = true;
    }

    fn entries(&self, root: &Root, dir: &Path, problems: Vec<LedgerError>) -> Entries {
        let mut entries = Entries {
            problems,
            ..Entries::default()
        };
        let boot = self.boot_id.as_deref().unwrap_or_default();
        for (stem, known) in &self.files {
            let Some(entry) = &known.entry else {
                continue;
            };
            let alive = match known.alive {
                Some(alive) => Ok(alive),
                None => is_alive(root, entry, boot),
            };
            entries.add(dir.join(format!("{stem}.json")), entry.clone(), alive);
        }
        entries.sort();
        entries
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::claims::Lock;
    use crate::claims::ledger::tests::{entry as an_entry, machine};
    use crate::claims::ledger::{EntryState, remove, write};
    use crate::id::Pid;
    use crate::thread::Process;

    fn process(pid: i32) -> Option<Process> {
        Some(Process {
            pid: Pid(pid),
            start_time: 77,
        })
    }

    fn told(entries: Option<Entries>) -> String {
        let names = |entries: Vec<Entry>| {
            let names: Vec<String> = entries
                .iter()
                .map(|entry| entry.guest.to_string())
                .collect();
            names.join(" ")
        };
        match entries {
            None => "same".to_owned(),
            Some(entries) => format!(
                "{} / {} / {}",
                names(entries.alive),
                names(entries.dead),
                entries.problems.len()
            ),
        }
    }

    #[test]
    fn what_was_written_is_read_and_the_rest_is_the_same() {
        let (dir, root) = machine();
        let stat = |pid: i32| {
            let stat = format!("{pid} (kvm) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 77 0 0\n");
            let path = dir.path().join(format!("proc/{pid}/stat"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, stat).unwrap();
        };
        stat(4000);
        let mut again = Again::default();
        assert_eq!(told(again.read(&root).unwrap()), " /  / 0");
        assert_eq!(told(again.read(&root).unwrap()), "same");
        let lock = Lock::acquire(&root, "test", Duration::ZERO).unwrap();
        let mut first = an_entry(100, process(4000));
        first.boot_id = boot_id(&root);
        write(&lock, &first).unwrap();
        assert_eq!(told(again.read(&root).unwrap()), "100 /  / 0");
        assert_eq!(told(again.read(&root).unwrap()), "same");
        again.forget();
        assert_eq!(told(again.read(&root).unwrap()), "100 /  / 0");
        first.state = EntryState::Held;
        write(&lock, &first).unwrap();
        let held = again.read(&root).unwrap().unwrap();
        assert_eq!(held.alive[0].state, EntryState::Held);
        // The process ends; the file is the same.
        fs::remove_dir_all(dir.path().join("proc/4000")).unwrap();
        assert_eq!(told(again.read(&root).unwrap()), " / 100 / 0");
        assert_eq!(told(again.read(&root).unwrap()), "same");
        remove(&lock, &first).unwrap();
        assert_eq!(told(again.read(&root).unwrap()), " /  / 0");
        // A file that can't be used is told each time: who reads it says when it is told.
        fs::write(dir.path().join("run/numapin/101.json"), "{").unwrap();
        for _ in 0..2 {
            assert_eq!(told(again.read(&root).unwrap()), " /  / 1");
        }
    }
}
