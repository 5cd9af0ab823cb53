//! What must hold of advice whatever the host and the guest: it is verified, costs nothing, and once taken leads to no more.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::mem::discriminant;
use std::path::Path;

use numapin_core::advise::{Advice, Better, Question, advise};
use numapin_core::guest::flags::Overrides;
use numapin_core::guest::pve::problem::Oddity;
use numapin_core::guest::pve::{self, Beside, GuestConfig, Pending};
use numapin_core::guest::{Device, Guest, GuestName, Hugepages, Running};
use numapin_core::host::Host;
use numapin_core::id::{NodeId, Vmid};
use numapin_core::placement::{Plan, plan};
use numapin_core::policy::{Mode, Policy};
use numapin_xtests::random::{Case, Random};

const SEEDS: u64 = 500;

/// A guest's config on a host beside others.
struct Asked {
    case: Case,
    text: String,
    devices: Vec<Device>,
    running: Option<Running>,
}

impl Asked {
    fn of(seed: u64) -> Self {
        let mut case = Case::of(3_000_000 + seed).unwrap();
        let random = &mut Random::new(seed);
        match random.below(20) {
            0 => case.policy.mode = Mode::Shared,
            1 => case.policy.mode = Mode::None,
            _ => {}
        }
        let devices = (0..random.one(&[0, 0, 0, 1, 2])).map(|n| Device {
            address: format!("0000:0{n}:00.0"),
            node: random.chance(85).then(|| node(random, &case.host)),
        });
        let devices: Vec<Device> = devices.collect();
        let memory_mib = case.host.nodes.iter().map(|node| (node.id, 512)).collect();
        Self {
            text: config(random, &case.host, devices.len()),
            running: random.chance(10).then_some(Running { memory_mib }),
            devices,
            case,
        }
    }

    fn advice(&self, text: &str) -> Option<Advice> {
        let question = Question {
            host: &self.case.host,
            claims: &self.case.claims,
            policy: &self.case.policy,
            file: Path::new("100.conf"),
            text,
            name: &GuestName("100".to_owned()),
            vmid: Some(Vmid(100)),
            devices: &self.devices,
            running: self.running.as_ref(),
        };
        advise(&question).ok()
    }

    fn policy(&self) -> Policy {
        let mut policy = self.case.policy.clone();
        if policy.mode == Mode::None {
            policy.mode = Mode::Numa;
        }
        policy
    }

