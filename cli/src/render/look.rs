//! What the reader's terminal can show: how wide it is, which characters, whether colours.

use std::io::stdout;

use terminal_size::{Width, terminal_size_of};

use super::paint;
use crate::args::Color;

/// Widths that a picture is made for: below it would be scraps, above the eye gets lost.
const WIDTHS: std::ops::RangeInclusive<usize> = 40..=240;
/// Where there is no terminal.
const PLAIN_WIDTH: usize = 80;

/// How a picture may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// How many characters a line may have.
    pub(crate) width: usize,
    /// Whether there is more than ASCII.
    pub(crate) unicode: bool,
    /// Whether it has colours.
    pub(crate) colour: bool,
}

impl Look {
    /// What standard output and the environment allow.
    pub(crate) fn of(color: Color) -> Self {
        if crate::is_kept() {
            // Nobody's terminal: the same words give the same answer wherever they are run.
            return Self {
                width: PLAIN_WIDTH,
                unicode: true,
                colour: false,
            };
        }
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let columns = set("COLUMNS").and_then(|columns| columns.parse().ok());
        let terminal = || terminal_size_of(stdout()).map(|(Width(width), _)| usize::from(width));
        Self {
            width: width(columns.or_else(terminal)),
            unicode: unicode(set),
            colour: paint::wanted(color),
        }
    }
}

/// The width to draw for. A terminal that says 0 does not know.
fn width(told: Option<usize>) -> usize {
    let told = told.filter(|width| *width > 0).unwrap_or(PLAIN_WIDTH);
    told.clamp(*WIDTHS.start(), *WIDTHS.end())
}

/// Whether the locale, as POSIX finds that of characters (`LC_ALL`, `LC_CTYPE`, `LANG`: the first that is set), is one of UTF-8;
/// never on a dumb terminal.
fn unicode(set: impl Fn(&str) -> Option<String>) -> bool {
    if set("TERM").as_deref() == Some("dumb") {
        return false;
    }
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&[], false)]
    #[case(&[("LANG", "de_DE.UTF-8")], true)]
    #[case(&[("LANG", "C.utf8")], true)]
    #[case(&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "C")], false)]
    #[case(&[("LANG", "C"), ("LC_CTYPE", "en_US.UTF-8")], true)]
    #[case(&[("LANG", "de_DE.UTF-8"), ("TERM", "dumb")], false)]
    #[case(&[("LANG", "de_DE.UTF-8"), ("TERM", "xterm")], true)]
    fn characters_by_locale(#[case] set: &[(&str, &str)], #[case] expected: bool) {
        let value = |name: &str| {
            let found = set.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        assert_eq!(unicode(value), expected);
    }

    #[rstest]
    #[case(None, 80)]
    #[case(Some(0), 80)]
    #[case(Some(7), 40)]
    #[case(Some(132), 132)]
    #[case(Some(100_000), 240)]
    fn widths_that_can_be_drawn(#[case] told: Option<usize>, #[case] expected: usize) {
        assert_eq!(width(told), expected);
    }
}
