//! What the masks should be, and whether they are.

use std::collections::BTreeMap;

use numapin_core::claims::Claims;
use numapin_core::guest::Guest;
use numapin_core::host::Host;
use numapin_core::placement::Plan;
use numapin_core::policy::Policy;
use numapin_qmp_mock::Mock;

use super::masks::Masks;
use super::{Broken, Ids};
use crate::check::check_plan;

/// What every thread should have: the plan's masks by what the mock knows of its own threads, all others as they were.
#[must_use]
pub fn wanted(mock: &Mock, before: &Masks, plan: &Plan) -> Masks {
    let mut kinds: BTreeMap<u32, Option<Ids>> = BTreeMap::new();
    let ids = |set: &numapin_core::idset::CpuSet| -> Ids { set.iter().map(|cpu| cpu.0).collect() };
    let vhost = format!("vhost-{}", mock.pid());
    for (tid, seen) in before {
        let own = match &seen.comm {
            comm if *comm == vhost => plan.threads.vhost.as_ref(),
            _ if seen.pid == mock.pid() => plan.threads.emulator.as_ref(),
            _ => None,
        };
        kinds.insert(*tid, own.map(ids));
    }
    for (_, tid) in mock.iothread_tids() {
        kinds.insert(tid, plan.threads.iothreads.as_ref().map(ids));
    }
    for vcpu in mock.vcpus() {
        let placed = plan.vcpus.iter().find(|placed| placed.vcpu.0 == vcpu.index);
        kinds.insert(vcpu.tid, placed.map(|placed| ids(&placed.cpus)));
    }
    let mut wanted = before.clone();
    for (tid, mask) in kinds {
        if let (Some(seen), Some(mask)) = (wanted.get_mut(&tid), mask) {
            seen.mask = mask;
        }
    }
    wanted
}

/// That a plan keeps to the manual.
///
/// # Errors
/// Everything that is wrong with it.
pub fn valid(
    host: &Host,
    guest: &Guest,
    claims: &Claims,
    policy: &Policy,
    plan: &Plan,
) -> Result<(), Broken> {
    let faults = check_plan(host, guest, claims, policy, plan);
    want(faults.is_empty(), faults.join("; "))
}

/// That every thread has the mask it should have.
///
/// # Errors
/// The first that has not, or threads that came or went.
pub fn difference(wanted: &Masks, found: &Masks) -> Result<(), Broken> {
    want(wanted.keys().eq(found.keys()), "other threads than before")?;
    for (wanted, found) in wanted.iter().zip(found) {
        want(
            wanted == found,
            format!("wanted {wanted:?}, found {found:?}"),
        )?;
    }
    Ok(())
}

/// That something holds.
///
/// # Errors
/// It does not: `what` says what is wrong.
pub fn want(holds: bool, what: impl ToString) -> Result<(), Broken> {
    if holds {
        Ok(())
    } else {
        Err(what.to_string().into())
    }
}