    fn planned(&self, config: &GuestConfig) -> Option<(Guest, Plan)> {
        let beside = Beside {
            vmid: Some(Vmid(100)),
            devices: self.devices.clone(),
            running: None,
        };
        let name = GuestName("100".to_owned());
        let guest = config.guest(name, &Overrides::default(), beside).ok()?;
        let plan = plan(&self.case.host, &guest, &self.case.claims, &self.policy()).ok()?;
        Some((guest, plan))
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
        let asked = Asked::of(seed);
        let Some(advice) = asked.advice(&asked.text) else {
            continue;
        };
        let told = || {
            format!(
                "seed {seed}\n{}{:?}\n{}",
                asked.text, asked.devices, asked.case
            )
        };
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

/// Whether advice keeps what it promises; else what it breaks.
fn holds(asked: &Asked, advice: &Advice, better: &Better) -> Result<(), String> {
    let ensure = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    let parse = |text: &str| {
        pve::parse(Path::new("100.conf"), text, Pending::Merge).map_err(|e| e.to_string())
    };
    let (was, is) = (parse(&asked.text), parse(&better.text)?);
    let config = &is.config;
    if let Ok(was) = &was {
        let vcpus = |config: &GuestConfig| config.sockets() * config.cores();
        ensure(
            vcpus(&was.config) == vcpus(config),
            "the number of vcpus changed",
        )?;
        ensure(
            was.config.memory_mib() == config.memory_mib(),
            "the memory changed",
        )?;
        let no_start = |parsed: &pve::Parsed| {
            let odd = parsed
                .warnings
                .iter()
                .filter(|w| matches!(w.oddity, Oddity::NoStart(_)));
            odd.count()
        };
        ensure(no_start(&is) <= no_start(was), "it starts less")?;
        let typed = parse(&typed(&asked.text, better))?;
        ensure(
            typed.config_like(config),
            "qm set gives another config than was verified",
        )?;
    }
    let (guest, again) = asked
        .planned(config)
        .ok_or("the advised config is not planned")?;
    if asked.running.is_none() {
        ensure(
            again == better.plan,
            "the advised config is planned otherwise",
        )?;
        if let Some(Ok(before)) = &advice.before
            && before.vcpus.len() == again.vcpus.len()
        {
            ensure(again.cost <= before.cost, "it costs more")?;
        }
        for ended in &better.ends {
            let same = |note| discriminant(note) == discriminant(ended);
            ensure(
                !again.notes.iter().any(same),
                &format!("a note did not end: {ended}"),
            )?;
        }
    }
    if guest.numa_explicit {
        let sizes = guest.virtual_nodes.iter().map(|node| node.memory_mib);
        let sizes: Vec<u64> = sizes.collect::<Option<_>>().ok_or("a line has no memory")?;
        ensure(
            sizes.iter().sum::<u64>() == config.memory_mib(),
            "memory does not sum up",
        )?;
        let page = match guest.hugepages {
            None => 1,
            Some(Hugepages::Gib1) => 1024,
            Some(_) => 2,
        };
        let touched = better.settings.changes("numa0");
        ensure(
            !touched || sizes.iter().all(|mib| mib % page == 0),
            "memory is no multiple of a page",
        )?;
    }
    for node in guest.named_host_nodes().iter() {
        let there = asked.case.host.node(node);
        ensure(there.is_some(), "it names a host node that does not exist")?;
    }
    let after = asked
        .advice(&better.text)
        .ok_or("the advised config is not read")?;
    match after.better {
        None => Ok(()),
        Some(more) => Err(format!("advice taken leads to more: {:?}", more.settings)),
    }
}

trait Alike {
    fn config_like(&self, other: &GuestConfig) -> bool;
}

impl Alike for pve::Parsed {
    /// The same but for the lines where things stand.
    fn config_like(&self, other: &GuestConfig) -> bool {
        let ours = &self.config;
        let lines = |config: &GuestConfig| {
            let lines = config.numa_lines.iter();
            lines
                .map(|(id, line)| (*id, line.value.clone()))
                .collect::<Vec<_>>()
        };
        let affinity = |config: &GuestConfig| config.affinity.as_ref().map(|a| a.value.clone());
        (ours.sockets(), ours.cores(), ours.numa())
            == (other.sockets(), other.cores(), other.numa())
            && lines(ours) == lines(other)
            && affinity(ours) == affinity(other)
    }
}

/// What `qm set` makes of a config for the next start: all that is set stands in [PENDING] last, and so counts.
fn typed(text: &str, better: &Better) -> String {
    let pending = |line: &&str| !line.starts_with("[PENDING]");
    let live: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with('['))
        .collect();
    let section = text.lines().skip_while(pending).skip(1);
    let section: Vec<&str> = section.take_while(|line| !line.starts_with('[')).collect();
    let mut out = live.join("\n") + "\n[PENDING]\n";
    let settings = &better.settings;
    let mut delete = settings.delete.clone();
    for line in section {
        match line.split_once(": ") {
            Some(("delete", keys)) => {
                let keys = keys.split(',').filter(|key| !settings.changes(key));
                delete.extend(keys.map(str::to_owned));
            }
            Some((key, _)) if settings.changes(key) => {}
            _ => writeln!(out, "{line}").unwrap(),
        }
    }
    if !delete.is_empty() {
        writeln!(out, "delete: {}", delete.join(",")).unwrap();
    }
    for line in settings.config_lines() {
        writeln!(out, "{line}").unwrap();
    }
    out
}

#[test]
fn the_same_question_has_the_same_answer() {
    let mut asked_for = 0;
    for seed in 0..100 {
        let asked = Asked::of(seed);
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
