//! The shape of a guest as QEMU tells it: replies to query-cpus-fast and query-hotpluggable-cpus -> [`QmpShape`].
//!
//! query-cpus-fast lists the vCPUs that are plugged, in the order they were plugged, with their cpu-index; a vCPU's virtual node
//! is `props.node-id`, absent without `-numa`. query-hotpluggable-cpus lists every place for a vCPU, without an index: on x86
//! the index is the place's position in the order of socket, die, core and thread (QEMU hw/i386/x86.c). Read leniently: what is
//! not known here passes.

mod compare;

use std::collections::{BTreeMap, BTreeSet};

pub use self::compare::{Mismatch, compare, corrected};
use super::{Guest, GuestParts, VirtualNode};
use crate::id::{VcpuId, VnodeId};
use crate::idset::VcpuSet;
use crate::qmp::{Place, Slot, Vcpu};
use crate::sorted;

/// What QEMU says a guest is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QmpShape {
    /// Sockets.
    pub sockets: u32,
    /// Cores of a socket.
    pub cores: u32,
    /// Threads of a core.
    pub threads: u32,
    /// The virtual node of each vCPU, plugged or not. All in virtual node 0 without `-numa`.
    pub vcpus: BTreeMap<VcpuId, VnodeId>,
    /// The vCPUs that are plugged.
    pub plugged: VcpuSet,
    /// Whether QEMU has virtual nodes.
    pub numa: bool,
    /// Whether all places for vCPUs are known; else only the plugged ones, and what lies between their numbers.
    pub complete: bool,
}

/// A reply that does not say what a guest is made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QmpShapeError {
    /// A number that no guest has.
    #[error("query-cpus-fast: cpu-index {vcpu} is none that a guest can have (expected a number from 0 to {})", Guest::MAX_VCPUS - 1)]
    TooHigh {
        /// Which one.
        vcpu: VcpuId,
    },
    /// A number that two vCPUs have.
    #[error("query-cpus-fast: cpu-index {vcpu} is there twice (expected each vcpu once)")]
    IndexTwice {
        /// Which one.
        vcpu: VcpuId,
    },
    /// No vCPU at all.
    #[error("query-cpus-fast: there is no vcpu (expected at least one)")]
    NoVcpu,
    /// More places than a guest can have.
    #[error(
        "query-hotpluggable-cpus: more vcpus than a guest can have (expected at most {})",
        Guest::MAX_VCPUS
    )]
    TooMany,
}

/// How much of a place names the socket, and the core.
const SOCKET: usize = 3;
const CORE: usize = 7;

/// Puts both replies together. Without query-hotpluggable-cpus (some machines do not have it) only plugged vCPUs are
/// known, and those between them are taken for unplugged ones of the virtual node below.
///
/// # Errors
/// They do not say which vCPUs there are.
pub fn shape(cpus: &[Vcpu], hotpluggable: Option<&[Slot]>) -> Result<QmpShape, QmpShapeError> {
    let mut slots: BTreeMap<Place, Vec<Option<VnodeId>>> = BTreeMap::new();
    let mut count = 0_u64;
    for slot in hotpluggable.unwrap_or_default() {
        count = count.saturating_add(slot.vcpus);
        if count > u64::from(Guest::MAX_VCPUS) {
            return Err(QmpShapeError::TooMany);
        }
        slots
            .entry(slot.place)
            .or_default()
            .extend((0..slot.vcpus).map(|_| slot.node));
    }
    let mut vcpus: BTreeMap<VcpuId, (Place, Option<VnodeId>)> = BTreeMap::new();
    for cpu in cpus {
        let (vcpu, place) = (cpu.index, cpu.place);
        if vcpu.0 >= Guest::MAX_VCPUS {
            return Err(QmpShapeError::TooHigh { vcpu });
        }
        let slot = slots.get_mut(&place).and_then(Vec::pop).flatten();
        if vcpus.insert(vcpu, (place, cpu.node.or(slot))).is_some() {
            return Err(QmpShapeError::IndexTwice { vcpu });
        }
    }
    let plugged: VcpuSet = vcpus.keys().copied().collect();
    if plugged.is_empty() {
        return Err(QmpShapeError::NoVcpu);
    }
    let left = slots
        .iter()
        .flat_map(|(place, nodes)| nodes.iter().map(|node| (*place, *node)));
    let mut free = (0..).map(VcpuId).filter(|vcpu| !plugged.contains(*vcpu));
    let left: Vec<_> = free.by_ref().zip(left).collect();
    vcpus.extend(left);
    fill(&mut vcpus)?;
    let numa = vcpus.values().any(|(_, node)| node.is_some());
    let (sockets, cores, threads) = topology(&vcpus);
    // QEMU puts vCPUs that no -numa names in node 0.
    let nodes = vcpus
        .into_iter()
        .map(|(vcpu, (_, node))| (vcpu, node.unwrap_or_default()));
    Ok(QmpShape {
        sockets,
        cores,
        threads,
        vcpus: sorted::map(nodes),
        plugged,
        numa,
        complete: hotpluggable.is_some_and(|elements| !elements.is_empty()),
    })
}

