//! Virtual nodes on host nodes: the fixed ones where they must go, every other one on a host node of its own where that is
//! possible, else sharing as little as possible.

use std::collections::{BTreeMap, BTreeSet};

use super::apart;
use super::cost::Item;
use super::fits;
use super::inner::{Inner, Load};
use super::number::Number;
use super::problem::Problem;
use super::scale::Scale;
use super::search::{self, Budget};
use super::together::Together;
use crate::sorted;

/// Which virtual nodes are where before the search begins, and which it has to place.
pub(super) struct Task {
    /// The virtual nodes on each host node.
    pub fixed: BTreeMap<usize, Vec<usize>>,
    /// The other virtual nodes, ascending.
    pub free: Vec<usize>,
}

/// Where virtual nodes go.
pub(super) struct Placed<W> {
    /// The host node of each virtual node.
    pub hosts: Vec<usize>,
    /// What that costs.
    pub cost: W,
    /// Nothing costs less than this; `None`: nothing costs less than `cost`.
    pub bound: Option<W>,
}

impl Task {
    /// The task of a problem; `None`: a virtual node is tied to a host node without a usable CPU.
    pub(super) fn new(problem: &Problem<'_>) -> Option<Self> {
        let mut task = Self {
            fixed: BTreeMap::new(),
            free: Vec::new(),
        };
        for (v, vnode) in problem.vnodes.iter().enumerate() {
            match vnode.tied {
                Some(node) => {
                    task.fixed
                        .entry(problem.index.position(node)?)
                        .or_default()
                        .push(v);
                }
                None => task.free.push(v),
            }
        }
        Some(task)
    }

    /// Whether every free virtual node can have a host node of its own. With one for each it is enough to compare sizes: the
    /// largest against the roomiest, and so on.
    pub(super) fn apart(&self, problem: &Problem<'_>, room: &dyn Fn(usize) -> usize) -> bool {
        let mut rooms: Vec<usize> = (0..problem.index.nodes.len())
            .filter(|n| !self.fixed.contains_key(n))
            .map(room)
            .collect();
        let mut sizes: Vec<usize> = self
            .free
            .iter()
            .map(|v| problem.vnodes[*v].size())
            .collect();
        sorted::sort_by(&mut rooms, |a, b| b.cmp(a));
        sorted::sort_by(&mut sizes, |a, b| b.cmp(a));
        sizes.len() <= rooms.len() && sizes.iter().zip(&rooms).all(|(size, room)| size <= room)
    }

    /// The load of a host node with some virtual nodes.
    pub(super) fn load(problem: &Problem<'_>, node: usize, vnodes: &[usize]) -> Load {
        let sizes = vnodes.iter().map(|v| problem.vnodes[*v].size());
        (node, sizes.clone().sum(), sizes.max().unwrap_or(0))
    }

    /// All loads that can occur.
    pub(super) fn loads(&self, problem: &Problem<'_>) -> BTreeSet<Load> {
        let room = |n: usize| problem.index.nodes[n].room;
        let apart = self.apart(problem, &room);
        let mut loads = BTreeSet::new();
        for n in 0..problem.index.nodes.len() {
            let fixed = self.fixed.get(&n).map_or(&[][..], Vec::as_slice);
            let mut here = BTreeSet::from([Self::load(problem, n, fixed)]);
            if !apart || fixed.is_empty() {
                for v in &self.free {
                    let size = problem.vnodes[*v].size();
                    let grown: Vec<Load> = match apart {
                        true => vec![(n, size, size)],
                        false => here
                            .iter()
                            .map(|l| (n, l.1 + size, l.2.max(size)))
                            .collect(),
                    };
                    here.extend(grown.into_iter().filter(|load| load.1 <= room(n)));
                }
            }
            loads.extend(here.into_iter().filter(|load| load.1 > 0));
        }
        loads
    }

    /// The best host nodes; `None`: there are none within the rules.
    pub(super) fn place<W: Number>(
        &self,
        problem: &Problem<'_>,
        scale: &Scale<W>,
        inner: &Inner<W>,
    ) -> Option<Placed<W>> {
        let room = |n: usize| inner.room(problem, n);
        if !fits::task_fits(problem, self, &room) {
            return None;
        }
        let mut budget = Budget(problem.budget());
        let found = if self.apart(problem, &room) {
            apart::best(self, problem, scale, inner, &budget)
        } else {
            let mut space = Together::new(self, problem, scale, inner);
            search::cheapest(&mut space, &mut budget, None)
        };
        let (cost, choices) = found.best?;
        let mut hosts = vec![0; problem.vnodes.len()];
        for (n, vnodes) in &self.fixed {
            for v in vnodes {
                hosts[*v] = *n;
            }
        }
        for (v, n) in self.free.iter().zip(&choices) {
            hosts[*v] = *n;
        }
        Some(Placed {
            hosts,
            cost,
            bound: found.bound,
        })
    }
}

/// What it costs that memory and devices are where they are, before any host node is used: all of it is remote.
pub(super) fn nowhere<W: Number>(problem: &Problem<'_>, scale: &Scale<W>) -> W {
    let (resident, devices) = problem.everywhere();
    let mut cost = scale.of(Item::RemoteMemory, resident);
    cost.add(&scale.of(Item::RemoteDevices, devices));
    cost
}

/// What of that is saved by using a host node.
pub(super) fn saved<W: Number>(problem: &Problem<'_>, scale: &Scale<W>, node: usize) -> W {
    let (resident, devices) = problem.there(node);
    let mut cost = scale.of(Item::RemoteMemory, resident);
    cost.add(&scale.of(Item::RemoteDevices, devices));
    cost
}
