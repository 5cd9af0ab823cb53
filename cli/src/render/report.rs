//! What `apply` and `reset` did, for people: a line for each thread.

use std::fmt::Write as _;

use numapin_core::report::{Report, State, ThreadReport};
use numapin_core::thread::ThreadKind;

use crate::flow::{Applied, Change, PutBack, Resets};

/// What was done to the threads of a guest.
pub(crate) fn text(applied: &Applied) -> String {
    let mut out = String::new();
    for change in &applied.changes {
        let _ = writeln!(out, "{}", moved(change));
    }
    match &applied.report {
        None => {
            let _ = writeln!(
                out,
                "guest {}: policy none, nothing is pinned",
                applied.planned.guest.name
            );
        }
        Some(report) => lines(report, "pinning", &mut out),
    }
    for note in &applied.planned.plan.notes {
        let _ = writeln!(out, "note: {note}");
    }
    for note in &applied.notes {
        let _ = writeln!(out, "note: {note}");
    }
    followed(&applied.followed, &mut out);
    out
}

/// What was put back.
pub(crate) fn reset(resets: &Resets) -> String {
    let mut out = String::new();
    for PutBack { guest, report } in &resets.guests {
        if report.threads.is_empty() {
            let _ = writeln!(out, "guest {guest}: nothing to put back");
        }
        lines(report, "putting back", &mut out);
        let _ = writeln!(
            out,
            "guest {guest} is left alone until its next start or apply"
        );
    }
    if resets.guests.is_empty() {
        out.push_str("numapin has pinned no guest: nothing to put back\n");
    }
    followed(&resets.followed, &mut out);
    out
}

/// Guests whose masks follow the claims.
pub(crate) fn followed(reports: &[Report], out: &mut String) {
    for report in reports {
        let _ = writeln!(out, "guest {} follows the claims:", report.guest);
        lines(report, "pinning", out);
    }
}

/// The lines of a report and what is to be said about it.
pub(crate) fn lines(report: &Report, vcpus: &str, out: &mut String) {
    for thread in &report.threads {
        let _ = writeln!(out, "{}", line(thread, vcpus));
    }
    if report
        .threads
        .iter()
        .all(|thread| thread.state == State::Already)
        && !report.threads.is_empty()
    {
        let _ = writeln!(out, "nothing to change: every mask is as planned");
    }
    for note in &report.notes {
        let _ = writeln!(out, "note: {note}");
    }
}

fn moved(change: &Change) -> String {
    let Change { vcpu, before, now } = change;
    match (before, now) {
        (Some(before), Some(now)) => {
            format!("change: vcpu {vcpu} from cpu(s) {before} to cpu(s) {now}")
        }
        (None, Some(now)) => format!("change: vcpu {vcpu} to cpu(s) {now}"),
        (Some(before), None) => format!("change: vcpu {vcpu} from cpu(s) {before} to what it had"),
        (None, None) => format!("change: vcpu {vcpu} is left alone"),
    }
}

fn line(thread: &ThreadReport, vcpus: &str) -> String {
    let what = match &thread.kind {
        ThreadKind::Vcpu { .. } => vcpus,
        _ if vcpus == "pinning" => "moving",
        _ => vcpus,
    };
    let mut line = format!(
        "{what} {} (thread {}) to cpu(s) {}",
        thread.kind, thread.tid, thread.wanted
    );
    match thread.state {
        State::Set => {}
        State::Already => line.push_str(": already there"),
        State::Ended => line.push_str(": the thread has ended"),
        State::Failed => line.push_str(": failed"),
        State::PutBack => line.push_str(": put back"),
        State::NotPutBack => line.push_str(": could not be put back"),
        State::Untouched => line.push_str(": not reached"),
    }
    if let Some(narrowed) = &thread.narrowed {
        let _ = write!(line, ", {narrowed}");
    }
    line
}
