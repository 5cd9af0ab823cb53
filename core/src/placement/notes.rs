//! What is legal but will disappoint.

use serde::Serialize;

use super::Plan;
use super::problem::Problem;
use crate::guest::GuestName;
use crate::id::{NodeId, VnodeId};
use crate::idset::{CpuSet, NodeSet, VcpuSet};
use crate::policy::{Mode, Overlap};

/// Something about a plan that is legal but will disappoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
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
        "the guest spans host nodes {host_nodes} and does not know it: numa: 1 with sockets: {sockets} and cores: {cores} \
         would tell it"
    )]
    Spanning {
        /// Which.
        host_nodes: NodeSet,
        /// The better number of sockets.
        sockets: u32,
        /// The better number of cores.
        cores: u32,
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
        "vcpu(s) {vcpus} share cores with one another, since cores ran out; siblings on one core lose 40 to 75 % of throughput"
    )]
    SharedCores {
        /// Which.
        vcpus: VcpuSet,
    },
}

/// Adds what there is to say about a plan.
pub(super) fn add(problem: &Problem<'_>, plan: &mut Plan) {
    let notes = &mut plan.notes;
    if let Some(affinity) = &problem.guest.affinity {
        let cpus = affinity.difference(&problem.usable.online);
        if !cpus.is_empty() {
            notes.push(Note::AffinityAbsent { cpus });
        }
        let cpus = affinity.intersection(&problem.host.reserved);
        if !cpus.is_empty() {
            notes.push(Note::AffinityReserved { cpus });
        }
    }
    let used: CpuSet = plan
        .vcpus
        .iter()
        .flat_map(|placed| placed.cpus.iter())
        .collect();
    match (problem.policy.mode, problem.policy.overlap) {
        (_, Overlap::Allow) => {
            let (cpus, guests) = problem.usable.guests_on(&used);
            if !cpus.is_empty() {
                notes.push(Note::OverlapAllowed { cpus, guests });
            }
        }
        (Mode::OneToOne, _) => {
            let cpus = used.intersection(&problem.usable.claimed);
            if !cpus.is_empty() {
                let vcpus = u32::try_from(cpus.len()).unwrap_or(u32::MAX);
                let guests = problem.usable.holders_of(&cpus);
                notes.push(Note::Overlap {
                    vcpus,
                    cpus,
                    guests,
                });
            }
        }
        _ => {}
    }
}

fn names(guests: &[GuestName]) -> String {
    let names: Vec<&str> = guests.iter().map(|guest| guest.0.as_str()).collect();
    names.join(", ")
}

fn ids(virtual_nodes: &[VnodeId]) -> String {
    let ids: Vec<String> = virtual_nodes.iter().map(ToString::to_string).collect();
    ids.join(", ")
}
