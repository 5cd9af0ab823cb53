//! What `apply` did, for people: a line for each thread.

use std::fmt::Write as _;

use numapin_core::process::ThreadKind;
use numapin_core::report::{Report, State, ThreadReport};

use crate::flow::Applied;

/// What was done to the threads of a guest.
pub(crate) fn text(applied: &Applied) -> String {
    let mut out = String::new();
    match &applied.report {
        None => {
            let _ = writeln!(
                out,
                "guest {}: policy none, nothing is pinned",
                applied.planned.guest.name
            );
        }
        Some(report) => lines(report, &mut out),
    }
    for note in &applied.planned.plan.notes {
        let _ = writeln!(out, "note: {note}");
    }
    out
}

/// The lines of a report and what is to be said about it.
pub(crate) fn lines(report: &Report, out: &mut String) {
    for thread in &report.threads {
        let _ = writeln!(out, "{}", line(thread));
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

fn line(thread: &ThreadReport) -> String {
    let what = match &thread.kind {
        ThreadKind::Vcpu { .. } => "pinning",
        _ => "moving",
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
