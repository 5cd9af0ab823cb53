//! Whatever is printed is read as what it was: values of any kind, by way of their texts.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use numapin_core::claims::ledger::{Entry, KeptPolicy};
use numapin_core::cpulist::{format_mask, parse_list, parse_mask};
use numapin_core::guest::Hugepages;
use numapin_core::guest::pve::{
    self, GuestConfig, HostPci, Hotplug, MemoryPolicy, NumaLine, Pending, Written,
};
use numapin_core::guest::ranges::Ranges;
use numapin_core::host::pci::PciAddress;
use numapin_core::id::{CpuId, Pid, VnodeId};
use numapin_core::idset::CpuSet;
use numapin_core::placement::plan;
use numapin_core::policy::{
    GuestLine, Isolated, Kind, Mode, NodeConf, Overlap, Place, Policy, Require, Smt, set_line,
};
use numapin_core::thread::Process;
use numapin_sysfs_sim::{Entry as File, Host, Numbering, Recording};
use numapin_xtests::fuzz;
use numapin_xtests::random::Case;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Ids in runs and alone, low and as high as they can be.
fn sets() -> impl Strategy<Value = CpuSet> {
    let run = (prop_oneof![0..80_u32, 0..1_048_576_u32], 1..70_u32);
    vec(run, 0..6).prop_map(|runs| {
        let ids = runs.into_iter().flat_map(|(first, len)| first..first + len);
        ids.filter(|id| *id < 1_048_576).map(CpuId).collect()
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    let place = || option::of(select(Place::ALL));
    let cpus = (
        select(Isolated::ALL),
        select(Kind::ALL),
        select(Overlap::ALL),
    );
    let threads = (place(), place(), place());
    (
        select(Mode::ALL),
        select(Smt::ALL),
        cpus,
        threads,
        select(Require::ALL),
    )
        .prop_map(
            |(mode, smt, (isolated, kind, overlap), (emulator, iothreads, vhost), require)| {
                Policy {
                    mode,
                    smt,
                    overlap,
                    isolated,
                    kind,
                    emulator,
                    iothreads,
                    vhost,
                    require,
                }
            },
        )
}

fn written<T: Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Option<Written<T>>> {
    option::of(value.prop_map(|value| Written { value, line: 0 }))
}

fn ranges() -> impl Strategy<Value = Ranges> {
    let range = (0..5000_u32, option::of(0..90_u32));
    vec(range, 1..5).prop_map(|ranges| {
        let part = |(first, more): (u32, Option<u32>)| match more {
            Some(more) => format!("{first}-{}", first + more),
            None => first.to_string(),
        };
        let parts: Vec<String> = ranges.into_iter().map(part).collect();
        Ranges::numa(&parts.join(";")).unwrap()
    })
}

fn numa_lines() -> impl Strategy<Value = NumaLine> {
    let policy = select(vec![
        MemoryPolicy::Preferred,
        MemoryPolicy::Bind,
        MemoryPolicy::Interleave,
    ]);
    let rest = (
        option::of(ranges()),
        option::of(0..1_u64 << 40),
        option::of(policy),
    );
    (ranges(), rest).prop_map(|(cpus, (hostnodes, memory_mib, policy))| NumaLine {
        cpus,
        hostnodes,
        memory_mib,
        policy,
    })
}

fn configs() -> impl Strategy<Value = GuestConfig> {
    let number = || written(0..u64::MAX);
    let word = || written("[a-z][a-z0-9=,;:#%-]{0,12}");
    let shape = (
        number(),
        number(),
        number(),
        number(),
        written(any::<bool>()),
    );
    let lines = vec((0..8_u32, numa_lines()), 0..4);
    let cpus = (
        written(sets().prop_filter("a value is not empty", |set| !set.is_empty())),
        lines,
        written(policies().prop_map(|policy| policy.to_string())),
    );
    let hotplug = any::<(bool, bool)>().prop_map(|(cpu, memory)| Hotplug { cpu, memory });
    let pages = select(vec![Hugepages::Any, Hugepages::Mib2, Hugepages::Gib1]);
    let memory = (written(16..1_u64 << 40), written(pages), written(hotplug));
    let device = prop_oneof![
        vec("[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\\.[0-7]", 1..3).prop_map(HostPci::Host),
        "[a-z][a-z0-9-]{0,8}".prop_map(HostPci::Mapping),
    ];
    let texts = (
        word(),
        written(vec("[a-z0-9_][a-z0-9_+.-]{0,6}", 1..4)),
        word(),
        written(any::<bool>()),
        written(select(vec![
            "backup".to_owned(),
            "snapshot-delete".to_owned(),
        ])),
    );
    let devices = vec((0..16_u32, device), 0..3);
    (shape, cpus, memory, devices, texts).prop_map(|(shape, cpus, memory, devices, texts)| {
        let (sockets, cores, smp, vcpus, numa) = shape;
        let (affinity, lines, pinning) = cpus;
        let (memory_mib, hugepages, hotplug) = memory;
        let (args, tags, name, template, lock) = texts;
        let at = |value| Written { value, line: 0 };
        let device = |value| Written { value, line: 0 };
        GuestConfig {
            sockets,
            cores,
            smp,
            vcpus,
            numa,
            numa_lines: lines
                .into_iter()
                .map(|(id, line)| (VnodeId(id), at(line)))
                .collect(),
            affinity,
            pinning,
            memory_mib,
            hugepages,
            hotplug,
            hostpci: devices.into_iter().map(|(n, d)| (n, device(d))).collect(),
            args,
            tags,
            name,
            template,
            lock,
        }
    })
}

/// Names and contents of any kind; every path in a directory of its own, so that none is below another.
fn recordings() -> impl Strategy<Value = Recording> {
    let name = prop_oneof![
        "(cpu|node|index)[0-9]{1,3}",
        "[a-z_]{1,6}",
        "[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\\.[0-7]",
        "[ -.0-~é\n\"]{1,5}",
    ];
    let name = name.prop_filter("a name of a file", |name| name != "." && name != "..");
    let path = vec(name, 1..4).prop_map(|parts| parts.join("/"));
    let bytes = prop_oneof![
        "[0-9,-]{0,8}\n",
        "([ -~]{0,9}\n){0,4}",
        "[ -~\t\0é\"\\\\]{0,12}",
    ];
    let bytes = prop_oneof![bytes.prop_map(String::into_bytes), vec(any::<u8>(), 0..9)];
    let entry = prop_oneof![
        8 => bytes.prop_map(|bytes| File::File(Arc::from(bytes))),
        2 => "(\\.\\./){0,1}[a-z0-9]{1,5}[0-9]".prop_map(File::Link),
        1 => Just(File::Dir),
    ];
    let note = "[ -~]{0,12}[!-~]";
    let texts = (
        "([!-~]{1,5}( [!-~]{1,5}){0,3})?",
        vec(note.prop_map(|n| n.trim().to_owned()), 0..2),
    );
    (texts, btree_map(path, entry, 0..12)).prop_map(|((provenance, notes), entries)| Recording {
        provenance,
        notes,
        tree: entries
            .into_iter()
            .enumerate()
            .map(|(i, (path, entry))| (format!("sys/d{}/{path}", i % 3 * 100 + i), entry))
            .collect(),
    })
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        "\\PC{0,8}".prop_map(Into::into),
        "[{}\\[\\]\"\\\\:,\n\t]{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Into::into),
            btree_map("[a-z-]{1,6}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn descriptions() -> impl Strategy<Value = Host> {
    let numbering = select(vec![
        Numbering::Adjacent,
        Numbering::Blocked,
        Numbering::BlockedByPackage,
        Numbering::RoundRobinPackages,
        Numbering::RoundRobinNodes,
    ]);
    let shape = (1..3_u32, 1..3_u32, 0..3_u32, 1..4_u32, 1..3_u32);
    (shape, numbering, "[ -~]{0,20}").prop_map(|(shape, numbering, provenance)| {
        let (packages, nodes, l3s, cores, threads) = shape;
        Host {
            provenance,
            ..Host::grid(packages, nodes, l3s, cores, threads).numbered(numbering)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn sets_of_cpus(set in sets(), bits in 0..200_usize) {
        prop_assert_eq!(parse_list::<CpuId>(&set.to_string()), Ok(set.clone()));
        prop_assert_eq!(parse_mask::<CpuId>(&format_mask(&set, bits)), Ok(set.clone()));
        fuzz::lists(format!("{set}\n{}", format_mask(&set, bits)).as_bytes());
    }

    #[test]
    fn ranges_and_addresses(
        ranges in ranges(),
        (domain, bus, device) in (any::<u32>(), any::<u8>(), 0..32_u8),
        function in option::of(0..8_u8),
    ) {
        prop_assert_eq!(Ranges::numa(&ranges.to_string()), Ok(ranges));
        let address = PciAddress { domain, bus, device, function };
        prop_assert_eq!(address.to_string().parse(), Ok(address));
    }

    #[test]
    fn policies_and_the_lines_that_hold_them(
        lines in btree_map(100..110_u32, (policies(), option::of("[a-z][a-z0-9.-]{0,9}")), 0..4),
    ) {
        let mut text = String::from("# head\n");
        for (vmid, (policy, name)) in &lines {
            prop_assert_eq!(&policy.to_string().parse::<Policy>(), &Ok(policy.clone()));
            text = set_line(&text, numapin_core::id::Vmid(*vmid), name.as_deref(), policy);
        }
        let conf = NodeConf::parse(Path::new("numapin.conf"), &text);
        prop_assert_eq!(&conf.errors, &[]);
        prop_assert_eq!(conf.vmids().len(), lines.len());
        for (vmid, (policy, name)) in lines {
            let (_, line) = conf.guest(numapin_core::id::Vmid(vmid)).unwrap().unwrap();
            prop_assert_eq!(line, &GuestLine { name, policy });
        }
        fuzz::policy(text.as_bytes());
    }

    #[test]
    fn configs_of_guests(config in configs()) {
        let text = fuzz::printed(&config);
        let read = pve::parse(Path::new("100.conf"), &text, Pending::Merge).unwrap();
        prop_assert_eq!(fuzz::without_lines(read.config), config);
        fuzz::config(text.as_bytes());
    }

    #[test]
    fn messages_of_qmp(values in vec((json(), option::of(any::<u32>())), 0..5)) {
        let mut text = String::new();
        for (value, id) in &values {
            let mut message = serde_json::json!({ "return": value });
            if let Some(id) = id {
                message["id"] = (*id).into();
            }
            text += &format!("{message}\r\n");
        }
        let mut decoder = numapin_core::qmp::wire::Decoder::new();
        decoder.feed(text.as_bytes());
        for (value, id) in values {
            let message = decoder.next_message().unwrap();
            let id = id.map(|id| id.to_string());
            prop_assert_eq!(message, Some(numapin_core::qmp::wire::Message::Return { id, value: value.to_string() }));
        }
        prop_assert_eq!(decoder.next_message(), Ok(None));
        fuzz::qmp(text.as_bytes());
    }

    #[test]
    fn recordings_of_machines(recording in recordings()) {
        let text = recording.to_string();
        prop_assert_eq!(&Recording::parse(&text, "x").unwrap(), &recording, "{}", text);
        fuzz::recording(text.as_bytes());
    }

    #[test]
    fn descriptions_of_machines_and_their_files(host in descriptions()) {
        let text = toml::to_string(&host).unwrap();
        prop_assert_eq!(&Host::parse(&text, "x.toml").unwrap(), &host, "{}", text);
        let recording = Recording {
            tree: host.tree().unwrap(),
            ..Recording::default()
        };
        prop_assert_eq!(Recording::parse(&recording.to_string(), "x").unwrap(), recording);
    }
}

#[test]
fn entries_of_the_ledger() {
    let mut entries = BTreeMap::new();
    for seed in 0..600 {
        let case = Case::of(2_000_000 + seed).unwrap();
        let Ok(plan) = plan(&case.host, &case.guest, &case.claims, &case.policy) else {
            continue;
        };
        let process = (seed % 2 == 0).then_some(Process {
            pid: Pid(71),
            start_time: seed,
        });
        let text = KeptPolicy {
            text: case.policy.to_string(),
            source: "tag pin-numa".to_owned(),
        };
        let with = (&case.policy, text);
        let entry = Entry::new(
            &case.host,
            &case.guest,
            &plan,
            with,
            process,
            "b".to_owned(),
        );
        let stem = match (entry.vmid, process) {
            (Some(vmid), _) => vmid.to_string(),
            (None, Some(_)) => "pid-71".to_owned(),
            (None, None) => continue,
        };
        let text = entry.to_text();
        let read = Entry::parse(Path::new("x.json"), &stem, &text).unwrap();
        assert_eq!(read, entry, "{case}");
        entries.insert(seed, text);
    }
    assert!(entries.len() > 100, "only {} entries", entries.len());
    for text in entries.values() {
        fuzz::ledger(text.as_bytes());
    }
}
