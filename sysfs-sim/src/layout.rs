//! From a description to numbered CPUs: who sits where.

use std::collections::{BTreeMap, BTreeSet};

use crate::description::{CoreGroup, Host, Memory, Node, Numbering, Shape};
use crate::error::Error;
use crate::list::{self, Ids};

/// A core with its CPUs. Numbers count over the machine.
#[derive(Debug, Clone)]
pub(crate) struct Core {
    pub(crate) package: u32,
    pub(crate) die: Option<u32>,
    pub(crate) node: u32,
    pub(crate) l3: Option<u32>,
    pub(crate) l2: u32,
    pub(crate) cluster: Option<u32>,
    pub(crate) kind: Option<usize>,
    /// Of the kernel: unique in its package at best.
    pub(crate) core_id: i32,
    /// The CPU of each thread.
    pub(crate) cpus: Vec<u32>,
}

/// The machine with its numbers.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) cores: Vec<Core>,
    /// The cores' places in `cores`, by CPU.
    pub(crate) core_of: BTreeMap<u32, usize>,
    pub(crate) nodes: BTreeMap<u32, NodeLayout>,
    pub(crate) online: BTreeSet<u32>,
    /// The width of masks.
    pub(crate) bits: u32,
}

/// A node with its CPUs, online or not.
#[derive(Debug, Default)]
pub(crate) struct NodeLayout {
    pub(crate) cpus: BTreeSet<u32>,
    pub(crate) memory: Memory,
    pub(crate) distances: Vec<u32>,
}

/// The most CPUs that a description may have.
const MAX_CPUS: u64 = 1 << 16;
/// The most bits in one mask for each CPU: 16,384 CPUs with masks as wide. Each file of masks then takes some 75 MB.
const MAX_MASK_BITS: u64 = 1 << 28;

impl Layout {
    pub(crate) fn of(host: &Host) -> Result<Self, Error> {
        let mut cores = cores(&groups(host)?, host)?;
        number(&mut cores, host)?;
        let mut core_of = BTreeMap::new();
        for (i, core) in cores.iter().enumerate() {
            for cpu in &core.cpus {
                if core_of.insert(*cpu, i).is_some() {
                    return Err(Error::description(
                        "cpu_ids",
                        format!("cpu {cpu} stands twice"),
                    ));
                }
            }
        }
        for (key, ids) in [
            ("offline", &host.offline),
            ("quirks.homeless", &host.quirks.homeless),
        ] {
            known(key, ids, &core_of)?;
        }
        let online: BTreeSet<u32> = core_of
            .keys()
            .copied()
            .filter(|cpu| !host.offline.has(*cpu))
            .collect();
        if online.is_empty() {
            return Err(Error::description("offline", "no cpu is left online"));
        }
        let last = core_of
            .keys()
            .chain(host.quirks.possible_cpus.0.iter())
            .max();
        let possible = last.map_or(1, |last| last + 1);
        let bits = host.quirks.mask_bits.unwrap_or(possible);
        if bits < possible || bits > list::MAX_ID {
            return Err(Error::description(
                "quirks.mask_bits",
                format!(
                    "{bits} is not between {possible}, the possible cpus, and {}",
                    list::MAX_ID
                ),
            ));
        }
        if !host.quirks.lists_only && core_of.len() as u64 * u64::from(bits) > MAX_MASK_BITS {
            let what = format!(
                "masks of {bits} bits for {} cpus are too much; set lists_only",
                core_of.len()
            );
            return Err(Error::description("quirks.mask_bits", what));
        }
        let nodes = nodes(host, &cores)?;
        Ok(Self {
            cores,
            core_of,
            nodes,
            online,
            bits,
        })
    }

    /// The online CPUs among `cpus`.
    pub(crate) fn online(&self, cpus: impl IntoIterator<Item = u32>) -> BTreeSet<u32> {
        cpus.into_iter()
            .filter(|cpu| self.online.contains(cpu))
            .collect()
    }
}

fn groups(host: &Host) -> Result<Vec<CoreGroup>, Error> {
    match (&host.shape, host.cores.is_empty()) {
        (Some(_), false) => Err(Error::description(
            "cores",
            "stands beside shape (expected one of them)",
        )),
        (None, false) if !host.node_ids.is_empty() => Err(Error::description(
            "node_ids",
            "is for shape; a group of cores names its node itself",
        )),
        (None, false) => Ok(host.cores.clone()),
        (shape, true) => shape_groups(&shape.clone().unwrap_or_default(), host),
    }
}

