//! Who is on the host: plans, what guests have now, and what others hold.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use numapin_core::claims::Claims;
use numapin_core::guest::{Guest, GuestName, VirtualNode};
use numapin_core::host::Host;
use numapin_core::id::{CpuId, VcpuId, VnodeId};
use numapin_core::idset::CpuSet;
use numapin_core::placement::Plan;
use numapin_core::sorted;

use super::signs::guests_named;
use super::{Cell, Drawing, Holder, How, Owner, PciDevice, Place, short};

/// A guest to be drawn with its plan.
pub(crate) struct Drawn<'a> {
    /// How output calls it.
    pub(crate) label: &'a str,
    /// The guest.
    pub(crate) guest: &'a Guest,
    /// Its plan.
    pub(crate) plan: &'a Plan,
    /// The masks that its vCPUs have now; empty where it does not run.
    pub(crate) now: &'a BTreeMap<VcpuId, CpuSet>,
}

/// A host before and after plans. Both have the same owners.
pub(crate) struct Scene {
    /// What is.
    pub(crate) before: Drawing,
    /// With the plans.
    pub(crate) after: Drawing,
    /// What is and can't be seen: guests that can be on any CPU, and those that do not run.
    pub(crate) unseen: Vec<String>,
}

impl Scene {
    /// Plans on a host beside what other guests hold.
    pub(crate) fn new(host: &Host, guests: &[Drawn<'_>], others: &Claims) -> Self {
        let mut base = Drawing::new(&Host {
            // What a cpuset allows is told of one guest, and the picture is of all.
            allowed: None,
            ..host.clone()
        });
        let online = host.online();
        // A guest that is nowhere to be seen needs no letter.
        let seen = guests.iter().filter(|drawn| {
            let pinned = drawn.now.values().any(|mask| !online.is_subset(mask));
            pinned || !drawn.plan.vcpus.is_empty()
        });
        let seen: Vec<_> = seen.map(|drawn| (base.add_guest(drawn), drawn)).collect();
        base.add_others(others);
        let (mut before, mut after) = (base.clone(), base);
        for (first, drawn) in seen {
            before.masks(first, drawn.guest, drawn.now, &online);
            after.plan(first, drawn.guest, drawn.plan);
        }
        Self {
            before,
            after,
            unseen: unseen(&online, guests, others),
        }
    }
}

impl Drawing {
    /// One owner for each virtual node, and the guest's devices at their host nodes. Returns the first of the owners.
    fn add_guest(&mut self, drawn: &Drawn<'_>) -> usize {
        let first = self.owners.len();
        let nodes = &drawn.guest.virtual_nodes;
        let owner = |node: &VirtualNode| {
            let several = (nodes.len() > 1).then_some(node.id);
            Owner::new(drawn.label, several, false)
        };
        self.owners.extend(nodes.iter().map(owner));
        for device in &drawn.guest.devices {
            let home = device.node.map(Place::Node);
            let mut boxes = self.boxes.iter_mut();
            let at_home = boxes.find(|at| Some(at.place) == home);
            let devices = at_home.map_or(&mut self.devices, |home| &mut home.devices);
            devices.push(PciDevice {
                address: device.address.clone(),
                guest: short(drawn.label),
            });
        }
        first
    }

    /// Other guests than those that are drawn, each as one owner.
    pub(super) fn add_others(&mut self, claims: &Claims) {
        let drawn: BTreeSet<String> = sorted::set(self.owners.iter().map(|of| of.guest.clone()));
        let other = |guest: &GuestName| !drawn.contains(&short(&guest.0));
        for (cpu, holders) in &claims.one_to_one {
            for holder in holders.iter().filter(|holder| other(holder)) {
                let owner = self.other(&holder.0);
                self.hold(owner, &CpuSet::from_iter([*cpu]), How::Alone, None);
            }
        }
        let pinned = claims.set_pinned.iter();
        for pinned in pinned.filter(|pinned| other(&pinned.guest)) {
            let owner = self.other(&pinned.guest.0);
            self.hold(owner, &pinned.mask, How::Mask, None);
        }
    }

