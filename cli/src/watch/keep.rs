//! Guests that were pinned: what differs from their plan is set again, and what ended is forgotten.

use numapin_core::claims::Lock;
use numapin_core::claims::ledger::{Entry, EntryState};
use numapin_core::claims::live::{LiveGuest, LiveThread};
use numapin_core::id::Pid;
use numapin_core::idset::VcpuSet;
use numapin_core::reconcile::{Outcome, Why};

use super::say::{self, Say};
use super::{COMMAND, LOCK, Priority, Standing, Watch};
use crate::flow::{self, Keeper};
use crate::load::Node;

impl Watch {
    /// Sets what differs from what is wanted.
    pub(super) fn keep(&mut self, now: std::time::Duration) {
        let settled = self.settling.settled(now);
        let claims = self.node.claims_beside(Default::default());
        let mut work: Vec<Pid> = Vec::new();
        for known in self.guests.values_mut() {
            known.unset = false;
        }
        for (entry, live) in kept(&self.node) {
            let outcome = self.eyes.outcome(&self.node, entry, live, &claims, settled);
            let name = &entry.guest.0;
            let outcome = match outcome {
                Ok(outcome) => outcome,
                Err(fault) => {
                    let line = format!("guest {name}: {}", fault.message);
                    self.say.state(Priority::Warning, name, "seen", [line]);
                    continue;
                }
            };
            self.say.state(Priority::Warning, name, "seen", []);
            tell_notes(&mut self.say, name, &outcome);
            let Some(known) = self.guests.get_mut(&live.pid) else {
                continue;
            };
            if outcome.actions.is_empty() {
                known.repairs.worked();
                self.say.state(Priority::Warning, name, "set", []);
            } else if self.options.dry_run {
                for (priority, line) in say::repaired(&entry.guest, &outcome.actions, None) {
                    self.say.state(priority, name, "would set", [line]);
                }
            } else {
                known.unset = true;
                if known.repairs.may(now) {
                    work.push(live.pid);
                }
            }
        }
        let ended = !self.node.ledger.dead.is_empty();
        if (work.is_empty() && !ended) || self.options.dry_run {
            return;
        }
        let Self {
            node,
            eyes,
            guests,
            say,
            ..
        } = self;
        let Some(mut keeper) = lock(node, say) else {
            self.again = true;
            return;
        };
        let mut claims = keeper.everybody(None);
        for pid in work {
            let Some((entry, live)) = kept(keeper.node).find(|(_, live)| live.pid == pid) else {
                continue;
            };
            let (entry, named) = (entry.clone(), named(live));
            // What was seen may be over by now: only what is seen under the lock counts.
            let outcome = eyes.outcome(keeper.node, &entry, live, &claims, settled);
            let Ok(outcome) = outcome else { continue };
            let Some(known) = guests.get_mut(&pid) else {
                continue;
            };
            if outcome.actions.is_empty() {
                known.unset = false;
                continue;
            }
            let holds = outcome
                .actions
                .iter()
                .any(|action| action.why == Why::StandIn || action.wish.cpus.len() == 1);
            let name = &entry.guest;
            match flow::repair(&mut keeper, &entry, named, outcome.actions.clone()) {
                Ok(report) => {
                    known.unset = false;
                    known.repairs.worked();
                    say.state(Priority::Warning, &name.0, "set", []);
                    for (priority, line) in say::repaired(name, &outcome.actions, Some(&report)) {
                        say.event(priority, line);
                    }
                }
                Err(fault) => {
                    known.repairs.failed(now);
                    let line = format!("guest {name}: {}; it is tried again", fault.message);
                    say.state(Priority::Error, &name.0, "set", [line]);
                }
            }
            // What stands in holds its CPU, and so does what the claims of others leave a single one: the next guest must see it.
            if holds {
                claims = keeper.everybody(None);
            }
        }
    }

    /// How many guests are kept, held and left alone.
    pub(super) fn counted(&self) -> String {
        let (mut pinned, mut held, mut waiting, mut left) = (0, 0, 0, 0);
        for known in self.guests.values() {
            match self.node.ledger.of_process(known.process) {
                Some(entry) if entry.state == EntryState::Held => held += 1,
                Some(_) => pinned += 1,
                None if known.standing == Standing::New => waiting += 1,
                None => left += 1,
            }
        }
        format!(
            "{} guest(s): {pinned} kept pinned, {held} held, {waiting} waiting to be pinned, {left} left alone",
            self.guests.len()
        )
    }
}

/// Takes the lock of the node; `None` where somebody else has it, or where it can't be had, which is told once.
pub(super) fn lock<'a>(node: &'a mut Node, say: &mut Say) -> Option<Keeper<'a>> {
    let locked = Lock::acquire(&node.root, COMMAND, LOCK);
    let keeper = match locked {
        Ok(lock) => Keeper::with(node, lock, None).map_err(|fault| fault.message),
        Err(error) => Err(error.to_string()),
    };
    match keeper {
        Ok(keeper) => {
            say.state(Priority::Warning, "", "lock", []);
            Some(keeper)
        }
        Err(why) => {
            let line = format!("{why}; it is tried again");
            say.state(Priority::Warning, "", "lock", [line]);
            None
        }
    }
}

/// The guests whose plan is kept, with what runs.
fn kept(node: &Node) -> impl Iterator<Item = (&Entry, &LiveGuest)> {
    let entries = node.ledger.alive.iter();
    let entries = entries.filter(|entry| entry.state == EntryState::Applied);
    entries.filter_map(|entry| {
        let live = node.live.guests.iter().find(|guest| entry.is_of(guest))?;
        Some((entry, live))
    })
}

/// The vCPUs that the names of the threads tell.
fn named(live: &LiveGuest) -> VcpuSet {
    live.threads.iter().filter_map(LiveThread::vcpu).collect()
}

fn tell_notes(say: &mut Say, name: &str, outcome: &Outcome) {
    let notes = outcome.notes.iter();
    let lines = notes.map(|note| format!("guest {name}: {note}"));
    say.state(Priority::Notice, name, "notes", lines);
}
