//! Lets events happen: what the kernel and Proxmox VE do, and the commands that people run.

use std::time::Duration;

use numapin_cli::Ran;

use super::event::{End, Event};
use super::judge::{Breach, changes, claims, plans};
use super::seen::Seen;
use super::world::World;
use crate::flow::{Broken, Ids};

/// Seconds without an event after which the service has seen and done everything: it looks at masks every 5 s, and lets the
/// online CPUs settle for 10 s.
const ENOUGH: u32 = 16;

/// A command, as far as the judge must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `apply`, and whether with `--replan`.
    Apply(u32, bool),
    /// `reset` of a guest, or of all.
    Reset(Option<u32>),
    /// `set`.
    Set,
    /// `unset`.
    Unset,
    /// `status`.
    Status,
    /// A round of the service, and whether it has had time for everything.
    Watch(bool),
    /// `hook`, and its phase.
    Hook(u32, &'static str),
}

/// Commands that ran at once, and the node before and after.
#[derive(Debug)]
pub struct Done {
    /// The commands, and how they ended.
    pub commands: Vec<(Command, Ran)>,
    /// The node before.
    pub before: Seen,
    /// The node after.
    pub after: Seen,
    /// What was wrong then and there.
    pub breaches: Vec<Breach>,
}

/// Lets an event happen; the commands that ran in it, in order.
///
/// # Errors
/// The simulated node itself broke.
pub fn act(world: &mut World, event: &Event) -> Result<Vec<Done>, Broken> {
    let mut done = Vec::new();
    match event {
        // A guest that went to another node is started there.
        Event::Start(vmid, _) | Event::Backup(vmid, _) if world.vm(*vmid)?.away => {}
        Event::Start(vmid, hook) => done = start(world, *vmid, false, *hook)?,
        Event::Backup(vmid, hook) => done = start(world, *vmid, true, *hook)?,
        Event::BackupEnds(vmid) => {
            if world.vm(*vmid)?.backup {
                world.end(*vmid, false)?;
                world.vm_mut(*vmid)?.backup = false;
                world.write_config(*vmid)?;
            }
        }
        Event::StartDies(vmid) => {
            if world.vm(*vmid)?.mock.is_none() {
                let _lock = world.lock(*vmid)?;
                world.starting = Some(*vmid);
                done.push(hook(world, *vmid, "pre-start")?);
                world.starting = None;
            }
        }
        Event::Stop(vmid, end) => {
            let vm = world.vm(*vmid)?;
            if vm.mock.is_some() && !vm.backup {
                world.end(*vmid, *end == End::Crash)?;
                if *end == End::Hook {
                    let _lock = world.lock(*vmid)?;
                    done.push(hook(world, *vmid, "post-stop")?);
                }
            }
        }
        Event::MigrateIn(vmid, hook) => {
            let vm = world.vm(*vmid)?;
            if vm.mock.is_none() && !vm.spec.template {
                world.vm_mut(*vmid)?.away = true;
                world.write_config(*vmid)?;
                done = start(world, *vmid, false, *hook)?;
                world.vm_mut(*vmid)?.away = false;
                world.write_config(*vmid)?;
            }
        }
        Event::MigrateOut(vmid) => {
            let vm = world.vm(*vmid)?;
            if vm.mock.is_some() && !vm.backup {
                world.vm_mut(*vmid)?.away = true;
                world.write_config(*vmid)?;
                world.end(*vmid, false)?;
            }
        }
        Event::Apply(_) | Event::Replan(_) | Event::Reset(_) | Event::ResetAll => {
            done.push(run(world, &[command(event)?])?);
        }
        Event::Set(vmid, policy) => {
            let words = words(&["set", &vmid.to_string(), policy]);
            done.push(run(world, &[(Command::Set, words)])?);
        }
        Event::Unset(vmid) => {
            let words = words(&["unset", &vmid.to_string()]);
            done.push(run(world, &[(Command::Unset, words)])?);
        }
        Event::Both(one, other) => {
            done.push(run(world, &[command(one)?, command(other)?])?);
        }
        Event::Plug(vmid) => plug(world, *vmid)?,
        Event::Unplug(vmid) => {
            if let Ok(mock) = world.mock(*vmid) {
                let vcpus = mock.vcpus();
                let last = vcpus.iter().map(|vcpu| vcpu.index).max().unwrap_or(0);
                if last > 0 {
                    mock.unplug_vcpu(last)?;
                }
            }
        }
        Event::Iothread(vmid) => {
            if let Ok(mock) = world.mock(*vmid) {
                let count = mock.iothread_tids().len();
                mock.plug_iothread(&format!("iothread-virtio{count}"))?;
            }
        }
        Event::Vhost(vmid) => {
            if let Ok(mock) = world.mock(*vmid) {
                mock.add_thread(&format!("vhost-{}", mock.pid()))?;
            }
        }
        Event::Cpu(cpu, online, busy) => {
            let count = u32::try_from(world.topology.all().len())?;
            world.set_online(cpu % count, *online, *busy)?;
        }
        Event::Smt(on) => done = smt(world, *on)?,
        Event::Taskset(vmid, vcpu, cpus) => taskset(world, *vmid, *vcpu, cpus)?,
        Event::Cpuset(vmid, part) => {
            let cpus = part.map(|(first, last)| eighths(world, first, last));
            let cpus = cpus.filter(|cpus| !cpus.is_disjoint(&world.online));
            for guest in world.guests.keys().copied().collect::<Vec<_>>() {
                if vmid.is_none_or(|vmid| vmid == guest) {
                    world.set_cpuset(guest, cpus.clone())?;
                }
            }
        }
        Event::Configs(there) => world.set_configs(*there)?,
        Event::Recycle(vmid) => {
            if world.vm(*vmid)?.mock.is_none() {
                let vm = world.vm_mut(*vmid)?;
                vm.name = format!("{}x", vm.name);
                world.write_config(*vmid)?;
            }
        }
        Event::Container(vmid, part) => {
            let cpus = part.map(|(first, last)| eighths(world, first, last));
            world.set_container(*vmid, cpus)?;
        }
        Event::Tick(seconds) => {
            for second in (2..=*seconds).step_by(2) {
                done.extend(round(world, second >= ENOUGH)?);
            }
        }
        Event::WatchRestarts => {
            if world.watch.is_some() {
                world.watch()?;
            }
        }
    }
    world.note_new()?;
    Ok(done)
}

