//! The cheapest way to give every row a column of its own (the assignment problem, by the Hungarian method).

use super::number::Number;

/// The cost of the cheapest assignment; `None`: there is none. `costs` has a row for each thing to be placed, with what it
/// costs in each column, `None` where it can't be.
pub(super) fn cheapest<W: Number>(costs: &[Vec<Option<W>>]) -> Option<W> {
    let columns = costs.first().map_or(0, Vec::len);
    // potentials of rows and columns, and the row of each column; position 0 stands for none
    let mut of_row = vec![W::nothing(); costs.len() + 1];
    let mut of_column = vec![W::nothing(); columns + 1];
    let mut row_of = vec![0; columns + 1];
    for row in 1..=costs.len() {
        row_of[0] = row;
        let mut column = 0;
        let mut least: Vec<Option<W>> = vec![None; columns + 1];
        let mut way = vec![0; columns + 1];
        let mut done = vec![false; columns + 1];
        while row_of[column] != 0 {
            done[column] = true;
            let row = row_of[column];
            let mut best: Option<(W, usize)> = None;
            for next in 1..=columns {
                if done[next] {
                    continue;
                }
                if let Some(cost) = &costs[row - 1][next - 1] {
                    let mut cost = cost.clone();
                    cost.sub(&of_row[row]);
                    cost.sub(&of_column[next]);
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
            for column in 0..=columns {
                if done[column] {
                    of_row[row_of[column]].add(&delta);
                    of_column[column].sub(&delta);
                } else if let Some(least) = &mut least[column] {
                    least.sub(&delta);
                }
            }
            column = next;
        }
        while column != 0 {
            row_of[column] = row_of[way[column]];
            column = way[column];
        }
    }
    let mut sum = W::nothing();
    for (column, row) in row_of
        .iter()
        .enumerate()
        .skip(1)
        .filter(|(_, row)| **row != 0)
    {
        sum.add(costs[row - 1][column - 1].as_ref()?);
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn brute(costs: &[Vec<Option<i128>>], used: &mut Vec<usize>) -> Option<i128> {
        let Some(row) = costs.get(used.len()) else {
            return Some(0);
        };
        let mut best = None;
        for (column, cost) in row.iter().enumerate() {
            let Some(cost) = cost.filter(|_| !used.contains(&column)) else {
                continue;
            };
            used.push(column);
            let all = brute(costs, used).map(|rest| rest + cost);
            used.pop();
            best = [best, all].into_iter().flatten().min();
        }
        best
    }

    proptest! {
        #[test]
        fn the_cheapest_assignment_is_found(
            rows in 1_usize..5,
            costs in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.8, -9_i128..20), 5), 4),
        ) {
            let costs = &costs[..rows];
            prop_assert_eq!(cheapest(costs), brute(costs, &mut Vec::new()));
        }
    }
}
