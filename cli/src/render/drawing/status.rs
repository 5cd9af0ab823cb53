//! Who is on the host now, as `status` tells it.

use numapin_core::claims::Claims;
use numapin_core::host::Host;
use numapin_core::id::VcpuId;
use numapin_core::idset::CpuSet;
use numapin_core::process::ThreadKind;

use super::guests::how;
use super::{Drawing, Owner};
use crate::survey::{GuestState, GuestStatus};

impl Drawing {
    /// Guests with the masks that their vCPUs have, beside what others hold; one that is starting with those of its plan.
    pub(crate) fn of_status(host: &Host, guests: &[GuestStatus], claims: &Claims) -> Self {
        let mut drawing = Self::new(&Host {
            // What a cpuset allows is told of one guest, and the picture is of all.
            allowed: None,
            ..host.clone()
        });
        let online = host.online();
        for guest in guests {
            drawing.add_status(guest, &online);
        }
        drawing.add_others(claims);
        drawing
    }

    fn add_status(&mut self, guest: &GuestStatus, online: &CpuSet) {
        let starting = guest.state == GuestState::Starting;
        let masks: Vec<(VcpuId, &CpuSet)> = guest
            .threads
            .iter()
            .filter_map(|thread| {
                let ThreadKind::Vcpu { vcpu } = thread.kind else {
                    return None;
                };
                let planned = thread.planned.as_ref().filter(|_| starting);
                Some((vcpu, planned.or(thread.actual.as_ref())?))
            })
            // A mask that leaves no online CPU out is nobody's pin.
            .filter(|(_, mask)| !online.is_subset(mask))
            .collect();
        if masks.is_empty() {
            return;
        }
        let first = self.owners.len();
        let mut nodes: Vec<_> = guest.virtual_nodes.values().copied().collect();
        nodes.sort_unstable();
        nodes.dedup();
        let several = nodes.len() > 1;
        let owner = |virtual_node| Owner::new(&guest.guest.0, virtual_node, false);
        match several {
            true => {
                let nodes = nodes.iter().copied();
                self.owners.extend(nodes.map(|node| owner(Some(node))));
            }
            false => self.owners.push(owner(None)),
        }
        for (vcpu, mask) in masks {
            let node = guest.virtual_nodes.get(&vcpu).filter(|_| several);
            let at = node.and_then(|node| nodes.binary_search(node).ok());
            self.hold(first + at.unwrap_or(0), mask, how(mask), Some(vcpu));
        }
        self.hold_idle(first..self.owners.len(), &guest.claimed);
    }
}
