//! What a guest's start and stop bring: planned before its QEMU runs, pinned once it does, forgotten when it is gone.
//!
//! ```text
//! pre-start   config ─► policy ─┬─ none: two files read, nothing else
//!                               └─ lock ─► plan ─► pending entry ─► others follow
//! post-start  QMP ─► the kept plan is set, as apply does it
//! post-stop   lock ─► what has ended holds nothing any more ─► others follow
//! ```
//! Proxmox VE holds the lock of the guest's config all the while; it is never asked for here.

use numapin_core::claims::ledger::{self, Entry, EntryState, KeptPolicy};
use numapin_core::guest::GuestName;
use numapin_core::id::Vmid;
use numapin_core::placement::plan;
use numapin_core::policy::{Mode, Policy, Require};
use numapin_core::process::guest_process;
use numapin_core::report::Report;
use numapin_core::root::Root;
use numapin_core::violation::Violations;

use super::{Applied, How, Keeper, apply, apply_kept, unplanned};
use crate::fault::Fault;
use crate::intent::{GuestRef, Over};
use crate::load::{Config, Configs, Loaded, Node};
use crate::planned::Planned;

/// A guest that starts or stops.
pub(crate) struct Starting {
    /// Where.
    pub(crate) root: Root,
    /// Which one.
    pub(crate) vmid: Vmid,
    /// The node it is migrated from, whose directory its config is in.
    pub(crate) from: Option<String>,
}

/// What was done about it.
pub(crate) enum Step {
    /// Nothing: it has no policy, or there is nothing of it to forget.
    Nothing,
    /// Nothing: it runs already, and its plan with it.
    Runs,
    /// Nothing: its masks were put back by `reset`, which holds until its next start.
    Held,
    /// It was planned, and its plan is kept.
    Planned(Box<Begun>),
    /// It can't be pinned, and runs without.
    Refused(Violations),
    /// It can't be pinned, and its policy has it not start then.
    Stopped(Violations),
    /// It was pinned.
    Pinned(Box<Applied>),
    /// It holds nothing any more.
    Freed(Vec<Report>),
}

/// A guest whose start was planned.
pub(crate) struct Begun {
    /// The plan.
    pub(crate) planned: Planned,
    /// Whether it holds its CPUs from now on; a guest that is started for a backup does once it runs.
    pub(crate) kept: bool,
    /// What was done to other guests, whose masks follow the claims.
    pub(crate) followed: Vec<Report>,
}

/// Plans a guest that is about to start.
///
/// # Errors
/// A file can't be read or understood, or the node's lock was not got in time.
pub(crate) fn pre_start(
    starting: Starting,
    how: &How,
    warn: &mut Vec<String>,
) -> Result<Step, Fault> {
    let (configs, config, policy) = read(&starting)?;
    let Starting { root, vmid, .. } = starting;
    if policy.mode == Mode::None && !is_recorded(&root, vmid) {
        return Ok(Step::Nothing);
    }
    // Somebody tries the hook by hand: the way back of a running guest is not to be lost.
    if lives(&root, vmid) {
        return Ok(Step::Runs);
    }
    let backup = config.is_backed_up();
    let name = config.name.clone();
    let mut node = Node::unlooked(root, configs, warn)?;
    let loaded = node.guest_of(config, &Over::default(), warn)?;
    let mut keeper = Keeper::acquire(&mut node, None, how, warn)?;
    keeper.node.allow(Some(vmid), None)?;
    let planned = loaded.and_then(|loaded| planned(&keeper, loaded));
    match &planned {
        Ok(planned) if planned.policy.mode != Mode::None && !backup => {
            keeper.write(&pending(&keeper, planned))?;
        }
        // What an earlier start left, which died, is not to be taken for this one's plan.
        _ => keeper.remove(&nameless(vmid))?,
    }
    let followed = keeper.follow(&name, warn);
    Ok(match planned {
        Ok(planned) if planned.policy.mode == Mode::None => Step::Nothing,
        Ok(planned) => Step::Planned(Box::new(Begun {
            planned,
            kept: !backup,
            followed,
        })),
        Err(violations) if policy.require == Require::Fail => Step::Stopped(violations),
        Err(violations) => Step::Refused(violations),
    })
}

