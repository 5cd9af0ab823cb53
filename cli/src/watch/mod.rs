//! `numapin watch`: keeps every guest that has a policy pinned.
//!
//! ```text
//! loop (timers, signals, systemd) ─► round(now) ─┬─ eyes   what runs, what was planned, which CPUs are online; what changed
//!                                                ├─ keep   guests that were pinned: reconcile ─► lock ─► set
//!                                                ├─ place  guests that started: config ─► QMP ─► lock ─► plan ─► set
//!                                                └─ say    each thing once, with its priority
//! ```
//! Level-triggered: a round looks at what is, whatever came before. What a restart must not forget stands in the ledger: a guest
//! with an entry is kept, one without that runs already when the watch meets the node is only reported. Time is handed in, so
//! that a test can have hours pass; only the loop has a clock.

mod ask;
mod eyes;
mod journal;
mod keep;
mod known;
mod looping;
mod notify;
mod place;
mod say;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use numapin_core::claims::{LockError, WatchLock};
use numapin_core::id::Pid;
use numapin_core::reconcile::pace::{Due, Pace, Settling};
use numapin_core::root::Root;

pub(crate) use looping::serve;

use crate::fault::Fault;
use crate::load::{Configs, Node};
use eyes::Eyes;
use known::{Known, Standing};
use say::Say;

/// How a node is watched.
#[derive(Debug, Clone)]
pub struct Options {
    /// Plan and pin guests, too, that run already when the watch begins and were never placed.
    pub adopt: bool,
    /// Tell what would be done, and change nothing.
    pub dry_run: bool,
    /// How long QMP may take altogether.
    pub deadline: Duration,
}

/// Something that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How much it matters.
    pub priority: Priority,
    /// What there is to say, on one line.
    pub text: String,
}

/// How much a line matters, as syslog(3) numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Something could not be done.
    Error = 3,
    /// Somebody should look at it.
    Warning = 4,
    /// Something was done.
    Notice = 5,
    /// Good to know.
    Info = 6,
}

/// Why a node can't be watched.
#[derive(Debug)]
pub struct WatchError(Fault);

/// The watch of a node. What it does, it does in rounds.
pub struct Watch {
    node: Node,
    options: Options,
    /// That no other watch runs; a dry run needs no such thing.
    _only: Option<WatchLock>,
    eyes: Eyes,
    pace: Pace,
    settling: Settling,
    say: Say,
    /// The QEMU processes that were seen last.
    guests: BTreeMap<Pid, Known>,
    /// Whether everything is to be looked at in the next round, whatever has changed.
    again: bool,
    status: String,
}

/// What others are told who wait for the lock.
const COMMAND: &str = "numapin watch";

/// How long the node's lock is waited for: who holds it longer is met again in the next round.
const LOCK: Duration = Duration::from_millis(100);

impl Default for Options {
    fn default() -> Self {
        Self {
            adopt: false,
            dry_run: false,
            deadline: Duration::from_secs(5),
        }
    }
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for WatchError {}

impl From<WatchError> for Fault {
    fn from(error: WatchError) -> Self {
        error.0
    }
}

impl Watch {
    /// Begins to watch a node: guests that run from now on are new.
    ///
    /// # Errors
    /// Another watch runs there, or the node can't be read.
    pub fn new(root: Root, options: Options) -> Result<Self, WatchError> {
        Self::begin(root, options).map_err(WatchError)
    }

    fn begin(root: Root, options: Options) -> Result<Self, Fault> {
        let only = match options.dry_run {
            true => None,
            false => Some(WatchLock::acquire(&root, COMMAND).map_err(only_one)?),
        };
        let mut say = Say::default();
        // A numapin.conf that can't be read now is read later; guests are planned when it can.
        let conf = eyes::conf(&root).unwrap_or(None);
        let mut warn = Vec::new();
        let configs = Configs::of(&root, conf.as_deref());
        let node = Node::with(root, configs, &mut warn)?;
        say.state(Priority::Warning, "", "node", warn);
        let mut watch = Self {
            eyes: Eyes::new(&node.root, conf),
            node,
            options,
            _only: only,
            pace: Pace::default(),
            settling: Settling::default(),
            say,
            guests: BTreeMap::new(),
            again: true,
            status: String::new(),
        };
        watch.meet(|known, adopt| match adopt {
            true => known.standing = Standing::New,
            false => known.standing = Standing::Stranger { told: false },
        });
        Ok(watch)
    }

