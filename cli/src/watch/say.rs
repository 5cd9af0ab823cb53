//! What is told: each thing once, in lines that say whom they are about.

use std::fmt::Write as _;
use std::time::Duration;

use numapin_core::guest::GuestName;
use numapin_core::placement::{PlacedVcpu, Plan};
use numapin_core::reconcile::told::Told;
use numapin_core::reconcile::{Action, Why};
use numapin_core::report::{Report, State};
use numapin_core::thread::ThreadKind;
use numapin_core::violation::Violations;

use super::{Line, Priority};

/// What is to be told of a round, and what was told before.
#[derive(Default)]
pub(super) struct Say {
    /// The time of the round.
    pub(super) now: Duration,
    told: Told,
    lines: Vec<Line>,
}

impl Say {
    /// Something that lasts: told when it begins. No lines: it is over.
    pub(super) fn state(
        &mut self,
        priority: Priority,
        about: &str,
        kind: &'static str,
        lines: impl IntoIterator<Item = String>,
    ) {
        for text in self.told.state(about, kind, lines) {
            self.line(priority, text);
        }
    }

    /// Something that happened: told again only after a while where it happens again and again.
    pub(super) fn event(&mut self, priority: Priority, text: String) {
        if let Some(text) = self.told.event(&text, self.now) {
            self.line(priority, text);
        }
    }

    /// Forgets a guest that is gone.
    pub(super) fn forget(&mut self, about: &str) {
        self.told.forget(about, self.now);
    }

    /// The lines so far.
    pub(super) fn take(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.lines)
    }

    fn line(&mut self, priority: Priority, text: String) {
        // Names of guests and files go to a journal: one line is one line.
        let text = text.replace(['\n', '\r'], " ");
        self.lines.push(Line { priority, text });
    }
}

/// Why a guest can't be pinned, on one line.
pub(super) fn refused(violations: &Violations) -> String {
    let reasons: Vec<String> = violations.list.iter().map(ToString::to_string).collect();
    format!(
        "guest {} can't be pinned: {}",
        violations.guest,
        reasons.join("; ")
    )
}

/// Where a guest's vCPUs are, by a plan.
pub(super) fn placed(plan: &Plan) -> String {
    let mut groups: Vec<(Vec<&PlacedVcpu>, &PlacedVcpu)> = Vec::new();
    for vcpu in &plan.vcpus {
        match groups.last_mut() {
            Some((all, first)) if first.cpus == vcpu.cpus => all.push(vcpu),
            _ => groups.push((vec![vcpu], vcpu)),
        }
    }
    let mut out = String::new();
    for (all, first) in groups {
        let comma = if out.is_empty() { "" } else { ", " };
        let last = all.last().map_or(first.vcpu, |last| last.vcpu);
        let _ = match all.len() {
            1 => write!(out, "{comma}vcpu {} on cpu(s) {}", first.vcpu, first.cpus),
            _ => write!(
                out,
                "{comma}vcpus {}-{last} on cpu(s) {}",
                first.vcpu, first.cpus
            ),
        };
    }
    out
}

/// What was set, one line for each reason. Only what the report says was set is in it.
pub(super) fn repaired(
    guest: &GuestName,
    actions: &[Action],
    report: Option<&Report>,
) -> Vec<(Priority, String)> {
    let was_set = |action: &&Action| {
        report.is_none_or(|report| {
            let mut threads = report.threads.iter();
            threads.any(|of| of.tid == action.wish.thread.tid && of.state == State::Set)
        })
    };
    let mut lines: Vec<(Why, String)> = Vec::new();
    for action in actions.iter().filter(was_set) {
        let wish = &action.wish;
        let one = match &wish.kind {
            // They come and go: which one it was is nobody's business.
            ThreadKind::Emulator { .. } => format!("{} to cpu(s) {}", wish.kind, wish.cpus),
            kind => format!(
                "{kind} (thread {}) to cpu(s) {}",
                wish.thread.tid, wish.cpus
            ),
        };
        match lines.iter_mut().find(|(why, _)| *why == action.why) {
            Some((_, line)) if line.contains(&one) => {}
            Some((_, line)) => {
                let _ = write!(line, ", {one}");
            }
            None => lines.push((action.why, one)),
        }
    }
    let verb = if report.is_some() { "set" } else { "would set" };
    let line = |(why, what): (Why, String)| {
        let priority = match why {
            Why::Drifted => Priority::Warning,
            Why::StandIn | Why::Back | Why::New => Priority::Notice,
            Why::Claims => Priority::Info,
        };
        (priority, format!("guest {guest}: {verb} {what}: {why}"))
    };
    lines.into_iter().map(line).collect()
}

/// What was done to another guest, whose masks follow the claims.
pub(super) fn followed(report: &Report) -> String {
    let set = report.threads.iter();
    let set: Vec<String> = set
        .filter(|thread| thread.state == State::Set)
        .map(|thread| format!("{} to cpu(s) {}", thread.kind, thread.wanted))
        .collect();
    format!(
        "guest {} follows the claims: {}",
        report.guest,
        set.join(", ")
    )
}
