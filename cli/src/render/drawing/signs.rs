//! The sign of each CPU in a picture: letters for owners, other characters for the rest. Everything a picture says is said by
//! its signs; colours only help the eye.

use std::collections::{BTreeMap, BTreeSet};

use numapin_core::id::CpuId;
use numapin_core::sorted;

use super::{Cell, Drawing, How, State};

/// Letters of owners. Left out: I and R (isolated, reserved), O (looks like 0), X (other guests).
const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQSTUVWYZ";
/// Signs of CPUs with several owners, in the order in which they are given away.
const SEVERAL: &[char] = &['+', '*', '&', '=', '@', '%', '$', '#'];
/// The sign of all further combinations.
const FURTHER: char = '?';

/// What stands for a CPU.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sign {
    /// The characters; empty for a CPU that is free.
    pub(crate) text: String,
    /// How it looks.
    pub(crate) ink: Ink,
}

/// How a sign looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ink {
    /// Nobody is there.
    Free,
    /// An owner, by its place among those that are drawn.
    Owner {
        /// Which one.
        number: usize,
        /// In which way.
        how: How,
    },
    /// Other guests.
    Other(How),
    /// Several, the strongest of them in this way.
    Several(How),
    /// It can't be used.
    Off(State),
}

/// A line of the legend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// The signs, as they stand in the picture.
    pub(crate) signs: Vec<Sign>,
    /// What they mean.
    pub(crate) text: String,
    /// What they mean where the entries before are not at hand.
    pub(crate) whole: String,
    /// Whether it begins a new subject.
    pub(crate) first: bool,
}

/// The signs of pictures that are shown together.
#[derive(Debug, Clone)]
pub(crate) struct Signs {
    several: BTreeMap<Vec<Sign>, char>,
    /// How many characters the longest sign has.
    pub(crate) width: usize,
}

impl Signs {
    /// Signs for these pictures, which have the same owners.
    pub(crate) fn of(drawings: &[&Drawing]) -> Self {
        let mut several = BTreeMap::new();
        let mut width = 0;
        for drawing in drawings {
            for cpu in drawing.in_order() {
                let Some(cell) = drawing.cells.get(&cpu) else {
                    continue;
                };
                let parts = parts(drawing, cell);
                width = parts
                    .iter()
                    .map(|sign| sign.text.len())
                    .fold(width, usize::max);
                if parts.len() > 1 {
                    let next = SEVERAL.get(several.len()).copied().unwrap_or(FURTHER);
                    several.entry(parts).or_insert(next);
                }
            }
        }
        Self { several, width }
    }

    /// The sign of a CPU.
    pub(crate) fn sign(&self, drawing: &Drawing, cpu: CpuId) -> Sign {
        let Some(cell) = drawing.cells.get(&cpu) else {
            return Sign::free();
        };
        let mut parts = parts(drawing, cell);
        match parts.len() {
            0 => Sign::free(),
            1 => parts.swap_remove(0),
            _ => Sign::several(*self.several.get(&parts).unwrap_or(&FURTHER), &parts),
        }
    }

    /// The signs that stand behind that of a CPU: one, or several that are shown as one.
    pub(crate) fn parts(&self, drawing: &Drawing, cell: &Cell) -> Vec<Sign> {
        parts(drawing, cell)
    }

    /// The signs that one stands for.
    pub(crate) fn parts_of(&self, sign: &Sign) -> Vec<Sign> {
        let of = |(parts, several): (&Vec<Sign>, &char)| {
            let several = several.to_string() == sign.text;
            let this = several && matches!(sign.ink, Ink::Several(_));
            this.then(|| parts.clone())
        };
        let found = self.several.iter().find_map(of);
        found.unwrap_or_else(|| vec![sign.clone()])
    }

