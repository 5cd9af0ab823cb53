//! A host, a guest, its policy and what others hold, as the manual's sections 2 to 4 read them: which CPUs are usable, which are
//! claimed, which virtual nodes take part. Every CPU, core and L3 is a number in a dense list.

use numapin_core::claims::Claims;
use numapin_core::guest::{Guest, VirtualNode};
use numapin_core::host::{Cpu, Host};
use numapin_core::id::{CoreId, CpuId, L3Id, NodeId, VcpuId, VnodeId};
use numapin_core::idset::{CpuSet, VcpuSet};
use numapin_core::policy::{Isolated, Kind, Mode, Overlap, Policy, Smt};

use crate::fraction::Fraction;

/// Everything a placement is judged by.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The host.
    pub host: &'a Host,
    /// The guest.
    pub guest: &'a Guest,
    /// The policy.
    pub policy: &'a Policy,
    /// Memory promised to guests that are starting; overlap=allow does not end that.
    pub claims: &'a Claims,
    /// The online CPUs that belong to a host node, ascending by id.
    pub cpus: Vec<Place>,
    /// The host nodes, ascending by id: that of a number.
    pub nodes: Vec<NodeId>,
    /// How many cores there are.
    pub cores: usize,
    /// How many L3s there are.
    pub l3s: usize,
    /// The usable CPUs, also those without a host node.
    pub usable: CpuSet,
    /// The CPUs that others hold one-to-one, as overlap lets them count.
    pub claimed: CpuSet,
    /// Masks of several CPUs with the number of their vCPUs, as overlap lets them count.
    pub set_pinned: Vec<(CpuSet, u32)>,
}

/// An online CPU that belongs to a host node.
#[derive(Debug, Clone)]
pub struct Place {
    /// Which one.
    pub id: CpuId,
    /// The number of its host node.
    pub node: usize,
    /// The number of its core: the CPUs of one host node that name the same core.
    pub core: usize,
    /// The number of its L3: the CPUs of one host node that name the same L3, or the host node where they name none. That of the
    /// CPU that names its core, should the core's threads differ.
    pub l3: usize,
    /// Its place in topological order: L3, core, thread; CPUs that name no L3 come after those that do.
    pub order: (bool, Option<L3Id>, CoreId, CpuId),
    /// Its package, where that is known.
    pub package: Option<i32>,
    /// The kind of its core: that of the core's fastest online CPU, should its threads differ.
    pub kind: Option<u32>,
    /// Whether it is slower than the fastest kind of the host.
    pub slow: bool,
    /// Whether it is on the core of the lowest online CPU.
    pub boot: bool,
    /// Whether the guest may use it.
    pub usable: bool,
    /// Whether another guest holds it one-to-one.
    pub claimed: bool,
    /// Other guests' set-pinned vCPUs there, each by its share.
    pub crowd: Fraction,
}

/// A virtual node that takes part in a placement.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    /// The virtual node.
    pub node: &'a VirtualNode,
    /// Those of its vCPUs that are placed.
    pub vcpus: VcpuSet,
    /// How many they are.
    pub count: usize,
}

impl<'a> Scene<'a> {
    /// Reads the four.
    #[must_use]
    pub fn new(host: &'a Host, guest: &'a Guest, claims: &'a Claims, policy: &'a Policy) -> Self {
        let ignored = policy.overlap == Overlap::Allow;
        let mut claimed = CpuSet::new();
        let mut set_pinned = Vec::new();
        if !ignored {
            claimed.extend(claims.one_to_one.keys().copied());
            set_pinned.extend(claims.set_pinned.iter().map(|s| (s.mask.clone(), s.vcpus)));
        }
        let usable = usable(host, guest, policy, &claimed);
        let mut scene = Self {
            host,
            guest,
            policy,
            claims,
            cpus: Vec::new(),
            nodes: host.nodes.iter().map(|node| node.id).collect(),
            cores: 0,
            l3s: 0,
            usable,
            claimed,
            set_pinned,
        };
        scene.number();
        scene
    }

