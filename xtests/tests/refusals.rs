//! Refusals over small random hosts and guests: their figures are those of the host, and the change they name makes the guest fit,
//! by the exhaustive twin's word, where a smaller one would not.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use numapin_core::guest::{Guest, GuestParts, VirtualNode};
use numapin_core::id::{VcpuId, VnodeId};
use numapin_core::idset::{CpuSet, VcpuSet};
use numapin_core::placement::room::{NodeRoom, Unit};
use numapin_core::placement::{Change, plan};
use numapin_core::policy::{Mode, Smt};
use numapin_core::violation::Violation;
use numapin_xtests::random::Case;
use numapin_xtests::scene::Scene;
use numapin_xtests::twin::best;
use rstest::rstest;

fn fits(case: &Case) -> bool {
    let scene = Scene::new(&case.host, &case.guest, &case.claims, &case.policy);
    best(&scene).is_some()
}

#[rstest]
#[case(0)]
#[case(1)]
fn a_refusal_is_true_and_its_change_helps(#[case] half: u64) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for seed in (0..8_000).map(|seed| 5_000_000 + 2 * seed + half) {
        let case = Case::of(seed).unwrap();
        let Err(refused) = plan(&case.host, &case.guest, &case.claims, &case.policy) else {
            continue;
        };
        *seen.entry("refused".to_owned()).or_default() += 1;
        assert_eq!(refused.guest, case.guest.name);
        assert!(!refused.list.is_empty(), "seed {seed}\n{case}");
        for violation in &refused.list {
            let text = violation.to_string();
            let told = || format!("seed {seed}\n{case}{text}\n{violation:?}");
            assert!(
                !text.ends_with('.') && text.starts_with(char::is_lowercase),
                "{text}"
            );
            let change = judge(&case, violation, &told);
            if let Some(change) = change {
                let kind = format!("{change:?}");
                let kind = kind.split(' ').next().unwrap().to_owned();
                *seen.entry(kind).or_default() += 1;
                helps(&case, change, &told);
            }
        }
    }
    let kinds = [
        "refused",
        "FewerCores",
        "FewerVcpus",
        "HostNode",
        "Isolated",
        "Kind",
        "NoHostNode",
        "Overlap",
        "Smt",
        "Sockets",
        "WidenAffinity",
    ];
    let few = |kind: &&&str| seen.get(**kind).is_none_or(|n| *n < 10);
    let few: Vec<_> = kinds.iter().filter(few).collect();
    assert!(few.is_empty(), "too few with {few:?} in {seen:?}");
}

/// Holds the figures of a violation to the host; gives its change.
fn judge<'a>(
    case: &Case,
    violation: &'a Violation,
    told: &impl Fn() -> String,
) -> Option<&'a Change> {
    let scene = Scene::new(&case.host, &case.guest, &case.claims, &case.policy);
    match violation {
        Violation::NoSuchHostNode { host_node, .. } => {
            assert!(case.host.node(*host_node).is_none(), "{}", told());
            None
        }
        Violation::NotEnoughCpus {
            wanted,
            unit,
            host_nodes,
            change,
            ..
        } => {
            for room in host_nodes {
                assert!(room.usable < *wanted, "{}", told());
            }
            rooms(&scene, *unit, host_nodes, told);
            change.as_ref()
        }
        Violation::NotEnoughTogether {
            unit,
            host_nodes,
            change,
            ..
        } => {
            rooms(&scene, *unit, host_nodes, told);
            change.as_ref()
        }
        Violation::NoUsableCpus { change, .. } => {
            assert!(scene.cpus.iter().all(|cpu| !cpu.usable), "{}", told());
            change.as_ref()
        }
        other => panic!("{other:?} of a guest whose parts follow the rules"),
    }
}

fn rooms(scene: &Scene<'_>, unit: Unit, rooms: &[NodeRoom], told: &impl Fn() -> String) {
    assert_eq!(unit == Unit::Cores, scene.is_isolate(), "{}", told());
    for room in rooms {
        let node = scene.node_number(room.host_node).unwrap();
        assert_eq!(room.usable as usize, scene.room(node), "{}", told());
        let online = &scene.host.nodes[node].cpus;
        let mut taken = CpuSet::new();
        for by in &room.taken {
            assert!(taken.is_disjoint(&by.cpus), "counted twice: {}", told());
            taken = taken.union(&by.cpus);
        }
        if unit == Unit::Cpus {
            assert_eq!(room.online as usize, online.len(), "{}", told());
            let usable = scene.ids(&scene.usable_of(node));
            assert_eq!(
                taken.intersection(online),
                online.difference(&usable),
                "{}",
                told()
            );
        }
    }
}

/// The change makes the guest fit, and one that is smaller by one does not.
fn helps(case: &Case, change: &Change, told: &impl Fn() -> String) {
    let changed = with(case, change);
    assert!(
        changed.iter().any(fits),
        "{change:?} does not help: {}",
        told()
    );
    let smaller = match change {
        Change::FewerVcpus {
            virtual_node,
            vcpus,
        } => Some(Change::FewerVcpus {
            virtual_node: *virtual_node,
            vcpus: vcpus + 1,
        }),
        Change::FewerCores { cores } => Some(Change::FewerCores { cores: cores + 1 }),
        Change::WidenAffinity {
            more,
            host_node,
            cpus,
        } => {
            assert_eq!(cpus.len(), *more as usize, "{}", told());
            let node = case.host.node(*host_node).unwrap();
            assert!(cpus.is_subset(&node.cpus), "{}", told());
            let less = cpus.iter().skip(1).collect();
            Some(Change::WidenAffinity {
                more: more - 1,
                host_node: *host_node,
                cpus: less,
            })
        }
        _ => None,
    };
    // Where cores are counted, or vCPUs are not plugged, a change may be a little larger than it need be.
    let exact = case.policy.smt != Smt::Isolate && case.guest.plugged == case.guest.vcpus();
    if let Some(smaller) = smaller.filter(|_| exact) {
        let changed = with(case, &smaller);
        assert!(
            !changed.iter().all(fits),
            "{smaller:?} helps already: {}",
            told()
        );
    }
}

