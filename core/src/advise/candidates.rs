//! The settings that are tried: few, and in an order, so that the same question has the same answer.
//!
//! Whether one is better than what is there is only ever judged by reading and planning it.

use super::draft::{self, Draft};
use super::judge::{Case, State, hosts_of, needs, only, static_memory, useful};
use super::split::{split, unit};
use crate::guest::pve::{MemoryPolicy, NumaLine};
use crate::guest::{Guest, VirtualNode};
use crate::id::{NodeId, VcpuId, VnodeId};
use crate::idset::CpuSet;
use crate::placement::{Plan, usable};
use crate::sorted;

/// The most numaN lines (qemu-server QemuServer/Memory.pm, `$MAX_NUMA`).
const MAX_LINES: usize = 8;

/// The better one of the settings that are tried, if any is better than what there is.
///
/// Those that leave the guest's shape alone come first: only if none of them is better, the others are judged. Among those the
/// lowest score wins, then fewer sockets, then the one that leaves `affinity` alone, then the one that widens it, then the one
/// that says less, then the one that was tried first.
pub(super) fn best(case: &Case<'_>, now: &State, shape_is_free: bool) -> Option<State> {
    let shape = now.draft.shape();
    let bases = bases(case, now, shape_is_free);
    let (kept, changed): (Vec<_>, Vec<_>) =
        bases.into_iter().partition(|base| base.shape() == shape);
    [kept, changed]
        .iter()
        .find_map(|bases| best_of(case, now, bases, shape_is_free))
}

fn best_of(case: &Case<'_>, now: &State, bases: &[Draft], shape_is_free: bool) -> Option<State> {
    let tries = bases
        .iter()
        .flat_map(|base| tries(case, now, base, shape_is_free));
    let mut tries: Vec<Try> = tries.collect();
    sorted::sort_by_key(&mut tries, |tried| {
        let draft = tried.draft();
        (draft.sockets, opened(now, draft), tried.rank())
    });
    let mut best: Option<State> = None;
    let mut seen: Vec<Draft> = vec![now.draft.clone()];
    for tried in tries {
        let draft = tried.draft();
        if seen.contains(draft) {
            continue;
        }
        seen.push(draft.clone());
        let state = match tried {
            Try::Planned(state) => Some(*state),
            Try::Tied(draft) | Try::Kept(draft) => now.with(case, &draft),
        };
        let first = |state: &State| best.as_ref().is_none_or(|best| state.score < best.score);
        if let Some(state) = state.filter(|state| first(state) && state.improves(now)) {
            best = Some(state);
        }
    }
    best
}

/// How far `affinity` is opened: not at all, to more CPUs, or to all.
fn opened(now: &State, draft: &Draft) -> u8 {
    match (&now.draft.affinity, &draft.affinity) {
        (Some(_), None) => 2,
        (Some(before), Some(after)) if !after.is_subset(before) => 1,
        _ => 0,
    }
}

/// Something to be tried.
enum Try {
    /// A shape with nothing tied, which was planned already.
    Planned(Box<State>),
    /// A shape whose memory is tied.
    Tied(Draft),
    /// A shape that is kept to CPUs.
    Kept(Draft),
}

impl Try {
    fn draft(&self) -> &Draft {
        match self {
            Self::Planned(state) => &state.draft,
            Self::Tied(draft) | Self::Kept(draft) => draft,
        }
    }

    /// How much it says.
    fn rank(&self) -> u8 {
        match self {
            Self::Planned(_) => 0,
            Self::Tied(_) => 1,
            Self::Kept(_) => 2,
        }
    }
}

/// Shapes and affinities without any tie of memory, the preferred ones first.
fn bases(case: &Case<'_>, now: &State, shape_is_free: bool) -> Vec<Draft> {
    let mut bases = vec![now.draft.clone()];
    if let Some(affinity) = &now.draft.affinity {
        let cleaned = affinity.intersection(&useful(&case.host));
        if cleaned != *affinity && !cleaned.is_empty() {
            bases.insert(0, with_affinity(&now.draft, Some(cleaned)));
        }
    }
    if !shape_is_free {
        return bases;
    }
    let mut shapes = Vec::new();
    shapes.extend(mended(now));
    if now.draft.names_hosts() {
        shapes.push(now.draft.free());
    }
    if now.draft.numa && !now.draft.explicit() && now.hugepages().is_some() {
        // lines free virtual node i from host node i
        shapes.extend(even(now, &now.draft, now.draft.sockets));
    }
    if !now.draft.numa || now.is_misshapen() {
        shapes.extend(one(now, &now.draft));
    }
    if now.is_misshapen() {
        let total = now.draft.total();
        let most = u32::try_from(case.host.nodes.len())
            .unwrap_or(u32::MAX)
            .min(total);
        let sockets = (1..=most).filter(|sockets| *sockets != now.draft.sockets);
        for sockets in [now.draft.sockets].into_iter().chain(sockets) {
            if total.is_multiple_of(sockets.max(1)) {
                shapes.extend(even(now, &now.draft, sockets));
            }
        }
    }
    bases.extend(shapes);
    if now.draft.affinity.is_some() {
        let open: Vec<Draft> = bases.iter().map(|base| with_affinity(base, None)).collect();
        bases.extend(open);
    }
    bases
}

