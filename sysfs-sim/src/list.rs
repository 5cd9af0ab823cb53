//! The kernel's two spellings of a set of ids: lists (`0-3,16-19`) and masks (`000f000f`).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::shown;

/// The highest id that a description may name. Far above any kernel's limit; it keeps a typo such as `0-4000000000` from
/// filling the memory.
pub const MAX_ID: u32 = 1 << 20;

/// A set of ids of the host (CPUs or nodes), written as the kernel writes its lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ids(pub BTreeSet<u32>);

impl Ids {
    /// Whether `id` is in the set.
    #[must_use]
    pub fn has(&self, id: u32) -> bool {
        self.0.contains(&id)
    }
}

impl FromIterator<u32> for Ids {
    fn from_iter<T: IntoIterator<Item = u32>>(ids: T) -> Self {
        Self(ids.into_iter().collect())
    }
}

impl<const N: usize> From<[u32; N]> for Ids {
    fn from(ids: [u32; N]) -> Self {
        ids.into_iter().collect()
    }
}

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&list(self.0.iter().copied()))
    }
}

impl FromStr for Ids {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut ids = BTreeSet::new();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (id(first, part)?, id(last, part)?);
            if first > last {
                return Err(format!("'{part}' runs backwards", part = shown(part)));
            }
            ids.extend(first..=last);
        }
        Ok(Self(ids))
    }
}

impl Serialize for Ids {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// The list form of ascending ids, without a newline: `0-3,16-19`; nothing for none.
pub(crate) fn list(ids: impl IntoIterator<Item = u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for id in ids {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(id) => *last = id,
            _ => runs.push((id, id)),
        }
    }
    let runs: Vec<String> = runs
        .into_iter()
        .map(|(a, b)| {
            if a == b {
                a.to_string()
            } else {
                format!("{a}-{b}")
            }
        })
        .collect();
    runs.join(",")
}

/// The mask form, without a newline: groups of 32 bits in hexadecimal, the highest first, padded with zeros to `bits` bits
/// (`%*pb` with the kernel's `nr_cpumask_bits`: the highest group has only the digits that its bits need).
pub(crate) fn mask<'a>(ids: impl IntoIterator<Item = &'a u32>, bits: u32) -> String {
    let bits = bits.max(1) as usize;
    let mut groups = vec![0_u32; bits.div_ceil(32)];
    for id in ids {
        let id = *id as usize;
        if let Some(group) = groups.get_mut(id / 32) {
            *group |= 1 << (id % 32);
        }
    }
    let mut text = String::with_capacity(groups.len() * 9);
    for (i, group) in groups.iter().enumerate().rev() {
        let in_group = (bits - i * 32).min(32);
        let digits = in_group.div_ceil(4);
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&format!("{group:0digits$x}"));
    }
    text
}

fn id(text: &str, part: &str) -> Result<u32, String> {
    let id = Some(text)
        .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            format!(
                "'{part}' is neither an id nor a range such as 0-3",
                part = shown(part)
            )
        })?;
    if id > MAX_ID {
        return Err(format!(
            "'{part}' is beyond the highest id, {MAX_ID}",
            part = shown(part)
        ));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("", &[])]
    #[case("5", &[5])]
    #[case("0-3,16-19", &[0, 1, 2, 3, 16, 17, 18, 19])]
    fn lists_there_and_back(#[case] text: &str, #[case] ids: &[u32]) {
        let set: Ids = text.parse().unwrap();
        assert_eq!(set.0.iter().copied().collect::<Vec<_>>(), ids);
        assert_eq!(set.to_string(), text);
    }

    #[rstest]
    #[case("3-1", "'3-1' runs backwards")]
    #[case("0,,1", "'' is neither an id nor a range such as 0-3")]
    #[case("a", "'a' is neither an id nor a range such as 0-3")]
    #[case("+1", "'+1' is neither an id nor a range such as 0-3")]
    #[case("0-4000000000", "'0-4000000000' is beyond the highest id, 1048576")]
    fn bad_lists_are_quoted(#[case] text: &str, #[case] error: &str) {
        assert_eq!(text.parse::<Ids>(), Err(error.to_owned()));
    }

    // As captured kernels wrote them, for 8, 20, 32, 80 and 96 possible CPUs.
    #[rstest]
    #[case(&[0, 1, 4, 5], 8, "33")]
    #[case(&[2, 3], 20, "0000c")]
    #[case(&[0, 1, 2, 3, 16, 17, 18, 19], 32, "000f000f")]
    #[case(&[3, 43], 80, "0000,00000800,00000008")]
    #[case(&[3, 51], 96, "00000000,00080000,00000008")]
    fn masks_are_padded_to_the_kernels_width(
        #[case] ids: &[u32],
        #[case] bits: u32,
        #[case] text: &str,
    ) {
        assert_eq!(mask(ids, bits), text);
    }
}
