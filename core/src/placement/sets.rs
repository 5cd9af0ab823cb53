//! The sets of host nodes on which every free virtual node gets a host node of its own, the nearest first in question.
//!
//! What a plan costs behind `distance` matters only among sets that are equally near. `distance` depends on the set alone, not on
//! who is where, and less than that: host nodes that are as far as each other from all others are of one class, and all sets
//! with so many of each class are equally near. So the search goes through classes and decides how many host nodes of each are
//! taken, in narrow whole numbers. Its bound adds to the distances of those taken the host nodes that are left and nearest, each
//! with half of the distances to its nearest neighbours, as a sum over pairs counts each pair from both ends. It never goes
//! where the virtual nodes have no place, so it has no dead ends.

use super::assign::Groups;
use super::places;

/// What decides on the sets.
pub(super) struct Sets {
    /// By free virtual node the host nodes it can be on, ascending.
    pub open: Vec<Vec<usize>>,
    /// By host node whether every set must have it.
    pub needed: Vec<bool>,
    /// How far apart two host nodes are; a host node from itself: 0.
    pub distance: Vec<Vec<u64>>,
    /// How far a host node is from all those that are in use anyway.
    pub to_fixed: Vec<u64>,
    /// In about as many nanoseconds, what it takes to look at what is behind `distance`.
    pub effort: u64,
}

/// Sets with so many host nodes of each group, and what they are compared with the nearest seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Some of them may be as near. Whether it is worth looking closer is asked.
    Maybe,
    /// All of them are as near.
    AsNear,
    /// All of them are nearer.
    Nearer,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Nearest {
    /// The lowest sum of the distances within a set, and from it to the host nodes in use anyway.
    pub distance: u64,
    /// No set that was not looked at is nearer than this; `None`: all were.
    pub open: Option<u64>,
}

/// So often it is asked whether sets are worth it for each time that some were seen: it takes as long, and where hardly any set is
/// as near as the nearest it says little.
const ASKED: usize = 4;

struct Walk<'a> {
    sets: &'a Sets,
    /// The host nodes of each class; those that are needed are alone.
    classes: Vec<Vec<usize>>,
    /// How far apart a host node of one class is from one of another, or of the same.
    between: Vec<Vec<u64>>,
    /// The classes by their distance from one.
    near: Vec<Vec<(u64, usize)>>,
    /// How many host nodes of each class are taken, and behind them how many of all that are not decided yet.
    groups: Groups,
    /// How far a host node of a class is from those taken and from those in use anyway.
    to_taken: Vec<u64>,
    best: Option<u64>,
    open: Option<u64>,
    /// The places of the virtual nodes the last time that they had one; none at first.
    places: Vec<usize>,
    /// How often sets that may be as near were asked for, and how often sets were seen.
    asked: usize,
    seen: usize,
    scratch: Vec<u64>,
    work: u64,
    budget: Option<u64>,
}

impl Sets {
    /// The nearest sets there are; `see` is shown those that are or may be among them. Stops when that is more work than `budget`.
    pub(super) fn walk(
        &self,
        budget: Option<u64>,
        see: &mut dyn FnMut(&Groups, Seen) -> bool,
    ) -> Option<Nearest> {
        let mut walk = Walk::new(self, budget);
        walk.go_on(0, 0, see);
        Some(Nearest {
            distance: walk.best?,
            open: walk.open,
        })
    }

    /// Host nodes that are as far as each other from all others are of one class.
    fn classes(&self) -> Vec<Vec<usize>> {
        let mut classes: Vec<Vec<usize>> = Vec::new();
        for n in 0..self.distance.len() {
            let like = classes.iter_mut().find(|class| self.are_alike(class[0], n));
            match like {
                Some(class) => class.push(n),
                None => classes.push(vec![n]),
            }
        }
        classes
    }

    fn are_alike(&self, a: usize, b: usize) -> bool {
        let (from_a, from_b) = (&self.distance[a], &self.distance[b]);
        let others = |n: &usize| *n != a && *n != b;
        !self.needed[a]
            && !self.needed[b]
            && self.to_fixed[a] == self.to_fixed[b]
            && (0..from_a.len())
                .filter(others)
                .all(|n| from_a[n] == from_b[n])
    }
}

