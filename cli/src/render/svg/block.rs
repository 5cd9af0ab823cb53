//! Rectangles that are put together to larger ones.

use std::fmt::Write as _;

use super::super::words::broken;

/// Something drawn, from 0, 0 to its width and height.
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) body: String,
}

/// Text by what it is for. Its width is taken for the widest that a font will make it: a letter is at most 6/10 as wide as it
/// is high in the monospaced fonts that the style names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// What the page is.
    Title,
    /// What a part of it is.
    Heading,
    /// A host node.
    Name,
    /// All else.
    Label,
    /// What is small.
    Small,
}

impl Words {
    /// The size of the font.
    pub(super) const fn size(self) -> usize {
        match self {
            Self::Title => 20,
            Self::Heading => 16,
            Self::Name => 14,
            Self::Label => 12,
            Self::Small => 10,
        }
    }

    /// The class of the style sheet.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Heading => "heading",
            Self::Name => "name",
            Self::Label => "label",
            Self::Small => "small",
        }
    }

    /// How wide a text is at most.
    pub(super) fn width(self, text: &str) -> usize {
        (text.chars().count() * self.size() * 61).div_ceil(100)
    }

    /// The text as a block.
    pub(super) fn block(self, text: &str) -> Block {
        let size = self.size();
        Block {
            width: self.width(text),
            height: size + size / 4,
            body: self.at(0, size, text),
        }
    }

    /// The text in as many lines as it needs for a width.
    pub(super) fn wrapped(self, text: &str, width: usize) -> Block {
        let room = (width * 100 / (self.size() * 61)).max(20);
        let lines: Vec<Block> = broken(text, room)
            .iter()
            .map(|line| self.block(line))
            .collect();
        Block::stacked(&lines, 2)
    }

    /// The text, from a place on its base line.
    pub(super) fn at(self, x: usize, y: usize, text: &str) -> String {
        format!(
            "<text class=\"{}\" x=\"{x}\" y=\"{y}\">{}</text>\n",
            self.class(),
            escaped(text)
        )
    }
}

impl Block {
    /// The block at a place.
    pub(super) fn at(&self, x: usize, y: usize) -> String {
        if self.body.is_empty() {
            return String::new();
        }
        format!("<g transform=\"translate({x} {y})\">\n{}</g>\n", self.body)
    }

    /// Blocks one below the other.
    pub(super) fn stacked(blocks: &[Self], gap: usize) -> Self {
        let mut all = Self::default();
        for (number, block) in blocks.iter().enumerate() {
            let y = all.height + if number > 0 { gap } else { 0 };
            all.body.push_str(&block.at(0, y));
            all.height = y + block.height;
            all.width = all.width.max(block.width);
        }
        all
    }

    /// The block with space and a rectangle around it.
    pub(super) fn framed(&self, class: &str, padding: usize) -> Self {
        let (width, height) = (self.width + 2 * padding, self.height + 2 * padding);
        let mut body = rect(class, 0, 0, width, height);
        body.push_str(&self.at(padding, padding));
        Self {
            width,
            height,
            body,
        }
    }

    /// The block so many tenths as large.
    pub(super) fn scaled(&self, tenths: usize) -> Self {
        if tenths == 10 {
            return self.clone();
        }
        Self {
            width: (self.width * tenths).div_ceil(10),
            height: (self.height * tenths).div_ceil(10),
            body: format!(
                "<g transform=\"scale({}.{})\">\n{}</g>\n",
                tenths / 10,
                tenths % 10,
                self.body
            ),
        }
    }

    /// The block, at least so large; it stays in the upper left.
    pub(super) fn at_least(mut self, width: usize, height: usize) -> Self {
        self.width = self.width.max(width);
        self.height = self.height.max(height);
        self
    }
}

/// Blocks in rows of equally many, so that together they fit the smallest rectangle of a shape: width to height, in tenths. Where
/// the last row is not full the rectangle counts as 6/10 larger. Of several such numbers the largest is taken.
pub(super) fn flow(blocks: &[Block], gap: usize, shape: usize) -> Block {
    let best = (1..=blocks.len())
        .rev()
        .min_by_key(|columns| {
            let (across, down) = sizes(blocks, *columns);
            let (width, height) = (total(&across, gap), total(&down, gap));
            let full = blocks.len().is_multiple_of(*columns);
            (width * 10).max(height * shape) * if full { 10 } else { 16 }
        })
        .unwrap_or(1);
    grid(blocks, gap, best)
}

/// Blocks in rows of so many.
pub(super) fn grid(blocks: &[Block], gap: usize, columns: usize) -> Block {
    let (across, down) = sizes(blocks, columns);
    let mut body = String::new();
    let mut y = 0;
    for (row, height) in blocks.chunks(columns).zip(&down) {
        let mut x = 0;
        for (block, width) in row.iter().zip(&across) {
            body.push_str(&block.at(x, y));
            x += width + gap;
        }
        y += height + gap;
    }
    Block {
        width: total(&across, gap),
        height: total(&down, gap),
        body,
    }
}

/// The widths of columns and the heights of rows.
fn sizes(blocks: &[Block], columns: usize) -> (Vec<usize>, Vec<usize>) {
    let mut across = vec![0; columns.min(blocks.len())];
    let mut down = Vec::new();
    for row in blocks.chunks(columns) {
        for (width, block) in across.iter_mut().zip(row) {
            *width = block.width.max(*width);
        }
        down.push(row.iter().map(|block| block.height).max().unwrap_or(0));
    }
    (across, down)
}

fn total(sizes: &[usize], gap: usize) -> usize {
    sizes.iter().sum::<usize>() + gap * sizes.len().saturating_sub(1)
}

/// A rectangle.
pub(super) fn rect(class: &str, x: usize, y: usize, width: usize, height: usize) -> String {
    format!("<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>\n")
}

/// A text as it stands in XML. Characters that XML can't hold are left out.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                let _ = write!(out, "\u{fffd}");
            }
            c => out.push(c),
        }
    }
    out
}
