//! What the signs mean, and how far host nodes are from each other.

use super::super::drawing::{Drawing, How, Ink, Key, PciDevice, Place, Sign, Signs};
use super::block::{Block, Words, grid};
use super::cell;

/// The legend; `None` where there is nothing to be told.
pub(super) fn legend(drawings: &[&Drawing], signs: &Signs) -> Option<Block> {
    let mut keys = signs.legend(drawings);
    if drawings.iter().any(|drawing| !drawing.is_empty()) {
        keys.push(Key::new(Sign::free(), "free".to_owned()));
    }
    let entries: Vec<Block> = keys.iter().map(|key| entry(key, signs)).collect();
    if entries.is_empty() {
        return None;
    }
    let widest = entries.iter().map(|entry| entry.width).max().unwrap_or(0);
    let entries: Vec<Block> = entries
        .into_iter()
        .map(|entry| entry.at_least(widest + 8, 0))
        .collect();
    let heading = Words::Heading.block("Legend");
    let mut parts = vec![
        heading,
        grid(&entries, 12, entries.len().div_ceil(5).min(5)),
    ];
    let inks = || keys.iter().flat_map(|key| &key.signs).map(|sign| sign.ink);
    let has = |of: How| {
        inks().any(|ink| matches!(ink, Ink::Owner { how, .. } | Ink::Other(how) if how == of))
    };
    if has(How::Alone) {
        parts.push(Words::Small.block("full colour, capital letter: held one-to-one"));
    }
    if has(How::Mask) {
        parts.push(Words::Small.block("light colour, small letter: one of several cpus of a mask"));
    }
    Some(Block::stacked(&parts, 8))
}

/// Devices whose host node is not known; `None` where there are none.
pub(super) fn devices(drawing: &Drawing) -> Option<Block> {
    let mut parts = vec![Words::Heading.block("Devices of no known host node")];
    parts.extend(drawing.devices.iter().map(device));
    (parts.len() > 1).then(|| Block::stacked(&parts, 6))
}

/// A device of a guest.
pub(super) fn device(device: &PciDevice) -> Block {
    let text = format!("PCI {} of guest {}", device.address, device.guest);
    Words::Small.block(&text).framed("chip", 4)
}

fn entry(key: &Key, signs: &Signs) -> Block {
    let width = 22 + 8 * signs.width.saturating_sub(1);
    let mut body = String::new();
    let mut x = 0;
    for sign in &key.signs {
        let swatch = Block {
            width,
            height: cell::HEIGHT,
            body: cell::swatch(sign, &signs.parts_of(sign), width),
        };
        body.push_str(&swatch.at(x, 0));
        x += width + 4;
    }
    x += 4;
    body.push_str(&Words::Label.at(x, 15, &key.whole));
    Block {
        width: x + Words::Label.width(&key.whole),
        height: cell::HEIGHT,
        body,
    }
}

/// Distances between host nodes; `None` where there is one, or they are not known.
pub(super) fn distances(drawing: &Drawing) -> Option<Block> {
    const WIDTH: usize = 34;
    const HEIGHT: usize = 20;
    let nodes: Vec<_> = drawing
        .boxes
        .iter()
        .filter_map(|at| match at.place {
            Place::Node(id) => Some((id, &at.distances)),
            Place::NoNode | Place::Offline => None,
        })
        .collect();
    let values = || nodes.iter().flat_map(|(_, distances)| distances.values());
    let (least, most) = (values().min()?, values().max()?);
    if nodes.len() < 2 {
        return None;
    }
    let mut body = String::new();
    for (column, (to, _)) in nodes.iter().enumerate() {
        let x = (column + 1) * WIDTH + WIDTH - 6;
        body.push_str(&right(x, 14, &to.to_string()));
    }
    for (row, (from, distances)) in nodes.iter().enumerate() {
        let y = (row + 1) * HEIGHT;
        body.push_str(&right(WIDTH - 6, y + 14, &from.to_string()));
        for (column, (to, _)) in nodes.iter().enumerate() {
            let Some(distance) = distances.get(to) else {
                continue;
            };
            let x = (column + 1) * WIDTH;
            let shade = 245 - (distance - least) * 90 / (most - least).max(1);
            body.push_str(&format!(
                "<g><title>from host node {from} to host node {to}: distance {distance}</title>\n\
                 <rect class=\"far\" x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"rgb({shade},{shade},250)\"/>\n\
                 {}</g>\n",
                right(x + WIDTH - 6, y + 14, &distance.to_string())
            ));
        }
    }
    let table = Block {
        width: (nodes.len() + 1) * WIDTH,
        height: (nodes.len() + 1) * HEIGHT,
        body,
    };
    let heading = Words::Heading.block("Distances between host nodes");
    Some(Block::stacked(&[heading, table], 8))
}

fn right(x: usize, y: usize, text: &str) -> String {
    format!("<text class=\"cpu\" x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{text}</text>\n")
}
