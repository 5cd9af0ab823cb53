//! The area of a virtual node in the modes numa and l3: which L3s it is made of, and what that costs.
//!
//! In numa it is all of the host node (or nodes, for a guest that spans them). In l3 the L3s are chosen: `overlap` and
//! `shared_cores` come first, and decide which L3s must be there and how many cores the others must add; `l3_domains` wants
//! few, and `load`, a quotient, is minimised exactly by Dinkelbach's method over the same dynamic programme as in one-to-one.

use num_bigint::{BigInt, BigUint};
use num_traits::Zero;

use super::chain::{self, Chain};
use super::fraction::Fraction;
use super::index::{Index, L3Ix};
use super::number::Number;
use super::usable::Usable;
use crate::id::CpuId;
use crate::idset::CpuSet;
use crate::policy::Mode;

/// The L3s of all host nodes with the figures an area is made of.
#[derive(Debug)]
pub(super) struct Areas {
    mode: Mode,
    denominator: BigUint,
    /// By host node, each in the order of the index.
    nodes: Vec<Vec<Figures>>,
}

/// The figures of one L3.
#[derive(Debug, Clone)]
struct Figures {
    /// Usable CPUs.
    cpus: CpuSet,
    size: usize,
    unclaimed: usize,
    /// Cores with a usable CPU, and with an unclaimed one.
    cores: usize,
    unclaimed_cores: usize,
    /// Its lowest usable CPU, and its lowest unclaimed one.
    low: CpuId,
    unclaimed_low: CpuId,
    /// Claimed CPUs and other guests' set-pinned vCPUs, over the common denominator.
    others: BigUint,
}

/// An area and what it costs.
#[derive(Debug, Clone)]
pub(super) struct Area {
    /// Its CPUs.
    pub cpus: CpuSet,
    /// The item `overlap`.
    pub overlap: u64,
    /// The item `shared_cores`.
    pub shared: u64,
    /// The item `l3_domains`.
    pub l3s: u64,
    /// The entry in `load`.
    pub load: Fraction,
}

impl Areas {
    /// The figures of a host.
    pub(super) fn new(index: &Index, usable: &Usable<'_>, mode: Mode) -> Self {
        let shares: Vec<(&CpuSet, BigUint)> = usable
            .set_pinned
            .iter()
            .filter(|pinned| !pinned.mask.is_empty())
            .map(|pinned| {
                let share = &index.denominator / pinned.mask.len();
                (&pinned.mask, share * pinned.vcpus)
            })
            .collect();
        let figures = |l3: &L3Ix| Figures::new(l3, &shares, &index.denominator);
        Self {
            mode,
            denominator: index.denominator.clone(),
            nodes: index
                .nodes
                .iter()
                .map(|node| node.l3s.iter().map(figures).collect())
                .collect(),
        }
    }

    /// How many unclaimed CPUs and how many cores a host node has.
    pub(super) fn of_node(&self, node: usize) -> (usize, usize) {
        let sum = |figure: fn(&Figures) -> usize| self.nodes[node].iter().map(figure).sum();
        (sum(|f| f.unclaimed), sum(|f| f.cores))
    }

    /// The best area in some host nodes for virtual nodes with `vcpus` vCPUs together, the largest of which has `most`.
    pub(super) fn best(&self, nodes: &[usize], vcpus: usize, most: usize) -> Area {
        let all: Vec<&Figures> = nodes.iter().flat_map(|node| &self.nodes[*node]).collect();
        let chosen = if self.mode == Mode::L3 {
            self.choose(&all, vcpus, most)
        } else {
            all
        };
        self.area(&chosen, vcpus, most)
    }

    fn area(&self, chosen: &[&Figures], vcpus: usize, most: usize) -> Area {
        let sum = |figure: fn(&Figures) -> usize| chosen.iter().map(|f| figure(f)).sum::<usize>();
        let unclaimed = sum(|f| f.unclaimed);
        // a mask is the unclaimed part where that is large enough for its virtual node: so the largest one decides
        let cores = if unclaimed >= most {
            sum(|f| f.unclaimed_cores)
        } else {
            sum(|f| f.cores)
        };
        let others: BigUint = chosen.iter().map(|f| &f.others).sum();
        let size = sum(|f| f.size);
        Area {
            cpus: chosen
                .iter()
                .fold(CpuSet::new(), |all, f| all.union(&f.cpus)),
            overlap: vcpus.saturating_sub(unclaimed) as u64,
            shared: vcpus.saturating_sub(cores) as u64,
            l3s: if self.mode == Mode::L3 {
                chosen.len() as u64
            } else {
                0
            },
            load: Fraction::new(others + &self.denominator * vcpus, &self.denominator * size),
        }
    }

