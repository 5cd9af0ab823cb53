//! Guests that started: planned and pinned. And guests whose vCPUs were plugged or unplugged: QMP is asked who runs them now.

use std::time::Duration;

use numapin_core::apply::GuestThreads;
use numapin_core::claims::ledger::EntryState;
use numapin_core::id::{Pid, Vmid};
use numapin_core::placement::plan;
use numapin_core::policy::Mode;
use numapin_core::sorted;
use numapin_core::violation::Violations;

use super::ask::{Ready, understood};
use super::keep::lock;
use super::known::Known;
use super::say::{self, Say};
use super::{COMMAND, LOCK, Options, Priority, Standing, Watch};
use crate::fault::Fault;
use crate::flow::{self, Applied, How, Keeper};
use crate::intent::{GuestRef, Over};
use crate::load::{Loaded, Node};

/// How many guests are pinned in one round: a few hundred milliseconds on a full node.
const AT_A_TIME: usize = 32;

/// What a guest's config says.
enum Read {
    /// It can be planned.
    Ready(Box<Loaded>),
    /// It has no policy.
    NoPolicy,
    /// It does not hold together.
    Refused(Violations),
}

impl Watch {
    /// Plans and pins the guests that are new.
    pub(super) fn place(&mut self, now: Duration) {
        self.report_strangers();
        let mut new = self.read_new(now);
        if self.options.dry_run {
            for (pid, loaded) in new {
                self.would_place(pid, &loaded, now);
            }
            return;
        }
        let mut ready = Vec::new();
        for (pid, answer) in self.ask(&new, now) {
            let Some(known) = self.guests.get_mut(&pid) else {
                continue;
            };
            let place = new.iter().position(|(other, _)| *other == pid);
            let place = place.map(|at| new.swap_remove(at).1);
            ready.extend(understood(
                &self.node,
                known,
                place,
                answer,
                now,
                &mut self.say,
            ));
        }
        // In the order of their numbers, whoever answered first.
        sorted::sort_by_key(&mut ready, |ready| match ready {
            Ready::Place(pid, ..) | Ready::Refresh(pid, _) => {
                (self.guests.get(pid).map(|known| known.vmid), *pid)
            }
        });
        if ready.is_empty() {
            return;
        }
        let settled = self.settling.settled(now);
        let Self {
            node,
            guests,
            say,
            options,
            again,
            ..
        } = self;
        let Some(mut keeper) = lock(node, say) else {
            *again = true;
            return;
        };
        // The rest keeps its answers for the next round, so that no round lasts.
        for ready in ready.into_iter().take(AT_A_TIME) {
            let (Ready::Place(pid, ..) | Ready::Refresh(pid, _)) = &ready;
            let Some(known) = guests.get_mut(pid) else {
                continue;
            };
            match ready {
                Ready::Place(_, loaded, threads) => {
                    pin(&mut keeper, known, *loaded, &threads, options, say);
                }
                Ready::Refresh(_, threads) => refresh(&mut keeper, known, threads, settled, say),
            }
        }
        // What was set changes what others may have.
        *again = true;
    }

    /// Tells of guests that ran before the watch met the node and were never placed.
    fn report_strangers(&mut self) {
        for known in self.guests.values_mut() {
            let untold = Standing::Stranger { told: false };
            let (Some(vmid), true) = (known.vmid, known.standing == untold) else {
                continue;
            };
            if self.node.ledger.of(vmid).is_some() {
                // The hook planned it: it is placed as soon as it can be.
                known.standing = Standing::New;
                continue;
            }
            // What can't be read is read again when something changes.
            let Ok(policy) = policy(&self.node, vmid) else {
                continue;
            };
            known.standing = Standing::Stranger { told: true };
            if policy != Mode::None {
                let line = format!(
                    "guest {vmid} runs since before and was not placed (policy {policy}): numapin apply {vmid} places it, or \
                     watch --adopt"
                );
                self.say.event(Priority::Notice, line);
            }
        }
    }

    /// Reads the configs of the guests that are to be placed.
    fn read_new(&mut self, now: Duration) -> Vec<(Pid, Loaded)> {
        let mut ready = Vec::new();
        for (pid, known) in &mut self.guests {
            let (Some(vmid), true) = (known.vmid, known.is_due(now)) else {
                continue;
            };
            let name = &known.name.0.clone();
            match read(&self.node, vmid, name, &mut self.say) {
                Ok(Read::Ready(loaded)) => {
                    self.say.state(Priority::Warning, name, "config", []);
                    ready.push((*pid, *loaded));
                }
                Ok(Read::NoPolicy) => {
                    // /etc/pve may have come back between the two files.
                    if !self.eyes.look_at_conf(&mut self.node, &mut self.say) {
                        known.standing = Standing::Left;
                    }
                }
                Ok(Read::Refused(violations)) => {
                    known.tries.failed(now);
                    let line = say::refused(&violations);
                    self.say.state(Priority::Warning, name, "place", [line]);
                }
                Err(fault) => {
                    known.is_unread(now);
                    let line = format!(
                        "{}; guest {name} is placed when that is mended",
                        fault.message
                    );
                    self.say.state(Priority::Warning, name, "config", [line]);
                }
            }
        }
        // Free memory decides between host nodes, and changes all the time.
        if !ready.is_empty()
            && let Err(fault) = self.node.look_at_host()
        {
            self.say.event(Priority::Warning, fault.message);
            ready.clear();
        }
        ready
    }

