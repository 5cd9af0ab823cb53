//! What vCPUs cost on sets of host nodes, in one-to-one: sums of the tables of their host nodes.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::sorted;

use super::inner::Inner;
use super::number::Number;

/// A table of costs by the number of vCPUs, as far as there is room.
pub(super) type Table<W> = Rc<Vec<W>>;

/// The tables of host nodes.
pub(super) struct Tables<W> {
    vcpus: usize,
    /// By host node; equal ones have equal numbers in `like`.
    nodes: Vec<Vec<W>>,
    like: Vec<usize>,
    /// The sums of sets, by how many host nodes of each like are in them.
    sums: BTreeMap<Vec<usize>, Table<W>>,
    /// The lowest costs with at most so many host nodes of a set, or with any number of them.
    within: BTreeMap<(Vec<usize>, Option<usize>), Table<W>>,
    /// How much work the last sums were.
    pub work: u64,
}

impl<W: Number> Tables<W> {
    /// The tables of all host nodes for up to `vcpus` vCPUs.
    pub(super) fn new(inner: &Inner<W>, count: usize, vcpus: usize) -> Self {
        let table = |n: usize| {
            (0..=vcpus)
                .map_while(|k| inner.cost((n, k, k)).cloned())
                .collect()
        };
        let nodes: Vec<Vec<W>> = (0..count).map(table).collect();
        let mut kinds: Vec<&Vec<W>> = nodes.iter().collect();
        sorted::sort_by(&mut kinds, Ord::cmp);
        kinds.dedup();
        let like = nodes
            .iter()
            .map(|table| kinds.binary_search(&table).unwrap_or(0))
            .collect();
        Self {
            vcpus,
            nodes,
            like,
            sums: BTreeMap::new(),
            within: BTreeMap::new(),
            work: 0,
        }
    }

    fn counts(&self, nodes: &[usize]) -> Vec<usize> {
        let mut counts = vec![0; self.nodes.len()];
        for n in nodes {
            counts[self.like[*n]] += 1;
        }
        counts
    }

    /// The table of one host node.
    pub(super) fn of(&self, node: usize) -> Table<W> {
        Rc::new(self.nodes[node].clone())
    }

    /// How much work it is to add two tables, in about as many nanoseconds.
    pub(super) fn effort(&self) -> usize {
        self.vcpus * self.vcpus * size_of::<W>() / 16
    }

    /// The table of the host nodes `taken`, the last of which is `n`, from that of the others.
    pub(super) fn with(&mut self, taken: &[usize], others: &Table<W>, n: usize) -> Table<W> {
        let counts = self.counts(taken);
        if let Some(known) = self.sums.get(&counts) {
            return Rc::clone(known);
        }
        self.work += self.effort() as u64;
        let table = Rc::new(sum(others, &self.nodes[n], self.vcpus));
        self.sums.insert(counts, Rc::clone(&table));
        table
    }

    /// The lowest costs with at most `most` of some host nodes, or with any number of them.
    pub(super) fn within(&mut self, nodes: &[usize], most: Option<usize>) -> Table<W> {
        let most = most.filter(|most| *most < nodes.len());
        let key = (self.counts(nodes), most);
        if let Some(known) = self.within.get(&key) {
            return Rc::clone(known);
        }
        let table = match nodes.split_first() {
            Some((first, rest)) if most != Some(0) => {
                let without = self.within(rest, most);
                let fewer = self.within(rest, most.map(|most| most - 1));
                self.work += self.effort() as u64;
                Rc::new(lower(
                    &without,
                    sum(&fewer, &self.nodes[*first], self.vcpus),
                ))
            }
            _ => Rc::new(empty()),
        };
        self.within.insert(key, Rc::clone(&table));
        table
    }

    /// What all vCPUs cost at least, divided between two tables.
    pub(super) fn least(&self, a: &[W], b: &[W]) -> Option<W> {
        let fewest = (self.vcpus + 1).saturating_sub(b.len());
        let most = self.vcpus.min(a.len() - 1);
        (fewest..=most).map(|n| a[n].plus(&b[self.vcpus - n])).min()
    }
}

/// The table of no host node at all.
pub(super) fn empty<W: Number>() -> Vec<W> {
    vec![W::nothing()]
}

/// The lowest costs of dividing up to `vcpus` vCPUs between two tables.
fn sum<W: Number>(a: &[W], b: &[W], vcpus: usize) -> Vec<W> {
    let room = (a.len() + b.len() - 2).min(vcpus);
    let mut sums = Vec::with_capacity(room + 1);
    for n in 0..=room {
        let (first, last) = ((n + 1).saturating_sub(b.len()), n.min(a.len() - 1));
        let mut best = a[first].plus(&b[n - first]);
        for i in first + 1..=last {
            let cost = a[i].plus(&b[n - i]);
            if cost < best {
                best = cost;
            }
        }
        sums.push(best);
    }
    sums
}

/// Entry by entry the lower one; `b` has at least as much room.
fn lower<W: Number>(a: &[W], mut b: Vec<W>) -> Vec<W> {
    for (a, b) in a.iter().zip(&mut b) {
        if a < b {
            b.clone_from(a);
        }
    }
    b.extend(a.iter().skip(b.len()).cloned());
    b
}
