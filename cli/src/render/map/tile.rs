//! Rectangles of painted characters, put beside and below each other.

use std::fmt::Write as _;

use super::super::drawing::Ink;
use super::super::look::Look;
use super::ink;

/// Characters that look alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) text: String,
    pub(super) ink: Option<Ink>,
}

/// A line of them.
pub(super) type Line = Vec<Span>;

/// Lines that are equally wide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) lines: Vec<Line>,
    pub(super) width: usize,
}

impl Span {
    /// Plain characters.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ink: None,
        }
    }
}

impl Tile {
    /// Lines, made as wide as the widest of them.
    pub(super) fn new(lines: Vec<Line>) -> Self {
        let width = lines.iter().map(|line| length(line)).max().unwrap_or(0);
        Self { lines, width }.padded(width)
    }

    /// The same, at least so wide.
    pub(super) fn padded(mut self, width: usize) -> Self {
        for line in &mut self.lines {
            let missing = width.saturating_sub(length(line));
            if missing > 0 {
                line.push(Span::plain(" ".repeat(missing)));
            }
        }
        self.width = self.width.max(width);
        self
    }

    /// The same, at least so high.
    pub(super) fn stretched(mut self, height: usize) -> Self {
        while self.lines.len() < height {
            self.lines.push(vec![Span::plain(" ".repeat(self.width))]);
        }
        self
    }

    /// Tiles side by side, as high as the highest, each with what stands on its left.
    pub(super) fn beside(tiles: Vec<(String, Self)>) -> Self {
        let height = tiles.iter().map(|(_, tile)| tile.lines.len()).max();
        let mut lines = vec![Line::new(); height.unwrap_or(0)];
        for (left, tile) in tiles {
            let tile = tile.stretched(lines.len());
            for (line, part) in lines.iter_mut().zip(tile.lines) {
                line.push(Span::plain(left.as_str()));
                line.extend(part);
            }
        }
        Self::new(lines)
    }

    /// As text; nothing stands behind the last character of a line.
    pub(super) fn text(&self, look: Look) -> String {
        let mut out = String::new();
        for line in &self.lines {
            let mut written = String::new();
            for span in line {
                match span.ink.filter(|_| look.colour).and_then(ink::code) {
                    Some(code) => {
                        let _ = write!(written, "\x1b[{code}m{}\x1b[0m", span.text);
                    }
                    None => written.push_str(&span.text),
                }
            }
            let _ = writeln!(out, "{}", written.trim_end());
        }
        out
    }
}

/// How many characters a line has.
pub(super) fn length(line: &[Span]) -> usize {
    line.iter().map(|span| span.text.chars().count()).sum()
}
