//! The cheapest way to give every row a column of its own, where columns are in groups and each group takes so many rows: the
//! assignment problem, by the Hungarian method. The columns of a group that no row gets are held by stand-ins, which cost
//! nothing and can be on any column of their group. So every column is held, and of all cheapest ways the first in order is found
//! by moving rows along edges whose cost is fully accounted for.

use super::number::Number;

/// Which columns take how many rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Groups {
    /// The group of each column.
    pub of: Vec<usize>,
    /// How many rows each group takes, together as many as there are.
    pub takes: Vec<usize>,
}

/// A cheapest assignment, with the proof that it is one: no edge costs less than row and column account for.
pub(super) struct Assignment<'a, W> {
    costs: &'a [Vec<Option<W>>],
    groups: &'a Groups,
    /// The group of each stand-in; they are rows behind the others.
    idle: Vec<usize>,
    nothing: W,
    of_row: Vec<W>,
    /// With one more at the end, which stands for none.
    of_column: Vec<W>,
    /// The row on each column, with one more at the end.
    row_of: Vec<usize>,
}

const NOBODY: usize = usize::MAX;

impl Groups {
    /// All columns in one group.
    pub(super) fn one(columns: usize, rows: usize) -> Self {
        Self {
            of: vec![0; columns],
            takes: vec![rows],
        }
    }
}

/// A cheapest assignment; `None`: there is none. `costs` has a row for each thing to be placed, with what it costs in each column,
/// `None` where it can't be.
pub(super) fn cheapest<'a, W: Number>(
    costs: &'a [Vec<Option<W>>],
    groups: &'a Groups,
) -> Option<Assignment<'a, W>> {
    let columns = groups.of.len();
    let mut found = Assignment {
        costs,
        groups,
        idle: Vec::new(),
        nothing: W::nothing(),
        of_row: Vec::new(),
        of_column: vec![W::nothing(); columns + 1],
        row_of: vec![NOBODY; columns + 1],
    };
    let mut spare = vec![0_usize; groups.takes.len()];
    for group in &groups.of {
        spare[*group] += 1;
    }
    for (spare, takes) in spare.iter_mut().zip(&groups.takes) {
        *spare = spare.checked_sub(*takes)?;
    }
    // on the last columns, as rows take the first ones that are cheap
    for column in (0..columns).rev() {
        let group = groups.of[column];
        if groups.takes[group] > 0 && spare[group] > 0 {
            spare[group] -= 1;
            found.row_of[column] = costs.len() + found.idle.len();
            found.idle.push(group);
        }
    }
    found.of_row = vec![W::nothing(); costs.len() + found.idle.len()];
    for row in 0..costs.len() {
        found.insert(row)?;
    }
    Some(found)
}

