//! What is legal but will disappoint.

use serde::Serialize;

use crate::guest::GuestName;
use crate::id::{NodeId, VnodeId};
use crate::idset::{CpuSet, NodeSet, VcpuSet};

/// Something about a plan that is legal but will disappoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Note {
    /// CPUs that `affinity` names and that can't be used.
    #[error("affinity names cpu(s) {cpus} that are offline or do not exist")]
    AffinityAbsent {
        /// Which.
        cpus: CpuSet,
    },
    /// CPUs that `affinity` names and that are kept for the host.
    #[error("affinity names cpu(s) {cpus} that are reserved for the host: they are not used")]
    AffinityReserved {
        /// Which.
        cpus: CpuSet,
    },
    /// vCPUs that are not plugged and do not fit.
    #[error("vcpu(s) {vcpus} are not plugged and would not fit: the plan is made without them")]
    UnpluggedLeftOut {
        /// Which.
        vcpus: VcpuSet,
    },
    /// vCPUs on CPUs that other guests hold one-to-one.
    #[error(
        "{vcpus} vcpu(s) are on cpu(s) {cpus} that guest(s) {} hold one-to-one",
        names(guests)
    )]
    Overlap {
        /// How many.
        vcpus: u32,
        /// The CPUs.
        cpus: CpuSet,
        /// Who holds them.
        guests: Vec<GuestName>,
    },
    /// Who sits on the CPUs that overlap=allow lets the guest use.
    #[error("overlap=allow: guest(s) {} are on cpu(s) {cpus}, too", names(guests))]
    OverlapAllowed {
        /// The CPUs.
        cpus: CpuSet,
        /// Who is there.
        guests: Vec<GuestName>,
    },
    /// The mask of a virtual node is its whole area, claimed CPUs included.
    #[error(
        "virtual node {virtual_node} has {vcpus} vcpu(s) but only {unclaimed} cpu(s) that no guest holds one-to-one: its mask \
         includes cpu(s) {cpus} of others"
    )]
    WholeArea {
        /// Which one.
        virtual_node: VnodeId,
        /// How many vCPUs it has.
        vcpus: u32,
        /// How many CPUs of its area nobody holds.
        unclaimed: u32,
        /// The claimed CPUs in its mask.
        cpus: CpuSet,
    },
    /// Virtual nodes that share a host node because there are too few.
    #[error(
        "virtual nodes {} share host node {host_node}: there is no host node for each of them",
        ids(virtual_nodes)
    )]
    SharedNode {
        /// Which.
        virtual_nodes: Vec<VnodeId>,
        /// Where.
        host_node: NodeId,
    },
    /// A guest with huge pages whose virtual node is not where Proxmox VE reserves its pages.
    #[error(
        "virtual node {virtual_node} can't be on host node {virtual_node}, where its huge pages are reserved: its memory will \
         be remote"
    )]
    HugepagesElsewhere {
        /// Which one.
        virtual_node: VnodeId,
    },
    /// A guest with one virtual node that spans host nodes.
    #[error(
        "the guest spans host nodes {host_nodes} and does not know it{}",
        better(*sockets, *cores)
    )]
    Spanning {
        /// Which.
        host_nodes: NodeSet,
        /// With `numa: 1`, the number of sockets with which each would have a host node of its own, where there is one.
        sockets: Option<u32>,
        /// The number of cores that goes with it.
        cores: Option<u32>,
    },
    /// Threads that were to be on spare CPUs, of which there are none.
    #[error(
        "there are no spare cpus on host node(s) {host_nodes} for {threads}: their mask is left"
    )]
    NothingSpare {
        /// Where.
        host_nodes: NodeSet,
        /// Which threads (a key of the policy).
        threads: String,
    },
    /// vCPUs that share a core although smt=spread.
    #[error(
        "vcpu(s) {vcpus} share cores with one another since cores ran out: siblings that are both busy lose 40 to 75 % of their \
         throughput for about 20 % lower latency"
    )]
    SharedCores {
        /// Which.
        vcpus: VcpuSet,
    },
    /// Passed-through devices on other host nodes.
    #[error("device {address} hangs on host node {host_node}, and the guest is not there")]
    RemoteDevice {
        /// Its address.
        address: String,
        /// Where it hangs.
        host_node: NodeId,
    },
    /// Several isolated CPUs in one mask.
    #[error(
        "the mask of virtual node {virtual_node} has isolated cpu(s) {cpus}: the kernel does not balance between them, so all \
         its vcpus run on the first; vcpus=one-to-one uses each"
    )]
    IsolatedMask {
        /// Which one.
        virtual_node: VnodeId,
        /// The isolated CPUs.
        cpus: CpuSet,
    },
    /// Memory that is not bound to the host node of its virtual node.
    #[error(
        "virtual node(s) {} have memory that is not bound to their host node: {}",
        ids(virtual_nodes),
        if *before { "it is placed before the pins are set (passthrough, huge pages) and stays where it is" }
        else { "what is touched before the pins are set can be elsewhere" }
    )]
    UnboundMemory {
        /// Which.
        virtual_nodes: Vec<VnodeId>,
        /// All of it is placed before the pins: passthrough and huge pages.
        before: bool,
    },
    /// A running guest's memory on other host nodes.
    #[error("{mib} MiB of the guest's memory are on other host nodes than its vcpus")]
    RemoteMemory {
        /// How much.
        mib: u64,
    },
    /// Host nodes with less memory than the guest needs there.
    #[error("host node(s) {host_nodes} have less memory available than the guest needs there")]
    ShortMemory {
        /// Which.
        host_nodes: NodeSet,
    },
    /// Others may run on the CPUs that a one-to-one guest has.
    #[error(
        "nothing keeps unpinned guests and containers off cpu(s) {cpus}{}; default: shared in numapin.conf does for guests",
        if guests.is_empty() { String::new() } else { format!(" (guest(s) {} are unpinned now)", names(guests)) }
    )]
    NotAlone {
        /// The CPUs.
        cpus: CpuSet,
        /// Guests that nobody pinned.
        guests: Vec<GuestName>,
    },
}

fn names(guests: &[GuestName]) -> String {
    let names: Vec<&str> = guests.iter().map(|guest| guest.0.as_str()).collect();
    names.join(", ")
}

fn ids(virtual_nodes: &[VnodeId]) -> String {
    let ids: Vec<String> = virtual_nodes.iter().map(ToString::to_string).collect();
    ids.join(", ")
}

fn better(sockets: Option<u32>, cores: Option<u32>) -> String {
    match (sockets, cores) {
        (Some(sockets), Some(cores)) => {
            format!(": numa: 1 with sockets: {sockets} and cores: {cores} would tell it")
        }
        _ => String::new(),
    }
}
