//! NUMA nodes: which are online, their CPUs, distances and memory.

use super::names::{Form, Names};
use super::{Slots, list, numbered, unless_malformed};
use crate::host::error::{Problem, parse, quoted, trimmed};
use crate::host::{Host, HostError, HostWarning, Node, memory};
use crate::id::{CpuId, NodeId};
use crate::idset::{CpuSet, NodeSet};
use crate::root::{Reader, Root};
use crate::sorted;

pub(super) fn read(
    reader: &mut Reader,
    root: &Root,
    online: &CpuSet,
    slots: &Slots,
    host: &mut Host,
) -> Result<(), HostError> {
    let ids = match list(reader, format_args!("online"))? {
        Some(ids) => ids,
        None => numbered::<NodeId>(reader, "", "node")?,
    };
    if ids.is_empty() {
        return without_numa(root, online, host);
    }
    let mut names = Names::of(&[("cpulist", Form::List), ("cpumap", Form::Mask)]);
    let mut silent = true;
    for id in ids.iter() {
        let cpus = cpus_of(reader, &mut names, id)?;
        silent &= cpus.is_none();
        let memory = memory::of_node(reader, id, &mut host.warnings)?;
        host.nodes.push(Node {
            id,
            cpus: cpus.unwrap_or_default(),
            memory,
            distances: std::collections::BTreeMap::new(),
        });
    }
    if silent && let [only] = &mut host.nodes[..] {
        only.cpus = online.clone();
    }
    assign(online, slots, host);
    distances(reader, &ids, host)
}

/// A kernel without NUMA: one node, 0, with everything.
fn without_numa(root: &Root, online: &CpuSet, host: &mut Host) -> Result<(), HostError> {
    let id = NodeId(0);
    host.nodes.push(Node {
        id,
        cpus: online.clone(),
        memory: memory::of_machine(root, &mut host.warnings)?,
        distances: std::collections::BTreeMap::new(),
    });
    for cpu in &mut host.cpus {
        cpu.node = Some(id);
    }
    Ok(())
}

/// The CPUs that a node names, offline ones included (old kernels keep them); `None` where it names none in any way.
fn cpus_of(
    reader: &mut Reader,
    names: &mut Names,
    id: NodeId,
) -> Result<Option<CpuSet>, HostError> {
    let mut cpus = CpuSet::new();
    let listed = names.read(reader, format_args!("node{id}"), |cpu| {
        cpus.insert(cpu);
    })?;
    if listed {
        return Ok(Some(cpus));
    }
    let links = numbered::<CpuId>(reader, &format!("node{id}"), "cpu")?;
    Ok((!links.is_empty()).then_some(links))
}

/// Gives each online CPU its node: the lowest that lists it, if several do.
fn assign(online: &CpuSet, slots: &Slots, host: &mut Host) {
    let (mut taken, mut several) = (CpuSet::new(), CpuSet::new());
    for node in &mut host.nodes {
        let listed = node.cpus.intersection(online);
        if !listed.is_disjoint(&taken) {
            several = several.union(&listed.intersection(&taken));
        }
        node.cpus = listed.difference(&taken);
        taken = taken.union(&node.cpus);
        for slot in node.cpus.iter().filter_map(|id| slots.get(id)) {
            host.cpus[slot].node = Some(node.id);
        }
    }
    if !several.is_empty() {
        host.warnings.push(HostWarning::SeveralNodes(several));
    }
    let none = online.difference(&taken);
    if !none.is_empty() {
        host.warnings.push(HostWarning::NoNode(none));
    }
}

/// Distances: the columns of a row are the online nodes in ascending order, whatever their ids. One bad row, and no distance is
/// known: half a table would be worse than the defaults for all.
fn distances(reader: &mut Reader, ids: &NodeSet, host: &mut Host) -> Result<(), HostError> {
    let ids: Vec<NodeId> = ids.iter().collect();
    let mut rows = Vec::with_capacity(ids.len());
    let mut absent = None;
    for (own, id) in ids.iter().enumerate() {
        let name = format_args!("node{id}/distance");
        let row = parse(reader, name, |text| row(text, ids.len(), own, *id));
        match row {
            Ok(Some(row)) => rows.push(row),
            Ok(None) => absent = absent.or_else(|| Some(reader.path().to_owned())),
            Err(e) => {
                unless_malformed::<()>(Err(e), "every distance", &mut host.warnings)?;
                return Ok(());
            }
        }
    }
    if let Some(path) = absent {
        if !rows.is_empty() {
            host.warnings.push(HostWarning::Unknown {
                path,
                problem: Problem::Absent,
                unknown: "every distance",
            });
        }
        return Ok(());
    }
    for (node, row) in host.nodes.iter_mut().zip(rows) {
        node.distances = sorted::map(ids.iter().copied().zip(row));
    }
    Ok(())
}

fn row(text: &str, nodes: usize, own: usize, node: NodeId) -> Result<Vec<u32>, Problem> {
    let row: Vec<u32> = trimmed(text)
        .split_whitespace()
        .map(|column| {
            let number = column.parse::<u32>();
            number.map_err(|_| Problem::not_a_number(column, "a distance, 10 within a node"))
        })
        .collect::<Result<_, _>>()?;
    if row.len() < nodes {
        return Err(Problem::ShortRow {
            found: quoted(text),
            columns: row.len(),
            nodes,
        });
    }
    // With more columns than nodes it is a guess that the first ones are meant: the node itself must be the nearest then.
    let row_of_nodes = &row[..nodes];
    if row.len() > nodes && row_of_nodes.iter().min() != Some(&row_of_nodes[own]) {
        return Err(Problem::NotNearest {
            found: quoted(text),
            node,
        });
    }
    Ok(row_of_nodes.to_vec())
}
