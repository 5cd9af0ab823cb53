//! A guest with one free virtual node: the best set of host nodes for it, one or several.
//!
//! Host nodes are taken or left one after the other. In one-to-one, what the CPUs of a set cost is the sum of the tables of
//! its host nodes, minimised over all ways to divide the vCPUs; a bound takes the tables of the host nodes not yet decided in,
//! too, with the number of host nodes that it would take. A set with a host node on which no vCPU would land needs no care:
//! the set without it spans less and is looked at as well.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::areas::Area;
use super::cost::Item;
use super::fraction::Fraction;
use super::inner::Inner;
use super::nodes::{nowhere, saved};
use super::number::Number;
use super::problem::Problem;
use super::scale::Scale;
use super::search::Space;
use crate::id::{NodeId, PackageId};

/// The cost of a set: the items before `load`, packed; `load`; the items behind it, packed.
pub(super) type Split<W> = (W, Fraction, W);

/// A table of costs by the number of vCPUs.
type Table<W> = Rc<Vec<Option<W>>>;

pub(super) struct Span<'a, W> {
    problem: &'a Problem<'a>,
    inner: Option<Tables<W>>,
    vcpus: usize,
    saved: Vec<W>,
    /// All that can still be saved from a position on.
    saved_after: Vec<W>,
    distance: Vec<Vec<W>>,
    start: W,
    scale: &'a Scale<W>,
    one: [W; 6],
    packages: Vec<BTreeSet<PackageId>>,
    /// How many CPUs, unclaimed CPUs and cores a host node has.
    figures: Vec<[usize; 3]>,
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

/// The tables of one-to-one.
struct Tables<W> {
    /// By host node; equal ones have equal numbers in `like`.
    nodes: Vec<Vec<Option<W>>>,
    like: Vec<usize>,
    /// The sums of sets, by how many host nodes of each like are in them.
    known: BTreeMap<Vec<usize>, Table<W>>,
    /// From a position on, with at most so many more host nodes.
    after: Vec<Vec<Vec<Option<W>>>>,
}

/// The host nodes that are left out or taken at one position.
const TAKE: usize = 0;
const LEAVE: usize = 1;

/// Up to so many host nodes, the bound knows how many of them it would take.
const COUNTED: usize = 16;

impl<'a, W: Number> Span<'a, W> {
    /// The search of a problem; `inner` for one-to-one.
    pub(super) fn new(
        problem: &'a Problem<'a>,
        scale: &'a Scale<W>,
        inner: Option<&Inner<W>>,
    ) -> Self {
        let count = problem.index.nodes.len();
        let vcpus = problem.vcpus();
        let saved: Vec<W> = (0..count).map(|n| saved(problem, scale, n)).collect();
        let mut saved_after = vec![W::nothing(); count + 1];
        for n in (0..count).rev() {
            saved_after[n] = saved_after[n + 1].plus(&saved[n]);
        }
        let one = scale.one(Item::Distance);
        let row = |a: usize| {
            (0..count)
                .map(|b| one.times(if a == b { 0 } else { problem.distance(a, b) }))
                .collect()
        };
        let items = [
            Item::Packages,
            Item::Spanned,
            Item::Overlap,
            Item::SharedCores,
            Item::ShortMemory,
            Item::Renumbered,
        ];
        let figures = |(n, node): (usize, &super::index::NodeIx)| {
            let (unclaimed, cores) = problem.areas.of_node(n);
            [node.cpus.len(), unclaimed, cores]
        };
        let mut nothing = vec![None; vcpus + 1];
        nothing[0] = Some(W::nothing());
        Self {
            problem,
            inner: inner.map(|inner| Tables::new(inner, count, vcpus)),
            vcpus,
            saved,
            saved_after,
            distance: (0..count).map(row).collect(),
            start: nowhere(problem, scale),
            scale,
            one: items.map(|item| scale.one(item)),
            packages: problem
                .index
                .nodes
                .iter()
                .map(|node| node.packages.clone())
                .collect(),
            figures: problem
                .index
                .nodes
                .iter()
                .enumerate()
                .map(figures)
                .collect(),
            taken: Vec::new(),
            decided: 0,
            sums: vec![Rc::new(nothing)],
        }
    }

