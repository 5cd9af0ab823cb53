//! Colours of a terminal for what a sign means. The hues are those of Okabe and Ito, which the colour-blind can tell apart, by
//! the nearest of the 256 that terminals have; owners beyond them begin anew, with other letters.

use super::super::drawing::{How, Ink};

/// Hues, each with the characters on it.
const HUES: [(u8, u8); 7] = [
    (214, 16),
    (74, 16),
    (36, 16),
    (227, 16),
    (25, 231),
    (166, 231),
    (175, 16),
];
const GREY: u8 = 244;

/// The parameters of the escape sequence; `None` for what looks as all text does.
pub(super) fn code(ink: Ink) -> Option<String> {
    match ink {
        Ink::Owner {
            number,
            how: How::Alone,
        } => {
            let (hue, on_it) = HUES[number % HUES.len()];
            Some(format!("1;38;5;{on_it};48;5;{hue}"))
        }
        Ink::Owner { number, .. } => {
            let (hue, _) = HUES[number % HUES.len()];
            Some(format!("38;5;{hue}"))
        }
        Ink::Other(How::Mask) => Some(format!("38;5;{GREY}")),
        Ink::Other(_) => Some(format!("38;5;16;48;5;{GREY}")),
        Ink::Several => Some("7".to_owned()),
        Ink::Off(_) => Some(format!("2;38;5;{GREY}")),
        Ink::Free => None,
    }
}
