//! Configs that people have: those of Proxmox VE's own tests, other projects' data, found through `NUMAPIN_DATA`, on hosts of every
//! kind that comes with numapin. Unset, the test is passed over, and says so.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use numapin_core::claims::Claims;
use numapin_core::guest::GuestName;
use numapin_core::guest::pve::{self, Pending, passthrough};
use numapin_core::id::Vmid;
use numapin_core::policy::{Policy, PolicyPatch};
use numapin_xtests::flow::lab::Lab;

use super::Asked;
use super::judge::holds;

const HOSTS: [&str; 6] = [
    "epyc7351p",
    "epyc7713-2s-nps4",
    "hybrid-i7-1370p",
    "kunpeng920-2s",
    "lab-memless",
    "xeon6230-2s-snc2",
];
const POLICIES: [&str; 5] = ["none", "numa", "l3", "one-to-one", "one-to-one,smt=isolate"];

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn advice_about_every_config_keeps_what_it_promises() {
    let Some(data) = std::env::var_os("NUMAPIN_DATA").map(PathBuf::from) else {
        let required = std::env::var("NUMAPIN_REQUIRE").unwrap_or_default();
        assert!(!required.contains("data"), "NUMAPIN_DATA is unset");
        eprintln!("passed over: NUMAPIN_DATA is unset, so there are no configs");
        return;
    };
    let folders = ["cfg2cmd", "parse-config-input"];
    let configs = folders.map(|folder| files(&data.join("pve").join(folder)));
    let mut seen = BTreeMap::from([("better", 0), ("right", 0), ("stuck", 0), ("devices", 0)]);
    for name in HOSTS {
        let lab = Lab::named(name).unwrap();
        let host = lab.host().unwrap();
        // As it is, and with half of the first host node's CPUs held by another guest.
        let half = host.nodes[0].cpus.iter().take(host.nodes[0].cpus.len() / 2);
        let held = half.map(|cpu| (cpu, vec![GuestName("900".to_owned())]));
        let others = Claims {
            one_to_one: held.collect(),
            ..Claims::default()
        };
        for file in configs
            .iter()
            .flatten()
            .filter(|file| file.extension().is_some_and(|e| e == "conf"))
        {
            let text = fs::read_to_string(file).unwrap();
            let Ok(parsed) = pve::parse(file, &text, Pending::Merge) else {
                panic!("{}: numapin can't read it", file.display());
            };
            let devices = passthrough::read(&lab.root, &parsed.config, Some(Vmid(100)))
                .unwrap()
                .devices;
            *seen.get_mut("devices").unwrap() += usize::from(!devices.is_empty());
            for (policy, claims) in POLICIES
                .iter()
                .zip([&others, &Claims::default()].into_iter().cycle())
            {
                let asked = Asked {
                    host: host.clone(),
                    claims: claims.clone(),
                    policy: policy
                        .parse::<PolicyPatch>()
                        .unwrap()
                        .over(&Policy::default()),
                    text: text.clone(),
                    devices: devices.clone(),
                    running: None,
                };
                let told = || format!("{} on {name}, {policy}\n{asked}", file.display());
                let advice = asked.advice(&text).unwrap_or_else(|| panic!("{}", told()));
                let kind = match &advice.better {
                    Some(better) => {
                        holds(&asked, &advice, better)
                            .unwrap_or_else(|why| panic!("{why}\n{better:#?}\n{}", told()));
                        "better"
                    }
                    None if advice.is_right() => "right",
                    None => "stuck",
                };
                *seen.get_mut(kind).unwrap() += 1;
            }
        }
    }
    assert!(seen.values().all(|n| *n > 20), "{seen:?}");
}
