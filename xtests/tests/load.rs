//! Many guests on a large host, many processes at once, many random cases. Small here; docs/reliability.md tells how the large
//! ones are run by hand, and what they showed:
//!
//! ```text
//! NUMAPIN_LOAD=full cargo test --profile load -p numapin-xtests --test load -- --nocapture --test-threads 1
//! NUMAPIN_LOAD_CASES=1000000 NUMAPIN_LOAD_SEED=1 ... random_cases
//! ```
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use numapin_core::claims::live::Own;
use numapin_core::claims::node;
use numapin_core::guest::pve::{self, Beside, Pending};
use numapin_core::guest::{Guest, GuestName};
use numapin_core::host::Host;
use numapin_core::host::sysfs::{self, Want};
use numapin_core::id::Vmid;
use numapin_core::placement::plan;
use numapin_core::policy::Policy;
use numapin_core::root::Root;
use numapin_qmp_mock::{Guest as MockGuest, Mock, Script};
use numapin_sysfs_sim::{Host as Described, Numbering};
use numapin_xtests::check::{check_notes, check_plan};
use numapin_xtests::node::Node;
use numapin_xtests::random::Case;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_numapin-tested");

fn is_full() -> bool {
    std::env::var("NUMAPIN_LOAD").is_ok_and(|load| load == "full")
}

fn number(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(otherwise, |text| text.parse().unwrap())
}

/// 4,096 CPUs (2 packages of 8 host nodes of 8 L3s of 16 cores of 2 threads), or 256 of the same kind.
fn large_host() -> Described {
    let (nodes, l3s) = if is_full() { (8, 8) } else { (2, 2) };
    let mut host = Described::grid(2, nodes, l3s, 16, 2).numbered(Numbering::Blocked);
    host.quirks.lists_only = true;
    host.quirks.l3_only = true;
    host
}

/// Guest, policy and mock number `i`: of each 20 one is one-to-one, the others are of all kinds that share.
fn kinds(i: u32, vcpus: u32) -> (MockGuest, &'static str) {
    let vmid = 1000 + i;
    let guest = match i % 2 {
        0 => MockGuest::proxmox(vmid, 2, vcpus / 2).numa_per_socket(),
        _ => MockGuest::proxmox(vmid, 1, vcpus),
    };
    let policy = match i % 20 {
        0 => "one-to-one",
        1 => "one-to-one,smt=pack",
        2..8 => "numa",
        8..14 => "l3",
        _ => "shared",
    };
    (guest, policy)
}

/// Starts guests, and writes their configs and policies.
fn started(node: &Node, guests: Vec<(MockGuest, &str)>) -> Vec<Mock> {
    let mut conf = String::new();
    let mut mocks = Vec::new();
    for (guest, policy) in guests {
        let vmid = guest.vmid.unwrap();
        let MockGuest { sockets, cores, .. } = guest;
        let numa = u32::from(!guest.nodes.is_empty());
        mocks.push(node.start(guest, Script::healthy()).unwrap());
        let text = format!("cores: {cores}\nmemory: 1024\nnuma: {numa}\nsockets: {sockets}\n");
        let file = format!("etc/pve/qemu-server/{vmid}.conf");
        node.write(&file, text).unwrap();
        conf += &format!("{vmid}: {policy}\n");
    }
    node.write("etc/pve/numapin.conf", conf).unwrap();
    mocks
}

/// What the planner says of a guest now, checked; the list of CPUs of each vCPU.
fn planned(root: &Root, host: &Host, vmid: u32, policy: &str) -> BTreeMap<u64, String> {
    let (guest, policy) = guest(root, vmid, policy);
    let claims = node::read(root, &host.online(), Own::guest(Vmid(vmid)))
        .unwrap()
        .claims;
    let plan = plan(host, &guest, &claims, &policy).unwrap();
    let faults = check_plan(host, &guest, &claims, &policy, &plan);
    assert_eq!(faults, Vec::<String>::new(), "guest {vmid}, {policy}");
    let vcpus = plan.vcpus.iter();
    vcpus
        .map(|v| (u64::from(v.vcpu.0), v.cpus.to_string()))
        .collect()
}

