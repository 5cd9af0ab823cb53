//! What `status` shows: each guest with its threads, wanted and actual, and the node with what is still free.

use std::collections::{BTreeMap, BTreeSet};

use numapin_core::claims::ledger::{Entry, EntryState, KeptPolicy};
use numapin_core::claims::live::{Container, LiveGuest};
use numapin_core::claims::{Beside, Claims};
use numapin_core::guest::GuestName;
use numapin_core::host::{Host, memory};
use numapin_core::id::{CoreId, L3Id, NodeId, Pid, VcpuId, Vmid, VnodeId};
use numapin_core::idset::{CpuSet, NodeSet};
use numapin_core::policy::{ChosenPolicy, Mode};
use numapin_core::reconcile::ThreadNow;
use numapin_core::sorted;
use serde::Serialize;

use crate::fault::Fault;
use crate::flow;
use crate::intent::{GuestRef, Over};
use crate::load::Node;

/// A guest as it is.
pub(crate) struct GuestStatus {
    /// How it is called.
    pub(crate) guest: GuestName,
    /// Its number.
    pub(crate) vmid: Option<Vmid>,
    /// The name in its config.
    pub(crate) title: Option<String>,
    /// Its process, where it runs.
    pub(crate) pid: Option<Pid>,
    /// How far it has come.
    pub(crate) state: GuestState,
    /// Its policy as it stands now; `None` where it has none, or its config can't be read.
    pub(crate) policy: Option<KeptPolicy>,
    /// The policy that its plan was made with.
    pub(crate) planned_with: Option<KeptPolicy>,
    /// The virtual node of each vCPU that was planned.
    pub(crate) virtual_nodes: BTreeMap<VcpuId, VnodeId>,
    /// Its threads.
    pub(crate) threads: Vec<ThreadNow>,
    /// What it holds one-to-one.
    pub(crate) claimed: CpuSet,
    /// Who else can be on those.
    pub(crate) beside: Beside,
    /// Containers that may run on those.
    pub(crate) containers: Vec<Container>,
    /// Where its memory is, in MiB by host node.
    pub(crate) memory_mib: BTreeMap<NodeId, u64>,
    /// Its host nodes.
    pub(crate) host_nodes: NodeSet,
    /// What there is to say.
    pub(crate) notes: Vec<String>,
    /// Whether what is differs from what is wanted.
    pub(crate) drift: bool,
}

/// How far a guest has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum GuestState {
    /// Every thread has the mask it should have, or as much of it as is online and allowed.
    Pinned,
    /// Some thread has another mask.
    Drifted,
    /// It has a policy, and nothing was planned for it.
    Unplaced,
    /// It is starting: its plan is made, and not set.
    Starting,
    /// It was reset, and is left alone.
    Held,
    /// It has no policy.
    NoPolicy,
    /// It does not run.
    Stopped,
}

/// The node.
pub(crate) struct NodeStatus {
    /// The host nodes, ascending.
    pub(crate) nodes: Vec<Free>,
    /// Who holds which CPUs one-to-one.
    pub(crate) claimed: BTreeMap<GuestName, CpuSet>,
    /// Lines of numapin.conf whose guest no node has.
    pub(crate) lines_without_guest: Vec<Vmid>,
    /// Containers that may run on CPUs that are held one-to-one, with those.
    pub(crate) containers: Vec<Container>,
}

/// What is free on a host node: claimed by nobody, and neither reserved nor isolated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Free {
    /// Which one.
    pub(crate) node: NodeId,
    /// Its online CPUs.
    pub(crate) cpus: CpuSet,
    /// Those that are held one-to-one.
    pub(crate) claimed: CpuSet,
    /// CPUs that are free.
    pub(crate) free: CpuSet,
    /// Cores of which every CPU is free, and all cores.
    pub(crate) free_cores: usize,
    /// All cores.
    pub(crate) cores: usize,
    /// L3s of which every CPU is free.
    pub(crate) free_l3s: usize,
    /// All L3s; without L3 data the host node is one.
    pub(crate) l3s: usize,
}

impl GuestState {
    /// The word in output.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Drifted => "drifted",
            Self::Unplaced => "unplaced",
            Self::Starting => "starting",
            Self::Held => "held",
            Self::NoPolicy => "no policy",
            Self::Stopped => "stopped",
        }
    }
}

