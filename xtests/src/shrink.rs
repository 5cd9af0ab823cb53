//! The smallest case that still goes wrong, and what it looks like.

use std::fmt;

use numapin_core::guest::GuestParts;
use numapin_core::host::Host;
use numapin_core::id::CpuId;
use numapin_core::policy::{Isolated, Kind, Overlap};

use crate::random::Case;

/// Takes away from a case what can go without it going right.
#[must_use]
pub fn smallest(mut case: Case, wrong: impl Fn(&Case) -> bool) -> Case {
    loop {
        let Some(smaller) = smaller(&case).into_iter().find(|c| wrong(c)) else {
            return case;
        };
        case = smaller;
    }
}

/// Cases with one thing less each.
fn smaller(case: &Case) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut with = |change: &dyn Fn(&mut Case)| {
        let mut changed = case.clone();
        change(&mut changed);
        cases.push(changed);
    };
    for cpu in &case.host.cpus {
        with(&|c| without_cpu(&mut c.host, cpu.id));
    }
    for cpu in case.claims.one_to_one.keys() {
        with(&|c| drop(c.claims.one_to_one.remove(cpu)));
    }
    for i in 0..case.claims.set_pinned.len() {
        with(&|c| drop(c.claims.set_pinned.remove(i)));
    }
    for node in case.claims.promised_kib.keys() {
        with(&|c| {
            c.claims.promised_kib.remove(node);
        });
    }
    for (i, node) in case.host.nodes.iter().enumerate() {
        if node.cpus.is_empty() && case.host.nodes.len() > 1 {
            with(&|c| drop(c.host.nodes.remove(i)));
        }
        if node.memory.is_some() {
            with(&|c| c.host.nodes[i].memory = None);
        }
        if !node.distances.is_empty() {
            with(&|c| c.host.nodes[i].distances.clear());
        }
    }
    let host = &case.host;
    for cpu in host.offline.iter().collect::<Vec<_>>() {
        with(&|c| {
            c.host.offline.remove(cpu);
        });
    }
    for (set, get) in [
        (
            &host.isolated,
            (|h| &mut h.isolated) as fn(&mut Host) -> &mut _,
        ),
        (&host.reserved, |h| &mut h.reserved),
    ] {
        for cpu in set.iter() {
            with(&|c| {
                get(&mut c.host).remove(cpu);
            });
        }
    }
    if host.allowed.is_some() {
        with(&|c| c.host.allowed = None);
    }
    if host.cpus.iter().any(|cpu| cpu.kind.is_some()) {
        with(&|c| c.host.cpus.iter_mut().for_each(|cpu| cpu.kind = None));
    }
    if host.cpus.iter().any(|cpu| cpu.l3.is_some()) {
        with(&|c| c.host.cpus.iter_mut().for_each(|cpu| cpu.l3 = None));
    }
    for (default, change) in [
        (
            case.policy.isolated == Isolated::Avoid,
            (|c| c.policy.isolated = Isolated::Avoid) as fn(&mut Case),
        ),
        (case.policy.kind == Kind::Any, |c| c.policy.kind = Kind::Any),
        (case.policy.overlap == Overlap::Avoid, |c| {
            c.policy.overlap = Overlap::Avoid;
        }),
        (case.policy.emulator.is_none(), |c| c.policy.emulator = None),
        (case.policy.iothreads.is_none(), |c| {
            c.policy.iothreads = None;
        }),
    ] {
        if !default {
            with(&change);
        }
    }
    let mut with_guest = |change: &dyn Fn(&mut GuestParts)| {
        if let Ok(guest) = case.guest.changed(change)
            && guest != case.guest
        {
            with(&|c| c.guest = guest.clone());
        }
    };
    with_guest(&|g| g.affinity = None);
    with_guest(&|g| g.hugepages = None);
    with_guest(&|g| g.running = None);
    with_guest(&|g| g.memory_mib = None);
    with_guest(&|g| {
        g.plugged = g
            .virtual_nodes
            .iter()
            .flat_map(|n| n.vcpus.iter())
            .collect();
    });
    for i in 0..case.guest.devices.len() {
        with_guest(&|g| drop(g.devices.remove(i)));
    }
    // The last vCPU goes: only then the others are still 0 to one less.
    if let Some(last) = case.guest.vcpus().last() {
        with_guest(&|g| {
            for node in &mut g.virtual_nodes {
                node.vcpus.remove(last);
            }
            g.virtual_nodes.retain(|node| !node.vcpus.is_empty());
            g.plugged.remove(last);
            (g.sockets, g.cores) = (1, last.0);
        });
    }
    for i in 0..case.guest.virtual_nodes.len() {
        with_guest(&|g| g.virtual_nodes[i].host_node = None);
        with_guest(&|g| g.virtual_nodes[i].memory_mib = None);
    }
    cases
}

