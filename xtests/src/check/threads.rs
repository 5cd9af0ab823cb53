//! The masks of the guest's other threads: keep, node, spare.

use numapin_core::idset::{CpuSet, NodeSet};
use numapin_core::policy::{Mode, Place};

use super::Check;

impl Check<'_> {
    pub(super) fn threads(&mut self) {
        let policy = self.scene.policy;
        let threads = &self.plan.threads;
        for (name, asked, mask) in [
            ("emulator", policy.emulator, &threads.emulator),
            ("iothreads", policy.iothreads, &threads.iothreads),
            ("vhost", policy.vhost, &threads.vhost),
        ] {
            self.thread(name, asked, mask.as_ref());
        }
    }

    fn thread(&mut self, name: &str, asked: Option<Place>, mask: Option<&CpuSet>) {
        if self.scene.policy.mode == Mode::Shared {
            // Its host nodes are all of them, or none: the manual does not say.
            return;
        }
        let one_to_one = self.scene.policy.mode == Mode::OneToOne;
        let place = asked.unwrap_or(if one_to_one {
            Place::Spare
        } else {
            Place::Keep
        });
        let spare = self.spare();
        // The default takes spare CPUs only where there are at least two.
        let enough = if asked.is_none() { 2 } else { 1 };
        let expected = match place {
            Place::Keep => None,
            Place::Node => Some(self.cpus_of_nodes().intersection(&self.scene.usable)),
            Place::Spare => Some(spare).filter(|cpus| cpus.len() >= enough),
        };
        self.same(
            &format!("mask of {name} ({place})"),
            mask,
            expected.as_ref(),
        );
    }

    /// The reserved and the unclaimed CPUs of the guest's host nodes, not limited by `affinity` but by the cpuset, never isolated
    /// ones, without those planned for this guest.
    fn spare(&self) -> CpuSet {
        let scene = self.scene;
        let own = self.own();
        let free = |id: &_| scene.host.reserved.contains(*id) || !scene.claimed.contains(*id);
        let allowed = scene.host.allowed.as_ref();
        let cpus = self.cpus_of_nodes().difference(&own);
        let cpus = cpus.difference(&scene.host.isolated);
        cpus.iter()
            .filter(|id| free(id) && allowed.is_none_or(|a| a.contains(*id)))
            .collect()
    }

    /// The CPUs that are planned for the guest alone, also for vCPUs that are not plugged, with the siblings that smt=isolate
    /// keeps idle. Masks of several CPUs are no one's own.
    fn own(&self) -> CpuSet {
        let alone = self.plan.vcpus.iter().filter(|v| v.cpus.len() == 1);
        let own = alone.fold(CpuSet::new(), |own, v| own.union(&v.cpus));
        self.with_idle_siblings(&own)
    }

    fn cpus_of_nodes(&self) -> CpuSet {
        let placed = self.plan.virtual_nodes.iter();
        let nodes = placed.fold(NodeSet::new(), |all, n| all.union(&n.host_nodes));
        let found = nodes.iter().filter_map(|id| self.scene.host.node(id));
        found.fold(CpuSet::new(), |all, node| all.union(&node.cpus))
    }
}