    /// The L3s of an area in the mode l3.
    fn choose<'a>(&'a self, all: &[&'a Figures], vcpus: usize, most: usize) -> Vec<&'a Figures> {
        let unclaimed: usize = all.iter().map(|f| f.unclaimed).sum();
        if unclaimed >= vcpus {
            // no overlap, so the masks are the unclaimed parts; every unclaimed core counts, as far as vCPUs need one (and
            // if they do not suffice, all L3s that have one are needed, and have CPUs enough)
            let picks = all.iter().map(|f| Pick {
                figures: f,
                cores: f.unclaimed_cores,
                low: f.unclaimed_low,
            });
            return self.pick(Vec::new(), picks.collect(), vcpus, vcpus);
        }
        // overlap is lowest with every L3 that has an unclaimed CPU
        let (forced, rest): (Vec<&Figures>, Vec<&Figures>) =
            all.iter().partition(|f| f.unclaimed > 0);
        let (need, picks): (usize, Vec<Pick<'a>>) = if unclaimed >= most {
            // each mask is the unclaimed part: more L3s are needed only where the chosen ones have too few CPUs in all
            let sizes = rest.iter().map(|f| Pick {
                figures: f,
                cores: f.size,
                low: f.low,
            });
            (forced.iter().map(|f| f.size).sum(), sizes.collect())
        } else {
            let cores = rest.iter().map(|f| Pick {
                figures: f,
                cores: f.cores,
                low: f.low,
            });
            (forced.iter().map(|f| f.cores).sum(), cores.collect())
        };
        self.pick(forced, picks, vcpus.saturating_sub(need), vcpus)
    }

    /// Adds as few L3s as possible to those that are `forced`, so that they have `cores` cores or as many as there are; of
    /// those the ones with the lowest load, then with the lowest CPUs.
    fn pick<'a>(
        &'a self,
        forced: Vec<&'a Figures>,
        mut picks: Vec<Pick<'a>>,
        cores: usize,
        vcpus: usize,
    ) -> Vec<&'a Figures> {
        picks.retain(|pick| pick.cores > 0);
        let there: usize = picks.iter().map(|pick| pick.cores).sum();
        let need = cores.min(there);
        // the largest first: their number is the lowest that is possible
        picks.sort_by(|a, b| b.cores.cmp(&a.cores).then(a.low.cmp(&b.low)));
        let mut sum = 0;
        let few = picks.iter().take_while(|pick| {
            let wanted = sum < need;
            sum += pick.cores;
            wanted
        });
        let few = few.count();
        if few == picks.len() || few == 0 {
            return forced
                .into_iter()
                .chain(picks[..few].iter().map(|pick| pick.figures))
                .collect();
        }
        let row = Row {
            picks: first_of_each(picks, few),
            few,
            need,
            size: forced.iter().map(|f| f.size).sum(),
            others: forced.iter().map(|f| &f.others).sum::<BigUint>() + &self.denominator * vcpus,
        };
        // both factors of a weight are below the denominator times the CPUs, claims and set-pinned vCPUs of a host
        let top: BigUint = all_of(&row).map(|f| &f.others + f.size).sum();
        let bits = 2 * (top + &row.others + row.size).bits() + self.denominator.bits() + 8;
        let fits = <i128 as Number>::ROOM.is_some_and(|room| bits <= room);
        let taken = if fits {
            row.lightest::<i128>()
        } else {
            row.lightest::<BigInt>()
        };
        forced.into_iter().chain(taken).collect()
    }
}

impl Figures {
    fn new(l3: &L3Ix, shares: &[(&CpuSet, BigUint)], denominator: &BigUint) -> Self {
        let (size, unclaimed) = (l3.cpus.len(), l3.unclaimed.len());
        let free = |core: &&super::index::CoreIx| core.cpus.iter().any(|cpu| !cpu.claimed);
        let pinned = shares
            .iter()
            .map(|(mask, share)| share * mask.common(&l3.cpus));
        let low = l3.cpus.first().unwrap_or_default();
        Self {
            cpus: l3.cpus.clone(),
            size,
            unclaimed,
            cores: l3.cores.len(),
            unclaimed_cores: l3.cores.iter().filter(free).count(),
            low,
            unclaimed_low: l3.unclaimed.first().unwrap_or(low),
            others: pinned.fold(denominator * (size - unclaimed), |sum, share| sum + share),
        }
    }
}

/// An L3 that can be picked, with the cores it adds and its lowest CPU in the masks.
#[derive(Clone)]
struct Pick<'a> {
    figures: &'a Figures,
    cores: usize,
    low: CpuId,
}

