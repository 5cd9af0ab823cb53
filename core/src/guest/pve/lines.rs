//! The lines of a config file, as Proxmox VE takes them apart (qemu-server QemuServer.pm, `parse_vm_config`): a live part, then
//! sections. Of these only `[PENDING]` is kept.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::Oddity;
use super::{Written, is_blank, types, words};
use crate::guest::excerpt;
use crate::sorted;

/// Values by key, each with its line.
pub(super) type Values<'a> = BTreeMap<&'a str, Written<&'a str>>;

/// What the lines of a config say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lines<'a> {
    /// The part before the first section.
    pub(super) live: Values<'a>,
    /// The section `[PENDING]`.
    pub(super) pending: Values<'a>,
    /// What `[PENDING]` deletes.
    pub(super) delete: BTreeSet<&'a str>,
    /// Whether any line could be read.
    pub(super) any: bool,
    /// What is odd, with the line.
    pub(super) oddities: Vec<Written<Oddity>>,
}

enum Section {
    Live,
    Pending,
    /// A snapshot or a special section: its values are checked and not kept.
    Other,
    Unknown,
}

/// Takes a config apart. Values that Proxmox VE can't read are dropped, but for those that are an error here.
pub(super) fn read(text: &str) -> Lines<'_> {
    let mut lines = Lines::default();
    let mut section = Section::Live;
    let mut names = BTreeSet::new();
    for (i, line) in text.split('\n').enumerate() {
        let number = i + 1;
        if line.trim_matches(is_blank).is_empty() {
            continue;
        }
        if let Some(name) = header(line) {
            lines.any = true;
            section = lines.enter(name, number, &mut names);
            continue;
        }
        if matches!(section, Section::Unknown) {
            continue;
        }
        lines.take(line, number, &section);
    }
    lines
}

impl<'a> Lines<'a> {
    fn odd(&mut self, line: usize, value: Oddity) {
        self.oddities.push(Written { value, line });
    }

    fn enter(&mut self, name: &str, number: usize, names: &mut BTreeSet<String>) -> Section {
        let lower = name.to_ascii_lowercase();
        let section = match lower.as_str() {
            "pending" => Section::Pending,
            "special:cloudinit" | "special:fleecing" => Section::Other,
            _ if is_snapshot(&lower) => Section::Other,
            _ => {
                let name = excerpt(&name.escape_debug().to_string());
                self.odd(number, Oddity::UnknownSection { name });
                return Section::Unknown;
            }
        };
        if matches!(section, Section::Pending) {
            self.pending.clear();
            self.delete.clear();
        }
        // Snapshots differ by case; the others do not.
        let known = match lower.as_str() {
            "pending" => "PENDING".to_owned(),
            _ if lower.starts_with("special:") => lower,
            _ => name.to_owned(),
        };
        if !names.insert(known.clone()) {
            let name = excerpt(&known);
            self.odd(number, Oddity::SectionTwice { name });
        }
        section
    }

    fn take(&mut self, line: &'a str, number: usize, section: &Section) {
        let Some((key, value)) = key_value(line) else {
            if is_passed_over(line) {
                self.any = true;
            } else {
                let found = excerpt(line.trim_matches(is_blank));
                self.odd(number, Oddity::Line { found });
            }
            return;
        };
        self.any = true;
        match (key, section) {
            ("description", _) => {}
            ("snapstate", _) if matches!(value, "prepare" | "delete") => {}
            ("delete", Section::Pending) => {
                let keys = words(value).map(|key| key.strip_prefix('!').unwrap_or(key));
                self.delete = sorted::set(keys.filter(|key| !key.is_empty()));
            }
            ("delete", _) => self.odd(number, Oddity::Delete),
            _ => {
                let refused = types::check(key, value).err();
                let (values, kept) = match section {
                    Section::Live => (&mut self.live, true),
                    Section::Pending => (&mut self.pending, true),
                    Section::Other | Section::Unknown => (&mut self.live, false),
                };
                match refused {
                    Some(problem) if !(kept && types::is_placing(key)) => {
                        let key = key.to_owned();
                        self.odd(number, Oddity::Dropped { key, problem });
                    }
                    _ if kept => {
                        values.insert(
                            key,
                            Written {
                                value,
                                line: number,
                            },
                        );
                    }
                    _ => {}
                }
            }
        }
    }
}

/// The name in a section header.
fn header(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('[')?;
    let (name, rest) = rest.split_once(']')?;
    rest.trim_matches(is_blank).is_empty().then_some(name)
}

/// At least two characters: a letter, then letters, digits, "_" and "-".
fn is_snapshot(lower: &str) -> bool {
    let mut bytes = lower.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && lower.len() >= 2
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
}