    /// The host nodes of a row of choices.
    pub(super) fn nodes(choices: &[usize]) -> Vec<usize> {
        (0..choices.len()).filter(|n| choices[*n] == TAKE).collect()
    }

    /// What the set costs as a set, with `more` host nodes still to be taken.
    fn set(&self, more: usize) -> W {
        let mut cost = self.start.clone();
        let mut packages: BTreeSet<PackageId> = BTreeSet::new();
        for (i, n) in self.taken.iter().enumerate() {
            cost.sub(&self.saved[*n]);
            packages.extend(&self.packages[*n]);
            for m in &self.taken[..i] {
                cost.add(&self.distance[*n][*m]);
            }
        }
        let nodes = self.taken.len() + more;
        if nodes > 1 {
            cost.add(&self.one[SPANNED].times(nodes as u64 - 1));
            let packages = packages.len().saturating_sub(1) as u64;
            cost.add(&self.one[PACKAGES].times(packages));
        }
        cost
    }

    /// Whether host node `n` and those from `self.decided` on can be enough, and with how many of the latter at least.
    fn needed(&self) -> Option<usize> {
        let have = |figure: usize| {
            self.taken
                .iter()
                .map(|n| self.figures[*n][figure])
                .sum::<usize>()
        };
        let rest = |figure: usize| {
            let mut rest: Vec<usize> = self.figures[self.decided..]
                .iter()
                .map(|f| f[figure])
                .collect();
            rest.sort_unstable_by(|a, b| b.cmp(a));
            rest
        };
        let more = |figure: usize, wanted: usize| {
            let mut sum = have(figure);
            let mut more = 0;
            for next in rest(figure) {
                if sum >= wanted {
                    break;
                }
                sum += next;
                more += 1;
            }
            (more, sum)
        };
        let (for_room, room) = more(0, self.vcpus);
        (room >= self.vcpus).then_some(for_room)
    }

    fn area(&self) -> Area {
        self.problem.areas.best(&self.taken, self.vcpus, self.vcpus)
    }

    /// The bound of numa and l3.
    fn bound_of_areas(&self) -> Option<W> {
        let needed = self.needed()?;
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
        let mut bound = self.set(needed);
        let lacking = |figure: usize| self.vcpus.saturating_sub(at_most(figure)) as u64;
        bound.add(&self.one[OVERLAP].times(lacking(1)));
        bound.add(&self.one[SHARED].times(lacking(2)));
        Some(bound)
    }

    /// The bound of one-to-one: for each number of further host nodes what the CPUs cost at least.
    fn bound_of_tables(&self, tables: &Tables<W>) -> Option<W> {
        let sums = self.sums.last()?;
        let after = &tables.after[self.decided];
        let set = self.set(0);
        let mut best: Option<W> = None;
        for (more, rest) in after.iter().enumerate() {
            let Some(mut cost) = least(sums, rest, self.vcpus) else {
                continue;
            };
            let spanned = (self.taken.len() + more).saturating_sub(1);
            let counted = self.taken.len().saturating_sub(1);
            // without counting, the last table stands for any number of host nodes
            if after.len() > 1 {
                cost.add(&self.one[SPANNED].times((spanned - counted) as u64));
            }
            if best.as_ref().is_none_or(|best| cost < *best) {
                best = Some(cost);
            }
        }
        best.map(|best| best.plus(&set))
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
            if let (Some(tables), Some(sum)) = (&mut self.inner, self.sums.last()) {
                let next = tables.with(&self.taken, sum, n);
                self.sums.push(next);
            }
        }
        self.decided += 1;
    }

    fn pop(&mut self) {
        self.decided -= 1;
        if self.taken.last() == Some(&self.decided) {
            self.taken.pop();
            if self.inner.is_some() {
                self.sums.pop();
            }
        }
    }

    fn complete(&self) -> bool {
        self.decided == self.figures.len()
    }

    fn cost(&self) -> Option<Split<W>> {
        if self.taken.is_empty() {
            return None;
        }
        let mut cost = self.set(0);
        if self.problem.short(&self.taken, &[0]) {
            cost.add(&self.one[SHORT]);
        }
        let mut load = Fraction::default();
        if self.inner.is_some() {
            cost.add(self.sums.last()?.get(self.vcpus)?.as_ref()?);
        } else {
            self.needed()?;
            let area = self.area();
            cost.add(&self.one[OVERLAP].times(area.overlap));
            cost.add(&self.one[SHARED].times(area.shared));
            cost.add(&self.scale.of(Item::L3Domains, area.l3s));
            load = area.load;
        }
        let own = NodeId(self.problem.vnodes[0].id.0);
        let renumbered = self.taken.len() > 1 || self.problem.index.nodes[self.taken[0]].id != own;
        let behind = if renumbered {
            self.one[RENUMBERED].clone()
        } else {
            W::nothing()
        };
        Some((cost, load, behind))
    }

    fn bound(&mut self) -> Option<Split<W>> {
        let bound = match &self.inner {
            Some(tables) => self.bound_of_tables(tables)?,
            None => self.bound_of_areas()?,
        };
        // what may still be saved by taking more host nodes
        let bound = {
            let mut bound = bound;
            bound.sub(&self.saved_after[self.decided]);
            bound
        };
        Some((bound, Fraction::default(), W::nothing()))
    }

    fn key(&self) -> Option<((), Split<W>)> {
        None
    }
}

