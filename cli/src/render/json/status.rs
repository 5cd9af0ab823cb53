//! The JSON of `status`.

use std::collections::BTreeMap;

use numapin_core::claims::Beside;
use numapin_core::claims::ledger::KeptPolicy;
use numapin_core::claims::live::Container;
use numapin_core::guest::GuestName;
use numapin_core::id::{NodeId, Pid, Vmid};
use numapin_core::idset::{CpuSet, NodeSet};
use numapin_core::reconcile::ThreadNow;
use serde::Serialize;

use super::SCHEMA;
use crate::survey::{Free, GuestState, GuestStatus, NodeStatus};

/// The answer of `status`.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct StatusDocument<'a> {
    schema: u32,
    /// Whether some guest is not as it should be: exit 6.
    drift: bool,
    guests: Vec<GuestBody<'a>>,
    /// Null where guests were named.
    node: Option<NodeBody<'a>>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct GuestBody<'a> {
    guest: &'a GuestName,
    vmid: Option<Vmid>,
    /// The name in its config.
    name: Option<&'a str>,
    pid: Option<Pid>,
    state: GuestState,
    drift: bool,
    policy: Option<&'a KeptPolicy>,
    /// The policy that its plan was made with.
    planned_with: Option<&'a KeptPolicy>,
    threads: &'a [ThreadNow],
    claimed: &'a CpuSet,
    /// Who else can be on the CPUs that it holds one-to-one.
    beside: &'a Beside,
    containers: Vec<ContainerBody<'a>>,
    host_nodes: &'a NodeSet,
    memory_mib: &'a BTreeMap<NodeId, u64>,
    notes: &'a [String],
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct NodeBody<'a> {
    nodes: &'a [Free],
    claimed: &'a BTreeMap<GuestName, CpuSet>,
    lines_without_guest: &'a [Vmid],
    containers: Vec<ContainerBody<'a>>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct ContainerBody<'a> {
    vmid: Vmid,
    cpus: &'a CpuSet,
}

impl<'a> StatusDocument<'a> {
    /// Guests, and the node where all of it was asked for.
    pub(crate) fn new(guests: &'a [GuestStatus], node: Option<&'a NodeStatus>) -> Self {
        Self {
            schema: SCHEMA,
            drift: guests.iter().any(|guest| guest.drift),
            guests: guests.iter().map(guest).collect(),
            node: node.map(|node| NodeBody {
                nodes: &node.nodes,
                claimed: &node.claimed,
                lines_without_guest: &node.lines_without_guest,
                containers: containers(&node.containers),
            }),
        }
    }
}

fn guest(guest: &GuestStatus) -> GuestBody<'_> {
    GuestBody {
        guest: &guest.guest,
        vmid: guest.vmid,
        name: guest.title.as_deref(),
        pid: guest.pid,
        state: guest.state,
        drift: guest.drift,
        policy: guest.policy.as_ref(),
        planned_with: guest.planned_with.as_ref(),
        threads: &guest.threads,
        claimed: &guest.claimed,
        beside: &guest.beside,
        containers: containers(&guest.containers),
        host_nodes: &guest.host_nodes,
        memory_mib: &guest.memory_mib,
        notes: &guest.notes,
    }
}

fn containers(list: &[Container]) -> Vec<ContainerBody<'_>> {
    list.iter()
        .map(|container| ContainerBody {
            vmid: container.vmid,
            cpus: &container.cpus,
        })
        .collect()
}