    /// What the signs of pictures mean: owners, then the rest. `free` is how a free CPU is drawn.
    pub(crate) fn legend(&self, drawings: &[&Drawing]) -> Vec<Key> {
        let mut seen: BTreeSet<Sign> = BTreeSet::new();
        for drawing in drawings {
            let cells = drawing.cells.values();
            seen.extend(cells.flat_map(|cell| parts(drawing, cell)));
        }
        let mut keys = Vec::new();
        if let Some(drawing) = drawings.last() {
            owners(drawing, &seen, &mut keys);
            others(drawing, &seen, &mut keys);
        }
        let mut several: Vec<_> = self.several.iter().collect();
        sorted::sort_by_key(&mut several, |(_, sign)| {
            SEVERAL.iter().position(|of| of == *sign)
        });
        several.retain(|(_, sign)| **sign != FURTHER);
        let further = self.several.len() > several.len();
        for (parts, sign) in several {
            let names: Vec<_> = parts.iter().map(|sign| sign.text.clone()).collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            keys.push(Key::new(
                Sign::several(*sign, parts),
                listed(&names, " and "),
            ));
        }
        if further {
            keys.push(Key::new(
                Sign::several(FURTHER, &[]),
                "another mix of them".to_owned(),
            ));
        }
        for (state, text) in [
            (State::Isolated, "isolated"),
            (State::Reserved, "reserved for the host"),
            (State::Forbidden, "not allowed by the cpuset"),
            (State::Offline, "offline"),
        ] {
            let sign = Sign::off(state);
            if seen.contains(&sign) {
                keys.push(Key::new(sign, text.to_owned()));
            }
        }
        keys
    }
}

impl Sign {
    /// That of a CPU with nobody on it.
    pub(crate) fn free() -> Self {
        Self {
            text: String::new(),
            ink: Ink::Free,
        }
    }

    fn several(sign: char, parts: &[Self]) -> Self {
        let ways = parts.iter().filter_map(|part| match part.ink {
            Ink::Owner { how, .. } | Ink::Other(how) => Some(how),
            Ink::Free | Ink::Several(_) | Ink::Off(_) => None,
        });
        Self {
            text: sign.to_string(),
            ink: Ink::Several(ways.min().unwrap_or(How::Mask)),
        }
    }

    fn off(state: State) -> Self {
        let text = match state {
            State::Usable => "",
            State::Isolated => "i",
            State::Reserved => "r",
            State::Forbidden => "-",
            State::Offline => "/",
        };
        Self {
            text: text.to_owned(),
            ink: Ink::Off(state),
        }
    }
}

impl Key {
    /// One that stands by itself.
    pub(crate) fn new(sign: Sign, text: String) -> Self {
        Self {
            signs: vec![sign],
            whole: text.clone(),
            text,
            first: false,
        }
    }
}

impl Drawing {
    /// The CPUs as they stand in the picture.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = CpuId> + '_ {
        let groups = self.boxes.iter().flat_map(|at| &at.groups);
        let cores = groups.flat_map(|group| &group.cores);
        cores.flat_map(|core| core.cpus.iter().copied())
    }
}

/// What is to be said of a CPU: nothing, its state, or each owner's sign once.
fn parts(drawing: &Drawing, cell: &Cell) -> Vec<Sign> {
    if cell.holders.is_empty() {
        return match cell.state {
            State::Usable => Vec::new(),
            state => vec![Sign::off(state)],
        };
    }
    let mut parts: Vec<Sign> = Vec::new();
    for holder in &cell.holders {
        let sign = match drawing.owners.get(holder.owner) {
            Some(owner) if !owner.other => own(holder.owner, holder.how),
            _ => other(holder.how),
        };
        // Of several other guests the strongest way counts.
        match parts.last_mut() {
            Some(last) if matches!((last.ink, sign.ink), (Ink::Other(_), Ink::Other(_))) => {
                *last = sign.min(last.clone());
            }
            _ => parts.push(sign),
        }
    }
    parts
}

