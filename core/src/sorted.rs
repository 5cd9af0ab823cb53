//! Sorting, and gathering into ordered collections, where time does not matter.
//!
//! std brings a sort of its own for each type and each key, several kilobytes of program at a time; and [`Iterator::collect`] sorts
//! before it makes a [`BTreeMap`] or a [`BTreeSet`]. Together that was a tenth of the program, mostly for lists of some hundred
//! items. Here is one sort, of numbers of items, for all of them; and collections whose items are put in one by one.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// The items as a set.
pub fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    set.extend(items);
    set
}

/// Pairs of a key and its value as a map: of several values of a key the last one.
pub fn map<K: Ord, V>(items: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    map.extend(items);
    map
}

/// As [`slice::sort_by`]: what is equal keeps its order.
pub fn sort_by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let order = order(items.len(), &|a, b| compare(&items[a], &items[b]));
    arrange(items, order);
}

/// As [`slice::sort_by_key`]: what has equal keys keeps its order.
pub fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    sort_by(items, |a, b| key(a).cmp(&key(b)));
}

/// The numbers of as many items in the order of the items.
fn order(items: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..items).collect();
    order.sort_by(|a, b| compare(*a, *b));
    order
}

/// Moves each item to where its number stands in the order: circle by circle, each item once.
fn arrange<T>(items: &mut [T], mut order: Vec<usize>) {
    for start in 0..order.len() {
        let mut at = start;
        while order[at] != start {
            let from = order[at];
            items.swap(at, from);
            order[at] = at;
            at = from;
        }
        order[at] = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers without an order that could be mistaken for the right one.
    fn mixed(count: u64) -> Vec<(u64, usize)> {
        let numbers = (0..count).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60);
        numbers.zip(0..).collect()
    }

    #[test]
    fn sorts_as_std_does() {
        for count in 0..200 {
            let (mut ours, mut theirs) = (mixed(count), mixed(count));
            sort_by_key(&mut ours, |(number, _)| *number);
            theirs.sort_by_key(|(number, _)| *number);
            assert_eq!(ours, theirs, "{count} items");
            sort_by(&mut ours, |a, b| b.cmp(a));
            theirs.sort_by(|a, b| b.cmp(a));
            assert_eq!(ours, theirs, "{count} items, backwards");
        }
    }

    #[test]
    fn gathers_as_std_does() {
        let items = mixed(100);
        let map: BTreeMap<u64, usize> = items.iter().copied().collect();
        assert_eq!(super::map(items.iter().copied()), map);
        let set: BTreeSet<(u64, usize)> = items.iter().copied().collect();
        assert_eq!(super::set(items), set);
    }
}
