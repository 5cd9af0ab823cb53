//! The rectangle of a CPU.

use numapin_core::id::CpuId;

use super::super::drawing::{Cell, Drawing, How, Ink, Sign, Signs, State};
use super::block::{Words, escaped, rect};
use super::style::HUES;

/// How high a CPU is.
pub(super) const HEIGHT: usize = 22;

/// How high the band is that says who shares a CPU.
const BAND: usize = 5;

/// How much room signs and numbers take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    signs: usize,
    /// Of the highest CPU.
    pub(super) digits: usize,
}

impl Room {
    /// For the CPUs of a picture.
    pub(super) fn of(drawing: &Drawing, signs: &Signs) -> Self {
        let digits = drawing.in_order().map(|cpu| cpu.to_string().len()).max();
        Self {
            signs: signs.width,
            digits: digits.unwrap_or(1),
        }
    }

    /// How wide a CPU is.
    pub(super) fn width(self) -> usize {
        let signs = if self.signs > 0 {
            self.signs * 8 + 4
        } else {
            0
        };
        6 + signs + self.digits * 7 + 6
    }
}

/// A CPU at a place, with what there is to say of it.
pub(super) fn cpu(
    drawing: &Drawing,
    signs: &Signs,
    room: Room,
    (x, y): (usize, usize),
    (cpu, of): (CpuId, &str),
) -> String {
    let cell = drawing.cells.get(&cpu);
    let sign = signs.sign(drawing, cpu);
    let width = room.width();
    let mut out = format!(
        "<g><title>{}</title>\n",
        escaped(&said(drawing, cell, cpu, of))
    );
    let parts = cell
        .map(|cell| signs.parts(drawing, cell))
        .unwrap_or_default();
    out.push_str(&filled(&sign, &parts, x, y, width));
    if let Some(cell) = cell
        && cell.state == State::Isolated
        && !cell.holders.is_empty()
    {
        out.push_str(&rect("held", x + 2, y + 2, width - 4, HEIGHT - 4));
    }
    let on_it = on(&sign);
    if !sign.text.is_empty() {
        out.push_str(&format!(
            "<text class=\"sign{on_it}\" x=\"{}\" y=\"{}\">{}</text>\n",
            x + 6,
            y + 15,
            escaped(&sign.text)
        ));
    }
    out.push_str(&format!(
        "<text class=\"cpu{on_it}\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{cpu}</text></g>\n",
        x + width - 6,
        y + 15
    ));
    out
}

/// A sign as it looks, for the legend.
pub(super) fn swatch(sign: &Sign, parts: &[Sign], width: usize) -> String {
    let mut out = filled(sign, parts, 0, 0, width);
    let wide = Words::Label.width(&sign.text);
    out.push_str(&format!(
        "<text class=\"sign{}\" x=\"{}\" y=\"15\">{}</text>\n",
        on(sign),
        width.saturating_sub(wide) / 2,
        escaped(&sign.text)
    ));
    out
}

/// The rectangle behind a sign.
fn filled(sign: &Sign, parts: &[Sign], x: usize, y: usize, width: usize) -> String {
    if !matches!(sign.ink, Ink::Several(_)) {
        return plain(sign.ink, x, y, width, HEIGHT);
    }
    // A band of them below, so that the letters stand on white.
    let mut out = plain(Ink::Free, x, y, width, HEIGHT);
    let shown = &parts[..parts.len().min(6)];
    for (number, part) in shown.iter().enumerate() {
        let (from, to) = (
            width * number / shown.len(),
            width * (number + 1) / shown.len(),
        );
        let top = y + HEIGHT - BAND;
        out.push_str(&plain(part.ink, x + from, top, to - from, BAND));
    }
    out + &rect("several", x, y, width, HEIGHT)
}

fn plain(ink: Ink, x: usize, y: usize, width: usize, height: usize) -> String {
    let whole = |class: &str| rect(class, x, y, width, height);
    match ink {
        Ink::Free | Ink::Several(_) => whole("free"),
        Ink::Owner { number, how } => {
            let hue = number % HUES.len();
            let mut out = match how {
                How::Alone => whole(&format!("s{hue}")),
                How::Mask | How::Idle | How::Later => whole(&format!("m{hue}")),
            };
            match number / HUES.len() % 3 {
                1 => out.push_str(&whole("over")),
                2 => out.push_str(&whole("over2")),
                _ => {}
            }
            out
        }
        Ink::Other(How::Mask) => whole("othermask"),
        Ink::Other(_) => whole("other"),
        Ink::Off(state) => whole(match state {
            State::Usable => "free",
            State::Isolated => "isolated",
            State::Reserved => "reserved",
            State::Forbidden => "forbidden",
            State::Offline => "offline",
        }),
    }
}

/// The class of letters on a sign's colour, with a space before it.
fn on(sign: &Sign) -> String {
    match sign.ink {
        Ink::Owner {
            number,
            how: How::Alone,
        } => format!(" t{}", number % HUES.len()),
        Ink::Other(How::Alone | How::Idle | How::Later) => " w".to_owned(),
        _ => String::new(),
    }
}

/// All there is to say of a CPU.
fn said(drawing: &Drawing, cell: Option<&Cell>, cpu: CpuId, of: &str) -> String {
    let mut out = format!("cpu {cpu}, {of}");
    let Some(cell) = cell else {
        return out;
    };
    let state = match cell.state {
        State::Usable => "",
        State::Isolated => ", isolated",
        State::Reserved => ", reserved for the host",
        State::Forbidden => ", not allowed by the cpuset",
        State::Offline => "",
    };
    out.push_str(state);
    for holder in &cell.holders {
        let Some(owner) = drawing.owners.get(holder.owner) else {
            continue;
        };
        out.push_str(&format!("; guest {}", owner.guest));
        if let Some(node) = owner.virtual_node {
            out.push_str(&format!(" virtual node {node}"));
        }
        let vcpus = match holder.vcpus.len() {
            0 => String::new(),
            1 => format!(" vcpu {}", holder.vcpus),
            _ => format!(" vcpus {}", holder.vcpus),
        };
        out.push_str(&vcpus);
        out.push_str(match holder.how {
            How::Alone => " (held one-to-one)",
            How::Idle => " (kept idle)",
            How::Later => " (not plugged)",
            How::Mask => " (one of several cpus of its mask)",
        });
    }
    if cell.holders.is_empty() && cell.state == State::Usable && !drawing.owners.is_empty() {
        out.push_str("; free");
    }
    out
}
