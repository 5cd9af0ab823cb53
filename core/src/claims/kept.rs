//! A plan as it is kept for as long as its process lives: where everything goes, and what can be made of it when claims
//! change or CPUs go offline.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};

use crate::guest::Guest;
use crate::host::{Cpu, Host};
use crate::id::{CpuId, L3Id, NodeId, VcpuId, VnodeId};
use crate::idset::{CpuSet, NodeSet, VcpuSet};
use crate::placement::{PlacedNode, PlacedVcpu, Plan, ThreadMasks, usable};
use crate::policy::{Mode, Overlap, Place, Policy, Smt};
use crate::sorted;

/// A plan as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeptPlan {
    /// The mode it was made with.
    pub mode: Mode,
    /// The smt policy it was made with (one-to-one).
    pub smt: Smt,
    /// What other guests' CPUs mean to it.
    pub overlap: Overlap,
    /// The vCPUs that were plugged, or were to be plugged at the start.
    pub plugged: VcpuSet,
    /// One for each virtual node, ascending.
    pub virtual_nodes: Vec<KeptNode>,
    /// One for each vCPU, ascending.
    pub vcpus: Vec<KeptVcpu>,
    /// Masks of the guest's other threads.
    pub threads: ThreadMasks,
    /// Which of those masks are of spare CPUs: they give way to one-to-one guests that come later.
    pub spare: SpareThreads,
}

/// Where a virtual node went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeptNode {
    /// Which one, with its vCPUs and host nodes.
    #[serde(flatten)]
    pub placed: PlacedNode,
    /// The usable CPUs of its host nodes (l3: of its L3s there; shared: of the host), claimed or not: a mask that follows
    /// the claims is made of them, and so is what stands in for a CPU that goes offline.
    pub area: CpuSet,
    /// The usable CPUs of its host nodes, which is more than the area for l3 alone: where it goes when its area is offline.
    pub node: CpuSet,
}

/// Where a vCPU went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeptVcpu {
    /// Which one, with its host nodes and mask.
    #[serde(flatten)]
    pub placed: PlacedVcpu,
    /// The CPUs it holds one-to-one while it is plugged: its own and, for smt=isolate, the idle siblings.
    pub claims: CpuSet,
}

/// Which of a guest's other threads are on spare CPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SpareThreads {
    /// QEMU's own.
    pub emulator: bool,
    /// Iothreads.
    pub iothreads: bool,
    /// Vhost workers.
    pub vhost: bool,
}

/// Read field by field, as [`Target`](crate::thread::Target) is.
impl<'de> Deserialize<'de> for KeptVcpu {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Flat {
            vcpu: VcpuId,
            virtual_node: VnodeId,
            host_nodes: NodeSet,
            cpus: CpuSet,
            claims: CpuSet,
        }
        let flat = Flat::deserialize(deserializer)?;
        Ok(Self {
            placed: PlacedVcpu {
                vcpu: flat.vcpu,
                virtual_node: flat.virtual_node,
                host_nodes: flat.host_nodes,
                cpus: flat.cpus,
            },
            claims: flat.claims,
        })
    }
}

impl KeptPlan {
    /// A plan of `guest` on `host` by `policy`, to be kept.
    #[must_use]
    pub fn of(host: &Host, guest: &Guest, policy: &Policy, plan: &Plan) -> Self {
        let usable = usable(host, guest, policy);
        let node = |placed: &PlacedNode| KeptNode {
            placed: placed.clone(),
            area: area(host, &usable, plan, plan.mode, placed),
            node: match plan.mode {
                Mode::L3 => area(host, &usable, plan, Mode::Numa, placed),
                mode => area(host, &usable, plan, mode, placed),
            },
        };
        let vcpu = |placed: &PlacedVcpu| KeptVcpu {
            claims: held(host, plan, placed),
            placed: placed.clone(),
        };
        let spare = |place: Option<Place>| match plan.mode {
            Mode::OneToOne => place.is_none_or(|place| place == Place::Spare),
            _ => place == Some(Place::Spare),
        };
        Self {
            mode: plan.mode,
            smt: plan.smt,
            overlap: policy.overlap,
            plugged: guest.plugged.clone(),
            virtual_nodes: plan.virtual_nodes.iter().map(node).collect(),
            vcpus: plan.vcpus.iter().map(vcpu).collect(),
            threads: plan.threads.clone(),
            spare: SpareThreads {
                emulator: spare(policy.emulator),
                iothreads: spare(policy.iothreads),
                vhost: spare(policy.vhost),
            },
        }
    }