/// `status`, as programs read it.
///
/// # Errors
/// As [`act`].
pub fn status(world: &mut World) -> Result<Done, Broken> {
    run(world, &[(Command::Status, words(&["status"]))])
}

/// Runs commands, all at once.
fn run(world: &mut World, commands: &[(Command, Vec<String>)]) -> Result<Done, Broken> {
    let root = world.root().to_string_lossy().into_owned();
    let line = |line: &[String]| {
        let mut all = words(&["--root", &root, "--format", "json"]);
        all.extend(line.iter().cloned());
        numapin_cli::run_words(all)
    };
    let before = world.look()?;
    let ran: Vec<(Command, Ran)> = match commands {
        [(command, words)] => vec![(command.clone(), line(words))],
        several => std::thread::scope(|scope| {
            let threads: Vec<_> = several
                .iter()
                .map(|(command, words)| (command, scope.spawn(|| line(words))))
                .collect();
            let join = |(command, thread): (&Command, std::thread::ScopedJoinHandle<'_, Ran>)| {
                let ran = thread.join().map_err(|_| "a command panicked")?;
                Ok::<_, Broken>((command.clone(), ran))
            };
            threads.into_iter().map(join).collect::<Result<_, _>>()
        })?,
    };
    judged(world, ran, before)
}

fn judged(world: &mut World, commands: Vec<(Command, Ran)>, before: Seen) -> Result<Done, Broken> {
    let mut done = Done {
        commands,
        before,
        after: world.look()?,
        breaches: Vec::new(),
    };
    done.breaches = changes::judge(world, &done);
    plans::remember(world, &done);
    Ok(done)
}

