//! Reads the topology of a host from sysfs: the only code that interprets it.
//!
//! Sources: Linux Documentation/admin-guide/cputopology.rst, Documentation/ABI/stable/sysfs-devices-node,
//! Documentation/ABI/testing/sysfs-devices-system-cpu; and captured hosts, which differ from them: see the tests.
//!
//! A file that lists a group (node, core, L3, package, die) names all its members, so groups are visited, not CPUs: each fact is
//! read once, and the number of files opened grows with the number of cores. Their order is that of what they build on: which index
//! of cache is the L3 is asked once for each kind of core in a package.

mod groups;
mod kinds;
mod names;
mod nodes;
#[cfg(test)]
mod tests;

use crate::cpulist::parse_list;
use crate::host::error::{Problem, parse, trimmed};
use crate::host::{Cpu, Host, HostError, HostWarning, cpuset, memory};
use crate::id::{CoreId, CpuId};
use crate::idset::{CpuSet, IdSet};
use crate::root::{Reader, Root};

/// Where the CPUs are, below `/sys`.
const CPU: &str = "devices/system/cpu";
/// Where the nodes are, below `/sys`.
const NODE: &str = "devices/system/node";

/// What to read beyond the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// The nodes' huge pages, and whether ZFS is in use.
    pub hugepages: bool,
}

impl Want {
    /// For the topology alone: the nodes' memory without huge pages.
    pub const TOPOLOGY: Self = Self { hugepages: false };
    /// For a plan: all.
    pub const PLAN: Self = Self { hugepages: true };
}

/// Reads the host of a root. `reserved` and `allowed` are left empty: they are others' to fill in.
///
/// # Errors
/// A file can't be read, or one that says which CPU is where, or which may be used, can't be understood; or there is no CPU.
pub fn read(root: &Root, want: Want) -> Result<Host, HostError> {
    let mut reader = cpu_reader(root);
    let mut node_reader = Reader::of_sysfs(&root.sys().join(NODE));
    let mut host = Host::default();
    let online = online(&mut reader)?;
    host.offline = offline(&mut reader, &online, &mut host.warnings)?;
    host.cpus = online.iter().map(alone).collect();
    let slots = Slots::of(&online);

    nodes::read(&mut node_reader, root, &online, &slots, &mut host)?;
    groups::cores(&mut reader, &slots, &mut host.cpus)?;
    groups::packages(&mut reader, &slots, &mut host)?;
    groups::dies(&mut reader, &slots, &mut host)?;
    kinds::read(root, &mut reader, &slots, &mut host)?;
    groups::l3s(&mut reader, &slots, &mut host.cpus)?;

    let isolcpus = list(&mut reader, format_args!("isolated"))?.unwrap_or_default();
    host.isolated = isolcpus
        .union(&cpuset::isolated_partitions(root)?)
        .intersection(&online);
    if want.hugepages {
        memory::add_hugepages(&mut node_reader, root, &mut host)?;
        host.zfs = memory::zfs_in_use(root)?;
    }
    Ok(host)
}

/// The online CPUs alone: for who looks often whether they are the same.
///
/// # Errors
/// The file that lists them can't be read or understood; or there is no CPU.
pub fn online_cpus(root: &Root) -> Result<CpuSet, HostError> {
    online(&mut cpu_reader(root))
}

fn cpu_reader(root: &Root) -> Reader {
    Reader::of_sysfs(&root.sys().join(CPU))
}

/// The position of each online CPU in `Host::cpus`, by its id.
struct Slots(Vec<u32>);

impl Slots {
    const NONE: u32 = u32::MAX;

    fn of(online: &CpuSet) -> Self {
        let mut slots = vec![Self::NONE; online.last().map_or(0, |id| id.0 as usize + 1)];
        for (slot, id) in (0..).zip(online.iter()) {
            slots[id.0 as usize] = slot;
        }
        Self(slots)
    }

    /// `None`: the CPU is not online.
    fn get(&self, id: CpuId) -> Option<usize> {
        match self.0.get(id.0 as usize) {
            None | Some(&Self::NONE) => None,
            Some(slot) => Some(*slot as usize),
        }
    }
}

/// A CPU of which nothing is known yet: a core of its own.
fn alone(id: CpuId) -> Cpu {
    Cpu {
        id,
        node: None,
        package: None,
        die: None,
        core: CoreId(id.0),
        l3: None,
        kind: None,
    }
}

/// The online CPUs. Where there is no list of them (old kernels, captures) the directories are counted, and a CPU without a
/// file `online` is online: the boot CPU has none.
fn online(reader: &mut Reader) -> Result<CpuSet, HostError> {
    let online = match list(reader, format_args!("online"))? {
        Some(online) => online,
        None => {
            let mut online = CpuSet::new();
            for id in described(reader)?.iter() {
                let on = parse(reader, format_args!("cpu{id}/online"), switch)?;
                if on.unwrap_or(true) {
                    online.insert(id);
                }
            }
            online
        }
    };
    if online.is_empty() {
        return Err(HostError::NoCpu {
            path: reader.dir().to_owned(),
        });
    }
    Ok(online)
}

/// CPUs that exist and are offline: `present` without `online`. (The kernel's `offline` also names CPUs that could be plugged
/// in, up to the limit of the kernel.) Only messages depend on it, so a bad list is no error.
fn offline(
    reader: &mut Reader,
    online: &CpuSet,
    warnings: &mut Vec<HostWarning>,
) -> Result<CpuSet, HostError> {
    let present = list(reader, format_args!("present"));
    let present = match unless_malformed(present, "which cpus are offline", warnings)? {
        Some(present) => present,
        None => described(reader)?,
    };
    Ok(present.difference(online))
}

/// The CPUs that have a directory.
fn described(reader: &mut Reader) -> Result<CpuSet, HostError> {
    Ok(numbered(reader, "", "cpu")?)
}

/// The ids of the entries of a directory that are a prefix with a number.
fn numbered<I: crate::id::Id>(
    reader: &mut Reader,
    dir: &str,
    prefix: &str,
) -> Result<IdSet<I>, crate::root::FileError> {
    let names = reader.names(format_args!("{dir}"))?.unwrap_or_default();
    let number = |name: &String| {
        let digits = name.strip_prefix(prefix)?;
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let id: u32 = digits.parse().ok().filter(|_| plain)?;
        (id <= crate::cpulist::MAX_ID).then(|| I::from_index(id as usize))
    };
    Ok(names.iter().filter_map(number).collect())
}

/// A file with a list; `None` where it does not exist.
fn list<I: crate::id::Id>(
    reader: &mut Reader,
    name: std::fmt::Arguments<'_>,
) -> Result<Option<IdSet<I>>, HostError> {
    parse(reader, name, |text| Ok(parse_list(text)?))
}

/// What was read, or `None` and a warning where it can't be understood; the other errors stay.
pub(super) fn unless_malformed<T>(
    read: Result<Option<T>, HostError>,
    unknown: &'static str,
    warnings: &mut Vec<HostWarning>,
) -> Result<Option<T>, HostError> {
    match read {
        Err(HostError::Malformed { path, problem }) => {
            warnings.push(HostWarning::Unknown {
                path,
                problem,
                unknown,
            });
            Ok(None)
        }
        other => other,
    }
}

fn switch(text: &str) -> Result<bool, Problem> {
    match trimmed(text) {
        "0" => Ok(false),
        "1" => Ok(true),
        other => Err(Problem::not_a_number(other, "0 or 1")),
    }
}