impl QmpShape {
    /// The parts of a plain QEMU guest, of which only its shape is known.
    #[must_use]
    pub fn parts(&self, name: &str) -> GuestParts {
        let mut parts = GuestParts::new(name, self.sockets, self.cores);
        parts.threads = self.threads;
        parts.numa = self.numa;
        parts.numa_explicit = self.numa;
        parts.plugged = self.plugged.clone();
        parts.virtual_nodes = virtual_nodes(&self.vcpus);
        parts
    }

    /// Whether QEMU itself said where the vCPU is.
    fn knows(&self, vcpu: VcpuId) -> bool {
        self.complete || self.plugged.contains(vcpu)
    }
}

fn virtual_nodes(vcpus: &BTreeMap<VcpuId, VnodeId>) -> Vec<VirtualNode> {
    let mut nodes: BTreeMap<VnodeId, VcpuSet> = BTreeMap::new();
    for (vcpu, node) in vcpus {
        nodes.entry(*node).or_default().insert(*vcpu);
    }
    nodes
        .into_iter()
        .map(|(id, vcpus)| VirtualNode::new(id.0, vcpus))
        .collect()
}

/// Puts unplugged vCPUs where numbers are missing below the highest one.
fn fill(vcpus: &mut BTreeMap<VcpuId, (Place, Option<VnodeId>)>) -> Result<(), QmpShapeError> {
    let last = vcpus.last_key_value().map_or(0, |(vcpu, _)| vcpu.0);
    let mut below = vcpus
        .first_key_value()
        .map(|(_, found)| *found)
        .ok_or(QmpShapeError::NoVcpu)?;
    for vcpu in (0..=last).map(VcpuId) {
        // A core of its own: two at one place would be threads of one core.
        below.0[CORE - 1] = u64::MAX - u64::from(vcpu.0);
        below = *vcpus.entry(vcpu).or_insert(below);
    }
    Ok(())
}

