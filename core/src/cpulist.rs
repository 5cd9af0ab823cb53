//! The kernel's two grammars for sets of ids: lists ("0-3,16-19", also with strides "0-31:2/4") and masks ("00000000,000f000f").
//!
//! Source: Linux Documentation/admin-guide/kernel-parameters.rst (cpu lists) and lib/bitmap.c, as sysfs and procfs print
//! them. Reading is lenient about white space, a trailing newline and a trailing NUL (seen in captured hosts).

use std::fmt;

use crate::id::Id;
use crate::idset::IdSet;

/// The highest id that is read. A bound, so that a typing error does not cost memory: the kernel's own limit is 8,192 on x86.
pub const MAX_ID: u32 = 1_048_575;

/// How many ids a list may name, counted as often as they are named.
const MAX_NAMED: u64 = 4 * (MAX_ID as u64 + 1);

/// Why a list or mask was not understood. Parts that are quoted are cut where they are long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// A part is neither a number nor a range.
    #[error("{part:?} is not a number or a range (expected a list like \"0-3,16-19\")")]
    NotARange {
        /// The part as it was written.
        part: String,
    },
    /// A range whose end comes before its start.
    #[error("{part:?} runs backwards (expected \"{last}-{first}\")")]
    Reversed {
        /// The part as it was written.
        part: String,
        /// The first number.
        first: u32,
        /// The second number.
        last: u32,
    },
    /// A number above [`MAX_ID`].
    #[error("{part:?} is beyond the highest id that can be ({MAX_ID})")]
    TooLarge {
        /// The part as it was written.
        part: String,
    },
    /// Far more ids in all than there are: parts that name the same ids again and again. A bound, so that a file of them does
    /// not cost time.
    #[error(
        "{part:?} is one range too many (expected each id once; all ranges together name more than {MAX_NAMED} ids)"
    )]
    TooMany {
        /// The part as it was written.
        part: String,
    },
    /// A group of a mask is not hexadecimal or longer than 32 bits.
    #[error(
        "{part:?} is not a group of a mask (expected up to 8 hexadecimal digits, groups separated by commas)"
    )]
    NotAMask {
        /// The group as it was written.
        part: String,
    },
}

/// Reads the list form. Empty text is the empty set.
///
/// # Errors
/// Names the part that is not understood.
pub fn parse_list<I: Id>(text: &str) -> Result<IdSet<I>, ListError> {
    let mut set = IdSet::new();
    for part in parts(text) {
        let run = part?;
        match run.stride {
            None => set.insert_range(id(run.first), id(run.last)),
            Some(_) => set.extend(run.ids().map(id)),
        }
    }
    Ok(set)
}

/// Reads the list form and hands on each id as it is written, without making a set of them. What was handed on before an
/// error is not to be used.
///
/// # Errors
/// Names the part that is not understood.
pub fn each_in_list<I: Id>(text: &str, mut each: impl FnMut(I)) -> Result<(), ListError> {
    for part in parts(text) {
        part?.ids().map(id).for_each(&mut each);
    }
    Ok(())
}

/// Reads the mask form: groups of up to 32 bits in hexadecimal, the highest first, separated by commas.
///
/// # Errors
/// Names the group that is not understood.
pub fn parse_mask<I: Id>(text: &str) -> Result<IdSet<I>, ListError> {
    let text = trimmed(text);
    let text = text.strip_prefix("0x").unwrap_or(text);
    let mut halves = Vec::new();
    for part in text.rsplit(',') {
        let digits = part.trim();
        let not_a_mask = || ListError::NotAMask {
            part: excerpt(part),
        };
        if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(not_a_mask());
        }
        halves.push(u32::from_str_radix(digits, 16).map_err(|_| not_a_mask())?);
        if halves.len() > (MAX_ID as usize + 1) / 32 {
            return Err(ListError::TooLarge {
                part: excerpt(part),
            });
        }
    }
    let words = halves
        .chunks(2)
        .map(|pair| u64::from(pair[0]) | u64::from(pair.get(1).copied().unwrap_or(0)) << 32)
        .collect();
    Ok(IdSet::from_words(words))
}

