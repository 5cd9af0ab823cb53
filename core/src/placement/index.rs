//! The usable part of a host, laid out once for one guest: host node, L3, core, CPU, each list in topological order.
//!
//! ```text
//! Index ── NodeIx ── L3Ix ── CoreIx ── CpuIx
//! ```
//! Cores and L3s are those of one node: an L3 over two nodes counts once in each.

use std::collections::{BTreeMap, BTreeSet};

use num_bigint::BigUint;
use num_integer::Integer;
use num_traits::{One, Zero};

use super::usable::Usable;
use crate::host::Host;
use crate::id::{CoreId, CpuId, L3Id, NodeId, PackageId};
use crate::idset::CpuSet;
use crate::policy::{Mode, Overlap, Policy, Smt};
use crate::sorted;

/// Usable CPUs by node, L3 and core.
#[derive(Debug, Clone)]
pub(super) struct Index {
    /// The host nodes with a usable CPU, ascending.
    pub nodes: Vec<NodeIx>,
    /// The kinds of core among the usable CPUs, ascending.
    pub kinds: Vec<u32>,
    /// The common denominator of all shares of set-pinned vCPUs.
    pub denominator: BigUint,
    /// The different crowds on a CPU, as numerators over the denominator; the first is nothing.
    pub crowds: Vec<BigUint>,
}

/// A host node.
#[derive(Debug, Clone)]
pub(super) struct NodeIx {
    /// Which one.
    pub id: NodeId,
    /// Its usable CPUs.
    pub cpus: CpuSet,
    /// How many vCPUs it has room for: usable CPUs, or cores for smt=isolate.
    pub room: usize,
    /// The packages of its usable CPUs.
    pub packages: BTreeSet<PackageId>,
    /// Its L3s with a usable CPU, by their lowest online CPU.
    pub l3s: Vec<L3Ix>,
}

/// An L3 of a host node.
#[derive(Debug, Clone)]
pub(super) struct L3Ix {
    /// Its usable CPUs.
    pub cpus: CpuSet,
    /// Those of them that nobody holds.
    pub unclaimed: CpuSet,
    /// Its cores with a usable CPU, by their lowest online CPU.
    pub cores: Vec<CoreIx>,
}

/// A core of an L3.
#[derive(Debug, Clone)]
pub(super) struct CoreIx {
    /// Its usable CPUs, ascending.
    pub cpus: Vec<CpuIx>,
    /// All its online CPUs.
    pub online: CpuSet,
    /// A CPU of it is claimed.
    pub foreign: bool,
    /// An online CPU of it is not usable.
    pub half: bool,
    /// The lowest online CPU of the host is one of it.
    pub boot: bool,
    /// Whether a vCPU can have it: for smt=isolate with overlap=deny not if others hold a CPU of it, since its idle threads
    /// could not be claimed.
    pub fit: bool,
    /// Its kind, 0 the fastest: that of its fastest online CPU, should its threads differ.
    pub kind: u32,
}

/// A usable CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CpuIx {
    /// Which one.
    pub id: CpuId,
    /// Another guest holds it.
    pub claimed: bool,
    /// It is not of the fastest kind of the host.
    pub slow: bool,
    /// How crowded it is: a position in `Index::crowds`.
    pub crowd: usize,
}

impl Index {
    /// Lays out what `usable` has.
    pub(super) fn new(host: &Host, usable: &Usable<'_>, policy: &Policy) -> Self {
        let denominator = denominator(usable);
        let (crowds, crowd_of) = crowds(usable, &denominator, policy);
        let fast = host.fastest_kind();
        // topological order: node, L3 (without one: the node), core, CPU
        let mut order: Vec<(NodeId, L3Id, CoreId, usize)> = Vec::with_capacity(host.cpus.len());
        for (i, cpu) in host.cpus.iter().enumerate() {
            if let Some(node) = cpu.node {
                // A core is in one L3, also where firmware has its threads in two: in that of the CPU that names it.
                let named = host.cpu(CpuId(cpu.core.0));
                let first = named.filter(|first| (first.node, first.core) == (cpu.node, cpu.core));
                let l3 = first.unwrap_or(cpu).l3.unwrap_or(L3Id(u32::MAX));
                order.push((node, l3, cpu.core, i));
            }
        }
        order.sort_unstable();
        let boot = host.cpus.first().map(|cpu| cpu.id);
        let strict = policy.smt == Smt::Isolate && policy.overlap == Overlap::Deny;
        let mut index = Self {
            nodes: Vec::new(),
            kinds: Vec::new(),
            denominator,
            crowds,
        };
        let mut kinds = BTreeSet::new();
        for node in order.chunk_by(|a, b| a.0 == b.0) {
            let mut found = NodeIx::empty(node[0].0);
            for l3 in node.chunk_by(|a, b| a.1 == b.1) {
                let mut cores = Vec::new();
                for core in l3.chunk_by(|a, b| a.2 == b.2) {
                    let all_kinds = core.iter().map(|(.., i)| host.cpus[*i].kind);
                    let core_kind = all_kinds.flatten().min().unwrap_or(fast);
                    let members = core.iter().map(|(.., i)| &host.cpus[*i]);
                    let online: CpuSet = members.clone().map(|cpu| cpu.id).collect();
                    let fitting = members.filter(|cpu| usable.cpus.contains(cpu.id));
                    let cpus: Vec<CpuIx> = fitting
                        .map(|cpu| {
                            let kind = cpu.kind.unwrap_or(fast);
                            found.packages.extend(cpu.package);
                            CpuIx {
                                id: cpu.id,
                                claimed: usable.claimed.contains(cpu.id),
                                slow: kind > fast,
                                crowd: crowd_of.get(&cpu.id).copied().unwrap_or(0),
                            }
                        })
                        .collect();
                    if cpus.is_empty() {
                        continue;
                    }
                    kinds.insert(core_kind);
                    let foreign = !online.is_disjoint(&usable.claimed);
                    cores.push(CoreIx {
                        foreign,
                        half: cpus.len() < online.len(),
                        boot: boot.is_some_and(|boot| online.contains(boot)),
                        fit: !(strict && foreign),
                        kind: core_kind,
                        cpus,
                        online,
                    });
                }
                if !cores.is_empty() {
                    found.l3s.push(L3Ix::new(cores));
                }
            }
            if !found.l3s.is_empty() {
                found.close(policy);
                index.nodes.push(found);
            }
        }
        index.kinds = kinds.into_iter().collect();
        index
    }