impl<'a> Walk<'a> {
    fn new(sets: &'a Sets, budget: Option<u64>) -> Self {
        let size = sets.open.len();
        // those that are needed first; then those with near neighbours: good sets are found early, and others seen to be worse
        let near = |n: usize| -> u64 {
            let mut all = sets.distance[n].clone();
            all.sort_unstable();
            all.iter().take(size).sum()
        };
        let mut classes = sets.classes();
        classes.sort_by_cached_key(|class| {
            let n = class[0];
            (!sets.needed[n], sets.to_fixed[n] + near(n), n)
        });
        // of two in one class: the distance of any two
        let apart = |a: &Vec<usize>, b: &Vec<usize>| match a[0] == b[0] {
            true => a.get(1).map_or(0, |n| sets.distance[a[0]][*n]),
            false => sets.distance[a[0]][b[0]],
        };
        let row = |a| classes.iter().map(|b| apart(a, b)).collect();
        let between: Vec<Vec<u64>> = classes.iter().map(row).collect();
        let near = between.iter().map(|row| {
            let mut near: Vec<(u64, usize)> = row.iter().copied().zip(0..).collect();
            near.sort_unstable();
            near
        });
        let mut takes = vec![0; classes.len() + 1];
        takes[classes.len()] = size;
        Self {
            near: near.collect(),
            groups: Groups {
                of: vec![classes.len(); sets.distance.len()],
                takes,
            },
            to_taken: classes
                .iter()
                .map(|class| sets.to_fixed[class[0]])
                .collect(),
            between,
            classes,
            sets,
            best: None,
            open: None,
            places: vec![places::NONE; size],
            asked: 0,
            seen: 0,
            scratch: Vec::new(),
            work: 0,
            budget,
        }
    }

    /// How many host nodes are still to be taken.
    fn more(&self) -> usize {
        self.groups.takes[self.classes.len()]
    }

    /// Decides on the classes from `next` on; the host nodes taken have the sum `distance`.
    fn go_on(&mut self, next: usize, distance: u64, see: &mut dyn FnMut(&Groups, Seen) -> bool) {
        if self.more() == 0 {
            self.arrive(distance, see);
            return;
        }
        let Some(bound) = self.bound(next) else {
            return;
        };
        let bound = distance + bound;
        if let Some(best) = self.best {
            if bound > best {
                return;
            }
            if self.budget.is_some_and(|budget| self.work > budget) {
                self.open = Some(self.open.map_or(bound, |open| open.min(bound)));
                return;
            }
            if bound == best && self.asked < ASKED * self.seen {
                self.asked += 1;
                self.work += self.sets.effort;
                if !see(&self.groups, Seen::Maybe) {
                    return;
                }
            }
        }
        let most = self.classes[next].len().min(self.more());
        let least = usize::from(self.sets.needed[self.classes[next][0]]);
        for count in (least..=most).rev() {
            self.decide(next, count);
            if self.have_place() {
                let (n, inner) = (count as u64, self.between[next][next]);
                let pairs = n * n.saturating_sub(1) / 2;
                let more = n * self.to_taken[next] + pairs * inner;
                self.shift(next, n, u64::wrapping_add);
                self.go_on(next + 1, distance + more, see);
                self.shift(next, n, u64::wrapping_sub);
            }
            self.undo(next, count);
        }
    }

    fn arrive(&mut self, distance: u64, see: &mut dyn FnMut(&Groups, Seen) -> bool) {
        let seen = match self.best {
            Some(best) if distance > best => return,
            Some(best) if distance == best => Seen::AsNear,
            _ => Seen::Nearer,
        };
        self.seen += 1;
        self.work += self.sets.effort;
        self.best = Some(distance);
        see(&self.groups, seen);
    }

    fn decide(&mut self, class: usize, count: usize) {
        let rest = self.classes.len();
        self.groups.takes[class] = count;
        self.groups.takes[rest] -= count;
        for n in &self.classes[class] {
            self.groups.of[*n] = class;
        }
    }

    fn undo(&mut self, class: usize, count: usize) {
        let rest = self.classes.len();
        self.groups.takes[class] = 0;
        self.groups.takes[rest] += count;
        for n in &self.classes[class] {
            self.groups.of[*n] = rest;
        }
    }

    fn shift(&mut self, class: usize, count: u64, by: fn(u64, u64) -> u64) {
        for (sum, distance) in self.to_taken.iter_mut().zip(&self.between[class]) {
            *sum = by(*sum, count * distance);
        }
    }