fn guest(root: &Root, vmid: u32, policy: &str) -> (Guest, Policy) {
    let file = root.etc_pve().join(format!("qemu-server/{vmid}.conf"));
    let text = std::fs::read_to_string(&file).unwrap();
    let config = pve::parse(&file, &text, Pending::Leave).unwrap().config;
    let beside = Beside {
        vmid: Some(Vmid(vmid)),
        running: Some(Default::default()),
        ..Beside::default()
    };
    let guest = config.guest(GuestName(vmid.to_string()), &Default::default(), beside);
    (guest.unwrap(), policy.parse().unwrap())
}

/// Times in order, as "median 12 ms, at most 20 ms".
fn told(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
    format!(
        "median {} ms, at most {} ms",
        median.as_millis(),
        most.as_millis()
    )
}

#[test]
fn many_guests_on_a_large_host() {
    let (count, vcpus) = if is_full() { (500, 64) } else { (20, 8) };
    let node = Node::of(&large_host()).unwrap();
    let root = Root::captured(node.dir()).unwrap();
    let guests: Vec<_> = (0..count).map(|i| kinds(i, vcpus)).collect();
    let policies: Vec<_> = guests.iter().map(|(_, policy)| *policy).collect();
    let begin = Instant::now();
    let mocks = started(&node, guests);
    let first = node.masks().unwrap();
    let host = sysfs::read(&root, Want::PLAN).unwrap();
    eprintln!(
        "{count} guests x {vcpus} vcpus on {} cpus: started in {} s",
        host.cpus.len(),
        begin.elapsed().as_secs()
    );

    let mut times = Vec::new();
    for (i, policy) in (0..count).zip(&policies) {
        let vmid = 1000 + i;
        let expected = planned(&root, &host, vmid, policy);
        let begin = Instant::now();
        let ran = node.run(&["apply", &vmid.to_string(), "--format", "json"]);
        times.push(begin.elapsed());
        assert_eq!(
            (ran.code, &ran.told),
            (0, &Vec::new()),
            "{vmid}: {}",
            ran.out
        );
        let answer: Value = serde_json::from_str(&ran.out).unwrap();
        let vcpus = answer["plan"]["vcpus"].as_array().unwrap().iter();
        let set = vcpus.map(|v| {
            let cpus = v["cpus"].as_str().unwrap().to_owned();
            (v["vcpu"].as_u64().unwrap(), cpus)
        });
        assert_eq!(set.collect::<BTreeMap<_, _>>(), expected, "{vmid}");
        if (i + 1) % 100 == 0 {
            eprintln!(
                "applied {}: {}",
                i + 1,
                told(times.split_off(times.len() - 100))
            );
        }
    }
    if !times.is_empty() {
        eprintln!("applied: {}", told(times));
    }

    let begin = Instant::now();
    let status = node.run(&["status"]);
    eprintln!("status of all: {} ms", begin.elapsed().as_millis());
    assert_eq!(status.code, 0, "{}", status.out);
    let held = held_once(&node, &mocks);
    let alone = policies
        .iter()
        .filter(|p| p.starts_with("one-to-one"))
        .count();
    assert_eq!(held, alone * vcpus as usize);

    let begin = Instant::now();
    let reset = node.run(&["reset", "--all"]);
    eprintln!("reset of all: {} ms", begin.elapsed().as_millis());
    assert_eq!((reset.code, reset.told), (0, Vec::new()));
    assert_eq!(node.masks().unwrap(), first);
}

