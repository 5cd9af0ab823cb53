//! Kinds of core on hybrid hosts.
//!
//! Two sources, used together where both are there: on x86 the PMUs `cpu_core`, `cpu_atom` and `cpu_lowpower` list the CPUs of
//! each kind (Documentation/admin-guide/perf/ and drivers of the kernel: a host that is not hybrid has one PMU `cpu`
//! instead); `cpu_capacity` (arm64, newer x86) is the highest speed of a CPU against the fastest of the host, which is 1024.
//!
//! The rule: a kind is a PMU and a band of capacities. A band begins with the highest capacity that is in none yet and takes in
//! all down to a sixteenth below: cores of one kind differ a little, because firmware lets favoured ones run some
//! percent faster, and that makes no other kind. PMUs in the order above, then capacities, the highest first, number the kinds
//! from 0. CPUs that no PMU lists come last. One kind only: the host is not hybrid.

use super::{Slots, list, unless_malformed};
use crate::host::error::{Problem, parse, trimmed};
use crate::host::{Host, HostError};
use crate::id::CpuId;
use crate::root::{Reader, Root};

/// The fastest kind first.
const PMUS: [&str; 3] = ["cpu_core", "cpu_atom", "cpu_lowpower"];

pub(super) fn read(
    root: &Root,
    reader: &mut Reader,
    slots: &Slots,
    host: &mut Host,
) -> Result<(), HostError> {
    let mut devices = Reader::of_sysfs(&root.sys().join("devices"));
    let mut pmus = vec![PMUS.len(); host.cpus.len()];
    for (pmu, name) in PMUS.iter().enumerate() {
        let cpus = list::<CpuId>(&mut devices, format_args!("{name}/cpus"));
        let cpus = unless_malformed(cpus, "which cores are of which kind", &mut host.warnings)?;
        for slot in cpus
            .unwrap_or_default()
            .iter()
            .filter_map(|id| slots.get(id))
        {
            pmus[slot] = pmus[slot].min(pmu);
        }
    }
    let capacities = capacities(reader, slots, host)?;

    // The order of kinds: PMUs as above, then the highest capacity first.
    let mut keys: Vec<(usize, u32)> = pmus
        .iter()
        .copied()
        .zip(capacities.iter().copied())
        .collect();
    keys.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
    keys.dedup();
    let mut tops: Vec<(usize, u32)> = Vec::new();
    for (pmu, capacity) in keys {
        let same = tops
            .last()
            .is_some_and(|(p, top)| *p == pmu && alike(*top, capacity));
        if !same {
            tops.push((pmu, capacity));
        }
    }
    if tops.len() < 2 {
        return Ok(());
    }
    for (slot, cpu) in host.cpus.iter_mut().enumerate() {
        let kind = tops
            .iter()
            .rposition(|(pmu, top)| *pmu == pmus[slot] && capacities[slot] <= *top);
        cpu.kind = kind.and_then(|kind| u32::try_from(kind).ok());
    }
    Ok(())
}

/// Whether a capacity is in the band that begins at `top`.
fn alike(top: u32, capacity: u32) -> bool {
    u64::from(capacity) * 16 >= u64::from(top) * 15
}

/// The capacity of each online CPU, by position; all 0 where the host does not say so for every core.
fn capacities(reader: &mut Reader, slots: &Slots, host: &mut Host) -> Result<Vec<u32>, HostError> {
    let unknown = vec![0; host.cpus.len()];
    let mut known = unknown.clone();
    for slot in 0..host.cpus.len() {
        let (id, leader) = (host.cpus[slot].id, CpuId(host.cpus[slot].core.0));
        if let Some(leader) = slots.get(leader).filter(|leader| *leader < slot) {
            known[slot] = known[leader];
            continue;
        }
        let capacity = parse(reader, format_args!("cpu{id}/cpu_capacity"), |text| {
            let text = trimmed(text);
            let number = text.parse::<u32>();
            number.map_err(|_| Problem::not_a_number(text, "the capacity of a cpu"))
        });
        match unless_malformed(capacity, "the capacity of each cpu", &mut host.warnings)? {
            Some(capacity) => known[slot] = capacity,
            None => return Ok(unknown),
        }
    }
    Ok(known)
}
