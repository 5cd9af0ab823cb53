//! What a config is worth: it is read, built and planned as a start would, and what disappoints is counted.

use std::collections::BTreeMap;
use std::path::Path;

use super::draft::Draft;
use super::split::unit;
use super::text;
use crate::claims::Claims;
use crate::guest::flags::Overrides;
use crate::guest::pve::problem::Oddity;
use crate::guest::pve::{self, Beside, ConfigError, GuestConfig, MemoryPolicy, Parsed, Pending};
use crate::guest::{Device, Guest, GuestName, Hugepages, VirtualNode};
use crate::host::Host;
use crate::id::{NodeId, Vmid, VnodeId};
use crate::idset::{CpuSet, NodeSet};
use crate::placement::{Item, PlacedNode, Plan, Value, plan};
use crate::policy::{Mode, Policy};
use crate::violation::Violations;

/// What every config of one guest is judged by.
pub(super) struct Case<'a> {
    /// The host as the next start finds it.
    pub host: Host,
    /// What others hold.
    pub claims: &'a Claims,
    /// How it is to be placed.
    pub policy: Policy,
    /// What messages call the file.
    pub file: &'a Path,
    /// How the guest is called.
    pub name: &'a GuestName,
    /// Its number.
    pub vmid: Option<Vmid>,
    /// Its PCI devices.
    pub devices: &'a [Device],
}

/// A config with all that follows from it.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// Its text.
    pub text: String,
    /// What it says.
    pub config: GuestConfig,
    /// What is odd about it.
    pub oddities: Vec<Oddity>,
    /// The part that may change.
    pub draft: Draft,
    /// The guest and its plan, or why there is none.
    pub planned: Result<(Guest, Plan), Violations>,
    /// What it is worth.
    pub score: Score,
}

/// What a config is worth, compared from top to bottom; lower is better.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    /// It can't be placed.
    refused: bool,
    /// vCPUs that are not plugged and that the plan leaves out.
    left_out: usize,
    /// What keeps QEMU from starting.
    no_start: usize,
    /// Virtual nodes that share their host node with another one, whoever said so.
    shared: usize,
    /// The cost down to `distance`: where vCPUs, memory and devices are. What comes after it is fine-tuning, for which nobody
    /// should be told to change a guest.
    cost: Vec<Value>,
    /// How loosely the memory is tied to the host nodes where the vCPUs go: for each virtual node 0 where it is bound, 1 where
    /// it is placed there if it can be, 2 where nothing says so.
    loose: u32,
    /// CPUs that `affinity` names for nothing.
    idle: usize,
}

impl State {
    /// Reads and plans a config.
    ///
    /// # Errors
    /// It can't be read. The inner `None`: its sockets and cores are no number of vCPUs.
    pub(super) fn read(case: &Case<'_>, text: &str) -> Result<Option<Self>, ConfigError> {
        let Parsed { config, warnings } = pve::parse(case.file, text, Pending::Merge)?;
        let Some(draft) = Draft::of(&config) else {
            return Ok(None);
        };
        let oddities: Vec<Oddity> = warnings.into_iter().map(|warning| warning.oddity).collect();
        let beside = Beside {
            vmid: case.vmid,
            devices: case.devices.to_vec(),
            running: None,
        };
        let guest = config.guest(case.name.clone(), &Overrides::default(), beside);
        let planned = guest.and_then(|guest| {
            let plan = plan(&case.host, &guest, case.claims, &case.policy)?;
            Ok((guest, plan))
        });
        let score = Score::of(case, &config, &oddities, &planned);
        Ok(Some(Self {
            text: text.to_owned(),
            config,
            oddities,
            draft,
            planned,
            score,
        }))
    }

    /// The config with another draft in it; `None`: it would not say what the draft says, or not be read at all.
    pub(super) fn with(&self, case: &Case<'_>, draft: &Draft) -> Option<Self> {
        let settings = draft.settings(&self.draft, &self.text);
        let text = text::apply(&self.text, &settings);
        let state = Self::read(case, &text).ok()??;
        (state.draft == *draft).then_some(state)
    }

    /// Whether it is better than another one and costs no more. Costs of different numbers of vCPUs say nothing about each other.
    /// What the guest sees of itself changes only for what that mends: not to be near a device.
    pub(super) fn improves(&self, on: &Self) -> bool {
        let (Ok((_, plan)), true) = (&self.planned, self.score < on.score) else {
            return false;
        };
        let Ok((_, before)) = &on.planned else {
            return true;
        };
        let costs = self.score.left_out != on.score.left_out || plan.cost <= before.cost;
        let (ours, theirs) = (self.faults(plan), on.faults(before));
        let mended = ours != theirs && ours.iter().zip(&theirs).all(|(a, b)| a <= b);
        costs && (mended || self.draft.shape() == on.draft.shape())
    }