/// A host without one of its online CPUs: the groups it named get the name of their lowest CPU.
fn without_cpu(host: &mut Host, id: CpuId) {
    host.cpus.retain(|cpu| cpu.id != id);
    let before = host.cpus.clone();
    for cpu in &mut host.cpus {
        let core = before.iter().find(|other| other.core == cpu.core);
        cpu.core.0 = core.map_or(cpu.id.0, |other| other.id.0);
        let l3 = before.iter().find(|other| other.l3 == cpu.l3);
        if let (Some(l3), Some(other)) = (&mut cpu.l3, l3) {
            l3.0 = other.id.0;
        }
    }
    for node in &mut host.nodes {
        node.cpus.remove(id);
    }
    host.isolated.remove(id);
    host.reserved.remove(id);
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            guest,
            claims,
            policy,
        } = self;
        writeln!(
            f,
            "policy mode={} smt={} overlap={} isolated={} kind={} emulator={:?} iothreads={:?}",
            policy.mode,
            policy.smt,
            policy.overlap,
            policy.isolated,
            policy.kind,
            policy.emulator,
            policy.iothreads
        )?;
        for node in &host.nodes {
            writeln!(
                f,
                "host node {} distances {:?} memory {:?}",
                node.id, node.distances, node.memory
            )?;
            for cpu in host.cpus.iter().filter(|cpu| cpu.node == Some(node.id)) {
                cpu_line(f, self, cpu)?;
            }
        }
        for cpu in host.cpus.iter().filter(|cpu| cpu.node.is_none()) {
            write!(f, "no host node:")?;
            cpu_line(f, self, cpu)?;
        }
        write!(f, "offline {} zfs {}", host.offline, host.zfs)?;
        if let Some(allowed) = &host.allowed {
            write!(f, " allowed {allowed}")?;
        }
        writeln!(f)?;
        for claim in &claims.set_pinned {
            writeln!(
                f,
                "set-pinned: {} vcpu(s) of guest {} on {}",
                claim.vcpus, claim.guest, claim.mask
            )?;
        }
        if !claims.promised_kib.is_empty() {
            writeln!(f, "promised KiB {:?}", claims.promised_kib)?;
        }
        write!(
            f,
            "guest sockets {} cores {} numa {} explicit {} plugged {} memory {:?} hugepages {:?} running {:?}",
            guest.sockets,
            guest.cores,
            guest.numa,
            guest.numa_explicit,
            guest.plugged,
            guest.memory_mib,
            guest.hugepages,
            guest.running
        )?;
        if let Some(affinity) = &guest.affinity {
            write!(f, " affinity {affinity}")?;
        }
        writeln!(f)?;
        for device in &guest.devices {
            writeln!(f, "  device on host node {:?}", device.node)?;
        }
        for node in &guest.virtual_nodes {
            writeln!(
                f,
                "  virtual node {}: vcpus {} hostnodes {:?} memory {:?}",
                node.id, node.vcpus, node.host_node, node.memory_mib
            )?;
        }
        Ok(())
    }
}

fn cpu_line(f: &mut fmt::Formatter<'_>, case: &Case, cpu: &numapin_core::host::Cpu) -> fmt::Result {
    write!(f, "  cpu {} core {}", cpu.id, cpu.core)?;
    for (name, value) in [
        ("l3", cpu.l3.map(|l| l.0.to_string())),
        ("package", cpu.package.map(|p| p.0.to_string())),
        ("kind", cpu.kind.map(|k| k.to_string())),
    ] {
        if let Some(value) = value {
            write!(f, " {name} {value}")?;
        }
    }
    for (word, set) in [
        ("isolated", &case.host.isolated),
        ("reserved", &case.host.reserved),
    ] {
        if set.contains(cpu.id) {
            write!(f, " {word}")?;
        }
    }
    let claimed = case.claims.one_to_one.contains_key(&cpu.id);
    writeln!(f, "{}", if claimed { " claimed" } else { "" })
}
