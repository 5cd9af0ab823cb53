//! Lists of ids as Proxmox VE writes them: not the kernel's grammar.
//!
//! `cpus` and `hostnodes` of a numaN line: "0-1;6-7" (pattern in QemuServer/Memory.pm, `parse_number_sets`). `affinity`:
//! "0-3, 8," (PVE::CpuSet): white space around a part and commas at the end pass, strides and empty parts do not.

use std::fmt;

use super::excerpt;
use crate::cpulist::MAX_ID;
use crate::id::Id;
use crate::idset::IdSet;
use crate::sorted;

/// Ids and ranges of ids as they are written; none is above [`MAX_ID`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges(Vec<(u32, Option<u32>)>);

/// Why a list was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangesError {
    /// A part that is neither a number nor a range.
    #[error("{part:?} is not a number or a range (expected a list like {example:?})")]
    NotARange {
        /// The part as it is written.
        part: String,
        /// How one looks.
        example: &'static str,
    },
    /// A range whose end comes before its start.
    #[error("{part:?} runs backwards (expected \"{last}-{first}\")")]
    Reversed {
        /// The part as it is written.
        part: String,
        /// The first number.
        first: u32,
        /// The second number.
        last: u32,
    },
    /// A number that no id has.
    #[error("{part:?} is beyond the highest id that can be ({MAX_ID})")]
    TooLarge {
        /// The part as it is written.
        part: String,
    },
}

impl Ranges {
    /// Reads `cpus` or `hostnodes` of a numaN line.
    ///
    /// # Errors
    /// Names the part that is not understood.
    pub fn numa(text: &str) -> Result<Self, RangesError> {
        let parts = text.split(';').map(|part| range(part, "0-1;6-7"));
        parts.collect::<Result<_, _>>().map(Self)
    }

    /// Reads `affinity`.
    ///
    /// # Errors
    /// Names the part that is not understood.
    pub fn cpuset(text: &str) -> Result<Self, RangesError> {
        let parts = text.trim_end_matches(',').split(',');
        let parts = parts.map(|part| range(part.trim_matches(super::pve::is_blank), "0,5,8-11"));
        parts.collect::<Result<_, _>>().map(Self)
    }

    /// The ids in it.
    #[must_use]
    pub fn set<I: Id>(&self) -> IdSet<I> {
        self.merged().0
    }

    /// The ids that it names more than once.
    #[must_use]
    pub fn repeated<I: Id>(&self) -> IdSet<I> {
        self.merged().1
    }

    /// The only id in it; `None` for several.
    #[must_use]
    pub fn single<I: Id>(&self) -> Option<I> {
        let (first, _) = self.0.first()?;
        let same = |(a, b): &(u32, Option<u32>)| a == first && b.is_none_or(|b| b == *first);
        self.0
            .iter()
            .all(same)
            .then(|| I::from_index(*first as usize))
    }

    /// The parts as they are written, each printed as QEMU takes it ("6-7").
    pub fn parts(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|part| match part {
            (first, None) => first.to_string(),
            (first, Some(last)) => format!("{first}-{last}"),
        })
    }

    /// All ids, and those named more than once. Works on sorted ranges, so that its cost does not depend on how often an
    /// id is named.
    fn merged<I: Id>(&self) -> (IdSet<I>, IdSet<I>) {
        let ranges = self
            .0
            .iter()
            .map(|(first, last)| (*first, last.unwrap_or(*first)));
        let mut ranges: Vec<(u32, u32)> = ranges.collect();
        sorted::sort_by(&mut ranges, Ord::cmp);
        let (mut all, mut repeated) = (IdSet::new(), IdSet::new());
        // The lowest ids that are not in `all` and `repeated` yet.
        let (mut next, mut next_repeated) = (0, 0);
        for (first, last) in ranges {
            for id in first.max(next)..=last {
                all.insert(I::from_index(id as usize));
            }
            for id in first.max(next_repeated)..=last.min(next.saturating_sub(1)) {
                if id < next {
                    repeated.insert(I::from_index(id as usize));
                }
            }
            next_repeated = next_repeated.max(next.min(last + 1));
            next = next.max(last + 1);
        }
        (all, repeated)
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.parts().collect();
        f.write_str(&parts.join(";"))
    }
}

