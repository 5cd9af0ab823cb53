//! Colours of a terminal for what a sign means. The hues are those of Okabe and Ito, which the colour-blind can tell apart, by
//! the nearest of the 256 that terminals have; owners beyond them begin anew, with other letters.

use super::super::drawing::{How, Ink};

/// Hues: a background with the characters on it, and the same for characters alone, where neither a white nor a black
/// terminal hides them.
const HUES: [(u8, u8, u8); 7] = [
    (214, 16, 172),
    (74, 16, 74),
    (36, 16, 36),
    (227, 16, 142),
    (25, 231, 33),
    (166, 16, 166),
    (175, 16, 175),
];
const GREY: u8 = 244;

/// The parameters of the escape sequence; `None` for what looks as all text does.
pub(super) fn code(ink: Ink) -> Option<String> {
    match ink {
        Ink::Owner {
            number,
            how: How::Alone,
        } => {
            let (hue, on_it, _) = HUES[number % HUES.len()];
            Some(format!("1;38;5;{on_it};48;5;{hue}"))
        }
        Ink::Owner { number, .. } => {
            let (_, _, hue) = HUES[number % HUES.len()];
            Some(format!("38;5;{hue}"))
        }
        Ink::Other(How::Mask) => Some(format!("38;5;{GREY}")),
        Ink::Other(_) => Some(format!("38;5;16;48;5;{GREY}")),
        Ink::Several(How::Mask) => Some("1".to_owned()),
        Ink::Several(_) => Some("7".to_owned()),
        Ink::Off(_) => Some(format!("2;38;5;{GREY}")),
        Ink::Free => None,
    }
}