/// A row of L3s of which `few` are to be picked so that they have `need` cores, and the load is lowest. The state is
/// `need + 1` times how many are picked, plus how many cores they have (as far as they are needed).
struct Row<'a> {
    picks: Vec<Pick<'a>>,
    few: usize,
    need: usize,
    /// CPUs that are in the area anyway.
    size: usize,
    /// What weighs on the area anyway, over the denominator.
    others: BigUint,
}

struct Weighed<'a, 'b, W> {
    row: &'b Row<'a>,
    weights: Vec<W>,
}

impl<'a> Row<'a> {
    /// The picks with the lowest load; of those the lowest CPUs.
    ///
    /// The load is `others / size`, summed over what is picked. With the load `p / q` of some picks, the picks with the lowest
    /// sum of `q * others - p * size` either have a lower load, with which the search goes on, or none has.
    fn lightest<W: Number>(&self) -> Vec<&'a Figures> {
        let mut taken: Vec<usize> = (0..self.few).collect();
        taken = self
            .take::<W>(&BigUint::zero(), &BigUint::from(1_u32))
            .unwrap_or(taken);
        loop {
            let (others, size) = self.load(&taken);
            let Some(next) = self.take::<W>(&others, &size) else {
                break;
            };
            let (next_others, next_size) = self.load(&next);
            let better = &next_others * &size < &others * &next_size;
            taken = next;
            if !better {
                break;
            }
        }
        taken.into_iter().map(|i| self.picks[i].figures).collect()
    }

    fn load(&self, taken: &[usize]) -> (BigUint, BigUint) {
        let figures = || taken.iter().map(|i| self.picks[*i].figures);
        let others = figures().fold(self.others.clone(), |sum, f| sum + &f.others);
        (
            others,
            BigUint::from(self.size + figures().map(|f| f.size).sum::<usize>()),
        )
    }

    fn take<W: Number>(&self, p: &BigUint, q: &BigUint) -> Option<Vec<usize>> {
        let (p, q) = (BigInt::from(p.clone()), BigInt::from(q.clone()));
        let weight = |pick: &Pick<'_>| {
            let others = BigInt::from(pick.figures.others.clone());
            W::from_big(&(&q * others - &p * pick.figures.size))
        };
        let weights = self.picks.iter().map(weight).collect();
        let weighed = Weighed { row: self, weights };
        let mut order: Vec<(CpuId, usize)> = self.picks.iter().map(|p| p.low).zip(0..).collect();
        order.sort_unstable();
        let end = weighed.state(self.few, self.need);
        let wishes = order.into_iter().map(|(_, layer)| (layer, 0));
        let (_, way) = chain::lowest(&weighed, 0, |state| state == end, wishes)?;
        Some(
            way.iter()
                .enumerate()
                .filter(|(_, option)| **option == 1)
                .map(|(i, _)| i)
                .collect(),
        )
    }
}

impl<W> Weighed<'_, '_, W> {
    fn state(&self, picked: usize, cores: usize) -> usize {
        picked * (self.row.need + 1) + cores
    }
}

impl<W: Number> Chain<W> for Weighed<'_, '_, W> {
    fn layers(&self) -> usize {
        self.row.picks.len()
    }

    fn states(&self) -> usize {
        (self.row.few + 1) * (self.row.need + 1)
    }

    fn options(&self, _: usize) -> usize {
        2
    }

    fn step(&self, layer: usize, state: usize, option: usize) -> Option<(usize, W)> {
        if option == 0 {
            return Some((state, W::nothing()));
        }
        let (picked, cores) = (state / (self.row.need + 1), state % (self.row.need + 1));
        if picked == self.row.few {
            return None;
        }
        let cores = (cores + self.row.picks[layer].cores).min(self.row.need);
        Some((self.state(picked + 1, cores), self.weights[layer].clone()))
    }
}

/// Of L3s with equal figures only the first `few` by their lowest CPU are ever picked.
fn first_of_each(mut picks: Vec<Pick<'_>>, few: usize) -> Vec<Pick<'_>> {
    let like = |pick: &Pick<'_>| (pick.cores, pick.figures.size, pick.figures.others.clone());
    picks.sort_by_cached_key(|pick| (like(pick), pick.low));
    let mut kept = Vec::new();
    for row in picks.chunk_by(|a, b| like(a) == like(b)) {
        kept.extend(row.iter().take(few).cloned());
    }
    kept
}

fn all_of<'a>(row: &Row<'a>) -> impl Iterator<Item = &'a Figures> {
    row.picks.iter().map(|pick| pick.figures)
}
