//! What no cheapest choice of CPUs can use is left out before the search for it.

use std::collections::BTreeMap;

use num_bigint::BigInt;
use num_traits::Zero;

use super::number::Number;
use crate::id::CpuId;
use crate::sorted;

/// Leaves out what can't be among the best of its like.
///
/// Two things are alike if they cost the same in every respect. One comes before another if each of its CPUs has a lower id
/// than the CPU in its place there: swapping what is taken from the two then costs nothing and lowers the set. So of a row in
/// which each comes before the next, only the first `wanted` are ever used, if no more than that of its like can be used.
pub(super) fn best<T, K: Ord>(
    things: Vec<T>,
    wanted: impl Fn(&K) -> usize,
    describe: impl Fn(&T) -> (K, Vec<CpuId>),
) -> Vec<T> {
    // of each like: the last one of its row, and how many come before it
    let mut rows: BTreeMap<K, (Vec<CpuId>, usize)> = BTreeMap::new();
    let mut kept = Vec::new();
    for thing in things {
        let (like, cpus) = describe(&thing);
        let before = match rows.get(&like) {
            Some((last, row)) if last.iter().zip(&cpus).all(|(a, b)| a < b) => row + 1,
            _ => 0,
        };
        if before < wanted(&like) {
            kept.push(thing);
        }
        rows.insert(like, (cpus, before));
    }
    kept
}

/// How many L3s of each like a cheapest choice of `vcpus` CPUs can use. `tables` has what 0, 1, 2 ... CPUs of one cost, and
/// how many there are.
///
/// A price for each CPU is guessed from a good choice (the cheapest CPUs first). No choice costs less than that price for all
/// of them plus, for each L3, the least by which any number of CPUs taken there exceeds it. A number that alone would lift
/// this bound above the cost of the good choice is never taken; the lowest number that may be says how many L3s can be used.
pub(super) fn hopeful<K: Ord + Clone, W: Number>(
    tables: &BTreeMap<K, (Vec<W>, usize)>,
    vcpus: usize,
) -> BTreeMap<K, usize> {
    let all = || sorted::map(tables.keys().map(|like| (like.clone(), vcpus)));
    let costs: Vec<Counted> = tables
        .values()
        .map(|(table, count)| (table.iter().map(Number::to_big).collect(), *count))
        .collect();
    let Some((good, price, cpus)) = good(&costs, vcpus) else {
        return all();
    };
    // everything times `cpus`, so that the price of one CPU, price / cpus, is whole
    let excess = |table: &[BigInt]| -> Vec<BigInt> {
        table
            .iter()
            .zip(0_usize..)
            .map(|(cost, n)| cost * cpus - &price * n)
            .collect()
    };
    let excesses: Vec<Vec<BigInt>> = costs.iter().map(|(table, _)| excess(table)).collect();
    let least = |excess: &[BigInt]| excess.iter().min().cloned().unwrap_or_default();
    let mut slack = good * cpus - &price * vcpus;
    for (excess, (_, count)) in excesses.iter().zip(&costs) {
        slack -= least(excess) * *count;
    }
    let used = |excess: &Vec<BigInt>| {
        let least = least(excess);
        let lowest = (1..excess.len()).find(|n| &excess[*n] - &least <= slack);
        lowest.map_or(0, |lowest| vcpus / lowest)
    };
    sorted::map(tables.keys().cloned().zip(excesses.iter().map(used)))
}

/// What 0, 1, 2 ... CPUs of a thing cost, and how many such things there are.
type Counted = (Vec<BigInt>, usize);

/// A good choice: its cost, and the price of CPUs there as (cost, CPUs).
fn good(tables: &[Counted], vcpus: usize) -> Option<(BigInt, BigInt, usize)> {
    let cheaper = |(a, n): &(&BigInt, usize), (b, m): &(&BigInt, usize)| (*a * *m).cmp(&(*b * *n));
    let mut order: Vec<(&BigInt, usize, &Counted)> = Vec::new();
    for table in tables {
        let points = (1..table.0.len()).map(|n| (&table.0[n], n));
        if let Some((cost, n)) = points.min_by(cheaper) {
            order.push((cost, n, table));
        }
    }
    sorted::sort_by(&mut order, |a, b| cheaper(&(a.0, a.1), &(b.0, b.1)));
    let (mut sum, mut rest) = (BigInt::zero(), vcpus);
    for (cost, n, (table, count)) in order {
        let full = (rest / n).min(*count);
        sum += cost * full;
        rest -= full * n;
        if rest > 0 && full < *count && rest < table.len() {
            sum += &table[rest];
            rest = 0;
        }
        if rest == 0 {
            return Some((sum, cost.clone(), n));
        }
    }
    None
}