/// What is tried of a shape: itself, with its memory tied to where its plan puts it, and what stands in for a tie that can't be.
fn tries(case: &Case<'_>, now: &State, base: &Draft, shape_is_free: bool) -> Vec<Try> {
    let Some(state) = (match *base == now.draft {
        true => Some(now.clone()),
        false => now.with(case, base),
    }) else {
        return Vec::new();
    };
    let mut tries = Vec::new();
    if let Ok((guest, plan)) = &state.planned {
        let tied = if shape_is_free {
            tied(case, &state, guest, plan)
        } else {
            None
        };
        if let (None, Some(before)) = (&base.affinity, &now.draft.affinity) {
            // more CPUs for a guest that is kept to too few, but no others than it needs
            let useful = before.intersection(&useful(&case.host));
            let wider = useful.union(&cpus_of(case, guest, plan));
            tries.push(Try::Kept(with_affinity(base, Some(wider.clone()))));
            tries.extend(
                tied.iter()
                    .map(|tied| Try::Kept(with_affinity(tied, Some(wider.clone())))),
            );
        }
        tries.push(Try::Planned(Box::new(state.clone())));
        let can_be_tied = tied.is_some();
        tries.extend(tied.map(Try::Tied));
        if !can_be_tied && shape_is_free && state.is_loose() && state.places_memory_early(case) {
            let cpus = cpus_of(case, guest, plan);
            let one_host = plan.virtual_nodes.iter().all(|node| only(node).is_some())
                && hosts_of(&case.host, &cpus).len() == 1;
            if one_host {
                tries.push(Try::Kept(with_affinity(base, Some(cpus))));
            }
        }
    }
    tries
}

fn with_affinity(draft: &Draft, affinity: Option<CpuSet>) -> Draft {
    Draft {
        affinity,
        ..draft.clone()
    }
}

/// The usable CPUs of the host nodes of a plan.
fn cpus_of(case: &Case<'_>, guest: &Guest, plan: &Plan) -> CpuSet {
    let usable = usable(&case.host, guest, &case.policy);
    let hosts = plan
        .virtual_nodes
        .iter()
        .flat_map(|node| node.host_nodes.iter());
    let nodes = hosts.filter_map(|host| case.host.node(host));
    let cpus = nodes.fold(CpuSet::new(), |all, node| all.union(&node.cpus));
    cpus.intersection(&usable)
}

/// One virtual node with all vCPUs, sockets and cores as they are.
fn one(now: &State, of: &Draft) -> Vec<Draft> {
    let mut drafts = Vec::new();
    let memory = static_memory(&now.config, 1);
    if of.sockets == 1 && memory.is_multiple_of(unit(now.hugepages())) {
        drafts.push(of.even(1));
    }
    let whole = of.even(of.sockets);
    let all = VirtualNode::new(0, (0..of.total()).map(VcpuId).collect());
    drafts.extend(lined(now, &whole, &[all]));
    drafts
}

/// A virtual node for each of so many sockets.
fn even(now: &State, of: &Draft, sockets: u32) -> Vec<Draft> {
    let draft = of.even(sockets);
    let mut drafts = Vec::new();
    let memory = static_memory(&now.config, u64::from(sockets));
    if memory.is_multiple_of(u64::from(sockets) * unit(now.hugepages())) {
        drafts.push(draft.clone());
    }
    let cores = draft.cores;
    let node = |i: u32| {
        let vcpus = i * cores..(i + 1) * cores;
        VirtualNode::new(i, vcpus.map(VcpuId).collect())
    };
    if sockets as usize <= MAX_LINES {
        let nodes: Vec<VirtualNode> = (0..sockets).map(node).collect();
        drafts.extend(lined(now, &draft, &nodes));
    }
    drafts
}

