//! Whether a plan that was kept still stands: it does as long as its process, unless the rules no longer allow it.

use crate::claims::{Claims, KeptPlan};
use crate::guest::Guest;
use crate::host::Host;
use crate::id::{NodeId, VnodeId};
use crate::idset::{CpuSet, NodeSet, VcpuSet};
use crate::placement::usable;
use crate::policy::{Mode, Overlap, Policy};

/// Why a kept plan can't go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Outdated {
    /// The guest has vCPUs that the plan does not have, or has them in other virtual nodes.
    #[error(
        "the guest's vcpu(s) {vcpus} are not in the kept plan, or in another virtual node there"
    )]
    Shape {
        /// Which.
        vcpus: VcpuSet,
    },
    /// A virtual node names another host node than the plan gave it.
    #[error(
        "virtual node {virtual_node} names host node {named}, the kept plan has it on host node(s) {has}"
    )]
    HostNode {
        /// Which one.
        virtual_node: VnodeId,
        /// What it names.
        named: NodeId,
        /// Where it is.
        has: NodeSet,
    },
    /// CPUs that the guest may not use any more: affinity, reserved or isolated CPUs have changed.
    #[error(
        "cpu(s) {cpus} of the kept plan can't be used by this guest any more (affinity, reserved or isolated cpus changed)"
    )]
    NotUsable {
        /// Which.
        cpus: CpuSet,
    },
    /// None of the CPUs of its host nodes is left to a virtual node: no other CPU of them can stand in.
    #[error(
        "none of the cpus of host node(s) {host_nodes}, where the kept plan has virtual node {virtual_node}, can be used by \
         this guest now (offline, or outside the cpuset of its cgroup)"
    )]
    NothingLeft {
        /// Which one.
        virtual_node: VnodeId,
        /// Where it is.
        host_nodes: NodeSet,
    },
    /// Other guests hold CPUs that `overlap=deny` does not share.
    #[error(
        "other guests hold cpu(s) {cpus} of the kept plan one-to-one, and overlap=deny does not share them"
    )]
    Claimed {
        /// Which.
        cpus: CpuSet,
    },
}

/// Every reason why a plan can't go on; empty where it stands. `policy` is the one it was made with, `claims` are those of
/// everybody else.
///
/// CPUs that are offline, or that the cpuset does not allow for now, are no reason as long as their host node has others: a
/// running guest stays on its host nodes, and another CPU stands in until they return.
#[must_use]
pub fn outdated(
    kept: &KeptPlan,
    host: &Host,
    guest: &Guest,
    claims: &Claims,
    policy: &Policy,
) -> Vec<Outdated> {
    let mut reasons = Vec::new();
    if kept.mode == Mode::None {
        return reasons;
    }
    let usable = usable(host, guest, policy);
    let mut strangers = VcpuSet::new();
    for node in &guest.virtual_nodes {
        for vcpu in node.vcpus.iter().filter(|v| guest.plugged.contains(*v)) {
            let there = kept.vcpu(vcpu);
            if there.is_none_or(|there| there.placed.virtual_node != node.id) {
                strangers.insert(vcpu);
            }
        }
        let placed = kept.virtual_node(node.id).map(|kept| &kept.placed);
        if let (Some(named), Some(placed)) = (node.host_node, placed)
            && kept.mode != Mode::Shared
            && placed.host_nodes != NodeSet::from_iter([named])
        {
            reasons.push(Outdated::HostNode {
                virtual_node: node.id,
                named,
                has: placed.host_nodes.clone(),
            });
        } else if let Some(placed) = placed
            && !node.vcpus.is_disjoint(&guest.plugged)
            && cpus_of(host, &placed.host_nodes).is_disjoint(&usable)
        {
            reasons.push(Outdated::NothingLeft {
                virtual_node: node.id,
                host_nodes: placed.host_nodes.clone(),
            });
        }
    }
    if !strangers.is_empty() {
        reasons.insert(0, Outdated::Shape { vcpus: strangers });
    }
    let taken = kept
        .vcpus
        .iter()
        .filter(|vcpu| guest.plugged.contains(vcpu.placed.vcpu))
        .fold(CpuSet::new(), |all, vcpu| all.union(&vcpu.placed.cpus));
    let online = host.online();
    let there = match &host.allowed {
        Some(allowed) => online.intersection(allowed),
        None => online,
    };
    let cpus = taken.intersection(&there).difference(&usable);
    if !cpus.is_empty() {
        reasons.push(Outdated::NotUsable { cpus });
    }
    if kept.overlap == Overlap::Deny && kept.mode == Mode::OneToOne {
        let cpus = taken.intersection(&claims.claimed());
        if !cpus.is_empty() {
            reasons.push(Outdated::Claimed { cpus });
        }
    }
    reasons
}

