//! A guest with one free virtual node: the best set of host nodes for it, one or several.
//!
//! Sets of packages come first, few before many: inside one the number of packages is the same for all. Then host nodes are
//! taken or left one after the other. In one-to-one, what the CPUs of a set cost is the sum of the tables of its host nodes,
//! minimised over all ways to divide the vCPUs; a bound takes the tables of the host nodes not yet decided in, too, with the
//! number of host nodes that it would take. A set with a host node on which no vCPU would land, or with a package of which no
//! host node is taken, needs no care: the smaller set costs less and is looked at as well.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::among::{Among, TAKE};
use super::cost::Item;
use super::fraction::Fraction;
use super::nodes::{nowhere, saved};
use super::number::Number;
use super::problem::Problem;
use super::scale::Scale;
use super::search::Space;
use super::tables::{self, Table, Tables};
use crate::id::{NodeId, PackageId};
use crate::sorted;

/// The cost of a set: the items before `load`, packed; `load`; the items behind it, packed.
pub(super) type Split<W> = (W, Fraction, W);

pub(super) struct Span<'a, W> {
    problem: &'a Problem<'a>,
    among: &'a Among,
    tables: Option<&'a mut Tables<W>>,
    /// By the first host node not yet decided: the tables of those from there on, with at most so many of them; the last one
    /// stands for any number. One is enough to begin with.
    after: Vec<Vec<Table<W>>>,
    /// How often the search has gone on.
    gone_on: usize,
    /// Sets of fewer host nodes are not looked for.
    fewest: usize,
    vcpus: usize,
    saved: Vec<W>,
    /// All that can still be saved from a position on.
    saved_after: Vec<W>,
    distance: Vec<Vec<W>>,
    nearest: W,
    start: W,
    scale: &'a Scale<W>,
    one: [W; 6],
    /// How many CPUs, unclaimed CPUs and cores a host node has.
    figures: Vec<[usize; 3]>,
    /// Positions in `among`.
    taken: Vec<usize>,
    decided: usize,
    /// The table of the host nodes taken, by how many are.
    sums: Vec<Table<W>>,
}

const PACKAGES: usize = 0;
const SPANNED: usize = 1;
const OVERLAP: usize = 2;
const SHARED: usize = 3;
const SHORT: usize = 4;
const RENUMBERED: usize = 5;

/// The other choice at a position.
const LEAVE: usize = 1;

/// The bound counts the further host nodes once the search has gone on so often: it is costly to prepare.
const PATIENCE: usize = 40;

/// And where the proof is not wanted at any price, about so much work may go into that.
const COUNTING: usize = 20_000_000;

impl<'a, W: Number> Span<'a, W> {
    /// The search for sets of two or more among some host nodes; `tables` for one-to-one, `distances` of all host nodes.
    pub(super) fn new(
        problem: &'a Problem<'a>,
        scale: &'a Scale<W>,
        mut tables: Option<&'a mut Tables<W>>,
        among: &'a Among,
        distances: &[Vec<u64>],
    ) -> Self {
        let nodes = &among.nodes;
        let vcpus = problem.vcpus();
        let saved: Vec<W> = nodes.iter().map(|n| saved(problem, scale, *n)).collect();
        let mut saved_after = vec![W::nothing(); nodes.len() + 1];
        for n in (0..nodes.len()).rev() {
            saved_after[n] = saved_after[n + 1].plus(&saved[n]);
        }
        let one = scale.one(Item::Distance);
        let row = |a: &usize| {
            let apart = |b: &usize| one.times(distances[*a][*b]);
            nodes.iter().map(apart).collect()
        };
        let all = nodes.iter().flat_map(|a| nodes.iter().map(move |b| (a, b)));
        let nearest = all
            .filter(|(a, b)| a != b)
            .map(|(a, b)| distances[*a][*b])
            .min();
        let items = [
            Item::Packages,
            Item::Spanned,
            Item::Overlap,
            Item::SharedCores,
            Item::ShortMemory,
            Item::Renumbered,
        ];
        let figures = |n: &usize| {
            let (unclaimed, cores) = problem.areas.of_node(*n);
            [problem.index.nodes[*n].cpus.len(), unclaimed, cores]
        };
        let after = (0..=nodes.len()).map(|n| {
            let any = tables
                .as_mut()
                .map(|tables| tables.within(&nodes[n..], None));
            any.into_iter().collect()
        });
        Self {
            after: after.collect(),
            tables,
            gone_on: 0,
            fewest: 2,
            vcpus,
            saved,
            saved_after,
            distance: nodes.iter().map(row).collect(),
            nearest: one.times(nearest.unwrap_or(0)),
            start: nowhere(problem, scale),
            one: items.map(|item| scale.one(item)),
            figures: nodes.iter().map(figures).collect(),
            taken: Vec::new(),
            decided: 0,
            sums: vec![Rc::new(tables::empty())],
            scale,
            problem,
            among,
        }
    }