    /// A host node by its id.
    pub(super) fn position(&self, id: NodeId) -> Option<usize> {
        self.nodes.binary_search_by_key(&id, |node| node.id).ok()
    }
}

impl NodeIx {
    fn empty(id: NodeId) -> Self {
        Self {
            id,
            cpus: CpuSet::new(),
            room: 0,
            packages: BTreeSet::new(),
            l3s: Vec::new(),
        }
    }

    fn close(&mut self, policy: &Policy) {
        let isolate = policy.mode == Mode::OneToOne && policy.smt == Smt::Isolate;
        for l3 in &self.l3s {
            self.cpus = self.cpus.union(&l3.cpus);
        }
        self.room = if isolate {
            self.cores().filter(|core| core.fit).count()
        } else {
            self.cpus.len()
        };
    }

    /// All its cores in topological order.
    pub(super) fn cores(&self) -> impl Iterator<Item = &CoreIx> {
        self.l3s.iter().flat_map(|l3| &l3.cores)
    }
}

impl L3Ix {
    fn new(cores: Vec<CoreIx>) -> Self {
        let all = || cores.iter().flat_map(|core| &core.cpus);
        Self {
            cpus: all().map(|cpu| cpu.id).collect(),
            unclaimed: all().filter(|cpu| !cpu.claimed).map(|cpu| cpu.id).collect(),
            cores,
        }
    }
}

/// The least common multiple of the sizes of all masks.
fn denominator(usable: &Usable<'_>) -> BigUint {
    let sizes: BTreeSet<usize> = sorted::set(usable.set_pinned.iter().map(|p| p.mask.len()));
    let sizes = sizes.into_iter().filter(|size| *size > 0);
    sizes.fold(BigUint::one(), |lcm, size| lcm.lcm(&BigUint::from(size)))
}

/// The different crowds on a CPU, nothing first, and which of them each crowded CPU has: only one-to-one asks.
fn crowds(
    usable: &Usable<'_>,
    denominator: &BigUint,
    policy: &Policy,
) -> (Vec<BigUint>, BTreeMap<CpuId, usize>) {
    let mut by_mask: BTreeMap<&CpuSet, u64> = BTreeMap::new();
    if policy.mode == Mode::OneToOne {
        for pinned in usable.set_pinned.iter().filter(|p| !p.mask.is_empty()) {
            *by_mask.entry(&pinned.mask).or_default() += u64::from(pinned.vcpus);
        }
    }
    let mut crowd: BTreeMap<CpuId, BigUint> = BTreeMap::new();
    for (mask, vcpus) in by_mask {
        let share = denominator / mask.len() * vcpus;
        for cpu in mask.iter().filter(|cpu| usable.cpus.contains(*cpu)) {
            *crowd.entry(cpu).or_default() += &share;
        }
    }
    let mut distinct: BTreeSet<&BigUint> = sorted::set(crowd.values());
    let nothing = BigUint::zero();
    distinct.insert(&nothing);
    let distinct: Vec<BigUint> = distinct.into_iter().cloned().collect();
    let rank = |crowd: &BigUint| distinct.binary_search(crowd).unwrap_or(0);
    let of = sorted::map(crowd.iter().map(|(cpu, crowd)| (*cpu, rank(crowd))));
    (distinct, of)
}