    /// What another shape can mend, each counted.
    fn faults(&self, plan: &Plan) -> [u64; 6] {
        let Score {
            left_out,
            no_start,
            shared,
            ..
        } = self.score;
        let cost = |item| plan.cost.count(item);
        [
            left_out as u64,
            no_start as u64,
            shared as u64,
            cost(Item::Packages),
            cost(Item::Spanned),
            cost(Item::ShortMemory),
        ]
    }

    /// Its plan.
    pub(super) fn plan(&self) -> Option<&Plan> {
        self.planned.as_ref().ok().map(|(_, plan)| plan)
    }

    /// Whether another shape could help: it does not fit or start, spans host nodes, shares them, or has too little memory there.
    pub(super) fn is_misshapen(&self) -> bool {
        let Some(plan) = self.plan() else {
            return true;
        };
        self.faults(plan).iter().any(|n| *n > 0)
    }

    /// Whether its memory is placed before anything can be pinned: passthrough maps all of it, and huge pages are allocated.
    pub(super) fn places_memory_early(&self, case: &Case<'_>) -> bool {
        !case.devices.is_empty() || self.config.hugepages.is_some()
    }

    /// Whether virtual nodes share a host node.
    pub(super) fn shares_nodes(&self) -> bool {
        self.score.shared > 0
    }

    /// Whether any of its memory could be tied closer.
    pub(super) fn is_loose(&self) -> bool {
        self.score.loose > 0
    }

    /// Whether a virtual node has memory that is not made of whole huge pages.
    pub(super) fn has_broken_pages(&self) -> bool {
        has_broken_pages(&self.config)
    }

    /// Whether the memory as a whole is not made of whole huge pages.
    pub(super) fn has_hopeless_pages(&self) -> bool {
        !self
            .config
            .memory_mib()
            .is_multiple_of(unit(self.hugepages()))
    }

    /// The hugepages that count.
    pub(super) fn hugepages(&self) -> Option<Hugepages> {
        self.config.hugepages.as_ref().map(|pages| pages.value)
    }

    /// Whether memory can be plugged, which numaN lines can't be together with.
    pub(super) fn plugs_memory(&self) -> bool {
        self.config
            .hotplug
            .as_ref()
            .is_some_and(|hotplug| hotplug.value.memory)
    }
}

impl Score {
    fn of(
        case: &Case<'_>,
        config: &GuestConfig,
        oddities: &[Oddity],
        planned: &Result<(Guest, Plan), Violations>,
    ) -> Self {
        let no_start = oddities
            .iter()
            .filter(|odd| matches!(odd, Oddity::NoStart(_)))
            .count();
        let mut score = Self {
            refused: planned.is_err(),
            left_out: 0,
            no_start: no_start + usize::from(has_broken_pages(config)),
            shared: 0,
            cost: Vec::new(),
            loose: 0,
            idle: 0,
        };
        if let Some(affinity) = &config.affinity {
            score.idle = affinity.value.difference(&useful(&case.host)).len();
        }
        let Ok((guest, plan)) = planned else {
            return score;
        };
        if matches!(plan.mode, Mode::Shared | Mode::None) {
            return score;
        }
        score.left_out = guest.vcpus().len() - plan.vcpus.len();
        let nodes = &plan.virtual_nodes;
        let alone = |placed: &&PlacedNode| {
            let others = nodes
                .iter()
                .filter(|other| other.virtual_node != placed.virtual_node);
            let mut others = others.map(|other| &other.host_nodes);
            others.all(|hosts| hosts.is_disjoint(&placed.host_nodes))
        };
        score.shared = nodes.len() - nodes.iter().filter(alone).count();
        let items = plan.cost.iter();
        let upto = items.take_while(|(item, _)| *item != Item::BootCore);
        let counted = upto.filter(|(item, _)| *item != Item::SharedNodes);
        score.cost = counted.map(|(_, value)| value.clone()).collect();
        if case.has_several_memories() {
            let looseness = nodes
                .iter()
                .map(|placed| looseness(case, config, guest, plan, placed));
            score.loose = looseness.sum();
        }
        score
    }
}

impl Case<'_> {
    /// Whether memory is known on several host nodes, so that it matters where it is.
    pub(super) fn has_several_memories(&self) -> bool {
        let known = self.host.nodes.iter().filter(|node| node.memory.is_some());
        known.count() > 1
    }

    /// Whether memory can be tied to a host node: QEMU can't bind to one that has none.
    pub(super) fn has_memory(&self, node: NodeId) -> bool {
        let memory = self.host.node(node).and_then(|node| node.memory.as_ref());
        memory.is_some_and(|memory| memory.total_kib > 0)
    }

    /// Whether a host node has so much memory available; `None`: free memory says little (ZFS), or is not known.
    pub(super) fn fits(&self, node: NodeId, mib: u64) -> Option<bool> {
        if self.host.zfs {
            return None;
        }
        let memory = self.host.node(node)?.memory.as_ref()?;
        let promised = self.claims.promised_kib.get(&node).copied().unwrap_or(0);
        let available = memory
            .available_kib
            .unwrap_or(memory.total_kib)
            .saturating_sub(promised);
        Some(mib.saturating_mul(1024) <= available)
    }
}