/// The guests of a node that run, were planned, or have a policy; ascending, those without a VMID last.
///
/// # Errors
/// A file of /proc or of a cgroup can't be read.
pub(crate) fn all(node: &Node, warn: &mut Vec<String>) -> Result<Vec<GuestStatus>, Fault> {
    let live = node.live.guests.iter().filter_map(|guest| guest.vmid);
    let entries = node.ledger.alive.iter().filter_map(|entry| entry.vmid);
    let mut vmids: BTreeSet<Vmid> = sorted::set(live.chain(entries));
    for vmid in node.configs.guests()? {
        match chosen(node, vmid) {
            Ok((_, chosen)) if chosen.policy.mode != Mode::None => {
                vmids.insert(vmid);
            }
            Ok(_) => {}
            // A guest that is shown says it itself.
            Err(fault) if !vmids.contains(&vmid) => warn.push(fault.message),
            Err(_) => {}
        }
    }
    let claims = node.claims_beside(Default::default());
    let mut guests = Vec::new();
    for vmid in vmids {
        guests.push(of(node, vmid, &claims)?);
    }
    for live in node.live.guests.iter().filter(|guest| guest.vmid.is_none()) {
        let entry = node.ledger.alive.iter().find(|entry| entry.is_of(live));
        guests.push(status(node, None, Some(live), entry, &claims)?);
    }
    Ok(guests)
}

/// One guest.
///
/// # Errors
/// There is no such guest, or a file of /proc or of a cgroup can't be read.
pub(crate) fn one(node: &Node, vmid: Vmid) -> Result<GuestStatus, Fault> {
    let known = node
        .live
        .guests
        .iter()
        .any(|guest| guest.vmid == Some(vmid))
        || node.ledger.of(vmid).is_some();
    if !known {
        node.configs
            .config(&GuestRef::Vmid(vmid), &mut Vec::new())?;
    }
    of(node, vmid, &node.claims_beside(Default::default()))
}

/// What the node has, and what of it is free.
pub(crate) fn node(node: &Node) -> NodeStatus {
    let claims = node.claims_beside(Default::default());
    let mut claimed: BTreeMap<GuestName, CpuSet> = BTreeMap::new();
    for (cpu, holders) in &claims.one_to_one {
        for holder in holders {
            claimed.entry(holder.clone()).or_default().insert(*cpu);
        }
    }
    let held = claims.claimed();
    let conf = &node.configs.conf;
    let lines = conf.vmids().into_iter();
    NodeStatus {
        nodes: node
            .host
            .nodes
            .iter()
            .map(|of| free(&node.host, of, &held))
            .collect(),
        claimed,
        lines_without_guest: lines.filter(|vmid| !node.configs.exists(*vmid)).collect(),
        containers: node.live.containers_on(&held, &node.host.online()),
    }
}

fn free(host: &Host, of: &numapin_core::host::Node, held: &CpuSet) -> Free {
    let not_free = held.union(&host.reserved).union(&host.isolated);
    let mut cores: BTreeMap<CoreId, bool> = BTreeMap::new();
    let mut l3s: BTreeMap<Option<L3Id>, bool> = BTreeMap::new();
    // A core or a cache over two host nodes counts in each: what belongs to it elsewhere does not matter here.
    for cpu in of.cpus.iter().filter_map(|cpu| host.cpu(cpu)) {
        let free = !not_free.contains(cpu.id);
        *cores.entry(cpu.core).or_insert(true) &= free;
        *l3s.entry(cpu.l3).or_insert(true) &= free;
    }
    Free {
        node: of.id,
        cpus: of.cpus.clone(),
        claimed: of.cpus.intersection(held),
        free: of.cpus.difference(&not_free),
        free_cores: cores.values().filter(|free| **free).count(),
        cores: cores.len(),
        free_l3s: l3s.values().filter(|free| **free).count(),
        l3s: l3s.len(),
    }
}

fn of(node: &Node, vmid: Vmid, claims: &Claims) -> Result<GuestStatus, Fault> {
    let live = node
        .live
        .guests
        .iter()
        .find(|guest| guest.vmid == Some(vmid));
    let entry = node.ledger.of(vmid);
    status(node, Some(vmid), live, entry, claims)
}

/// The policy of a guest, and the name in its config.
fn chosen(node: &Node, vmid: Vmid) -> Result<(Option<String>, ChosenPolicy), Fault> {
    let config = node
        .configs
        .config(&GuestRef::Vmid(vmid), &mut Vec::new())?;
    let chosen = node.configs.policy(&config, &Over::default())?;
    Ok((config.config.name.map(|name| name.value), chosen))
}