/// Pins a guest that has just started, by the plan that was kept for it; without one, as `apply` does.
///
/// # Errors
/// As [`apply`].
pub(crate) fn post_start(
    starting: Starting,
    how: &How,
    warn: &mut Vec<String>,
) -> Result<Step, Fault> {
    let recorded = is_recorded(&starting.root, starting.vmid);
    let read = read(&starting);
    let Starting { root, vmid, .. } = starting;
    let (configs, unread) = match read {
        Ok((_, _, policy)) if policy.mode == Mode::None && !recorded => return Ok(Step::Nothing),
        Ok((configs, ..)) => (configs, None),
        Err(fault) if recorded => (Configs::read(&root, &mut Vec::new())?, Some(fault)),
        Err(fault) => return Err(fault),
    };
    let mut node = Node::unlooked(root, configs, warn)?;
    let process = guest_process(&node.root, vmid)?;
    let of = ledger::of(&node.root, Some(vmid), process).map_err(Fault::system)?;
    let held = |entry: &Entry| entry.process == process && entry.state == EntryState::Held;
    if process.is_some() && of.as_ref().is_some_and(held) {
        return Ok(Step::Held);
    }
    let applied = match unread {
        None => {
            let which = GuestRef::Vmid(vmid);
            apply(&mut node, &which, &Over::default(), how, warn)?
        }
        Some(fault) => {
            let Some(applied) = apply_kept(&mut node, vmid, how, warn)? else {
                return Err(fault);
            };
            let fault = fault.message;
            warn.push(format!("the plan of its start is set unseen: {fault}"));
            applied
        }
    };
    Ok(match applied {
        Ok(applied) if applied.report.is_none() => Step::Nothing,
        Ok(applied) => Step::Pinned(Box::new(applied)),
        Err(violations) => Step::Refused(violations),
    })
}

/// Forgets what has ended: the guest itself, and whoever else is gone. What lives keeps its entry: after a restart the next
/// start may be there already.
///
/// # Errors
/// The node can't be read, or its lock was not got in time.
pub(crate) fn post_stop(
    starting: Starting,
    how: &How,
    warn: &mut Vec<String>,
) -> Result<Step, Fault> {
    let recorded = is_recorded(&starting.root, starting.vmid);
    // Without an entry of its own there is something to do where it was pinned, which its policy tells.
    if !recorded && matches!(read(&starting), Ok((_, _, policy)) if policy.mode == Mode::None) {
        return Ok(Step::Nothing);
    }
    let Starting { root, vmid, .. } = starting;
    let configs = Configs::read(&root, &mut Vec::new())?;
    let mut node = Node::unlooked(root, configs, warn)?;
    let mut keeper = Keeper::acquire(&mut node, None, how, warn)?;
    // The lock of its config is still held, so that its pending entry would count.
    let process = keeper.node.ledger.of(vmid).and_then(|entry| entry.process);
    if process.is_none() && !lives(&keeper.node.root, vmid) {
        keeper.remove(&nameless(vmid))?;
    }
    let nobody = GuestName(String::new());
    let followed = keeper.follow(&nobody, warn);
    let freed = recorded && !is_recorded(&keeper.node.root, vmid);
    Ok(match freed || !followed.is_empty() {
        true => Step::Freed(followed),
        false => Step::Nothing,
    })
}

/// The two files that a guest without a policy costs: numapin.conf and its own config.
///
/// Lines of other guests, and what Proxmox VE tells of the config itself, are not told again at each start.
fn read(starting: &Starting) -> Result<(Configs, Config, Policy), Fault> {
    let mut configs = Configs::read(&starting.root, &mut Vec::new())?;
    configs.from.clone_from(&starting.from);
    let config = configs.config_alone(starting.vmid, &mut Vec::new())?;
    let chosen = configs.policy(&config, &Over::default())?;
    Ok((configs, config, chosen.policy))
}

/// Whether the ledger has a file of the guest; nothing is read for it.
fn is_recorded(root: &Root, vmid: Vmid) -> bool {
    ledger::file_of(root, vmid).symlink_metadata().is_ok()
}

/// Whether the guest's QEMU runs. A pid file that lies is none of this guest.
fn lives(root: &Root, vmid: Vmid) -> bool {
    matches!(guest_process(root, vmid), Ok(Some(_)))
}

fn planned(keeper: &Keeper<'_>, loaded: Loaded) -> Result<Planned, Violations> {
    let Loaded {
        guest,
        policy,
        source,
        ..
    } = loaded;
    let claims = keeper.node.claims(&guest, None);
    let plan = plan(&keeper.node.host, &guest, &claims, &policy)?;
    Ok(Planned {
        guest,
        policy,
        source,
        plan,
    })
}

fn pending(keeper: &Keeper<'_>, planned: &Planned) -> Entry {
    let Planned {
        guest,
        policy,
        source,
        plan,
    } = planned;
    let text = KeptPolicy {
        text: policy.to_string(),
        source: source.clone(),
    };
    let boot = keeper.boot_id.clone();
    Entry::new(&keeper.node.host, guest, plan, (policy, text), None, boot)
}

/// An entry that only says whose it is: the file of the guest, whatever is in it.
fn nameless(vmid: Vmid) -> Entry {
    Entry {
        vmid: Some(vmid),
        ..unplanned(GuestName(vmid.to_string()), EntryState::Pending)
    }
}