impl<W: Number> Tables<W> {
    fn new(inner: &Inner<W>, count: usize, vcpus: usize) -> Self {
        let table = |n: usize| {
            (0..=vcpus)
                .map(|k| inner.cost((n, k, k)).cloned())
                .collect()
        };
        let nodes: Vec<Vec<Option<W>>> = (0..count).map(table).collect();
        let mut kinds: Vec<&Vec<Option<W>>> = nodes.iter().collect();
        kinds.sort_unstable();
        kinds.dedup();
        let like = nodes
            .iter()
            .map(|table| kinds.binary_search(&table).unwrap_or(0))
            .collect();
        let mut nothing = vec![None; vcpus + 1];
        nothing[0] = Some(W::nothing());
        let counts = if count <= COUNTED { count } else { 0 };
        // after[n][more]: the lowest costs with at most `more` of the host nodes from n on; or with any number of them
        let mut after = vec![vec![nothing; counts + 1]; count + 1];
        for n in (0..count).rev() {
            for more in 0..=counts {
                let without = after[n + 1][more].clone();
                let fewer = if counts == 0 {
                    Some(0)
                } else {
                    more.checked_sub(1)
                };
                after[n][more] = match fewer {
                    Some(fewer) => lower(without, sum(&after[n + 1][fewer], &nodes[n])),
                    None => without,
                };
            }
        }
        Self {
            nodes,
            like,
            known: BTreeMap::new(),
            after,
        }
    }

    /// The table of the host nodes `taken`, the last of which is `n`, from that of the others.
    fn with(&mut self, taken: &[usize], others: &Table<W>, n: usize) -> Table<W> {
        let mut counts = vec![0; self.nodes.len()];
        for t in taken {
            counts[self.like[*t]] += 1;
        }
        let known = self.known.entry(counts);
        Rc::clone(known.or_insert_with(|| Rc::new(sum(others, &self.nodes[n]))))
    }
}

/// The lowest costs of dividing vCPUs between two tables.
fn sum<W: Number>(a: &[Option<W>], b: &[Option<W>]) -> Vec<Option<W>> {
    let mut sums: Vec<Option<W>> = vec![None; a.len()];
    for (i, x) in a.iter().enumerate() {
        let Some(x) = x else { continue };
        for (y, best) in b.iter().zip(&mut sums[i..]) {
            let Some(y) = y else { break };
            let cost = x.plus(y);
            if best.as_ref().is_none_or(|best| cost < *best) {
                *best = Some(cost);
            }
        }
    }
    sums
}

/// Entry by entry the lower one.
fn lower<W: Number>(mut a: Vec<Option<W>>, b: Vec<Option<W>>) -> Vec<Option<W>> {
    for (a, b) in a.iter_mut().zip(b) {
        if let Some(b) = b
            && a.as_ref().is_none_or(|a| b < *a)
        {
            *a = Some(b);
        }
    }
    a
}

/// The lowest cost of dividing `total` vCPUs between two tables.
fn least<W: Number>(a: &[Option<W>], b: &[Option<W>], total: usize) -> Option<W> {
    let pairs = a[..=total].iter().zip(b[..=total].iter().rev());
    pairs
        .filter_map(|(a, b)| Some(a.as_ref()?.plus(b.as_ref()?)))
        .min()
}