    /// The virtual nodes and their vCPUs: all of them, or the plugged ones alone.
    #[must_use]
    pub fn parts(&self, plugged_only: bool) -> Vec<Part<'a>> {
        let mut parts = Vec::new();
        for node in &self.guest.virtual_nodes {
            let mut vcpus = node.vcpus.clone();
            if plugged_only {
                vcpus = vcpus.intersection(&self.guest.plugged);
            }
            if !vcpus.is_empty() {
                let count = vcpus.len();
                parts.push(Part { node, vcpus, count });
            }
        }
        parts
    }

    /// Whether vCPUs of the guest are not plugged, so that a plan may be made without them.
    #[must_use]
    pub fn has_unplugged(&self) -> bool {
        !self.guest.vcpus().is_subset(&self.guest.plugged)
    }

    /// The usable CPUs of a host node, by their numbers.
    #[must_use]
    pub fn usable_of(&self, node: usize) -> Vec<usize> {
        (0..self.cpus.len())
            .filter(|cpu| self.cpus[*cpu].node == node && self.cpus[*cpu].usable)
            .collect()
    }

    /// How many vCPUs a host node has room for: its usable CPUs, or with smt=isolate its usable cores.
    #[must_use]
    pub fn room(&self, node: usize) -> usize {
        let usable = self.usable_of(node);
        if !self.is_isolate() {
            return usable.len();
        }
        let mut cores: Vec<usize> = usable.iter().map(|cpu| self.cpus[*cpu].core).collect();
        cores.sort_unstable();
        cores.dedup();
        cores.retain(|core| self.is_free_of_denied(*core));
        cores.len()
    }

    /// Whether each vCPU gets a core of its own.
    #[must_use]
    pub fn is_isolate(&self) -> bool {
        self.policy.mode == Mode::OneToOne && self.policy.smt == Smt::Isolate
    }

    /// With overlap=deny a core's idle siblings can't be claimed where another guest holds one of them.
    #[must_use]
    pub fn is_free_of_denied(&self, core: usize) -> bool {
        self.policy.overlap != Overlap::Deny
            || !self.cpus.iter().any(|cpu| cpu.core == core && cpu.claimed)
    }

    /// A set of CPUs as the host calls them.
    #[must_use]
    pub fn ids(&self, cpus: &[usize]) -> CpuSet {
        cpus.iter().map(|cpu| self.cpus[*cpu].id).collect()
    }

    /// The number of an online CPU that belongs to a host node.
    #[must_use]
    pub fn number_of(&self, id: CpuId) -> Option<usize> {
        self.cpus.binary_search_by_key(&id, |cpu| cpu.id).ok()
    }

    /// The number of a host node.
    #[must_use]
    pub fn node_number(&self, id: NodeId) -> Option<usize> {
        self.nodes.binary_search(&id).ok()
    }

    /// Where a vCPU is in the guest.
    #[must_use]
    pub fn virtual_node_of(&self, vcpu: VcpuId) -> Option<VnodeId> {
        let mut nodes = self.guest.virtual_nodes.iter();
        nodes
            .find(|node| node.vcpus.contains(vcpu))
            .map(|node| node.id)
    }

    fn number(&mut self) {
        let fastest = self.host.cpus.iter().filter_map(|cpu| cpu.kind).min();
        let boot = self.host.cpus.first().map(|cpu| (cpu.node, cpu.core));
        let mut cores = Vec::new();
        let mut kinds: Vec<Option<u32>> = Vec::new();
        let mut l3s = Vec::new();
        for cpu in &self.host.cpus {
            let Some(node) = cpu.node.and_then(|node| self.node_number(node)) else {
                continue;
            };
            let masks = self.set_pinned.iter().filter(|(m, _)| m.contains(cpu.id));
            let crowd = masks.fold(Fraction::ZERO, |sum, (mask, vcpus)| {
                sum + Fraction::new(*vcpus as usize, mask.len())
            });
            let same = |other: &&Cpu| (other.node, other.core) == (cpu.node, cpu.core);
            let named = self.host.cpu(CpuId(cpu.core.0)).filter(same);
            let l3 = named.unwrap_or(cpu).l3;
            let core = position(&mut cores, (node, cpu.core));
            if core == kinds.len() {
                kinds.push(cpu.kind);
            }
            kinds[core] = kinds[core].into_iter().chain(cpu.kind).min();
            self.cpus.push(Place {
                id: cpu.id,
                node,
                core,
                l3: position(&mut l3s, (node, l3)),
                order: (l3.is_none(), l3, cpu.core, cpu.id),
                package: cpu.package.map(|p| p.0),
                kind: None,
                slow: cpu.kind > fastest && cpu.kind.is_some(),
                boot: boot == Some((cpu.node, cpu.core)),
                usable: self.usable.contains(cpu.id),
                claimed: self.claimed.contains(cpu.id),
                crowd,
            });
        }
        for place in &mut self.cpus {
            place.kind = kinds[place.core];
        }
        self.cores = cores.len();
        self.l3s = l3s.len();
    }
}

/// Section 3: online, named by `affinity`, allowed by the cpuset, of the kind, not reserved, not isolated unless that is asked
/// for; with overlap=deny not claimed.
fn usable(host: &Host, guest: &Guest, policy: &Policy, claimed: &CpuSet) -> CpuSet {
    let fastest = host.cpus.iter().filter_map(|cpu| cpu.kind).min();
    let one_to_one = policy.mode == Mode::OneToOne;
    let may = |cpu: &&Cpu| {
        let isolated = host.isolated.contains(cpu.id);
        let by_isolation = match policy.isolated {
            Isolated::Allow if one_to_one => true,
            Isolated::Only if one_to_one => isolated,
            _ => !isolated || guest.affinity.is_some(),
        };
        let by_kind = match policy.kind {
            Kind::Any => true,
            Kind::Performance => cpu.kind == fastest || cpu.kind.is_none(),
            Kind::Efficiency => cpu.kind != fastest && cpu.kind.is_some(),
        };
        let named = guest.affinity.as_ref().is_none_or(|a| a.contains(cpu.id));
        let allowed = host.allowed.as_ref().is_none_or(|a| a.contains(cpu.id));
        let denied = policy.overlap == Overlap::Deny && claimed.contains(cpu.id);
        by_isolation && by_kind && named && allowed && !denied && !host.reserved.contains(cpu.id)
    };
    host.cpus.iter().filter(may).map(|cpu| cpu.id).collect()
}

fn position<T: PartialEq>(list: &mut Vec<T>, value: T) -> usize {
    list.iter().position(|v| *v == value).unwrap_or_else(|| {
        list.push(value);
        list.len() - 1
    })
}
