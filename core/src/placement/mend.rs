//! The search for the smallest change that makes a guest fit.

use std::collections::BTreeMap;

use super::change::Change;
use super::cost::Item;
use super::problem::{Problem, Vnode};
use super::{Plan, fits, make};
use crate::guest::{Guest, GuestName, GuestParts};
use crate::id::{CpuId, VnodeId};
use crate::idset::CpuSet;
use crate::policy::{Isolated, Kind, Mode, Overlap, Policy, Smt};
use crate::sorted;
use crate::violation::Violation;

/// The smallest change with which a refused guest fits: the first of this order that planning finds to be enough.
///
/// 1. other sockets, where a free virtual node is too large for every host node;
/// 2. another value of `hostnodes`, or none;
/// 3. more CPUs in `affinity`, as few as possible;
/// 4. a milder `smt`, `overlap`, `isolated` or `kind`;
/// 5. one other guest moved away;
/// 6. fewer vCPUs in one virtual node, or in every socket.
pub(super) fn smallest(problem: &Problem<'_>, reasons: &[Violation]) -> Option<Change> {
    let large = reasons.iter().any(|reason| match reason {
        Violation::NotEnoughCpus { virtual_node, .. } => problem
            .vnodes
            .iter()
            .any(|v| v.id == *virtual_node && v.tied.is_none()),
        _ => false,
    });
    large
        .then(|| sockets(problem).map(|(sockets, cores)| Change::Sockets { sockets, cores }))
        .flatten()
        .or_else(|| host_node(problem))
        .or_else(|| affinity(problem))
        .or_else(|| milder(problem))
        .or_else(|| neighbour(problem))
        .or_else(|| fewer(problem))
}

/// The smallest number of sockets with which a guest has a host node for each, with the cores that keep its number of vCPUs.
pub(super) fn sockets(problem: &Problem<'_>) -> Option<(u32, u32)> {
    let guest = problem.guest;
    let total = guest.sockets.checked_mul(guest.cores)?;
    let most = u32::try_from(problem.index.nodes.len())
        .unwrap_or(u32::MAX)
        .min(total);
    (2..=most)
        .filter(|sockets| total % sockets == 0)
        .find_map(|sockets| {
            let cores = total / sockets;
            let numa = numa(guest, sockets, cores)?;
            let mut changed = problem.with(problem.host, &numa, problem.claims, problem.policy);
            let plan = planned(&mut changed)?;
            (plan.cost.count(Item::SharedNodes) == 0).then_some((sockets, cores))
        })
}

/// The plan with a change, if it makes the guest fit. Whether it fits at all is known much sooner than the best plan.
fn planned(changed: &mut Problem<'_>) -> Option<Plan> {
    if fits::fits(changed) {
        make::bare(changed)
    } else {
        None
    }
}

/// The guest with `numa: 1`, no numaN lines, and another shape.
fn numa(guest: &Guest, sockets: u32, cores: u32) -> Option<Guest> {
    let mut parts = GuestParts::new(&guest.name.0, sockets, cores);
    parts.threads = guest.threads;
    parts.memory_mib = guest.memory_mib;
    let parts = parts.with_numa();
    let changed = guest.changed(|g| {
        g.sockets = sockets;
        g.cores = cores;
        g.numa = true;
        g.numa_explicit = false;
        g.virtual_nodes = parts.virtual_nodes;
    });
    changed.ok()
}

/// Another host node for one virtual node that names one, the lowest that does, or none.
fn host_node(problem: &Problem<'_>) -> Option<Change> {
    for (v, vnode) in problem
        .vnodes
        .iter()
        .enumerate()
        .filter(|(_, vnode)| vnode.named)
    {
        let nodes = problem.index.nodes.iter();
        let roomy = nodes.filter(|n| Some(n.id) != vnode.tied && n.room >= vnode.size());
        let values = roomy.map(|node| Some(node.id)).chain([None]);
        for value in values {
            let mut changed = problem.again();
            changed.vnodes[v].tied = value;
            changed.vnodes[v].named = value.is_some();
            if planned(&mut changed).is_some() {
                let virtual_node = vnode.id;
                return Some(match value {
                    Some(host_node) => Change::HostNode {
                        virtual_node,
                        host_node,
                    },
                    None => Change::NoHostNode { virtual_node },
                });
            }
        }
    }
    None
}