impl<W: Number> Assignment<'_, W> {
    /// What it costs.
    pub(super) fn cost(&self) -> W {
        let mut sum = W::nothing();
        for (column, row) in self.row_of[..self.groups.of.len()].iter().enumerate() {
            if let Some(Some(cost)) = self.costs.get(*row).map(|row| &row[column]) {
                sum.add(cost);
            }
        }
        sum
    }

    /// Whether a row is on a column in some cheapest assignment of those that hold every column where this says so.
    pub(super) fn is_tight(&self, row: usize, column: usize) -> bool {
        let accounted = self.of_row[row].plus(&self.of_column[column]);
        self.edge(row, column)
            .is_some_and(|cost| *cost == accounted)
    }

    /// Whether a row is on this column in every cheapest assignment: no stand-in is as cheap there.
    pub(super) fn is_needed(&self, column: usize) -> bool {
        (0..self.idle.len()).all(|idle| !self.is_tight(self.costs.len() + idle, column))
    }

    /// The columns of all rows: of all cheapest assignments the one with the lowest column of the first row, then of the second,
    /// and so on.
    pub(super) fn first(&mut self) -> Vec<usize> {
        let columns = self.groups.of.len();
        let mut fixed = vec![false; columns];
        let mut places = Vec::with_capacity(self.costs.len());
        for row in 0..self.costs.len() {
            let found = (0..columns).find(|column| self.takes(row, *column, &fixed));
            if let Some(column) = found {
                fixed[column] = true;
                places.push(column);
            }
        }
        places
    }

    /// Gives a row a column, with others moving for it, if that is as cheap; those that are `fixed` stay.
    fn takes(&mut self, row: usize, column: usize, fixed: &[bool]) -> bool {
        if fixed[column] || !self.is_tight(row, column) {
            return false;
        }
        let mut seen = fixed.to_vec();
        seen[column] = true;
        let holder = self.row_of[column];
        let can = holder == row || self.moves(holder, row, &mut seen);
        if can {
            self.row_of[column] = row;
        }
        can
    }

    /// Moves a row to another column, and whoever is there on, until someone is on the column that `row` leaves.
    fn moves(&mut self, mover: usize, row: usize, seen: &mut [bool]) -> bool {
        for column in 0..seen.len() {
            if seen[column] || !self.is_tight(mover, column) {
                continue;
            }
            seen[column] = true;
            if self.row_of[column] == row || self.moves(self.row_of[column], row, seen) {
                self.row_of[column] = mover;
                return true;
            }
        }
        false
    }

    fn edge(&self, row: usize, column: usize) -> Option<&W> {
        let group = self.groups.of[column];
        match self.costs.get(row) {
            Some(costs) => costs[column]
                .as_ref()
                .filter(|_| self.groups.takes[group] > 0),
            None => (self.idle[row - self.costs.len()] == group).then_some(&self.nothing),
        }
    }

    /// Places one more row, along the cheapest way on which others move for it.
    fn insert(&mut self, row: usize) -> Option<()> {
        let none = self.groups.of.len();
        self.row_of[none] = row;
        let mut column = none;
        let mut least: Vec<Option<W>> = vec![None; none];
        let mut way = vec![none; none];
        let mut done = vec![false; none + 1];
        while self.row_of[column] != NOBODY {
            done[column] = true;
            let row = self.row_of[column];
            let mut best: Option<(W, usize)> = None;
            for next in (0..none).filter(|next| !done[*next]) {
                if let Some(cost) = self.edge(row, next) {
                    let mut cost = cost.clone();
                    cost.sub(&self.of_row[row]);
                    cost.sub(&self.of_column[next]);
                    if least[next].as_ref().is_none_or(|least| cost < *least) {
                        least[next] = Some(cost);
                        way[next] = column;
                    }
                }
                if let Some(cost) = &least[next]
                    && best.as_ref().is_none_or(|(best, _)| cost < best)
                {
                    best = Some((cost.clone(), next));
                }
            }
            let (delta, next) = best?;
            for column in 0..=none {
                if done[column] {
                    self.of_row[self.row_of[column]].add(&delta);
                    self.of_column[column].sub(&delta);
                } else if let Some(least) = &mut least[column] {
                    least.sub(&delta);
                }
            }
            column = next;
        }
        while column != none {
            self.row_of[column] = self.row_of[way[column]];
            column = way[column];
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All assignments with their costs, in order.
    fn every(
        costs: &[Vec<Option<i128>>],
        groups: &Groups,
        row: &mut Vec<usize>,
        all: &mut Vec<(i128, Vec<usize>)>,
    ) {
        let Some(next) = costs.get(row.len()) else {
            let count = |group: usize| row.iter().filter(|c| groups.of[**c] == group).count();
            if (0..groups.takes.len()).all(|group| count(group) == groups.takes[group]) {
                let cost = row.iter().zip(costs).filter_map(|(c, costs)| costs[*c]);
                all.push((cost.sum(), row.clone()));
            }
            return;
        };
        for (column, cost) in next.iter().enumerate() {
            if cost.is_some() && !row.contains(&column) {
                row.push(column);
                every(costs, groups, row, all);
                row.pop();
            }
        }
    }

    proptest! {
        #[test]
        fn the_first_cheapest_assignment_is_found_and_what_all_of_them_have_in_common(
            rows in 1_usize..5,
            of in prop::collection::vec(0_usize..3, 6),
            costs in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.8, -3_i128..4), 6), 4),
            wanted in prop::collection::vec(0_usize..3, 4),
        ) {
            let costs = &costs[..rows];
            let mut takes = vec![0; 3];
            wanted[..rows].iter().for_each(|group| takes[*group] += 1);
            let groups = Groups { of, takes };
            let mut all = Vec::new();
            every(costs, &groups, &mut Vec::new(), &mut all);
            all.sort();
            let found = cheapest(costs, &groups);
            prop_assert_eq!(found.as_ref().map(Assignment::cost), all.first().map(|(cost, _)| *cost));
            if let Some(mut found) = found {
                let least = all[0].0;
                let mut both = Vec::new();
                let tight: Vec<Vec<Option<i128>>> = (0..rows)
                    .map(|row| (0..6).map(|c| costs[row][c].filter(|_| found.is_tight(row, c))).collect())
                    .collect();
                every(&tight, &groups, &mut Vec::new(), &mut both);
                let one = groups.takes.iter().filter(|takes| **takes > 0).count() == 1;
                let needed = |row: &[usize]| {
                    let open = |c: &usize| groups.takes[groups.of[*c]] > 0;
                    (0..6).filter(open).all(|c| !found.is_needed(c) || row.contains(&c))
                };
                both.retain(|(_, row)| needed(row));
                both.sort();
                all.retain(|(cost, _)| *cost == least);
                if one {
                    prop_assert_eq!(&both, &all);
                }
                prop_assert_eq!(found.first(), all[0].1.clone());
            }
        }
    }
}
