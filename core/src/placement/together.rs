//! The search where host nodes must be shared: every free virtual node goes to some host node with room for it.

use std::collections::BTreeMap;

use super::cost::Item;
use super::fits;
use super::inner::{Inner, Load};
use super::nodes::{Task, nowhere, saved};
use super::number::Number;
use super::problem::Problem;
use super::scale::Scale;
use super::search::Space;
use crate::id::NodeId;
use crate::sorted;

pub(super) struct Together<'a, W> {
    problem: &'a Problem<'a>,
    inner: &'a Inner<W>,
    free: &'a [usize],
    /// The virtual nodes on each host node.
    there: Vec<Vec<usize>>,
    room: Vec<usize>,
    /// The lowest cost of a load or of any larger one.
    least: BTreeMap<Load, W>,
    saved: Vec<W>,
    /// What the distance of two host nodes costs.
    distance: Vec<Vec<W>>,
    start: W,
    one: [W; 3],
    row: Vec<usize>,
}

const SHARED: usize = 0;
const SHORT: usize = 1;
const RENUMBERED: usize = 2;

impl<'a, W: Number> Together<'a, W> {
    /// The search of a task.
    pub(super) fn new(
        task: &'a Task,
        problem: &'a Problem<'a>,
        scale: &Scale<W>,
        inner: &'a Inner<W>,
    ) -> Self {
        let nodes = 0..problem.index.nodes.len();
        let mut there = vec![Vec::new(); nodes.len()];
        for (n, vnodes) in &task.fixed {
            there[*n].clone_from(vnodes);
        }
        let one = scale.one(Item::Distance);
        let weighed = |row: &Vec<u64>| row.iter().map(|distance| one.times(*distance)).collect();
        Self {
            problem,
            inner,
            free: &task.free,
            there,
            room: nodes.clone().map(|n| inner.room(problem, n)).collect(),
            least: least(task, problem, inner),
            saved: nodes.clone().map(|n| saved(problem, scale, n)).collect(),
            distance: problem.distances().iter().map(weighed).collect(),
            start: nowhere(problem, scale),
            one: [Item::SharedNodes, Item::ShortMemory, Item::Renumbered].map(|i| scale.one(i)),
            row: Vec::new(),
        }
    }

    /// The cost of what is placed. As a bound (`exact` is false) it leaves room for more on each host node.
    fn sum(&self, exact: bool) -> Option<W> {
        let mut sum = self.start.clone();
        let used: Vec<usize> = (0..self.there.len())
            .filter(|n| !self.there[*n].is_empty())
            .collect();
        for (i, n) in used.iter().enumerate() {
            let vnodes = &self.there[*n];
            let load = Task::load(self.problem, *n, vnodes);
            sum.add(if exact {
                self.inner.cost(load)?
            } else {
                self.least.get(&load)?
            });
            sum.sub(&self.saved[*n]);
            if self.problem.short(&[*n], vnodes) {
                sum.add(&self.one[SHORT]);
            }
            for v in vnodes {
                let vnode = &self.problem.vnodes[*v];
                if vnodes.len() > 1 && !vnode.named {
                    sum.add(&self.one[SHARED]);
                }
                if NodeId(vnode.id.0) != self.problem.index.nodes[*n].id {
                    sum.add(&self.one[RENUMBERED]);
                }
            }
            for m in &used[..i] {
                sum.add(&self.distance[*n][*m]);
            }
        }
        Some(sum)
    }
}

/// For each load the lowest cost of it or of any larger one on the same host node.
fn least<W: Number>(task: &Task, problem: &Problem<'_>, inner: &Inner<W>) -> BTreeMap<Load, W> {
    let all: Vec<(Load, &W)> = task
        .loads(problem)
        .into_iter()
        .filter_map(|load| inner.cost(load).map(|cost| (load, cost)))
        .collect();
    let mut least = BTreeMap::new();
    for (load, _) in &all {
        let larger = all
            .iter()
            .filter(|(l, _)| l.0 == load.0 && l.1 >= load.1 && l.2 >= load.2);
        if let Some(cost) = larger.map(|(_, cost)| *cost).min() {
            least.insert(*load, cost.clone());
        }
    }
    least
}

impl<W: Number> Space for Together<'_, W> {
    type Cost = W;
    type Key = Vec<(usize, usize, Option<super::memory::Need>, bool)>;

    fn choices(&self, choices: &mut Vec<usize>) {
        let size = self.problem.vnodes[self.free[self.row.len()]].size();
        let fits =
            |n: &usize| Task::load(self.problem, *n, &self.there[*n]).1 + size <= self.room[*n];
        choices.extend((0..self.there.len()).filter(fits));
    }

    fn push(&mut self, node: usize) {
        self.there[node].push(self.free[self.row.len()]);
        self.row.push(node);
    }

    fn pop(&mut self) {
        if let Some(node) = self.row.pop() {
            self.there[node].pop();
        }
    }

    fn complete(&self) -> bool {
        self.row.len() == self.free.len()
    }

    fn cost(&self) -> Option<W> {
        self.sum(true)
    }

    fn bound(&mut self) -> Option<W> {
        let mut bound = self.sum(false)?;
        let left = &self.free[self.row.len()..];
        let there = |n: usize| Task::load(self.problem, n, &self.there[n]).1;
        let rooms = (0..self.there.len()).map(|n| self.room[n].saturating_sub(there(n)));
        let sizes: Vec<usize> = left
            .iter()
            .map(|v| self.problem.vnodes[*v].size())
            .collect();
        let largest = sizes.iter().max().copied().unwrap_or(0);
        if fits::too_small(rooms.clone(), &sizes) || !rooms.clone().any(|room| room >= largest) {
            return None;
        }
        // host nodes that nobody uses yet, as far as one of those left could
        let smallest = sizes.iter().min().copied().unwrap_or(0);
        let empty = |n: &usize| self.there[*n].is_empty() && self.room[*n] >= smallest;
        let unused: Vec<usize> = (0..self.there.len()).filter(empty).collect();
        let mut saved: Vec<&W> = unused.iter().map(|n| &self.saved[*n]).collect();
        // those beyond the empty host nodes share
        for _ in unused.len()..left.len() {
            bound.add(&self.one[SHARED]);
        }
        // what the host nodes that may still be used save at most
        sorted::sort_by(&mut saved, |a, b| b.cmp(a));
        for saved in saved.into_iter().take(left.len()) {
            bound.sub(saved);
        }
        Some(bound)
    }

    fn work(&mut self) -> u64 {
        // every choice looked at is summed up anew
        let vnodes = self.problem.vnodes.len() as u64;
        let nodes = self.there.len() as u64;
        nodes * (nodes * 20 + vnodes * (vnodes + 50) * 2)
    }

    fn key(&self) -> Option<(Self::Key, W)> {
        let of = |n: usize, v: &usize| {
            let vnode = &self.problem.vnodes[*v];
            (n, vnode.size(), vnode.need, vnode.named)
        };
        let there = self.there.iter().enumerate();
        let mut key: Self::Key = there
            .flat_map(|(n, vnodes)| vnodes.iter().map(move |v| of(n, v)))
            .collect();
        sorted::sort_by(&mut key, Ord::cmp);
        Some((key, self.sum(true)?))
    }
}
