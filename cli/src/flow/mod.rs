//! The road from a running guest to pinned threads: ask QEMU, take the node's lock, plan, keep, set, read back.
//!
//! ```text
//! QMP ──► threads ─┐            ┌─────────────── under the lock ───────────────┐
//! config ─► guest ─┴─► Keeper ──┤ claims ─► plan, or the kept one ─► ledger ─► set ─► others follow
//! ```

mod ask;
mod follow;
mod keep;
mod keeper;
mod reset;
mod set;
pub(crate) mod start;

use std::time::Duration;

use numapin_core::apply::GuestThreads;
use numapin_core::claims::ledger::{self, Entry, EntryState, KeptPolicy};
use numapin_core::claims::{Claims, KeptPlan, outdated};
use numapin_core::guest::GuestName;
use numapin_core::id::{VcpuId, Vmid};
use numapin_core::idset::CpuSet;
use numapin_core::placement::{Cost, Plan, plan};
use numapin_core::policy::{Mode, Overlap};
use numapin_core::qmp::{self, Questions};
use numapin_core::report::Report;
use numapin_core::violation::Violations;
use serde::Serialize;

pub(crate) use ask::{load, socket, threads};
pub(crate) use keep::{refresh, repair};
pub(crate) use keeper::{Keeper, outcome, outcome_of};
pub(crate) use reset::{PutBack, Resets, reset, unplanned};
pub(crate) use start::{Begun, Starting, Step};

use crate::fault::Fault;
use crate::intent::{GuestRef, Over};
use crate::load::{Loaded, Node};
use crate::planned::Planned;

/// How a guest is to be pinned.
#[derive(Debug, Clone)]
pub(crate) struct How {
    /// How long QMP may take.
    pub(crate) deadline: Duration,
    /// How long the node's lock is waited for.
    pub(crate) wait: Duration,
    /// Make a new plan, whatever was kept.
    pub(crate) replan: bool,
    /// What others are told who wait for the lock.
    pub(crate) command: String,
}

/// A guest whose masks were set.
pub(crate) struct Applied {
    /// What was planned.
    pub(crate) planned: Planned,
    /// Whether the plan is the one that was kept for this process.
    pub(crate) kept: bool,
    /// What a new plan changes of the one before; empty without one.
    pub(crate) changes: Vec<Change>,
    /// What is to be said about a plan that was kept, or about why it was not.
    pub(crate) notes: Vec<String>,
    /// What was done; `None` for the mode none, which sets nothing and asks nobody.
    pub(crate) report: Option<Report>,
    /// What was done to other guests, whose masks follow the claims.
    pub(crate) followed: Vec<Report>,
}

/// A vCPU that a new plan moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Change {
    /// Which one.
    pub(crate) vcpu: VcpuId,
    /// Its CPUs before; `None` where the plan before did not have it.
    pub(crate) before: Option<CpuSet>,
    /// Its CPUs now; `None` where the new plan leaves it alone.
    pub(crate) now: Option<CpuSet>,
}

/// Pins one running guest. QEMU is asked first and its socket is free again before anything else happens.
///
/// # Errors
/// QEMU does not answer, a file can't be read, or a mask could not be set. The inner result: the guest does not fit.
pub(crate) fn apply(
    node: &mut Node,
    which: &GuestRef,
    over: &Over,
    how: &How,
    warn: &mut Vec<String>,
) -> Result<Result<Applied, Violations>, Fault> {
    let (loaded, threads) = match which {
        GuestRef::Qmp(socket) => {
            let answer = qmp::ask(socket, how.deadline, Questions { hotpluggable: true })?;
            let threads = GuestThreads::from_answer(&node.root, None, &answer)?;
            (ask::plain(socket, &answer, over)?, Some(threads))
        }
        GuestRef::Vmid(_) | GuestRef::File(_) => (node.guest(which, over, warn)?, None),
    };
    let mut loaded = match loaded {
        Ok(loaded) => loaded,
        Err(violations) => return Ok(Err(violations)),
    };
    let entry = || ledger::of(&node.root, loaded.guest.vmid, loaded.process);
    if loaded.policy.mode == Mode::None && entry().map_err(Fault::system)?.is_none() {
        let plan = plan(
            &node.host,
            &loaded.guest,
            &Default::default(),
            &loaded.policy,
        );
        return Ok(plan.map(|plan| nothing(loaded, plan)));
    }
    let threads = match threads {
        Some(threads) => threads,
        None => match ask::ask(node, which, &mut loaded.guest, how.deadline)? {
            Ok(threads) => threads,
            Err(violations) => return Ok(Err(violations)),
        },
    };
    let mut keeper = Keeper::acquire(node, Some(threads.process), how, warn)?;
    pin(&mut keeper, loaded, &threads, over, how, warn)
}

