//! What happens on a node.

use super::setting::{Setting, policy};
use crate::random::Random;

/// Something that happens. It names guests by number, so that it means the same when others are left out; what can't happen
/// (a second start) is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A guest starts; with the hookscript.
    Start(u32, bool),
    /// A start that dies after pre-start: no QEMU, no post-stop.
    StartDies(u32),
    /// A guest stops.
    Stop(u32, End),
    /// `apply`.
    Apply(u32),
    /// `apply --replan`.
    Replan(u32),
    /// `reset`.
    Reset(u32),
    /// `reset --all`.
    ResetAll,
    /// `set`.
    Set(u32, String),
    /// `unset`.
    Unset(u32),
    /// The next vCPU is plugged.
    Plug(u32),
    /// The last vCPU is unplugged.
    Unplug(u32),
    /// An iothread is added.
    Iothread(u32),
    /// A vhost worker is added as a task.
    Vhost(u32),
    /// A guest comes from another node: its config is still there while it starts.
    MigrateIn(u32, bool),
    /// A guest goes to another node: its QEMU ends without hooks, and its config is there.
    MigrateOut(u32),
    /// A guest that does not run is started for its backup, with the hookscript or without.
    Backup(u32, bool),
    /// That backup ends.
    BackupEnds(u32),
    /// A CPU goes offline, or returns; threads that sleep there or run.
    Cpu(u32, bool, bool),
    /// SMT goes off CPU by CPU, with rounds of watch in between; or comes back.
    Smt(bool),
    /// A mask is changed from outside: of a vCPU, or of the main thread.
    Taskset(u32, Option<u32>, Vec<u32>),
    /// The cpuset of a guest, or of all, is set to a part of the host (eighths, first and last) or to all of it.
    Cpuset(Option<u32>, Option<(u32, u32)>),
    /// /etc/pve is gone, or back.
    Configs(bool),
    /// The config is another guest's, with another name.
    Recycle(u32),
    /// A container is there with a cpuset, or gone.
    Container(u32, Option<(u32, u32)>),
    /// So many seconds pass.
    Tick(u32),
    /// The service starts anew.
    WatchRestarts,
    /// Two commands at once.
    Both(Box<Event>, Box<Event>),
}

/// How a guest stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// In order, with post-stop.
    Hook,
    /// In order, and nobody is told.
    Quiet,
    /// QEMU dies; its files stay.
    Crash,
}

/// So many events for a setting.
#[must_use]
pub fn events(random: &mut Random, setting: &Setting, count: usize) -> Vec<Event> {
    let hooks = random.chance(50);
    // A node is full before the rest happens.
    let mut events: Vec<Event> = Vec::new();
    for spec in &setting.guests {
        if random.chance(60) {
            events.push(Event::Start(spec.vmid, hooks && random.chance(60)));
            if random.chance(50) {
                events.push(Event::Apply(spec.vmid));
            }
        }
    }
    while events.len() < count {
        let event = event(random, setting, hooks);
        events.push(event);
    }
    events.truncate(count.max(1));
    events
}

fn event(random: &mut Random, setting: &Setting, hooks: bool) -> Event {
    let vmid = setting.guests[random.index(setting.guests.len())].vmid;
    let hook = hooks && random.chance(70);
    match random.below(100) {
        0..=11 => Event::Start(vmid, hook),
        12 => Event::StartDies(vmid),
        13..=18 => Event::Stop(vmid, random.one(&[End::Hook, End::Quiet, End::Crash])),
        19..=33 => Event::Apply(vmid),
        34..=36 => Event::Replan(vmid),
        37..=39 => Event::Reset(vmid),
        40 => Event::ResetAll,
        41..=43 => match policy(random, setting.host) {
            Some(policy) => Event::Set(vmid, policy),
            None => Event::Unset(vmid),
        },
        44..=47 => Event::Plug(vmid),
        48..=50 => Event::Unplug(vmid),
        51 => Event::Iothread(vmid),
        52 => Event::Vhost(vmid),
        53..=54 => Event::MigrateIn(vmid, hook),
        55 => Event::MigrateOut(vmid),
        56..=57 => Event::Backup(vmid, hook),
        58 => Event::BackupEnds(vmid),
        59..=64 => Event::Cpu(random.below(256), random.chance(50), random.chance(50)),
        65 => Event::Smt(random.chance(40)),
        66..=70 => {
            let cpus = (0..random.one(&[1, 1, 2, 5])).map(|_| random.below(256));
            let cpus: Vec<u32> = cpus.collect();
            let vcpu = random.chance(80).then(|| random.below(4));
            Event::Taskset(vmid, vcpu, cpus)
        }
        71..=73 => {
            let first = random.below(6);
            let part = random
                .chance(60)
                .then(|| (first, first + 2 + random.below(6)));
            Event::Cpuset(random.chance(80).then_some(vmid), part)
        }
        74 => Event::Configs(false),
        75..=77 => Event::Configs(true),
        78 => Event::Recycle(vmid),
        79..=80 => {
            let first = random.below(7);
            let part = random.chance(70).then_some((first, first + 1));
            Event::Container(900 + random.below(2), part)
        }
        81..=92 => Event::Tick(random.one(&[2, 2, 4, 6, 16])),
        93 => Event::WatchRestarts,
        _ => {
            let other = setting.guests[random.index(setting.guests.len())].vmid;
            let one = |random: &mut Random, vmid| match random.below(5) {
                0 => Event::Reset(vmid),
                1 => Event::Replan(vmid),
                _ => Event::Apply(vmid),
            };
            Event::Both(Box::new(one(random, vmid)), Box::new(one(random, other)))
        }
    }
}