    /// Where each vCPU went, for [`wishes`](crate::apply::wishes) and for output.
    #[must_use]
    pub fn placed(&self) -> Vec<PlacedVcpu> {
        self.vcpus.iter().map(|vcpu| vcpu.placed.clone()).collect()
    }

    /// What the guest holds one-to-one while these vCPUs are plugged.
    #[must_use]
    pub fn claims(&self, plugged: &VcpuSet) -> CpuSet {
        let vcpus = self.vcpus.iter();
        vcpus
            .filter(|vcpu| plugged.contains(vcpu.placed.vcpu))
            .fold(CpuSet::new(), |all, vcpu| all.union(&vcpu.claims))
    }

    /// What a vCPU got.
    #[must_use]
    pub fn vcpu(&self, vcpu: VcpuId) -> Option<&KeptVcpu> {
        // As a rule the list is in order and whole.
        let there = self.vcpus.get(vcpu.0 as usize);
        let there = there.filter(|kept| kept.placed.vcpu == vcpu);
        there.or_else(|| self.vcpus.iter().find(|kept| kept.placed.vcpu == vcpu))
    }

    /// The virtual node of that number.
    #[must_use]
    pub fn virtual_node(&self, id: VnodeId) -> Option<&KeptNode> {
        self.virtual_nodes
            .iter()
            .find(|node| node.placed.virtual_node == id)
    }
}

/// The usable CPUs that a virtual node's mode gives it.
///
/// The L3s of a virtual node are told by its mask: each of them has an unclaimed CPU, or the mask is the whole area.
fn area(host: &Host, usable: &CpuSet, plan: &Plan, mode: Mode, placed: &PlacedNode) -> CpuSet {
    let inside = |cpu: &&Cpu| in_nodes(cpu.node, &placed.host_nodes) && usable.contains(cpu.id);
    let ids = |cpus: &mut dyn Iterator<Item = &Cpu>| cpus.map(|cpu| cpu.id).collect();
    match mode {
        Mode::None => CpuSet::new(),
        Mode::Shared => usable.clone(),
        Mode::Numa | Mode::OneToOne => ids(&mut host.cpus.iter().filter(inside)),
        Mode::L3 => {
            let l3s: BTreeSet<(Option<NodeId>, Option<L3Id>)> = sorted::set(
                plan.vcpus
                    .iter()
                    .filter(|vcpu| vcpu.virtual_node == placed.virtual_node)
                    .flat_map(|vcpu| vcpu.cpus.iter())
                    .filter_map(|cpu| host.cpu(cpu).map(|cpu| (cpu.node, cpu.l3))),
            );
            let chosen = |cpu: &&Cpu| l3s.contains(&(cpu.node, cpu.l3));
            ids(&mut host.cpus.iter().filter(inside).filter(chosen))
        }
    }
}

fn in_nodes(node: Option<NodeId>, nodes: &NodeSet) -> bool {
    node.is_some_and(|node| nodes.contains(node))
}