fn range(part: &str, example: &'static str) -> Result<(u32, Option<u32>), RangesError> {
    let part_error = || RangesError::NotARange {
        part: excerpt(part),
        example,
    };
    let number = |text: &str| {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(part_error());
        }
        let number = text.parse::<u32>().ok().filter(|n| *n <= MAX_ID);
        number.ok_or_else(|| RangesError::TooLarge {
            part: excerpt(part),
        })
    };
    let Some((first, last)) = part.split_once('-') else {
        return Ok((number(part)?, None));
    };
    let (first, last) = (number(first)?, number(last)?);
    if last < first {
        return Err(RangesError::Reversed {
            part: excerpt(part),
            first,
            last,
        });
    }
    Ok((first, Some(last)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::idset::{CpuSet, VcpuSet};

    #[rstest]
    #[case("0,5,8-11", "0,5,8-11")]
    #[case(" 0-3", "0-3")]
    #[case("0-3, 5", "0-3,5")]
    #[case("0-3,", "0-3")]
    #[case("0-3,,", "0-3")]
    #[case("1,1,0-2", "0-2")]
    #[case("08", "8")]
    fn an_affinity_is_read(#[case] text: &str, #[case] set: &str) {
        assert_eq!(
            Ranges::cpuset(text).unwrap().set::<crate::id::CpuId>(),
            set.parse::<CpuSet>().unwrap()
        );
    }

    #[rstest]
    #[case(
        "0 - 3",
        "\"0 - 3\" is not a number or a range (expected a list like \"0,5,8-11\")"
    )]
    #[case("3-1", "\"3-1\" runs backwards (expected \"1-3\")")]
    #[case("0,,1", "\"\" is not a number or a range")]
    #[case(",0", "\"\" is not a number or a range")]
    #[case(",", "\"\" is not a number or a range")]
    #[case("1-", "\"1-\" is not a number or a range")]
    #[case("0-15:2", "\"0-15:2\" is not a number or a range")]
    #[case("^3", "\"^3\" is not a number or a range")]
    #[case("0;1", "\"0;1\" is not a number or a range")]
    #[case("+1", "\"+1\" is not a number or a range")]
    #[case(
        "0-4294967296",
        "\"0-4294967296\" is beyond the highest id that can be (1048575)"
    )]
    fn an_affinity_is_refused(#[case] text: &str, #[case] says: &str) {
        let refused = Ranges::cpuset(text).unwrap_err().to_string();
        assert!(refused.starts_with(says), "{refused}");
    }

    #[rstest]
    #[case("0-1;6-7", "0-1,6-7", "")]
    #[case("0-3;2", "0-3", "2")]
    #[case("0-3;2-5;3;9", "0-5,9", "2-3")]
    #[case("7;7;7", "7", "7")]
    #[case("0-5;0-1;4-9", "0-9", "0-1,4-5")]
    fn cpus_of_a_virtual_node_are_read(#[case] text: &str, #[case] set: &str, #[case] again: &str) {
        let ranges = Ranges::numa(text).unwrap();
        assert_eq!(
            ranges.set::<crate::id::VcpuId>(),
            set.parse::<VcpuSet>().unwrap()
        );
        assert_eq!(
            ranges.repeated::<crate::id::VcpuId>(),
            again.parse::<VcpuSet>().unwrap()
        );
        assert_eq!(ranges.to_string(), text);
    }

    #[rstest]
    #[case("0-1,6")]
    #[case("0;")]
    #[case("")]
    #[case(" 0")]
    #[case("3-1")]
    fn cpus_of_a_virtual_node_are_refused(#[case] text: &str) {
        assert!(Ranges::numa(text).is_err());
    }

    #[rstest]
    #[case("0", Some(0))]
    #[case("0-0", Some(0))]
    #[case("2;2-2", Some(2))]
    #[case("0-1", None)]
    #[case("0;1", None)]
    fn one_host_node_may_be_written_in_several_ways(
        #[case] text: &str,
        #[case] single: Option<u32>,
    ) {
        let ranges = Ranges::numa(text).unwrap();
        assert_eq!(
            ranges.single::<crate::id::NodeId>().map(|node| node.0),
            single
        );
    }

    #[test]
    fn many_wide_ranges_cost_no_more_than_one() {
        let ranges = Ranges(vec![(0, Some(MAX_ID)); 100_000]);
        assert_eq!(ranges.set::<crate::id::VcpuId>().len(), 1_048_576);
        assert_eq!(ranges.repeated::<crate::id::VcpuId>().len(), 1_048_576);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(
            parts in proptest::collection::vec((0..200_u32, proptest::option::of(0..50_u32)), 1..8)
        ) {
            let parts = parts.into_iter().map(|(first, more)| (first, more.map(|more| first + more)));
            let ranges = Ranges(parts.collect());
            prop_assert_eq!(&Ranges::numa(&ranges.to_string()).unwrap(), &ranges);
            let mut seen = std::collections::BTreeMap::<u32, u32>::new();
            for (first, last) in &ranges.0 {
                for id in *first..=last.unwrap_or(*first) {
                    *seen.entry(id).or_default() += 1;
                }
            }
            let set: VcpuSet = seen.keys().map(|id| crate::id::VcpuId(*id)).collect();
            let again: VcpuSet =
                seen.iter().filter(|(_, n)| **n > 1).map(|(id, _)| crate::id::VcpuId(*id)).collect();
            prop_assert_eq!(ranges.set(), set);
            prop_assert_eq!(ranges.repeated(), again);
        }
    }
}