/// One group for each L3 of each node.
fn shape_groups(shape: &Shape, host: &Host) -> Result<Vec<CoreGroup>, Error> {
    let span = shape.nodes_of_an_l3;
    for (key, value) in [
        ("packages", shape.packages),
        ("nodes", shape.nodes),
        ("nodes_of_an_l3", span),
        ("cores", shape.cores),
        ("threads", shape.threads),
    ] {
        if value == 0 {
            return Err(Error::description(
                format!("shape.{key}"),
                "0 (expected at least 1)",
            ));
        }
    }
    if span > 1 && (shape.l3s != 1 || !shape.nodes.is_multiple_of(span)) {
        let what = format!(
            "{span} needs l3s = 1 and nodes (here {}) a multiple of it",
            shape.nodes
        );
        return Err(Error::description("shape.nodes_of_an_l3", what));
    }
    let all_nodes = u64::from(shape.packages) * u64::from(shape.nodes);
    let parts = all_nodes.saturating_mul(shape.l3s.max(1).into());
    within_limit(
        parts
            .saturating_mul(u64::from(shape.cores))
            .saturating_mul(shape.threads.into()),
    )?;
    if !host.node_ids.is_empty() && host.node_ids.len() as u64 != all_nodes {
        let what = format!("{} ids for {all_nodes} nodes", host.node_ids.len());
        return Err(Error::description("node_ids", what));
    }
    let distinct: BTreeSet<&u32> = host.node_ids.iter().collect();
    if distinct.len() != host.node_ids.len() {
        return Err(Error::description("node_ids", "an id stands twice"));
    }
    // Dies are a finer or coarser cut than nodes: deal the parts of a package evenly.
    let in_package = shape.nodes * shape.l3s.max(1);
    if shape.dies > 0 && !in_package.is_multiple_of(shape.dies) {
        let what = format!(
            "{} dies can't share {in_package} nodes or L3s evenly",
            shape.dies
        );
        return Err(Error::description("shape.dies", what));
    }
    let mut groups = Vec::new();
    for package in 0..shape.packages {
        for part in 0..in_package {
            let node = package * shape.nodes + part / shape.l3s.max(1);
            groups.push(CoreGroup {
                count: shape.cores,
                threads: shape.threads,
                package,
                die: (shape.dies > 0).then(|| part / (in_package / shape.dies)),
                node: host.node_ids.get(node as usize).copied().unwrap_or(node),
                l3: (shape.l3s > 0).then(|| (package * in_package + part) / span),
                cluster: shape.cluster,
                ..CoreGroup::default()
            });
        }
    }
    Ok(groups)
}

fn within_limit(cpus: u64) -> Result<(), Error> {
    if cpus > MAX_CPUS {
        let what = format!("{cpus} cpus (expected at most {MAX_CPUS})");
        return Err(Error::description("cores", what));
    }
    Ok(())
}

fn cores(groups: &[CoreGroup], host: &Host) -> Result<Vec<Core>, Error> {
    let total = groups
        .iter()
        .map(|g| u64::from(g.count).saturating_mul(g.threads.into()));
    within_limit(total.fold(0_u64, u64::saturating_add))?;
    let mut cores: Vec<Core> = Vec::new();
    let mut in_package: BTreeMap<u32, usize> = BTreeMap::new();
    let (mut l2, mut cluster) = (0, 0);
    for group in groups {
        if group.threads == 0 {
            return Err(Error::description(
                "cores.threads",
                "0 (expected at least 1)",
            ));
        }
        let kind = match &group.kind {
            None => None,
            Some(name) => Some(host.kinds.iter().position(|k| k.name == *name).ok_or_else(
                || Error::description("cores.kind", format!("'{name}' is not in kinds")),
            )?),
        };
        for i in 0..group.count {
            let k = in_package.entry(group.package).or_default();
            let core_id = match host.core_ids.len() {
                0 => i32::try_from(*k).unwrap_or(i32::MAX),
                len => host.core_ids[*k % len],
            };
            *k += 1;
            cores.push(Core {
                package: group.package,
                die: group.die,
                node: group.node,
                l3: group.l3,
                l2: l2 + i / group.l2.max(1),
                cluster: (group.cluster > 0).then(|| cluster + i / group.cluster.max(1)),
                kind,
                core_id,
                // Filled by `number`.
                cpus: vec![0; group.threads as usize],
            });
        }
        l2 += group.count.div_ceil(group.l2.max(1));
        cluster += group.count.div_ceil(group.cluster.max(1));
    }
    Ok(cores)
}