/// What a vCPU of a one-to-one guest holds: its CPU, and for smt=isolate the online CPUs of its core. A mask of one CPU in
/// another mode is what the claims of others left for the moment: it holds that CPU as long as it is so, which live masks tell.
fn held(host: &Host, plan: &Plan, placed: &PlacedVcpu) -> CpuSet {
    if plan.mode != Mode::OneToOne {
        return CpuSet::new();
    }
    if plan.smt != Smt::Isolate {
        return placed.cpus.clone();
    }
    let core = |id: CpuId| host.cpu(id).map(|cpu| cpu.core);
    let cores: BTreeSet<_> = sorted::set(placed.cpus.iter().filter_map(core));
    let siblings = host.cpus.iter().filter(|cpu| cores.contains(&cpu.core));
    siblings.map(|cpu| cpu.id).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::claims::Claims;
    use crate::guest::GuestParts;
    use crate::id::{CoreId, VcpuId};
    use crate::placement;

    /// Two host nodes of two L3s of two cores with two threads: node 0 has CPUs 0-3 and 8-11.
    fn host() -> Host {
        let cpu = |id: u32| Cpu {
            id: CpuId(id),
            node: Some(NodeId(id % 8 / 4)),
            package: None,
            die: None,
            core: CoreId(id % 8),
            l3: Some(L3Id(id % 8 / 2 * 2)),
            kind: None,
        };
        let cpus: Vec<Cpu> = (0..16).map(cpu).collect();
        let node = |id| crate::host::Node {
            id: NodeId(id),
            cpus: cpus
                .iter()
                .filter(|cpu| cpu.node == Some(NodeId(id)))
                .map(|cpu| cpu.id)
                .collect(),
            ..Default::default()
        };
        Host {
            nodes: vec![node(0), node(1)],
            cpus,
            ..Host::default()
        }
    }

    fn kept(policy: &Policy, claimed: &str) -> (KeptPlan, Plan) {
        let guest = Guest::new(GuestParts::new("100", 1, 2)).unwrap();
        let mut claims = Claims::default();
        claims.hold(
            &crate::guest::GuestName("9".into()),
            &claimed.parse().unwrap(),
        );
        let plan = placement::plan(&host(), &guest, &claims, policy).unwrap();
        (KeptPlan::of(&host(), &guest, policy, &plan), plan)
    }

    #[rstest]
    #[case::numa(Mode::Numa, "4", "0-3,8-11", "0-3,8-11")]
    #[case::numa_beside_claims(Mode::Numa, "1,4-7,12-15", "0,2-3,8-11", "0-3,8-11")]
    #[case::l3(Mode::L3, "0,8,4-7,12-15", "2-3,10-11", "2-3,10-11")]
    #[case::l3_in_part(Mode::L3, "0-2,4-7,12-15", "3,10-11", "2-3,10-11")]
    #[case::shared(Mode::Shared, "0-3", "4-15", "0-15")]
    fn the_area_is_kept_with_its_claimed_cpus(
        #[case] mode: Mode,
        #[case] claimed: &str,
        #[case] mask: &str,
        #[case] area: &str,
    ) {
        let policy = Policy {
            mode,
            ..Policy::default()
        };
        let (kept, _) = kept(&policy, claimed);
        assert_eq!(kept.vcpus[0].placed.cpus.to_string(), mask);
        assert_eq!(kept.virtual_nodes[0].area.to_string(), area);
        assert!(
            kept.virtual_nodes[0]
                .area
                .is_subset(&kept.virtual_nodes[0].node)
        );
        assert!(kept.claims(&kept.plugged).is_empty());
    }

    #[test]
    fn the_claims_of_a_plan_are_those_of_its_plugged_vcpus() {
        for smt in [Smt::Spread, Smt::Isolate, Smt::Pack, Smt::Any] {
            let policy = Policy {
                mode: Mode::OneToOne,
                smt,
                ..Policy::default()
            };
            let (kept, plan) = kept(&policy, "");
            assert_eq!(kept.claims(&kept.plugged), plan.claims, "{smt}");
            let one: VcpuSet = [VcpuId(1)].into_iter().collect();
            let siblings = if smt == Smt::Isolate { 2 } else { 1 };
            assert_eq!(kept.claims(&one).len(), siblings, "{smt}");
            assert_eq!((kept.placed(), &kept.threads), (plan.vcpus, &plan.threads));
            assert!(kept.spare.emulator && kept.spare.vhost);
        }
    }
}