    /// The cheapest single host node.
    pub(super) fn single(&mut self) -> Option<(Split<W>, Vec<usize>)> {
        self.fewest = 1;
        self.decided = self.figures.len();
        let mut best = None;
        for n in 0..self.figures.len() {
            self.taken = vec![n];
            if let Some(tables) = &self.tables {
                self.sums.push(tables.of(self.among.nodes[n]));
            }
            let new = self.cost().map(|cost| (cost, vec![self.among.nodes[n]]));
            best = [best, new].into_iter().flatten().min();
            self.sums.truncate(1);
        }
        self.taken.clear();
        self.fewest = 2;
        self.decided = 0;
        best
    }

    /// What the set costs as a set.
    fn set(&self) -> W {
        let mut cost = self.start.clone();
        for (i, n) in self.taken.iter().enumerate() {
            cost.sub(&self.saved[*n]);
            for m in &self.taken[..i] {
                cost.add(&self.distance[*n][*m]);
            }
        }
        cost
    }

    /// What it costs at least that the set covers several host nodes, with `more` of them still to be taken.
    fn several(&self, more: usize) -> W {
        let nodes = (self.taken.len() + more).max(self.fewest);
        let more = nodes - self.taken.len();
        if nodes < 2 {
            return W::nothing();
        }
        let mut cost = self.one[SPANNED].times(nodes as u64 - 1);
        let packages = self.among.packages.unwrap_or_else(|| {
            let taken = self
                .taken
                .iter()
                .map(|n| &self.problem.index.nodes[self.among.nodes[*n]]);
            let packages: BTreeSet<&PackageId> = sorted::set(taken.flat_map(|node| &node.packages));
            packages.len().saturating_sub(1)
        });
        cost.add(&self.one[PACKAGES].times(packages as u64));
        let pairs = more * self.taken.len() + more * more.saturating_sub(1) / 2;
        cost.add(&self.nearest.times(pairs as u64));
        cost
    }

    /// With how many more host nodes at least there is room for all vCPUs; `None`: there is not.
    fn needed(&self) -> Option<usize> {
        let mut room: usize = self.taken.iter().map(|n| self.figures[*n][0]).sum();
        let mut rest: Vec<usize> = self.figures[self.decided..].iter().map(|f| f[0]).collect();
        rest.sort_unstable();
        let mut more = 0;
        while room < self.vcpus {
            room += rest.pop()?;
            more += 1;
        }
        Some(more)
    }

    /// The bound of numa and l3.
    fn bound_of_areas(&self) -> Option<W> {
        let at_most = |figure: usize| {
            let taken = self
                .taken
                .iter()
                .map(|n| self.figures[*n][figure])
                .sum::<usize>();
            taken
                + self.figures[self.decided..]
                    .iter()
                    .map(|f| f[figure])
                    .sum::<usize>()
        };
        let mut bound = self.several(self.needed()?);
        let lacking = |figure: usize| self.vcpus.saturating_sub(at_most(figure)) as u64;
        bound.add(&self.one[OVERLAP].times(lacking(1)));
        bound.add(&self.one[SHARED].times(lacking(2)));
        Some(bound)
    }

