//! Sets of ids as words of bits: no fixed limit on the number of CPUs, cheap unions and intersections. A set has words only from
//! its lowest id to its highest, so that the two threads of a core cost the same whether they are CPUs 0 and 1 or 8,190 and 8,191.

#[cfg(feature = "schema")]
mod schema;
mod words;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cpulist;
use crate::id::{CpuId, Id, NodeId, VcpuId};

use words::Words;

/// A set of host CPUs.
pub type CpuSet = IdSet<CpuId>;
/// A set of host NUMA nodes.
pub type NodeSet = IdSet<NodeId>;
/// A set of a guest's vCPUs.
pub type VcpuSet = IdSet<VcpuId>;

const BITS: usize = u64::BITS as usize;

/// An ordered set of ids. Prints, parses and serialises in the kernel's list form ("0-3,16-19").
///
/// Neither the first word nor the last is ever zero, and the empty set begins at 0, so equal sets have equal words.
pub struct IdSet<I> {
    /// How many words of zeros would come before the first one.
    base: usize,
    words: Words,
    kind: PhantomData<I>,
}

impl<I: Id> IdSet<I> {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A set made of words of 64 bits, the lowest ids first.
    #[must_use]
    pub fn from_words(words: Vec<u64>) -> Self {
        Self::trimmed(0, words.into_iter().collect())
    }

    /// The word of 64 bits that holds the ids from `64 * n` on, as bits from the lowest up.
    #[must_use]
    pub fn word(&self, n: usize) -> u64 {
        let inside = n.checked_sub(self.base).and_then(|n| self.words.get(n));
        inside.copied().unwrap_or(0)
    }

    /// Puts an id in; false if it was there already.
    pub fn insert(&mut self, id: I) -> bool {
        let (word, bit) = place(id);
        self.reach(word, word);
        let word = &mut self.words[word - self.base];
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Puts all ids from `first` to `last` in, both included; none where `last` comes before `first`.
    pub fn insert_range(&mut self, first: I, last: I) {
        if last < first {
            return;
        }
        let ((low, _), (high, _)) = (place(first), place(last));
        self.reach(low, high);
        for word in low..=high {
            let from = if word == low { first.index() % BITS } else { 0 };
            let to = if word == high {
                last.index() % BITS
            } else {
                BITS - 1
            };
            self.words[word - self.base] |= (u64::MAX >> (BITS - 1 - (to - from))) << from;
        }
    }

    /// Takes an id out; false if it was not there.
    pub fn remove(&mut self, id: I) -> bool {
        let (word, bit) = place(id);
        let there = self.word(word) & bit != 0;
        if there {
            self.words[word - self.base] &= !bit;
            self.trim();
        }
        there
    }

    /// Whether the id is in the set.
    #[must_use]
    pub fn contains(&self, id: I) -> bool {
        let (word, bit) = place(id);
        self.word(word) & bit != 0
    }

    /// How many ids are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Whether no id is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The lowest id.
    #[must_use]
    pub fn first(&self) -> Option<I> {
        self.iter().next()
    }

    /// The highest id.
    #[must_use]
    pub fn last(&self) -> Option<I> {
        let top = self.words.last()?;
        let index = self.end() * BITS - 1 - top.leading_zeros() as usize;
        Some(I::from_index(index))
    }

    /// The ids in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = I> + '_ {
        self.words
            .iter()
            .zip(self.base..)
            .flat_map(|(word, n)| Bits {
                word: *word,
                base: n * BITS,
            })
            .map(I::from_index)
    }

