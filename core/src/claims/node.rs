//! What the ledger and the live masks say together.

use std::borrow::Borrow;

use super::Claims;
use super::ledger::{self, Entries, Entry, EntryState, LedgerError};
use super::live::{self, Live, LiveGuest, LiveWarning, Own};
use crate::idset::{CpuSet, VcpuSet};
use crate::root::{FileError, Root};

/// What is held on a node, and by whom.
#[derive(Debug, Default)]
pub struct Node {
    /// The claims of everybody else.
    pub claims: Claims,
    /// What runs.
    pub live: Live,
    /// What numapin planned.
    pub ledger: Entries,
}

/// Why claims can't be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ClaimsError {
    /// `/proc` or `/run/qemu-server` can't be listed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The ledger can't be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Something about the claims that is to be told; it stops nobody.
#[derive(Debug)]
pub enum ClaimsWarning<'a> {
    /// Of what runs.
    Live(&'a LiveWarning),
    /// Of the ledger.
    Ledger(&'a LedgerError),
}

/// Reads claims, on a host with these online CPUs, on behalf of one guest.
///
/// # Errors
/// The directories can't be used; a single file is a [warning](Node::warnings).
pub fn read(root: &Root, online: &CpuSet, own: Own) -> Result<Node, ClaimsError> {
    // The ledger first: an entry whose process ends meanwhile holds nothing that is seen afterwards.
    let ledger = ledger::read(root)?;
    let live = live::read(root)?;
    Ok(Node {
        claims: merge(&live, &ledger.alive, online, own),
        live,
        ledger,
    })
}

/// The claims of everybody else: pure.
///
/// A guest of the ledger holds what its entry says, for the vCPUs that are plugged, and what its live masks hold beyond that;
/// one that is starting has the masks of its plan and the memory it was promised; one that is held, and every other, what its
/// live masks hold.
#[must_use]
pub fn merge<E: Borrow<Entry>>(live: &Live, entries: &[E], online: &CpuSet, own: Own) -> Claims {
    let entries: Vec<&Entry> = entries.iter().map(Borrow::borrow).collect();
    let mut claims = Claims::default();
    for guest in live.guests.iter().filter(|guest| !own.is(guest)) {
        let entry = entries.iter().find(|entry| entry.is_of(guest));
        // Its process can be known by either: the entry of a plain QEMU by its number, a guest by its VMID.
        if entry.is_some_and(|entry| entry.is_own(own)) {
            continue;
        }
        match entry {
            Some(entry) if entry.state == EntryState::Pending => {
                planned(&mut claims, entry, online);
            }
            Some(entry) => {
                claims.hold(&entry.guest, &entry.claims(Some(&plugged(guest, entry))));
                claims.add_masks(&entry.guest, online, guest.vcpu_masks());
            }
            None => claims.add_masks(&guest.name, online, guest.vcpu_masks()),
        }
    }
    for entry in entries.into_iter().filter(|entry| !entry.is_own(own)) {
        let seen = live.guests.iter().any(|guest| entry.is_of(guest));
        if !seen && entry.state != EntryState::Held {
            planned(&mut claims, entry, online);
        }
        if entry.state == EntryState::Pending {
            for (node, kib) in &entry.promised_kib {
                let promised = claims.promised_kib.entry(*node).or_default();
                *promised = promised.saturating_add(*kib);
            }
        }
    }
    claims
}

impl Node {
    /// What is to be told.
    pub fn warnings(&self) -> impl Iterator<Item = ClaimsWarning<'_>> {
        let live = self.live.warnings.iter().map(ClaimsWarning::Live);
        live.chain(self.ledger.problems.iter().map(ClaimsWarning::Ledger))
    }
}

impl std::fmt::Display for ClaimsWarning<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Live(warning) => warning.fmt(f),
            Self::Ledger(problem) => problem.fmt(f),
        }
    }
}

/// The vCPUs that are plugged: those that the names of the threads tell; without such names those of the plan.
pub(crate) fn plugged(guest: &LiveGuest, entry: &Entry) -> VcpuSet {
    let named: VcpuSet = guest
        .threads
        .iter()
        .filter_map(|thread| thread.vcpu())
        .collect();
    if named.is_empty() {
        entry.plan.plugged.clone()
    } else {
        named
    }
}

