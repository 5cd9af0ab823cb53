//! Puts back what was found before the first apply, and holds: watch leaves the guest alone until its next start or apply.

use numapin_core::claims::KeptPlan;
use numapin_core::claims::ledger::{Entry, EntryState, KeptPolicy, SCHEMA};
use numapin_core::guest::GuestName;
use numapin_core::id::Vmid;
use numapin_core::policy::{Mode, Overlap, Smt};
use numapin_core::process::guest_process;
use numapin_core::report::Report;

use super::{How, Keeper};
use crate::fault::Fault;
use crate::load::Node;

/// A guest that was reset.
pub(crate) struct PutBack {
    /// Which one.
    pub(crate) guest: GuestName,
    /// What was done; no thread where numapin had set nothing.
    pub(crate) report: Report,
}

/// What was done to the guests that were reset, and to others whose masks follow.
pub(crate) struct Resets {
    /// The guests.
    pub(crate) guests: Vec<PutBack>,
    /// Other guests.
    pub(crate) followed: Vec<Report>,
}

/// Resets one guest, or every guest that numapin pinned. One that can't be put back does not stop the others.
///
/// # Errors
/// The guest does not run, or a mask can't be put back.
pub(crate) fn reset(
    node: &mut Node,
    vmid: Option<Vmid>,
    how: &How,
    warn: &mut Vec<String>,
) -> Result<Resets, Fault> {
    let mut keeper = Keeper::acquire(node, None, how, warn)?;
    let alive = &keeper.node.ledger.alive;
    let entries: Vec<Entry> = match vmid {
        None => alive
            .iter()
            .filter(|entry| entry.process.is_some())
            .cloned()
            .collect(),
        Some(vmid) => {
            let of = alive
                .iter()
                .find(|entry| entry.vmid == Some(vmid) && entry.process.is_some());
            vec![match of {
                Some(entry) => entry.clone(),
                None => unpinned(&keeper, vmid)?,
            }]
        }
    };
    let mut guests = Vec::new();
    let mut failed: Option<Fault> = None;
    for mut entry in entries {
        // What was put back once is whoever's now who changed it since.
        entry.found = keeper.found(Some(&entry))?;
        match keeper.release(&mut entry) {
            Ok(report) => guests.push(PutBack {
                guest: entry.guest,
                report,
            }),
            Err(fault) => {
                if let Some(before) = failed.replace(fault) {
                    warn.push(before.message);
                }
            }
        }
    }
    let nobody = GuestName(String::new());
    let followed = keeper.follow(&nobody, warn);
    match failed {
        Some(fault) => Err(fault),
        None => Ok(Resets { guests, followed }),
    }
}

/// An entry for a guest that runs as numapin found it, so that it is left alone.
fn unpinned(keeper: &Keeper<'_>, vmid: Vmid) -> Result<Entry, Fault> {
    let process = guest_process(&keeper.node.root, vmid)?;
    let process = process.ok_or_else(|| {
        Fault::usage(format!(
            "guest {vmid} is not running on this node: there is nothing to put back"
        ))
    })?;
    Ok(Entry {
        boot_id: keeper.boot_id.clone(),
        vmid: Some(vmid),
        process: Some(process),
        ..unplanned(GuestName(vmid.to_string()), EntryState::Held)
    })
}

/// An entry of a guest for which nothing is planned.
pub(crate) fn unplanned(guest: GuestName, state: EntryState) -> Entry {
    Entry {
        schema: SCHEMA,
        guest,
        vmid: None,
        state,
        boot_id: String::new(),
        process: None,
        policy: KeptPolicy {
            text: Mode::None.to_string(),
            source: String::new(),
        },
        plan: KeptPlan {
            mode: Mode::None,
            smt: Smt::default(),
            overlap: Overlap::default(),
            plugged: Default::default(),
            virtual_nodes: Vec::new(),
            vcpus: Vec::new(),
            threads: Default::default(),
            spare: Default::default(),
        },
        found: Vec::new(),
        iothreads: Default::default(),
        promised_kib: Default::default(),
    }
}