/// Writes the list form, ranges as long as possible.
///
/// # Errors
/// Those of the formatter.
pub fn write_list<I: Id>(set: &IdSet<I>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut comma = "";
    for (first, last) in set.runs() {
        if first == last {
            write!(f, "{comma}{first}")?;
        } else {
            write!(f, "{comma}{first}-{last}")?;
        }
        comma = ",";
    }
    Ok(())
}

/// The mask form as `/proc/PID/status` and sysfs print it: groups of 32 bits, the highest first, for at least `bits` bits.
#[must_use]
pub fn format_mask<I: Id>(set: &IdSet<I>, bits: usize) -> String {
    let needed = set.last().map_or(0, |id| id.index() + 1).max(bits).max(1);
    let groups = needed.div_ceil(32);
    let group = |n: usize| (set.word(n / 2) >> (32 * (n % 2))) & 0xffff_ffff;
    // The kernel pads the first group only to the bits it has: a machine of 4 bits prints "f".
    let first_digits = (needed - (groups - 1) * 32).div_ceil(4);
    let mut text = format!("{:0first_digits$x}", group(groups - 1));
    for n in (0..groups - 1).rev() {
        text.push_str(&format!(",{:08x}", group(n)));
    }
    text
}

/// A part of a list: a range, of which a stride (used ids, of groups of so many) may leave some out.
struct Run {
    first: u32,
    last: u32,
    stride: Option<(u32, u32)>,
}

impl Run {
    fn ids(&self) -> impl Iterator<Item = u32> {
        let (used, group) = self.stride.unwrap_or((1, 1));
        let first = self.first;
        (first..=self.last).filter(move |id| (id - first) % group < used)
    }
}

fn id<I: Id>(number: u32) -> I {
    I::from_index(number as usize)
}

/// The parts of a list, none for empty text.
fn parts(text: &str) -> impl Iterator<Item = Result<Run, ListError>> {
    let text = trimmed(text);
    let parts = (!text.is_empty()).then(|| text.split(','));
    let mut named = 0_u64;
    parts.into_iter().flatten().map(move |part| {
        let part = part.trim();
        let run = run(part)?;
        named += u64::from(run.last - run.first) + 1;
        match named <= MAX_NAMED {
            true => Ok(run),
            false => Err(ListError::TooMany {
                part: excerpt(part),
            }),
        }
    })
}

fn run(part: &str) -> Result<Run, ListError> {
    let not_a_range = || ListError::NotARange {
        part: excerpt(part),
    };
    let (range, stride) = match part.split_once(':') {
        Some((range, stride)) => (range, Some(stride)),
        None => (part, None),
    };
    let (first, last) = match range.split_once('-') {
        Some((first, last)) => (number(first, part)?, number(last, part)?),
        None => {
            let id = number(range, part)?;
            (id, id)
        }
    };
    if last < first {
        return Err(ListError::Reversed {
            part: excerpt(part),
            first,
            last,
        });
    }
    let stride = match stride {
        None => None,
        Some(stride) => {
            let (used, group) = stride.split_once('/').ok_or_else(not_a_range)?;
            let (used, group) = (number(used, part)?, number(group, part)?);
            if used == 0 || used > group {
                return Err(not_a_range());
            }
            Some((used, group))
        }
    };
    Ok(Run {
        first,
        last,
        stride,
    })
}

/// The start of a text that a message quotes: somebody's file can hold a line of a megabyte.
pub(crate) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

/// The start of a text that a message holds without quotes, and no character of it that a terminal would obey.
pub(crate) fn shown(text: &str, longest: usize) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut shown: String = text.chars().take(longest).map(plain).collect();
    if text.chars().nth(longest).is_some() {
        shown.push_str("...");
    }
    shown
}

/// Text without white space and NUL around it.
fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\0')
}