    /// What the distances of those still to be taken are at least; `None`: too few host nodes are left.
    fn bound(&mut self, next: usize) -> Option<u64> {
        let more = self.more();
        self.scratch.clear();
        for class in next..self.classes.len() {
            let mut twice = 2 * self.to_taken[class];
            let mut others = more - 1;
            for (distance, near) in &self.near[class] {
                if others == 0 {
                    break;
                }
                if *near >= next {
                    let there = self.classes[*near].len() - usize::from(*near == class);
                    let taken = there.min(others);
                    twice += taken as u64 * distance;
                    others -= taken;
                }
            }
            let count = self.classes[class].len().min(more);
            self.scratch.extend(std::iter::repeat_n(twice, count));
        }
        self.work += (self.scratch.len() * (more + 4)) as u64;
        if self.scratch.len() < more {
            return None;
        }
        self.scratch.select_nth_unstable(more - 1);
        Some(self.scratch[..more].iter().sum::<u64>().div_ceil(2))
    }

    /// Whether every virtual node has a place where each group takes no more than it is to take.
    fn have_place(&mut self) -> bool {
        let found = places::found(&self.sets.open, &self.groups, &mut self.places);
        self.work += 4 * self.groups.of.len() as u64;
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::assign;
    use super::*;

    /// All sets of so many of `nodes`.
    fn every(nodes: usize, size: usize) -> Vec<Vec<usize>> {
        let of = |bits: u32| (0..nodes).filter(|n| bits >> n & 1 == 1).collect();
        let all = (0..1_u32 << nodes).map(of);
        all.filter(|set: &Vec<usize>| set.len() == size).collect()
    }

    fn is_of(groups: &Groups, set: &[usize]) -> bool {
        let count = |group: usize| set.iter().filter(|n| groups.of[**n] == group).count();
        (0..groups.takes.len()).all(|group| count(group) == groups.takes[group])
    }

    proptest! {
        #[test]
        fn no_set_is_nearer_and_none_as_near_is_missing(
            open in prop::collection::vec(prop::collection::vec(prop::bool::weighted(0.7), 7), 1..5),
            far in prop::collection::vec(prop::collection::vec(10_u64..12, 7), 7),
            blocks in prop::option::of(prop::collection::vec(0_usize..3, 7)),
            to_fixed in prop::option::of(prop::collection::vec(0_u64..3, 7)),
        ) {
            let of_block = |n: usize| blocks.as_ref().map_or(n, |blocks| blocks[n]);
            let pair = |a: usize, b: usize| {
                let (c, d) = (of_block(a), of_block(b));
                if a == b { 0 } else { far[c.min(d)][c.max(d)] }
            };
            let distance: Vec<Vec<u64>> = (0..7).map(|a| (0..7).map(|b| pair(a, b)).collect()).collect();
            let size = open.len();
            let costs: Vec<Vec<Option<i128>>> = open.iter().map(|row| row.iter().map(|open| open.then_some(0)).collect()).collect();
            let one = Groups::one(7, size);
            let Some(proof) = assign::cheapest(&costs, &one) else {
                return Ok(());
            };
            let sets = Sets {
                open: open.iter().map(|row| (0..7).filter(|n| row[*n]).collect()).collect(),
                needed: (0..7).map(|n| proof.is_needed(n)).collect(),
                distance,
                to_fixed: to_fixed.unwrap_or_else(|| vec![0; 7]),
                effort: 0,
            };
            let has_place = |set: &[usize]| {
                let only: Vec<Vec<Option<i128>>> = costs.iter().map(|row| set.iter().map(|n| row[*n]).collect()).collect();
                assign::cheapest(&only, &Groups::one(size, size)).is_some()
            };
            let within = |set: &[usize]| -> u64 {
                let pairs = set.iter().flat_map(|a| set.iter().filter(move |b| *b < a).map(move |b| pair(*a, *b)));
                pairs.sum::<u64>() + set.iter().map(|n| sets.to_fixed[*n]).sum::<u64>()
            };
            let all: Vec<Vec<usize>> = every(7, size).into_iter().filter(|set| has_place(set)).collect();
            let least = all.iter().map(|set| within(set)).min();
            let mut shown: Vec<Groups> = Vec::new();
            let found = sets.walk(None, &mut |groups, seen| {
                match seen {
                    Seen::Maybe => return true,
                    Seen::Nearer => shown.clear(),
                    Seen::AsNear => {}
                }
                shown.push(groups.clone());
                true
            });
            prop_assert_eq!(found.map(|found| (Some(found.distance), found.open)), Some((least, None)));
            for set in all {
                let times = shown.iter().filter(|groups| is_of(groups, &set)).count();
                prop_assert_eq!(times, usize::from(Some(within(&set)) == least), "{:?}", set);
            }
        }
    }
}