    /// The bound of one-to-one: for each number of further host nodes what the CPUs cost at least.
    fn bound_of_tables(&self, tables: &Tables<W>) -> Option<W> {
        let sums = self.sums.last()?;
        let after = self.after[self.decided].iter().enumerate();
        let costs = after
            .filter_map(|(more, after)| Some(tables.least(sums, after)?.plus(&self.several(more))));
        costs.min()
    }

    /// Makes the bound count the further host nodes, as far as that is worth the work.
    fn count(&mut self) {
        let Some(tables) = &mut self.tables else {
            return;
        };
        let nodes = &self.among.nodes;
        let most = match self.problem.small() {
            true => nodes.len(),
            false => COUNTING / (tables.effort() * nodes.len()).max(1),
        };
        for (n, after) in self.after.iter_mut().enumerate() {
            let counted =
                (0..most.min(nodes.len() - n)).map(|most| tables.within(&nodes[n..], Some(most)));
            let any = after.pop();
            *after = counted.chain(any).collect();
        }
    }
}

impl<W: Number> Space for Span<'_, W> {
    type Cost = Split<W>;
    type Key = ();

    fn choices(&self, choices: &mut Vec<usize>) {
        choices.extend([TAKE, LEAVE]);
    }

    fn push(&mut self, choice: usize) {
        if choice == TAKE {
            let n = self.decided;
            self.taken.push(n);
            if let (Some(tables), Some(sum)) = (&mut self.tables, self.sums.last()) {
                let nodes = &self.among.nodes;
                let taken: Vec<usize> = self.taken.iter().map(|n| nodes[*n]).collect();
                let next = tables.with(&taken, sum, nodes[n]);
                self.sums.push(next);
            }
        }
        self.decided += 1;
    }

    fn pop(&mut self) {
        self.decided -= 1;
        if self.taken.last() == Some(&self.decided) {
            self.taken.pop();
            if self.tables.is_some() {
                self.sums.pop();
            }
        }
    }

    fn complete(&self) -> bool {
        self.decided == self.figures.len()
    }

    fn cost(&self) -> Option<Split<W>> {
        let first = self.among.nodes[*self.taken.first()?];
        if self.taken.len() < self.fewest {
            return None;
        }
        let nodes: Vec<usize> = self.taken.iter().map(|n| self.among.nodes[*n]).collect();
        let mut cost = self.set().plus(&self.several(0));
        if self.problem.short(&nodes, &[0]) {
            cost.add(&self.one[SHORT]);
        }
        let mut load = Fraction::default();
        if self.tables.is_some() {
            cost.add(self.sums.last()?.get(self.vcpus)?);
        } else {
            self.needed()?;
            let area = self.problem.areas.best(&nodes, self.vcpus, self.vcpus);
            cost.add(&self.one[OVERLAP].times(area.overlap));
            cost.add(&self.one[SHARED].times(area.shared));
            cost.add(&self.scale.of(Item::L3Domains, area.l3s));
            load = area.load;
        }
        let own = NodeId(self.problem.vnodes[0].id.0);
        let renumbered = nodes.len() > 1 || self.problem.index.nodes[first].id != own;
        let behind = if renumbered {
            self.one[RENUMBERED].clone()
        } else {
            W::nothing()
        };
        Some((cost, load, behind))
    }

    fn bound(&mut self) -> Option<Split<W>> {
        let mut bound = match &self.tables {
            Some(tables) => self.bound_of_tables(tables)?,
            None => self.bound_of_areas()?,
        };
        bound.add(&self.set());
        // what may still be saved by taking more host nodes
        bound.sub(&self.saved_after[self.decided]);
        Some((bound, Fraction::default(), W::nothing()))
    }

    fn better_bound(&mut self) -> Option<Split<W>> {
        self.gone_on += 1;
        if self.gone_on != PATIENCE {
            return None;
        }
        self.count();
        self.bound()
    }

    fn work(&mut self) -> u64 {
        let bounds = self.after.first().map_or(0, Vec::len) * self.vcpus * 2;
        let sums = self
            .tables
            .as_mut()
            .map_or(0, |tables| std::mem::take(&mut tables.work));
        1000 + 2 * bounds as u64 + sums
    }

    fn key(&self) -> Option<((), Split<W>)> {
        None
    }
}
