//! A recording's text, read strictly.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::quoted::{unquote, value};
use super::{MAGIC, Recording, VERSION, as_range, destination, is_plain};
use crate::error::shown;
use crate::tree::{Entry, Tree, bad_path};

/// The number of a line, from 1, and what is wrong with it.
type Wrong = (usize, String);

/// The most entries a recording may have, and bytes in their paths. A line such as `a{0-999999}/{0-999999}` must not fill the
/// memory.
const MAX_ENTRIES: usize = 2_000_000;
const MAX_PATHS: usize = 1 << 28;
/// The most braces in a line.
const MAX_BRACES: usize = 8;

pub(super) fn parse(text: &str) -> Result<Recording, Wrong> {
    let mut lines = text
        .split('\n')
        .enumerate()
        .map(|(i, line)| (i + 1, line))
        .peekable();
    let first = lines.next().map_or("", |(_, line)| line);
    match first.split_once(' ') {
        Some((MAGIC, VERSION)) => {}
        Some((MAGIC, other)) => {
            return Err((
                1,
                format!(
                    "version '{other}' of recordings is unknown (expected {VERSION})",
                    other = shown(other)
                ),
            ));
        }
        _ => {
            return Err((
                1,
                format!("'{first}' is not '{MAGIC} {VERSION}'", first = shown(first)),
            ));
        }
    }
    let mut recording = Recording::default();
    let mut provenance: Vec<&str> = Vec::new();
    while let Some((number, line)) = lines.peek() {
        if let Some(text) = line.strip_prefix("provenance:") {
            provenance.push(header(text, *number)?);
        } else if let Some(text) = line.strip_prefix("note:") {
            recording.notes.push(header(text, *number)?.to_owned());
        } else if !line.starts_with('#') {
            break;
        }
        lines.next();
    }
    recording.provenance = provenance.join("\n");
    let mut bytes = 0_usize;
    // Each entry with its line.
    let mut found: BTreeMap<String, (Entry, usize)> = BTreeMap::new();
    while let Some((number, line)) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = |what: String| (number, what);
        if line.starts_with('|') {
            return Err(at(format!(
                "'{line}' belongs to no '<<'",
                line = shown(line)
            )));
        }
        let (paths, rest) = paths(line).map_err(at)?;
        let entry = match rest {
            Rest::Dir => Holds::Entry(Entry::Dir),
            Rest::Link(target) => link(target).map_err(at)?,
            Rest::File(text) => Holds::Entry(Entry::File(Arc::from(value(text).map_err(at)?))),
            Rest::Lines => {
                let mut bytes = Vec::new();
                while let Some((_, line)) = lines.next_if(|(_, line)| line.starts_with('|')) {
                    let line = line.get(1..).unwrap_or_default();
                    let line = line.strip_prefix(' ').unwrap_or(line);
                    bytes.extend_from_slice(line.as_bytes());
                    bytes.push(b'\n');
                }
                if bytes.is_empty() {
                    return Err((
                        number,
                        "'<<' without a line behind it that begins with '|'".to_owned(),
                    ));
                }
                Holds::Entry(Entry::File(Arc::from(bytes)))
            }
        };
        if found.len().saturating_add(paths.count()) > MAX_ENTRIES {
            return Err((number, format!("more than {MAX_ENTRIES} paths")));
        }
        paths
            .each(&mut |path, filler| {
                bytes = bytes.saturating_add(path.len());
                if bytes > MAX_PATHS {
                    return Err(format!("more than {MAX_PATHS} bytes of paths"));
                }
                let entry = entry.of(path, filler)?;
                if let Some(problem) = bad_path(path) {
                    return Err(format!("path '{path}' {problem}", path = shown(path)));
                }
                match found.insert(path.to_owned(), (entry, number)) {
                    Some((_, earlier)) => Err(format!(
                        "path '{path}' stands in line {earlier} already",
                        path = shown(path)
                    )),
                    None => Ok(()),
                }
            })
            .map_err(at)?;
    }
    nothing_below_a_file(&found)?;
    recording.tree = found
        .into_iter()
        .map(|(path, (entry, _))| (path, entry))
        .collect::<Tree>();
    Ok(recording)
}

