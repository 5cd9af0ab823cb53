//! Every free virtual node on a host node of its own.
//!
//! All items but `distance` add up over virtual nodes then, so without it the best is a cheapest assignment. Three steps give the
//! best with it:
//!
//! 1. the items before `distance` alone: the proof of a cheapest assignment says which virtual nodes can be where, and which
//!    host nodes must be used, in every one that is as cheap;
//! 2. among these the nearest sets of host nodes ([`Sets`]);
//! 3. on them the whole cost: of all that are equally near the cheapest assignment, and of several the first in order.

use super::assign::{self, Groups};
use super::cost::Item;
use super::inner::Inner;
use super::nodes::{Task, nowhere, saved};
use super::number::Number;
use super::problem::Problem;
use super::scale::Scale;
use super::search::{Budget, Found};
use super::sets::{Seen, Sets};

/// What a virtual node costs on each host node, `None` where it can't be.
type Row<W> = Vec<Option<W>>;

/// The best host nodes of the free virtual nodes; the best is `None` where there are none.
pub(super) fn best<W: Number>(
    task: &Task,
    problem: &Problem<'_>,
    scale: &Scale<W>,
    inner: &Inner<W>,
    budget: &Budget,
) -> Found<W> {
    place(task, problem, scale, inner, budget).unwrap_or(Found {
        best: None,
        bound: None,
    })
}

fn place<W: Number>(
    task: &Task,
    problem: &Problem<'_>,
    scale: &Scale<W>,
    inner: &Inner<W>,
    budget: &Budget,
) -> Option<Found<W>> {
    let distances = problem.distances();
    let apart = |a: usize, b: usize| distances[a][b];
    let fixed = fixed(task, problem, scale, inner, &apart)?;
    let size = task.free.len();
    if size == 0 {
        let best = Some((fixed, Vec::new()));
        return Some(Found { best, bound: None });
    }
    let rows = rows(task, problem, scale, inner);
    let unit = scale.above(Item::Distance);
    let early = |cost: &W| cost.over(&unit);
    let early: Vec<Row<W>> = rows
        .iter()
        .map(|row| row.iter().map(|cost| cost.as_ref().map(early)).collect())
        .collect();
    let count = problem.index.nodes.len();
    let one = Groups::one(count, size);
    let proof = assign::cheapest(&early, &one)?;
    let open: Vec<Vec<usize>> = (0..size)
        .map(|row| (0..count).filter(|n| proof.is_tight(row, *n)).collect())
        .collect();
    // the host nodes that are left
    let nodes: Vec<usize> = (0..count)
        .filter(|n| open.iter().any(|open| open.binary_search(n).is_ok()))
        .collect();
    let place = |row: usize, n: usize| {
        let open = open[row].binary_search(&n).is_ok();
        rows[row][n].clone().filter(|_| open)
    };
    let costs: Vec<Row<W>> = (0..size)
        .map(|row| nodes.iter().map(|n| place(row, *n)).collect())
        .collect();
    let fixed_nodes = || task.fixed.keys();
    let sets = Sets {
        open: costs
            .iter()
            .map(|row| (0..nodes.len()).filter(|n| row[*n].is_some()).collect())
            .collect(),
        needed: nodes.iter().map(|n| proof.is_needed(*n)).collect(),
        distance: nodes
            .iter()
            .map(|a| nodes.iter().map(|b| apart(*a, *b)).collect())
            .collect(),
        to_fixed: nodes
            .iter()
            .map(|a| fixed_nodes().map(|b| apart(*a, *b)).sum())
            .collect(),
        effort: (size * nodes.len() * nodes.len() * size_of::<W>() / 16) as u64,
    };
    let mut best: Option<(W, Vec<usize>)> = None;
    let nearest = sets.walk(budget.0, &mut |groups, seen| {
        let Some(mut found) = assign::cheapest(&costs, groups) else {
            return false;
        };
        let cost = found.cost();
        if let Some((least, first)) = best.as_ref().filter(|_| seen != Seen::Nearer) {
            // of equal costs, the first in order of the virtual nodes' host nodes
            let worse = cost > *least || cost == *least && found.first() >= *first;
            if worse || seen == Seen::Maybe {
                return !worse;
            }
        }
        best = Some((cost, found.first()));
        true
    })?;
    let near = |distance: u64| fixed.plus(&scale.of(Item::Distance, distance));
    let least = || Some(assign::cheapest(&costs, &Groups::one(nodes.len(), size))?.cost());
    let (cost, places) = best?;
    let cost = near(nearest.distance).plus(&cost);
    let bound = nearest
        .open
        .and_then(|open| Some(near(open).plus(&least()?)));
    Some(Found {
        bound: bound.filter(|bound| *bound < cost),
        best: Some((cost, places.into_iter().map(|n| nodes[n]).collect())),
    })
}

/// What the fixed virtual nodes cost; `None`: there is no room.
fn fixed<W: Number>(
    task: &Task,
    problem: &Problem<'_>,
    scale: &Scale<W>,
    inner: &Inner<W>,
    apart: &dyn Fn(usize, usize) -> u64,
) -> Option<W> {
    let mut cost = nowhere(problem, scale);
    for (n, vnodes) in &task.fixed {
        cost.add(inner.cost(Task::load(problem, *n, vnodes))?);
        cost.sub(&saved(problem, scale, *n));
        if problem.short(&[*n], vnodes) {
            cost.add(&scale.one(Item::ShortMemory));
        }
        for v in vnodes {
            if own(problem, *v) != Some(*n) {
                cost.add(&scale.one(Item::Renumbered));
            }
            if vnodes.len() > 1 && !problem.vnodes[*v].named {
                cost.add(&scale.one(Item::SharedNodes));
            }
        }
        let before = task.fixed.keys().filter(|m| *m < n);
        let distance = before.map(|m| apart(*n, *m)).sum();
        cost.add(&scale.of(Item::Distance, distance));
    }
    Some(cost)
}

/// What each free virtual node costs on each host node, without distances.
fn rows<W: Number>(
    task: &Task,
    problem: &Problem<'_>,
    scale: &Scale<W>,
    inner: &Inner<W>,
) -> Vec<Row<W>> {
    let count = problem.index.nodes.len();
    let saved: Vec<W> = (0..count).map(|n| saved(problem, scale, n)).collect();
    let cost = |v: usize, n: usize| {
        if task.fixed.contains_key(&n) {
            return None;
        }
        let mut cost = inner.cost(Task::load(problem, n, &[v]))?.clone();
        cost.sub(&saved[n]);
        if problem.short(&[n], &[v]) {
            cost.add(&scale.one(Item::ShortMemory));
        }
        if own(problem, v) != Some(n) {
            cost.add(&scale.one(Item::Renumbered));
        }
        Some(cost)
    };
    task.free
        .iter()
        .map(|v| (0..count).map(|n| cost(*v, n)).collect())
        .collect()
}

/// The host node with the number of a virtual node.
fn own(problem: &Problem<'_>, v: usize) -> Option<usize> {
    let id = problem.vnodes[v].id.0;
    problem.index.position(crate::id::NodeId(id))
}
