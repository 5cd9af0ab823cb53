//! Which settings of a guest would be better on a host, each verified by planning with them. Pure: no file, socket, clock,
//! environment or random number.
//!
//! ```text
//! text of the config ──► State (read, built, planned, judged) ──► candidates ──► text with the settings ──► State ...
//!                            ▲                                                                              │
//!                            └────────────── the best one that is better and costs no more ◄────────────────┘
//! ```
//! It goes on from the best settings until nothing is better, so that advice taken leads to no further advice. The number of
//! vCPUs and the memory never change. Advice that does not hold when its text is read and planned is not given.

mod candidates;
mod draft;
mod judge;
mod reasons;
mod remarks;
mod settings;
mod split;
#[cfg(test)]
mod tests;
mod text;

use std::path::Path;

use self::judge::{Case, State};
pub use self::reasons::{Change, Reason, Tie};
pub use self::remarks::Remark;
pub use self::settings::{Setting, Settings};
use crate::claims::Claims;
use crate::guest::pve::problem::Oddity;
use crate::guest::pve::{ConfigError, GuestConfig};
use crate::guest::{Device, GuestName, Hugepages, Running};
use crate::host::Host;
use crate::id::Vmid;
use crate::placement::{Note, Plan};
use crate::policy::{Mode, Policy};
use crate::violation::Violations;

/// How often better settings are looked for from the best ones so far. Two rounds are the rule, one to find them and one to find
/// nothing.
const ROUNDS: usize = 8;

/// What advice is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The host as it is now.
    pub host: &'a Host,
    /// What other guests hold.
    pub claims: &'a Claims,
    /// How the guest is to be placed. For the mode none, advice is for the mode numa.
    pub policy: &'a Policy,
    /// What messages call the config.
    pub file: &'a Path,
    /// The config, read as the next start does: with what is pending.
    pub text: &'a str,
    /// How the guest is called.
    pub name: &'a GuestName,
    /// Its number.
    pub vmid: Option<Vmid>,
    /// Its PCI devices.
    pub devices: &'a [Device],
    /// What it has while it runs: its next start gets that memory back.
    pub running: Option<&'a Running>,
}

/// What there is to say about the settings of a guest.
#[derive(Debug, Clone)]
pub struct Advice {
    /// How the guest is called.
    pub guest: GuestName,
    /// Its number.
    pub vmid: Option<Vmid>,
    /// The policy that it was judged by.
    pub policy: Policy,
    /// The guest has no policy, so that the mode numa was assumed.
    pub assumed: bool,
    /// It is a template: it is never started as a guest.
    pub template: bool,
    /// Its plan as it is, or why there is none; `None` for a template, and where sockets and cores are no number of vCPUs.
    pub before: Option<Result<Plan, Violations>>,
    /// What is better; `None`: nothing is.
    pub better: Option<Better>,
    /// What else is worth knowing, and what no setting mends.
    pub remarks: Vec<Remark>,
}

/// Settings that are better, with what they bring.
#[derive(Debug, Clone)]
pub struct Better {
    /// What is to be set.
    pub settings: Settings,
    /// The config with it.
    pub text: String,
    /// The plan with it.
    pub plan: Plan,
    /// Why, setting by setting.
    pub reasons: Vec<Reason>,
    /// What it costs less, or more in an item that counts less: in the order of comparison. Empty where there was no plan before.
    pub changes: Vec<Change>,
    /// The notes of the plan before of whose kind the plan has none any more.
    pub ends: Vec<Note>,
    /// What kept the guest from starting, and does not any more.
    pub starts: Vec<Oddity>,
}

/// Looks for better settings of a guest.
///
/// # Errors
/// The config can't be read.
pub fn advise(question: &Question<'_>) -> Result<Advice, ConfigError> {
    let mut policy = question.policy.clone();
    let assumed = policy.mode == Mode::None;
    if assumed {
        policy.mode = Mode::Numa;
    }
    let case = Case {
        host: question.host.clone(),
        claims: question.claims,
        policy,
        file: question.file,
        name: question.name,
        vmid: question.vmid,
        devices: question.devices,
    };
    let mut advice = Advice {
        guest: question.name.clone(),
        vmid: question.vmid,
        policy: case.policy.clone(),
        assumed,
        template: false,
        before: None,
        better: None,
        remarks: Vec::new(),
    };
    let Some(mut now) = State::read(&case, question.text)? else {
        return Ok(advice);
    };
    if now.config.template() {
        advice.template = true;
        return Ok(advice);
    }
    let case = match question.running {
        None => case,
        Some(running) => {
            let host = next_start(&case.host, &now.config, running);
            let case = Case { host, ..case };
            now = State::read(&case, question.text)?.unwrap_or(now);
            case
        }
    };
    // where `args` say again what the guest is made of, what its config says of that is not in force; and memory that is not made
    // of whole pages starts in no shape
    let shape_is_free = !overridden(&now) && !now.has_hopeless_pages();
    let last = best(&case, &now, shape_is_free);
    if let Some(last) = &last {
        advice.better = better(&case, &now, last);
    }
    let end = last.filter(|_| advice.better.is_some());
    advice.remarks = remarks::of(
        &case,
        &now,
        end.as_ref(),
        assumed,
        question.running.is_some(),
    );
    advice.before = Some(now.planned.map(|(_, plan)| plan));
    Ok(advice)
}

