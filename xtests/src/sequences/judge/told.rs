//! What `status` says, against what is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Breach;
use super::claims::{Claims, claims, entry, singles};
use super::wanted::{Wish, left, wanted};
use crate::flow::Ids;
use crate::flow::masks::list;
use crate::sequences::act::Command;
use crate::sequences::act::Done;
use crate::sequences::seen::Seen;
use crate::sequences::world::World;

/// Judges the answer of `status` for the node.
#[must_use]
pub fn judge(world: &World, done: &Done) -> Vec<Breach> {
    let Some((Command::Status, ran)) = done.commands.first() else {
        return Vec::new();
    };
    let answer = match serde_json::from_str(&ran.out) {
        Ok(answer) => answer,
        Err(e) => {
            let text = format!("{e}: {ran:?}");
            return vec![Breach::new("status answers", text)];
        }
    };
    let mut judge = Judge {
        world,
        seen: &done.after,
        held: claims(world, &done.after),
        answer,
        breaches: Vec::new(),
    };
    let mut drift = false;
    for vmid in world.guests.keys() {
        drift |= judge.guest(*vmid);
    }
    if drift != (ran.code == 6) || judge.answer["drift"] != drift {
        let text = format!("exit {}, drift {drift}: {}", ran.code, ran.out);
        judge.breach("status ends in 6 on drift alone", text);
    }
    judge.node();
    judge.twice();
    judge.breaches
}

/// The policy of a guest as numapin.conf has it now.
#[must_use]
pub fn policy(world: &World, vmid: u32) -> Option<String> {
    let vm = world.guests.get(&vmid)?;
    if vm.spec.template || !world.configs {
        return None;
    }
    let conf = world.conf().ok()?;
    let value = |key: &str| {
        let mut lines = conf.lines().filter_map(|line| line.split_once(':'));
        let line = lines.find(|(name, _)| name.trim() == key);
        line.map(|(_, value)| value.trim().to_owned())
    };
    let own = value(&vmid.to_string()).and_then(|line| match line.strip_prefix("name=") {
        Some(rest) => {
            let (name, policy) = rest.split_once(',')?;
            (name == vm.name).then(|| policy.to_owned())
        }
        None => Some(line),
    });
    own.or_else(|| value("default"))
        .filter(|policy| !policy.starts_with("none"))
}

struct Judge<'a> {
    world: &'a World,
    seen: &'a Seen,
    held: Claims,
    answer: Value,
    breaches: Vec<Breach>,
}