    /// Does what is due, and gives what there is to say. `now` is the time since the watch began, by any clock that never goes
    /// back.
    ///
    /// It takes no longer than the deadline of QMP and a moment; nothing that is wrong with a guest, a file or the lock ends it.
    pub fn round(&mut self, now: Duration) -> Vec<Line> {
        let due = self.pace.due(now);
        if due.processes {
            self.say.now = now;
            match self.look(now, due) {
                Ok(changed) => {
                    self.say.state(Priority::Warning, "", "look", []);
                    if changed {
                        self.meet(|_, _| {});
                        self.keep(now);
                        self.place(now);
                        self.status = self.counted();
                    }
                }
                Err(fault) => {
                    self.again = true;
                    let line = format!("{}; the round is skipped", fault.message);
                    self.say.state(Priority::Error, "", "look", [line]);
                }
            }
        }
        self.say.take()
    }

    /// What was read, on one line, for `--verbose`.
    pub(crate) fn told(&self) -> String {
        self.node.told()
    }

    /// When the next round is due.
    #[must_use]
    pub fn next(&self) -> Duration {
        self.pace.next()
    }

    /// Has the next round read everything anew, and try again what failed.
    pub fn reload(&mut self) {
        self.pace.hurry();
        self.again = true;
        for known in self.guests.values_mut() {
            known.tries.worked();
            known.repairs.worked();
        }
    }

    /// What is watched, in one line: for `systemctl status`.
    #[must_use]
    pub fn status(&self) -> &str {
        &self.status
    }

    /// Looks at the node; whether there is something to think about.
    fn look(&mut self, now: Duration, due: Due) -> Result<bool, Fault> {
        let root = &self.node.root;
        let replaced = self.guests.values().any(|known| known.is_gone(root));
        let moved = replaced || self.eyes.has_come_or_gone(root)?;
        let waiting = self.guests.values().any(|known| known.waits(now));
        if !(self.again || moved || waiting || due.masks) {
            return Ok(false);
        }
        let everything = due.everything || replaced || self.again;
        let mut changed = self.eyes.look(&mut self.node, everything, &mut self.say)?;
        let online = self.node.host.online();
        changed |= self.settling.observe(&online, now) || self.settling.just_settled(now);
        changed |= moved || waiting || everything;
        self.again = false;
        Ok(changed)
    }

    /// Takes note of the guests that run.
    fn meet(&mut self, first: impl Fn(&mut Known, bool)) {
        let live = &self.node.live.guests;
        let say = &mut self.say;
        let root = &self.node.root;
        self.guests.retain(|pid, known| {
            let stays = live.iter().any(|guest| guest.pid == *pid) && !known.is_gone(root);
            if !stays {
                say.forget(&known.name.0);
            }
            stays
        });
        for guest in live {
            if !self.guests.contains_key(&guest.pid) {
                let Some(mut known) = Known::new(root, guest, self.say.now) else {
                    continue;
                };
                first(&mut known, self.options.adopt);
                self.guests.insert(guest.pid, known);
            }
            let known = self.guests.get_mut(&guest.pid);
            let Some(known) = known else { continue };
            known.see(guest, self.node.ledger.of_process(known.process));
        }
    }
}

fn only_one(error: LockError) -> Fault {
    Fault::system(match error {
        LockError::Held { holder, .. } => {
            format!("this node is watched already, by {holder} (expected no other watch)")
        }
        other => other.to_string(),
    })
}
