//! Whether a plan keeps to the manual: rules, masks, dealing, claims, cost, masks of the other threads, notes. For hosts of any
//! size; that no other plan is better is for the twin to say.

mod masks;
mod notes;
mod threads;

use std::collections::{BTreeMap, BTreeSet};

use numapin_core::claims::Claims;
use numapin_core::guest::Guest;
use numapin_core::host::Host;
use numapin_core::id::{CpuId, NodeId, VcpuId};
use numapin_core::idset::{CpuSet, NodeSet, VcpuSet};
use numapin_core::placement::{Item, PlacedNode, PlacedVcpu, Plan};
use numapin_core::policy::{Mode, Policy};

use crate::cost::Judge;
use crate::scene::{Part, Scene};

/// What is wrong with a plan, each fault in words; empty where it keeps to every rule.
#[must_use]
pub fn check_plan(
    host: &Host,
    guest: &Guest,
    claims: &Claims,
    policy: &Policy,
    plan: &Plan,
) -> Vec<String> {
    let scene = Scene::new(host, guest, claims, policy);
    let mut check = Check::new(&scene, plan);
    check.run();
    check.faults
}

/// What is wrong with the notes of a plan that keeps to every other rule.
#[must_use]
pub fn check_notes(
    host: &Host,
    guest: &Guest,
    claims: &Claims,
    policy: &Policy,
    plan: &Plan,
) -> Vec<String> {
    let scene = Scene::new(host, guest, claims, policy);
    let mut check = Check::new(&scene, plan);
    if policy.mode != Mode::None && check.who_is_placed() {
        check.notes();
    }
    check.faults
}

struct Check<'a> {
    scene: &'a Scene<'a>,
    plan: &'a Plan,
    /// The virtual nodes with the vCPUs that the plan places.
    parts: Vec<Part<'a>>,
    faults: Vec<String>,
}

