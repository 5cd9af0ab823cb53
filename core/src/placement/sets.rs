//! Which sets of host nodes the best plan can be on, where every free virtual node gets a host node of its own.
//!
//! The items before `distance` add up over virtual nodes, so an assignment says how low they can be. `distance` depends on the set
//! alone, not on who is where. So the best sets are those with the lowest distance of all on which that assignment can be had; what
//! stands behind `distance` is then a matter of who is where on one of them. Sets are gone through in narrow whole numbers, host
//! node by host node; the bound adds to the distances of those taken the host nodes that are left and nearest, each with half of
//! the distances to its nearest neighbours, as a sum over pairs counts each pair from both ends.

use super::matching;

/// What decides on the sets.
pub(super) struct Sets {
    /// By free virtual node and host node: the items before `distance`, packed; `None`: it can't be there.
    pub single: Vec<Vec<Option<i128>>>,
    /// How far apart two host nodes are.
    pub distance: Vec<Vec<u64>>,
    /// How far a host node is from all those that are in use anyway.
    pub to_fixed: Vec<u64>,
}

/// The best sets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Best {
    /// The sum of the distances within such a set, and from it to the host nodes in use anyway.
    pub distance: u64,
    /// The host nodes of each, ascending.
    pub sets: Vec<Vec<usize>>,
}

/// More sets are not worth remembering.
const MOST: usize = 1024;

struct Walk<'a> {
    sets: &'a Sets,
    /// How many host nodes a set has.
    size: usize,
    /// The items before `distance` at their lowest.
    lowest: i128,
    /// For each host node the others that anybody can be on, the nearest first.
    near: Vec<Vec<usize>>,
    open: Vec<bool>,
    taken: Vec<usize>,
    /// How far each host node is from those taken and from those in use anyway.
    to_taken: Vec<u64>,
    best: Option<Best>,
    too_many: bool,
    scratch: Vec<u64>,
    /// In about as many nanoseconds.
    work: u64,
}

impl Sets {
    /// The best sets, of which there is at least one; `None`: there are too many, or it would be more work than `budget`.
    pub(super) fn best(&self, budget: u64) -> Option<Best> {
        // host nodes with near neighbours first: good sets are found early, and the others seen to be worse
        let near = |n: usize| -> u64 {
            let mut all = self.distance[n].clone();
            all.sort_unstable();
            all.iter().take(self.single.len()).sum()
        };
        let mut order: Vec<usize> = (0..self.distance.len()).collect();
        order.sort_by_key(|n| self.to_fixed[*n] + near(*n));
        let mut best = self.ordered(&order).walk(budget)?;
        for set in &mut best.sets {
            set.iter_mut().for_each(|n| *n = order[*n]);
            set.sort_unstable();
        }
        Some(best)
    }

    /// The same with the host nodes in another order.
    fn ordered(&self, order: &[usize]) -> Self {
        fn of<T: Clone>(row: &[T], order: &[usize]) -> Vec<T> {
            order.iter().map(|n| row[*n].clone()).collect()
        }
        let distance = order.iter().map(|n| of(&self.distance[*n], order));
        Self {
            single: self.single.iter().map(|row| of(row, order)).collect(),
            distance: distance.collect(),
            to_fixed: of(&self.to_fixed, order),
        }
    }

    fn walk(&self, budget: u64) -> Option<Best> {
        let nodes = 0..self.distance.len();
        let open = |n: &usize| self.single.iter().any(|row| row[*n].is_some());
        let near = nodes.clone().map(|n| {
            let mut near: Vec<usize> = nodes.clone().filter(|m| *m != n && open(m)).collect();
            near.sort_by_key(|m| self.distance[n][*m]);
            near
        });
        let mut walk = Walk {
            sets: self,
            size: self.single.len(),
            lowest: matching::cheapest(&self.single)?,
            near: near.collect(),
            open: nodes.map(|n| open(&n)).collect(),
            taken: Vec::new(),
            to_taken: self.to_fixed.clone(),
            best: None,
            too_many: false,
            scratch: Vec::new(),
            work: 0,
        };
        walk.go_on(0, 0, budget);
        (!walk.too_many && walk.work <= budget)
            .then_some(walk.best)
            .flatten()
    }
}

