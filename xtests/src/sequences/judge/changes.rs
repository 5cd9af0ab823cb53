//! What a command may change, and what it must have put in order.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Breach;
use super::claims::{claims, entry, of_others};
use super::wanted::{What, Wish, kinds, left, wanted};
use crate::flow::Ids;
use crate::sequences::act::{Command, Done};
use crate::sequences::seen::{Entry, Kept, Seen};
use crate::sequences::world::World;

/// Judges what some commands at once have done.
#[must_use]
pub fn judge(world: &World, done: &Done) -> Vec<Breach> {
    let mut judge = Judge {
        world,
        done,
        breaches: Vec::new(),
    };
    judge.codes();
    judge.masks();
    judge.plans();
    if done.commands.len() == 1 {
        judge.order();
        judge.way_back();
        judge.placed();
        judge.new_plan();
    }
    judge.breaches
}

pub(super) struct Judge<'a> {
    pub(super) world: &'a World,
    pub(super) done: &'a Done,
    breaches: Vec<Breach>,
}

impl Judge<'_> {
    pub(super) fn breach(&mut self, rule: &'static str, what: String) {
        self.breaches.push(Breach::new(rule, what));
    }

    /// Commands end as the situation lets them.
    fn codes(&mut self) {
        for (command, ran) in &self.done.commands {
            let codes: &[u8] = match command {
                Command::Apply(vmid, _) => match self.world.guests.get(vmid) {
                    _ if !self.world.configs => &[2],
                    Some(vm) if vm.mock.is_some() => &[0, 3],
                    // Without a policy nothing is asked of it.
                    _ => &[0, 4],
                },
                // What was found can be out of reach: that is told.
                Command::Reset(_) if ran.told.iter().any(|l| l.contains("be put back")) => &[5],
                Command::Reset(Some(vmid)) => match self.world.guests.get(vmid) {
                    Some(vm) if vm.mock.is_some() => &[0],
                    _ => &[2],
                },
                Command::Reset(None) => &[0],
                Command::Set | Command::Unset if !self.world.configs => &[2],
                Command::Set | Command::Unset => &[0],
                Command::Status => &[0, 6],
                // Only a guest that must be pinned and can't be is not started.
                Command::Hook(_, "pre-start") if ran.out.contains("refused") => &[0, 3],
                Command::Hook(..) | Command::Watch(_) => &[0],
            };
            if !codes.contains(&ran.code) {
                self.breach(
                    "a command ends as it should",
                    format!("{command:?}: {ran:?}, expected one of {codes:?}"),
                );
            }
        }
    }

    /// Only those masks change that a command is for.
    fn masks(&mut self) {
        let (before, after) = (&self.done.before, &self.done.after);
        // A guest that can't be put back as it was does not stop the others.
        let failed = self.done.commands.iter().all(|(command, ran)| {
            ran.code != 0 && !(matches!(command, Command::Reset(_)) && ran.code == 5)
        });
        for (tid, was) in &before.threads {
            let Some(is) = after.threads.get(tid) else {
                self.breach("threads stay", format!("thread {tid} is gone"));
                continue;
            };
            if was.mask == is.mask {
                continue;
            }
            let told = format!(
                "thread {tid} ({}) {:?} -> {:?}",
                was.comm, was.mask, is.mask
            );
            if is.mask.is_disjoint(&self.world.online) {
                self.breach("a mask has an online cpu", told.clone());
            }
            let Some(vmid) = self.owner(*tid) else {
                self.breach("foreign threads are untouched", told);
                continue;
            };
            if failed {
                self.breach("a command that fails changes nothing", told.clone());
            }
            if self.is_target(vmid) {
                continue;
            }
            let told = format!("guest {vmid}: {told}");
            let state = entry(self.world, before, vmid).map(|entry| entry.state.as_str());
            if state != Some("applied") {
                let rule = "guests that are held or not placed are untouched";
                self.breach(rule, told);
                continue;
            }
            self.stays(vmid, *tid, &is.mask, told);
        }
    }

    /// A guest that runs stays on its host nodes.
    fn stays(&mut self, vmid: u32, tid: u32, mask: &Ids, told: String) {
        let after = &self.done.after;
        let Some(entry) = entry(self.world, after, vmid) else {
            return;
        };
        let Some(What::Vcpu(vcpu)) = kinds(self.world, after, vmid).get(&tid).copied() else {
            return;
        };
        let placed = entry.plan.vcpu(vcpu);
        let node = placed.and_then(|placed| entry.plan.node(placed.virtual_node));
        let Some(node) = node.filter(|_| entry.plan.mode != "shared") else {
            return;
        };
        if !self
            .world
            .topology
            .nodes_of(mask)
            .is_subset(&node.host_nodes)
        {
            self.breach("a running guest stays on its host nodes", told);
        }
    }

    /// A plan holds as long as its process, but for whom it is made anew.
    fn plans(&mut self) {
        let (before, after) = (&self.done.before, &self.done.after);
        for problem in &after.unfit {
            self.breach("files of the ledger are fit", problem.clone());
        }
        for (vmid, is) in &after.entries {
            let was = before.entries.get(vmid);
            let was = was.filter(|was| was.process == is.process || was.process.is_none());
            // Which vCPUs are plugged is no part of it.
            let same = |was: &Entry| {
                Kept {
                    plugged: is.plan.plugged.clone(),
                    ..was.plan.clone()
                } == is.plan
            };
            if !self.is_target(*vmid) && !was.is_some_and(same) {
                self.breach("a plan holds", format!("guest {vmid}: {was:?} -> {is:?}"));
            }
        }
        if self.acted().is_some() {
            for vmid in after.entries.keys() {
                if entry(self.world, after, *vmid).is_none() {
                    self.breach("nothing is left of who stopped", format!("guest {vmid}"));
                }
            }
        }
    }

    /// After claims have changed, every mask is what is wanted, but for threads that something else has touched. The guest of
    /// an `apply` is in order whatever was before.
    fn order(&mut self) {
        let Some(command) = self.acted() else { return };
        let after = &self.done.after;
        let held = claims(self.world, after);
        for vmid in self.world.guests.keys() {
            let Some(entry) = entry(self.world, after, *vmid) else {
                continue;
            };
            if entry.state != "applied" {
                continue;
            }
            for (tid, wish) in wanted(self.world, after, *vmid, entry, &held) {
                // The service mends what anything else has touched.
                let target = self.is_target(*vmid) || matches!(command, Command::Watch(_));
                if !target && self.world.tainted.contains(&tid) {
                    continue;
                }
                let mask = after.mask(tid);
                let online = &mask & &self.world.online;
                let right = match &wish {
                    Wish::Kept | Wish::Nothing | Wish::Unknown => true,
                    Wish::Mask(wanted) => {
                        let left = left(self.world, *vmid, wanted);
                        left.is_empty() || left == online
                    }
                    Wish::StandIn(pool) => !target || online.is_subset(pool),
                };
                if !right {
                    let comm = &after.threads[&tid].comm;
                    let text = format!(
                        "guest {vmid}: thread {tid} ({comm}) has {mask:?}, wanted {wish:?}, after {command:?}; others hold {:?}",
                        of_others(&held, *vmid)
                    );
                    self.breach("masks follow the claims", text);
                }
            }
        }
    }

    /// After a reset all is as it was found.
    fn way_back(&mut self) {
        let Some((Command::Reset(_), ran)) = self.done.commands.first() else {
            return;
        };
        if ran.code != 0 {
            return;
        }
        let (world, after) = (self.world, &self.done.after);
        for (vmid, vm) in &world.guests {
            let held = entry(world, after, *vmid).is_some_and(|entry| entry.state == "held");
            if !held || !self.is_target(*vmid) {
                continue;
            }
            for tid in kinds(world, after, *vmid).into_keys() {
                let mask = &after.mask(tid) & &world.online;
                let base = &world.base[&tid];
                let allowed = world.allowed(*vmid);
                let loose = base.is_superset(&world.online) || *base == vm.started_on;
                let right = mask == base & &allowed
                    || (loose && mask == allowed)
                    || (base.is_disjoint(&allowed))
                    || (vm.confined && mask.is_subset(&allowed));
                if !right {
                    let comm = &after.threads[&tid].comm;
                    let text = format!(
                        "guest {vmid}: thread {tid} ({comm}) has {mask:?}, without numapin it had {base:?}"
                    );
                    self.breach("reset puts back what was found", text);
                }
            }
        }
    }

    /// The command, if there is one and it did something to the node.
    fn acted(&self) -> Option<Command> {
        let [(command, ran)] = &self.done.commands[..] else {
            return None;
        };
        let answer: Value = serde_json::from_str(&ran.out).unwrap_or_default();
        let acted = match command {
            // For the mode none nothing is asked, and no lock is taken.
            Command::Apply(..) => answer["report"] != Value::Null,
            Command::Reset(_) => true,
            Command::Hook(..) => {
                let did = answer["did"].as_str().unwrap_or_default();
                ["planned", "pinned", "freed"].contains(&did)
            }
            Command::Watch(enough) => *enough,
            Command::Set | Command::Unset | Command::Status => false,
        };
        (acted && ran.code == 0).then(|| command.clone())
    }

    fn is_target(&self, vmid: u32) -> bool {
        let commands = self.done.commands.iter();
        let targets: BTreeSet<Option<u32>> = commands
            .filter_map(|(command, _)| match command {
                Command::Apply(vmid, _) => Some(Some(*vmid)),
                Command::Reset(vmid) => Some(*vmid),
                Command::Hook(vmid, _) => Some(Some(*vmid)),
                Command::Set | Command::Unset | Command::Status | Command::Watch(_) => None,
            })
            .collect();
        let all = targets.contains(&None) && self.done.before.entries.contains_key(&vmid);
        targets.contains(&Some(vmid)) || all || self.is_new(vmid)
    }

    fn owner(&self, tid: u32) -> Option<u32> {
        let mut guests = self.world.guests.keys();
        let before: &Seen = &self.done.before;
        guests
            .find(|vmid| kinds(self.world, before, **vmid).contains_key(&tid))
            .copied()
    }
}