fn command(event: &Event) -> Result<(Command, Vec<String>), Broken> {
    Ok(match event {
        Event::Apply(vmid) => {
            let words = words(&["apply", &vmid.to_string()]);
            (Command::Apply(*vmid, false), words)
        }
        Event::Replan(vmid) => {
            let words = words(&["apply", &vmid.to_string(), "--replan"]);
            (Command::Apply(*vmid, true), words)
        }
        Event::Reset(vmid) => {
            let words = words(&["reset", &vmid.to_string()]);
            (Command::Reset(Some(*vmid)), words)
        }
        Event::ResetAll => (Command::Reset(None), words(&["reset", "--all"])),
        other => return Err(format!("{other:?} is no command").into()),
    })
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A start as Proxmox VE does it: the lock of the config is held until the last hook is done.
fn start(world: &mut World, vmid: u32, backup: bool, hooked: bool) -> Result<Vec<Done>, Broken> {
    let mut done = Vec::new();
    let vm = world.vm(vmid)?;
    if vm.mock.is_some() || (vm.spec.template && !backup) {
        return Ok(done);
    }
    world.vm_mut(vmid)?.backup = backup;
    world.write_config(vmid)?;
    let _lock = world.lock(vmid)?;
    if hooked {
        world.starting = Some(vmid);
        let before = hook(world, vmid, "pre-start")?;
        let stops = before.commands.iter().any(|(_, ran)| ran.code != 0);
        done.push(before);
        world.starting = None;
        if stops {
            world.vm_mut(vmid)?.backup = false;
            world.write_config(vmid)?;
            return Ok(done);
        }
    }
    world.start(vmid)?;
    if hooked {
        // Who comes first plans, and who sets what was planned may be either.
        if vmid % 2 == 1 {
            done.extend(round(world, false)?);
        }
        done.push(hook(world, vmid, "post-start")?);
    }
    Ok(done)
}

/// What the hookscript calls.
fn hook(world: &mut World, vmid: u32, phase: &'static str) -> Result<Done, Broken> {
    let words = words(&["hook", &vmid.to_string(), phase]);
    run(world, &[(Command::Hook(vmid, phase), words)])
}

/// Plugs the next vCPU. Whoever took the CPU that was kept for it stays there: that is told, and so it is from now on.
fn plug(world: &mut World, vmid: u32) -> Result<(), Broken> {
    let Ok(mock) = world.mock(vmid) else {
        return Ok(());
    };
    let vcpus = mock.vcpus();
    let there: Ids = vcpus.iter().map(|vcpu| vcpu.index).collect();
    let all = world.vm(vmid)?.spec.qemu(false).max_vcpus();
    let next = (0..all).find(|index| !there.contains(index));
    let (Some(next), false) = (next, world.vm(vmid)?.backup) else {
        return Ok(());
    };
    mock.plug_vcpu(next)?;
    let seen = world.look()?;
    let held = claims::claims(world, &seen);
    let others = claims::of_others(&held, vmid);
    if let Some(kept) = seen.entries.get(&vmid).and_then(|e| e.plan.vcpu(next)) {
        let twice = kept.cpus.intersection(&others);
        world.told.extend(twice.map(|cpu| (vmid, *cpu)));
    }
    Ok(())
}

/// Every thread of a core but its first goes offline, one after the other, while the service looks on.
fn smt(world: &mut World, on: bool) -> Result<Vec<Done>, Broken> {
    let mut done = Vec::new();
    let cores = world.topology.core.clone();
    for (cpu, siblings) in cores {
        if siblings.first() != Some(&cpu) {
            world.set_online(cpu, on, false)?;
            if cpu % 8 == 7 {
                done.extend(round(world, false)?);
            }
        }
    }
    Ok(done)
}

/// Two seconds pass for the service.
fn round(world: &mut World, enough: bool) -> Result<Option<Done>, Broken> {
    let Some(mut watch) = world.watch.take() else {
        return Ok(None);
    };
    world.time += Duration::from_secs(2);
    let before = world.look()?;
    let lines = watch.round(world.time);
    world.watch = Some(watch);
    let told: Vec<String> = lines.into_iter().map(|line| line.text).collect();
    world.said.extend(told.iter().cloned());
    let ran = Ran {
        code: 0,
        out: String::new(),
        told,
    };
    judged(world, vec![(Command::Watch(enough), ran)], before).map(Some)
}

fn taskset(world: &mut World, vmid: u32, vcpu: Option<u32>, cpus: &[u32]) -> Result<(), Broken> {
    let Ok(mock) = world.mock(vmid) else {
        return Ok(());
    };
    let vcpus = mock.vcpus();
    let tid = match vcpu {
        Some(nth) => vcpus[nth as usize % vcpus.len()].tid,
        None => mock.main_tid(),
    };
    let all: Vec<u32> = world.topology.all().into_iter().collect();
    let cpus = cpus.iter().map(|cpu| all[*cpu as usize % all.len()]);
    world.taskset(vmid, tid, &cpus.collect())
}

/// Some eighths of the host.
fn eighths(world: &World, first: u32, last: u32) -> Ids {
    let all: Vec<u32> = world.topology.all().into_iter().collect();
    let at = |eighth: u32| (all.len() * eighth as usize / 8).min(all.len());
    all[at(first)..at(last).max(at(first) + 1)]
        .iter()
        .copied()
        .collect()
}
