//! Property strings: "key=value" parts between commas, one of which may stand without its key.
//!
//! The grammar is that of Proxmox VE (pve-common JSONSchema.pm, `parse_property_string`): parts of white space only are passed
//! over, nothing is trimmed, a value may hold "=", a key may come only once. numapin's own settings use the same.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::excerpt;

/// The parts of a property string, in the order they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties<'a> {
    parts: Vec<(&'a str, &'a str)>,
}

/// Why a property string was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// A key that comes twice.
    #[error("{key:?} is there twice in {text:?} (expected each key once)")]
    Twice {
        /// Which one; the default key for a value without one.
        key: String,
        /// The whole string.
        text: String,
    },
    /// A value without a key, where none is meant by default.
    #[error("{part:?} has no key (expected key=value)")]
    NoKey {
        /// The part as it was written.
        part: String,
    },
    /// Nothing before or after the "=".
    #[error("{part:?} is half a property (expected key=value)")]
    Half {
        /// The part as it was written.
        part: String,
    },
}

/// Reads a property string. `default_key` is the key of the part that stands without one.
///
/// # Errors
/// A key comes twice, a part has no key and there is no default, or a part lacks what stands before or after its "=".
pub fn read<'a>(
    text: &'a str,
    default_key: Option<&'a str>,
) -> Result<Properties<'a>, PropertyError> {
    let mut parts: Vec<(&str, &str)> = Vec::new();
    let mut keys = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let (key, value) = match (part.split_once('='), default_key) {
            (Some((key, value)), _) if !key.is_empty() && !value.is_empty() => (key, value),
            (Some(_), _) => {
                return Err(PropertyError::Half {
                    part: excerpt(part),
                });
            }
            (None, Some(key)) => (key, part),
            (None, None) => {
                return Err(PropertyError::NoKey {
                    part: excerpt(part),
                });
            }
        };
        if !keys.insert(key) {
            return Err(PropertyError::Twice {
                key: excerpt(key),
                text: excerpt(text),
            });
        }
        parts.push((key, value));
    }
    Ok(Properties { parts })
}

/// Writes a property string; the value of `default_key` stands without its key, unless it could not be told apart then.
#[must_use]
pub fn print(parts: &[(&str, &str)], default_key: Option<&str>) -> String {
    let mut text = String::new();
    for (key, value) in parts {
        if !text.is_empty() {
            text.push(',');
        }
        if default_key != Some(*key) || value.contains('=') {
            let _ = write!(text, "{key}=");
        }
        text.push_str(value);
    }
    text
}

impl<'a> Properties<'a> {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a str> {
        let part = self.parts.iter().find(|(k, _)| *k == key);
        part.map(|(_, value)| *value)
    }

    /// Keys and values in the order they are written.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        self.parts.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("4096", &[("current", "4096")])]
    #[case("current=4096", &[("current", "4096")])]
    #[case("a=1,,b=2,", &[("a", "1"), ("b", "2")])]
    #[case("a=1, ,b=2", &[("a", "1"), ("b", "2")])]
    #[case("a=b=c", &[("a", "b=c")])]
    #[case("cpus=0, memory=1", &[("cpus", "0"), (" memory", "1")])]
    #[case(" 4096", &[("current", " 4096")])]
    #[case("", &[])]
    fn is_read(#[case] text: &str, #[case] parts: &[(&str, &str)]) {
        let read = read(text, Some("current")).unwrap();
        assert_eq!(read.iter().collect::<Vec<_>>(), parts);
    }

    #[rstest]
    #[case(
        "a=1,a=2",
        "\"a\" is there twice in \"a=1,a=2\" (expected each key once)"
    )]
    #[case(
        "1,2",
        "\"current\" is there twice in \"1,2\" (expected each key once)"
    )]
    #[case(
        "current=1,2",
        "\"current\" is there twice in \"current=1,2\" (expected each key once)"
    )]
    #[case("a=", "\"a=\" is half a property (expected key=value)")]
    #[case("=1", "\"=1\" is half a property (expected key=value)")]
    fn is_refused(#[case] text: &str, #[case] says: &str) {
        assert_eq!(read(text, Some("current")).unwrap_err().to_string(), says);
    }

    #[test]
    fn a_value_alone_needs_a_default_key() {
        let refused = read("a=1,7", None).unwrap_err();
        assert_eq!(refused.to_string(), "\"7\" has no key (expected key=value)");
    }

    #[test]
    fn a_long_text_is_quoted_in_part_and_read_at_once() {
        let long = format!(
            "{},k7=again",
            (0..100_000).map(|i| format!("k{i}=v,")).collect::<String>()
        );
        let refused = read(&long, None).unwrap_err().to_string();
        assert!(
            refused.starts_with("\"k7\" is there twice in \"k0=v,k1=v,") && refused.len() < 160,
            "{refused}"
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(
            keys in proptest::collection::btree_set("[a-z][a-z-]{0,8}", 0..6),
            values in proptest::collection::vec("[!-+.-~]{1,12}", 6),
            default in proptest::option::of(0..6_usize),
        ) {
            let parts: Vec<(&str, &str)> =
                keys.iter().map(String::as_str).zip(values.iter().map(String::as_str)).collect();
            let default_key = default.and_then(|i| parts.get(i)).map(|(key, _)| *key);
            let printed = print(&parts, default_key);
            prop_assert_eq!(read(&printed, default_key).unwrap().parts, parts);
        }

        #[test]
        fn no_text_is_a_panic(text in "\\PC*", default_key in proptest::option::of("[a-z]+")) {
            let _ = read(&text, default_key.as_deref());
        }
    }
}
