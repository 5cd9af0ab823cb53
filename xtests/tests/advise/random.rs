//! Random hosts, guests and claims.

use std::fmt::Write as _;

use numapin_core::guest::{Device, Running};
use numapin_core::host::Host;
use numapin_core::id::NodeId;
use numapin_core::policy::Mode;
use numapin_xtests::random::{Case, Random};

use super::Asked;
use super::judge::holds;

const SEEDS: u64 = 500;

fn asked(seed: u64) -> Asked {
    let case = Case::of(3_000_000 + seed).unwrap();
    let (host, mut policy) = (case.host, case.policy);
    let random = &mut Random::new(seed);
    match random.below(20) {
        0 => policy.mode = Mode::Shared,
        1 => policy.mode = Mode::None,
        _ => {}
    }
    let devices = (0..random.one(&[0, 0, 0, 1, 2])).map(|n| Device {
        address: format!("0000:0{n}:00.0"),
        node: random.chance(85).then(|| node(random, &host)),
    });
    let devices: Vec<Device> = devices.collect();
    let memory_mib = host.nodes.iter().map(|node| (node.id, 512)).collect();
    Asked {
        text: config(random, &host, devices.len()),
        running: random.chance(10).then_some(Running { memory_mib }),
        devices,
        claims: case.claims,
        policy,
        host,
    }
}

fn node(random: &mut Random, host: &Host) -> NodeId {
    host.nodes[random.index(host.nodes.len())].id
}

/// A config of any kind, mostly one that could be somebody's.
fn config(random: &mut Random, host: &Host, devices: usize) -> String {
    let mut text = String::new();
    let sockets = random.one(&[1, 1, 1, 2, 2, 3, 4, 6]);
    let cores = random.one(&[1, 1, 2, 2, 3, 4, 6]);
    let memory: u64 = random.one(&[512, 1024, 4096, 4097, 6144, 20_480]);
    let mut say = |key: &str, value: &dyn std::fmt::Display| {
        writeln!(text, "{key}: {value}").unwrap();
    };
    say("sockets", &sockets);
    say("cores", &cores);
    say("memory", &memory);
    let numa = random.one(&["0", "1", "1", "1", ""]);
    if !numa.is_empty() {
        say("numa", &numa);
    }
    let total = sockets * cores;
    if random.chance(45) {
        let nodes = random.one(&[1, 1, 2, 2, 3, 4]).min(total);
        let wrong = random.chance(15);
        for n in 0..nodes {
            let (first, last) = (n * total / nodes, (n + 1) * total / nodes - 1);
            let mut line = format!("cpus={first}-{last}");
            let size = if wrong {
                100
            } else {
                memory / u64::from(nodes)
            };
            let left = if n == 0 && !wrong {
                memory % u64::from(nodes)
            } else {
                0
            };
            if !random.chance(4) {
                write!(line, ",memory={}", size + left).unwrap();
            }
            if random.chance(50) {
                let several = if random.chance(5) { ";0" } else { "" };
                write!(line, ",hostnodes={}{several}", node(random, host)).unwrap();
                if !random.chance(5) {
                    let policy = random.one(&["bind", "preferred", "interleave"]);
                    write!(line, ",policy={policy}").unwrap();
                }
            }
            // Now and then a gap, or one line too few.
            if !random.chance(3) {
                say(
                    &format!("numa{}", n + u32::from(wrong && random.chance(20))),
                    &line,
                );
            }
        }
    }
    if random.chance(5) {
        say("numa7", &"cpus=none");
    }
    if random.chance(20) {
        say("hugepages", &random.one(&["any", "2", "1024"]));
    }
    if random.chance(20) {
        say(
            "hotplug",
            &random.one(&["cpu", "memory,disk", "cpu,memory", "1"]),
        );
    }
    if random.chance(15) {
        say("vcpus", &(1 + random.below(total)));
    }
    if random.chance(25) {
        let all = host.online().union(&host.offline);
        let cpus = all.iter().filter(|_| random.chance(60));
        let mut cpus: Vec<String> = cpus.map(|cpu| cpu.to_string()).collect();
        if random.chance(30) || cpus.is_empty() {
            cpus.push("4000".to_owned());
        }
        say("affinity", &cpus.join(","));
    }
    for n in 0..devices {
        say(&format!("hostpci{n}"), &format!("0000:0{n}:00.0"));
    }
    if random.chance(5) {
        say("args", &"-smp 4 -device x");
    }
    if random.chance(5) {
        say("balloon", &256);
    }
    if random.chance(10) {
        text.push_str("\n[PENDING]\n");
        let pending = [
            "cores: 2\n",
            "numa: 1\n",
            "delete: numa0,affinity\n",
            "affinity: 0\n",
        ];
        text.push_str(random.one(&pending));
    }
    if random.chance(10) {
        text.push_str("\n[before]\ncores: 9\nnuma: 1\nnuma0: cpus=0-8,memory=1\n");
    }
    text
}

#[test]
fn advice_is_verified_costs_nothing_and_leads_to_no_more() {
    let (mut given, mut refused, mut right) = (0, 0, 0);
    let mut broken = Vec::new();
    for seed in 0..SEEDS {
        let asked = asked(seed);
        let Some(advice) = asked.advice(&asked.text) else {
            continue;
        };
        let told = || format!("seed {seed}\n{asked}\n{:?}", asked.host);
        match &advice.better {
            Some(better) => {
                given += 1;
                refused += u32::from(matches!(advice.before, Some(Err(_))));
                if let Err(why) = holds(&asked, &advice, better) {
                    broken.push(format!("{why}\n{better:#?}\n{}", told()));
                }
            }
            None => right += u32::from(advice.is_right()),
        }
    }
    let first = broken.first().map_or("", String::as_str);
    assert_eq!(broken.len(), 0, "{first}");
    // Every kind of answer must have been looked at.
    assert!(
        given > 100 && refused > 13 && right > 33,
        "{given} {refused} {right}"
    );
}

#[test]
fn the_same_question_has_the_same_answer() {
    let mut asked_for = 0;
    for seed in 0..100 {
        let asked = asked(seed);
        let answer = || {
            asked
                .advice(&asked.text)
                .map(|advice| format!("{advice:?}"))
        };
        let first = answer();
        assert_eq!(answer(), first, "seed {seed}");
        asked_for += u32::from(first.is_some());
    }
    assert!(asked_for > 80, "{asked_for}");
}
