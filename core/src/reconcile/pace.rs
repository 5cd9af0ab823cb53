//! When the watch looks at what, and when the host and QMP have been left in peace for long enough. Time is a value that is
//! handed in: how long the watch has been running, by whatever clock never goes back.
//!
//! ```text
//! Pace      which of the looks are due: processes, masks, everything
//! Settling  since when the online CPUs are the same
//! Asking    whether a guest's QMP may be asked, and when it is tried again
//! ```

use core::time::Duration;
use std::collections::BTreeSet;

use crate::id::Tid;
use crate::idset::CpuSet;

/// How often guests are looked for.
pub const PROCESSES: Duration = Duration::from_secs(2);

/// How often masks are looked at.
pub const MASKS: Duration = Duration::from_secs(5);

/// How often everything is read anew, whether or not it seems to have changed.
pub const EVERYTHING: Duration = Duration::from_secs(30);

/// How long the set of online CPUs must be the same before something stands in for those that are gone: SMT is switched off
/// CPU by CPU.
pub const SETTLED: Duration = Duration::from_secs(10);

/// The least time between two questions to the QMP of one guest: its socket takes one client, and others wait for it.
pub const QUESTIONS: Duration = Duration::from_secs(10);

/// The longest time between two tries of what goes on failing.
pub const LONGEST: Duration = Duration::from_secs(60);

/// When the watch looks at what.
#[derive(Debug, Default)]
pub struct Pace {
    processes: Option<Duration>,
    masks: Option<Duration>,
    everything: Option<Duration>,
}

/// What is due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Due {
    /// To look whether guests came or went.
    pub processes: bool,
    /// To look at masks, at the ledger and at the online CPUs, too.
    pub masks: bool,
    /// To read everything anew.
    pub everything: bool,
}

/// Since when the online CPUs are the same.
#[derive(Debug, Default)]
pub struct Settling {
    online: CpuSet,
    since: Duration,
    told: bool,
}

/// How often something went wrong, and when it is tried again: at first after [`QUESTIONS`], then twice as long each time, up
/// to [`LONGEST`].
#[derive(Debug, Default)]
pub struct Tries {
    last: Duration,
    failures: u32,
}

/// When the QMP of one guest was asked, and what for.
#[derive(Debug, Default)]
pub struct Asking {
    last: Option<Duration>,
    tries: Tries,
    asked_for: Option<BTreeSet<Tid>>,
}

impl Pace {
    /// What is due now; it is taken for done.
    pub fn due(&mut self, now: Duration) -> Due {
        let due = |last: &mut Option<Duration>, every: Duration| {
            let due = last.is_none_or(|last| now >= last + every);
            if due {
                *last = Some(now);
            }
            due
        };
        let everything = due(&mut self.everything, EVERYTHING);
        let masks = due(&mut self.masks, MASKS) || everything;
        let processes = due(&mut self.processes, PROCESSES) || masks;
        Due {
            processes,
            masks,
            everything,
        }
    }

    /// When something is due next.
    #[must_use]
    pub fn next(&self) -> Duration {
        let looks = [
            (self.processes, PROCESSES),
            (self.masks, MASKS),
            (self.everything, EVERYTHING),
        ];
        let next = looks.map(|(last, every)| last.map_or(Duration::ZERO, |last| last + every));
        next.into_iter().min().unwrap_or_default()
    }

    /// Makes everything due.
    pub fn hurry(&mut self) {
        *self = Self::default();
    }
}

impl Settling {
    /// Takes note of the online CPUs; whether they differ from those before.
    pub fn observe(&mut self, online: &CpuSet, now: Duration) -> bool {
        if *online == self.online {
            return false;
        }
        self.online.clone_from(online);
        self.since = now;
        self.told = false;
        true
    }

    /// Whether they have been the same for long enough.
    #[must_use]
    pub fn settled(&self, now: Duration) -> bool {
        now >= self.since + SETTLED
    }

    /// Whether they have become settled since this was asked last.
    pub fn just_settled(&mut self, now: Duration) -> bool {
        let just = !self.told && self.settled(now);
        self.told |= just;
        just
    }
}

impl Asking {
    /// Takes the threads that run vCPUs for those that QMP told.
    pub fn known(&mut self, vcpus: BTreeSet<Tid>) {
        self.asked_for = Some(vcpus);
    }

