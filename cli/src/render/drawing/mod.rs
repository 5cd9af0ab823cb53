//! What a picture of a host shows, as a value: made once from the host and from what guests hold, drawn as text by
//! [`map`](super::map) and as SVG by [`svg`](super::svg).
//!
//! ```text
//! Drawing ─ boxes: host nodes ─ groups: L3s ─ cores ─ CPUs
//!         ├ cells: of each CPU, its state and who is on it
//!         └ owners: virtual nodes, each with a letter and a hue
//! ```
//! Nothing here knows of widths, colours or fonts.

mod grid;
mod guests;
mod signs;
mod status;

use std::collections::BTreeMap;

use numapin_core::host::Host;
use numapin_core::id::{CoreId, CpuId, L3Id, NodeId, PackageId, VcpuId, VnodeId};
use numapin_core::idset::{CpuSet, NodeSet, VcpuSet};

pub(crate) use guests::{Drawn, Scene};
pub(crate) use signs::{Ink, Key, Sign, Signs};

/// A host and who is where on it.
#[derive(Debug, Clone)]
pub(crate) struct Drawing {
    /// Host nodes ascending, then CPUs without a host node, then those that are offline.
    pub(crate) boxes: Vec<NodeBox>,
    /// What there is to say of each CPU of the boxes.
    pub(crate) cells: BTreeMap<CpuId, Cell>,
    /// Who can be on a CPU: of each guest its virtual nodes, ascending; then other guests.
    pub(crate) owners: Vec<Owner>,
    /// Devices of the guests that are drawn whose host node is not known.
    pub(crate) devices: Vec<PciDevice>,
}

/// CPUs that belong together by where they are.
#[derive(Debug, Clone)]
pub(crate) struct NodeBox {
    /// What they have in common.
    pub(crate) place: Place,
    /// Their packages, ascending.
    pub(crate) packages: Vec<PackageId>,
    /// The memory of the host node in KiB, where it is known.
    pub(crate) memory_kib: Option<u64>,
    /// Distances to all host nodes; empty where they are not known.
    pub(crate) distances: BTreeMap<NodeId, u32>,
    /// Its L3s, those with cores of several kinds once for each kind.
    pub(crate) groups: Vec<Group>,
    /// Devices of the guests that are drawn, nearest to this host node.
    pub(crate) devices: Vec<PciDevice>,
}

/// What the CPUs of a box have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The host node.
    Node(NodeId),
    /// They belong to none.
    NoNode,
    /// They are offline: where they belong is not known.
    Offline,
}

/// Cores of one kind that share an L3; without L3 data those of a host node.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// The L3.
    pub(crate) l3: Option<L3Id>,
    /// Other host nodes with CPUs of the same L3.
    pub(crate) also_on: NodeSet,
    /// What the cores are, on a host with several kinds.
    pub(crate) kind: Option<Kind>,
    /// The cores, ascending.
    pub(crate) cores: Vec<Core>,
}

/// A kind of core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The faster of two.
    Performance,
    /// The slower of two.
    Efficiency,
    /// One of three or more, 0 the fastest.
    Of(u32),
}

/// A core.
#[derive(Debug, Clone)]
pub(crate) struct Core {
    /// Which one; `None` for a CPU whose core is not known.
    pub(crate) id: Option<CoreId>,
    /// Its SMT threads, ascending.
    pub(crate) cpus: Vec<CpuId>,
}

/// A CPU.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    /// What it is apart from guests.
    pub(crate) state: State,
    /// Who is on it, in the order of owners.
    pub(crate) holders: Vec<Holder>,
}

/// What a CPU is apart from guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Nothing speaks against it.
    Usable,
    /// Isolated from the scheduler.
    Isolated,
    /// Kept for the host.
    Reserved,
    /// The cpuset does not allow it.
    Forbidden,
    /// Offline.
    Offline,
}

/// Somebody on a CPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Who, by its place among the owners.
    pub(crate) owner: usize,
    /// In which way.
    pub(crate) how: How,
    /// With which vCPUs.
    pub(crate) vcpus: VcpuSet,
}

