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
    /// A better bound that takes longer; `None`: there is no better one.
    fn better_bound(&mut self) -> Option<Self::Cost> {
        None
    }
    /// How much work the last steps were, in about as many nanoseconds.
    fn work(&mut self) -> u64;
    /// Two rows of choices with equal keys can go on in the same ways at the same further cost. With the cost so far.
    fn key(&self) -> Option<(Self::Key, Self::Cost)>;
}

/// What a search found.
pub(super) struct Found<C> {
    /// The best result: its cost and its choices; `None`: there is none, or none within the ceiling.
    pub best: Option<(C, Vec<usize>)>,
    /// Nothing costs less than this; `None`: nothing costs less than the best.
    pub bound: Option<C>,
}

/// How much work may be done until the best result so far is taken (once there is one: a search for any result at all never
/// stops early). Work is counted, not timed, so that the same input gives the same result everywhere.
pub(super) struct Budget(pub Option<u64>);

/// The cheapest result, and of several the first in order. Results that cost more than `ceiling` are not looked for.
pub(super) fn cheapest<S: Space>(
    space: &mut S,
    budget: &mut Budget,
    ceiling: Option<&S::Cost>,
) -> Found<S::Cost> {
    let whole = budget.0;
    let mut search = Search::new(budget.0);
    search.ceiling = ceiling.cloned();
    search.descend(space);
    if let Some(left) = &mut budget.0 {
        *left = left.saturating_sub(search.work);
    }
    let mut best = search.best;
    let high = best.as_ref().map(|(cost, _)| cost).or(ceiling);
    let bound = search
        .open
        .filter(|open| high.is_none_or(|high| open < high));
    if let (Some((cost, _)), None) = (&best, &bound) {
        // the first in order of all that cost as much: no further proof is needed once it is found
        let mut ordered = Search::new(whole);
        ordered.target = Some(cost.clone());
        ordered.best = best;
        ordered.descend(space);
        best = ordered.best;
    }
    Found { best, bound }
}

struct Search<S: Space> {
    best: Option<(S::Cost, Vec<usize>)>,
    /// The lowest bound of what was not looked into.
    open: Option<S::Cost>,
    /// The cost to be reached again, in order.
    target: Option<S::Cost>,
    done: bool,
    /// The highest cost that is of interest.
    ceiling: Option<S::Cost>,
    work: u64,
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
            ceiling: None,
            work: 0,
            budget,
            seen: BTreeMap::new(),
            row: Vec::new(),
            levels: Vec::new(),
            buffer: Vec::new(),
        }
    }

    fn stopped(&self) -> bool {
        let some = self.best.is_some() || self.ceiling.is_some();
        some && self.budget.is_some_and(|budget| self.work > budget)
    }

    fn hopeless(&self, bound: &S::Cost) -> bool {
        match (&self.target, &self.best) {
            (Some(target), _) => bound > target,
            (None, Some((best, _))) => bound >= best,
            (None, None) => self.ceiling.as_ref().is_some_and(|ceiling| bound > ceiling),
        }
    }

    fn descend(&mut self, space: &mut S) {
        if space.complete() {
            self.arrive(space);
            return;
        }
        if space
            .better_bound()
            .is_some_and(|bound| self.hopeless(&bound))
        {
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
            if let Some(bound) = space.bound() {
                next.push((bound, choice));
            }
            space.pop();
        }
        self.buffer = buffer;
        self.work += space.work();
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
