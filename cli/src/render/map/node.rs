//! What stands in the box of a host node.

use super::super::drawing::{
    Core, Drawing, Group, Ink, Kind, NodeBox, PciDevice, Place, Sign, Signs,
};
use super::super::look::Look;
use super::super::words::broken;
use super::tile::{Line, Span, Tile};
use super::{MOST_LINES, free, written};

/// How much of a host is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Style {
    /// Each CPU with its sign and its number.
    Numbered,
    /// Each CPU with its sign.
    Signs,
    /// L3s and host nodes that are alike once.
    FoldedL3s,
    /// And cores that are alike.
    FoldedCores,
}

impl Style {
    /// Whether it is worth a try: that the CPUs alone take more lines than a picture may have is known before.
    pub(super) fn can_do(self, drawing: &Drawing, look: Look) -> bool {
        let each = match self {
            Self::Numbered => 1 + drawing.in_order().map(digits).min().unwrap_or(0),
            Self::Signs => 1,
            Self::FoldedL3s | Self::FoldedCores => return true,
        };
        drawing.cells.len() * each <= MOST_LINES * look.width
    }
}

/// Host nodes that are drawn as one.
pub(super) struct Folded<'a> {
    first: &'a NodeBox,
    last: &'a NodeBox,
    groups: Vec<(&'a Group, usize)>,
}

/// What stands in a box.
pub(super) struct Content {
    /// In its upper edge.
    pub(super) title: String,
    /// Below.
    pub(super) tile: Tile,
    /// Whether each L3 is in one piece.
    pub(super) unbroken: bool,
    /// In how many rows the L3s stand.
    pub(super) rows: usize,
}

/// The boxes of a picture; with a style that folds, what is alike is there once.
pub(super) fn folded<'a>(drawing: &'a Drawing, signs: &Signs, style: Style) -> Vec<Folded<'a>> {
    let look = |group: &Group| -> (Option<Kind>, bool, Vec<Vec<Sign>>) {
        let cores = group.cores.iter().map(|core| column(drawing, signs, core));
        (group.kind, group.l3.is_some(), cores.collect())
    };
    let fold = style >= Style::FoldedL3s;
    let mut all: Vec<(Folded<'a>, Vec<_>)> = Vec::new();
    for node in &drawing.boxes {
        let mut groups: Vec<(&Group, usize)> = Vec::new();
        let mut looks: Vec<_> = Vec::new();
        for group in &node.groups {
            let this = look(group);
            match (groups.last_mut(), looks.last()) {
                (Some((_, times)), Some(last)) if fold && *last == this => *times += 1,
                _ => {
                    groups.push((group, 1));
                    looks.push(this);
                }
            }
        }
        let key: Vec<_> = looks
            .into_iter()
            .zip(groups.iter().map(|(_, n)| *n))
            .collect();
        let numbered = matches!(node.place, Place::Node(_)) && !key.is_empty();
        match all.last_mut() {
            // Devices are at one host node: it stays apart.
            Some((last, same))
                if fold
                    && numbered
                    && *same == key
                    && node.devices.is_empty()
                    && last.first.devices.is_empty() =>
            {
                last.last = node;
            }
            _ => {
                let of = Folded {
                    first: node,
                    last: node,
                    groups,
                };
                all.push((of, key));
            }
        }
    }
    all.into_iter().map(|(of, _)| of).collect()
}

/// What stands in a box of this inner width.
pub(super) fn content(
    of: &Folded<'_>,
    drawing: &Drawing,
    signs: &Signs,
    style: Style,
    look: Look,
    inner: usize,
) -> Content {
    let pen = Pen {
        drawing,
        signs,
        style,
        look,
        digits: drawing.in_order().map(digits).max().unwrap_or(1),
        threads: of
            .groups
            .iter()
            .map(|(group, _)| group.threads())
            .max()
            .unwrap_or(0),
        labels: style != Style::Numbered || of.groups.iter().any(|(group, _)| group.kind.is_some()),
    };
    let mut tiles: Vec<(Tile, Option<&Group>)> = Vec::new();
    let mut unbroken = true;
    for (group, times) in &of.groups {
        let pieces = pen.group(group, *times, inner);
        unbroken &= pieces.len() == 1;
        tiles.extend(pieces.into_iter().map(|tile| (tile, Some(*group))));
    }
    if tiles.is_empty() {
        tiles.push((Tile::new(vec![vec![Span::plain("no cpu")]]), None));
    }
    let (mut tile, rows) = pen.rows(&tiles, inner);
    for told in PciDevice::told(&of.first.devices) {
        let lines = broken(&told, inner).into_iter();
        tile.lines.extend(lines.map(|line| vec![Span::plain(line)]));
    }
    tile = Tile::new(tile.lines);
    let title = title(of, tile.width.max(26).min(inner) - 2, look);
    tile = tile.padded(title.chars().count() + 2);
    Content {
        title,
        tile,
        unbroken,
        rows,
    }
}