/// In which way somebody is on a CPU; the stronger first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum How {
    /// Its vCPU runs there and nowhere else.
    Alone,
    /// Nothing runs there: the CPU is kept idle beside a vCPU on the same core.
    Idle,
    /// Nothing runs there yet: it is for a vCPU that is not plugged, and held by nobody until then.
    Later,
    /// Its vCPUs may run there and on others.
    Mask,
}

/// Somebody who can be on CPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The guest, as output calls it.
    pub(crate) guest: String,
    /// The virtual node, where the guest has several.
    pub(crate) virtual_node: Option<VnodeId>,
    /// Whether it is a guest beside those that are drawn.
    pub(crate) other: bool,
}

impl Owner {
    /// A guest, or a virtual node of it, by a name that fits a legend: of the path of a config its end is told.
    pub(crate) fn new(guest: &str, virtual_node: Option<VnodeId>, other: bool) -> Self {
        Self {
            guest: short(guest),
            virtual_node,
            other,
        }
    }
}

/// A PCI device of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PciDevice {
    /// Its address.
    pub(crate) address: String,
    /// The guest.
    pub(crate) guest: String,
}

impl PciDevice {
    /// What devices are and whose, those of a guest together.
    pub(crate) fn told(devices: &[Self]) -> Vec<String> {
        let of_guests = devices.chunk_by(|one, next| one.guest == next.guest);
        let told = |of: &[Self]| {
            let addresses: Vec<&str> = of.iter().map(|device| &*device.address).collect();
            format!("PCI {} of guest {}", addresses.join(", "), of[0].guest)
        };
        of_guests.map(told).collect()
    }
}

impl Drawing {
    /// A host with nobody on it.
    pub(crate) fn new(host: &Host) -> Self {
        let (boxes, cells) = grid::of(host);
        Self {
            boxes,
            cells,
            owners: Vec::new(),
            devices: Vec::new(),
        }
    }

    /// Whether anybody is on any CPU.
    pub(crate) fn is_empty(&self) -> bool {
        self.cells.values().all(|cell| cell.holders.is_empty())
    }

    /// Puts an owner on CPUs. The stronger way counts where it is there already; CPUs that the host does not have are passed
    /// over.
    fn hold(&mut self, owner: usize, cpus: &CpuSet, how: How, vcpu: Option<VcpuId>) {
        for cpu in cpus.iter() {
            let Some(cell) = self.cells.get_mut(&cpu) else {
                continue;
            };
            let at = cell.holders.partition_point(|holder| holder.owner < owner);
            match cell.holders.get_mut(at) {
                Some(holder) if holder.owner == owner => {
                    holder.how = holder.how.min(how);
                    holder.vcpus.extend(vcpu);
                }
                _ => cell.holders.insert(
                    at,
                    Holder {
                        owner,
                        how,
                        vcpus: vcpu.into_iter().collect(),
                    },
                ),
            }
        }
    }
}

impl Group {
    /// The most threads of a core.
    pub(crate) fn threads(&self) -> usize {
        let threads = self.cores.iter().map(|core| core.cpus.len());
        threads.max().unwrap_or(0)
    }
}

impl Kind {
    /// Its name, as the policy key `kind` has it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Performance => "performance".to_owned(),
            Self::Efficiency => "efficiency".to_owned(),
            Self::Of(kind) => format!("kind {kind}"),
        }
    }
}

/// The end of a name that is long.
pub(crate) fn short(name: &str) -> String {
    const LONGEST: usize = 40;
    let length = name.chars().count();
    match length > LONGEST {
        true => {
            let end = name.chars().skip(length - (LONGEST - 3));
            format!("...{}", end.collect::<String>())
        }
        false => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn the_end_of_a_long_name_is_told() {
        assert_eq!(short("100"), "100");
        let long = "a".repeat(50) + "-the-guest";
        assert_eq!(short(&long).chars().count(), 40);
        assert!(short(&long).starts_with("...a") && short(&long).ends_with("a-the-guest"));
    }
}
