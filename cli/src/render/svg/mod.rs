//! The same pictures as [`map`](super::map) draws, as SVG for a ticket or a document: text that can be selected, a `<title>` on
//! every CPU, a background of its own, no script. All sizes are whole pixels: the same input gives the same bytes.

mod block;
mod cell;
mod host;
mod legend;
mod style;

use numapin_core::host::Host;

use super::drawing::{Drawing, Scene, Signs};
use super::topology;
use block::{Block, Words, flow};

/// Space around everything.
const MARGIN: usize = 24;
/// Between the parts of a page.
const GAP: usize = 24;
/// The shape that a page aims at: width to height, in tenths.
const PAGE: usize = 15;

/// The host alone.
pub(crate) fn topology(host: &Host) -> String {
    let drawing = Drawing::new(host);
    let signs = Signs::of(&[&drawing]);
    let summary = topology::summary(host);
    page(
        "Host",
        summary.trim_end(),
        host::drawn(&drawing, &signs),
        foot(&[&drawing], &signs),
    )
}

/// Plans on a host: as it is, and as it will be.
pub(crate) fn plan(host: &Host, scene: &Scene, guests: &[&str]) -> String {
    let drawings = [&scene.before, &scene.after];
    let signs = Signs::of(&drawings);
    let panels = [("now", drawings[0]), ("as planned", drawings[1])];
    let panels = panels.map(|(title, drawing)| {
        let title = Words::Heading.block(title);
        Block::stacked(&[title, host::drawn(drawing, &signs)], 8)
    });
    let title = match guests {
        [] => "No plan".to_owned(),
        [one] => format!("Plan of guest {one}"),
        some => format!("Plan of guests {}", listed(some)),
    };
    let summary = topology::summary(host);
    page(
        &title,
        summary.trim_end(),
        flow(&panels, GAP, PAGE),
        foot(&drawings, &signs),
    )
}

/// What the signs mean, and how far host nodes are from each other.
fn foot(drawings: &[&Drawing], signs: &Signs) -> Vec<Block> {
    let legend = legend::legend(drawings, signs);
    let distances = drawings
        .last()
        .and_then(|drawing| legend::distances(drawing));
    legend.into_iter().chain(distances).collect()
}

fn page(title: &str, summary: &str, picture: Block, foot: Vec<Block>) -> String {
    let mut parts = vec![
        Words::Title.block(title),
        Words::Label.block(summary),
        picture,
    ];
    if !foot.is_empty() {
        parts.push(flow(&foot, GAP, 4 * PAGE));
    }
    let all = Block::stacked(&parts, 12);
    let (width, height) = (all.width + 2 * MARGIN, all.height + 2 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\">\n<title>{}</title>\n{}\n",
        block::escaped(title),
        style::sheet()
    );
    out.push_str(&format!(
        "<rect class=\"page\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n",
        width - 1,
        height - 1
    ));
    out.push_str(&all.at(MARGIN, MARGIN));
    out.push_str("</svg>\n");
    out
}

/// Names, no more than there is room for in a title.
fn listed(names: &[&str]) -> String {
    const MOST: usize = 8;
    match names.len() {
        n if n > MOST => format!("{} and {} more", names[..MOST].join(", "), n - MOST),
        _ => names.join(", "),
    }
}
