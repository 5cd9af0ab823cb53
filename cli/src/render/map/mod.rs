//! A picture of the host in characters: a box for each host node, in it the L3s side by side, in them the cores side by side,
//! their SMT threads one below the other.
//!
//! Small hosts show the number of each CPU beside its sign; larger ones a sign alone; where even that would be many lines, what
//! is alike is drawn once with how many times it is there.

mod ink;
mod legend;
mod node;
mod tile;

use super::drawing::{Drawing, Sign, Signs};
use super::look::Look;
use node::{Style, folded};
use tile::{Line, Span, Tile};

/// More lines than this, and the next style is tried.
const MOST_LINES: usize = 40;

/// The picture and what its signs mean; empty for a host without CPUs.
pub(crate) fn text(drawing: &Drawing, look: Look) -> String {
    let signs = Signs::of(&[drawing]);
    let styles = [
        Style::Numbered,
        Style::Signs,
        Style::FoldedL3s,
        Style::FoldedCores,
    ];
    let mut best: Option<(Tile, Style)> = None;
    for style in styles
        .into_iter()
        .filter(|style| style.can_do(drawing, look))
    {
        let tile = picture(drawing, &signs, style, look);
        let done = tile.lines.len() <= MOST_LINES;
        let lower = |(best, _): &(Tile, Style)| tile.lines.len() < best.lines.len();
        if best.as_ref().is_none_or(lower) {
            best = Some((tile, style));
        }
        if done {
            break;
        }
    }
    let Some((picture, style)) = best else {
        return legend::text(drawing, &signs, true, look);
    };
    let numbered = style == Style::Numbered;
    picture.text(look) + &legend::text(drawing, &signs, numbered, look)
}

/// The boxes in as many columns as make it lowest, where each row of them whose L3s do not stand in one row counts as a line more;
/// of equally low ones as few as possible.
fn picture(drawing: &Drawing, signs: &Signs, style: Style, look: Look) -> Tile {
    let boxes = folded(drawing, signs, style);
    let columns = 1..=boxes.len().clamp(1, 12);
    let lowest = columns
        .filter_map(|columns| arranged(&boxes, drawing, signs, style, look, columns))
        .min_by_key(|(tile, broken)| tile.lines.len() + broken);
    lowest.map_or_else(|| Tile::new(Vec::new()), |(tile, _)| tile)
}

/// The boxes in so many columns, all equally wide; `None` where they do not fit.
fn arranged(
    boxes: &[node::Folded<'_>],
    drawing: &Drawing,
    signs: &Signs,
    style: Style,
    look: Look,
    columns: usize,
) -> Option<(Tile, usize)> {
    let width = (look.width - (columns - 1)) / columns;
    let inner = width.checked_sub(4).filter(|inner| *inner >= 12)?;
    let contents: Vec<node::Content> = boxes
        .iter()
        .map(|of| node::content(of, drawing, signs, style, look, inner))
        .collect();
    let whole = |content: &node::Content| content.unbroken && content.tile.width <= inner;
    if columns > 1 && !contents.iter().all(whole) {
        return None;
    }
    let widest = contents.iter().map(|content| content.tile.width).max()?;
    let mut lines: Vec<Line> = Vec::new();
    for row in contents.chunks(columns) {
        let height = row.iter().map(|content| content.tile.lines.len()).max();
        let framed = row.iter().enumerate().map(|(at, content)| {
            let tile = content.tile.clone().padded(widest);
            let tile = tile.stretched(height.unwrap_or(0));
            let gap = if at == 0 { "" } else { " " };
            (gap.to_owned(), frame(&content.title, tile, look))
        });
        lines.extend(Tile::beside(framed.collect()).lines);
    }
    let broken = contents.iter().map(|content| content.rows - 1).max()?;
    Some((Tile::new(lines), broken * contents.len().div_ceil(columns)))
}

/// A box around what is in it, with its title in the upper edge.
fn frame(title: &str, tile: Tile, look: Look) -> Tile {
    let [left_top, right_top, left_low, right_low, across, down] = match look.unicode {
        true => ["┌", "┐", "└", "┘", "─", "│"],
        false => ["+", "+", "+", "+", "-", "|"],
    };
    let inner = tile.width + 2;
    let rest = inner.saturating_sub(title.chars().count() + 3);
    let mut lines = vec![vec![Span::plain(format!(
        "{left_top}{across} {title} {}{right_top}",
        across.repeat(rest)
    ))]];
    for line in tile.lines {
        let mut framed = vec![Span::plain(format!("{down} "))];
        framed.extend(line);
        framed.push(Span::plain(format!(" {down}")));
        lines.push(framed);
    }
    lines.push(vec![Span::plain(format!(
        "{left_low}{}{right_low}",
        across.repeat(inner)
    ))]);
    Tile::new(lines)
}

/// How a sign is written, with something for a free CPU where it is to be seen.
fn written(sign: &Sign, free: &str) -> Span {
    let text = match sign.text.is_empty() {
        true => free.to_owned(),
        false => sign.text.clone(),
    };
    Span {
        text,
        ink: Some(sign.ink),
    }
}

/// How a free CPU is drawn.
fn free(look: Look) -> &'static str {
    if look.unicode { "·" } else { "." }
}