/// The case with a change; where vCPUs go, all that are left plugged or those that were.
fn with(case: &Case, change: &Change) -> Vec<Case> {
    let mut changed = case.clone();
    let guest = |change: &dyn Fn(&mut GuestParts)| case.guest.changed(change).unwrap();
    match change {
        Change::HostNode {
            virtual_node,
            host_node,
        } => {
            changed.guest = guest(&|g| node(g, *virtual_node).host_node = Some(*host_node));
        }
        Change::NoHostNode { virtual_node } => {
            changed.guest = guest(&|g| node(g, *virtual_node).host_node = None);
        }
        Change::WidenAffinity { cpus, .. } => {
            changed.guest = guest(&|g| {
                g.affinity = g.affinity.as_ref().map(|a| a.union(cpus));
            });
        }
        Change::Sockets { sockets, cores } => return shaped(case, *sockets, *cores),
        Change::FewerCores { cores } => return shaped(case, case.guest.sockets, *cores),
        Change::FewerVcpus {
            virtual_node,
            vcpus,
        } => return fewer(case, *virtual_node, *vcpus),
        Change::Smt { smt } => changed.policy.smt = *smt,
        Change::Overlap { overlap } => changed.policy.overlap = *overlap,
        Change::Isolated { isolated } => changed.policy.isolated = *isolated,
        Change::Kind { kind } => changed.policy.kind = *kind,
        Change::MoveGuest { guest } => {
            for holders in changed.claims.one_to_one.values_mut() {
                holders.retain(|holder| holder != guest);
            }
            changed
                .claims
                .one_to_one
                .retain(|_, holders| !holders.is_empty());
            changed
                .claims
                .set_pinned
                .retain(|claim| claim.guest != *guest);
        }
    }
    vec![changed]
}

fn node(guest: &mut GuestParts, id: VnodeId) -> &mut VirtualNode {
    let mut nodes = guest.virtual_nodes.iter_mut();
    nodes.find(|node| node.id == id).unwrap()
}

/// The guest with other sockets and cores, and one virtual node for each socket where it had some or gets more.
fn shaped(case: &Case, sockets: u32, cores: u32) -> Vec<Case> {
    let mut shape = GuestParts::new("", sockets, cores);
    if case.guest.numa || sockets != case.guest.sockets {
        shape = shape.with_numa();
    }
    replugged(case, &shape.virtual_nodes, sockets, cores, shape.numa)
}

/// The guest with fewer vCPUs in one virtual node: the others are still there, plugged or not, under other numbers.
fn fewer(case: &Case, virtual_node: VnodeId, vcpus: u32) -> Vec<Case> {
    let mut next = 0;
    let mut nodes = Vec::new();
    for node in &case.guest.virtual_nodes {
        let size = u32::try_from(node.vcpus.len()).unwrap();
        let here = if node.id == virtual_node { vcpus } else { size };
        nodes.push(VirtualNode {
            vcpus: (next..next + here).map(VcpuId).collect(),
            ..node.clone()
        });
        next += here;
    }
    replugged(case, &nodes, 1, next, case.guest.numa)
}

/// The guest with these virtual nodes: each vCPU is plugged, or those of a virtual node whose place in it was plugged before, or
/// those whose number was.
fn replugged(
    case: &Case,
    nodes: &[VirtualNode],
    sockets: u32,
    cores: u32,
    numa: bool,
) -> Vec<Case> {
    let all = nodes
        .iter()
        .fold(VcpuSet::new(), |all, n| all.union(&n.vcpus));
    let before = &case.guest.plugged;
    let mut by_place = VcpuSet::new();
    for (new, old) in nodes.iter().zip(&case.guest.virtual_nodes) {
        let pairs = new.vcpus.iter().zip(old.vcpus.iter());
        by_place.extend(
            pairs
                .filter(|(_, old)| before.contains(*old))
                .map(|(new, _)| new),
        );
    }
    let by_number = before.intersection(&all);
    let plugged = [all, by_place, by_number].into_iter();
    let made = plugged
        .filter(|plugged| !plugged.is_empty())
        .map(|plugged| {
            let mut parts = case.guest.clone().into_parts();
            (parts.sockets, parts.cores, parts.threads) = (sockets, cores, 1);
            parts.numa = numa;
            parts.virtual_nodes = nodes.to_vec();
            parts.plugged = plugged;
            Case {
                guest: Guest::new(parts).unwrap(),
                ..case.clone()
            }
        });
    made.collect()
}

#[test]
fn the_mode_shared_is_refused_only_without_any_usable_cpu() {
    let mut refusals = 0;
    for seed in 6_000_000..6_002_000 {
        let mut case = Case::of(seed).unwrap();
        case.policy.mode = Mode::Shared;
        let Err(refused) = plan(&case.host, &case.guest, &case.claims, &case.policy) else {
            continue;
        };
        let [Violation::NoUsableCpus { .. }] = refused.list[..] else {
            panic!("seed {seed}\n{case}{refused}");
        };
        refusals += 1;
    }
    assert!(refusals > 20, "only {refusals} refusals");
}
