//! What has been told: each thing once, however often it is seen.

use core::time::Duration;
use std::collections::BTreeMap;

/// How long what happens again and again is not told again.
pub const QUIET: Duration = Duration::from_secs(600);

/// So many events are remembered before those that are long over are forgotten.
const MANY: usize = 500;

/// What has been told, each thing under whom it is about and what kind of thing it is.
///
/// There are two kinds: a *state* lasts (a config that can't be read, a CPU that stands in for another), and is told when it
/// begins and when it becomes another one; an *event* is over when it is told (a mask that was set again), and the same event
/// is told again only after [`QUIET`], with how often it was seen meanwhile.
#[derive(Debug, Default)]
pub struct Told {
    states: BTreeMap<(String, &'static str), Vec<String>>,
    events: BTreeMap<String, Event>,
}

#[derive(Debug)]
struct Event {
    told: Duration,
    seen: u32,
}

impl Told {
    /// The lines of a state that were not told yet. Those that are not among them any more are over.
    pub fn state(
        &mut self,
        about: &str,
        kind: &'static str,
        lines: impl IntoIterator<Item = String>,
    ) -> Vec<String> {
        let lines: Vec<String> = lines.into_iter().collect();
        let key = (about.to_owned(), kind);
        let before = match lines.is_empty() {
            true => self.states.remove(&key),
            false => self.states.insert(key, lines.clone()),
        };
        let before = before.unwrap_or_default();
        let before: Vec<String> = before.iter().map(|line| timeless(line)).collect();
        let new = lines.into_iter();
        new.filter(|line| !before.contains(&timeless(line)))
            .collect()
    }

    /// How the line of an event is told now; `None` where it was told a short while ago.
    pub fn event(&mut self, line: &str, now: Duration) -> Option<String> {
        match self.events.get_mut(line) {
            Some(event) if now < event.told + QUIET => {
                event.seen += 1;
                None
            }
            Some(event) => {
                let more = event.seen;
                *event = Event { told: now, seen: 0 };
                Some(match more {
                    0 => line.to_owned(),
                    more => format!("{line} ({more} more time(s) since it was told last)"),
                })
            }
            None => {
                if self.events.len() >= MANY {
                    self.events.retain(|_, event| now < event.told + QUIET);
                }
                let event = Event { told: now, seen: 0 };
                self.events.insert(line.to_owned(), event);
                Some(line.to_owned())
            }
        }
    }

    /// Forgets what was told about somebody who is gone, and events that are long over.
    pub fn forget(&mut self, about: &str, now: Duration) {
        self.states.retain(|(whom, _), _| whom != about);
        self.events.retain(|_, event| now < event.told + QUIET);
    }
}

/// A line without the durations in it ("0.2 s", "104 ms"): how long something was waited for does not make it another thing.
fn timeless(line: &str) -> String {
    let is_number = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_digit())
            && word.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    let is_unit = |word: &str| matches!(word.trim_end_matches([';', ':', ',', ')']), "s" | "ms");
    let mut words: Vec<&str> = line.split(' ').collect();
    for at in 1..words.len() {
        if is_unit(words[at]) && is_number(words[at - 1]) {
            words[at - 1] = "";
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_state_is_told_when_it_begins() {
        let mut told = Told::default();
        let mut tell = |lines: &[&str]| {
            let lines = lines.iter().map(|line| (*line).to_owned());
            told.state("100", "notes", lines).join(" ")
        };
        let steps: [(&[&str], &str); 5] = [
            (&["a", "b"], "a b"),
            (&["a", "b"], ""),
            (&["b", "c"], "c"),
            (&[], ""),
            (&["b"], "b"),
        ];
        for (lines, expected) in steps {
            assert_eq!(tell(lines), expected, "{lines:?}");
        }
        assert_eq!(told.state("101", "notes", ["b".to_owned()]), ["b"]);
        told.forget("100", s(0));
        assert_eq!(told.state("100", "notes", ["b".to_owned()]), ["b"]);
        assert!(told.state("101", "notes", ["b".to_owned()]).is_empty());
    }

    #[test]
    fn how_long_it_took_is_not_told_again() {
        let mut told = Told::default();
        let steps = [
            ("no greeting within 0.2 s: busy, still after 99 ms", true),
            ("no greeting within 0.3 s: busy, still after 104 ms", false),
            ("no greeting within 0.3 s: idle, still after 104 ms", true),
        ];
        for (line, new) in steps {
            let lines = told.state("100", "qmp", [line.to_owned()]);
            assert_eq!(lines.len(), usize::from(new), "{line}");
        }
    }

    #[test]
    fn an_event_that_happens_again_and_again_is_told_with_its_number() {
        let mut told = Told::default();
        assert_eq!(told.event("a", s(0)).as_deref(), Some("a"));
        assert_eq!(told.event("b", s(5)).as_deref(), Some("b"));
        for second in [5, 10, 599] {
            assert_eq!(told.event("a", s(second)), None);
        }
        let again = told.event("a", s(600));
        assert_eq!(
            again.as_deref(),
            Some("a (3 more time(s) since it was told last)")
        );
        told.forget("100", s(1300));
        assert_eq!(told.event("a", s(1300)).as_deref(), Some("a"));
    }
}
