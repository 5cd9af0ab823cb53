//! What the signs of a picture mean, below it.

use std::fmt::Write as _;

use super::super::drawing::{Drawing, How, Ink, Key, Sign, Signs, State};
use super::super::look::Look;
use super::tile::{Line, Span, Tile, length};
use super::{free, written};

/// What stands before each line.
const INDENT: &str = "  ";
/// What stands between two signs.
const GAP: &str = "   ";

/// The legend; empty where there is nothing to be told.
pub(super) fn text(drawing: &Drawing, signs: &Signs, look: Look) -> String {
    let keys = signs.legend(&[drawing]);
    let mut lines: Vec<Line> = Vec::new();
    let mut rest = true;
    for key in &keys {
        let entry = entry(key);
        let own = matches!(
            key.signs[0].ink,
            Ink::Owner {
                how: How::Alone | How::Mask,
                ..
            }
        );
        // Each guest begins a line; what is not a guest's begins one together.
        let new = key.first || (!own && rest);
        rest &= own;
        put(&mut lines, entry, new, look);
    }
    if !drawing.is_empty() {
        let all = drawing.cells.values();
        let nobody = all.filter(|cell| cell.holders.is_empty() && cell.state == State::Usable);
        let count = nobody.count();
        if count > 0 {
            let sign = written(&Sign::free(), free(look));
            let entry = vec![sign, Span::plain(format!(" free ({count})"))];
            put(&mut lines, entry, rest, look);
        }
        let ways = ways(&keys);
        if !ways.is_empty() {
            put(&mut lines, vec![Span::plain(ways)], false, look);
        }
    }
    let mut out = String::new();
    for line in lines.into_iter().filter(|line| length(line) > INDENT.len()) {
        let _ = write!(out, "{}", Tile::new(vec![line]).text(look));
    }
    out
}

/// Puts an entry on the last line, or on a new one where it does not fit.
fn put(lines: &mut Vec<Line>, entry: Line, new: bool, look: Look) {
    let wide = length(&entry);
    match lines.last_mut() {
        Some(line) if !new && length(line) + GAP.len() + wide <= look.width => {
            line.push(Span::plain(GAP));
            line.extend(entry);
        }
        _ => {
            let mut line = vec![Span::plain(INDENT)];
            line.extend(entry);
            lines.push(line);
        }
    }
}

fn entry(key: &Key) -> Line {
    let mut line = Line::new();
    for sign in &key.signs {
        line.push(written(sign, ""));
        line.push(Span::plain(" "));
    }
    line.push(Span::plain(key.text.as_str()));
    line
}

/// What capital and small letters say.
fn ways(keys: &[Key]) -> String {
    let has = |how| {
        let signs = keys.iter().flat_map(|key| &key.signs);
        let mut inks = signs.map(|sign| sign.ink);
        inks.any(|ink| matches!(ink, Ink::Owner { how: of, .. } | Ink::Other(of) if of == how))
    };
    match (has(How::Alone), has(How::Mask)) {
        (true, true) => {
            "capital letter: held one-to-one; small letter: one of several cpus of a mask"
        }
        (true, false) => "capital letter: held one-to-one",
        (false, true) => "small letter: one of several cpus of a mask",
        (false, false) => "",
    }
    .to_owned()
}
