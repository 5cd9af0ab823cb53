//! A branch-and-bound that proves its result, finds the first one in order among equals, and stops at a budget of steps.

use std::collections::BTreeMap;

/// A tree of choices. A choice is a number; lower ones come first among results of equal cost.
pub(super) trait Space {
    /// What is minimised.
    type Cost: Ord + Clone;
    /// What decides how things can go on.
    type Key: Ord;

    /// The choices that are open now; none at a leaf. Puts them into `choices`.
    fn choices(&self, choices: &mut Vec<usize>);
    /// Makes a choice.
    fn push(&mut self, choice: usize);
    /// Takes the last choice back.
    fn pop(&mut self);
    /// Whether all choices are made.
    fn complete(&self) -> bool;
    /// The cost, if all choices are made; `None`: these choices lead nowhere.
    fn cost(&self) -> Option<Self::Cost>;
    /// No result below these choices costs less; `None`: there is none.
    fn bound(&mut self) -> Option<Self::Cost>;
    /// Two rows of choices with equal keys can go on in the same ways at the same further cost. With the cost so far.
    fn key(&self) -> Option<(Self::Key, Self::Cost)>;
}

/// What a search found.
pub(super) struct Found<C> {
    /// The choices.
    pub choices: Vec<usize>,
    /// What they cost.
    pub cost: C,
    /// No result costs less than this; `None`: none costs less than `cost`.
    pub bound: Option<C>,
}

/// The cheapest result, and of several the first in order. `budget` is the number of steps after which the best result so far
/// is taken (once there is one: a search for any result at all never stops early).
pub(super) fn cheapest<S: Space>(space: &mut S, budget: Option<u64>) -> Option<Found<S::Cost>> {
    let mut search = Search::new(budget);
    search.descend(space);
    let (cost, choices) = search.best?;
    let bound = search.open.filter(|open| *open < cost);
    if bound.is_some() {
        return Some(Found {
            choices,
            cost,
            bound,
        });
    }
    // the first of all results that cost the same; no further proof is needed once it is found
    let mut ordered = Search::new(budget);
    ordered.target = Some(cost.clone());
    ordered.best = Some((cost, choices));
    ordered.descend(space);
    let (cost, choices) = ordered.best?;
    Some(Found {
        choices,
        cost,
        bound,
    })
}

struct Search<S: Space> {
    best: Option<(S::Cost, Vec<usize>)>,
    /// The lowest bound of what was not looked into.
    open: Option<S::Cost>,
    /// The cost to be reached again, in order.
    target: Option<S::Cost>,
    done: bool,
    steps: u64,
    budget: Option<u64>,
    seen: BTreeMap<S::Key, S::Cost>,
    row: Vec<usize>,
    /// Room for the choices of each level, used again and again.
    levels: Vec<Vec<(S::Cost, usize)>>,
    buffer: Vec<usize>,
}

/// More states than this are not remembered: memory is bounded, the result is the same.
const REMEMBERED: usize = 1 << 20;

impl<S: Space> Search<S> {
    fn new(budget: Option<u64>) -> Self {
        Self {
            best: None,
            open: None,
            target: None,
            done: false,
            steps: 0,
            budget,
            seen: BTreeMap::new(),
            row: Vec::new(),
            levels: Vec::new(),
            buffer: Vec::new(),
        }
    }

    fn stopped(&self) -> bool {
        self.best.is_some() && self.budget.is_some_and(|budget| self.steps > budget)
    }

    fn hopeless(&self, bound: &S::Cost) -> bool {
        match (&self.target, &self.best) {
            (Some(target), _) => bound > target,
            (None, Some((best, _))) => bound >= best,
            (None, None) => false,
        }
    }

    fn descend(&mut self, space: &mut S) {
        if space.complete() {
            self.arrive(space);
            return;
        }
        if let Some((key, cost)) = space.key() {
            if self.seen.get(&key).is_some_and(|before| *before <= cost) {
                return;
            }
            if self.seen.len() < REMEMBERED {
                self.seen.insert(key, cost);
            }
        }
        let level = self.row.len();
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Vec::new);
        }
        let mut next = std::mem::take(&mut self.levels[level]);
        next.clear();
        let mut buffer = std::mem::take(&mut self.buffer);
        space.choices(&mut buffer);
        for choice in buffer.drain(..) {
            space.push(choice);
            self.steps += 1;
            if let Some(bound) = space.bound() {
                next.push((bound, choice));
            }
            space.pop();
        }
        self.buffer = buffer;
        if self.target.is_none() {
            // the most promising first; the second pass keeps the order of the choices
            next.sort_unstable();
        }
        for (bound, choice) in next.drain(..) {
            if self.done || self.hopeless(&bound) {
                continue;
            }
            if self.stopped() {
                if self.open.as_ref().is_none_or(|open| bound < *open) {
                    self.open = Some(bound);
                }
                continue;
            }
            space.push(choice);
            self.row.push(choice);
            self.descend(space);
            self.row.pop();
            space.pop();
        }
        self.levels[level] = next;
    }

    fn arrive(&mut self, space: &S) {
        let Some(cost) = space.cost() else { return };
        match &self.target {
            Some(target) if cost == *target => {
                self.best = Some((cost, self.row.clone()));
                self.done = true;
            }
            Some(_) => {}
            None => {
                if self.best.as_ref().is_none_or(|(best, _)| cost < *best) {
                    self.best = Some((cost, self.row.clone()));
                }
            }
        }
    }
}
