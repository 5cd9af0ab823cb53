//! L3s that an area needs beyond those it must have: as few as possible, then the lowest load, then the lowest CPUs.

use num_bigint::{BigInt, BigUint};

use super::areas::Figures;
use super::chain::{self, Chain};
use super::number::{self, Number};
use super::wide::Wide;
use crate::id::CpuId;
use crate::sorted;

/// An L3 that can be picked.
#[derive(Clone)]
pub(super) struct Pick<'a> {
    /// The L3.
    pub figures: &'a Figures,
    /// The cores it adds (or CPUs, where those are lacking).
    pub cores: usize,
    /// Its lowest CPU in the masks.
    pub low: CpuId,
}

/// Adds as few L3s as possible to those that are `forced`, so that they have `cores` cores or as many as there are; of
/// those the ones with the lowest load, then with the lowest CPUs.
pub(super) fn add<'a>(
    forced: Vec<&'a Figures>,
    mut picks: Vec<Pick<'a>>,
    cores: usize,
    vcpus: usize,
    denominator: &BigUint,
) -> Vec<&'a Figures> {
    picks.retain(|pick| pick.cores > 0);
    let there: usize = picks.iter().map(|pick| pick.cores).sum();
    let need = cores.min(there);
    // the largest first: their number is the lowest that is possible
    sorted::sort_by(&mut picks, |a, b| {
        b.cores.cmp(&a.cores).then(a.low.cmp(&b.low))
    });
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
    // as many cores as the largest ones have beyond what is needed may be missed: smaller L3s are no choice
    let missed: usize = picks[..few].iter().map(|pick| pick.cores).sum::<usize>() - need;
    let smallest = picks[few - 1].cores.saturating_sub(missed);
    picks.retain(|pick| pick.cores >= smallest);
    let picks = first_of_each(picks, few);
    if few == picks.len() {
        let picked = picks.iter().map(|pick| pick.figures);
        return forced.into_iter().chain(picked).collect();
    }
    let largest = picks.iter().map(|pick| pick.cores).max().unwrap_or(0);
    let row = Row {
        spare: largest * few - need,
        largest,
        picks,
        few,
        size: forced.iter().map(|f| f.size).sum(),
        others: forced.iter().map(|f| &f.others).sum::<BigUint>() + denominator * vcpus,
    };
    // both factors of a weight are below the denominator times the CPUs, claims and set-pinned vCPUs of a host
    let top: BigUint = all_of(&row).map(|f| &f.others + f.size).sum();
    let bits = 2 * (top + &row.others + row.size).bits() + denominator.bits() + 8;
    let fits = bits <= number::ROOM;
    let taken = if fits {
        row.lightest::<i128>()
    } else {
        row.lightest::<Wide>()
    };
    forced.into_iter().chain(taken).collect()
}

/// A row of L3s of which `few` are to be picked so that they have cores enough, and the load is lowest. The state is how many
/// are picked, times `spare + 1`, plus how many cores they have less than if all were as large as the largest.
struct Row<'a> {
    picks: Vec<Pick<'a>>,
    few: usize,
    /// The cores of the largest pick.
    largest: usize,
    /// How many cores the picks may have less than if all were as large.
    spare: usize,
    /// CPUs that are in the area anyway.
    size: usize,
    /// What weighs on the area anyway, over the denominator.
    others: BigUint,
}

struct Weighed<'a, 'b, W> {
    row: &'b Row<'a>,
    weights: Vec<W>,
    nothing: W,
}

impl<'a> Row<'a> {
    /// The picks with the lowest load; of those the lowest CPUs.
    ///
    /// The load is `others / size`, summed over what is picked. With the load `p / q` of some picks, the picks with the lowest
    /// sum of `q * others - p * size` either have a lower load, with which the search goes on, or none has.
    fn lightest<W: Number>(&self) -> Vec<&'a Figures> {
        let mut order: Vec<usize> = (0..self.picks.len()).collect();
        sorted::sort_by_key(&mut order, |i| std::cmp::Reverse(self.picks[*i].cores));
        let mut taken = order[..self.few].to_vec();
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
        let nothing = W::nothing();
        let weighed = Weighed {
            row: self,
            weights,
            nothing,
        };
        let mut order: Vec<(CpuId, usize)> = self.picks.iter().map(|p| p.low).zip(0..).collect();
        sorted::sort_by(&mut order, Ord::cmp);
        let ends = weighed.state(self.few, 0);
        let wishes = order.into_iter().map(|(_, layer)| (layer, 0));
        let (_, way) = chain::lowest(&weighed, 0, |state| state >= ends, wishes)?;
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
    fn state(&self, picked: usize, missed: usize) -> usize {
        picked * (self.row.spare + 1) + missed
    }
}

impl<W: Number> Chain<W> for Weighed<'_, '_, W> {
    fn layers(&self) -> usize {
        self.row.picks.len()
    }

    fn states(&self) -> usize {
        (self.row.few + 1) * (self.row.spare + 1)
    }

    fn options(&self, _: usize) -> usize {
        2
    }

    fn step(&self, layer: usize, state: usize, option: usize) -> Option<(usize, &W)> {
        if option == 0 {
            return Some((state, &self.nothing));
        }
        let (picked, missed) = (state / (self.row.spare + 1), state % (self.row.spare + 1));
        let missed = missed + self.row.largest - self.row.picks[layer].cores;
        if picked == self.row.few || missed > self.row.spare {
            return None;
        }
        Some((self.state(picked + 1, missed), &self.weights[layer]))
    }
}

/// What picks of an L3 that is as good have in common.
fn like<'a>(pick: &Pick<'a>) -> (usize, usize, &'a BigUint) {
    (pick.cores, pick.figures.size, &pick.figures.others)
}

/// Of L3s with equal figures only the first `few` by their lowest CPU are ever picked.
fn first_of_each(mut picks: Vec<Pick<'_>>, few: usize) -> Vec<Pick<'_>> {
    sorted::sort_by(&mut picks, |a, b| (like(a), a.low).cmp(&(like(b), b.low)));
    let mut kept = Vec::new();
    for row in picks.chunk_by(|a, b| like(a) == like(b)) {
        kept.extend(row.iter().take(few).cloned());
    }
    kept
}

fn all_of<'a>(row: &Row<'a>) -> impl Iterator<Item = &'a Figures> {
    row.picks.iter().map(|pick| pick.figures)
}