/// How many CPUs the vCPUs of these guests hold one-to-one; none is held twice.
fn held_once(node: &Node, mocks: &[Mock]) -> usize {
    let masks = node.masks().unwrap();
    let mut held = BTreeSet::new();
    for tid in mocks.iter().flat_map(Mock::vcpu_tids) {
        let mask = &masks[&tid].mask;
        if mask.len() == 1 {
            let cpu = *mask.iter().next().unwrap();
            assert!(held.insert(cpu), "cpu {cpu} is held twice");
        }
    }
    held.len()
}

#[test]
fn processes_at_once() {
    let (count, vcpus) = if is_full() { (64, 64) } else { (16, 16) };
    let node = Node::of(&large_host()).unwrap();
    // Together they need every CPU of the host, and may share none.
    let guests = (0..count).map(|i| {
        let guest = MockGuest::proxmox(100 + i, 1, vcpus);
        (guest, "one-to-one,overlap=deny,smt=pack,emulator=keep")
    });
    let mocks = started(&node, guests.collect());
    let begin = Instant::now();
    let mut left: Vec<u32> = (0..count).map(|i| 100 + i).collect();
    let mut rounds = Vec::new();
    while !left.is_empty() && rounds.len() < 20 {
        let children = left.iter().map(|vmid| {
            let mut command = node.command(PROGRAM, &["apply", &vmid.to_string()]);
            (*vmid, command.spawn().unwrap())
        });
        let children: Vec<_> = children.collect();
        let before = left.len();
        left.clear();
        for (vmid, child) in children {
            let output = child.wait_with_output().unwrap();
            let told = String::from_utf8(output.stderr).unwrap();
            match output.status.code() {
                Some(0) => assert_eq!(told, ""),
                // The lock was waited for in vain: nothing was touched, and who held it is told.
                Some(1) if told.contains("lock") => left.push(vmid),
                code => panic!("{vmid}: exit {code:?}: {told}"),
            }
        }
        held_once(&node, &mocks);
        rounds.push(before - left.len());
    }
    eprintln!(
        "{count} processes at once, {vcpus} vcpus each: done by rounds {rounds:?} in {} ms",
        begin.elapsed().as_millis()
    );
    assert_eq!(left, Vec::<u32>::new());
    assert_eq!(held_once(&node, &mocks), (count * vcpus) as usize);
    let status = node.run(&["status"]);
    assert_eq!(status.code, 0, "{}", status.out);
}

#[test]
fn random_cases() {
    let count = number(
        "NUMAPIN_LOAD_CASES",
        if is_full() { 1_000_000 } else { 3_000 },
    );
    let seed = number("NUMAPIN_LOAD_SEED", 10_000_000);
    let next = AtomicU64::new(0);
    let planned = AtomicU64::new(0);
    let begin = Instant::now();
    let work = || {
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= count {
                break;
            }
            if nth > 0 && nth.is_multiple_of(100_000) {
                eprintln!("{nth} cases in {} s", begin.elapsed().as_secs());
            }
            let case = Case::of(seed + nth).unwrap();
            planned.fetch_add(u64::from(is_planned(&case, seed + nth)), Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let planned = planned.into_inner();
    eprintln!(
        "{count} random cases, seeds {seed} to {}: {planned} planned and checked, {} refused with reasons, in {} s",
        seed + count - 1,
        count - planned,
        begin.elapsed().as_secs()
    );
    assert!(planned > count / 3, "only {planned} were planned");
}

/// Whether a case has a plan, which keeps to every rule.
fn is_planned(case: &Case, seed: u64) -> bool {
    let Case {
        host,
        guest,
        claims,
        policy,
    } = case;
    match plan(host, guest, claims, policy) {
        Ok(plan) => {
            let mut faults = check_plan(host, guest, claims, policy, &plan);
            if faults.is_empty() {
                faults = check_notes(host, guest, claims, policy, &plan);
            }
            assert!(
                faults.is_empty(),
                "seed {seed}: {faults:?}\n{case}\n{plan:?}"
            );
            true
        }
        Err(violations) => {
            assert!(!violations.list.is_empty(), "seed {seed}:\n{case}");
            false
        }
    }
}
