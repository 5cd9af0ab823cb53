//! Other guests, whose masks follow the claims, whichever command changed them: that is what makes one-to-one exclusive.

use numapin_core::apply::Wishes;
use numapin_core::claims::Claims;
use numapin_core::claims::ledger::EntryState;
use numapin_core::guest::GuestName;
use numapin_core::idset::CpuSet;
use numapin_core::reconcile::{Action, Why};
use numapin_core::report::Report;
use numapin_core::thread::{ThreadKind, Wish};

use super::keeper::{Keeper, outcome};
use crate::fault::Fault;

/// How often the guests are gone through whose masks follow: a mask that comes down to one CPU changes the claims once more.
const PASSES: usize = 8;

impl Keeper<'_> {
    /// Lets the masks of other guests follow the claims. What can't be set is told; it is another guest's.
    pub(crate) fn follow(&mut self, but: &GuestName, warn: &mut Vec<String>) -> Vec<Report> {
        let mut claims = self.everybody(None);
        let mut reports = Vec::new();
        for pass in 0..PASSES {
            let mut again = false;
            // Entries that are written stay where they are.
            for at in 0..self.node.ledger.alive.len() {
                let Some(entry) = self.node.ledger.alive.get(at) else {
                    continue;
                };
                let set_just_now = pass == 0 && entry.guest == *but;
                if entry.state != EntryState::Applied || set_just_now {
                    continue;
                }
                match self.follow_one(at, &claims) {
                    Ok(Some((report, changes_claims))) => {
                        reports.push(report);
                        if changes_claims {
                            again = true;
                            claims = self.everybody(None);
                        }
                    }
                    Ok(None) => {}
                    Err(fault) if pass == 0 => warn.push(fault.message),
                    Err(_) => {}
                }
            }
            if !again {
                break;
            }
        }
        reports
    }

    /// Lets one guest follow; what was done, and whether that changes the claims: a mask that claims of others leave one CPU
    /// holds it, until they leave more.
    fn follow_one(&mut self, at: usize, claims: &Claims) -> Result<Option<(Report, bool)>, Fault> {
        let entry = &self.node.ledger.alive[at];
        let outcome = outcome(self.node, entry, claims, false)?;
        if outcome.actions.is_empty() {
            return Ok(None);
        }
        // Masks that drifted are the business of watch, but not on a CPU that somebody holds one-to-one: so it is, too, after a
        // program was killed that had recorded this mask and not set it.
        let claimed = claims.claimed_by_others(&entry.guest);
        let actual = |wish: &Wish| {
            let mut threads = outcome.threads.iter();
            let now = threads.find(|now| now.thread == Some(wish.thread))?;
            now.actual.as_ref()
        };
        let intrudes = |wish: &Wish| {
            actual(wish).is_some_and(|actual| {
                let beyond = actual.difference(&wish.cpus);
                !beyond.intersection(&claimed).is_empty()
            })
        };
        let follows = |action: &Action| match action.why {
            // What came later has what the main thread had: told now, before that is something else, or never.
            Why::Claims | Why::New => true,
            Why::Drifted => intrudes(&action.wish),
            Why::StandIn | Why::Back => false,
        };
        let actions = outcome.actions.iter().cloned();
        let list: Vec<Wish> = actions.filter(follows).map(|action| action.wish).collect();
        let one = |cpus: &CpuSet| cpus.len() == 1;
        let changes_claims = list.iter().any(|wish| {
            let vcpu = matches!(wish.kind, ThreadKind::Vcpu { .. });
            vcpu && (one(&wish.cpus) || actual(wish).is_some_and(one))
        });
        if list.is_empty() {
            return Ok(None);
        }
        let wishes = Wishes {
            list,
            notes: Vec::new(),
        };
        let before = entry.clone();
        let report = self.set(&mut before.clone(), Some(&before), wishes)?;
        Ok(Some((report, changes_claims)))
    }
}
