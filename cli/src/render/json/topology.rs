//! The JSON of `topology`.

use std::collections::BTreeMap;

use numapin_core::host::Host;
use numapin_core::id::{CoreId, CpuId, L3Id, NodeId, PackageId};
use numapin_core::idset::CpuSet;
use serde::Serialize;

use super::SCHEMA;

/// The answer of `topology`.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct TopologyDocument {
    schema: u32,
    online: CpuSet,
    offline: CpuSet,
    cpus: Vec<CpuBody>,
    nodes: Vec<NodeBody>,
    isolated: CpuSet,
    reserved: CpuSet,
    allowed: Option<CpuSet>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct CpuBody {
    cpu: CpuId,
    node: Option<NodeId>,
    package: Option<PackageId>,
    die: Option<u32>,
    core: CoreId,
    l3: Option<L3Id>,
    kind: Option<u32>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct NodeBody {
    node: NodeId,
    cpus: CpuSet,
    memory_kib: Option<u64>,
    distances: BTreeMap<NodeId, u32>,
}

impl From<&Host> for TopologyDocument {
    fn from(host: &Host) -> Self {
        Self {
            schema: SCHEMA,
            online: host.online(),
            offline: host.offline.clone(),
            cpus: host
                .cpus
                .iter()
                .map(|cpu| CpuBody {
                    cpu: cpu.id,
                    node: cpu.node,
                    package: cpu.package,
                    die: cpu.die,
                    core: cpu.core,
                    l3: cpu.l3,
                    kind: cpu.kind,
                })
                .collect(),
            nodes: host
                .nodes
                .iter()
                .map(|node| NodeBody {
                    node: node.id,
                    cpus: node.cpus.clone(),
                    memory_kib: node.memory.as_ref().map(|memory| memory.total_kib),
                    distances: node.distances.clone(),
                })
                .collect(),
            isolated: host.isolated.clone(),
            reserved: host.reserved.clone(),
            allowed: host.allowed.clone(),
            warnings: host.warnings.iter().map(ToString::to_string).collect(),
        }
    }
}
