//! `numapin hook`: what a Proxmox VE hookscript calls at each start and stop of a guest.
//!
//! A start must not fail because of numapin: only a guest that can't be pinned, and whose policy says `require=fail`, is
//! stopped. Every fault of numapin itself is one line of the task log, and 0.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::panic::{self, PanicHookInfo};
use std::process;
use std::time::Duration;

use crate::Answer;
use crate::args::{Format, Global, Hook};
use crate::fault::{Exit, Fault};
use crate::flow::{How, Starting, Step, start};
use crate::render::{self, json};
use crate::{intent, tell};

/// How long the node's lock is waited for: a start waits meanwhile.
const LOCK: Duration = Duration::from_secs(2);

/// Set at every start; empty at ordinary ones, the source node at the target of a migration.
const MIGRATED_FROM: &str = "PVE_MIGRATED_FROM";

/// When a hookscript is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Before QEMU is started; only here a refusal stops the guest.
    PreStart,
    /// QEMU runs.
    PostStart,
    /// Before a stop that was asked for.
    PreStop,
    /// After every stop.
    PostStop,
}

/// Does what a phase asks for.
///
/// # Errors
/// Wrong usage only.
pub(crate) fn run(global: &Global, args: &Hook) -> Result<Answer, Fault> {
    intent::may_change(global)?;
    // A phase that later versions of Proxmox VE may bring is none of ours.
    let Some(phase) = Phase::of(&args.phase) else {
        return Ok(done(String::new()));
    };
    let vmid = intent::vmid(&args.vmid)?;
    let root = intent::root(global)?;
    let from = std::env::var_os(MIGRATED_FROM).unwrap_or_default();
    let from = source_node(&from).unwrap_or_else(|problem| {
        tell(&format!("guest {vmid}: {problem}"));
        None
    });
    let starting = Starting { root, vmid, from };
    let how = How {
        deadline: intent::deadline(global),
        wait: LOCK,
        replan: false,
        command: format!("numapin hook {vmid} {}", phase.name()),
    };
    let mut warn = Vec::new();
    let step = match phase {
        Phase::PreStart => start::pre_start(starting, &how, &mut warn),
        Phase::PostStart => start::post_start(starting, &how, &mut warn),
        Phase::PreStop => Ok(Step::Nothing),
        Phase::PostStop => start::post_stop(starting, &how, &mut warn),
    };
    for line in &warn {
        tell(&in_one_line(line));
    }
    let step = match step {
        Ok(step) => step,
        Err(fault) => return Ok(forgiven(global, phase, &args.vmid, fault)),
    };
    Ok(Answer {
        out: match global.format {
            Format::Json => json::line(&json::HookDocument::new(vmid, phase.name(), &step)) + "\n",
            _ => render::hook::text(vmid, &step),
        },
        exit: match step {
            Step::Stopped(_) => Exit::Constraints,
            _ => Exit::Done,
        },
    })
}

/// Has a panic of this process end it with one line and 0, from now on: releases would abort, which is a start that fails.
pub fn survive_panics() {
    panic::set_hook(Box::new(give_way));
}

impl Phase {
    fn of(word: &str) -> Option<Self> {
        let all = [
            Self::PreStart,
            Self::PostStart,
            Self::PreStop,
            Self::PostStop,
        ];
        all.into_iter().find(|phase| phase.name() == word)
    }

    /// As Proxmox VE calls it.
    fn name(self) -> &'static str {
        match self {
            Self::PreStart => "pre-start",
            Self::PostStart => "post-start",
            Self::PreStop => "pre-stop",
            Self::PostStop => "post-stop",
        }
    }
}

fn done(out: String) -> Answer {
    Answer {
        out,
        exit: Exit::Done,
    }
}

/// The node that a guest is migrated from. It becomes part of a path: only what is a name of a node of Proxmox VE
/// (`pve-node`) is one.
fn source_node(value: &OsStr) -> Result<Option<String>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let is_name = |name: &&str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
    };
    match value.to_str().filter(is_name) {
        Some(name) => Ok(Some(name.to_owned())),
        None => Err(format!(
            "{MIGRATED_FROM} is {value:?} (expected the name of a node); the config is looked for on every node"
        )),
    }
}

/// A fault stops nobody's start: it is told, with what it means for the guest.
fn forgiven(global: &Global, phase: Phase, vmid: &str, fault: Fault) -> Answer {
    let message = in_one_line(&fault.message);
    tell(&match phase {
        Phase::PreStart => format!("guest {vmid} starts unplaced: {message}"),
        Phase::PostStart => format!("guest {vmid} is not pinned: {message}"),
        Phase::PreStop | Phase::PostStop => format!("guest {vmid}: {message}"),
    });
    done(match global.format {
        Format::Json => json::line(&json::FaultDocument::from(&fault)) + "\n",
        _ => String::new(),
    })
}

/// The task log has a line for each thing.
fn in_one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("; ")
}

/// A bug of numapin stops no guest.
fn give_way(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let place = info.location().map(ToString::to_string);
    let _ = writeln!(
        io::stderr(),
        "numapin: a bug of numapin, please report it: {} ({})",
        in_one_line(text.unwrap_or("no reason given")),
        place.as_deref().unwrap_or("unknown place")
    );
    process::exit(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_node_is_a_name_and_no_path() {
        let node = |text: &str| source_node(OsStr::new(text));
        assert_eq!(node(""), Ok(None));
        for name in ["pve1", "PVE-2", "7", "a-b-c"] {
            assert_eq!(node(name), Ok(Some(name.to_owned())));
        }
        for path in [
            "..", ".", "a/b", "/etc", "-a", "a-", "a.b", "a b", "a\n", "ä",
        ] {
            let told = node(path).unwrap_err();
            assert!(told.contains(&format!("{path:?}")), "{told}");
        }
    }
}