/// Sockets, cores and threads: those of the places, if they multiply to the number of vCPUs; else all are cores of one socket.
fn topology(vcpus: &BTreeMap<VcpuId, (Place, Option<VnodeId>)>) -> (u32, u32, u32) {
    let total = vcpus.len();
    let sockets: BTreeSet<&[u64]> = sorted::set(vcpus.values().map(|(place, _)| &place[..SOCKET]));
    let mut cores: BTreeMap<&[u64], usize> = BTreeMap::new();
    for (place, _) in vcpus.values() {
        *cores.entry(&place[..CORE]).or_default() += 1;
    }
    let threads = cores.values().copied().max().unwrap_or(1);
    let per_socket = total / (sockets.len() * threads).max(1);
    match sockets.len() * per_socket * threads == total {
        true => (count(sockets.len()), count(per_socket), count(threads)),
        false => (1, count(total), 1),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::qmp::reply;

    /// The shape that two replies tell.
    pub(super) fn told(cpus: &[Value], slots: Option<&[Value]>) -> Result<QmpShape, QmpShapeError> {
        let text = |list: &[Value]| Value::from(list.to_vec()).to_string();
        let cpus = reply::vcpus(&text(cpus)).unwrap_or_default();
        let slots = slots.map(|slots| reply::slots(&text(slots)));
        shape(&cpus, slots.as_deref())
    }

    pub(super) fn cpu(index: u32, socket: u32, core: u32, node: Option<u32>) -> Value {
        let mut props = json!({"socket-id": socket, "core-id": core, "thread-id": 0});
        if let Some(node) = node {
            props["node-id"] = json!(node);
        }
        json!({"cpu-index": index, "thread-id": 4000 + index, "target": "new-arch", "props": props, "later": {}})
    }

    pub(super) fn slot(socket: u32, core: u32, node: Option<u32>) -> Value {
        let mut slot = cpu(0, socket, core, node);
        slot.as_object_mut().unwrap().remove("cpu-index");
        slot["vcpus-count"] = json!(1);
        slot
    }

    fn describe(shape: &QmpShape) -> String {
        let nodes = virtual_nodes(&shape.vcpus);
        let nodes = nodes
            .iter()
            .map(|node| format!("{}:{}", node.id, node.vcpus));
        let QmpShape {
            sockets,
            cores,
            threads,
            plugged,
            ..
        } = shape;
        let nodes: Vec<String> = nodes.collect();
        format!(
            "{sockets}x{cores}x{threads} {} plugged {plugged}",
            nodes.join(" ")
        )
    }

    /// 2 sockets of 2 cores, each a virtual node; vCPUs 3 and 0 are plugged, in this order.
    pub(super) fn gaps() -> (Vec<Value>, Vec<Value>) {
        let slots = [(1, 1), (1, 0), (0, 1), (0, 0)];
        let slots = slots.map(|(socket, core)| slot(socket, core, Some(socket)));
        (
            vec![cpu(3, 1, 1, Some(1)), cpu(0, 0, 0, Some(0))],
            slots.to_vec(),
        )
    }

    #[test]
    fn places_give_the_numbers_of_unplugged_vcpus() {
        let (cpus, slots) = gaps();
        let shape = told(&cpus, Some(&slots)).unwrap();
        assert_eq!(describe(&shape), "2x2x1 0:0-1 1:2-3 plugged 0,3");
        assert!(shape.complete);
        let guest = Guest::new(shape.parts("a.qmp")).unwrap();
        assert_eq!((guest.sockets, guest.cores, guest.numa), (2, 2, true));
    }

    #[test]
    fn without_places_the_gaps_are_unplugged() {
        let (cpus, _) = gaps();
        let shape = told(&cpus, None).unwrap();
        assert_eq!(describe(&shape), "2x2x1 0:0-2 1:3 plugged 0,3");
        assert!(!shape.complete && Guest::new(shape.parts("a.qmp")).is_ok());
    }

    #[test]
    fn without_numa_there_is_one_virtual_node() {
        let shape = told(&[cpu(0, 0, 0, None), cpu(1, 0, 1, None)], Some(&[])).unwrap();
        assert_eq!(describe(&shape), "1x2x1 0:0-1 plugged 0-1");
        assert!(!shape.numa);
    }

    #[test]
    fn a_place_may_hold_several_vcpus() {
        let place = json!({"vcpus-count": 4, "props": {"core-id": 0}});
        let thread = |index| json!({"cpu-index": index, "thread-id": 9, "props": {"core-id": 0}});
        let shape = told(&[thread(0), thread(1)], Some(&[place])).unwrap();
        assert_eq!(describe(&shape), "1x1x4 0:0-3 plugged 0-1");
    }

    #[rstest]
    #[case(json!([]), json!([]), "query-cpus-fast: there is no vcpu")]
    #[case(json!([{"cpu-index": 8192, "thread-id": 9}]), json!([]), "query-cpus-fast: cpu-index 8192 is none that a guest can have (expected a number from 0 to 8191)")]
    #[case(json!([{"cpu-index": 1, "thread-id": 9}]), json!([{"vcpus-count": 4_000_000_000_u32}]), "query-hotpluggable-cpus: more vcpus than")]
    fn is_refused(#[case] cpus: Value, #[case] slots: Value, #[case] says: &str) {
        let refused = told(
            cpus.as_array().unwrap(),
            slots.as_array().map(Vec::as_slice),
        )
        .unwrap_err();
        assert!(refused.to_string().starts_with(says), "{refused}");
    }

    #[rstest]
    #[case(json!([{"cpu-index": 0, "thread-id": 9, "props": null}]), json!([null, 3, {"props": []}]), 3)]
    #[case(json!([{"cpu-index": 0, "thread-id": 9, "props": {"node-id": "x"}}]), json!([]), 1)]
    fn is_lenient(#[case] cpus: Value, #[case] slots: Value, #[case] vcpus: usize) {
        let shape = told(
            cpus.as_array().unwrap(),
            slots.as_array().map(Vec::as_slice),
        )
        .unwrap();
        assert_eq!(shape.vcpus.len(), vcpus);
        assert!(Guest::new(shape.parts("a.qmp")).is_ok());
    }
}