/// Gives each thread its CPU id.
fn number(cores: &mut [Core], host: &Host) -> Result<(), Error> {
    let mut threads: Vec<(usize, usize)> = Vec::new();
    for (i, core) in cores.iter().enumerate() {
        threads.extend((0..core.cpus.len()).map(|t| (i, t)));
    }
    if !host.cpu_ids.is_empty() {
        if host.cpu_ids.len() != threads.len() {
            let what = format!("{} ids for {} cpus", host.cpu_ids.len(), threads.len());
            return Err(Error::description("cpu_ids", what));
        }
        for ((core, thread), id) in threads.into_iter().zip(&host.cpu_ids) {
            if *id > list::MAX_ID {
                let what = format!("{id} is beyond the highest id, {}", list::MAX_ID);
                return Err(Error::description("cpu_ids", what));
            }
            cores[core].cpus[thread] = *id;
        }
        return Ok(());
    }
    // The place of each core within its package and within its node.
    let (mut packages, mut nodes) = (BTreeMap::new(), BTreeMap::new());
    let places: Vec<(usize, usize)> = cores
        .iter()
        .map(|core| {
            (
                next(&mut packages, core.package),
                next(&mut nodes, core.node),
            )
        })
        .collect();
    // Stable: equal keys stay in order of cores, then threads.
    threads.sort_by_key(|(i, t)| {
        let core = &cores[*i];
        match host.numbering {
            Numbering::Adjacent => (0, 0, 0, 0),
            Numbering::Blocked => (0, *t, 0, 0),
            Numbering::BlockedByPackage => (core.package, *t, 0, 0),
            Numbering::RoundRobinPackages => (0, *t, places[*i].0, core.package),
            Numbering::RoundRobinNodes => (0, *t, places[*i].1, core.node),
        }
    });
    for (id, (core, thread)) in (0..).zip(threads) {
        cores[core].cpus[thread] = id;
    }
    Ok(())
}

fn next(counts: &mut BTreeMap<u32, usize>, key: u32) -> usize {
    let count = counts.entry(key).or_default();
    *count += 1;
    *count - 1
}

fn known(key: &str, ids: &Ids, cpus: &BTreeMap<u32, usize>) -> Result<(), Error> {
    match ids.0.iter().find(|cpu| !cpus.contains_key(cpu)) {
        Some(cpu) => Err(Error::description(
            key,
            format!("cpu {cpu} is not a cpu of this machine"),
        )),
        None => Ok(()),
    }
}

fn nodes(host: &Host, cores: &[Core]) -> Result<BTreeMap<u32, NodeLayout>, Error> {
    let mut nodes: BTreeMap<u32, NodeLayout> = BTreeMap::new();
    let mut package_of: BTreeMap<u32, u32> = BTreeMap::new();
    for core in cores {
        let node = nodes.entry(core.node).or_default();
        node.memory = host.memory;
        node.cpus.extend(
            core.cpus
                .iter()
                .filter(|cpu| !host.quirks.homeless.has(**cpu)),
        );
        package_of.entry(core.node).or_insert(core.package);
    }
    let mut described = BTreeSet::new();
    for Node { id, memory } in &host.nodes {
        if !described.insert(id) {
            return Err(Error::description(
                "nodes.id",
                format!("node {id} stands twice"),
            ));
        }
        nodes.entry(*id).or_default().memory = *memory;
    }
    if let Some(id) = nodes.keys().find(|id| **id > list::MAX_ID) {
        return Err(Error::description(
            "nodes.id",
            format!("{id} is beyond the highest id, {}", list::MAX_ID),
        ));
    }
    let count = nodes.len();
    let ids: Vec<u32> = nodes.keys().copied().collect();
    if !host.distances.is_empty()
        && (host.distances.len() != count || host.distances.iter().any(|row| row.len() != count))
    {
        let what = format!("expected {count} rows of {count} columns, one for each node");
        return Err(Error::description("distances", what));
    }
    for (row, id) in ids.iter().enumerate() {
        let distances = match host.distances.get(row) {
            Some(distances) => distances.clone(),
            None => ids
                .iter()
                .map(|other| distance(host, &package_of, *id, *other))
                .collect(),
        };
        nodes.entry(*id).or_default().distances = distances;
    }
    if host.quirks.overlapping_nodes {
        let all: BTreeSet<u32> = nodes
            .values()
            .flat_map(|n| n.cpus.iter().copied())
            .collect();
        for node in nodes.values_mut() {
            node.cpus.clone_from(&all);
        }
    }
    Ok(nodes)
}

fn distance(host: &Host, package_of: &BTreeMap<u32, u32>, a: u32, b: u32) -> u32 {
    match (package_of.get(&a), package_of.get(&b)) {
        _ if a == b => 10,
        (Some(pa), Some(pb)) if pa == pb => host.distance_within,
        _ => host.distance_across,
    }
}
