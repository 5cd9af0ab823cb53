//! A host: packages, host nodes, L3s, cores, threads; and the devices of guests at their host nodes.

use super::super::drawing::{Core, Drawing, Group, Kind, NodeBox, Place, Signs};
use super::super::topology;
use super::block::{Block, Words, flow, rect};
use super::cell::{self, Room};

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
    let mut parts = vec![Words::Name.block(&name)];
    let mut about: Vec<String> = node.memory_kib.map(topology::gib).into_iter().collect();
    let sharing = node.groups.iter().find(|group| !group.also_on.is_empty());
    about.extend(sharing.map(|group| format!("L3 shared with host node {}", group.also_on)));
    if !about.is_empty() {
        parts.push(Words::Small.block(&about.join(", ")));
    }
    parts.push(match groups.is_empty() {
        true => Words::Label.block("no cpu"),
        false => flow(&groups, 8, NODE),
    });
    for device in &node.devices {
        let text = format!("PCI {} of guest {}", device.address, device.guest);
        parts.push(Words::Small.block(&text).framed("chip", 4));
    }
    Block::stacked(&parts, 6).framed("node", 10)
}

fn grouped(drawing: &Drawing, signs: &Signs, room: Room, group: &Group, of: &str) -> Block {
    let mut label = group.l3.map(|l3| format!("L3 of cpu {l3}"));
    let mut of = of.to_owned();
    if let Some(l3) = &label {
        of = format!("{l3}, {of}");
    }
    if let Some(kind) = group.kind.map(Kind::name) {
        of = format!("{kind} core, {of}");
        label = Some(match label {
            Some(label) => format!("{label}, {kind}"),
            None => kind,
        });
    }
    let threads = group.threads();
    let cores = group.cores.iter();
    let cores: Vec<Block> = cores
        .map(|core| one(drawing, signs, room, (core, threads), &of))
        .collect();
    let mut parts: Vec<Block> = label
        .map(|label| Words::Small.block(&label))
        .into_iter()
        .collect();
    parts.push(flow(&cores, 4, GROUP));
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
