//! A host: packages, host nodes, L3s, cores, threads; and the devices of guests at their host nodes.

use super::super::drawing::{Core, Drawing, Group, Kind, NodeBox, Place, Signs};
use super::super::words::gib;
use super::block::{Block, Words, flow, rect};
use super::cell::{self, Room};
use super::legend;

/// The shapes that parts aim at: width to height, in tenths.
const GROUP: usize = 18;
const NODE: usize = 16;
const ALL: usize = 15;

/// The host of a drawing.
pub(super) fn drawn(drawing: &Drawing, signs: &Signs) -> Block {
    let room = Room::of(drawing, signs);
    let nodes = drawing.boxes.iter();
    let nodes: Vec<Block> = nodes
        .map(|node| boxed(drawing, signs, room, node))
        .collect();
    let mut packages: Vec<i32> = drawing
        .boxes
        .iter()
        .flat_map(|node| node.packages.iter().map(|package| package.0))
        .collect();
    packages.sort_unstable();
    packages.dedup();
    if packages.len() < 2 {
        return flow(&nodes, 12, ALL);
    }
    let mut parts = Vec::new();
    for package in packages {
        let of: Vec<Block> = drawing
            .boxes
            .iter()
            .zip(&nodes)
            .filter(|(node, _)| home(node) == Some(package))
            .map(|(_, block)| block.clone())
            .collect();
        if of.is_empty() {
            continue;
        }
        let title = Words::Label.block(&format!("package {package}"));
        let block = Block::stacked(&[title, flow(&of, 12, NODE)], 6);
        parts.push(block.framed("package", 10));
    }
    let rest = drawing.boxes.iter().zip(&nodes);
    let rest: Vec<Block> = rest
        .filter(|(node, _)| home(node).is_none())
        .map(|(_, block)| block.clone())
        .collect();
    if !rest.is_empty() {
        parts.push(flow(&rest, 12, NODE));
    }
    flow(&parts, 12, ALL)
}

/// The package of a box that has one.
fn home(node: &NodeBox) -> Option<i32> {
    match node.packages[..] {
        [package] => Some(package.0),
        _ => None,
    }
}

fn boxed(drawing: &Drawing, signs: &Signs, room: Room, node: &NodeBox) -> Block {
    let (name, of) = match node.place {
        Place::Node(id) => (format!("host node {id}"), format!("host node {id}")),
        Place::NoNode => ("no host node".to_owned(), "of no host node".to_owned()),
        Place::Offline => ("offline".to_owned(), "offline".to_owned()),
    };
    let groups = node.groups.iter();
    let groups: Vec<Block> = groups
        .map(|group| grouped(drawing, signs, room, group, &of))
        .collect();
    let content = match groups.is_empty() {
        true => Words::Label.block("no cpu"),
        false => flow(&groups, 8, NODE),
    };
    // Read from afar, too, where there is room.
    let size = (content.width / 40).clamp(10, 25);
    let mut parts = vec![Words::Name.block(&name).scaled(size)];
    let mut about: Vec<String> = node.memory_kib.map(gib).into_iter().collect();
    let sharing = node.groups.iter().find(|group| !group.also_on.is_empty());
    about.extend(sharing.map(|group| format!("L3 shared with host node {}", group.also_on)));
    if !about.is_empty() {
        parts.push(Words::Small.block(&about.join(", ")));
    }
    parts.push(content);
    parts.extend(node.devices.iter().map(legend::device));
    Block::stacked(&parts, 6).framed("node", 10)
}

fn grouped(drawing: &Drawing, signs: &Signs, room: Room, group: &Group, of: &str) -> Block {
    let kind = group.kind.map(Kind::name);
    let mut of = of.to_owned();
    if let Some(l3) = group.l3 {
        of = format!("L3 of cpu {l3}, {of}");
    }
    if let Some(kind) = &kind {
        of = format!("{kind} core, {of}");
    }
    let threads = group.threads();
    let cores = group.cores.iter();
    let cores: Vec<Block> = cores
        .map(|core| one(drawing, signs, room, (core, threads), &of))
        .collect();
    let cores = flow(&cores, 4, GROUP);
    let mut parts = Vec::new();
    if let Some(l3) = group.l3 {
        // As wide as that of the highest CPU would be, so that neighbours are alike.
        let highest = "0".repeat(room.digits);
        let mut all = drawing.boxes.iter().flat_map(|node| &node.groups);
        let narrow = all.any(|group| group.l3.is_some() && group.cores.len() == 1);
        let of = if narrow { "" } else { " of cpu" };
        let width = Words::Small.width(&format!("L3{of} {highest}"));
        parts.push(
            Words::Small
                .block(&format!("L3{of} {l3}"))
                .at_least(width, 0),
        );
    }
    parts.extend(kind.map(|kind| Words::Small.block(&kind)));
    parts.push(cores);
    Block::stacked(&parts, 4).framed("group", 6)
}

/// A core, its threads one below the other.
fn one(
    drawing: &Drawing,
    signs: &Signs,
    room: Room,
    (core, threads): (&Core, usize),
    of: &str,
) -> Block {
    let (width, step) = (room.width() + 4, cell::HEIGHT + 2);
    let height = threads * step + 2;
    let of = match core.id {
        Some(id) if threads > 1 => format!("core of cpu {id}, {of}"),
        _ => of.to_owned(),
    };
    let mut body = rect("core", 0, 0, width, core.cpus.len() * step + 2);
    for (number, cpu) in core.cpus.iter().enumerate() {
        body.push_str(&cell::cpu(
            drawing,
            signs,
            room,
            (2, 2 + number * step),
            (*cpu, &of),
        ));
    }
    Block {
        width,
        height,
        body,
    }
}