/// What a guest will have once its plan is set.
fn planned(claims: &mut Claims, entry: &Entry, online: &CpuSet) {
    claims.hold(&entry.guest, &entry.claims(None));
    let plugged = &entry.plan.plugged;
    let vcpus = entry.plan.vcpus.iter().map(|vcpu| &vcpu.placed);
    let vcpus = vcpus.filter(|placed| plugged.contains(placed.vcpu));
    claims.add_masks(&entry.guest, online, vcpus.map(|placed| &placed.cpus));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::ledger::tests::entry;
    use crate::guest::GuestName;
    use crate::id::{NodeId, Pid, Tid, Vmid};
    use crate::policy::{Mode, Smt};
    use crate::thread::Process;

    fn set(list: &str) -> CpuSet {
        list.parse().unwrap()
    }

    fn guest(vmid: u32, pid: i32, masks: &[&str]) -> LiveGuest {
        let thread = |(tid, (n, mask)): (i32, (usize, &&str))| live::LiveThread {
            tid: Tid(tid),
            comm: format!("CPU {n}/KVM"),
            told: None,
            mask: set(mask),
        };
        LiveGuest {
            name: GuestName(vmid.to_string()),
            vmid: Some(Vmid(vmid)),
            pid: Pid(pid),
            threads: (pid..).zip(masks.iter().enumerate()).map(thread).collect(),
        }
    }

    fn process(pid: i32) -> Option<Process> {
        Some(Process {
            pid: Pid(pid),
            start_time: 77,
        })
    }

    fn told(guests: Vec<LiveGuest>, entries: &[Entry], own: Own) -> String {
        let live = Live {
            guests,
            ..Live::default()
        };
        let claims = merge(&live, entries, &set("0-7"), own);
        let pinned = claims.set_pinned.iter();
        let pinned: Vec<String> = pinned
            .map(|pinned| format!("{}x{}", pinned.vcpus, pinned.mask))
            .collect();
        let promised: u64 = claims.promised_kib.values().sum();
        format!(
            "{} / {} / {} unpinned / {promised}",
            claims.claimed(),
            pinned.join(" "),
            claims.unpinned.values().sum::<u32>()
        )
    }

    #[test]
    fn a_starting_guest_holds_its_plan_and_what_it_was_promised() {
        let pending = [entry(100, None)];
        assert_eq!(
            told(Vec::new(), &pending, Own::default()),
            "2-3 /  / 0 unpinned / 1024"
        );
        let running = vec![guest(100, 4000, &["0-7", "0-7"])];
        assert_eq!(
            told(running.clone(), &pending, Own::default()),
            "2-3 /  / 0 unpinned / 1024",
            "its QEMU lives, and its plan is about to be set"
        );
        assert_eq!(
            told(running, &pending, Own::guest(Vmid(100))),
            " /  / 0 unpinned / 0"
        );
    }

    #[test]
    fn an_applied_entry_and_the_live_masks_count_both() {
        let applied = [entry(100, process(4000))];
        let drifted = vec![guest(100, 4000, &["5", "0-7"])];
        assert_eq!(
            told(drifted.clone(), &applied, Own::default()),
            "2-3,5 /  / 1 unpinned / 0"
        );
        for own in [Own::guest(Vmid(100)), Own::process(Pid(4000))] {
            assert_eq!(told(drifted.clone(), &applied, own), " /  / 0 unpinned / 0");
        }
        let unplugged = vec![guest(100, 4000, &["2"])];
        assert_eq!(
            told(unplugged, &applied, Own::default()),
            "2 /  / 0 unpinned / 0",
            "vcpu 1 is not plugged"
        );
        assert_eq!(
            told(Vec::new(), &applied, Own::default()),
            "2-3 /  / 0 unpinned / 0",
            "its threads could not be read"
        );
    }

    #[test]
    fn a_held_entry_claims_what_its_live_masks_hold() {
        let mut held = entry(100, process(4000));
        held.state = EntryState::Held;
        let live = vec![guest(100, 4000, &["0-1", "6"])];
        assert_eq!(
            told(live, &[held], Own::default()),
            "6 / 1x0-1 / 0 unpinned / 0"
        );
    }

    #[test]
    fn idle_siblings_are_held_with_their_vcpu() {
        let mut isolate = entry(100, process(4000));
        isolate.plan.mode = Mode::OneToOne;
        isolate.plan.smt = Smt::Isolate;
        isolate.plan.vcpus[0].claims = set("2,6");
        let live = vec![guest(100, 4000, &["2", "3"])];
        assert_eq!(
            told(live, &[isolate], Own::default()),
            "2-3,6 /  / 0 unpinned / 0"
        );
    }

    #[test]
    fn what_others_pinned_counts_beside_the_ledger() {
        let live = vec![
            guest(100, 4000, &["2", "3"]),
            guest(200, 5000, &["2", "4-5"]),
        ];
        let entries = [entry(100, process(4000))];
        assert_eq!(
            told(live.clone(), &entries, Own::default()),
            "2-3 / 1x4-5 / 0 unpinned / 0"
        );
        let all = Live {
            guests: live,
            ..Live::default()
        };
        let claims = merge(&all, &entries, &set("0-7"), Own::default());
        let holders = &claims.one_to_one[&crate::id::CpuId(2)];
        assert_eq!(holders, &[GuestName("100".into()), GuestName("200".into())]);
        assert_eq!(claims.promised_kib.get(&NodeId(0)), None, "it runs");
    }
}