enum Rest<'a> {
    Dir,
    Link(&'a str),
    File(&'a str),
    Lines,
}

/// The text of a path with its alternatives: texts, and between them what stands in braces.
struct Paths {
    texts: Vec<String>,
    braces: Vec<Vec<Alternative>>,
}

enum Alternative {
    Text(String),
    Numbers(u32, u32),
}

/// What all the paths of a line hold.
enum Holds {
    Entry(Entry),
    /// A link whose target has what the first brace stood for between these.
    LinkWith(String, String),
}

/// The paths of a line, and what stands behind them.
fn paths(line: &str) -> Result<(Paths, Rest<'_>), String> {
    let (paths, rest) = if line.starts_with('"') {
        let (bytes, rest) = unquote(line)?;
        let path = String::from_utf8(bytes).map_err(|_| "a path is not UTF-8".to_owned())?;
        match rest.strip_prefix('/') {
            Some("") => return Ok((Paths::one(path), Rest::Dir)),
            _ => (Paths::one(path), rest),
        }
    } else {
        let (path, rest) = line.split_at(line.find(' ').unwrap_or(line.len()));
        if let (Some(dir), "") = (path.strip_suffix('/'), rest) {
            return Ok((Paths::parse(dir)?, Rest::Dir));
        }
        (Paths::parse(path)?, rest)
    };
    let rest = if rest == " <<" {
        Rest::Lines
    } else if let Some(target) = rest.strip_prefix(" -> ") {
        Rest::Link(target)
    } else if let Some(text) = rest.strip_prefix(" = ") {
        Rest::File(text)
    } else {
        return Err(format!(
            "'{line}' is no entry (expected 'PATH = TEXT', 'PATH -> TARGET', 'PATH <<' or 'PATH/')",
            line = shown(line)
        ));
    };
    Ok((paths, rest))
}

impl Paths {
    fn one(path: String) -> Self {
        Self {
            texts: vec![path],
            braces: Vec::new(),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut paths = Self {
            texts: Vec::new(),
            braces: Vec::new(),
        };
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, after) = after.split_once('}').ok_or_else(|| {
                format!("'{text}' has a '{{' without its '}}'", text = shown(text))
            })?;
            paths.texts.push(before.to_owned());
            paths.braces.push(
                inside
                    .split(',')
                    .map(alternative)
                    .collect::<Result<_, _>>()?,
            );
            rest = after;
            if paths.braces.len() > MAX_BRACES {
                return Err(format!("more than {MAX_BRACES} braces in a path"));
            }
        }
        paths.texts.push(rest.to_owned());
        if let Some(c) = paths
            .texts
            .iter()
            .flat_map(|t| t.chars())
            .find(|c| !is_plain(*c))
        {
            return Err(format!(
                "'{text}' has the character '{}'; such a path stands in quotes",
                c.escape_default(),
                text = shown(text)
            ));
        }
        Ok(paths)
    }

    fn count(&self) -> usize {
        let of_brace = |brace: &Vec<Alternative>| {
            brace
                .iter()
                .map(|a| match a {
                    Alternative::Text(_) => 1,
                    Alternative::Numbers(a, b) => (b - a) as usize + 1,
                })
                .fold(0_usize, usize::saturating_add)
        };
        self.braces
            .iter()
            .map(of_brace)
            .fold(1, usize::saturating_mul)
    }

    /// Calls `take` with each path, and with what its first brace stood for.
    fn each(&self, take: &mut impl FnMut(&str, &str) -> Result<(), String>) -> Result<(), String> {
        let start = self.texts.first().cloned().unwrap_or_default();
        self.each_from(0, &start, "", take)
    }

    fn each_from(
        &self,
        brace: usize,
        so_far: &str,
        filler: &str,
        take: &mut impl FnMut(&str, &str) -> Result<(), String>,
    ) -> Result<(), String> {
        let (Some(alternatives), Some(text)) = (self.braces.get(brace), self.texts.get(brace + 1))
        else {
            return take(so_far, filler);
        };
        let mut with = |part: &str| {
            let filler = if brace == 0 { part } else { filler };
            self.each_from(brace + 1, &format!("{so_far}{part}{text}"), filler, take)
        };
        for alternative in alternatives {
            match alternative {
                Alternative::Text(part) => with(part)?,
                Alternative::Numbers(first, last) => {
                    (*first..=*last).try_for_each(|n| with(&n.to_string()))?;
                }
            }
        }
        Ok(())
    }
}

