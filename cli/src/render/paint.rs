//! Colours for text on a terminal: the lines that start a guest stand out, and so do notes and refusals. The words say it all;
//! colour only helps the eye.

use std::io::{IsTerminal as _, stdout};

use crate::args::Color;

const BOLD: &str = "\x1b[1m";
const YELLOW: &str = "\x1b[33m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// Whether the answer gets colours. `auto`: on a terminal that is not dumb, unless NO_COLOR is set (<https://no-color.org>).
pub(crate) fn wanted(color: Color) -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            let dumb = set("TERM").is_none_or(|term| term == "dumb");
            stdout().is_terminal() && set("NO_COLOR").is_none() && !dumb
        }
    }
}

/// The text with its colours.
pub(crate) fn paint(text: &str) -> String {
    text.split_inclusive('\n').map(line).collect()
}

fn line(text: &str) -> String {
    let body = text.trim_end_matches('\n');
    let word = body.trim_start();
    let colour = if body.ends_with("can't be pinned:") || word.starts_with("- ") {
        RED
    } else if word.starts_with("note:") {
        YELLOW
    } else if body.starts_with("guest ") {
        BOLD
    } else {
        return text.to_owned();
    };
    format!("{colour}{body}{PLAIN}{}", &text[body.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_matter_are_painted_and_no_word_changes() {
        let text = "guest 100: 1 socket\n  vcpu 0 -> cpu 1\n  note: look\nguest 9 can't be pinned:\n  - too large\n";
        let painted = paint(text);
        let expected = "\x1b[1mguest 100: 1 socket\x1b[0m\n  vcpu 0 -> cpu 1\n\x1b[33m  note: look\x1b[0m\n\
                        \x1b[31mguest 9 can't be pinned:\x1b[0m\n\x1b[31m  - too large\x1b[0m\n";
        assert_eq!(painted, expected);
        let bare = [BOLD, YELLOW, RED, PLAIN]
            .iter()
            .fold(painted, |text, code| text.replace(code, ""));
        assert_eq!(bare, text);
    }

    #[test]
    fn asked_for_is_what_counts() {
        assert!(wanted(Color::Always) && !wanted(Color::Never));
    }
}