    /// The ids as ranges from first to last, ascending and as long as possible.
    pub fn runs(&self) -> impl Iterator<Item = (I, I)> + '_ {
        let mut next = self.base * BITS;
        std::iter::from_fn(move || {
            let first = self.next_bit(next, false)?;
            let end = self.next_bit(first, true).unwrap_or(self.end() * BITS);
            next = end;
            Some((I::from_index(first), I::from_index(end - 1)))
        })
    }

    /// Ids in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        if !other.is_empty() {
            union.reach(other.base, other.end() - 1);
            for (n, word) in (other.base..).zip(&*other.words) {
                union.words[n - union.base] |= word;
            }
        }
        union
    }

    /// Ids in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let base = self.base.max(other.base);
        Self::trimmed(base, self.pairs(other).map(|(a, b)| a & b).collect())
    }

    /// Ids in this set and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let words = (self.base..).zip(&*self.words);
        let left = words.map(|(n, word)| word & !other.word(n));
        Self::trimmed(self.base, left.collect())
    }

    /// How many ids are in both sets.
    #[must_use]
    pub fn common(&self, other: &Self) -> usize {
        self.pairs(other)
            .map(|(a, b)| (a & b).count_ones() as usize)
            .sum()
    }

    /// Whether every id of this set is in the other.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        let mut words = (self.base..).zip(&*self.words);
        words.all(|(n, word)| word & !other.word(n) == 0)
    }

    /// Whether the sets have no id in common.
    #[must_use]
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.pairs(other).all(|(a, b)| a & b == 0)
    }

    /// The words of both sets where both have some, the lowest ids first.
    fn pairs<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (u64, u64)> + 'a {
        let base = self.base.max(other.base);
        let from = |set: &'a Self| set.words.get(base - set.base..).unwrap_or_default().iter();
        from(self).copied().zip(from(other).copied())
    }

    /// The first bit from `from` on that is set, or that is `clear`; `None` behind the last word.
    fn next_bit(&self, from: usize, clear: bool) -> Option<usize> {
        let flip = if clear { u64::MAX } else { 0 };
        let mut above = u64::MAX << (from % BITS);
        for n in from / BITS..self.end() {
            let bits = (self.word(n) ^ flip) & above;
            if bits != 0 {
                return Some(n * BITS + bits.trailing_zeros() as usize);
            }
            above = u64::MAX;
        }
        None
    }

    /// Where the words end: the first one behind them.
    fn end(&self) -> usize {
        self.base + self.words.len()
    }

    /// Makes room for the words from `low` to `high`.
    fn reach(&mut self, low: usize, high: usize) {
        if self.base <= low && high < self.end() {
            return;
        }
        let (low, high) = match self.is_empty() {
            true => (low, high),
            false => (low.min(self.base), high.max(self.end() - 1)),
        };
        let mut words = Words::zeros(high + 1 - low);
        for (n, word) in (self.base..).zip(&*self.words) {
            words[n - low] = *word;
        }
        self.base = low;
        self.words = words;
    }

    /// A set of words that begin at `base`, with what is needed of them.
    fn trimmed(base: usize, words: Words) -> Self {
        let mut set = Self {
            base,
            words,
            kind: PhantomData,
        };
        set.trim();
        set
    }

    fn trim(&mut self) {
        let used = |word: &u64| *word != 0;
        let Some(first) = self.words.iter().position(used) else {
            *self = Self::new();
            return;
        };
        let last = self.words.iter().rposition(used).unwrap_or(first);
        if last - first + 1 < self.words.len() {
            self.words = self.words[first..=last].into();
            self.base += first;
        }
    }
}

struct Bits {
    word: u64,
    base: usize,
}

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.word == 0 {
            return None;
        }
        let bit = self.word.trailing_zeros() as usize;
        self.word &= self.word - 1;
        Some(self.base + bit)
    }
}

fn place<I: Id>(id: I) -> (usize, u64) {
    (id.index() / BITS, 1 << (id.index() % BITS))
}

impl<I> Clone for IdSet<I> {
    fn clone(&self) -> Self {
        Self {
            base: self.base,
            words: self.words.clone(),
            kind: PhantomData,
        }
    }
}

impl<I> Default for IdSet<I> {
    fn default() -> Self {
        Self {
            base: 0,
            words: Words::default(),
            kind: PhantomData,
        }
    }
}

impl<I> PartialEq for IdSet<I> {
    fn eq(&self, other: &Self) -> bool {
        (self.base, &self.words) == (other.base, &other.words)
    }
}

impl<I> Eq for IdSet<I> {}

impl<I> Hash for IdSet<I> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.base, &self.words).hash(state);
    }
}

impl<I: Id> PartialOrd for IdSet<I> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By the ids in ascending order, compared one by one: the set with the lowest ids comes first.
impl<I: Id> Ord for IdSet<I> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl<I: Id> FromIterator<I> for IdSet<I> {
    fn from_iter<T: IntoIterator<Item = I>>(ids: T) -> Self {
        let mut set = Self::new();
        set.extend(ids);
        set
    }
}

impl<I: Id> Extend<I> for IdSet<I> {
    fn extend<T: IntoIterator<Item = I>>(&mut self, ids: T) {
        for id in ids {
            self.insert(id);
        }
    }
}

impl<I: Id> fmt::Display for IdSet<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        cpulist::write_list(self, f)
    }
}

impl<I: Id> fmt::Debug for IdSet<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

impl<I: Id> std::str::FromStr for IdSet<I> {
    type Err = cpulist::ListError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        cpulist::parse_list(text)
    }
}

impl<I: Id> Serialize for IdSet<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, I: Id> Deserialize<'de> for IdSet<I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(List(PhantomData))
    }
}

/// Reads a list where it stands.
struct List<I>(PhantomData<I>);

impl<I: Id> Visitor<'_> for List<I> {
    type Value = IdSet<I>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of ids (\"0-3,16-19\")")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests;
