//! Plans that are made: they keep to what a guest may use, and avoid what others hold or say that they do not.

use numapin_cli::Ran;
use serde_json::Value;

use super::changes::Judge;
use super::claims::{claims, entry, of_others};
use super::told::policy;
use super::wanted::{isolated, reserved};
use crate::flow::Ids;
use crate::sequences::act::{Command, Done};
use crate::sequences::seen::{Kept, Seen};
use crate::sequences::world::World;

impl Judge<'_> {
    /// A plan that is made keeps to what the guest may use, and avoids what others hold or says that it does not.
    pub(super) fn new_plan(&mut self) {
        let Some((command, ran)) = self.done.commands.first() else {
            return;
        };
        let answer: Value = serde_json::from_str(&ran.out).unwrap_or_default();
        let vmid = match command {
            Command::Apply(vmid, _) => vmid,
            Command::Hook(vmid, _) if answer["did"] == "planned" || answer["did"] == "pinned" => {
                vmid
            }
            _ => return,
        };
        let after = &self.done.after;
        let (0, Some(entry)) = (ran.code, entry(self.world, after, *vmid)) else {
            return;
        };
        // A plan that was made before the start was judged then.
        let before = self.done.before.entries.get(vmid);
        let before = before.filter(|b| b.process == entry.process || b.state == "pending");
        match before {
            Some(before) if before.plan.vcpus == entry.plan.vcpus => {
                if before.state != "held" {
                    return;
                }
            }
            _ => self.usable(*vmid, &entry.plan, &entry.policy.text),
        }
        if entry.plan.mode != "one-to-one" || entry.plan.overlap == "allow" {
            return;
        }
        let others = of_others(&claims(self.world, &self.done.before), *vmid);
        let plugged = entry.plan.plugged.clone();
        let vcpus = entry.plan.vcpus.iter();
        let taken: Ids = vcpus
            .filter(|vcpu| plugged.contains(&vcpu.vcpu))
            .flat_map(|vcpu| vcpu.cpus.clone())
            .collect();
        let twice = &taken & &others;
        let notes = answer["plan"]["notes"].as_array().cloned();
        let notes = notes.unwrap_or_default();
        let told = notes.iter().any(|note| note["kind"] == "overlap");
        if !twice.is_empty() && (!told || entry.plan.overlap == "deny") {
            let text = format!(
                "guest {vmid} takes {twice:?}, which others hold; {}",
                ran.out
            );
            self.breach("no cpu is held twice untold", text);
        }
    }

    /// What a plan takes is what the guest may use.
    fn usable(&mut self, vmid: u32, plan: &Kept, policy: &str) {
        let world = self.world;
        let Ok(vm) = world.vm(vmid) else { return };
        let affinity = vm.spec.affinity.as_deref();
        let affinity = affinity.and_then(crate::flow::masks::list);
        let mut usable = &world.allowed(vmid) - &reserved(world);
        if let Some(affinity) = &affinity {
            usable = &usable & affinity;
        } else if !policy.contains("isolated=allow") || plan.mode != "one-to-one" {
            usable = &usable - &isolated(world);
        }
        if policy.contains("kind=performance") {
            usable = &usable - &world.topology.slow;
        } else if policy.contains("kind=efficiency") {
            usable = &usable & &world.topology.slow;
        }
        for node in &plan.virtual_nodes {
            let whole = match plan.mode.as_str() {
                "shared" => usable.clone(),
                _ => &usable & &world.topology.of_nodes(&node.host_nodes),
            };
            if node.node != whole || !node.area.is_subset(&whole) {
                let text = format!("guest {vmid}: {node:?}, usable there is {whole:?}");
                self.breach("a plan takes what the guest may use", text);
            }
        }
        for vcpu in &plan.vcpus {
            if !vcpu.cpus.is_subset(&usable) {
                let text = format!("guest {vmid}: {vcpu:?}, usable is {usable:?}");
                self.breach("a plan takes what the guest may use", text);
            }
        }
    }

    /// Whether a round of the service may place a guest: it is not placed, and came after the service.
    pub(super) fn is_new(&self, vmid: u32) -> bool {
        let watch = |(command, _): &(Command, _)| matches!(command, Command::Watch(_));
        let before = entry(self.world, &self.done.before, vmid);
        let placed = before.is_some_and(|entry| entry.state != "pending");
        let mock = self.world.guests.get(&vmid).and_then(|vm| vm.mock.as_ref());
        let new = mock.is_some_and(|mock| !self.world.strangers.contains(&mock.pid()));
        let wanted = policy(self.world, vmid).is_some();
        self.done.commands.iter().any(watch) && !placed && new && wanted
    }

    /// The service places who came after it, or says why not.
    pub(super) fn placed(&mut self) {
        let [(Command::Watch(true), _)] = &self.done.commands[..] else {
            return;
        };
        for (vmid, vm) in &self.world.guests {
            let expected = self.is_new(*vmid) && vm.policy == policy(self.world, *vmid);
            let told = format!("guest {vmid}");
            let told = self.world.said.iter().any(|line| line.contains(&told));
            let after = entry(self.world, &self.done.after, *vmid);
            let pending = after.is_none_or(|entry| entry.state == "pending");
            if expected && pending && !told {
                self.breach("watch places who comes", format!("guest {vmid}: {after:?}"));
            }
        }
    }
}

/// CPUs of a guest that another one holds, too, and that were told: they are so from now on.
pub fn remember(world: &mut World, done: &Done) {
    for (command, ran) in &done.commands {
        for vmid in told(command, ran, &done.after) {
            if let Some(entry) = done.after.entries.get(&vmid) {
                let cpus = entry.plan.vcpus.iter().flat_map(|vcpu| &vcpu.cpus);
                world.told.extend(cpus.map(|cpu| (vmid, *cpu)));
            }
        }
    }
}

/// The guests of which a command says that they are on CPUs of others.
fn told(command: &Command, ran: &Ran, after: &Seen) -> Vec<u32> {
    match command {
        Command::Apply(vmid, _) | Command::Hook(vmid, _) => {
            let answer: Value = serde_json::from_str(&ran.out).unwrap_or_default();
            let notes = answer["plan"]["notes"].as_array().cloned();
            let notes = notes.unwrap_or_default();
            let overlap = notes.iter().any(|note| note["kind"] == "overlap");
            overlap.then_some(*vmid).into_iter().collect()
        }
        Command::Watch(_) => {
            let says = |vmid: &u32| {
                let start = format!("guest {vmid}: ");
                let mut lines = ran.told.iter();
                lines.any(|line| line.starts_with(&start) && line.contains("hold one-to-one"))
            };
            after.entries.keys().copied().filter(says).collect()
        }
        _ => Vec::new(),
    }
}
