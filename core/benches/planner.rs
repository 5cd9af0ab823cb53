//! What planning costs, and how it grows: `cargo bench -p numapin-core`.
//!
//! Wall time of one thread, median of several runs; hosts are made as values, so that nothing but `plan` is measured.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use numapin_core::claims::Claims;
use numapin_core::guest::{Guest, GuestName, GuestParts, VirtualNode};
use numapin_core::host::{Cpu, Host, Node};
use numapin_core::id::{CoreId, CpuId, L3Id, NodeId, PackageId, VcpuId};
use numapin_core::idset::{CpuSet, VcpuSet};
use numapin_core::placement::{Plan, plan};
use numapin_core::policy::{Mode, Policy};

const RUNS: usize = 7;

#[expect(clippy::print_stdout, reason = "a benchmark tells its figures")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("the planner's goals");
    println!("     median  optimal  case");
    for (goal, nodes, cpus, guest) in [
        ("20 ms", 16, 64, free_nodes(8, 4)?),
        ("1 s", 64, 64, free_nodes(8, 4)?),
        ("20 ms", 1, 8192, free_nodes(1, 64)?),
        ("20 ms", 64, 128, one_node(32)?),
    ] {
        let host = host(nodes, cpus);
        for mode in [Mode::Numa, Mode::L3, Mode::OneToOne] {
            let virtual_nodes = guest.virtual_nodes.len();
            let vcpus = guest.vcpus().len();
            show(
                &format!(
                    "{mode}: {vcpus} vcpus in {virtual_nodes} virtual node(s) on {nodes} host nodes x {cpus} cpus (goal {goal})"
                ),
                &host,
                &guest,
                &Claims::default(),
                mode,
            );
        }
    }
    for (what, distances_by_chance) in [
        (
            "uneven hosts: claims by chance, distances of two packages",
            false,
        ),
        ("the worst hosts: claims and all distances by chance", true),
    ] {
        println!("{what}; 8 virtual nodes of 1 to 8 vcpus");
        for (goal, nodes) in [("20 ms", 16), ("1 s", 64)] {
            for seed in [1, 2, 3] {
                let (host, claims) = uneven(nodes, 64, seed, distances_by_chance);
                for mode in [Mode::Numa, Mode::L3, Mode::OneToOne] {
                    let name =
                        format!("{mode}: {nodes} host nodes x 64 cpus, seed {seed} (goal {goal})");
                    show(&name, &host, &uneven_guest()?, &claims, mode);
                }
            }
        }
    }
    println!("growth with cpus: 8 vcpus in 2 virtual nodes, 4 host nodes, one-to-one");
    for cpus in [4, 16, 64, 256, 1024, 2048] {
        show(
            &format!("{} cpus", cpus * 4),
            &host(4, cpus),
            &free_nodes(2, 4)?,
            &Claims::default(),
            Mode::OneToOne,
        );
    }
    println!("growth with host nodes: 8 vcpus in 4 virtual nodes, 64 cpus a host node, one-to-one");
    for nodes in [4, 8, 16, 32, 64] {
        show(
            &format!("{nodes} host nodes"),
            &host(nodes, 64),
            &free_nodes(4, 2)?,
            &Claims::default(),
            Mode::OneToOne,
        );
    }
    println!("growth with virtual nodes: 4 vcpus each, 16 host nodes x 64 cpus, one-to-one");
    for virtual_nodes in 1..=8 {
        show(
            &format!("{virtual_nodes} virtual nodes"),
            &host(16, 64),
            &free_nodes(virtual_nodes, 4)?,
            &Claims::default(),
            Mode::OneToOne,
        );
    }
    println!(
        "growth with other guests: each holds 4 cpus one-to-one; 8 vcpus in 2 virtual nodes, 64 host nodes x 64 cpus"
    );
    for guests in [0, 10, 100, 500] {
        show(
            &format!("{guests} guests"),
            &host(64, 64),
            &free_nodes(2, 4)?,
            &claims(guests),
            Mode::OneToOne,
        );
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a benchmark tells its figures")]
fn show(name: &str, host: &Host, guest: &Guest, claims: &Claims, mode: Mode) {
    let policy = Policy {
        mode,
        ..Policy::default()
    };
    let mut times = Vec::new();
    let mut last: Option<Plan> = None;
    for _ in 0..RUNS {
        let start = Instant::now();
        last = plan(host, guest, claims, &policy).ok();
        times.push(start.elapsed());
    }
    times.sort();
    let optimal = last.map_or("refused", |plan| if plan.optimal { "yes" } else { "no" });
    println!("  {:>6.2} ms  {optimal:<8} {name}", millis(times[RUNS / 2]));
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn free_nodes(virtual_nodes: u32, vcpus: u32) -> Result<Guest, Box<dyn Error>> {
    Ok(Guest::new(
        GuestParts::new("bench", virtual_nodes, vcpus).with_numa(),
    )?)
}

fn one_node(vcpus: u32) -> Result<Guest, Box<dyn Error>> {
    Ok(Guest::new(GuestParts::new("bench", 1, vcpus))?)
}

/// Two packages; L3s of 16 CPUs; SMT 2, siblings side by side; near nodes 12 apart, far ones 32.
fn host(nodes: u32, cpus_per_node: u32) -> Host {
    let package = |node: u32| if node < nodes.div_ceil(2) { 0 } else { 1 };
    let cpu = |id: u32| Cpu {
        id: CpuId(id),
        node: Some(NodeId(id / cpus_per_node)),
        package: Some(PackageId(package(id / cpus_per_node))),
        die: None,
        core: CoreId(id / 2 * 2),
        l3: Some(L3Id(id / 16 * 16)),
        kind: None,
    };
    let node = |id: u32| {
        let mut cpus = CpuSet::new();
        cpus.insert_range(
            CpuId(id * cpus_per_node),
            CpuId((id + 1) * cpus_per_node - 1),
        );
        let distance = |to: u32| match (id == to, package(id) == package(to)) {
            (true, _) => 10,
            (_, true) => 12,
            _ => 32,
        };
        let distances: BTreeMap<_, _> = (0..nodes).map(|to| (NodeId(to), distance(to))).collect();
        Node {
            id: NodeId(id),
            cpus,
            memory: None,
            distances,
        }
    };
    Host {
        cpus: (0..nodes * cpus_per_node).map(cpu).collect(),
        nodes: (0..nodes).map(node).collect(),
        ..Host::default()
    }
}

/// Eight virtual nodes of 1 to 8 vCPUs.
fn uneven_guest() -> Result<Guest, Box<dyn Error>> {
    let mut parts = GuestParts::new("bench", 1, 36);
    let mut first = 0;
    parts.virtual_nodes.clear();
    for id in 0..8 {
        let mut vcpus = VcpuSet::new();
        vcpus.insert_range(VcpuId(first), VcpuId(first + id));
        first += id + 1;
        parts.virtual_nodes.push(VirtualNode::new(id, vcpus));
    }
    (parts.numa, parts.numa_explicit) = (true, true);
    Ok(Guest::new(parts)?)
}

/// A fifth to all of each host node's CPUs held by others and, if asked for, distances from 11 to 40, by a fixed row of numbers.
fn uneven(nodes: u32, cpus_per_node: u32, seed: u64, distances_by_chance: bool) -> (Host, Claims) {
    let mut state = seed;
    // Knuth's linear congruential generator: the same numbers everywhere.
    let mut next = move |below: u32| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((state >> 33) % u64::from(below)).unwrap_or(0)
    };
    let mut host = host(nodes, cpus_per_node);
    let mut claims = Claims::default();
    for node in &mut host.nodes {
        let others = node.distances.iter_mut().filter(|_| distances_by_chance);
        for (to, distance) in others {
            *distance = if *to == node.id { 10 } else { 11 + next(30) };
        }
        let percent = 20 + next(80);
        for cpu in node.cpus.iter() {
            if next(100) < percent {
                claims
                    .one_to_one
                    .insert(cpu, vec![GuestName("other".to_owned())]);
            }
        }
    }
    (host, claims)
}

/// Guests spread over the host, each on four CPUs of its own.
fn claims(guests: u32) -> Claims {
    let mut claims = Claims::default();
    for guest in 0..guests {
        for cpu in 0..4 {
            let cpu = CpuId((guest * 8 + cpu * 2) % 4096);
            claims
                .one_to_one
                .entry(cpu)
                .or_default()
                .push(GuestName(guest.to_string()));
        }
    }
    claims
}
