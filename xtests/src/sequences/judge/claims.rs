//! Who holds which CPUs one-to-one: the ledger and the live masks together.

use std::collections::BTreeMap;

use crate::flow::Ids;
use crate::sequences::seen::{Entry, Seen};
use crate::sequences::world::World;

/// What each guest holds.
pub type Claims = BTreeMap<u32, Ids>;

/// What each guest holds; guests that hold nothing are left out.
#[must_use]
pub fn claims(world: &World, seen: &Seen) -> Claims {
    let all = world
        .guests
        .keys()
        .map(|vmid| (*vmid, held(world, seen, *vmid)));
    all.filter(|(_, held)| !held.is_empty()).collect()
}

/// The entry of a guest, if it is of its process or of its start.
#[must_use]
pub fn entry<'a>(world: &World, seen: &'a Seen, vmid: u32) -> Option<&'a Entry> {
    let mock = world.guests.get(&vmid)?.mock.as_ref();
    let entry = seen.entries.get(&vmid)?;
    let same = match (entry.process, mock) {
        (Some(process), Some(mock)) => process.pid == mock.pid(),
        (Some(_), None) => false,
        (None, Some(_)) => true,
        (None, None) => world.starting == Some(vmid),
    };
    same.then_some(entry)
}

/// What everybody but one guest holds.
#[must_use]
pub fn of_others(claims: &Claims, vmid: u32) -> Ids {
    let others = claims.iter().filter(|(other, _)| **other != vmid);
    others.flat_map(|(_, held)| held.clone()).collect()
}

/// Masks of one CPU among the vCPUs of a guest that runs; a mask that leaves no online CPU out is nobody's pin.
#[must_use]
pub fn singles(world: &World, seen: &Seen, vmid: u32) -> BTreeMap<u32, u32> {
    let mock = world.guests.get(&vmid).and_then(|vm| vm.mock.as_ref());
    let vcpus = mock.map(numapin_qmp_mock::Mock::vcpus).unwrap_or_default();
    let mut singles = BTreeMap::new();
    for vcpu in vcpus {
        let mask = seen.mask(vcpu.tid);
        if let (1, Some(cpu)) = (mask.len(), mask.first())
            && !mask.is_superset(&world.online)
        {
            singles.insert(vcpu.tid, *cpu);
        }
    }
    singles
}

fn held(world: &World, seen: &Seen, vmid: u32) -> Ids {
    let mock = world.guests.get(&vmid).and_then(|vm| vm.mock.as_ref());
    let live: Ids = singles(world, seen, vmid).into_values().collect();
    let vcpus = mock.map(numapin_qmp_mock::Mock::vcpus).unwrap_or_default();
    let plugged: Ids = vcpus.iter().map(|vcpu| vcpu.index).collect();
    match entry(world, seen, vmid) {
        Some(entry) if entry.state == "pending" => {
            let plan = &entry.plan;
            let placed = plan.vcpus.iter().filter(|v| plan.plugged.contains(&v.vcpu));
            let single = placed.filter(|v| v.cpus.len() == 1 && !v.cpus.is_superset(&world.online));
            let single: Ids = single.flat_map(|v| v.cpus.clone()).collect();
            &plan.claims(&plan.plugged) | &single
        }
        Some(entry) if entry.state == "applied" => &entry.plan.claims(&plugged) | &live,
        _ => live,
    }
}
