//! Sets of ids in the forms the kernel prints: lists and 32-bit mask groups.
//!
//! Kept apart from the engine's own on purpose: a fake shares no code with what it fakes.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::MockError;

/// A set in both forms, as a status file shows it. Kept as text: masks of thousands of CPUs are written for thousands of threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mask {
    /// List form.
    pub(crate) list: String,
    /// 32-bit groups.
    pub(crate) groups: String,
}

impl Mask {
    /// The set as a kernel with this many ids prints it.
    pub(crate) fn new(ids: &BTreeSet<u32>, bits: u32) -> Self {
        Self {
            list: to_list(ids),
            groups: to_mask(ids, bits),
        }
    }
}

/// The ids of a list such as `0-3,16-19`; the empty text is the empty set.
pub(crate) fn parse_list(text: &str) -> Result<BTreeSet<u32>, MockError> {
    let wrong = || MockError::List {
        value: text.trim().to_owned(),
    };
    let number = |t: &str| t.parse::<u32>().map_err(|_| wrong());
    let mut ids = BTreeSet::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        // No kernel numbers CPUs so high; the limit keeps a typing error from filling the memory.
        if first > last || last > 1 << 20 {
            return Err(wrong());
        }
        ids.extend(first..=last);
    }
    Ok(ids)
}

/// The set as the kernel prints a list (`%*pbl`).
pub(crate) fn to_list(ids: &BTreeSet<u32>) -> String {
    let mut text = String::new();
    let mut run: Option<(u32, u32)> = None;
    let mut flush = |run: Option<(u32, u32)>| {
        let Some((first, last)) = run else { return };
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a String can't go wrong.
        let _ = if first == last {
            write!(text, "{comma}{first}")
        } else {
            write!(text, "{comma}{first}-{last}")
        };
    };
    for &id in ids {
        run = match run {
            Some((first, last)) if last + 1 == id => Some((first, id)),
            other => {
                flush(other);
                Some((id, id))
            }
        };
    }
    flush(run);
    text
}

/// The set as the kernel prints a mask of `bits` bits (`%*pb`): groups of 32 bits, the highest first, eight hex digits
/// each but for the first, which has as many as its bits need.
pub(crate) fn to_mask(ids: &BTreeSet<u32>, bits: u32) -> String {
    let bits = bits.max(ids.last().map_or(1, |last| last + 1));
    let groups = bits.div_ceil(32);
    let mut text = String::new();
    for group in (0..groups).rev() {
        let start = group * 32;
        let word = ids
            .range(start..start + 32)
            .fold(0_u32, |word, id| word | 1 << (id - start));
        let bits_here = (bits - start).min(32);
        let width = if group + 1 == groups {
            bits_here.div_ceil(4) as usize
        } else {
            8
        };
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{word:0width$x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", 8, "", "00")]
    #[case("0-1", 2, "0-1", "3")]
    #[case("1", 2, "1", "2")]
    #[case("0-3,16-19", 32, "0-3,16-19", "000f000f")]
    #[case("5,0,1\n", 12, "0-1,5", "023")]
    #[case("32", 64, "32", "00000001,00000000")]
    #[case("0,95", 96, "0,95", "80000000,00000000,00000001")]
    #[case("33", 34, "33", "2,00000000")]
    fn prints_as_the_kernel_does(
        #[case] text: &str,
        #[case] bits: u32,
        #[case] list: &str,
        #[case] mask: &str,
    ) {
        let ids = parse_list(text).unwrap();
        assert_eq!(to_list(&ids), list);
        assert_eq!(to_mask(&ids, bits), mask);
    }

    #[rstest]
    #[case("3-1")]
    #[case("a")]
    #[case("1-")]
    #[case("0-4294967295")]
    fn refuses_what_is_no_list(#[case] text: &str) {
        let error = parse_list(text).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{text:?} is no list")),
            "{error}"
        );
    }
}
