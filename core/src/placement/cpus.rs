//! One-to-one inside given host nodes: what so many CPUs cost there, and which they are.
//!
//! Inside a fixed set of host nodes all items add up: over CPUs (`overlap`, `slow_vcpus`, `crowding`, `boot_core`), over cores
//! (`foreign_cores`, `shared_cores`, `half_cores`) and over L3s (`l3_domains`, `leftover`). So a dynamic programme over the
//! cores, whose state is how many CPUs are taken and whether the present L3 is used already, is exact. `core_kinds` does not
//! add up; whoever calls restricts the kinds instead.

use std::collections::BTreeMap;

use super::chain::{self, Chain};
use super::cost::Item;
use super::index::{CoreIx, Index, L3Ix, NodeIx};
use super::number::Number;
use super::scale::Scale;
use super::trim;
use crate::id::CpuId;
use crate::idset::CpuSet;
use crate::policy::Smt;

/// What one of each item weighs, and what else makes a core cost something.
pub(super) struct Prices<W> {
    smt: Smt,
    overlap: W,
    foreign: W,
    slow: W,
    shared: W,
    half: W,
    crowds: Vec<W>,
    boot: W,
    l3: W,
    leftover: W,
}

/// The cores of some host nodes as a chain: the state is 2 x CPUs taken + whether this L3 is used.
pub(super) struct Cores<W> {
    vcpus: usize,
    layers: Vec<Layer<W>>,
}

/// A core: what it costs to take 0, 1, 2 ... of its CPUs, and in which order they are taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Layer<W> {
    /// First where its L3 is in use already, then the same with what it costs to use it at all.
    costs: Vec<W>,
    /// Whether it is the first core of its L3.
    first: bool,
    cpus: Vec<CpuId>,
}

impl<W> Layer<W> {
    /// How many numbers of its CPUs can be taken.
    fn options(&self) -> usize {
        self.costs.len() / 2
    }
}

impl<W: Number> Prices<W> {
    /// The prices of a policy.
    pub(super) fn new(scale: &Scale<W>, index: &Index, smt: Smt) -> Self {
        // any ignores cores
        let core = |item| {
            if smt == Smt::Any {
                W::nothing()
            } else {
                scale.one(item)
            }
        };
        let shared = match smt {
            Smt::Spread | Smt::Pack => scale.one(Item::SharedCores),
            Smt::Isolate | Smt::Any => W::nothing(),
        };
        Self {
            smt,
            overlap: scale.one(Item::Overlap),
            foreign: core(Item::ForeignCores),
            slow: scale.one(Item::SlowVcpus),
            shared,
            half: core(Item::HalfCores),
            crowds: index
                .crowds
                .iter()
                .map(|crowd| scale.crowding(crowd))
                .collect(),
            boot: scale.one(Item::BootCore),
            l3: scale.one(Item::L3Domains),
            leftover: scale.one(Item::Leftover),
        }
    }

    /// What it costs to use an L3 at all: all its unclaimed CPUs are left over, until they are taken.
    fn entry(&self, l3: &L3Ix) -> W {
        self.l3
            .plus(&self.leftover.times(l3.unclaimed.len() as u64))
    }

    fn layer(&self, core: &CoreIx, entry: &W) -> Layer<W> {
        let mut cpus: Vec<(W, CpuId)> = core
            .cpus
            .iter()
            .map(|cpu| {
                let mut cost = self.crowds[cpu.crowd].clone();
                if cpu.claimed {
                    cost.add(&self.overlap);
                } else {
                    cost.sub(&self.leftover);
                }
                if cpu.slow {
                    cost.add(&self.slow);
                }
                if core.boot {
                    cost.add(&self.boot);
                }
                (cost, cpu.id)
            })
            .collect();
        // cheap ones first, then low ones: so many CPUs of one core are always the first ones of this order
        cpus.sort_unstable();
        if self.smt == Smt::Isolate {
            cpus.truncate(1);
        }
        let mut costs = Vec::with_capacity(2 * cpus.len() + 2);
        costs.push(W::nothing());
        let mut sum = W::nothing();
        if core.foreign {
            sum.add(&self.foreign);
        }
        if core.half {
            sum.add(&self.half);
        }
        if self.smt == Smt::Pack {
            sum.add(&self.shared);
        }
        for (before, (cost, _)) in cpus.iter().enumerate() {
            sum.add(cost);
            if self.smt == Smt::Spread && before > 0 {
                // m (m - 1) / 2: the m-th vCPU on a core adds m - 1
                sum.add(&self.shared.times(before as u64));
            }
            costs.push(sum.clone());
        }
        costs.push(W::nothing());
        for taken in 1..=cpus.len() {
            costs.push(costs[taken].plus(entry));
        }
        Layer {
            costs,
            first: false,
            cpus: cpus.into_iter().map(|(_, cpu)| cpu).collect(),
        }
    }
}

