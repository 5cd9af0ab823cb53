//! Steps of a captured machine: every effect below it counts as one, and a test has the program stop, or be refused, at the
//! n-th.
//!
//! ```text
//! DIR/numapin-step           a line "7 stop": wait at the 7th step, until killed; "7 28": the 7th step fails with errno 28;
//!                            "7 pass": it is taken, and only told
//! DIR/numapin-step.reached   a line for each of them: what the step would have done
//! ```
//! So each point at which the program can be killed, and each thing the system can refuse, is reached one by one, with the
//! real program and a real SIGKILL. Only a [`CapturedRoot`](crate::root::CapturedRoot) has steps: on this machine there is
//! nothing that counts, and no file is looked for.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use crate::sorted;

/// The steps of one captured machine, in this process. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Steps(Option<Arc<Machine>>);

#[derive(Debug)]
struct Machine {
    dir: PathBuf,
    /// Read at the first step: a command that changes nothing reads nothing for it.
    plan: OnceLock<Option<Plan>>,
}

#[derive(Debug)]
struct Plan {
    reached: PathBuf,
    at: BTreeMap<u64, Then>,
    taken: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Pass,
    Stop,
    Refuse(i32),
}

impl Steps {
    /// Those that the file in a captured root's directory asks for; without it, or where it asks for nothing that is known,
    /// all steps are taken.
    #[must_use]
    pub fn below(dir: &Path) -> Self {
        Self(Some(Arc::new(Machine {
            dir: dir.to_owned(),
            plan: OnceLock::new(),
        })))
    }

    /// Right before an effect: `what` says which.
    ///
    /// # Errors
    /// The test wants it refused.
    pub fn step(&self, what: fmt::Arguments<'_>) -> io::Result<()> {
        let Some(plan) = self.plan() else {
            return Ok(());
        };
        let number = plan.taken.fetch_add(1, Ordering::Relaxed) + 1;
        let Some(then) = plan.at.get(&number) else {
            return Ok(());
        };
        let mut reached = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&plan.reached)?;
        reached.write_all(format!("{what}\n").as_bytes())?;
        match *then {
            Then::Pass => Ok(()),
            Then::Refuse(errno) => Err(io::Error::from_raw_os_error(errno)),
            Then::Stop => loop {
                thread::park();
            },
        }
    }

    fn plan(&self) -> Option<&Plan> {
        let machine = self.0.as_ref()?;
        let plan = machine.plan.get_or_init(|| Plan::below(&machine.dir));
        plan.as_ref()
    }
}

impl Plan {
    fn below(dir: &Path) -> Option<Self> {
        let asked = fs::read_to_string(dir.join("numapin-step"));
        let at: BTreeMap<u64, Then> =
            sorted::map(asked.iter().flat_map(|text| text.lines()).filter_map(parse));
        (!at.is_empty()).then(|| Self {
            reached: dir.join("numapin-step.reached"),
            at,
            taken: AtomicU64::new(0),
        })
    }
}

fn parse(line: &str) -> Option<(u64, Then)> {
    let (at, then) = line.split_once(' ')?;
    let then = match then {
        "pass" => Then::Pass,
        "stop" => Then::Stop,
        errno => Then::Refuse(errno.parse().ok()?),
    };
    Some((at.parse().ok()?, then))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    #[test]
    fn the_nth_step_is_refused_and_said() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("numapin-step"), "2 28\n3 pass\n4 5\n").unwrap();
        let root = Root::captured(dir.path()).unwrap();
        let step = |n: u32| root.clone().step(format_args!("step {n}"));
        assert!(step(1).is_ok());
        assert_eq!(step(2).unwrap_err().raw_os_error(), Some(28));
        assert!(step(3).is_ok());
        assert_eq!(step(4).unwrap_err().raw_os_error(), Some(5));
        let reached = fs::read_to_string(dir.path().join("numapin-step.reached")).unwrap();
        assert_eq!(reached, "step 2\nstep 3\nstep 4\n");
    }

    #[test]
    fn a_captured_root_without_the_file_has_no_steps() {
        let dir = tempfile::tempdir().unwrap();
        for text in [None, Some(""), Some("x stop"), Some("1"), Some("1 halt")] {
            let file = dir.path().join("numapin-step");
            text.map_or(Ok(()), |text| fs::write(&file, text)).unwrap();
            assert!(Steps::below(dir.path()).plan().is_none(), "{text:?}");
        }
        assert_eq!(parse("3 stop"), Some((3, Then::Stop)));
    }
}