impl Walk<'_> {
    /// Takes or leaves the host nodes from `next` on; those taken have the sum `distance`.
    fn go_on(&mut self, next: usize, distance: u64, budget: u64) {
        if self.taken.len() == self.size {
            self.arrive(distance);
            return;
        }
        let bound = self.bound(next, distance);
        let Some(bound) = bound.filter(|_| self.work <= budget) else {
            return;
        };
        // once there are too many of a distance, only a lower one is of interest
        let wanted = |best: &Best| bound < 2 * best.distance + u64::from(!self.too_many);
        if !self.best.as_ref().is_none_or(wanted) {
            return;
        }
        if self.open[next] {
            let more = self.to_taken[next];
            self.taken.push(next);
            self.shift(next, u64::wrapping_add);
            self.go_on(next + 1, distance + more, budget);
            self.shift(next, u64::wrapping_sub);
            self.taken.pop();
        }
        self.go_on(next + 1, distance, budget);
    }

    fn shift(&mut self, node: usize, by: fn(u64, u64) -> u64) {
        for (sum, distance) in self.to_taken.iter_mut().zip(&self.sets.distance[node]) {
            *sum = by(*sum, *distance);
        }
    }

    /// Twice what the distances of a set are at least; `None`: too few host nodes are left.
    fn bound(&mut self, next: usize, distance: u64) -> Option<u64> {
        let more = self.size - self.taken.len();
        self.scratch.clear();
        for n in (next..self.open.len()).filter(|n| self.open[*n]) {
            let left = self.near[n].iter().filter(|m| **m >= next);
            let near: u64 = left.take(more - 1).map(|m| self.sets.distance[n][*m]).sum();
            self.scratch.push(2 * self.to_taken[n] + near);
        }
        self.work += (self.scratch.len() * (more + 4)) as u64;
        if self.scratch.len() < more {
            return None;
        }
        self.scratch.select_nth_unstable(more - 1);
        Some(2 * distance + self.scratch[..more].iter().sum::<u64>())
    }

    /// Whether the cheapest of each row, and the cheapest of each column, come to no more than the lowest assignment.
    fn is_hopeful(&self, there: &[Vec<Option<i128>>]) -> bool {
        let rows = there.iter().map(|row| row.iter().flatten().min().copied());
        let columns = (0..self.size).map(|c| there.iter().filter_map(|row| row[c]).min());
        let within = |sum: Option<i128>| sum.is_some_and(|sum| sum <= self.lowest);
        within(rows.sum()) && within(columns.sum())
    }

    fn arrive(&mut self, distance: u64) {
        let known = self.best.as_ref().map(|best| best.distance);
        if known.is_some_and(|known| distance > known) {
            return;
        }
        let of = |row: &Vec<Option<i128>>| self.taken.iter().map(|n| row[*n]).collect();
        let there: Vec<Vec<Option<i128>>> = self.sets.single.iter().map(of).collect();
        self.work += (4 * self.size * self.size) as u64;
        if !self.is_hopeful(&there) {
            return;
        }
        self.work += (20 * self.size * self.size) as u64;
        if matching::cheapest(&there) != Some(self.lowest) {
            return;
        }
        let set = self.taken.clone();
        match &mut self.best {
            Some(best) if best.distance == distance => {
                self.too_many |= best.sets.len() == MOST;
                if !self.too_many {
                    best.sets.push(set);
                }
            }
            best => {
                self.too_many = false;
                *best = Some(Best {
                    distance,
                    sets: vec![set],
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All sets of so many of `nodes`.
    fn every(nodes: usize, size: usize) -> Vec<Vec<usize>> {
        let of = |bits: u32| (0..nodes).filter(|n| bits >> n & 1 == 1).collect();
        let all = (0..1_u32 << nodes).map(of);
        all.filter(|set: &Vec<usize>| set.len() == size).collect()
    }

    proptest! {
        #[test]
        fn no_set_is_better_and_none_is_missing(
            single in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.8, 0_i128..3), 7), 1..5),
            far in prop::collection::vec(prop::collection::vec(10_u64..14, 7), 7),
            to_fixed in prop::collection::vec(0_u64..3, 7),
        ) {
            let pair = |a: usize, b: usize| if a == b { 0 } else { far[a.min(b)][a.max(b)] };
            let distance: Vec<Vec<u64>> = (0..7).map(|a| (0..7).map(|b| pair(a, b)).collect()).collect();
            let size = single.len();
            let sets = Sets { single, distance, to_fixed: to_fixed.clone() };
            let there = |set: &[usize]| {
                let of = |row: &Vec<Option<i128>>| set.iter().map(|n| row[*n]).collect();
                matching::cheapest(&sets.single.iter().map(of).collect::<Vec<_>>())
            };
            let within = |set: &[usize]| -> u64 {
                let pairs = set.iter().flat_map(|a| set.iter().filter(move |b| *b < a).map(move |b| pair(*a, *b)));
                pairs.sum::<u64>() + set.iter().map(|n| to_fixed[*n]).sum::<u64>()
            };
            let costs = every(7, size).into_iter().filter_map(|set| Some(((there(&set)?, within(&set)), set)));
            let costs: Vec<_> = costs.collect();
            let least = costs.iter().map(|(cost, _)| *cost).min();
            let best = costs.into_iter().filter(|(cost, _)| Some(*cost) == least).map(|(_, set)| set);
            let mut best: Vec<Vec<usize>> = best.collect();
            let found = sets.best(u64::MAX);
            let mut found_sets = found.as_ref().map(|found| found.sets.clone()).unwrap_or_default();
            best.sort();
            found_sets.sort();
            prop_assert_eq!(found.map(|found| found.distance), least.map(|(_, distance)| distance));
            prop_assert_eq!(found_sets, best);
        }
    }
}
