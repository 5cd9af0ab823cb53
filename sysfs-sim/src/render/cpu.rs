//! `/sys/devices/system/cpu`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Out, Text};
use crate::layout::Core;
use crate::list;
use crate::quirks::OnlineFiles;
use crate::tree::Entry;

const CPU: &str = "sys/devices/system/cpu";

/// The texts of every group of CPUs, made once each.
struct Groups {
    packages: BTreeMap<u32, Text>,
    dies: BTreeMap<(u32, u32), Text>,
    clusters: BTreeMap<u32, Text>,
    l2s: BTreeMap<u32, Text>,
    l3s: BTreeMap<u32, Text>,
}

pub(super) fn render(out: &mut Out<'_>) {
    let layout = out.layout;
    lists(out);
    let groups = Groups::of(out);
    for (i, core) in layout.cores.iter().enumerate() {
        let siblings = layout.online(core.cpus.iter().copied());
        let of_core = out.text(&siblings);
        let of_core_cache = out.plain_text(&siblings);
        for cpu in &core.cpus {
            // A directory that has nothing in it is still a CPU that is present.
            out.tree.insert(format!("{CPU}/cpu{cpu}"), Entry::Dir);
            online_file(out, *cpu);
            node_links(out, *cpu);
            if layout.online.contains(cpu) {
                capacity(out, core, *cpu);
                topology(out, core, *cpu, &of_core, &groups);
                caches(out, core, i, *cpu, &of_core_cache, &groups);
            }
        }
    }
    drop_filled_dirs(out);
}

fn lists(out: &mut Out<'_>) {
    let (host, layout) = (out.host, out.layout);
    let present: BTreeSet<u32> = layout.core_of.keys().copied().collect();
    let mut possible = present.clone();
    possible.extend(&host.quirks.possible_cpus.0);
    let offline = possible.difference(&layout.online).copied();
    if !host.quirks.no_cpu_lists {
        for (name, text) in [
            ("online", list::list(layout.online.iter().copied())),
            ("present", list::list(present)),
            ("offline", list::list(offline)),
            ("possible", list::list(possible)),
            ("isolated", host.isolated.to_string()),
        ] {
            out.line(format!("{CPU}/{name}"), text);
        }
        out.line(format!("{CPU}/kernel_max"), layout.bits.max(8192) - 1);
    }
    let smt = layout.cores.iter().any(|core| core.cpus.len() > 1);
    let active = layout
        .cores
        .iter()
        .any(|core| layout.online(core.cpus.iter().copied()).len() > 1);
    out.line(format!("{CPU}/smt/active"), u8::from(active));
    out.line(
        format!("{CPU}/smt/control"),
        if smt { "on" } else { "notsupported" },
    );
}

fn online_file(out: &mut Out<'_>, cpu: u32) {
    let online = out.layout.online.contains(&cpu);
    let exists = match out.host.quirks.online_files {
        OnlineFiles::All => true,
        OnlineFiles::ButBoot => cpu != 0 || !online,
        OnlineFiles::Offline => !online,
        OnlineFiles::None => false,
    };
    if exists {
        out.line(format!("{CPU}/cpu{cpu}/online"), u8::from(online));
    }
}

/// The links stay when a CPU goes offline.
fn node_links(out: &mut Out<'_>, cpu: u32) {
    if out.host.quirks.no_node_dir || out.host.quirks.no_cpu_node_links {
        return;
    }
    let layout = out.layout;
    for (id, _) in layout
        .nodes
        .iter()
        .filter(|(_, node)| node.cpus.contains(&cpu))
    {
        out.link(
            format!("{CPU}/cpu{cpu}/node{id}"),
            format!("../../node/node{id}"),
        );
    }
}

fn capacity(out: &mut Out<'_>, core: &Core, cpu: u32) {
    let kind = core.kind.and_then(|kind| out.host.kinds.get(kind));
    if let Some(capacity) = kind.and_then(|kind| kind.capacity) {
        out.line(format!("{CPU}/cpu{cpu}/cpu_capacity"), capacity);
    }
}