/// The sign of an owner: a capital letter for a CPU of its own, a small one for a mask.
fn own(number: usize, how: How) -> Sign {
    let text = match how {
        How::Alone => letters(number),
        How::Mask => letters(number).to_lowercase(),
        How::Idle => ":".to_owned(),
        How::Later => "'".to_owned(),
    };
    Sign {
        text,
        ink: Ink::Owner { number, how },
    }
}

fn other(how: How) -> Sign {
    let text = match how {
        How::Mask => "x",
        How::Alone | How::Idle | How::Later => "X",
    };
    Sign {
        text: text.to_owned(),
        ink: Ink::Other(how),
    }
}

/// A, B, ... Z, AA, AB, ...
fn letters(number: usize) -> String {
    let letter = |digit: usize| char::from(LETTERS[digit % LETTERS.len()]);
    match number / LETTERS.len() {
        0 => letter(number).to_string(),
        more => letters(more - 1) + &letter(number).to_string(),
    }
}

fn owners(drawing: &Drawing, seen: &BTreeSet<Sign>, keys: &mut Vec<Key>) {
    let mut before = None;
    let (mut idle, mut later) = (None, None);
    for (number, owner) in drawing.owners.iter().enumerate() {
        if owner.other {
            continue;
        }
        let signs = [How::Alone, How::Mask].map(|how| own(number, how));
        let signs: Vec<_> = signs
            .into_iter()
            .filter(|sign| seen.contains(sign))
            .collect();
        for (how, found) in [(How::Idle, &mut idle), (How::Later, &mut later)] {
            let sign = own(number, how);
            if found.is_none() && seen.contains(&sign) {
                *found = Some(sign);
            }
        }
        if signs.is_empty() {
            continue;
        }
        let first = before != Some(&owner.guest);
        before = Some(&owner.guest);
        let whole = match owner.virtual_node {
            Some(node) => format!("guest {}, virtual node {node}", owner.guest),
            None => format!("guest {}", owner.guest),
        };
        let text = match owner.virtual_node {
            Some(node) if !first => format!("virtual node {node}"),
            _ => whole.clone(),
        };
        keys.push(Key {
            signs,
            text,
            whole,
            first,
        });
    }
    for (sign, text) in [
        (idle, "kept idle beside its core's vcpu"),
        (later, "for a vcpu that is not plugged"),
    ] {
        keys.extend(sign.map(|sign| Key::new(sign, text.to_owned())));
    }
}

fn others(drawing: &Drawing, seen: &BTreeSet<Sign>, keys: &mut Vec<Key>) {
    let mut named = |how: How, what: &str| {
        let sign = other(how);
        if !seen.contains(&sign) {
            return;
        }
        let is = |number: usize| {
            let mut holders = drawing.cells.values().flat_map(|cell| &cell.holders);
            holders.any(|holder| holder.owner == number && holder.how == how)
        };
        let all = drawing.owners.iter().enumerate();
        let names: Vec<_> = all
            .filter(|(number, owner)| owner.other && is(*number))
            .map(|(_, owner)| owner.guest.as_str())
            .collect();
        keys.push(Key::new(sign, format!("{what} {}", guests_named(&names))));
    };
    named(How::Alone, "held one-to-one by");
    named(How::Mask, "in masks of");
}

/// Guests by their names.
pub(super) fn guests_named(names: &[&str]) -> String {
    let guests = if names.len() == 1 { "guest" } else { "guests" };
    format!("{guests} {}", listed(names, ", "))
}

/// Names, no more than fit a line.
fn listed(names: &[&str], between: &str) -> String {
    const MOST: usize = 6;
    match names.len() {
        n if n > MOST => format!("{} and {} more", names[..MOST].join(between), n - MOST),
        _ => names.join(between),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_go_on_after_the_last_one() {
        let told: Vec<_> = [0, 1, 21, 22, 43, 44].map(letters).into();
        assert_eq!(told, ["A", "B", "Z", "AA", "AZ", "BA"]);
        let mut all: Vec<_> = (0..1000).map(letters).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 1000);
    }
}
