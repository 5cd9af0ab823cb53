//! Whether advice keeps what it promises.

use std::fmt::Write as _;
use std::mem::discriminant;
use std::path::Path;

use numapin_core::advise::{Advice, Better};
use numapin_core::guest::Hugepages;
use numapin_core::guest::pve::problem::Oddity;
use numapin_core::guest::pve::{self, GuestConfig, Pending};

use super::Asked;

/// Whether advice keeps what it promises; else what it breaks.
pub(super) fn holds(asked: &Asked, advice: &Advice, better: &Better) -> Result<(), String> {
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
        let there = asked.host.node(node);
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
