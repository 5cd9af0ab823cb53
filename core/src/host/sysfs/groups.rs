//! Cores, L3s, packages and dies: each is found through the lowest CPU that is not in one yet.

use super::names::{Form, Names};
use super::{Slots, numbered, unless_malformed};
use crate::host::error::{Problem, parse, trimmed};
use crate::host::{Cpu, Host, HostError};
use crate::id::{CpuId, L3Id, PackageId};
use crate::root::Reader;

/// Cores by their sibling lists: `core_id` is unique only within its package and die, and old kernels make it up.
pub(super) fn cores(reader: &mut Reader, slots: &Slots, cpus: &mut [Cpu]) -> Result<(), HostError> {
    let mut names = Names::of(&[
        ("core_cpus_list", Form::List),
        ("thread_siblings_list", Form::List), // before Linux 5.3
        ("core_cpus", Form::Mask),
        ("thread_siblings", Form::Mask),
    ]);
    let mut seen = vec![false; cpus.len()];
    for slot in 0..cpus.len() {
        if seen[slot] {
            continue;
        }
        seen[slot] = true;
        let Cpu { id, core, .. } = cpus[slot];
        let topology = format_args!("cpu{id}/topology");
        names.read(reader, topology, |id| {
            if let Some(member) = slots.get(id).filter(|member| !seen[*member]) {
                seen[member] = true;
                cpus[member].core = core;
            }
        })?;
    }
    Ok(())
}

/// Level-3 caches by their lists of sharers: their ids are missing on old kernels and neither dense nor in the order of cores.
pub(super) fn l3s(reader: &mut Reader, slots: &Slots, cpus: &mut [Cpu]) -> Result<(), HostError> {
    let mut names = Names::of(&[
        ("shared_cpu_list", Form::List),
        ("shared_cpu_map", Form::Mask),
    ]);
    // On x86, arm64 and POWER: L1d, L1i, L2, L3. Where that is not so it is looked for.
    let mut dir = index_dir(3);
    // The package and the kind of core whose caches are known to be numbered like that: one design, one order.
    let mut design = None;
    let mut seen = vec![false; cpus.len()];
    let mut sharers = Vec::new();
    for slot in 0..cpus.len() {
        let (id, leader) = (cpus[slot].id, leader(cpus, slots, slot));
        if leader != slot && !seen[slot] {
            cpus[slot].l3 = cpus[leader].l3;
            continue;
        }
        if seen[slot] {
            continue;
        }
        let own = Some((cpus[slot].package, cpus[slot].kind));
        let mut shared_by = |reader: &mut Reader, dir: &str| {
            sharers.clear();
            sharers.push(slot);
            names.read(reader, format_args!("cpu{id}/{dir}"), |id| {
                sharers.extend(slots.get(id).filter(|member| !seen[*member]));
            })
        };
        if design != own || !shared_by(reader, &dir)? {
            if !find_level_3(reader, id, &mut dir)? {
                continue;
            }
            design = own;
            shared_by(reader, &dir)?;
        }
        // Mostly this CPU; a lower one where that tells of no L3 itself.
        let lowest = sharers.iter().min().map(|member| cpus[*member].id);
        for member in &sharers {
            seen[*member] = true;
            cpus[*member].l3 = lowest.map(|id| L3Id(id.0));
        }
    }
    Ok(())
}

/// Packages by `physical_package_id`, which can be large and sparse; -1 where the kernel does not know.
pub(super) fn packages(
    reader: &mut Reader,
    slots: &Slots,
    host: &mut Host,
) -> Result<(), HostError> {
    let mut names = Names::of(&[
        ("package_cpus_list", Form::List),
        ("core_siblings_list", Form::List), // before Linux 5.3
        ("package_cpus", Form::Mask),
        ("core_siblings", Form::Mask),
    ]);
    let set = |cpu: &mut Cpu, id| cpu.package = Some(PackageId(id));
    by_id(reader, slots, host, "physical_package_id", &mut names, set)
}

