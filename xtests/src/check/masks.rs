//! Masks: which CPUs each mode gives, and what the guest claims with them.

use std::collections::{BTreeMap, BTreeSet};

use numapin_core::id::CpuId;
use numapin_core::idset::{CpuSet, NodeSet};
use numapin_core::policy::{Mode, Overlap};

use super::Check;
use crate::cost::Placement;
use crate::twin;

impl Check<'_> {
    /// One CPU each, none twice, dealt in topological order; smt and overlap.
    pub(super) fn one_to_one(&mut self) {
        let mut taken: Vec<CpuId> = Vec::new();
        for placed in &self.plan.vcpus {
            match placed.cpus.first() {
                Some(cpu) if placed.cpus.len() == 1 && !taken.contains(&cpu) => taken.push(cpu),
                _ => self.fault(format!(
                    "vcpu {} is on cpu(s) {}, not on one CPU of its own",
                    placed.vcpu, placed.cpus
                )),
            }
        }
        if taken.len() < self.plan.vcpus.len() {
            return;
        }
        for (part, placed) in self.parts.clone().iter().zip(&self.plan.virtual_nodes) {
            let cpus = self.cpus_of(&part.vcpus);
            let name = format!("host nodes of virtual node {}", part.node.id);
            let nodes = self.nodes_of(&cpus);
            self.same(&name, &placed.host_nodes, &nodes);
        }
        let (placement, _) = self.placement();
        let cores: Vec<usize> = placement
            .cpus
            .iter()
            .map(|c| self.scene.cpus[*c].core)
            .collect();
        if self.scene.is_isolate() {
            let distinct: BTreeSet<_> = cores.iter().collect();
            self.same("cores used with smt=isolate", distinct.len(), taken.len());
            if cores
                .iter()
                .any(|core| !self.scene.is_free_of_denied(*core))
            {
                self.fault("a core has a CPU that overlap=deny makes unusable".to_owned());
            }
        }
        let dealt = twin::masks(self.scene, &self.parts, &placement);
        for placed in &self.plan.vcpus {
            let name = format!("cpu of vcpu {}, in topological order", placed.vcpu);
            self.same(&name, Some(&placed.cpus), dealt.get(&placed.vcpu));
        }
    }

    /// numa and l3: areas, and masks that are their unclaimed part or the whole.
    pub(super) fn masks_of_areas(&mut self) {
        let (placement, _) = self.placement();
        let masks = twin::masks(self.scene, &self.parts, &placement);
        for placed in &self.plan.vcpus {
            let name = format!("mask of vcpu {}", placed.vcpu);
            self.same(&name, Some(&placed.cpus), masks.get(&placed.vcpu));
        }
        for area in &placement.areas {
            if area.cpus.len() < area.vcpus {
                let (vcpus, cpus) = (area.vcpus, self.scene.ids(&area.cpus));
                self.fault(format!("{vcpus} vcpus have an area of cpu(s) {cpus}"));
            }
        }
    }

    /// shared: the usable CPUs of the host, without the claimed ones where enough are left.
    pub(super) fn masks_of_the_host(&mut self) {
        let area = &self.scene.usable;
        let unclaimed = area.difference(&self.scene.claimed);
        for part in &self.parts.clone() {
            let mask = if unclaimed.len() >= part.count {
                &unclaimed
            } else {
                area
            };
            for placed in self
                .plan
                .vcpus
                .iter()
                .filter(|v| part.vcpus.contains(v.vcpu))
            {
                self.same(&format!("mask of vcpu {}", placed.vcpu), &placed.cpus, mask);
            }
        }
    }

    /// What the guest holds one-to-one: the CPUs of plugged vCPUs and the idle siblings of smt=isolate.
    pub(super) fn claims(&mut self) {
        let plugged = self.scene.guest.plugged.iter();
        let mut own = CpuSet::new();
        for vcpu in plugged {
            let cpus = self.cpus_of(&std::iter::once(vcpu).collect());
            if cpus.len() == 1 {
                own.extend(cpus.iter());
            }
        }
        let own = self.with_idle_siblings(&own);
        let none = CpuSet::new();
        let may_be_none = self.scene.policy.mode != Mode::OneToOne;
        if !(may_be_none && self.plan.claims == none) {
            self.same("claims", &self.plan.claims, &own);
        }
        if self.scene.policy.overlap == Overlap::Deny && !own.is_disjoint(&self.scene.claimed) {
            self.fault("CPUs of others are claimed under overlap=deny".to_owned());
        }
    }

    /// The placement that the masks show, and whether they show all of it.
    pub(super) fn placement(&self) -> (Placement, bool) {
        let scene = self.scene;
        let number = |nodes: &NodeSet| -> Vec<usize> {
            nodes
                .iter()
                .filter_map(|id| scene.node_number(id))
                .collect()
        };
        let nodes = self
            .plan
            .virtual_nodes
            .iter()
            .map(|n| number(&n.host_nodes));
        let mut placement = Placement {
            nodes: nodes.collect(),
            ..Placement::default()
        };
        let all = self.cpus_of(&self.plan.vcpus.iter().map(|v| v.vcpu).collect());
        placement.cpus = all.iter().filter_map(|id| scene.number_of(id)).collect();
        if scene.policy.mode == Mode::OneToOne {
            return (placement, true);
        }
        let mut sure = true;
        let distinct: BTreeSet<Vec<usize>> = placement.nodes.iter().cloned().collect();
        for nodes in distinct {
            let mut cpus: Vec<usize> = nodes.iter().flat_map(|n| scene.usable_of(*n)).collect();
            cpus.sort_unstable();
            if scene.policy.mode == Mode::L3 {
                sure &= self.keep_chosen_l3s(&nodes, &mut cpus, &placement);
            }
            let area = twin::area(scene, &self.parts, &placement.nodes, &cpus);
            placement.areas.push(area);
        }
        (placement, sure)
    }

    /// Keeps the CPUs of the L3s that the masks on some host nodes show. Where those are too few for the vCPUs there, the plan
    /// has chosen L3s, too, whose CPUs are all claimed: no mask shows them, and the largest are as few as suffice. False where
    /// that is so: others may have been chosen.
    fn keep_chosen_l3s(
        &self,
        nodes: &[usize],
        cpus: &mut Vec<usize>,
        placement: &Placement,
    ) -> bool {
        let l3 = |cpu: &usize| self.scene.cpus[*cpu].l3;
        let here = |cpu: &&usize| nodes.contains(&self.scene.cpus[**cpu].node);
        let mut chosen: BTreeSet<usize> = placement.cpus.iter().filter(here).map(l3).collect();
        let parts = self.parts.iter().zip(&placement.nodes);
        let vcpus: usize = parts
            .filter(|(_, n)| n[..] == *nodes)
            .map(|(p, _)| p.count)
            .sum();
        let mut hidden: BTreeMap<usize, usize> = BTreeMap::new();
        for cpu in cpus.iter().filter(|cpu| !chosen.contains(&l3(cpu))) {
            *hidden.entry(l3(cpu)).or_default() += 1;
        }
        let mut hidden: Vec<(usize, usize)> = hidden.into_iter().collect();
        hidden.sort_by_key(|(l3, size)| (std::cmp::Reverse(*size), *l3));
        let mut sure = true;
        let claimed = |of: usize| {
            let mut own = cpus.iter().filter(|cpu| l3(cpu) == of);
            own.all(|cpu| self.scene.cpus[*cpu].claimed)
        };
        for (of, _) in hidden {
            let room = cpus.iter().filter(|cpu| chosen.contains(&l3(cpu))).count();
            if room < vcpus && claimed(of) {
                chosen.insert(of);
                sure = false;
            }
        }
        cpus.retain(|cpu| chosen.contains(&l3(cpu)));
        sure
    }

    /// CPUs of the guest's own with the idle siblings that smt=isolate claims, too.
    pub(super) fn with_idle_siblings(&self, own: &CpuSet) -> CpuSet {
        let mut own = own.clone();
        if self.scene.is_isolate() {
            let used: BTreeSet<usize> = own.iter().filter_map(|c| self.core_of(c)).collect();
            let cpus = self.scene.cpus.iter();
            own.extend(
                cpus.filter(|cpu| used.contains(&cpu.core))
                    .map(|cpu| cpu.id),
            );
        }
        own
    }
}
