//! The search where every free virtual node gets a host node of its own.
//!
//! All items but `distance` add up over virtual nodes then. The bound of a partial choice adds, for those still to be placed,
//! the cheapest host nodes that are left, each with its distances to those in use and with half the distances to its nearest
//! neighbours: a sum over pairs counts each pair from both ends. All costs are counted twice here, so that halves are whole.
//! Distances are added as they are, and become a cost once for each host node: costs can be wide numbers.
//!
//! Where that takes long, the sets of host nodes that a best plan can be on are found first ([`Sets`]). Within them all distances
//! come to the same, and the bound, which only has to tell who is where, is nearly always the cost itself.

use super::cost::Item;
use super::inner::Inner;
use super::matching;
use super::nodes::{Task, nowhere, saved};
use super::number::Number;
use super::problem::Problem;
use super::scale::Scale;
use super::search::Space;
use super::sets::{Best, Sets};

pub(super) struct Apart<W> {
    /// How many free virtual nodes there are, and the class of each: those of a class cost the same everywhere.
    classes: Vec<usize>,
    /// How many of each class are still to be placed, by how many are placed.
    left: Vec<Vec<usize>>,
    /// What a virtual node of a class costs on a host node; `None`: no room.
    single: Vec<Vec<Option<W>>>,
    /// The host node with the number of a virtual node.
    own: Vec<Option<usize>>,
    renumbered: W,
    /// How far apart two host nodes are; a host node from itself: 0.
    distance: Vec<Vec<u64>>,
    /// The other host nodes by distance.
    near: Vec<Vec<(u64, usize)>>,
    /// The sum of the distances of a host node to those in use.
    to_used: Vec<u64>,
    /// Half of what distances cost.
    halves: Halves<W>,
    used: Vec<bool>,
    row: Vec<usize>,
    /// The cost so far, by how many are placed.
    costs: Vec<W>,
    /// What the distances of each free host node cost at least.
    shares: Vec<u64>,
    scratch: Vec<W>,
    matrix: Vec<Vec<Option<W>>>,
    work: u64,
    /// By set of host nodes that a best plan can be on: which are in it. None: every set is possible.
    sets: Vec<Vec<bool>>,
    /// How many host nodes in use are not in each of these sets.
    outside: Vec<usize>,
}

fn twice<W: Number>(cost: &W) -> W {
    cost.plus(cost)
}

