//! `advise` for people: how it is, what to type, what stands in the config then, and what each of it brings.

use std::fmt::Write as _;

use numapin_core::advise::{Advice, Better, Remark};

use crate::planned::Advised;

/// The advice as text.
pub(crate) fn text(advised: &Advised) -> String {
    let advice = &advised.advice;
    let mut out = head(advised);
    if let Some(better) = &advice.better {
        settings(advice, better, &mut out);
    }
    for remark in &advice.remarks {
        let _ = writeln!(out, "  note: {remark}");
    }
    out
}

/// How it is, in a sentence, with the reasons where the guest can't be pinned.
fn head(advised: &Advised) -> String {
    let Advised { advice, source } = advised;
    let name = &advice.guest;
    if advice.template {
        return format!("guest {name} is a template: there is nothing to advise\n");
    }
    let assumed = if advice.assumed { ", assumed" } else { "" };
    let policy = format!("policy {} ({source}{assumed})", advice.policy);
    let no_start =
        |remark: &Remark| matches!(remark, Remark::NoStart { .. } | Remark::Pages { .. });
    let can = if advice.better.is_some() {
        "can be better"
    } else if advice.is_right() {
        "is right as it is"
    } else if advice.remarks.iter().any(no_start) {
        "can't start, and no setting that costs no more mends that"
    } else {
        "is as good as its settings can make it"
    };
    match &advice.before {
        Some(Ok(_)) => format!("guest {name} {can}; {policy}\n"),
        Some(Err(violations)) => {
            let mut out = super::violations::text(violations);
            let fits = match advice.better {
                Some(_) => "it fits with other settings",
                None => "no setting of the guest mends that with as many vcpus and as much memory",
            };
            let _ = writeln!(out, "  {fits}; {policy}");
            out
        }
        None => format!(
            "guest {name}: its sockets and cores are no number of vcpus that a guest can have: there is nothing to advise\n"
        ),
    }
}

fn settings(advice: &Advice, better: &Better, out: &mut String) {
    out.push('\n');
    for command in better.settings.commands(advice.vmid) {
        for line in command.lines() {
            let _ = writeln!(out, "    {line}");
        }
    }
    out.push_str("\n  in the config:\n");
    for line in better.settings.config_lines() {
        let _ = writeln!(out, "    {line}");
    }
    for key in &better.settings.delete {
        let _ = writeln!(out, "    (no {key})");
    }
    out.push_str("\n  why:\n");
    for reason in &better.reasons {
        let _ = writeln!(out, "    {reason}");
    }
    for odd in &better.starts {
        let _ = writeln!(out, "    no more: {odd}");
    }
    for note in &better.ends {
        let _ = writeln!(out, "    no more: {note}");
    }
    let changes = better.changes.iter();
    let changes = changes.map(|change| {
        format!(
            "{} {} -> {}",
            change.item,
            shown(&change.before),
            shown(&change.after)
        )
    });
    let changes: Vec<String> = changes.collect();
    let cost = match (changes.is_empty(), &advice.before) {
        (false, _) => changes.join(", "),
        (true, Some(Ok(_))) => "as before".to_owned(),
        (true, _) => "it could not be placed before".to_owned(),
    };
    let _ = writeln!(out, "    cost: {cost}");
    if !advice.remarks.is_empty() {
        out.push('\n');
    }
}

/// A value, also where it is an empty list.
fn shown(value: &numapin_core::placement::Value) -> String {
    match value.to_string() {
        empty if empty.is_empty() => "0".to_owned(),
        text => text,
    }
}