    /// What was in the way may be over: the next question need not wait longer than any other.
    pub fn hope(&mut self) {
        self.tries.worked();
    }

    /// Whether other threads run vCPUs than when QMP last answered.
    #[must_use]
    pub fn is_wanted(&self, vcpus: &BTreeSet<Tid>) -> bool {
        self.asked_for.as_ref() != Some(vcpus)
    }

    /// Whether it may be asked now.
    #[must_use]
    pub fn may(&self, now: Duration) -> bool {
        self.last.is_none_or(|last| now >= last + QUESTIONS) && self.tries.may(now)
    }

    /// It was asked, for these threads.
    pub fn answered(&mut self, vcpus: BTreeSet<Tid>, now: Duration) {
        self.last = Some(now);
        self.tries.worked();
        self.asked_for = Some(vcpus);
    }

    /// It was asked in vain.
    pub fn failed(&mut self, now: Duration) {
        self.last = Some(now);
        self.tries.failed(now);
    }
}

impl Tries {
    /// Whether it may be tried now.
    #[must_use]
    pub fn may(&self, now: Duration) -> bool {
        let doubled = self.failures.saturating_sub(1).min(8);
        self.failures == 0 || now >= self.last + LONGEST.min(QUESTIONS * (1 << doubled))
    }

    /// It went wrong.
    pub fn failed(&mut self, now: Duration) {
        self.last = now;
        self.failures = self.failures.saturating_add(1);
    }

    /// It went well.
    pub fn worked(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn each_look_has_its_own_pace() {
        let mut pace = Pace::default();
        let mut told = Vec::new();
        let mut now = Duration::ZERO;
        while now <= s(30) {
            let due = pace.due(now);
            assert!(due.processes, "{now:?}");
            let what = match due {
                Due {
                    everything: true, ..
                } => "all",
                Due { masks: true, .. } => "masks",
                _ => "processes",
            };
            told.push(format!("{}:{what}", now.as_secs()));
            assert!(!pace.due(now).processes, "nothing is due twice");
            now = pace.next();
        }
        assert_eq!(
            told.join(" "),
            "0:all 2:processes 4:processes 5:masks 6:processes 8:processes 10:masks 12:processes 14:processes 15:masks \
             16:processes 18:processes 20:masks 22:processes 24:processes 25:masks 26:processes 28:processes 30:all"
        );
        pace.hurry();
        assert!(pace.due(s(30)).everything);
    }

    #[test]
    fn what_was_slept_through_is_due_once() {
        let mut pace = Pace::default();
        pace.due(Duration::ZERO);
        assert!(pace.due(s(3600)).everything);
        assert_eq!(pace.next(), s(3602));
        assert_eq!(pace.due(s(3601)), Due::default());
    }

    #[test]
    fn the_host_has_settled_ten_seconds_after_the_last_change() {
        let mut host = Settling::default();
        let all: CpuSet = "0-7".parse().unwrap();
        let fewer: CpuSet = "0-6".parse().unwrap();
        assert!(host.observe(&all, s(0)));
        assert!(!host.observe(&all, s(5)) && !host.settled(s(9)) && host.settled(s(10)));
        assert!(host.just_settled(s(10)) && !host.just_settled(s(11)));
        assert!(host.observe(&fewer, s(20)) && host.observe(&all, s(25)));
        assert!(!host.settled(s(34)) && host.just_settled(s(35)));
    }

    #[test]
    fn qmp_is_asked_at_most_once_in_ten_seconds_and_less_often_where_it_fails() {
        let mut asking = Asking::default();
        let one: BTreeSet<Tid> = [Tid(4)].into();
        assert!(asking.is_wanted(&one) && asking.may(s(0)));
        asking.failed(s(0));
        assert!(!asking.may(s(9)) && asking.may(s(10)));
        asking.failed(s(10));
        assert!(!asking.may(s(29)) && asking.may(s(30)));
        for _ in 0..40 {
            asking.failed(s(30));
        }
        assert!(!asking.may(s(89)) && asking.may(s(90)));
        asking.answered(one.clone(), s(90));
        assert!(!asking.is_wanted(&one) && asking.is_wanted(&BTreeSet::new()));
        assert!(!asking.may(s(99)) && asking.may(s(100)));
    }
}
