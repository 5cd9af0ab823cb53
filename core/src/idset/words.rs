//! The words of a set: one stands in the set itself, as nearly every set has no more.

use std::ops::{Deref, DerefMut};

/// In one form only: a single word is never a list of one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Words {
    One(u64),
    /// None, or two and more.
    Many(Box<[u64]>),
}

impl Words {
    /// So many words of zeros.
    pub(super) fn zeros(count: usize) -> Self {
        match count {
            1 => Self::One(0),
            count => Self::Many(vec![0; count].into()),
        }
    }
}

impl Default for Words {
    fn default() -> Self {
        // An empty box takes no memory.
        Self::Many(Box::default())
    }
}

impl Deref for Words {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        match self {
            Self::One(word) => std::slice::from_ref(word),
            Self::Many(words) => words,
        }
    }
}

impl DerefMut for Words {
    fn deref_mut(&mut self) -> &mut [u64] {
        match self {
            Self::One(word) => std::slice::from_mut(word),
            Self::Many(words) => words,
        }
    }
}

impl From<&[u64]> for Words {
    fn from(words: &[u64]) -> Self {
        match words {
            [word] => Self::One(*word),
            words => Self::Many(words.into()),
        }
    }
}

impl FromIterator<u64> for Words {
    fn from_iter<T: IntoIterator<Item = u64>>(words: T) -> Self {
        let mut words = words.into_iter();
        let Some(first) = words.next() else {
            return Self::default();
        };
        let Some(second) = words.next() else {
            return Self::One(first);
        };
        Self::Many([first, second].into_iter().chain(words).collect())
    }
}