impl<W: Number> Apart<W> {
    /// The search of a task; `None`: a fixed load has no room.
    pub(super) fn new(
        task: &Task,
        problem: &Problem<'_>,
        scale: &Scale<W>,
        inner: &Inner<W>,
    ) -> Option<Self> {
        let count = problem.index.nodes.len();
        let renumbered = twice(&scale.one(Item::Renumbered));
        let own = |v: usize| {
            let id = problem.vnodes[v].id.0;
            problem.index.position(crate::id::NodeId(id))
        };
        let apart = |a: usize, b: usize| if a == b { 0 } else { problem.distance(a, b) };
        let distance: Vec<Vec<u64>> = (0..count)
            .map(|a| (0..count).map(|b| apart(a, b)).collect())
            .collect();
        let mut base = twice(&nowhere(problem, scale));
        let used: Vec<bool> = (0..count).map(|n| task.fixed.contains_key(&n)).collect();
        for (n, vnodes) in &task.fixed {
            base.add(&twice(inner.cost(Task::load(problem, *n, vnodes))?));
            base.sub(&twice(&saved(problem, scale, *n)));
            if problem.short(&[*n], vnodes) {
                base.add(&twice(&scale.one(Item::ShortMemory)));
            }
            for v in vnodes {
                if own(*v) != Some(*n) {
                    base.add(&renumbered);
                }
                if vnodes.len() > 1 && !problem.vnodes[*v].named {
                    base.add(&twice(&scale.one(Item::SharedNodes)));
                }
            }
            let between = task.fixed.keys().filter(|m| *m < n);
            let sum: u64 = between.map(|m| distance[*n][*m]).sum();
            base.add(&scale.of(Item::Distance, 2 * sum));
        }
        let to_used = |n: usize| task.fixed.keys().map(|m| distance[n][*m]).sum();
        let to_used: Vec<u64> = (0..count).map(to_used).collect();
        let mut kinds: Vec<_> = task.free.iter().map(|v| class(problem, *v)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let classes: Vec<usize> = task
            .free
            .iter()
            .map(|v| kinds.binary_search(&class(problem, *v)).unwrap_or(0))
            .collect();
        let single = (0..kinds.len()).map(|c| {
            let v = task
                .free
                .iter()
                .zip(&classes)
                .find(|(_, class)| **class == c);
            let v = v.map_or(0, |(v, _)| *v);
            let cost = |n: usize| {
                let mut cost = inner.cost(Task::load(problem, n, &[v]))?.clone();
                cost.sub(&saved(problem, scale, n));
                if problem.short(&[n], &[v]) {
                    cost.add(&scale.one(Item::ShortMemory));
                }
                Some(twice(&cost))
            };
            (0..count)
                .map(|n| if used[n] { None } else { cost(n) })
                .collect()
        });
        let single: Vec<Vec<Option<W>>> = single.collect();
        let near = (0..count).map(|n| {
            let others = (0..count).filter(|m| *m != n && single.iter().any(|s| s[*m].is_some()));
            let mut near: Vec<(u64, usize)> = others.map(|m| (distance[n][m], m)).collect();
            near.sort_unstable();
            near
        });
        let mut left = vec![vec![0; kinds.len()]; task.free.len() + 1];
        for placed in (0..task.free.len()).rev() {
            left[placed] = left[placed + 1].clone();
            left[placed][classes[placed]] += 1;
        }
        Some(Self {
            left,
            near: near.collect(),
            own: task.free.iter().map(|v| own(*v)).collect(),
            renumbered,
            halves: Halves::new(scale.one(Item::Distance), &distance, problem.vnodes.len()),
            distance,
            to_used,
            used,
            row: Vec::new(),
            costs: vec![base],
            shares: Vec::new(),
            scratch: Vec::new(),
            matrix: Vec::new(),
            work: 0,
            sets: Vec::new(),
            outside: Vec::new(),
            classes,
            single,
        })
    }

    /// Looks only at the sets of host nodes that a best plan can be on, if they can be found with so much work. Before the search.
    pub(super) fn narrow(&mut self, scale: &Scale<W>, budget: u64) {
        let of = |class: &Vec<Option<W>>| -> Option<Vec<Option<i128>>> {
            let before = |single: &W| scale.before(Item::Distance, &half(single));
            let row = class.iter().map(|single| single.as_ref().map(before));
            // a cost that fits no narrow number ends it
            row.map(|cost| cost.map_or(Some(None), |cost| Some(Some(cost?))))
                .collect()
        };
        let Some(rows) = self.single.iter().map(of).collect::<Option<Vec<_>>>() else {
            return;
        };
        let sets = Sets {
            single: self
                .classes
                .iter()
                .map(|class| rows[*class].clone())
                .collect(),
            distance: self.distance.clone(),
            to_fixed: self.to_used.clone(),
        };
        let Some(Best { distance, sets }) = sets.best(budget) else {
            return;
        };
        let count = self.used.len();
        let member = |set: &Vec<usize>| (0..count).map(|n| set.contains(&n)).collect();
        self.sets = sets.iter().map(member).collect();
        self.outside = vec![0; sets.len()];
        // they all have the same distances: these are counted once and for all
        self.halves.add_to(&mut self.costs[0], 2 * distance);
        self.to_used = vec![0; count];
        self.distance = vec![vec![0; count]; count];
        for (near, _) in self.near.iter_mut().flatten() {
            *near = 0;
        }
    }

    fn change_outside(&mut self, node: usize, change: fn(usize, usize) -> usize) {
        for (outside, set) in self.outside.iter_mut().zip(&self.sets) {
            *outside = change(*outside, usize::from(!set[node]));
        }
    }

    /// For each host node the distances that it counts at least if it is taken, with `others` more beside it: from both ends to
    /// those in use, from its own end to its nearest free neighbours.
    fn share_distances(&mut self, others: usize) {
        self.shares.clear();
        for (node, near) in self.near.iter().enumerate() {
            let mut share = 2 * self.to_used[node];
            if !self.used[node] {
                let free = near.iter().filter(|(_, m)| !self.used[*m]);
                share += free.take(others).map(|(distance, _)| distance).sum::<u64>();
            }
            self.shares.push(share);
        }
    }

    /// What a virtual node of a class costs at least on a host node; `None`: it can't be there.
    fn least(&self, class: usize, node: usize) -> Option<W> {
        let mut cost = self.single[class][node]
            .as_ref()
            .filter(|_| !self.used[node])?
            .clone();
        self.halves.add_to(&mut cost, self.shares[node]);
        Some(cost)
    }
}

/// Half of what a sum of distances costs, known beforehand for the sums of usual hosts: a distance of the kernel is below 256.
struct Halves<W> {
    one: W,
    known: Vec<W>,
}

impl<W: Number> Halves<W> {
    /// Known up to the highest sum from one host node to `count` others, from both ends, but for no more than 4,096.
    fn new(one: W, distance: &[Vec<u64>], count: usize) -> Self {
        let farthest = distance.iter().flatten().max().copied().unwrap_or(0);
        let highest = farthest.saturating_mul(2 * count as u64).min(4096);
        let mut known = vec![W::nothing()];
        for n in 0..usize::try_from(highest).unwrap_or(0) {
            known.push(known[n].plus(&one));
        }
        Self { one, known }
    }

