//! A recording as text: equal contents stand once, for all their paths.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use super::{MAGIC, Recording, VERSION, as_range, is_plain};
use crate::list;
use crate::tree::Entry;

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{MAGIC} {VERSION}")?;
        // Not by `lines`, which leaves out an empty last one.
        for line in self
            .provenance
            .split('\n')
            .skip_while(|_| self.provenance.is_empty())
        {
            writeln!(f, "provenance: {}", in_a_line(line))?;
        }
        for note in &self.notes {
            writeln!(f, "note: {}", in_a_line(note))?;
        }
        writeln!(f)?;
        for (paths, content) in statements(self) {
            match content {
                Content::Dir => writeln!(f, "{paths}/")?,
                Content::Link(target) => writeln!(f, "{paths} -> {target}")?,
                Content::File(bytes) => file(f, &paths, bytes)?,
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Content<'a> {
    Dir,
    File(&'a [u8]),
    Link(String),
}

/// A path with one part that is left open.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Hole<'a> {
    before: &'a str,
    after: &'a str,
}

/// What fills a hole; numbers in order of their value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Filler<'a> {
    Number(u32),
    Text(&'a str),
}

/// Each line of the text: paths, and what they hold. In natural order of the first path of each.
fn statements(recording: &Recording) -> Vec<(String, Content<'_>)> {
    let mut by_first: Vec<(String, String, Content<'_>)> = Vec::new();
    // Paths that differ in one filler and hold the same.
    let mut groups: BTreeMap<(Hole<'_>, Content<'_>), Vec<Filler<'_>>> = BTreeMap::new();
    let mut options = Vec::new();
    for (path, entry) in &recording.tree {
        let own = match entry {
            Entry::Dir => Content::Dir,
            Entry::File(bytes) => Content::File(bytes),
            Entry::Link(target) => Content::Link(quoted_unless_plain(target)),
        };
        let ways = ways(path, &own);
        if ways.is_empty() {
            by_first.push((path.clone(), quoted_unless_plain(path), own));
        }
        for (hole, filler, content) in &ways {
            groups
                .entry((hole.clone(), content.clone()))
                .or_default()
                .push(*filler);
        }
        options.push(ways);
    }
    // A link may go two ways: the larger group has it, the first way on a tie.
    let mut chosen: BTreeMap<(Hole<'_>, Content<'_>), Vec<Filler<'_>>> = BTreeMap::new();
    for ways in options {
        let size = |way: &Way<'_>| {
            groups
                .get(&(way.0.clone(), way.2.clone()))
                .map_or(0, Vec::len)
        };
        let best = ways
            .into_iter()
            .reduce(|a, b| if size(&b) > size(&a) { b } else { a });
        if let Some((hole, filler, content)) = best {
            chosen.entry((hole, content)).or_default().push(filler);
        }
    }
    // Groups that differ only behind the hole: the same content in several files of a directory.
    let mut merged: BTreeMap<(&str, Vec<Filler<'_>>, Content<'_>), Vec<&str>> = BTreeMap::new();
    for ((hole, content), mut fillers) in chosen {
        fillers.sort_unstable();
        merged
            .entry((hole.before, fillers, content))
            .or_default()
            .push(hole.after);
    }
    for ((before, fillers, content), afters) in merged {
        let (ranges, rest): (Vec<&str>, Vec<&str>) =
            afters.into_iter().partition(|after| needs_own_line(after));
        for afters in ranges.into_iter().map(|after| vec![after]).chain([rest]) {
            let Some(after) = afters.first() else {
                continue;
            };
            let Some(filler) = fillers.first() else {
                continue;
            };
            let first = match filler {
                Filler::Number(n) => format!("{before}{n}{after}"),
                Filler::Text(text) => format!("{before}{text}{after}"),
            };
            let paths = format!("{before}{}{}", braces(&fillers), tails(&afters));
            by_first.push((first, paths, fill_in(&content, &fillers)));
        }
    }
    by_first.sort_by(|a, b| natural(&a.0, &b.0).then_with(|| a.1.cmp(&b.1)));
    by_first
        .into_iter()
        .map(|(_, paths, content)| (paths, content))
        .collect()
}

type Way<'a> = (Hole<'a>, Filler<'a>, Content<'a>);

/// The ways to leave a part of a path open: of numbered parts (`cpu3`) the first, else of PCI addresses the last. A link
/// may follow the last such part instead, if its target ends in the same.
fn ways<'a>(path: &'a str, own: &Content<'a>) -> Vec<Way<'a>> {
    if !path.chars().all(|c| is_plain(c) && c != ',') {
        return Vec::new();
    }
    let mut numbered = Vec::new();
    let mut addresses = Vec::new();
    let mut start = 0;
    for part in path.split('/') {
        let end = start + part.len();
        if let Some((number, digits)) = trailing_number(part) {
            numbered.push((end - digits, end, Filler::Number(number)));
        } else if is_pci_address(part) {
            addresses.push((start, end, Filler::Text(part)));
        }
        start = end + 1;
    }
    let first = numbered.first().or(addresses.last()).copied();
    let last = numbered.last().or(addresses.last()).copied();
    let cut = |(start, end, filler): (usize, usize, Filler<'a>), content| {
        let (before, after) = (path.get(..start)?, path.get(end..)?);
        Some((Hole { before, after }, filler, content))
    };
    let mut ways: Vec<Way<'a>> = first
        .and_then(|first| cut(first, own.clone()))
        .into_iter()
        .collect();
    if let (Content::Link(target), Some((start, end, _))) = (own, last) {
        let filler = path.get(start..end).unwrap_or_default();
        let stem = target.strip_suffix(filler).filter(|stem| {
            !target.starts_with('"') && !stem.ends_with(|c: char| c.is_ascii_digit())
        });
        if let Some(stem) = stem {
            ways.extend(last.and_then(|last| cut(last, Content::Link(format!("{stem}{{}}")))));
        }
    }
    ways
}

