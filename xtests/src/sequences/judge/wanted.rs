//! The mask that each thread of a guest should have now.

use std::collections::BTreeMap;

use super::claims::{Claims, of_others};
use crate::flow::Ids;
use crate::sequences::seen::{Entry, Seen};
use crate::sequences::world::World;

/// What a thread is, as the mock knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A vCPU.
    Vcpu(u32),
    /// An iothread.
    Iothread,
    /// A vhost worker.
    Vhost,
    /// QEMU's own.
    Emulator,
}

/// What is wanted of a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// This mask, as much of it as is online and allowed.
    Mask(Ids),
    /// The CPU of the plan is gone: one of these stands in, or all that are left of them.
    StandIn(Ids),
    /// It can't have what was planned, and nothing can stand in.
    Nothing,
    /// It is left alone.
    Kept,
    /// It can't be told: it gives way to what will stand in.
    Unknown,
}

/// What each thread of a guest is.
#[must_use]
pub fn kinds(world: &World, seen: &Seen, vmid: u32) -> BTreeMap<u32, What> {
    let mut kinds = BTreeMap::new();
    let Some(mock) = world.guests.get(&vmid).and_then(|vm| vm.mock.as_ref()) else {
        return kinds;
    };
    let worker = format!("vhost-{}", mock.pid());
    for (tid, seen) in &seen.threads {
        if seen.comm == worker {
            kinds.insert(*tid, What::Vhost);
        } else if seen.pid == mock.pid() {
            kinds.insert(*tid, What::Emulator);
        }
    }
    for (_, tid) in mock.iothread_tids() {
        kinds.insert(tid, What::Iothread);
    }
    for vcpu in mock.vcpus() {
        kinds.insert(vcpu.tid, What::Vcpu(vcpu.index));
    }
    kinds
}

/// What is wanted of each thread of a guest whose masks are set, once the online CPUs have settled.
#[must_use]
pub fn wanted(
    world: &World,
    seen: &Seen,
    vmid: u32,
    entry: &Entry,
    claims: &Claims,
) -> BTreeMap<u32, Wish> {
    let others = match entry.plan.overlap.as_str() {
        "allow" => Ids::new(),
        _ => of_others(claims, vmid),
    };
    let usable = world.allowed(vmid);
    let kinds = kinds(world, seen, vmid);
    let mut wishes = BTreeMap::new();
    let mut stand_ins = Ids::new();
    let mut unknown = false;
    for (tid, what) in &kinds {
        let What::Vcpu(vcpu) = what else { continue };
        let wish = vcpu_wish(world, entry, *vcpu, &usable, &others);
        if let Wish::StandIn(pool) = &wish {
            let mask = seen.mask(*tid);
            unknown |= mask.len() != 1 || !mask.is_subset(pool) || !mask.is_disjoint(&others);
            stand_ins.extend(mask);
        }
        wishes.insert(*tid, wish);
    }
    for (tid, what) in kinds {
        let plan = &entry.plan;
        let (mask, spare) = match what {
            What::Vcpu(_) => continue,
            What::Iothread => (&plan.threads.iothreads, plan.spare.iothreads),
            What::Vhost => (&plan.threads.vhost, plan.spare.vhost),
            What::Emulator => (&plan.threads.emulator, plan.spare.emulator),
        };
        let wish = match mask {
            None => Wish::Kept,
            Some(mask) if !spare => Wish::Mask(mask.0.clone()),
            // What stands in is not known as long as it is not set.
            Some(_) if unknown => Wish::Unknown,
            Some(mask) => {
                let away = &(&others - &reserved(world)) | &stand_ins;
                let left = &mask.0 - &away;
                let none = left.is_disjoint(&usable);
                Wish::Mask(if none { mask.0.clone() } else { left })
            }
        };
        wishes.insert(tid, wish);
    }
    wishes
}

/// What of a mask the kernel leaves.
#[must_use]
pub fn left(world: &World, vmid: u32, mask: &Ids) -> Ids {
    mask & &world.allowed(vmid)
}

/// The CPUs that numapin.conf reserves.
#[must_use]
pub fn reserved(world: &World) -> Ids {
    line(world, "reserved")
}

/// The CPUs that numapin.conf calls isolated.
#[must_use]
pub fn isolated(world: &World) -> Ids {
    line(world, "isolated")
}

fn line(world: &World, key: &str) -> Ids {
    // Where /etc/pve is gone, nothing is reserved that can be known.
    let text = match world.configs {
        true => world.conf().unwrap_or_default(),
        false => String::new(),
    };
    let mut values = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    });
    let value = values.next().unwrap_or_default();
    crate::flow::masks::list(&value).unwrap_or_default()
}

fn vcpu_wish(world: &World, entry: &Entry, vcpu: u32, usable: &Ids, others: &Ids) -> Wish {
    let plan = &entry.plan;
    let Some(placed) = plan.vcpu(vcpu) else {
        return Wish::Kept;
    };
    let Some(node) = plan.node(placed.virtual_node) else {
        return Wish::Kept;
    };
    if plan.mode == "one-to-one" {
        if !placed.cpus.is_disjoint(usable) {
            return Wish::Mask(placed.cpus.clone());
        }
        let hosts = world.topology.nodes_of(&placed.cpus);
        let pool = &(&world.topology.of_nodes(&hosts) & &node.node) & usable;
        return match pool.is_empty() {
            true => Wish::Nothing,
            false => Wish::StandIn(pool),
        };
    }
    let lost = node.area.is_disjoint(usable);
    let area = if lost { &node.node } else { &node.area };
    if area.is_disjoint(usable) {
        return Wish::Nothing;
    }
    let unclaimed = area - others;
    let free = unclaimed.intersection(usable).count();
    let enough = free >= node.vcpus.len() || (plan.overlap == "deny" && free > 0);
    Wish::Mask(if enough { unclaimed } else { area.clone() })
}
