//! What it costs to put so many vCPUs on one host node: the tables that the search over host nodes works with.

use std::collections::{BTreeMap, BTreeSet};

use crate::sorted;

use super::areas::Area;
use super::cost::Item;
use super::cpus::{Cores, Prices};
use super::number::Number;
use super::problem::Problem;
use super::scale::{Limits, Scale};

/// A load of one host node: the node, how many vCPUs are there, and how many the largest virtual node has that is.
pub(super) type Load = (usize, usize, usize);

/// The areas of all loads that can occur (numa, l3), made before the scale, since the scale ranks their `load`.
pub(super) type AreaTable = BTreeMap<Load, Area>;

/// Costs of loads.
pub(super) enum Inner<W> {
    /// One-to-one: by host node, then by the number of vCPUs.
    Cpus(Vec<Vec<W>>),
    /// Numa and l3.
    Areas(BTreeMap<Load, W>),
}

/// The best areas of some loads; their `load`s become the ranks of the limits.
pub(super) fn areas(
    problem: &Problem<'_>,
    loads: &BTreeSet<Load>,
    limits: &mut Limits,
) -> AreaTable {
    let best = |load: &Load| (*load, problem.areas.best(&[load.0], load.1, load.2));
    let table: AreaTable = sorted::map(loads.iter().map(best));
    let ranks: BTreeSet<_> = sorted::set(table.values().map(|area| area.load.clone()));
    limits.loads = ranks.into_iter().collect();
    table
}

impl<W: Number> Inner<W> {
    /// The costs of areas.
    pub(super) fn of_areas(table: &AreaTable, scale: &Scale<W>) -> Self {
        let cost = |area: &Area| {
            let mut cost = scale.of(Item::Overlap, area.overlap);
            cost.add(&scale.of(Item::SharedCores, area.shared));
            cost.add(&scale.of(Item::L3Domains, area.l3s));
            cost.add(&scale.load(&area.load));
            cost
        };
        Self::Areas(sorted::map(
            table.iter().map(|(load, area)| (*load, cost(area))),
        ))
    }

    /// The costs of up to `most` vCPUs on each host node (`most` by host node), on cores of kinds that `kinds` accepts.
    pub(super) fn of_cpus(
        problem: &Problem<'_>,
        prices: &Prices<W>,
        kinds: &dyn Fn(u32) -> bool,
        most: &dyn Fn(usize) -> usize,
    ) -> Self {
        let nodes = problem.index.nodes.iter().enumerate();
        let tables = nodes.map(|(n, node)| {
            let most = most(n).min(node.room);
            Cores::new(prices, std::iter::once(node), kinds, most).table()
        });
        Self::Cpus(tables.collect())
    }

    /// What a load costs; `None`: there is no room for it.
    pub(super) fn cost(&self, load: Load) -> Option<&W> {
        match self {
            Self::Cpus(tables) => tables[load.0].get(load.1),
            Self::Areas(table) => table.get(&load),
        }
    }

    /// How many vCPUs a host node has room for.
    pub(super) fn room(&self, problem: &Problem<'_>, node: usize) -> usize {
        match self {
            Self::Cpus(tables) => tables[node].len().saturating_sub(1),
            Self::Areas(_) => problem.index.nodes[node].room,
        }
    }
}
