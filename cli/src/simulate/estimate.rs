//! The share of a guest's memory accesses that stay on the host node of the vCPU that makes them: an estimate.
//!
//! The model: a vCPU runs equally often on each CPU of its mask, and reads and writes the memory of its own virtual node. Memory
//! that is bound (`policy=bind`) is on the host node it names. Other memory is where it was first touched: before pinning that
//! is wherever the vCPUs of its virtual node happened to run, and the estimate after pinning is for memory touched from then on.
//! Caches, load and the guest's own scheduling are left out, so a measurement will differ; the order of guests will not.

use std::collections::BTreeMap;

use numapin_core::guest::Guest;
use numapin_core::host::Host;
use numapin_core::id::{NodeId, VcpuId};
use numapin_core::idset::CpuSet;
use numapin_core::sorted;

/// The model in words, for the foot of the output.
pub(crate) const MODEL: &str = "\
local share: an estimate. A vCPU is taken to run equally often on each CPU of its mask and to use the memory of its own virtual
node; bound memory is on the host node it names, other memory where the vCPUs of its virtual node first touched it.";

/// The share of local accesses, 0 to 1, when each vCPU has the mask that `masks` gives it (all online CPUs without one).
pub(crate) fn local_share(host: &Host, guest: &Guest, masks: &BTreeMap<VcpuId, CpuSet>) -> f64 {
    let online = host.online();
    let mut local = 0.0;
    let mut vcpus = 0.0;
    for node in &guest.virtual_nodes {
        let runs: Vec<_> = node
            .vcpus
            .iter()
            .map(|vcpu| by_node(host, masks.get(&vcpu).unwrap_or(&online)))
            .collect();
        let memory = match (node.bound, node.host_node) {
            (true, Some(bound)) => BTreeMap::from([(bound, 1.0)]),
            _ => average(&runs),
        };
        for run in &runs {
            local += run
                .iter()
                .map(|(node, share)| share * memory.get(node).unwrap_or(&0.0))
                .sum::<f64>();
            vcpus += 1.0;
        }
    }
    if vcpus > 0.0 { local / vcpus } else { 0.0 }
}

/// How the CPUs of a mask are spread over the host nodes; the shares add up to 1 where each CPU belongs to a node.
fn by_node(host: &Host, mask: &CpuSet) -> BTreeMap<NodeId, f64> {
    let size = host.online().common(mask).max(1);
    let share = |cpus: &CpuSet| count(cpus.common(mask)) / count(size);
    sorted::map(
        host.nodes
            .iter()
            .map(|node| (node.id, share(&node.cpus)))
            .filter(|(_, share)| *share > 0.0),
    )
}

fn average(runs: &[BTreeMap<NodeId, f64>]) -> BTreeMap<NodeId, f64> {
    let mut sum: BTreeMap<NodeId, f64> = BTreeMap::new();
    for run in runs {
        for (node, share) in run {
            *sum.entry(*node).or_default() += share / count(runs.len());
        }
    }
    sum
}

fn count(n: usize) -> f64 {
    // Numbers of CPUs are far below 2^53, so nothing is lost.
    u32::try_from(n).map_or(f64::INFINITY, f64::from)
}