fn cpus_of(host: &Host, nodes: &NodeSet) -> CpuSet {
    let these = host.nodes.iter().filter(|node| nodes.contains(node.id));
    these.fold(CpuSet::new(), |all, node| all.union(&node.cpus))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::guest::{GuestName, GuestParts};
    use crate::host::{Cpu, Node};
    use crate::id::{CoreId, CpuId};
    use crate::placement;

    /// Two host nodes of four CPUs.
    fn host() -> Host {
        let cpu = |id: u32| Cpu {
            id: CpuId(id),
            node: Some(NodeId(id / 4)),
            package: None,
            die: None,
            core: CoreId(id),
            l3: None,
            kind: None,
        };
        let node = |id: u32| Node {
            id: NodeId(id),
            cpus: (id * 4..id * 4 + 4).map(CpuId).collect(),
            ..Node::default()
        };
        Host {
            cpus: (0..8).map(cpu).collect(),
            nodes: vec![node(0), node(1)],
            ..Host::default()
        }
    }

    fn guest(change: impl FnOnce(&mut GuestParts)) -> Guest {
        let mut parts = GuestParts::new("100", 1, 2);
        change(&mut parts);
        Guest::new(parts).unwrap()
    }

    /// The plan for a guest alone (one-to-one: CPUs 1 and 2, as CPU 0 has the interrupts).
    fn kept(policy: &Policy) -> KeptPlan {
        let (host, guest) = (host(), guest(|_| {}));
        let plan = placement::plan(&host, &guest, &Claims::default(), policy).unwrap();
        KeptPlan::of(&host, &guest, policy, &plan)
    }

    fn told(host: &Host, guest: &Guest, claims: &Claims, policy: &Policy) -> String {
        let reasons = outdated(&kept(policy), host, guest, claims, policy);
        let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        reasons.join("; ")
    }

    #[rstest]
    #[case::as_it_was(|_: &mut Host| {}, "")]
    #[case::offline(|h: &mut Host| { h.cpus.remove(1); }, "")]
    #[case::cpuset(|h: &mut Host| h.allowed = Some("0,2-7".parse().unwrap()), "")]
    #[case::cpuset_takes_its_node(|h: &mut Host| h.allowed = Some("4-7".parse().unwrap()), "none of the cpus of host node(s) 0, where the kept plan has virtual node 0, can be used")]
    #[case::offline_with_its_node(|h: &mut Host| drop(h.cpus.drain(..4)), "none of the cpus of host node(s) 0,")]
    #[case::reserved(|h: &mut Host| h.reserved = "1".parse().unwrap(), "cpu(s) 1 of the kept plan can't be used")]
    fn what_happened_to_the_host(#[case] change: fn(&mut Host), #[case] says: &str) {
        for mode in ["one-to-one", "numa"] {
            let mut host = host();
            change(&mut host);
            let policy = mode.parse().unwrap();
            let told = told(&host, &guest(|_| {}), &Claims::default(), &policy);
            assert!(
                told.starts_with(says) && told.is_empty() == says.is_empty(),
                "{mode}: {told}"
            );
        }
    }

    #[test]
    fn what_became_of_the_guest() {
        let policy = "one-to-one".parse().unwrap();
        let told = |change: fn(&mut GuestParts)| {
            told(&host(), &guest(change), &Claims::default(), &policy)
        };
        let affinity = told(|parts| parts.affinity = Some("2-5".parse().unwrap()));
        assert!(
            affinity.starts_with("cpu(s) 1 of the kept plan"),
            "{affinity}"
        );
        let named = told(|parts| parts.virtual_nodes[0].host_node = Some(NodeId(1)));
        assert!(
            named.starts_with("virtual node 0 names host node 1"),
            "{named}"
        );
        let larger = told(|parts| *parts = GuestParts::new("100", 1, 4));
        assert!(
            larger.starts_with("the guest's vcpu(s) 2-3 are not in the kept plan"),
            "{larger}"
        );
    }

    #[test]
    fn claims_end_a_plan_only_where_they_are_not_shared() {
        let mut claims = Claims::default();
        claims.hold(&GuestName("200".into()), &"1".parse().unwrap());
        let told = |policy: &str| {
            let policy = policy.parse().unwrap();
            told(&host(), &guest(|_| {}), &claims, &policy)
        };
        assert_eq!(told("one-to-one"), "");
        assert!(told("one-to-one,overlap=deny").starts_with("other guests hold cpu(s) 1 "));
    }
}