/// As few more CPUs of one host node as possible in `affinity`. More CPUs never make a guest unplaceable, so the number can be
/// found by halving.
fn affinity(problem: &Problem<'_>) -> Option<Change> {
    let affinity = problem.guest.affinity.as_ref()?;
    let open = problem.guest.changed(|g| g.affinity = None).ok()?;
    // isolated CPUs would be named, and so usable, but nobody should be told to give those away
    let all = problem.with(problem.host, &open, problem.claims, problem.policy);
    let with = |cpus: &CpuSet| {
        let wider = problem
            .guest
            .changed(|g| g.affinity = Some(affinity.union(cpus)))
            .ok()?;
        planned(&mut problem.with(problem.host, &wider, problem.claims, problem.policy)).map(drop)
    };
    let mut best: Option<Change> = None;
    for node in &all.index.nodes {
        let more: Vec<CpuId> = node
            .cores()
            .flat_map(|core| &core.cpus)
            .map(|cpu| cpu.id)
            .filter(|cpu| !affinity.contains(*cpu))
            .collect();
        let first = |n: usize| more[..n].iter().copied().collect::<CpuSet>();
        if more.is_empty() || with(&first(more.len())).is_none() {
            continue;
        }
        let (mut low, mut high) = (1, more.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match with(&first(middle)) {
                Some(()) => high = middle,
                None => low = middle + 1,
            }
        }
        let more = u32::try_from(low).unwrap_or(u32::MAX);
        let change = Change::WidenAffinity {
            more,
            host_node: node.id,
            cpus: first(low),
        };
        best = [best, Some(change)].into_iter().flatten().min();
    }
    best
}

/// A milder value of one key of the policy.
fn milder(problem: &Problem<'_>) -> Option<Change> {
    let policy = problem.policy;
    let one_to_one = policy.mode == Mode::OneToOne;
    let mut all: Vec<(Policy, Change)> = Vec::new();
    if one_to_one && policy.smt == Smt::Isolate {
        let smt = Smt::Spread;
        all.push((
            Policy {
                smt,
                ..policy.clone()
            },
            Change::Smt { smt },
        ));
    }
    if policy.overlap == Overlap::Deny {
        let overlap = Overlap::Avoid;
        all.push((
            Policy {
                overlap,
                ..policy.clone()
            },
            Change::Overlap { overlap },
        ));
    }
    if one_to_one && policy.isolated != Isolated::Allow {
        let isolated = Isolated::Allow;
        all.push((
            Policy {
                isolated,
                ..policy.clone()
            },
            Change::Isolated { isolated },
        ));
    }
    if policy.kind != Kind::Any {
        let kind = Kind::Any;
        all.push((
            Policy {
                kind,
                ..policy.clone()
            },
            Change::Kind { kind },
        ));
    }
    let enough = |(policy, change): (Policy, Change)| {
        let mut changed = problem.with(problem.host, problem.guest, problem.claims, &policy);
        planned(&mut changed).map(|_| change)
    };
    all.into_iter().find_map(enough)
}

/// One other guest away: the one with the fewest CPUs that is enough.
fn neighbour(problem: &Problem<'_>) -> Option<Change> {
    if problem.policy.overlap != Overlap::Deny {
        return None;
    }
    let mut held: BTreeMap<&GuestName, usize> = BTreeMap::new();
    for guest in problem.claims.one_to_one.values().flatten() {
        *held.entry(guest).or_default() += 1;
    }
    let mut guests: Vec<(usize, &GuestName)> =
        held.into_iter().map(|(guest, n)| (n, guest)).collect();
    sorted::sort_by(&mut guests, Ord::cmp);
    guests.into_iter().find_map(|(_, guest)| {
        let claims = problem.claims.without(guest);
        let mut changed = problem.with(problem.host, problem.guest, &claims, problem.policy);
        planned(&mut changed).map(|_| Change::MoveGuest {
            guest: guest.clone(),
        })
    })
}

/// Fewer vCPUs: in one virtual node of those that numaN lines make, else in every socket. All of them must fit, plugged or
/// not: which ones are plugged after such a change is not known.
fn fewer(problem: &Problem<'_>) -> Option<Change> {
    let Problem {
        host,
        guest,
        claims,
        policy,
        ..
    } = problem;
    let mut whole = Problem::new(host, guest, claims, policy, false);
    let sizes: Vec<usize> = whole.vnodes.iter().map(Vnode::size).collect();
    let mut largest = |vnodes: &[usize], size: usize| {
        let kept: Vec<Vnode> = whole.vnodes.clone();
        let cut = |whole: &mut Problem<'_>, size: usize| {
            for v in vnodes {
                whole.vnodes[*v].vcpus = kept[*v].vcpus.iter().take(size).collect();
            }
            fits::fits(whole)
        };
        // fewer vCPUs fit wherever more do, so the number can be found by halving
        let (mut low, mut high) = (0, size);
        while high - low > 1 {
            let middle = usize::midpoint(low, high);
            if cut(&mut whole, middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        let fits = low > 0 && cut(&mut whole, low) && make::bare(&mut whole).is_some();
        whole.vnodes = kept;
        fits.then_some(low)
    };
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    if sizes.len() > 1 && !problem.guest.numa_explicit {
        let all: Vec<usize> = (0..sizes.len()).collect();
        let cores = largest(&all, sizes[0])?;
        return Some(Change::FewerCores {
            cores: count(cores),
        });
    }
    let ids: Vec<VnodeId> = problem
        .guest
        .virtual_nodes
        .iter()
        .map(|node| node.id)
        .collect();
    let by_loss = (0..sizes.len()).filter_map(|v| {
        let left = largest(&[v], sizes[v])?;
        let change = Change::FewerVcpus {
            virtual_node: ids[v],
            vcpus: count(left),
        };
        Some((sizes[v] - left, change))
    });
    by_loss.min().map(|(_, change)| change)
}