impl Advice {
    /// Whether the guest is right as it is: it can be placed and started, and nothing is better.
    #[must_use]
    pub fn is_right(&self) -> bool {
        let no_start =
            |remark: &Remark| matches!(remark, Remark::NoStart { .. } | Remark::Pages { .. });
        self.better.is_none()
            && !self.template
            && matches!(self.before, Some(Ok(_)))
            && !self.remarks.iter().any(no_start)
    }
}

/// Goes from better to better until nothing is.
fn best(case: &Case<'_>, now: &State, shape_is_free: bool) -> Option<State> {
    let mut last: Option<State> = None;
    for _ in 0..ROUNDS {
        let Some(next) = candidates::best(case, last.as_ref().unwrap_or(now), shape_is_free) else {
            break;
        };
        last = Some(next);
    }
    last
}

/// What leads from one config to the other, verified as a whole.
fn better(case: &Case<'_>, now: &State, last: &State) -> Option<Better> {
    let settings = last.draft.settings(&now.draft, &now.text);
    let state = now.with(case, &last.draft)?;
    let (_, plan) = state.planned.as_ref().ok()?;
    if settings.is_empty() || state.score != last.score || !state.improves(now) {
        return None;
    }
    let ends = reasons::ended(now.plan(), plan);
    let left = |odd: &&Oddity| matches!(odd, Oddity::NoStart(_)) && !state.oddities.contains(odd);
    Some(Better {
        reasons: reasons::of(case, now, &state),
        changes: reasons::changes(now, &state),
        ends,
        starts: now.oddities.iter().filter(left).cloned().collect(),
        plan: plan.clone(),
        settings,
        text: state.text,
    })
}

/// Whether `args` say again what the guest is made of.
fn overridden(state: &State) -> bool {
    let args = |odd: &Oddity| matches!(odd, Oddity::Args { .. });
    state.oddities.iter().any(args)
}

/// The host with the memory that a guest has now, and that its next start finds free again.
fn next_start(host: &Host, config: &GuestConfig, running: &Running) -> Host {
    let mut host = host.clone();
    let page_mib = config.hugepages.as_ref().map(|of| page(of.value, config));
    for node in &mut host.nodes {
        let (Some(mib), Some(memory)) = (running.memory_mib.get(&node.id), &mut node.memory) else {
            continue;
        };
        let kib = mib.saturating_mul(1024);
        match page_mib {
            // of which size its pages are here is not known: what is free stays as it is told
            Some(None) => {}
            Some(Some(page_mib)) => {
                if let Some(free) = memory.free_hugepages.get_mut(&(page_mib * 1024)) {
                    *free += mib / page_mib;
                }
            }
            None => {
                let back = |free: u64| free.saturating_add(kib).min(memory.total_kib);
                memory.available_kib = memory.available_kib.map(back);
            }
        }
    }
    host
}

/// The size in MiB of all the huge pages that a guest has. With `any` that is said by the memory of each virtual node, as Proxmox
/// VE takes 1 GiB where it is a multiple of that; `None`: they are of both sizes.
fn page(pages: Hugepages, config: &GuestConfig) -> Option<u64> {
    if pages != Hugepages::Any {
        return Some(split::unit(Some(pages)));
    }
    let lines = config.numa_lines.values();
    let lines = lines.map(|line| line.value.memory_mib.unwrap_or(0));
    let mut sizes: Vec<u64> = lines.collect();
    if sizes.is_empty() {
        let sockets = config.sockets().max(1);
        sizes.push(match config.memory_mib() {
            all if all.is_multiple_of(sockets) => all / sockets,
            // no whole number of MiB each, and so no multiple of 1 GiB
            _ => 1,
        });
    }
    let whole = sizes.iter().filter(|mib| mib.is_multiple_of(1024)).count();
    match whole {
        0 => Some(2),
        n if n == sizes.len() => Some(1024),
        _ => None,
    }
}