impl Judge<'_> {
    fn breach(&mut self, rule: &'static str, what: String) {
        self.breaches.push(Breach::new(rule, what));
    }

    /// What is said of a guest; whether it drifts.
    fn guest(&mut self, vmid: u32) -> bool {
        let (world, seen) = (self.world, self.seen);
        let runs = world.guests[&vmid].mock.is_some();
        let said = self.answer["guests"].as_array().cloned();
        let said = said.unwrap_or_default();
        let Some(said) = said.into_iter().find(|guest| guest["vmid"] == vmid) else {
            let expected = runs || (policy(world, vmid).is_some() && !world.guests[&vmid].away);
            if expected {
                self.breach("status shows every guest", format!("not {vmid}"));
            }
            return false;
        };
        let mut drifted = false;
        let entry = entry(world, seen, vmid);
        let wishes = match entry {
            Some(entry) if entry.state != "held" => wanted(world, seen, vmid, entry, &self.held),
            _ => BTreeMap::new(),
        };
        let threads = said["threads"].as_array().cloned().unwrap_or_default();
        for (tid, wish) in &wishes {
            let mut there = threads.iter();
            let Some(thread) = there.find(|thread| thread["thread"]["tid"] == *tid) else {
                // Workers of the kernel are looked for only where they are to be set: all of /proc has to be read for them.
                if *wish == Wish::Kept && seen.threads[tid].pid == *tid {
                    continue;
                }
                self.breach(
                    "status shows every thread",
                    format!("guest {vmid}: not {tid}"),
                );
                continue;
            };
            drifted |= self.thread(vmid, *tid, wish, thread);
        }
        let state = match entry.map(|entry| entry.state.as_str()) {
            _ if !runs => "stopped",
            Some("pending") => "starting",
            Some("held") => "held",
            Some(_) if drifted => "drifted",
            Some(_) => "pinned",
            None if policy(world, vmid).is_some() => "unplaced",
            None => "no_policy",
        };
        if said["state"] != state {
            self.breach(
                "status tells the state",
                format!("guest {vmid}: {state}, told {said}"),
            );
        }
        self.beside(vmid, &said);
        matches!(state, "drifted" | "unplaced")
    }

    /// What is said of a thread; whether it drifts.
    fn thread(&mut self, vmid: u32, tid: u32, wish: &Wish, said: &Value) -> bool {
        let world = self.world;
        let mask = self.seen.mask(tid);
        let set = |key: &str| said[key].as_str().and_then(list);
        if set("actual").as_ref() != Some(&mask) {
            self.breach(
                "status tells the mask",
                format!("guest {vmid}: {mask:?}, told {said}"),
            );
        }
        let online = &mask & &world.online;
        let wished = set("wanted");
        let (right, state) = match wish {
            Wish::Unknown => return said["state"] == "drifted",
            Wish::Kept => (wished.is_none(), "kept"),
            Wish::Nothing => (wished.is_none(), "narrowed"),
            Wish::Mask(wanted) if left(world, vmid, wanted).is_empty() => {
                (wished.is_none(), "narrowed")
            }
            Wish::Mask(wanted) => {
                let left = left(world, vmid, wanted);
                let state = match () {
                    () if left != online => "drifted",
                    () if left != *wanted => "narrowed",
                    () => "right",
                };
                (wished.as_ref() == Some(wanted), state)
            }
            Wish::StandIn(pool) => {
                let told = wished.clone().unwrap_or_default();
                let right = !told.is_empty() && told.is_subset(pool);
                let state = if told == online {
                    "narrowed"
                } else {
                    "drifted"
                };
                (right, state)
            }
        };
        if !right || said["state"] != state {
            let text = format!(
                "guest {vmid}: {wish:?}, {state}, others hold {:?}; told {said}",
                super::claims::of_others(&self.held, vmid)
            );
            self.breach("status tells what is wanted", text);
        }
        state == "drifted"
    }

    /// Who else sits on what a guest holds.
    fn beside(&mut self, vmid: u32, said: &Value) {
        let own = self.held.get(&vmid).cloned().unwrap_or_default();
        let claimed = said["claimed"].as_str().and_then(list).unwrap_or_default();
        if claimed != own {
            let text = format!("guest {vmid} holds {own:?}, told {claimed:?}");
            self.breach("status tells what is held", text);
        }
        let others = self.held.iter();
        let there = others.filter(|(other, held)| **other != vmid && !own.is_disjoint(held));
        let there: BTreeSet<String> = there.map(|(other, _)| other.to_string()).collect();
        let told = said["beside"]["one_to_one"].as_array().cloned();
        let told: BTreeSet<String> = told
            .unwrap_or_default()
            .iter()
            .filter_map(|name| name.as_str().map(ToOwned::to_owned))
            .collect();
        if told != there {
            let text = format!("guest {vmid}: {there:?}, told {told:?}");
            self.breach("status tells who else is there", text);
        }
        let containers = &said["containers"];
        self.containers(&own, &containers.clone(), &format!("guest {vmid}"));
    }

    fn containers(&mut self, own: &Ids, said: &Value, whose: &str) {
        let world = self.world;
        let confined = world.containers.iter();
        let there: BTreeMap<String, Ids> = confined
            .filter(|(_, cpus)| !cpus.is_superset(&world.online))
            .map(|(vmid, cpus)| (vmid.to_string(), cpus & own))
            .filter(|(_, cpus)| !cpus.is_empty())
            .collect();
        let told: BTreeMap<String, Ids> = said
            .as_array()
            .cloned()
            .unwrap_or_default()
            .iter()
            .filter_map(|one| {
                let cpus = one["cpus"].as_str().and_then(list)?;
                Some((one["vmid"].to_string(), cpus))
            })
            .collect();
        if there != told {
            let text = format!("{whose}: {there:?}, told {told:?}");
            self.breach("status tells the containers", text);
        }
    }

    /// What is said of the node.
    fn node(&mut self) {
        let said = self.answer["node"].clone();
        let told: Claims = said["claimed"]
            .as_object()
            .cloned()
            .unwrap_or_default()
            .iter()
            .filter_map(|(name, cpus)| Some((name.parse().ok()?, list(cpus.as_str()?)?)))
            .collect();
        if told != self.held {
            let text = format!("{:?}, told {told:?}", self.held);
            self.breach("status tells the claims", text);
        }
        let all: Ids = self.held.values().flatten().copied().collect();
        self.containers(&all, &said["containers"], "the node");
    }

    /// No CPU is held one-to-one by two guests, but where that was told, or is not numapin's doing.
    fn twice(&mut self) {
        let world = self.world;
        let mut holders: BTreeMap<u32, Vec<(u32, u32)>> = BTreeMap::new();
        for vmid in world.guests.keys() {
            for (tid, cpu) in singles(world, self.seen, *vmid) {
                holders.entry(cpu).or_default().push((*vmid, tid));
            }
        }
        for (cpu, who) in holders {
            let guests: BTreeSet<u32> = who.iter().map(|(vmid, _)| *vmid).collect();
            let innocent = |(vmid, tid): &(u32, u32)| {
                let Some(entry) = entry(world, self.seen, *vmid) else {
                    return false;
                };
                entry.state == "applied"
                    && entry.plan.overlap != "allow"
                    && !world.tainted.contains(tid)
                    && !world.told.contains(&(*vmid, cpu))
            };
            let holding: BTreeSet<u32> = who.iter().filter(|w| innocent(w)).map(|w| w.0).collect();
            if guests.len() > 1 && holding == guests {
                let text = format!("cpu {cpu} by guests {guests:?}");
                self.breach("no cpu is held twice", text);
            }
        }
    }
}