fn topology(out: &mut Out<'_>, core: &Core, cpu: u32, of_core: &Text, groups: &Groups) {
    let quirks = &out.host.quirks;
    let (no_core_cpus, no_die, no_cluster) =
        (quirks.no_core_cpus, quirks.no_die, quirks.no_cluster);
    let dir = format!("{CPU}/cpu{cpu}/topology");
    let package_id = match out.host.package_ids.get(core.package as usize) {
        Some(id) => i64::from(*id),
        None => i64::from(core.package),
    };
    out.line(format!("{dir}/physical_package_id"), package_id);
    out.line(format!("{dir}/core_id"), core.core_id);
    // A kernel that knows no package (id -1) shows the core in its place.
    let package = groups
        .packages
        .get(&core.package)
        .filter(|_| package_id >= 0)
        .unwrap_or(of_core);
    out.both(&format!("{dir}/thread_siblings"), "_list", of_core);
    out.both(&format!("{dir}/core_siblings"), "_list", package);
    if !no_core_cpus {
        out.both(&format!("{dir}/core_cpus"), "_list", of_core);
        out.both(&format!("{dir}/package_cpus"), "_list", package);
    }
    // What the platform does not tell is -1, and the CPU alone.
    let alone = out.text(&BTreeSet::from([cpu]));
    if !no_die {
        out.line(format!("{dir}/die_id"), core.die.map_or(-1, i64::from));
        if !no_core_cpus {
            let die = core
                .die
                .and_then(|die| groups.dies.get(&(core.package, die)));
            out.both(&format!("{dir}/die_cpus"), "_list", die.unwrap_or(&alone));
        }
    }
    if !no_cluster {
        out.line(
            format!("{dir}/cluster_id"),
            core.cluster.map_or(-1, i64::from),
        );
        if !no_core_cpus {
            let cluster = core
                .cluster
                .and_then(|cluster| groups.clusters.get(&cluster));
            out.both(
                &format!("{dir}/cluster_cpus"),
                "_list",
                cluster.unwrap_or(&alone),
            );
        }
    }
}

fn caches(
    out: &mut Out<'_>,
    core: &Core,
    core_no: usize,
    cpu: u32,
    of_core: &Text,
    groups: &Groups,
) {
    let quirks = &out.host.quirks;
    if quirks.no_cache {
        return;
    }
    let (l3_only, no_id) = (quirks.l3_only, quirks.no_cache_id);
    let core_no = u32::try_from(core_no).unwrap_or(u32::MAX);
    let l3_id = core
        .l3
        .map(|l3| out.host.l3_ids.get(l3 as usize).copied().unwrap_or(l3));
    let l2 = groups.l2s.get(&core.l2);
    let l3 = core.l3.and_then(|l3| groups.l3s.get(&l3));
    // As x86 numbers them: data, instructions, level 2, level 3.
    let all = [
        (1, "Data", Some(core_no), Some(of_core)),
        (1, "Instruction", Some(core_no), Some(of_core)),
        (2, "Unified", Some(core.l2), l2),
        (3, "Unified", l3_id, l3),
    ];
    for (index, (level, kind, id, shared)) in all.into_iter().enumerate() {
        let (Some(id), Some(shared)) = (id, shared) else {
            continue;
        };
        if l3_only && level != 3 {
            continue;
        }
        let dir = format!("{CPU}/cpu{cpu}/cache/index{index}");
        out.line(format!("{dir}/level"), level);
        out.line(format!("{dir}/type"), kind);
        if !no_id {
            out.line(format!("{dir}/id"), id);
        }
        if !out.host.quirks.lists_only {
            out.file(format!("{dir}/shared_cpu_map"), shared.mask.clone());
        }
        if !out.host.quirks.masks_only {
            out.file(format!("{dir}/shared_cpu_list"), shared.list.clone());
        }
    }
}

/// Only a directory without anything in it is an entry of its own.
fn drop_filled_dirs(out: &mut Out<'_>) {
    let filled: Vec<String> = out
        .tree
        .iter()
        .zip(out.tree.iter().skip(1))
        .filter(|((path, entry), (next, _))| {
            **entry == Entry::Dir
                && next
                    .strip_prefix(path.as_str())
                    .is_some_and(|r| r.starts_with('/'))
        })
        .map(|((path, _), _)| path.clone())
        .collect();
    for path in filled {
        out.tree.remove(&path);
    }
}

impl Groups {
    fn of(out: &Out<'_>) -> Self {
        let cores = &out.layout.cores;
        Self {
            packages: texts(
                out,
                cores.iter().map(|c| (Some(c.package), c)),
                |out, cpus| out.text(cpus),
            ),
            dies: texts(
                out,
                cores.iter().map(|c| (c.die.map(|die| (c.package, die)), c)),
                |out, cpus| out.text(cpus),
            ),
            clusters: texts(out, cores.iter().map(|c| (c.cluster, c)), |out, cpus| {
                out.text(cpus)
            }),
            l2s: texts(out, cores.iter().map(|c| (Some(c.l2), c)), |out, cpus| {
                out.plain_text(cpus)
            }),
            l3s: texts(out, cores.iter().map(|c| (c.l3, c)), |out, cpus| {
                out.plain_text(cpus)
            }),
        }
    }
}

/// The online CPUs of all cores of a group, by group.
fn texts<'c, K: Ord>(
    out: &Out<'_>,
    cores: impl Iterator<Item = (Option<K>, &'c Core)>,
    text: fn(&Out<'_>, &BTreeSet<u32>) -> Text,
) -> BTreeMap<K, Text> {
    let mut sets: BTreeMap<K, BTreeSet<u32>> = BTreeMap::new();
    for (key, core) in cores {
        if let Some(key) = key {
            sets.entry(key)
                .or_default()
                .extend(out.layout.online(core.cpus.iter().copied()));
        }
    }
    sets.into_iter()
        .map(|(key, cpus)| (key, text(out, &cpus)))
        .collect()
}