/// A key is lower-case letters, "_" and "-", with digits only at its end; a value is not empty.
fn key_value(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let word = key.trim_end_matches(|c: char| c.is_ascii_digit());
    let mut bytes = word.bytes();
    let is_key = bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b"_-".contains(&b));
    let value = value.trim_matches(is_blank);
    (is_key && !value.is_empty()).then_some((key, value))
}

/// Lines of the description, and the state of a snapshot, which Proxmox VE finds anywhere in a line.
fn is_passed_over(line: &str) -> bool {
    let state = line
        .split_once("snapstate:")
        .map(|(_, state)| state.trim_matches(is_blank));
    line.starts_with('#') || matches!(state, Some("prepare" | "delete"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn live(text: &str) -> Vec<(&str, &str, usize)> {
        let lines = read(text);
        lines
            .live
            .into_iter()
            .map(|(key, written)| (key, written.value, written.line))
            .collect()
    }

    fn oddities(text: &str) -> Vec<String> {
        let oddities = read(text).oddities;
        oddities
            .iter()
            .map(|odd| format!("{}: {}", odd.line, odd.value))
            .collect()
    }

    #[rstest]
    #[case("cores: 2\ncores: 4\n", &[("cores", "4", 2)])]
    #[case("cores:2", &[("cores", "2", 1)])]
    #[case("cores: 2  \r\n", &[("cores", "2", 1)])]
    #[case("cores: 4\ncores: x\n", &[("cores", "4", 1)])]
    #[case("name: a: b\n", &[("name", "a: b", 1)])]
    #[case("args: -smp 2,cores=2  \n", &[("args", "-smp 2,cores=2", 1)])]
    #[case("#cores: 2\n\n  \ndescription: cores\n", &[])]
    #[case("cores: 1\n[snap]\ncores: 2\n", &[("cores", "1", 1)])]
    #[case("[:3]\ncores: 2\n", &[])]
    fn the_live_part(#[case] text: &str, #[case] values: &[(&str, &str, usize)]) {
        assert_eq!(live(text), values);
    }

    #[rstest]
    #[case(
        "Cores: 2",
        "1: \"Cores: 2\" can't be read (expected \"key: value\"): it is passed over"
    )]
    #[case("co2res: 2", "1: \"co2res: 2\" can't be read")]
    #[case("cores:", "1: \"cores:\" can't be read")]
    #[case("\ncores 2", "2: \"cores 2\" can't be read")]
    #[case(" cores: 2", "1: \"cores: 2\" can't be read")]
    #[case(
        "delete: cores",
        "1: delete: counts only in the section [PENDING]: it is passed over"
    )]
    #[case(
        "cores: two",
        "1: cores: \"two\" is not a number from 0 up: the line is passed over, as Proxmox VE does"
    )]
    #[case(
        "numa: maybe",
        "1: numa: \"maybe\" is not a boolean (expected 0 or 1): the line is passed over"
    )]
    #[case("[x]\ncores", "1: section [x] is unknown: it is passed over")]
    #[case(
        "[special:new]\ncores",
        "1: section [special:new] is unknown: it is passed over"
    )]
    #[case("[snap]\nnuma: x", "2: numa: \"x\" is not a boolean")]
    #[case("[snap]\nnuma0: x", "2: numa0: cpus: \"x\" is not a number or a range")]
    #[case(
        "[PENDING]\n[pending]\n",
        "2: section [PENDING] is there twice: only the last one counts"
    )]
    fn what_is_odd_is_told_with_its_line(#[case] text: &str, #[case] says: &str) {
        let oddities = oddities(text);
        assert_eq!(oddities.len(), 1, "{oddities:?}");
        assert!(oddities[0].starts_with(says), "{oddities:?}");
    }

    #[rstest]
    #[case("[snap]\nsnapstate: prepare\n")]
    #[case("xsnapstate: delete\n")]
    #[case("somekey: whatever\nhotplug9: x\nnuma8: x\n")]
    fn what_is_not_ours_passes_in_silence(#[case] text: &str) {
        assert_eq!(oddities(text), Vec::<String>::new());
    }

    #[rstest]
    #[case("[PENDING]\ndelete: a,!b;c d\n", &["a", "b", "c", "d"])]
    #[case("[PENDING]\ndelete: a\n[PENDING]\ndelete: b\n", &["b"])]
    #[case("[PENDING]\ndelete: a\ndelete: b\n", &["b"])]
    #[case("[PENDING]\n[snap]\ndelete: b\n", &[])]
    fn pending_deletes(#[case] text: &str, #[case] deletes: &[&str]) {
        assert_eq!(read(text).delete.into_iter().collect::<Vec<_>>(), deletes);
    }
}