/// Everything that is done under the lock.
///
/// # Errors
/// As [`apply`].
pub(crate) fn pin(
    keeper: &mut Keeper<'_>,
    loaded: Loaded,
    threads: &GuestThreads,
    over: &Over,
    how: &How,
    warn: &mut Vec<String>,
) -> Result<Result<Applied, Violations>, Fault> {
    let Loaded {
        guest,
        policy,
        source,
        ..
    } = loaded;
    let process = threads.process;
    keeper.node.allow(guest.vmid, Some(process.pid))?;
    let claims = keeper.node.claims(&guest, Some(process));
    let before = keeper.node.entry(guest.vmid, Some(process)).cloned();

    let wanted = KeptPolicy {
        text: policy.to_string(),
        source: source.clone(),
    };
    let mut notes = Vec::new();
    let kept = before.as_ref().filter(|entry| {
        let made_with = entry.policy.text.parse().unwrap_or_else(|_| policy.clone());
        let host = &keeper.node.host;
        let reasons = outdated(&entry.plan, host, &guest, &claims, &made_with);
        notes.extend(
            reasons
                .iter()
                .map(|reason| format!("a new plan is made: {reason}")),
        );
        // What is typed now is meant now; what has changed in a file waits.
        let typed = over.names_policy() && entry.policy.text != wanted.text;
        let only_held = entry.plan.mode == Mode::None;
        let lost = given_up(entry, &claims);
        if !lost.is_empty() {
            notes.push(format!(
                "a new plan is made: other guests came to hold cpu(s) {lost} after this one was reset"
            ));
        }
        reasons.is_empty() && lost.is_empty() && !how.replan && !typed && !only_held
    });
    let (plan, mut entry) = match kept {
        Some(entry) => {
            if entry.policy.text != wanted.text {
                notes.push(format!(
                    "the policy is now {} ({}), and the plan of {} is kept: --replan makes a new one",
                    wanted.text, wanted.source, entry.policy.text
                ));
            }
            (again(&entry.plan, &guest.name), entry.clone())
        }
        None => match plan(&keeper.node.host, &guest, &claims, &policy) {
            Ok(plan) => {
                let (host, boot) = (&keeper.node.host, keeper.boot_id.clone());
                let made_with = (&policy, wanted);
                let entry = Entry::new(host, &guest, &plan, made_with, Some(process), boot);
                (plan, entry)
            }
            Err(violations) => return Ok(Err(violations)),
        },
    };
    let is_kept = kept.is_some();
    let changes = match &before {
        Some(before) if !is_kept => changes(&before.plan, &plan),
        _ => Vec::new(),
    };

    // The plan of a guest that was starting becomes that of its process; its memory is taken.
    entry.state = EntryState::Applied;
    entry.process = Some(process);
    entry.promised_kib.clear();
    entry.found = keeper.found(before.as_ref())?;
    let (report, outcome) = keeper.carry_out(&mut entry, before.as_ref(), &plan, threads, true)?;
    if is_kept {
        notes.extend(outcome.notes.iter().map(ToString::to_string));
    }
    if plan.mode == Mode::None {
        keeper.remove(&entry)?;
    }
    let followed = keeper.follow(&guest.name, warn);
    let policy = match is_kept {
        true => entry.policy.text.parse().unwrap_or(policy),
        false => policy,
    };
    Ok(Ok(Applied {
        planned: Planned {
            guest,
            policy,
            source: entry.policy.source,
            plan,
        },
        kept: is_kept,
        changes,
        notes,
        report: Some(report),
        followed,
    }))
}

/// Pins a Proxmox VE guest by the plan that was kept for its start, where its config can't be read: /etc/pve is away for seconds
/// when its service restarts. QEMU tells the shape. `None`: no such plan.
///
/// # Errors
/// As [`apply`].
pub(crate) fn apply_kept(
    node: &mut Node,
    vmid: Vmid,
    how: &How,
    warn: &mut Vec<String>,
) -> Result<Option<Result<Applied, Violations>>, Fault> {
    let entry = ledger::of(&node.root, Some(vmid), None).map_err(Fault::system)?;
    let Some(Entry { policy, .. }) = entry else {
        return Ok(None);
    };
    let (guest, threads) = ask::without_config(&node.root, vmid, how.deadline)?;
    let loaded = guest.map(|guest| Loaded {
        guest,
        process: Some(threads.process),
        policy: policy.text.parse().unwrap_or_default(),
        source: policy.source,
    });
    match loaded {
        Ok(loaded) => {
            let mut keeper = Keeper::acquire(node, Some(threads.process), how, warn)?;
            pin(&mut keeper, loaded, &threads, &Over::default(), how, warn).map(Some)
        }
        Err(violations) => Ok(Some(Err(violations))),
    }
}

fn nothing(loaded: Loaded, plan: Plan) -> Applied {
    let Loaded {
        guest,
        policy,
        source,
        ..
    } = loaded;
    Applied {
        planned: Planned {
            guest,
            policy,
            source,
            plan,
        },
        kept: false,
        changes: Vec::new(),
        notes: Vec::new(),
        report: None,
        followed: Vec::new(),
    }
}

/// What others came to hold of the CPUs that a guest gave up when it was reset.
fn given_up(entry: &Entry, claims: &Claims) -> CpuSet {
    let sole = entry.plan.mode == Mode::OneToOne && entry.plan.overlap != Overlap::Allow;
    match entry.state {
        EntryState::Held if sole => entry
            .plan
            .claims(&entry.plan.plugged)
            .intersection(&claims.claimed()),
        _ => CpuSet::new(),
    }
}

/// A plan that was kept. Its cost and its notes were those of another moment, and are not kept.
fn again(kept: &KeptPlan, guest: &GuestName) -> Plan {
    let nodes = kept.virtual_nodes.iter();
    Plan {
        guest: guest.clone(),
        mode: kept.mode,
        smt: kept.smt,
        virtual_nodes: nodes.map(|node| node.placed.clone()).collect(),
        vcpus: kept.placed(),
        threads: kept.threads.clone(),
        claims: kept.claims(&kept.plugged),
        cost: Cost::zero(kept.mode, kept.smt),
        optimal: false,
        bound: None,
        notes: Vec::new(),
    }
}

/// The vCPUs that a new plan gives other CPUs.
fn changes(before: &KeptPlan, now: &Plan) -> Vec<Change> {
    let before = |vcpu| before.vcpu(vcpu).map(|kept| kept.placed.cpus.clone());
    let moved = now.vcpus.iter().map(|placed| Change {
        vcpu: placed.vcpu,
        before: before(placed.vcpu),
        now: Some(placed.cpus.clone()),
    });
    moved.filter(|change| change.before != change.now).collect()
}