/// Dies by `die_id` (from Linux 5.2 on), within their package.
pub(super) fn dies(reader: &mut Reader, slots: &Slots, host: &mut Host) -> Result<(), HostError> {
    let first = host.cpus[0].id;
    let name = format_args!("cpu{first}/topology/die_id");
    if reader.read(name)?.is_none() {
        return Ok(());
    }
    let mut names = Names::of(&[("die_cpus_list", Form::List), ("die_cpus", Form::Mask)]);
    let set = |cpu: &mut Cpu, id| cpu.die = u32::try_from(id).ok();
    by_id(reader, slots, host, "die_id", &mut names, set)
}

/// Groups that have an id of the kernel's. They only weigh plans: what can't be understood is a warning.
fn by_id(
    reader: &mut Reader,
    slots: &Slots,
    host: &mut Host,
    file: &'static str,
    names: &mut Names,
    set: impl Fn(&mut Cpu, i32),
) -> Result<(), HostError> {
    let mut seen = vec![false; host.cpus.len()];
    for slot in 0..host.cpus.len() {
        let (id, leader) = (host.cpus[slot].id, leader(&host.cpus, slots, slot));
        if leader != slot && !seen[slot] {
            // Threads of a core are in one package and one die.
            host.cpus[slot].package = host.cpus[leader].package;
            host.cpus[slot].die = host.cpus[leader].die;
            continue;
        }
        if seen[slot] {
            continue;
        }
        let name = format_args!("cpu{id}/topology/{file}");
        let group = parse(reader, name, id_of_kernel);
        let Some(group) = unless_malformed(group, file, &mut host.warnings)?.flatten() else {
            continue;
        };
        seen[slot] = true;
        set(&mut host.cpus[slot], group);
        let cpus = &mut host.cpus;
        let topology = format_args!("cpu{id}/topology");
        let members = names.read(reader, topology, |id| {
            if let Some(member) = slots.get(id).filter(|member| !seen[*member]) {
                seen[member] = true;
                set(&mut cpus[member], group);
            }
        });
        unless_malformed(members.map(Some), file, &mut host.warnings)?;
    }
    Ok(())
}

/// The position of the lowest CPU of a CPU's core.
fn leader(cpus: &[Cpu], slots: &Slots, slot: usize) -> usize {
    slots.get(CpuId(cpus[slot].core.0)).unwrap_or(slot)
}

/// Whether a CPU has a level-3 cache, and in which directory: the one that was right before is tried first. The CPUs of a
/// hybrid host can have different ones, or none.
fn find_level_3(reader: &mut Reader, cpu: CpuId, dir: &mut String) -> Result<bool, HostError> {
    if is_level_3(reader, cpu, dir)? {
        return Ok(true);
    }
    for index in numbered::<CpuId>(reader, &format!("cpu{cpu}/cache"), "index")?.iter() {
        let other = index_dir(index.0);
        if other != *dir && is_level_3(reader, cpu, &other)? {
            *dir = other;
            return Ok(true);
        }
    }
    Ok(false)
}

fn index_dir(index: u32) -> String {
    format!("cache/index{index}")
}

fn is_level_3(reader: &mut Reader, cpu: CpuId, dir: &str) -> Result<bool, HostError> {
    let level = parse(reader, format_args!("cpu{cpu}/{dir}/level"), |text| {
        let level = trimmed(text);
        let number = level.parse::<u32>();
        number.map_err(|_| Problem::not_a_number(level, "the level of a cache"))
    })?;
    Ok(level == Some(3))
}

/// An id that the kernel gives; `None` for -1, which stands for "unknown".
fn id_of_kernel(text: &str) -> Result<Option<i32>, Problem> {
    let text = trimmed(text);
    match text.parse::<i32>() {
        Ok(id) if id >= 0 => Ok(Some(id)),
        Ok(-1) => Ok(None),
        _ => Err(Problem::not_a_number(text, "an id, or -1")),
    }
}