impl<W: Number> Cores<W> {
    /// The cores of some host nodes, of which up to `vcpus` CPUs are wanted; only those of kinds that `kinds` accepts.
    pub(super) fn new<'a>(
        prices: &Prices<W>,
        nodes: impl Iterator<Item = &'a NodeIx>,
        kinds: &dyn Fn(u32) -> bool,
        vcpus: usize,
    ) -> Self {
        Self::of(l3s(prices, nodes, kinds, vcpus), vcpus)
    }

    /// The same where exactly `vcpus` CPUs are wanted: L3s that no cheapest way uses are left out.
    pub(super) fn exactly<'a>(
        prices: &Prices<W>,
        nodes: impl Iterator<Item = &'a NodeIx>,
        kinds: &dyn Fn(u32) -> bool,
        vcpus: usize,
    ) -> Self {
        let l3s = l3s(prices, nodes, kinds, vcpus);
        let mut tables: BTreeMap<Like<W>, (Vec<W>, usize)> = BTreeMap::new();
        for cores in &l3s {
            let table = || {
                let room = cores.iter().map(|core| core.cpus.len()).sum::<usize>();
                Self::of(vec![cores.clone()], room.min(vcpus)).table()
            };
            tables.entry(like(cores)).or_insert_with(|| (table(), 0)).1 += 1;
        }
        let hopeful = trim::hopeful(&tables, vcpus);
        let wanted = |like: &Like<W>| hopeful.get(like).copied().unwrap_or(vcpus);
        Self::of(
            trim::best(l3s, wanted, |cores| (like(cores), cpus(cores))),
            vcpus,
        )
    }

    fn of(l3s: Vec<Vec<Layer<W>>>, vcpus: usize) -> Self {
        let mut layers = Vec::new();
        for mut cores in l3s {
            if let Some(core) = cores.first_mut() {
                core.first = true;
            }
            layers.append(&mut cores);
        }
        Self { vcpus, layers }
    }

    /// What 0, 1, 2 ... CPUs cost, as far as there are so many.
    pub(super) fn table(&self) -> Vec<W> {
        let costs = chain::costs(self, 0);
        let both = costs.chunks(2).map(|pair| match pair {
            [Some(a), Some(b)] => Some(a.min(b)),
            [a, b] => a.as_ref().or(b.as_ref()),
            _ => None,
        });
        both.map_while(|cost| cost.cloned()).collect()
    }

    /// All CPUs wanted: what they cost, and the lowest cheapest ones.
    pub(super) fn take(&self) -> Option<(W, CpuSet)> {
        let mut order: Vec<(CpuId, (usize, usize))> = Vec::new();
        for (l, layer) in self.layers.iter().enumerate() {
            order.extend(
                layer
                    .cpus
                    .iter()
                    .enumerate()
                    .map(|(rank, cpu)| (*cpu, (l, rank))),
            );
        }
        order.sort_unstable();
        let wishes = order.into_iter().map(|(_, place)| place);
        let (cost, way) = chain::lowest(self, 0, |state| state / 2 == self.vcpus, wishes)?;
        let taken = way.iter().zip(&self.layers);
        let cpus = taken.flat_map(|(option, layer)| layer.cpus[..*option].iter().copied());
        Some((cost, cpus.collect()))
    }
}

impl<W: Number> Chain<W> for Cores<W> {
    fn layers(&self) -> usize {
        self.layers.len()
    }

    fn states(&self) -> usize {
        2 * (self.vcpus + 1)
    }

    fn options(&self, layer: usize) -> usize {
        self.layers[layer].options()
    }

    fn step(&self, layer: usize, state: usize, option: usize) -> Option<(usize, &W)> {
        let layer = &self.layers[layer];
        let used = state % 2 == 1 && !layer.first;
        let taken = state / 2 + option;
        if taken > self.vcpus {
            return None;
        }
        let first = if used { 0 } else { layer.options() };
        let head = 2 * taken + usize::from(used || option > 0);
        Some((head, &layer.costs[first + option]))
    }
}

/// In what an L3 can differ from another: the costs of its cores and of using it at all.
type Like<W> = Vec<Vec<W>>;

fn like<W: Number>(cores: &[Layer<W>]) -> Like<W> {
    cores.iter().map(|core| core.costs.clone()).collect()
}

fn cpus<W>(cores: &[Layer<W>]) -> Vec<CpuId> {
    cores
        .iter()
        .flat_map(|core| core.cpus.iter().copied())
        .collect()
}

/// The L3s of some host nodes, each as its cores.
///
/// Cores and L3s that could only be used after `vcpus` better ones of their like are left out: so the size of a host matters
/// little once it is larger than the guest.
fn l3s<'a, W: Number>(
    prices: &Prices<W>,
    nodes: impl Iterator<Item = &'a NodeIx>,
    kinds: &dyn Fn(u32) -> bool,
    vcpus: usize,
) -> Vec<Vec<Layer<W>>> {
    let mut all = Vec::new();
    for node in nodes {
        let mut l3s = Vec::with_capacity(node.l3s.len());
        for l3 in &node.l3s {
            let entry = prices.entry(l3);
            let cores = l3.cores.iter().filter(|core| core.fit && kinds(core.kind));
            let cores = cores.map(|core| prices.layer(core, &entry)).collect();
            let describe = |core: &Layer<W>| (core.costs.clone(), core.cpus.clone());
            let cores: Vec<Layer<W>> = trim::best(cores, |_| vcpus, describe);
            if !cores.is_empty() {
                l3s.push(cores);
            }
        }
        all.append(&mut trim::best(
            l3s,
            |_| vcpus,
            |cores| (like(cores), cpus(cores)),
        ));
    }
    all
}