/// `cpu12` -> 12, of 2 digits. Only what is written back the same.
fn trailing_number(part: &str) -> Option<(u32, usize)> {
    let stem = part.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = part.strip_prefix(stem)?;
    let named = !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let canonical = digits == "0" || !digits.starts_with('0');
    // Lower than the highest number, so that ranges can be counted past their end.
    let number = digits.parse().ok().filter(|n| *n < u32::MAX);
    (named && canonical).then_some((number?, digits.len()))
}

fn is_pci_address(part: &str) -> bool {
    let hex = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    part.rsplit_once('.').is_some_and(|(slot, function)| {
        let fields: Vec<&str> = slot.split(':').collect();
        hex(function) && fields.len() == 3 && fields.into_iter().all(hex)
    })
}

/// What would be read as a range if it stood in braces.
fn needs_own_line(after: &str) -> bool {
    as_range(after.rsplit('/').next().unwrap_or_default()).is_some()
}

fn braces(fillers: &[Filler<'_>]) -> String {
    match fillers {
        [Filler::Number(one)] => one.to_string(),
        [Filler::Text(one)] => (*one).to_owned(),
        _ => {
            let numbers = fillers.iter().filter_map(|f| match f {
                Filler::Number(n) => Some(*n),
                Filler::Text(_) => None,
            });
            let numbers = list::list(numbers);
            let texts = fillers.iter().filter_map(|f| match f {
                Filler::Number(_) => None,
                Filler::Text(text) => Some(*text),
            });
            let all: Vec<&str> = Some(numbers.as_str())
                .filter(|n| !n.is_empty())
                .into_iter()
                .chain(texts)
                .collect();
            format!("{{{}}}", all.join(","))
        }
    }
}

/// What stands behind the hole; of several, the directory that they share stands in front of the braces.
fn tails(afters: &[&str]) -> String {
    let [first, rest @ ..] = afters else {
        return String::new();
    };
    if rest.is_empty() {
        return (*first).to_owned();
    }
    let shared = |end: &usize| {
        let dir = first.get(..=*end).unwrap_or_default();
        rest.iter().all(|after| after.starts_with(dir))
    };
    let end = first
        .match_indices('/')
        .map(|(at, _)| at)
        .take_while(shared)
        .last()
        .unwrap_or_default();
    let names: Vec<&str> = afters
        .iter()
        .map(|after| after.get(end + 1..).unwrap_or_default())
        .collect();
    format!(
        "{}{{{}}}",
        first.get(..=end).unwrap_or_default(),
        names.join(",")
    )
}

/// A single path needs no `{}` in its target.
fn fill_in<'a>(content: &Content<'a>, fillers: &[Filler<'_>]) -> Content<'a> {
    match (content, fillers) {
        (Content::Link(target), [one]) if target.ends_with("{}") => {
            let one = braces(&[*one]);
            Content::Link(target.replace("{}", &one))
        }
        _ => content.clone(),
    }
}

fn file(f: &mut fmt::Formatter<'_>, paths: &str, bytes: &[u8]) -> fmt::Result {
    let text = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.strip_suffix('\n'));
    let lines: Vec<&str> = text
        .map(|text| text.split('\n').collect())
        .unwrap_or_default();
    let visible =
        |line: &str| line.bytes().all(|b| (b' '..=b'~').contains(&b)) && !line.ends_with(' ');
    match lines.as_slice() {
        [line]
            if visible(line)
                && !line.is_empty()
                && !line.starts_with(' ')
                && !line.starts_with('"') =>
        {
            writeln!(f, "{paths} = {line}")
        }
        [_, _, ..] if lines.iter().all(|line| visible(line)) => {
            writeln!(f, "{paths} <<")?;
            lines.iter().try_for_each(|line| {
                let space = if line.is_empty() { "" } else { " " };
                writeln!(f, "|{space}{line}")
            })
        }
        _ => writeln!(f, "{paths} = {}", quoted(bytes)),
    }
}

/// A name may have any character; a line of the header has no control characters.
pub(super) fn in_a_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

fn quoted_unless_plain(text: &str) -> String {
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        quoted(text.as_bytes())
    }
}

fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in bytes {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'\r' => text.push_str("\\r"),
            0 => text.push_str("\\0"),
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    text
}

/// Numbers in a path count by their value: cpu9 before cpu10.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (number_a, rest_a) = split_number(a);
        let (number_b, rest_b) = split_number(b);
        let order = if number_a.is_empty() || number_b.is_empty() {
            // Compare one character, or the end.
            let (ca, cb) = (a.chars().next(), b.chars().next());
            let order = ca.cmp(&cb);
            if order == Ordering::Equal {
                let Some(c) = ca else { return Ordering::Equal };
                a = a.get(c.len_utf8()..).unwrap_or_default();
                b = b.get(c.len_utf8()..).unwrap_or_default();
            }
            order
        } else {
            (a, b) = (rest_a, rest_b);
            let value = |n: &str| n.trim_start_matches('0').len();
            value(number_a).cmp(&value(number_b)).then_with(|| {
                number_a
                    .trim_start_matches('0')
                    .cmp(number_b.trim_start_matches('0'))
            })
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn split_number(text: &str) -> (&str, &str) {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    text.split_at(text.len() - rest.len())
}