    fn add_to(&self, cost: &mut W, distances: u64) {
        let known = usize::try_from(distances)
            .ok()
            .and_then(|n| self.known.get(n));
        match known {
            Some(known) => cost.add(known),
            None => cost.add(&self.one.times(distances)),
        }
    }
}

/// What was counted twice, counted once.
fn half<W: Number>(cost: &W) -> W {
    W::from_big(&(cost.to_big() / 2))
}

/// What decides the cost of a virtual node.
fn class(problem: &Problem<'_>, v: usize) -> (usize, Option<super::memory::Need>) {
    (problem.vnodes[v].size(), problem.vnodes[v].need)
}

impl<W: Number> Space for Apart<W> {
    type Cost = W;
    type Key = Vec<bool>;

    fn choices(&self, choices: &mut Vec<usize>) {
        let costs = &self.single[self.classes[self.row.len()]];
        choices.extend((0..self.used.len()).filter(|n| !self.used[*n] && costs[*n].is_some()));
    }

    fn push(&mut self, node: usize) {
        let v = self.row.len();
        let mut cost = self.costs[v].clone();
        if let Some(single) = &self.single[self.classes[v]][node] {
            cost.add(single);
        }
        self.halves.add_to(&mut cost, 2 * self.to_used[node]);
        if self.own[v] != Some(node) {
            cost.add(&self.renumbered);
        }
        self.costs.push(cost);
        self.row.push(node);
        self.used[node] = true;
        self.change_outside(node, usize::wrapping_add);
        for (sum, distance) in self.to_used.iter_mut().zip(&self.distance[node]) {
            *sum += distance;
        }
    }

    fn pop(&mut self) {
        let Some(node) = self.row.pop() else { return };
        self.costs.pop();
        self.used[node] = false;
        self.change_outside(node, usize::wrapping_sub);
        for (sum, distance) in self.to_used.iter_mut().zip(&self.distance[node]) {
            *sum -= distance;
        }
    }

    fn complete(&self) -> bool {
        self.row.len() == self.classes.len()
    }

    fn cost(&self) -> Option<W> {
        self.costs.last().cloned()
    }

    fn bound(&mut self) -> Option<W> {
        if !self.sets.is_empty() && !self.outside.contains(&0) {
            return None;
        }
        let placed = self.row.len();
        self.work += (self.used.len() * (8 + self.classes.len()) * size_of::<W>() / 16) as u64;
        let others = (self.classes.len() - placed).saturating_sub(1);
        let mut bound = self.costs[placed].clone();
        self.share_distances(others);
        let mut scratch = std::mem::take(&mut self.scratch);
        for (class, left) in self.left[placed]
            .iter()
            .enumerate()
            .filter(|(_, left)| **left > 0)
        {
            scratch.clear();
            scratch.extend((0..self.used.len()).filter_map(|node| self.least(class, node)));
            if scratch.len() < *left {
                self.scratch = scratch;
                return None;
            }
            scratch.select_nth_unstable(left - 1);
            for cost in &scratch[..*left] {
                bound.add(cost);
            }
        }
        self.scratch = scratch;
        for v in placed..self.classes.len() {
            let own = self.own[v].filter(|n| !self.used[*n]);
            if own.is_none_or(|n| self.single[self.classes[v]][n].is_none()) {
                bound.add(&self.renumbered);
            }
        }
        Some(bound)
    }

    /// The cheapest assignment of all that are still to be placed, each with half its distances to the others. The simple bound
    /// gives every class the best host nodes for itself, so it is as good where there is only one class.
    fn better_bound(&mut self) -> Option<W> {
        let placed = self.row.len();
        let rows = self.classes.len() - placed;
        if self.left[placed].iter().filter(|left| **left > 0).count() < 2 {
            return None;
        }
        self.work += (self.used.len() * rows * rows * size_of::<W>() / 4) as u64;
        self.share_distances(rows - 1);
        let mut matrix = std::mem::take(&mut self.matrix);
        matrix.resize_with(rows, Vec::new);
        for (v, row) in (placed..).zip(&mut matrix) {
            row.clear();
            row.extend((0..self.used.len()).map(|node| {
                let mut cost = self.least(self.classes[v], node)?;
                if self.own[v] != Some(node) {
                    cost.add(&self.renumbered);
                }
                Some(cost)
            }));
        }
        let rest = matching::cheapest(&matrix);
        self.matrix = matrix;
        rest.map(|rest| rest.plus(&self.costs[placed]))
    }

    fn work(&mut self) -> u64 {
        std::mem::take(&mut self.work)
    }

    fn key(&self) -> Option<(Vec<bool>, W)> {
        Some((self.used.clone(), self.costs.last()?.clone()))
    }
}
