//! A guest that was pinned stays as its plan has it. No plan is made here: a running guest never changes host nodes by itself.

use numapin_core::apply::{GuestThreads, Wishes};
use numapin_core::claims::ledger::Entry;
use numapin_core::idset::VcpuSet;
use numapin_core::reconcile::Action;
use numapin_core::report::Report;

use super::{Keeper, again};
use crate::fault::Fault;

/// Sets the masks that were found to be other ones.
///
/// # Errors
/// The record can't be written, or a mask not be set; then all are as they were.
pub(crate) fn repair(
    keeper: &mut Keeper<'_>,
    entry: &Entry,
    plugged: VcpuSet,
    actions: Vec<Action>,
) -> Result<Report, Fault> {
    let wishes = Wishes {
        list: actions.into_iter().map(|action| action.wish).collect(),
        notes: Vec::new(),
    };
    let mut changed = entry.clone();
    // Where names tell nothing, what was known of them stands.
    if !plugged.is_empty() {
        changed.plan.plugged = plugged;
    }
    keeper.set(&mut changed, Some(entry), wishes)
}

/// Lets the threads that QEMU told have the masks of the plan that is kept. vCPUs that the plan does not have are left alone.
///
/// # Errors
/// As [`repair`]; or the threads are not those of the guest.
pub(crate) fn refresh(
    keeper: &mut Keeper<'_>,
    entry: &Entry,
    mut threads: GuestThreads,
    settled: bool,
) -> Result<Report, Fault> {
    let planned = |vcpu| entry.plan.vcpu(vcpu).is_some();
    threads.vcpus.retain(|vcpu| planned(vcpu.index));
    let plan = again(&entry.plan, &entry.guest);
    let mut changed = entry.clone();
    let (report, _) = keeper.carry_out(&mut changed, Some(entry), &plan, &threads, settled)?;
    Ok(report)
}
