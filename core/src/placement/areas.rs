//! The area of a virtual node in the modes numa and l3: which L3s it is made of, and what that costs.
//!
//! In numa it is all of the host node (or nodes, for a guest that spans them). In l3 the L3s are chosen: `overlap` and
//! `shared_cores` come first, and decide which L3s must be there and how many cores the others must add; `l3_domains` wants
//! few, and `load`, a quotient, is minimised exactly by Dinkelbach's method over the same dynamic programme as in one-to-one.

use num_bigint::BigUint;

use super::fraction::Fraction;
use super::index::{Index, L3Ix};
use super::picks::{self, Pick};
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
pub(super) struct Figures {
    /// Usable CPUs.
    cpus: CpuSet,
    pub size: usize,
    unclaimed: usize,
    /// Cores with a usable CPU, and with an unclaimed one.
    cores: usize,
    unclaimed_cores: usize,
    /// Its lowest usable CPU, and its lowest unclaimed one.
    low: CpuId,
    unclaimed_low: CpuId,
    /// Claimed CPUs and other guests' set-pinned vCPUs, over the common denominator.
    pub others: BigUint,
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
    fn choose<'a>(&self, all: &[&'a Figures], vcpus: usize, most: usize) -> Vec<&'a Figures> {
        let unclaimed: usize = all.iter().map(|f| f.unclaimed).sum();
        if unclaimed >= vcpus {
            // no overlap, so the masks are the unclaimed parts; every unclaimed core counts, as far as vCPUs need one (and
            // if they do not suffice, all L3s that have one are needed, and have CPUs enough)
            let picks = all.iter().map(|f| Pick {
                figures: f,
                cores: f.unclaimed_cores,
                low: f.unclaimed_low,
            });
            return picks::add(Vec::new(), picks.collect(), vcpus, vcpus, &self.denominator);
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
        picks::add(
            forced,
            picks,
            vcpus.saturating_sub(need),
            vcpus,
            &self.denominator,
        )
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