fn number(text: &str, part: &str) -> Result<u32, ListError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ListError::NotARange {
            part: excerpt(part),
        });
    }
    match text.parse::<u32>() {
        Ok(id) if id <= MAX_ID => Ok(id),
        _ => Err(ListError::TooLarge {
            part: excerpt(part),
        }),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::id::CpuId;
    use crate::idset::CpuSet;

    #[rstest]
    #[case::kernel("0-3,16-19\n", "0-3,16-19")]
    #[case::empty("\n", "")]
    #[case::nul("0-1\n\0", "0-1")]
    #[case::unsorted("5,1-2,2", "1-2,5")]
    #[case::stride("0-15:2/4", "0-1,4-5,8-9,12-13")]
    #[case::leading_zero("08", "8")]
    #[case::spaces(" 0-3, 5", "0-3,5")]
    fn reads_lists(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(text.parse::<CpuSet>().unwrap().to_string(), expected);
    }

    #[rstest]
    #[case(
        "0,,1",
        "\"\" is not a number or a range (expected a list like \"0-3,16-19\")"
    )]
    #[case(
        "1-",
        "\"1-\" is not a number or a range (expected a list like \"0-3,16-19\")"
    )]
    #[case("3-1", "\"3-1\" runs backwards (expected \"1-3\")")]
    #[case(
        "0-15:2",
        "\"0-15:2\" is not a number or a range (expected a list like \"0-3,16-19\")"
    )]
    #[case(
        "^3",
        "\"^3\" is not a number or a range (expected a list like \"0-3,16-19\")"
    )]
    #[case(
        "99999999999",
        "\"99999999999\" is beyond the highest id that can be (1048575)"
    )]
    fn refuses_lists(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(text.parse::<CpuSet>().unwrap_err().to_string(), expected);
    }

    #[test]
    fn what_is_quoted_is_short() {
        let long = "x".repeat(100_000);
        for error in [
            parse_list::<CpuId>(&long).unwrap_err(),
            parse_mask::<CpuId>(&long).unwrap_err(),
        ] {
            assert!(error.to_string().len() < 300, "{error}");
        }
    }

    #[test]
    fn all_ids_named_without_end_are_refused_at_once() {
        let all = format!("0-{MAX_ID}");
        let text = [all.as_str(); 4].join(",");
        assert_eq!(text.parse::<CpuSet>().unwrap().len(), MAX_ID as usize + 1);
        let text = vec![format!("{all}:1/1048575"); 100_000].join(",");
        let mut handed_on = 0;
        let error = each_in_list(&text, |_: CpuId| handed_on += 1).unwrap_err();
        assert_eq!(text.parse::<CpuSet>(), Err(error.clone()));
        assert_eq!(handed_on, 8);
        assert!(
            error.to_string().ends_with(
                "(expected each id once; all ranges together name more than 4194304 ids)"
            ),
            "{error}"
        );
    }

    #[rstest]
    #[case("000f000f\n", "0-3,16-19")]
    #[case("00000000,00000001,00000000,00000000", "64")]
    #[case("0x3", "0-1")]
    #[case("f", "0-3")]
    #[case("0", "")]
    fn reads_masks(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(parse_mask::<CpuId>(text).unwrap().to_string(), expected);
    }

    #[rstest]
    #[case("")]
    #[case("g")]
    #[case("123456789")]
    #[case("1,,1")]
    fn refuses_masks(#[case] text: &str) {
        assert!(matches!(
            parse_mask::<CpuId>(text),
            Err(ListError::NotAMask { .. })
        ));
    }

    #[rstest]
    #[case("0-3,16-19", 32, "000f000f")]
    #[case("0-3", 4, "f")]
    #[case("", 4, "0")]
    #[case("64", 72, "01,00000000,00000000")]
    #[case("0", 128, "00000000,00000000,00000000,00000001")]
    fn writes_masks(#[case] list: &str, #[case] bits: usize, #[case] expected: &str) {
        let set: CpuSet = list.parse().unwrap();
        assert_eq!(format_mask(&set, bits), expected);
        assert_eq!(parse_mask::<CpuId>(expected).unwrap(), set);
    }
}
