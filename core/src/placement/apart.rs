//! The search where every free virtual node gets a host node of its own.
//!
//! All items but `distance` add up over virtual nodes then. The bound of a partial choice adds, for those still to be placed,
//! the cheapest host nodes that are left, each with its distances to those in use and with half the distances to its nearest
//! neighbours: a sum over pairs counts each pair from both ends. All costs are counted twice here, so that halves are whole.

use super::cost::Item;
use super::inner::Inner;
use super::matching;
use super::nodes::{Task, nowhere, saved};
use super::number::Number;
use super::problem::Problem;
use super::scale::Scale;
use super::search::Space;

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
    /// What the distance of two host nodes costs.
    distance: Vec<Vec<W>>,
    /// The other host nodes by distance, each with half of that cost.
    near: Vec<Vec<(W, usize)>>,
    /// What the distances of a host node to those in use cost.
    to_used: Vec<W>,
    used: Vec<bool>,
    row: Vec<usize>,
    /// The cost so far, by how many are placed.
    costs: Vec<W>,
    scratch: Vec<W>,
    matrix: Vec<Vec<Option<W>>>,
    work: u64,
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
        let one = scale.one(Item::Distance);
        let weighed = |a: usize, b: usize| match a == b {
            true => W::nothing(),
            false => one.times(problem.distance(a, b)),
        };
        let half: Vec<Vec<W>> = (0..count)
            .map(|a| (0..count).map(|b| weighed(a, b)).collect())
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
            for m in task.fixed.keys().filter(|m| *m < n) {
                base.add(&twice(&half[*n][*m]));
            }
        }
        let to_used = |n: usize| {
            let mut sum = W::nothing();
            for m in task.fixed.keys() {
                sum.add(&twice(&half[n][*m]));
            }
            sum
        };
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
            let mut near: Vec<(W, usize)> = others.map(|m| (half[n][m].clone(), m)).collect();
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
            distance: half
                .iter()
                .map(|row| row.iter().map(twice).collect())
                .collect(),
            to_used: (0..count).map(to_used).collect(),
            used,
            row: Vec::new(),
            costs: vec![base],
            scratch: Vec::new(),
            matrix: Vec::new(),
            work: 0,
            classes,
            single,
        })
    }

    /// Half the cost of the distances of a host node to its nearest `count` neighbours that are free.
    fn nearest(&self, node: usize, count: usize) -> W {
        let mut sum = W::nothing();
        let free = self.near[node].iter().filter(|(_, m)| !self.used[*m]);
        for (cost, _) in free.take(count) {
            sum.add(cost);
        }
        sum
    }
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
        cost.add(&self.to_used[node]);
        if self.own[v] != Some(node) {
            cost.add(&self.renumbered);
        }
        self.costs.push(cost);
        self.row.push(node);
        self.used[node] = true;
        for (sum, distance) in self.to_used.iter_mut().zip(&self.distance[node]) {
            sum.add(distance);
        }
    }

    fn pop(&mut self) {
        let Some(node) = self.row.pop() else { return };
        self.costs.pop();
        self.used[node] = false;
        for (sum, distance) in self.to_used.iter_mut().zip(&self.distance[node]) {
            sum.sub(distance);
        }
    }

    fn complete(&self) -> bool {
        self.row.len() == self.classes.len()
    }

    fn cost(&self) -> Option<W> {
        self.costs.last().cloned()
    }

    fn bound(&mut self) -> Option<W> {
        let placed = self.row.len();
        self.work += (self.used.len() * (8 + self.classes.len()) * size_of::<W>() / 8) as u64;
        let others = (self.classes.len() - placed).saturating_sub(1);
        let mut bound = self.costs[placed].clone();
        let mut scratch = std::mem::take(&mut self.scratch);
        for (class, left) in self.left[placed]
            .iter()
            .enumerate()
            .filter(|(_, left)| **left > 0)
        {
            scratch.clear();
            for (node, single) in self.single[class].iter().enumerate() {
                if let (false, Some(single)) = (self.used[node], single) {
                    let mut cost = self.nearest(node, others);
                    cost.add(single);
                    cost.add(&self.to_used[node]);
                    scratch.push(cost);
                }
            }
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
        self.work += (self.used.len() * rows * rows * size_of::<W>() / 2) as u64;
        let mut matrix = std::mem::take(&mut self.matrix);
        matrix.resize_with(rows, Vec::new);
        for (v, row) in (placed..).zip(&mut matrix) {
            row.clear();
            row.extend(
                self.single[self.classes[v]]
                    .iter()
                    .enumerate()
                    .map(|(node, single)| {
                        let single = single.as_ref().filter(|_| !self.used[node])?;
                        let mut cost = self.nearest(node, rows - 1);
                        cost.add(single);
                        cost.add(&self.to_used[node]);
                        if self.own[v] != Some(node) {
                            cost.add(&self.renumbered);
                        }
                        Some(cost)
                    }),
            );
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
