//! The notes that the manual promises: each is there where its reason is, and only there.

use std::collections::BTreeSet;

use numapin_core::id::{NodeId, VnodeId};
use numapin_core::idset::{CpuSet, VcpuSet};
use numapin_core::placement::Note;
use numapin_core::policy::{Mode, Overlap};

use super::Check;

impl Check<'_> {
    pub(super) fn notes(&mut self) {
        self.notes_of_affinity();
        self.notes_of_who_is_placed();
        self.notes_of_nodes();
        self.notes_of_overlap();
    }

    fn notes_of_affinity(&mut self) {
        let host = self.scene.host;
        let affinity = self.scene.guest.affinity.clone().unwrap_or_default();
        let absent = affinity.difference(&host.online());
        let reserved = affinity.intersection(&host.reserved).difference(&absent);
        self.sets("affinity_absent", &absent, |note| match note {
            Note::AffinityAbsent { cpus } => Some(cpus.clone()),
            _ => None,
        });
        self.sets("affinity_reserved", &reserved, |note| match note {
            Note::AffinityReserved { cpus } => Some(cpus.difference(&absent)),
            _ => None,
        });
    }

    fn notes_of_who_is_placed(&mut self) {
        let all = self.scene.guest.vcpus();
        let left: VcpuSet = all.iter().filter(|vcpu| !self.is_placed(*vcpu)).collect();
        let told = self.told(|note| match note {
            Note::UnpluggedLeftOut { vcpus } => Some(vcpus.clone()),
            _ => None,
        });
        let expected: Vec<VcpuSet> = Some(left).filter(|l| !l.is_empty()).into_iter().collect();
        self.same("unplugged_left_out", told, expected);
    }

    fn notes_of_nodes(&mut self) {
        if self.scene.policy.mode == Mode::Shared {
            return;
        }
        let guest = self.scene.guest;
        let mut spans = false;
        let mut shared: BTreeSet<NodeId> = BTreeSet::new();
        let mut elsewhere: BTreeSet<VnodeId> = BTreeSet::new();
        for (part, placed) in self.parts.iter().zip(&self.plan.virtual_nodes) {
            spans |= placed.host_nodes.len() > 1;
            let here = |other: &numapin_core::placement::PlacedNode| {
                other.host_nodes == placed.host_nodes && other.virtual_node != placed.virtual_node
            };
            let free = part.node.host_node.is_none();
            if free && self.plan.virtual_nodes.iter().any(here) {
                shared.extend(placed.host_nodes.first());
            }
            let its_pages = std::iter::once(NodeId(part.node.id.0)).collect();
            let pages = guest.hugepages.is_some() && !guest.numa_explicit;
            if pages && free && placed.host_nodes != its_pages {
                elsewhere.insert(part.node.id);
            }
        }
        let told = self.told(|note| match note {
            Note::SharedNode { host_node, .. } => Some(*host_node),
            _ => None,
        });
        self.same("shared_node", told, shared.into_iter().collect());
        let told = self.told(|note| match note {
            Note::HugepagesElsewhere { virtual_node } => Some(*virtual_node),
            _ => None,
        });
        self.same("hugepages_elsewhere", told, elsewhere.into_iter().collect());
        let told = self.told(|note| matches!(note, Note::Spanning { .. }).then_some(true));
        self.same("spanning", !told.is_empty(), spans);
    }

    fn notes_of_overlap(&mut self) {
        let scene = self.scene;
        let planned = self.plan.vcpus.iter();
        let planned = planned.fold(CpuSet::new(), |all, v| all.union(&v.cpus));
        let one_to_one = scene.policy.mode == Mode::OneToOne;
        let mut overlap = planned.intersection(&scene.claimed);
        let mut whole: BTreeSet<VnodeId> = BTreeSet::new();
        if !one_to_one {
            for placed in &self.plan.vcpus {
                if !placed.cpus.is_disjoint(&scene.claimed) {
                    whole.insert(placed.virtual_node);
                }
            }
            overlap = CpuSet::new();
        }
        self.sets("overlap", &overlap, |note| match note {
            Note::Overlap { cpus, .. } => Some(cpus.clone()),
            _ => None,
        });
        let told = self.told(|note| match note {
            Note::WholeArea { virtual_node, .. } => Some(*virtual_node),
            _ => None,
        });
        self.same("whole_area", told, whole.into_iter().collect());
        if scene.policy.overlap != Overlap::Allow {
            return;
        }
        let sits = scene.claims.claimed().intersection(&planned);
        let told = self.told(|note| match note {
            Note::OverlapAllowed { cpus, .. } => Some(cpus.clone()),
            _ => None,
        });
        let told = told.iter().fold(CpuSet::new(), |all, cpus| all.union(cpus));
        if !sits.is_subset(&told) {
            self.fault(format!(
                "no note tells who sits on cpu(s) {}",
                sits.difference(&told)
            ));
        }
    }

    fn sets(&mut self, name: &str, expected: &CpuSet, of: impl Fn(&Note) -> Option<CpuSet>) {
        let told = self.told(of);
        let told = told.iter().fold(CpuSet::new(), |all, cpus| all.union(cpus));
        self.same(name, &told, expected);
    }

    fn told<T: Ord>(&self, of: impl Fn(&Note) -> Option<T>) -> Vec<T> {
        let mut told: Vec<T> = self.plan.notes.iter().filter_map(of).collect();
        told.sort();
        told
    }
}