    fn other(&mut self, guest: &str) -> usize {
        let owner = Owner::new(guest, None, true);
        if let Some(at) = self.owners.iter().position(|known| *known == owner) {
            return at;
        }
        self.owners.push(owner);
        self.owners.len() - 1
    }

    /// A guest as it is planned.
    fn plan(&mut self, first: usize, guest: &Guest, plan: &Plan) {
        for placed in &plan.vcpus {
            let owner = first + place_of(guest, placed.virtual_node);
            let how = match how(&placed.cpus) {
                How::Alone if !guest.plugged.contains(placed.vcpu) => How::Later,
                how => how,
            };
            self.hold(owner, &placed.cpus, how, Some(placed.vcpu));
        }
        self.hold_idle(first..first + guest.virtual_nodes.len(), &plan.claims);
    }

    /// What these owners hold without a vCPU on it.
    pub(super) fn hold_idle(&mut self, owners: Range<usize>, claims: &CpuSet) {
        for cpu in claims.iter() {
            let mine = |holder: &Holder| owners.contains(&holder.owner);
            let there = |cell: &Cell| cell.holders.iter().any(mine);
            if self.cells.get(&cpu).is_none_or(there) {
                continue;
            }
            if let Some(owner) = self.beside(cpu, &owners) {
                self.hold(owner, &CpuSet::from_iter([cpu]), How::Idle, None);
            }
        }
    }

    /// Who of these owners has a CPU of its own on the core of this one.
    fn beside(&self, cpu: CpuId, owners: &Range<usize>) -> Option<usize> {
        let groups = self.boxes.iter().flat_map(|at| &at.groups);
        let mut cores = groups.flat_map(|group| &group.cores);
        let core = cores.find(|core| core.cpus.contains(&cpu))?;
        let cells = core.cpus.iter().filter_map(|cpu| self.cells.get(cpu));
        let mut holders = cells.flat_map(|cell| &cell.holders);
        holders
            .find(|holder| holder.how == How::Alone && owners.contains(&holder.owner))
            .map(|holder| holder.owner)
    }

    /// A guest with the masks that its vCPUs have. One that leaves no online CPU out is nobody's pin.
    fn masks(
        &mut self,
        first: usize,
        guest: &Guest,
        now: &BTreeMap<VcpuId, CpuSet>,
        online: &CpuSet,
    ) {
        for (vcpu, mask) in now {
            let of = |node: &VirtualNode| node.vcpus.contains(*vcpu);
            let node = guest.virtual_nodes.iter().position(of);
            if let Some(node) = node
                && !online.is_subset(mask)
            {
                self.hold(first + node, mask, how(mask), Some(*vcpu));
            }
        }
    }
}

/// Guests that no CPU of a picture of what is shows.
fn unseen(online: &CpuSet, guests: &[Drawn<'_>], others: &Claims) -> Vec<String> {
    let drawn = |name: &GuestName| guests.iter().any(|drawn| drawn.guest.name == *name);
    let anywhere = |drawn: &&Drawn<'_>| drawn.now.values().any(|mask| online.is_subset(mask));
    let here = guests.iter().filter(anywhere).map(|drawn| drawn.label);
    let beside = others.unpinned.keys().filter(|name| !drawn(name));
    let anywhere: Vec<&str> = here.chain(beside.map(|name| name.0.as_str())).collect();
    let stopped = guests.iter().filter(|drawn| drawn.now.is_empty());
    let stopped: Vec<&str> = stopped.map(|drawn| drawn.label).collect();
    [
        (anywhere, "not pinned, can be on any cpu"),
        (stopped, "not running"),
    ]
    .into_iter()
    .filter(|(names, _)| !names.is_empty())
    .map(|(names, what)| format!("{what}: {}", guests_named(&names)))
    .collect()
}

/// In which way a vCPU with this mask is on each of its CPUs.
pub(super) fn how(mask: &CpuSet) -> How {
    match mask.len() {
        1 => How::Alone,
        _ => How::Mask,
    }
}

fn place_of(guest: &Guest, node: VnodeId) -> usize {
    let nodes = &guest.virtual_nodes;
    nodes.iter().position(|of| of.id == node).unwrap_or(0)
}