/// What cores are drawn with.
struct Pen<'a> {
    drawing: &'a Drawing,
    signs: &'a Signs,
    style: Style,
    look: Look,
    digits: usize,
    threads: usize,
    labels: bool,
}

impl Pen<'_> {
    /// A group in one tile, or in several where it is wider than the box.
    fn group(&self, group: &Group, times: usize, inner: usize) -> Vec<Tile> {
        let gap = self.gap();
        let runs = self.runs(group).into_iter();
        let cores: Vec<Tile> = runs.map(|(core, alike)| self.core(core, alike)).collect();
        let widest = cores.iter().map(|core| core.width).max().unwrap_or(1);
        let fit = ((inner + gap.len()) / (widest + gap.len()).max(1)).max(1);
        let each = cores
            .len()
            .div_ceil(cores.len().div_ceil(fit).max(1))
            .max(1);
        let mut pieces: Vec<Tile> = cores
            .chunks(each)
            .map(|piece| {
                let left = |at| if at == 0 { "" } else { gap };
                let tiles = piece.iter().cloned().enumerate();
                Tile::beside(
                    tiles
                        .map(|(at, tile)| (left(at).to_owned(), tile))
                        .collect(),
                )
            })
            .collect();
        if times > 1
            && let Some(last) = pieces.last_mut()
        {
            *last = Tile::beside(vec![
                (String::new(), last.clone()),
                (
                    " ".to_owned(),
                    Tile::new(vec![vec![Span::plain(self.times(times))]]),
                ),
            ]);
        }
        if self.labels {
            for (at, piece) in pieces.iter_mut().enumerate() {
                let label = if at == 0 {
                    self.label(group, piece.width)
                } else {
                    String::new()
                };
                piece.lines.insert(0, vec![Span::plain(label)]);
                *piece = Tile::new(std::mem::take(&mut piece.lines));
            }
        }
        pieces
    }

    /// Cores with how many like them follow; each alone where nothing is folded.
    fn runs<'g>(&self, group: &'g Group) -> Vec<(&'g Core, usize)> {
        let mut runs: Vec<(&Core, usize, Vec<Sign>)> = Vec::new();
        for core in &group.cores {
            let signs = column(self.drawing, self.signs, core);
            match runs.last_mut() {
                Some((_, alike, same)) if self.style == Style::FoldedCores && *same == signs => {
                    *alike += 1;
                }
                _ => runs.push((core, 1, signs)),
            }
        }
        runs.into_iter()
            .map(|(core, alike, _)| (core, alike))
            .collect()
    }

    /// The threads of a core, one below the other.
    fn core(&self, core: &Core, alike: usize) -> Tile {
        let mut lines: Vec<Line> = Vec::new();
        for cpu in &core.cpus {
            let sign = self.signs.sign(self.drawing, *cpu);
            lines.push(vec![match self.style {
                Style::Numbered => self.numbered(&sign, *cpu),
                _ => {
                    let span = written(&sign, free(self.look));
                    Span {
                        text: format!("{:>1$}", span.text, self.signs.width.max(1)),
                        ..span
                    }
                }
            }]);
        }
        let tile = Tile::new(lines).stretched(self.threads);
        if alike == 1 {
            return tile;
        }
        let times = Tile::new(vec![vec![Span::plain(self.times(alike))]]);
        Tile::beside(vec![(String::new(), tile), (String::new(), times)])
    }

    fn numbered(&self, sign: &Sign, cpu: numapin_core::id::CpuId) -> Span {
        let (width, digits) = (self.signs.width, self.digits);
        let free = if self.drawing.is_empty() {
            ""
        } else {
            free(self.look)
        };
        let span = written(sign, free);
        Span {
            text: format!("{:>width$}{cpu:>digits$}", span.text),
            ink: Some(sign.ink).filter(|ink| *ink != Ink::Free),
        }
    }

    /// What stands between two cores.
    fn gap(&self) -> &'static str {
        match self.style {
            Style::Signs | Style::FoldedL3s if self.signs.width < 2 => "",
            _ => " ",
        }
    }

    fn times(&self, times: usize) -> String {
        let by = if self.look.unicode { "×" } else { "x" };
        format!("{by}{times}")
    }

    /// What a group is, as far as there is room: its lowest CPU where CPUs have no numbers, and the kind of its cores.
    fn label(&self, group: &Group, room: usize) -> String {
        let kind = group.kind.map(Kind::name);
        let cpu = group.cores.first().and_then(|core| core.cpus.first());
        let cpu = cpu.filter(|_| self.style != Style::Numbered);
        let short = kind.as_ref().map(|kind| match kind.split_once(' ') {
            Some((_, number)) => number.to_owned(),
            None => kind.chars().take(1).collect::<String>().to_uppercase(),
        });
        let options = match (cpu, &kind, &short) {
            (Some(cpu), Some(kind), Some(short)) => vec![
                format!("cpu {cpu} {kind}"),
                format!("{cpu} {kind}"),
                format!("{cpu} {short}"),
                short.clone(),
            ],
            (Some(cpu), ..) => vec![format!("cpu {cpu}"), cpu.to_string()],
            (None, Some(kind), Some(short)) => vec![kind.clone(), short.clone()],
            _ => Vec::new(),
        };
        let fits = |label: &String| label.chars().count() <= room;
        options.into_iter().find(fits).unwrap_or_default()
    }

    /// Tiles in rows, about as many in each.
    fn rows(&self, tiles: &[(Tile, Option<&Group>)], inner: usize) -> (Tile, usize) {
        let most = tiles.iter().map(|(tile, _)| tile.width).max().unwrap_or(0);
        let between = self.between(None, None).chars().count();
        let fit = ((inner + between) / (most + between).max(1)).max(1);
        let rows = tiles.len().div_ceil(fit);
        let each = tiles.len().div_ceil(rows);
        let mut lines: Vec<Line> = Vec::new();
        for row in tiles.chunks(each) {
            if !lines.is_empty() && !self.labels && self.threads > 1 {
                lines.push(Vec::new());
            }
            let mut before = None;
            let mut all = Vec::new();
            for (tile, group) in row {
                let left = match before {
                    None => String::new(),
                    Some(last) => self.between(last, *group),
                };
                before = Some(*group);
                all.push((
                    left,
                    tile.clone()
                        .stretched(self.threads + usize::from(self.labels)),
                ));
            }
            lines.extend(Tile::beside(all).lines);
        }
        (Tile::new(lines), rows)
    }

    /// What stands between two groups: of one L3, or of two.
    fn between(&self, left: Option<&Group>, right: Option<&Group>) -> String {
        let same = |left: &Group, right: &Group| left.l3.is_some() && left.l3 == right.l3;
        let same = left
            .zip(right)
            .is_some_and(|(left, right)| same(left, right));
        let line = match (same, self.look.unicode) {
            (false, true) => "│",
            (false, false) => "|",
            (true, true) => "┊",
            (true, false) => ":",
        };
        match self.style {
            Style::Signs if self.signs.width < 2 => line.to_owned(),
            _ => format!(" {line} "),
        }
    }
}

