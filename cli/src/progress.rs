//! A bar on the terminal for what takes longer than a second; nothing in a pipe.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is done sooner needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// How far something has come.
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
}

impl Progress {
    /// Nothing of so many steps is done.
    pub(crate) fn new(steps: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos} of {len}");
        if let Ok(style) = style {
            bar.set_style(style.progress_chars("=> "));
        }
        Self {
            bar,
            started: Instant::now(),
        }
    }

    /// The next step begins. The bar shows itself when it has taken long, on standard error where that is a terminal that can.
    pub(crate) fn begins(&self, what: &str) {
        let term = std::env::var("TERM").ok();
        if self.bar.is_hidden() && is_due(self.started.elapsed(), term.as_deref()) {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_message(what.to_owned());
    }

    /// A step is done.
    pub(crate) fn done(&self) {
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Whether a bar is to be seen on a terminal of this name after so long.
fn is_due(taken: Duration, term: Option<&str>) -> bool {
    taken > PATIENCE && term.is_some_and(|term| !["", "dumb"].contains(&term))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(900, Some("xterm"), false)]
    #[case(1_100, Some("xterm"), true)]
    #[case(1_100, Some("dumb"), false)]
    #[case(1_100, Some(""), false)]
    #[case(1_100, None, false)]
    fn a_bar_is_for_those_who_wait(
        #[case] millis: u64,
        #[case] term: Option<&str>,
        #[case] expected: bool,
    ) {
        assert_eq!(is_due(Duration::from_millis(millis), term), expected);
    }
}
