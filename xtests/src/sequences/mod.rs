//! A node full of guests, driven by random sequences of what happens on one, and judged after every step.
//!
//! ```text
//! seed ─► Setting (host, settings, guests) ─► World: files, mocks, what a kernel does ─┐
//!     └─► Event, Event, ... ───────────────► act: commands ─► Done ─► judge ─► Breach ─┴─► shrink
//! ```
//! A seed always gives the same sequence. The judge reads masks, the ledger and the answers of `status` itself, and knows the
//! manual; it shares nothing with planner and reconcile.

pub mod act;
pub mod event;
pub mod host;
pub mod judge;
mod kernel;
pub mod seen;
pub mod setting;
pub mod shrink;
pub mod world;

use std::fmt;

use crate::flow::Broken;
use crate::random::Random;
use event::Event;
use judge::Breach;
use judge::wanted::{Wish, left};
use setting::Setting;
use world::World;

/// A sequence of events.
#[derive(Debug, Clone)]
pub struct Sequence {
    /// Where it happens.
    pub setting: Setting,
    /// What happens.
    pub events: Vec<Event>,
}

/// How a sequence ended.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing was wrong.
    Right,
    /// After this event something was.
    Wrong {
        /// Its place.
        at: usize,
        /// What.
        breaches: Vec<Breach>,
    },
}

impl Sequence {
    /// The sequence of a seed.
    #[must_use]
    pub fn of(seed: u64, count: usize) -> Self {
        let random = &mut Random::new(seed);
        let setting = Setting::of(random);
        let events = event::events(random, &setting, count);
        Self { setting, events }
    }

    /// Runs it until something is wrong.
    ///
    /// # Errors
    /// The simulated node itself broke.
    pub fn run(&self) -> Result<Outcome, Broken> {
        let mut world = World::new(&self.setting)?;
        for (at, event) in self.events.iter().enumerate() {
            let breaches = step(&mut world, event)?;
            if !breaches.is_empty() {
                return Ok(Outcome::Wrong { at, breaches });
            }
        }
        Ok(Outcome::Right)
    }
}

/// Lets one event happen, and judges.
///
/// # Errors
/// The simulated node itself broke.
pub fn step(world: &mut World, event: &Event) -> Result<Vec<Breach>, Broken> {
    let mut breaches = Vec::new();
    for done in act::act(world, event)? {
        breaches.extend(done.breaches);
    }
    let status = act::status(world)?;
    breaches.extend(judge::told::judge(world, &status));
    breaches.extend(status.breaches);
    settle(world, &status.after);
    Ok(breaches)
}

/// Threads that are as wanted are nobody else's doing any more.
fn settle(world: &mut World, seen: &seen::Seen) {
    let held = judge::claims::claims(world, seen);
    let mut right = Vec::new();
    for vmid in world.guests.keys() {
        let Some(entry) = judge::claims::entry(world, seen, *vmid) else {
            continue;
        };
        for (tid, wish) in judge::wanted::wanted(world, seen, *vmid, entry, &held) {
            let online = &seen.mask(tid) & &world.online;
            let is = match wish {
                Wish::Kept => true,
                Wish::Mask(wanted) => left(world, *vmid, &wanted) == online,
                Wish::StandIn(_) | Wish::Nothing | Wish::Unknown => false,
            };
            if is && entry.state == "applied" {
                right.push(tid);
            }
        }
    }
    for tid in right {
        world.tainted.remove(&tid);
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "host {}", self.setting.host)?;
        for line in &self.setting.conf {
            writeln!(f, "  {line}")?;
        }
        let told = format!("{:?}", self.events);
        for spec in &self.setting.guests {
            if told.contains(&spec.vmid.to_string()) {
                writeln!(f, "  {spec:?}")?;
            }
        }
        for event in &self.events {
            writeln!(f, "{event:?}")?;
        }
        Ok(())
    }
}
