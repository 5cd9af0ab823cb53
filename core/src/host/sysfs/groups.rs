//! Cores, L3s, packages and dies: each is found through the lowest CPU that is not in one yet.

use super::{CPU, Form, Slots, numbered, unless_malformed};
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
        let core = cpus[slot].core;
        names.visit(reader, cpus[slot].id, "topology", |id| {
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
    let mut index = 3;
    let mut seen = vec![false; cpus.len()];
    let mut sharers = Vec::new();
    for slot in 0..cpus.len() {
        let (id, leader) = (cpus[slot].id, leader(cpus, slots, slot));
        if leader != slot && !seen[slot] {
            cpus[slot].l3 = cpus[leader].l3;
            continue;
        }
        if seen[slot] || !find_level_3(reader, id, &mut index)? {
            continue;
        }
        let dir = format!("cache/index{index}");
        sharers.clear();
        names.visit(reader, id, &dir, |id| {
            if let Some(member) = slots.get(id).filter(|member| !seen[*member]) {
                seen[member] = true;
                sharers.push(member);
            }
        })?;
        // Mostly this CPU; a lower one where that tells of no L3 itself.
        let lowest = sharers.iter().min().map(|member| cpus[*member].id);
        for member in &sharers {
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
    let name = format_args!("{CPU}/cpu{first}/topology/die_id");
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
        let name = format_args!("{CPU}/cpu{id}/topology/{file}");
        let group = parse(reader, name, id_of_kernel);
        let Some(group) = unless_malformed(group, file, &mut host.warnings)?.flatten() else {
            continue;
        };
        set(&mut host.cpus[slot], group);
        let cpus = &mut host.cpus;
        let members = names.visit(reader, id, "topology", |id| {
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

/// Whether a CPU has a level-3 cache, and under which index: the one that was right before is tried first. The CPUs of a
/// hybrid host can have different ones, or none.
fn find_level_3(reader: &mut Reader, cpu: CpuId, index: &mut usize) -> Result<bool, HostError> {
    if is_level_3(reader, cpu, *index)? {
        return Ok(true);
    }
    let dir = format!("{CPU}/cpu{cpu}/cache");
    for other in numbered::<CpuId>(reader, &dir, "index")?.iter() {
        let other = other.0 as usize;
        if other != *index && is_level_3(reader, cpu, other)? {
            *index = other;
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_level_3(reader: &mut Reader, cpu: CpuId, index: usize) -> Result<bool, HostError> {
    let name = format_args!("{CPU}/cpu{cpu}/cache/index{index}/level");
    let level = parse(reader, name, |text| {
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

/// The names under which kernels of different age list the same group; the one that was right before is tried first.
struct Names {
    names: &'static [(&'static str, Form)],
    first: usize,
}

impl Names {
    fn of(names: &'static [(&'static str, Form)]) -> Self {
        Self { names, first: 0 }
    }

    /// Hands on the members of the group of a CPU, itself always and first: a list that does not name its own CPU (a CPU that
    /// comes or goes) or is absent leaves it alone.
    fn visit(
        &mut self,
        reader: &mut Reader,
        cpu: CpuId,
        dir: &str,
        mut each: impl FnMut(CpuId),
    ) -> Result<(), HostError> {
        each(cpu);
        let order = std::iter::once(self.first).chain(0..self.names.len());
        for (nth, choice) in order.enumerate() {
            if nth > 0 && choice == self.first {
                continue;
            }
            let (name, form) = self.names[choice];
            let path = format_args!("{CPU}/cpu{cpu}/{dir}/{name}");
            if parse(reader, path, |text| form.each(text, &mut each))?.is_some() {
                self.first = choice;
                return Ok(());
            }
        }
        Ok(())
    }
}