/// The signs of a core, a thread each.
fn column(drawing: &Drawing, signs: &Signs, core: &Core) -> Vec<Sign> {
    let cpus = core.cpus.iter();
    cpus.map(|cpu| signs.sign(drawing, *cpu)).collect()
}

fn digits(cpu: numapin_core::id::CpuId) -> usize {
    cpu.to_string().len()
}

/// What a box is, with as much about it as there is room for.
fn title(of: &Folded<'_>, room: usize, look: Look) -> String {
    let node = of.first;
    let mut title = match (node.place, of.last.place) {
        (Place::Node(first), Place::Node(last)) if first != last => {
            format!("host nodes {first} to {last}, each")
        }
        (Place::Node(id), _) => format!("host node {id}"),
        (Place::NoNode, _) => "no host node".to_owned(),
        (Place::Offline, _) => "offline".to_owned(),
    };
    let mut more = Vec::new();
    if node.place == of.last.place {
        if let [package] = node.packages[..] {
            more.push(format!("package {package}"));
        }
        more.extend(node.memory_kib.map(super::super::words::gib));
        let sharing = node.groups.iter().find(|group| !group.also_on.is_empty());
        more.extend(sharing.map(|group| format!("L3 with host node {}", group.also_on)));
    }
    let dot = if look.unicode { " · " } else { " - " };
    for part in more {
        let longer = format!("{title}{dot}{part}");
        if longer.chars().count() <= room {
            title = longer;
        }
    }
    title
}