/// The draft with a line for each virtual node, tied to no host node.
fn lined(now: &State, draft: &Draft, nodes: &[VirtualNode]) -> Option<Draft> {
    if now.plugs_memory() || nodes.len() > MAX_LINES {
        return None;
    }
    let shares = shares(now, nodes)?;
    let mut lined = draft.clone();
    lined.numa = true;
    lined.lines.clear();
    for (node, mib) in nodes.iter().zip(shares) {
        let line = draft::line(draft::ranges(&node.vcpus)?, mib, None)?;
        lined.lines.insert(node.id, line);
    }
    Some(lined)
}

/// The memory of the guest, divided over its virtual nodes.
fn shares(now: &State, nodes: &[VirtualNode]) -> Option<Vec<u64>> {
    let sizes: Vec<usize> = nodes.iter().map(|node| node.vcpus.len()).collect();
    split(now.config.memory_mib(), &sizes, unit(now.hugepages()))
}

/// The memory of each virtual node: as the lines say where that is right, else divided anew.
fn memory(now: &State, nodes: &[VirtualNode]) -> Option<Vec<u64>> {
    let unit = unit(now.hugepages());
    let written: Option<Vec<u64>> = nodes.iter().map(|node| node.memory_mib).collect();
    let right = |sizes: &Vec<u64>| {
        let sum = sizes
            .iter()
            .try_fold(0_u64, |sum, mib| sum.checked_add(*mib));
        sum == Some(now.config.memory_mib())
            && sizes.iter().all(|mib| *mib > 0 && mib.is_multiple_of(unit))
    };
    written.filter(right).or_else(|| shares(now, nodes))
}

/// The lines as they are, but numbered without a gap, with memory that sums up, and a policy where they name host nodes.
fn mended(now: &State) -> Option<Draft> {
    let lines = &now.draft.lines;
    if !now.draft.explicit() || now.plugs_memory() {
        return None;
    }
    let node = |(id, line): (&VnodeId, &NumaLine)| VirtualNode {
        memory_mib: line.memory_mib,
        ..VirtualNode::new(id.0, line.cpus.set())
    };
    let sizes = memory(now, &lines.iter().map(node).collect::<Vec<_>>())?;
    let mut mended = now.draft.clone();
    mended.lines.clear();
    for ((id, line), mib) in (0..).map(VnodeId).zip(lines.values()).zip(sizes) {
        let mut line = line.clone();
        line.memory_mib = Some(mib);
        line.policy = line
            .policy
            .or(line.hostnodes.as_ref().map(|_| MemoryPolicy::Preferred));
        mended.lines.insert(id, line);
    }
    Some(mended)
}

/// The draft with lines that tie the memory of each virtual node to the host node where its vCPUs go. `None`: no line can name
/// any of them.
fn tied(case: &Case<'_>, now: &State, guest: &Guest, plan: &Plan) -> Option<Draft> {
    let nodes = &guest.virtual_nodes;
    if now.plugs_memory() || nodes.len() > MAX_LINES {
        return None;
    }
    let sizes = memory(now, nodes)?;
    let size = |node: &VirtualNode| {
        let at = nodes.iter().position(|other| other.id == node.id)?;
        sizes.get(at).copied()
    };
    let needs = needs(guest, plan, size);
    let tie = |node: &VirtualNode| {
        let placed = plan
            .virtual_nodes
            .iter()
            .find(|placed| placed.virtual_node == node.id)?;
        let host = only(placed).filter(|host| is_nameable(case, now, *host))?;
        let fits = || case.fits(host, needs.get(&host).copied().unwrap_or(0)) == Some(true);
        // Proxmox VE reserves huge pages on the host node that the line names: nowhere else are any for this guest
        let bind = now.hugepages().is_some() || fits();
        Some((
            host,
            if bind {
                MemoryPolicy::Bind
            } else {
                MemoryPolicy::Preferred
            },
        ))
    };
    let mut tied = Draft {
        numa: true,
        ..now.draft.clone()
    };
    tied.lines.clear();
    let mut any = false;
    for ((id, node), mib) in (0..).map(VnodeId).zip(nodes).zip(&sizes) {
        let tie = tie(node);
        any |= tie.is_some();
        tied.lines
            .insert(id, draft::line(draft::cpus(&now.draft, node)?, *mib, tie)?);
    }
    any.then_some(tied)
}

/// Whether a line can name a host node. With huge pages Proxmox VE takes only one digit (QemuServer/Memory.pm).
fn is_nameable(case: &Case<'_>, now: &State, host: NodeId) -> bool {
    case.has_memory(host) && (now.hugepages().is_none() || host.0 < 10)
}
