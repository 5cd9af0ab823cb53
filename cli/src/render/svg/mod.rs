//! The same pictures as [`map`](super::map) draws, as SVG for a ticket or a document: text that can be selected, a `<title>` on
//! every CPU, a background of its own, no script. All sizes are whole pixels: the same input gives the same bytes.

mod block;
mod cell;
mod host;
mod legend;
mod style;

use numapin_core::host::Host;

use super::drawing::{Drawing, Group, Scene, Signs};
use super::{plan, topology};
use crate::planned::Planned;
use block::{Block, Words, flow};

/// Space around everything.
const MARGIN: usize = 24;
/// Between the parts of a page.
const GAP: usize = 24;
/// The shape that two pictures aim at: rather side by side.
const PANELS: usize = 26;
/// How many guests are told by name.
const MOST: usize = 8;
/// The shape that a page aims at: width to height, in tenths.
const PAGE: usize = 15;
/// The shape that what stands beside the picture aims at.
const FOOT: usize = 60;

/// The host alone.
pub(crate) fn topology(host: &Host) -> String {
    let drawing = Drawing::new(host);
    let signs = Signs::of(&[&drawing]);
    page(
        "Host",
        &about(host, &drawing),
        host::drawn(&drawing, &signs),
        foot(&[&drawing], &signs),
    )
}

/// Plans on a host: as it is, and as it will be.
pub(crate) fn plan(host: &Host, scene: &Scene, plans: &[Planned]) -> String {
    let drawings = [&scene.before, &scene.after];
    let signs = Signs::of(&drawings);
    let pictures = drawings.map(|drawing| host::drawn(drawing, &signs));
    // Headings as large as what stands around both pictures, which is known when both stand.
    let first = flow(&panels(scene, &pictures, 10), GAP, PANELS).width;
    let both = flow(&panels(scene, &pictures, scale(first)), GAP, PANELS);
    let guests: Vec<&str> = plans.iter().map(|plan| &*plan.guest.name.0).collect();
    let title = match guests[..] {
        [] => "No plan".to_owned(),
        [one] => format!("Plan of guest {one}"),
        _ => format!("Plan of guests {}", listed(&guests)),
    };
    let mut about = about(host, &scene.after);
    about.extend(plans.iter().take(MOST).map(plan::line));
    page(&title, &about, both, foot(&drawings, &signs))
}

/// The pictures of what is and of what is planned below their headings, which are so many tenths as large.
fn panels(scene: &Scene, pictures: &[Block; 2], scale: usize) -> Vec<Block> {
    let told = scene.unseen.iter();
    let told: Vec<Block> = told
        .map(|line| Words::Label.wrapped(line, pictures[0].width * 10 / scale))
        .collect();
    let heads = [("now", told), ("as planned", Vec::new())].map(|(title, told)| {
        let mut lines = vec![Words::Heading.block(title)];
        lines.extend(told);
        Block::stacked(&lines, 4).scaled(scale)
    });
    let height = heads.iter().map(|head| head.height).max().unwrap_or(0);
    heads
        .into_iter()
        .zip(pictures)
        .map(|(head, picture)| Block::stacked(&[head.at_least(0, height), picture.clone()], 8))
        .collect()
}

/// What the host is, and how its picture is read.
fn about(host: &Host, drawing: &Drawing) -> Vec<String> {
    let groups = drawing.boxes.iter().flat_map(|node| &node.groups);
    let cells = match groups.map(Group::threads).max() {
        Some(2..) => "each cell is a cpu; one below the other: the threads of a core",
        _ => "each cell is a cpu, and a core",
    };
    let summary = topology::summary(host);
    vec![summary.trim_end().to_owned(), cells.to_owned()]
}

/// What the signs mean, and how far host nodes are from each other.
fn foot(drawings: &[&Drawing], signs: &Signs) -> Vec<Block> {
    let legend = legend::legend(drawings, signs);
    let last = drawings.last();
    let distances = last.and_then(|drawing| legend::distances(drawing));
    let devices = last.and_then(|drawing| legend::devices(drawing));
    let all = legend.into_iter().chain(distances);
    all.chain(devices).collect()
}

fn page(title: &str, about: &[String], picture: Block, foot: Vec<Block>) -> String {
    let scale = scale(picture.width);
    let wide = picture.width.max(720) * 10 / scale;
    let mut head = vec![Words::Title.wrapped(title, wide)];
    head.extend(about.iter().map(|line| Words::Label.wrapped(line, wide)));
    let mut parts = vec![picture];
    if !foot.is_empty() {
        parts.push(flow(&foot, GAP, FOOT).scaled(scale));
    }
    let parts = flow(&parts, GAP, PAGE);
    let all = Block::stacked(&[Block::stacked(&head, 8).scaled(scale), parts], 2 * scale);
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

/// How much larger, in tenths, the words around a picture of this width are: a large one is looked at from afar.
fn scale(width: usize) -> usize {
    (width / 120).clamp(10, 30)
}

/// Names, no more than there is room for in a title.
fn listed(names: &[&str]) -> String {
    match names.len() {
        n if n > MOST => format!("{} and {} more", names[..MOST].join(", "), n - MOST),
        _ => names.join(", "),
    }
}
