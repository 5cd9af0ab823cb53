//! What the signs of a picture mean, below it.

use std::fmt::Write as _;

use super::super::drawing::{Drawing, Group, How, Ink, Key, PciDevice, Sign, Signs, State};
use super::super::look::Look;
use super::super::words::broken;
use super::tile::{Line, Span, Tile, length};
use super::{free, written};

/// What stands before each line.
const INDENT: &str = "  ";
/// What stands between two signs.
const GAP: &str = "   ";

/// More guests than this stand on lines together.
const MOST_LINES: usize = 6;

/// The legend; empty where there is nothing to be told.
pub(super) fn text(drawing: &Drawing, signs: &Signs, numbered: bool, look: Look) -> String {
    let keys = signs.legend(&[drawing]);
    let mut lines: Vec<Line> = Vec::new();
    let mut rest = true;
    // Each guest begins a line, as long as they are few.
    let few = keys.iter().filter(|key| key.first).count() <= MOST_LINES;
    for key in &keys {
        let own = matches!(
            key.signs[0].ink,
            Ink::Owner {
                how: How::Alone | How::Mask,
                ..
            }
        );
        // What is not a guest's begins a line together.
        let new = key.first && few || (!own && rest);
        rest &= own;
        put(&mut lines, signs_of(key), &key.text, new, look);
    }
    if drawing.is_empty() && !numbered {
        // Nobody is told to be anywhere, so that a sign without a number is a CPU and no more.
        let sign = vec![written(&Sign::free(), free(look)), Span::plain(" ")];
        let threads = drawing.boxes.iter().flat_map(|node| &node.groups);
        let smt = threads.map(Group::threads).max() > Some(1);
        let text = match smt {
            true => "a cpu; one below the other: the threads of a core",
            false => "a cpu",
        };
        put(&mut lines, sign, text, true, look);
    }
    if !drawing.is_empty() {
        let all = drawing.cells.values();
        let nobody = all.filter(|cell| cell.holders.is_empty() && cell.state == State::Usable);
        let count = nobody.count();
        if count > 0 {
            let sign = vec![written(&Sign::free(), free(look)), Span::plain(" ")];
            put(&mut lines, sign, &format!("free ({count})"), rest, look);
        }
        let ways = ways(&keys);
        if !ways.is_empty() {
            put(&mut lines, Line::new(), ways, false, look);
        }
    }
    for told in PciDevice::told(&drawing.devices) {
        let text = format!("{told}: at no host node that is known");
        put(&mut lines, Line::new(), &text, true, look);
    }
    let mut out = String::new();
    for line in lines {
        let _ = write!(out, "{}", Tile::new(vec![line]).text(look));
    }
    out
}

/// Puts an entry on the last line, or on a new one where it does not fit; on several where it is wider than a line.
fn put(lines: &mut Vec<Line>, mut entry: Line, text: &str, new: bool, look: Look) {
    let wide = length(&entry) + text.chars().count();
    if let Some(line) = lines.last_mut().filter(|_| !new)
        && length(line) + GAP.len() + wide <= look.width
    {
        line.push(Span::plain(GAP));
        line.extend(entry);
        line.push(Span::plain(text));
        return;
    }
    let hanging = " ".repeat(INDENT.len() + length(&entry));
    entry.insert(0, Span::plain(INDENT));
    let room = look.width.saturating_sub(hanging.len()).max(8);
    for (at, part) in broken(text, room).into_iter().enumerate() {
        let mut line = match at {
            0 => std::mem::take(&mut entry),
            _ => vec![Span::plain(hanging.as_str())],
        };
        line.push(Span::plain(part));
        lines.push(line);
    }
}

fn signs_of(key: &Key) -> Line {
    let mut line = Line::new();
    for sign in &key.signs {
        line.push(written(sign, ""));
        line.push(Span::plain(" "));
    }
    line
}

/// What capital and small letters say.
fn ways(keys: &[Key]) -> &'static str {
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
}
