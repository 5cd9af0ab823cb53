//! Steps of a captured machine: every effect below it counts as one, and a test has the program stop, or be refused, at the
//! n-th.
//!
//! ```text
//! DIR/numapin-step           "7 stop": wait at the 7th step, until killed; "7 28": the 7th step fails with errno 28
//! DIR/numapin-step.reached   written then: what the step would have done
//! ```
//! So each point at which the program can be killed, and each thing the system can refuse, is reached one by one, with the
//! real program and a real SIGKILL. Only a [`CapturedRoot`](crate::root::CapturedRoot) has steps: on this machine there is
//! nothing that counts, and no file is looked for.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// The steps of one captured machine, in this process. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Steps(Option<Arc<Plan>>);

#[derive(Debug)]
struct Plan {
    reached: PathBuf,
    at: u64,
    then: Then,
    taken: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Stop,
    Refuse(i32),
}

impl Steps {
    /// Those that the file in a captured root's directory asks for; without it, or where it asks for nothing that is known,
    /// all steps are taken.
    #[must_use]
    pub fn below(dir: &Path) -> Self {
        let asked = fs::read_to_string(dir.join("numapin-step")).ok();
        let plan = asked.and_then(|text| parse(&text)).map(|(at, then)| Plan {
            reached: dir.join("numapin-step.reached"),
            at,
            then,
            taken: AtomicU64::new(0),
        });
        Self(plan.map(Arc::new))
    }

    /// Right before an effect: `what` says which.
    ///
    /// # Errors
    /// The test wants it refused.
    pub fn step(&self, what: fmt::Arguments<'_>) -> io::Result<()> {
        let Some(plan) = &self.0 else {
            return Ok(());
        };
        if plan.taken.fetch_add(1, Ordering::Relaxed) + 1 != plan.at {
            return Ok(());
        }
        fs::write(&plan.reached, format!("{what}\n"))?;
        match plan.then {
            Then::Refuse(errno) => Err(io::Error::from_raw_os_error(errno)),
            Then::Stop => loop {
                thread::park();
            },
        }
    }
}

fn parse(text: &str) -> Option<(u64, Then)> {
    let (at, then) = text.trim_end().split_once(' ')?;
    let then = match then {
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
        fs::write(dir.path().join("numapin-step"), "2 28\n").unwrap();
        let root = Root::captured(dir.path()).unwrap();
        let step = |n: u32| root.clone().step(format_args!("step {n}"));
        assert!(step(1).is_ok());
        assert_eq!(step(2).unwrap_err().raw_os_error(), Some(28));
        assert!(step(3).is_ok());
        let reached = fs::read_to_string(dir.path().join("numapin-step.reached")).unwrap();
        assert_eq!(reached, "step 2\n");
    }

    #[test]
    fn a_captured_root_without_the_file_has_no_steps() {
        let dir = tempfile::tempdir().unwrap();
        for text in [None, Some(""), Some("x stop"), Some("1"), Some("1 halt")] {
            let file = dir.path().join("numapin-step");
            text.map_or(Ok(()), |text| fs::write(&file, text)).unwrap();
            assert!(Steps::below(dir.path()).0.is_none(), "{text:?}");
        }
        assert_eq!(parse("3 stop\n"), Some((3, Then::Stop)));
    }
}