/// The CPUs that an `affinity` names for something: online and not kept for the host.
pub(super) fn useful(host: &Host) -> CpuSet {
    host.online().difference(&host.reserved)
}

/// The memory that the virtual nodes on each host node need, in MiB.
pub(super) fn needs(
    guest: &Guest,
    plan: &Plan,
    memory_of: impl Fn(&VirtualNode) -> Option<u64>,
) -> BTreeMap<NodeId, u64> {
    let mut needs: BTreeMap<NodeId, u64> = BTreeMap::new();
    for placed in &plan.virtual_nodes {
        let node = guest
            .virtual_nodes
            .iter()
            .find(|node| node.id == placed.virtual_node);
        if let (Some(host), Some(mib)) = (only(placed), node.and_then(&memory_of)) {
            *needs.entry(host).or_default() += mib;
        }
    }
    needs
}

/// The one host node of a virtual node; `None`: it spans several.
pub(super) fn only(placed: &PlacedNode) -> Option<NodeId> {
    placed
        .host_nodes
        .first()
        .filter(|_| placed.host_nodes.len() == 1)
}

/// 0: the memory of the virtual node is bound to the host node where its vCPUs go; 1: it is placed there if it can be; 2: nothing
/// says where it is to be, or it is bound where there is too little.
fn looseness(
    case: &Case<'_>,
    config: &GuestConfig,
    guest: &Guest,
    plan: &Plan,
    placed: &PlacedNode,
) -> u32 {
    let Some(host) = only(placed) else {
        return 2;
    };
    let node = guest
        .virtual_nodes
        .iter()
        .find(|node| node.id == placed.virtual_node);
    let named = node.is_some_and(|node| node.host_node == Some(host));
    let line = config
        .numa_lines
        .get(&placed.virtual_node)
        .filter(|_| guest.numa_explicit);
    if let (true, Some(line)) = (named, line) {
        let mib = needs(guest, plan, |node| node.memory_mib)
            .get(&host)
            .copied()
            .unwrap_or(0);
        return match line.value.policy {
            Some(MemoryPolicy::Bind) if guest.hugepages.is_some() => 0,
            Some(MemoryPolicy::Bind) => match case.fits(host, mib) {
                Some(true) => 0,
                None => 1,
                Some(false) => 2,
            },
            Some(MemoryPolicy::Preferred | MemoryPolicy::Interleave) => 1,
            None => 2,
        };
    }
    // without lines, Proxmox VE reserves the huge pages of virtual node i on host node i
    if guest.hugepages.is_some() && !guest.numa_explicit && VnodeId(host.0) == placed.virtual_node {
        return 0;
    }
    let confined = guest.affinity.as_ref().is_some_and(|affinity| {
        let cpus = affinity.intersection(&case.host.online());
        !cpus.is_empty() && hosts_of(&case.host, &cpus) == NodeSet::from_iter([host])
    });
    if confined { 1 } else { 2 }
}

/// The host nodes of some CPUs.
pub(super) fn hosts_of(host: &Host, cpus: &CpuSet) -> NodeSet {
    cpus.iter().filter_map(|cpu| host.cpu(cpu)?.node).collect()
}

/// Whether a virtual node has memory that is not made of whole huge pages, as Proxmox VE wants it.
fn has_broken_pages(config: &GuestConfig) -> bool {
    let Some(pages) = &config.hugepages else {
        return false;
    };
    let unit = unit(Some(pages.value));
    if config.numa() && !config.numa_lines.is_empty() {
        let mut sizes = config
            .numa_lines
            .values()
            .filter_map(|line| line.value.memory_mib);
        return sizes.any(|mib| !mib.is_multiple_of(unit));
    }
    let each = unit.saturating_mul(config.sockets());
    each == 0 || !static_memory(config, config.sockets()).is_multiple_of(each)
}

/// The memory in MiB that is divided over so many sockets where there are no lines: where memory is plugged, only what Proxmox VE
/// starts such a guest with (Memory.pm, `$STATICMEM`).
pub(super) fn static_memory(config: &GuestConfig, sockets: u64) -> u64 {
    const STATIC_MIB: u64 = 1024;
    let plugs = config
        .hotplug
        .as_ref()
        .is_some_and(|hotplug| hotplug.value.memory);
    match (plugs, config.hugepages.as_ref().map(|pages| pages.value)) {
        (false, _) => config.memory_mib(),
        (true, Some(Hugepages::Gib1)) => STATIC_MIB.saturating_mul(sockets),
        (true, _) => STATIC_MIB,
    }
}
