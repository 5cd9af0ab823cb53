//! What a guest's virtual nodes need of the memory of host nodes, and where its memory and devices are already.

use std::collections::BTreeMap;

use crate::claims::Claims;
use crate::guest::{Guest, Hugepages, VirtualNode};
use crate::host::Host;
use crate::id::NodeId;

const KIB_OF_MIB: u64 = 1024;
const KIB_OF_GIB: u64 = 1024 * 1024;

/// Memory that a virtual node needs, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Need {
    kib: u64,
    /// The size of its huge pages in KiB; `None`: ordinary memory.
    page_kib: Option<u64>,
}

impl Need {
    /// What a virtual node needs; `None` where that is not known, where it does not matter (the guest runs and has its memory),
    /// or where free memory says little (ZFS).
    pub(super) fn new(host: &Host, guest: &Guest, node: &VirtualNode) -> Option<Self> {
        if guest.running.is_some() || host.zfs {
            return None;
        }
        let mib = guest.memory_of(node)?;
        let page_kib = guest.hugepages.map(|pages| match pages {
            Hugepages::Gib1 => KIB_OF_GIB,
            // Proxmox VE takes pages of 1 GiB where the memory of the node is a multiple of that
            Hugepages::Any if mib % 1024 == 0 => KIB_OF_GIB,
            Hugepages::Any | Hugepages::Mib2 => 2 * KIB_OF_MIB,
        });
        Some(Self {
            kib: mib * KIB_OF_MIB,
            page_kib,
        })
    }
}

/// What a host node has available for such a need, in KiB; `None` where that is not known.
fn available(host: &Host, claims: &Claims, node: NodeId, page_kib: Option<u64>) -> Option<u64> {
    let memory = host.node(node)?.memory.as_ref()?;
    if let Some(size) = page_kib {
        return memory.free_hugepages.get(&size).map(|pages| pages * size);
    }
    let promised = claims.promised_kib.get(&node).copied().unwrap_or(0);
    Some(
        memory
            .available_kib
            .unwrap_or(memory.total_kib)
            .saturating_sub(promised),
    )
}

/// Whether some host nodes together have less memory than what is needed there; not where anything about it is unknown.
pub(super) fn short(
    host: &Host,
    claims: &Claims,
    nodes: &[NodeId],
    needs: &[Option<Need>],
) -> bool {
    if needs.iter().any(Option::is_none) {
        return false;
    }
    let mut wanted: BTreeMap<Option<u64>, u64> = BTreeMap::new();
    for need in needs.iter().flatten() {
        *wanted.entry(need.page_kib).or_default() += need.kib;
    }
    let there = |page_kib: Option<u64>| -> Option<u64> {
        nodes
            .iter()
            .map(|node| available(host, claims, *node, page_kib))
            .sum()
    };
    let compared = wanted
        .iter()
        .map(|(page_kib, wanted)| Some(there(*page_kib)? < *wanted));
    let compared: Option<Vec<bool>> = compared.collect();
    compared.is_some_and(|short| short.contains(&true))
}

/// How many MiB of a running guest are on a host node.
pub(super) fn resident(guest: &Guest, node: NodeId) -> u64 {
    let running = guest.running.as_ref();
    running
        .and_then(|running| running.memory_mib.get(&node))
        .copied()
        .unwrap_or(0)
}

/// How many of its devices hang on a host node.
pub(super) fn devices(guest: &Guest, node: NodeId) -> u64 {
    guest
        .devices
        .iter()
        .filter(|device| device.node == Some(node))
        .count() as u64
}