fn status(
    node: &Node,
    vmid: Option<Vmid>,
    live: Option<&LiveGuest>,
    entry: Option<&Entry>,
    claims: &Claims,
) -> Result<GuestStatus, Fault> {
    let guest = match (entry, live, vmid) {
        (Some(entry), ..) => entry.guest.clone(),
        (_, Some(live), _) => live.name.clone(),
        (.., Some(vmid)) => GuestName(vmid.to_string()),
        (None, None, None) => GuestName(String::new()),
    };
    let mut notes = Vec::new();
    let (title, policy) = match vmid.map(|vmid| chosen(node, vmid)) {
        Some(Ok((title, chosen))) => {
            notes.extend(chosen.notes.iter().map(ToString::to_string));
            let none = chosen.policy.mode == Mode::None;
            let policy = KeptPolicy {
                text: chosen.policy.to_string(),
                source: chosen.origin(),
            };
            (title, (!none).then_some(policy))
        }
        Some(Err(fault)) => {
            notes.push(fault.message);
            (None, None)
        }
        None => (None, None),
    };
    let mut threads = Vec::new();
    let mut drifted = false;
    if let Some(entry) = entry.filter(|_| live.is_some()) {
        let outcome = flow::outcome(node, entry, claims, true)?;
        drifted = outcome.has_drifted();
        notes.extend(outcome.notes.iter().map(ToString::to_string));
        threads = outcome.threads;
    } else if let Some(live) = live {
        let nothing = flow::unplanned(guest.clone(), EntryState::Applied);
        threads = flow::outcome_of(node, &nothing, Some(live), claims, true)?.threads;
    }
    let state = match (entry.map(|entry| entry.state), live) {
        (Some(EntryState::Pending), _) => GuestState::Starting,
        (_, None) => GuestState::Stopped,
        (Some(EntryState::Held), _) => GuestState::Held,
        (Some(EntryState::Applied), _) if drifted => GuestState::Drifted,
        (Some(EntryState::Applied), _) => GuestState::Pinned,
        (None, Some(_)) if policy.is_some() => GuestState::Unplaced,
        (None, Some(_)) => GuestState::NoPolicy,
    };
    let planned_with = entry
        .filter(|entry| entry.plan.mode != Mode::None)
        .map(|entry| entry.policy.clone());
    let text = |policy: &Option<KeptPolicy>| policy.as_ref().map(|policy| policy.text.clone());
    if vmid.is_some() && planned_with.is_some() && text(&policy) != text(&planned_with) {
        let now = text(&policy).unwrap_or_else(|| Mode::None.to_string());
        let made = text(&planned_with).unwrap_or_default();
        notes.push(format!(
            "the plan was made with policy {made}, the policy is now {now}: it acts at the next start or apply --replan"
        ));
    }
    if state == GuestState::Unplaced {
        notes.push("it runs and was not placed: numapin apply places it".to_owned());
    }
    let mut claimed = CpuSet::new();
    for (cpu, holders) in &claims.one_to_one {
        if holders.contains(&guest) {
            claimed.insert(*cpu);
        }
    }
    let memory_mib = match live {
        Some(live) => memory::of_cgroup(&node.root, vmid, Some(live.pid))?,
        None => BTreeMap::new(),
    };
    let placed = entry.iter().flat_map(|entry| &entry.plan.virtual_nodes);
    let host_nodes = placed.fold(NodeSet::new(), |all, node| {
        all.union(&node.placed.host_nodes)
    });
    let vcpus = entry.iter().flat_map(|entry| &entry.plan.vcpus);
    let virtual_nodes = vcpus.map(|kept| (kept.placed.vcpu, kept.placed.virtual_node));
    Ok(GuestStatus {
        virtual_nodes: sorted::map(virtual_nodes),
        beside: match claimed.is_empty() {
            true => Beside::default(),
            false => claims.beside(&guest, &claimed),
        },
        containers: node.live.containers_on(&claimed, &node.host.online()),
        drift: matches!(state, GuestState::Drifted | GuestState::Unplaced),
        pid: live.map(|live| live.pid),
        guest,
        vmid,
        title,
        state,
        policy,
        planned_with,
        threads,
        claimed,
        memory_mib,
        host_nodes,
        notes,
    })
}