    /// Tells where a guest would go.
    fn would_place(&mut self, pid: Pid, loaded: &Loaded, now: Duration) {
        let Some(known) = self.guests.get(&pid) else {
            return;
        };
        let name = known.name.0.clone();
        let mut claims = self.node.claims(&loaded.guest, loaded.process);
        let others = self.guests.iter().filter(|(other, _)| **other != pid);
        for (guest, plan) in others.filter_map(|(_, known)| known.would.as_ref()) {
            claims = claims.with_plan(&self.node.host, guest, plan);
        }
        let allowed = self.node.allow(loaded.guest.vmid, Some(pid));
        let planned = plan(&self.node.host, &loaded.guest, &claims, &loaded.policy);
        self.node.host.allowed = None;
        if let Err(fault) = allowed {
            self.say.event(Priority::Warning, fault.message);
            return;
        }
        match planned {
            Ok(plan) => {
                let line = format!(
                    "guest {name}: would be pinned by {} ({}): {}",
                    loaded.policy,
                    loaded.source,
                    say::placed(&plan)
                );
                self.say.state(Priority::Notice, &name, "place", [line]);
                if let Some(known) = self.guests.get_mut(&pid) {
                    known.would = Some((loaded.guest.clone(), plan));
                    known.standing = Standing::Left;
                }
            }
            Err(violations) => {
                let line = say::refused(&violations);
                self.say.state(Priority::Warning, &name, "place", [line]);
                if let Some(known) = self.guests.get_mut(&pid) {
                    known.tries.failed(now);
                }
            }
        }
    }
}

/// The mode of a guest's policy.
fn policy(node: &Node, vmid: Vmid) -> Result<Mode, Fault> {
    let config = node
        .configs
        .config(&GuestRef::Vmid(vmid), &mut Vec::new())?;
    Ok(node.configs.policy(&config, &Over::default())?.policy.mode)
}

fn read(node: &Node, vmid: Vmid, name: &str, say: &mut Say) -> Result<Read, Fault> {
    let mut warn = Vec::new();
    let config = node.configs.config(&GuestRef::Vmid(vmid), &mut warn)?;
    let chosen = node.configs.policy(&config, &Over::default())?;
    if chosen.policy.mode == Mode::None && node.ledger.of(vmid).is_none() {
        return Ok(Read::NoPolicy);
    }
    let loaded = node.guest_of(config, &Over::default(), &mut warn)?;
    say.state(Priority::Info, name, "warnings", warn);
    Ok(match loaded {
        Ok(loaded) => Read::Ready(Box::new(loaded)),
        Err(violations) => Read::Refused(violations),
    })
}

/// Pins a guest.
fn pin(
    keeper: &mut Keeper<'_>,
    known: &mut Known,
    loaded: Loaded,
    threads: &GuestThreads,
    options: &Options,
    say: &mut Say,
) {
    let how = How {
        deadline: options.deadline,
        wait: LOCK,
        replan: false,
        command: COMMAND.to_owned(),
    };
    let name = known.name.0.clone();
    // Who pinned it meanwhile, or had it held, goes before.
    let entry = keeper.node.ledger.of_process(known.process);
    if entry.is_some_and(|entry| entry.state != EntryState::Pending) {
        known.answer = None;
        return;
    }
    let mut warn = Vec::new();
    let pinned = flow::pin(keeper, loaded, threads, &Over::default(), &how, &mut warn);
    keeper.node.host.allowed = None;
    match pinned {
        Ok(Ok(applied)) => {
            known.answer = None;
            known.tries.worked();
            known.kept = true;
            known.standing = Standing::Left;
            tell(&name, &applied, say);
        }
        Ok(Err(violations)) => {
            known.tries.failed(say.now);
            let line = say::refused(&violations);
            say.state(Priority::Warning, &name, "place", [line]);
        }
        Err(fault) => {
            known.answer = None;
            known.tries.failed(say.now);
            let line = format!("guest {name}: {}; it is tried again", fault.message);
            say.state(Priority::Error, &name, "place", [line]);
        }
    }
    for line in warn {
        say.event(Priority::Info, line);
    }
}

fn tell(name: &str, applied: &Applied, say: &mut Say) {
    let planned = &applied.planned;
    let line = format!(
        "guest {name}: pinned by {} ({}): {}",
        planned.policy,
        planned.source,
        say::placed(&planned.plan)
    );
    say.state(Priority::Notice, name, "place", [line]);
    let plan = planned.plan.notes.iter().map(ToString::to_string);
    let report = applied.report.iter().flat_map(|report| &report.notes);
    let report = report.map(|note| note.to_string());
    let notes = plan.chain(applied.notes.iter().cloned()).chain(report);
    let lines = notes.map(|note| format!("guest {name}: {note}"));
    say.state(Priority::Info, name, "placed", lines);
    for report in &applied.followed {
        say.event(Priority::Info, say::followed(report));
    }
}

fn refresh(
    keeper: &mut Keeper<'_>,
    known: &mut Known,
    threads: GuestThreads,
    settled: bool,
    say: &mut Say,
) {
    known.answer = None;
    let entry = keeper.node.ledger.of_process(known.process);
    let Some(entry) = entry.filter(|entry| entry.state == EntryState::Applied) else {
        return;
    };
    let entry = entry.clone();
    let name = entry.guest.0.clone();
    match flow::refresh(keeper, &entry, threads, settled) {
        Ok(report) => {
            say.state(Priority::Error, &name, "refresh", []);
            let set = report.threads.iter();
            let set = set.filter(|thread| thread.state == numapin_core::report::State::Set);
            let set: Vec<String> = set
                .map(|thread| format!("{} to cpu(s) {}", thread.kind, thread.wanted))
                .collect();
            if !set.is_empty() {
                let line = format!("guest {name}: set {}: qmp told of it", set.join(", "));
                say.event(Priority::Notice, line);
            }
        }
        Err(fault) => {
            let line = format!("guest {name}: {}", fault.message);
            say.state(Priority::Error, &name, "refresh", [line]);
        }
    }
}