impl<'a> Check<'a> {
    fn new(scene: &'a Scene<'a>, plan: &'a Plan) -> Self {
        Self {
            scene,
            plan,
            parts: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn run(&mut self) {
        let Scene { guest, policy, .. } = self.scene;
        self.same("guest", &self.plan.guest, &guest.name);
        self.same("mode", self.plan.mode, policy.mode);
        self.same("smt", self.plan.smt, policy.smt);
        if policy.mode == Mode::None {
            self.same("vcpus of mode none", self.plan.vcpus.len(), 0);
            self.same("claims of mode none", &self.plan.claims, &CpuSet::new());
            return;
        }
        if !self.who_is_placed() {
            return;
        }
        let rest = self.faults.len();
        self.masks_hold_usable_cpus();
        self.virtual_nodes_go_where_they_may();
        match policy.mode {
            Mode::OneToOne => self.one_to_one(),
            Mode::Shared => self.masks_of_the_host(),
            _ => self.masks_of_areas(),
        }
        self.claims();
        if self.faults.len() == rest && policy.mode != Mode::Shared {
            self.room();
            self.cost();
        }
        self.threads();
    }

    fn fault(&mut self, text: String) {
        self.faults.push(text);
    }

    fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, is: T, expected: T) {
        if is != expected {
            self.fault(format!("{what}: is {is:?}, expected {expected:?}"));
        }
    }

    /// Each vCPU has its mask, or each that is plugged.
    fn who_is_placed(&mut self) -> bool {
        let plan = self.plan;
        let placed: VcpuSet = plan.vcpus.iter().map(|v| v.vcpu).collect();
        if !plan.vcpus.is_sorted_by_key(|v| v.vcpu) || placed.len() != plan.vcpus.len() {
            self.fault("vcpus are not in ascending order, each once".to_owned());
        }
        let guest = self.scene.guest;
        let all = guest.vcpus();
        if placed != all && placed != guest.plugged.intersection(&all) {
            self.fault(format!(
                "vcpus placed are {placed}, neither all of {all} nor the plugged"
            ));
            return false;
        }
        self.parts = self.scene.parts(placed != all);
        let parts: Vec<_> = self.parts.iter().map(|p| p.node.id).collect();
        let nodes: Vec<_> = plan.virtual_nodes.iter().map(|n| n.virtual_node).collect();
        self.same("virtual nodes", nodes, parts);
        for vcpu in &plan.vcpus {
            let is = Some(vcpu.virtual_node);
            self.same(
                "virtual node of a vcpu",
                is,
                self.scene.virtual_node_of(vcpu.vcpu),
            );
        }
        self.plan.virtual_nodes.len() == self.parts.len()
    }

    fn masks_hold_usable_cpus(&mut self) {
        for placed in &self.plan.vcpus {
            let PlacedVcpu { vcpu, cpus, .. } = placed;
            if cpus.is_empty() {
                self.fault(format!("vcpu {vcpu} has an empty mask"));
            }
            let wrong = cpus.difference(&self.scene.usable);
            if !wrong.is_empty() {
                self.fault(format!(
                    "vcpu {vcpu} is on cpu(s) {wrong} that are not usable"
                ));
            }
            let nodes = self.nodes_of(cpus);
            self.same(
                &format!("host nodes of vcpu {vcpu}"),
                &placed.host_nodes,
                &nodes,
            );
        }
    }

    /// Rules 1, 2 and 4.
    fn virtual_nodes_go_where_they_may(&mut self) {
        if self.scene.policy.mode == Mode::Shared {
            return;
        }
        let alone = self.parts.len() == 1;
        for (part, placed) in self.parts.clone().iter().zip(&self.plan.virtual_nodes) {
            let PlacedNode {
                virtual_node,
                host_nodes,
                ..
            } = placed;
            let name = format!("virtual node {virtual_node} on host node(s) {host_nodes}");
            if host_nodes.is_empty() {
                self.fault(format!("{name}: it has none"));
            }
            for id in host_nodes.iter() {
                let number = self.scene.node_number(id);
                if number.is_none_or(|n| self.scene.usable_of(n).is_empty()) {
                    self.fault(format!("{name}: host node {id} has no usable CPU"));
                }
            }
            match part.node.host_node {
                Some(id) if *host_nodes != std::iter::once(id).collect() => {
                    self.fault(format!("{name}: hostnodes says {id}"));
                }
                None if host_nodes.len() > 1 && !alone => {
                    self.fault(format!(
                        "{name}: only a guest with one virtual node may span"
                    ));
                }
                _ => {}
            }
            for vcpu in self
                .plan
                .vcpus
                .iter()
                .filter(|v| part.vcpus.contains(v.vcpu))
            {
                if !self.nodes_of(&vcpu.cpus).is_subset(host_nodes) {
                    self.fault(format!(
                        "{name}: vcpu {} is on cpu(s) {}",
                        vcpu.vcpu, vcpu.cpus
                    ));
                }
            }
        }
    }

    /// Rule 1: each host node has usable CPUs, or with smt=isolate cores, for all vCPUs there.
    fn room(&mut self) {
        let mut needs: BTreeMap<NodeSet, usize> = BTreeMap::new();
        for (part, placed) in self.parts.iter().zip(&self.plan.virtual_nodes) {
            *needs.entry(placed.host_nodes.clone()).or_default() += part.count;
        }
        for (nodes, vcpus) in needs {
            let numbers = nodes.iter().filter_map(|id| self.scene.node_number(id));
            let room: usize = numbers.map(|number| self.scene.room(number)).sum();
            if room < vcpus {
                self.fault(format!(
                    "host node(s) {nodes} have room for {room}, not {vcpus} vcpus"
                ));
            }
        }
    }

    /// The cost is that of the plan as it stands, item by item, in order.
    fn cost(&mut self) {
        let (placement, sure) = self.placement();
        let judge = Judge::new(self.scene, &self.parts);
        let expected: Vec<(String, String)> = judge
            .cost(&placement, None)
            .unwrap_or_default()
            .iter()
            .map(|(item, value)| (item.to_string(), value.to_string()))
            .collect();
        let is = self.plan.cost.iter();
        let is: Vec<_> = is
            .map(|(item, v)| (item.to_string(), v.to_string()))
            .collect();
        if is.len() != expected.len() {
            self.fault(format!("the cost has {} items", is.len()));
        }
        for (is, expected) in is.iter().zip(&expected) {
            if sure || is.0 != Item::Load.name() {
                self.same("cost", is, expected);
            }
        }
    }

    fn cpus_of(&self, vcpus: &VcpuSet) -> CpuSet {
        let placed = self.plan.vcpus.iter().filter(|v| vcpus.contains(v.vcpu));
        placed.fold(CpuSet::new(), |all, v| all.union(&v.cpus))
    }

    fn nodes_of(&self, cpus: &CpuSet) -> NodeSet {
        let found = cpus.iter().filter_map(|id| self.scene.host.cpu(id)?.node);
        found.collect::<BTreeSet<NodeId>>().into_iter().collect()
    }

    fn core_of(&self, id: CpuId) -> Option<usize> {
        self.scene
            .number_of(id)
            .map(|number| self.scene.cpus[number].core)
    }

    fn is_placed(&self, vcpu: VcpuId) -> bool {
        self.plan.vcpus.iter().any(|placed| placed.vcpu == vcpu)
    }
}