fn alternative(text: &str) -> Result<Alternative, String> {
    match as_range(text) {
        Some((first, last)) if first < last => Ok(Alternative::Numbers(first, last)),
        Some(_) => Err(format!(
            "'{text}' in braces is no range (expected the lower number first)",
            text = shown(text)
        )),
        None if text.is_empty() => Err("an empty alternative in braces".to_owned()),
        None => match text.chars().find(|c| !is_plain(*c)) {
            Some(c) => Err(format!(
                "'{text}' in braces has the character '{}'",
                c.escape_default(),
                text = shown(text)
            )),
            None => Ok(Alternative::Text(text.to_owned())),
        },
    }
}

impl Holds {
    fn of(&self, path: &str, filler: &str) -> Result<Entry, String> {
        let entry = match self {
            Self::Entry(entry) => entry.clone(),
            Self::LinkWith(_, _) if filler.is_empty() => {
                return Err("'{}' in a target, but no braces in the path".to_owned());
            }
            Self::LinkWith(before, after) => Entry::Link(format!("{before}{filler}{after}")),
        };
        match &entry {
            Entry::Link(target) if destination(path, target).is_none() => Err(format!(
                "the link '{path}' leads to '{target}', which is not inside the tree",
                path = shown(path),
                target = shown(target)
            )),
            _ => Ok(entry),
        }
    }
}

fn link(target: &str) -> Result<Holds, String> {
    if target.starts_with('"') {
        return match unquote(target)? {
            (bytes, "") => match String::from_utf8(bytes) {
                Ok(target) => Ok(Holds::Entry(Entry::Link(target))),
                Err(_) => Err("a target is not UTF-8".to_owned()),
            },
            (_, rest) => Err(format!(
                "'{rest}' behind the closing quote",
                rest = shown(rest)
            )),
        };
    }
    let (before, after) = target
        .split_once("{}")
        .map_or((target, None), |(b, a)| (b, Some(a)));
    match before
        .chars()
        .chain(after.unwrap_or_default().chars())
        .find(|c| !is_plain(*c))
    {
        Some(c) => Err(format!(
            "the target '{target}' has the character '{}'; such a target stands in quotes",
            c.escape_default(),
            target = shown(target)
        )),
        None => Ok(match after {
            Some(after) => Holds::LinkWith(before.to_owned(), after.to_owned()),
            None => Holds::Entry(Entry::Link(target.to_owned())),
        }),
    }
}

fn header(text: &str, line: usize) -> Result<&str, Wrong> {
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err((
            line,
            format!("the control character '{}'", c.escape_default()),
        )),
        None => Ok(text.strip_prefix(' ').unwrap_or(text)),
    }
}

fn nothing_below_a_file(found: &BTreeMap<String, (Entry, usize)>) -> Result<(), Wrong> {
    for (path, (_, line)) in found {
        for (at, _) in path.match_indices('/') {
            let above = path.get(..at).unwrap_or_default();
            if let Some((entry, other)) = found.get(above) {
                let kind = match entry {
                    Entry::File(_) => "a file",
                    Entry::Link(_) => "a link",
                    Entry::Dir => "an empty directory",
                };
                return Err((
                    *line,
                    format!(
                        "'{path}' is below '{above}', which is {kind} (line {other})",
                        path = shown(path),
                        above = shown(above)
                    ),
                ));
            }
        }
    }
    Ok(())
}
