//! Places for rows in columns, where each group of columns takes so many rows: whether all rows have one.

use super::assign::Groups;

/// No place.
pub(super) const NONE: usize = usize::MAX;

/// Whether every row has a place of its own in a column that is open to it, with no more in a group than it takes. `places` are
/// those of rows found before, if any: they stay where that is still possible, and where all rows have one they are new.
pub(super) fn found(open: &[Vec<usize>], groups: &Groups, places: &mut [usize]) -> bool {
    let mut search = Search {
        open,
        groups,
        holder: vec![None; groups.of.len()],
        taken: vec![0; groups.takes.len()],
        seen: Vec::new(),
    };
    let homeless: Vec<usize> = (0..places.len())
        .filter(|row| !search.keep(*row, places[*row]))
        .collect();
    let all = homeless.iter().all(|row| {
        search.seen.clear();
        search.seen.resize(groups.of.len(), false);
        search.give(*row)
    });
    if all && !homeless.is_empty() {
        for (column, holder) in search.holder.iter().enumerate() {
            if let Some(row) = holder {
                places[*row] = column;
            }
        }
    }
    all
}

struct Search<'a> {
    open: &'a [Vec<usize>],
    groups: &'a Groups,
    /// The row in each column.
    holder: Vec<Option<usize>>,
    /// How many rows are in each group.
    taken: Vec<usize>,
    /// The columns that were asked for already, for the row that is given a place.
    seen: Vec<bool>,
}

impl Search<'_> {
    /// Lets a row have a place, if its group takes one more.
    fn keep(&mut self, row: usize, column: usize) -> bool {
        let Some(group) = self.groups.of.get(column) else {
            return false;
        };
        let fits = self.taken[*group] < self.groups.takes[*group];
        if fits {
            self.taken[*group] += 1;
            self.holder[column] = Some(row);
        }
        fits
    }

    /// Gives a row a place, and others another one where that is needed.
    fn give(&mut self, row: usize) -> bool {
        let open = self.open;
        for column in &open[row] {
            let (column, group) = (*column, self.groups.of[*column]);
            if self.groups.takes[group] == 0 || self.seen[column] {
                continue;
            }
            self.seen[column] = true;
            let free = match self.holder[column] {
                Some(holder) => self.give(holder),
                None if self.taken[group] < self.groups.takes[group] => {
                    self.taken[group] += 1;
                    true
                }
                None => self.leave(group),
            };
            if free {
                self.holder[column] = Some(row);
                return true;
            }
        }
        false
    }

    /// Has somebody leave a group.
    fn leave(&mut self, group: usize) -> bool {
        for column in 0..self.holder.len() {
            let Some(holder) = self.holder[column] else {
                continue;
            };
            if self.groups.of[column] != group || self.seen[column] {
                continue;
            }
            self.seen[column] = true;
            if self.give(holder) {
                self.holder[column] = None;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::assign;
    use super::*;

    proptest! {
        #[test]
        fn places_are_found_where_there_are_any(
            open in prop::collection::vec(prop::collection::vec(prop::bool::weighted(0.5), 6), 1..5),
            of in prop::collection::vec(0_usize..3, 6),
            wanted in prop::collection::vec(0_usize..3, 4),
            before in prop::collection::vec(prop::option::of(0_usize..6), 4),
        ) {
            let mut takes = vec![0; 3];
            wanted[..open.len()].iter().for_each(|group| takes[*group] += 1);
            let groups = Groups { of, takes };
            let costs: Vec<Vec<Option<i128>>> = open.iter().map(|row| row.iter().map(|open| open.then_some(0)).collect()).collect();
            let columns: Vec<Vec<usize>> = open.iter().map(|row| (0..6).filter(|c| row[*c]).collect()).collect();
            let mut places = vec![NONE; open.len()];
            for (row, column) in before.iter().enumerate().take(open.len()) {
                let column = column.unwrap_or(NONE);
                if columns[row].contains(&column) && !places.contains(&column) {
                    places[row] = column;
                }
            }
            let all = found(&columns, &groups, &mut places);
            prop_assert_eq!(all, assign::cheapest(&costs, &groups).is_some());
            if all {
                let mut count = vec![0; 3];
                for (row, column) in places.iter().enumerate() {
                    prop_assert!(columns[row].contains(column) && !places[..row].contains(column));
                    count[groups.of[*column]] += 1;
                }
                prop_assert_eq!(count, groups.takes);
            }
        }
    }
}
