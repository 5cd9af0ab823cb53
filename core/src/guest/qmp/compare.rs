//! Where QEMU and the config of a guest differ, and the guest as QEMU has it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{QmpShape, count, virtual_nodes};
use crate::guest::{Guest, VirtualNode};
use crate::id::VnodeId;
use crate::idset::VcpuSet;
use crate::violation::Violations;

/// Where QEMU and the config differ. QEMU is right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Mismatch {
    /// Another number of vCPUs.
    #[error("the config makes {config} vcpus (sockets x cores), QEMU has {qemu}: QEMU is right")]
    VcpuCount {
        /// In the config.
        config: u32,
        /// In QEMU.
        qemu: u32,
    },
    /// vCPUs in another virtual node.
    #[error(
        "vcpu(s) {vcpus} are in virtual node {config} of the config, but in virtual node {qemu} of QEMU: QEMU is right"
    )]
    VirtualNode {
        /// Which ones.
        vcpus: VcpuSet,
        /// Where the config has them.
        config: VnodeId,
        /// Where QEMU has them.
        qemu: VnodeId,
    },
}

/// Where QEMU and the config differ, in the order of vCPUs.
#[must_use]
pub fn compare(guest: &Guest, shape: &QmpShape) -> Vec<Mismatch> {
    let all = guest.vcpus();
    let config = count(all.len());
    let qemu = count(shape.vcpus.len());
    let beyond = !shape.plugged.is_subset(&all);
    let mut found = Vec::new();
    if beyond || (shape.complete && config != qemu) {
        found.push(Mismatch::VcpuCount { config, qemu });
    }
    let mut moved: BTreeMap<(VnodeId, VnodeId), VcpuSet> = BTreeMap::new();
    for node in &guest.virtual_nodes {
        for vcpu in node.vcpus.iter().filter(|vcpu| shape.knows(*vcpu)) {
            match shape.vcpus.get(&vcpu) {
                Some(qemu) if *qemu != node.id => {
                    moved.entry((node.id, *qemu)).or_default().insert(vcpu);
                }
                _ => {}
            }
        }
    }
    found.extend(
        moved
            .into_iter()
            .map(|((config, qemu), vcpus)| Mismatch::VirtualNode {
                vcpus,
                config,
                qemu,
            }),
    );
    found
}

/// The guest as QEMU has it: its vCPUs, which of them are plugged, and in which virtual nodes they are; the rest as the config
/// says, by the number of the virtual node.
///
/// # Errors
/// What QEMU says breaks a rule.
pub fn corrected(guest: &Guest, shape: &QmpShape) -> Result<Guest, Violations> {
    let mismatches = compare(guest, shape);
    let mut parts = guest.clone().into_parts();
    parts.plugged = shape.plugged.clone();
    if mismatches.is_empty() {
        return Guest::new(parts);
    }
    let mut nodes = shape.vcpus.clone();
    if !shape.complete && shape.plugged.is_subset(&guest.vcpus()) {
        for node in &guest.virtual_nodes {
            let config = node.vcpus.iter().filter(|vcpu| !shape.knows(*vcpu));
            nodes.extend(config.map(|vcpu| (vcpu, node.id)));
        }
    }
    if nodes.len() != guest.vcpus().len() {
        (parts.sockets, parts.cores, parts.threads) = (shape.sockets, shape.cores, shape.threads);
    }
    let by_id = |id| {
        guest
            .virtual_nodes
            .iter()
            .find(|node| node.id == id)
            .cloned()
    };
    parts.virtual_nodes = virtual_nodes(&nodes)
        .into_iter()
        .map(|new| VirtualNode {
            vcpus: new.vcpus.clone(),
            ..by_id(new.id).unwrap_or(new)
        })
        .collect();
    parts.numa = shape.numa;
    parts.numa_explicit = shape.numa;
    Guest::new(parts)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::tests::{cpu, gaps, slot, told};
    use super::*;
    use crate::guest::GuestParts;

    fn config() -> Guest {
        let mut parts = GuestParts::new("100", 2, 2).with_numa();
        parts.virtual_nodes[1].host_node = Some(crate::id::NodeId(3));
        Guest::new(parts).unwrap()
    }

    #[test]
    fn what_agrees_is_no_mismatch() {
        let (cpus, slots) = gaps();
        for slots in [Some(slots.as_slice()), None] {
            let shape = told(&cpus, slots).unwrap();
            assert_eq!(compare(&config(), &shape), []);
            let corrected = corrected(&config(), &shape).unwrap();
            assert_eq!(corrected.plugged, "0,3".parse().unwrap());
            assert_eq!(corrected.virtual_nodes, config().virtual_nodes);
        }
    }

    #[test]
    fn qemu_is_right_about_virtual_nodes() {
        let cpus: Vec<Value> = (0..4)
            .map(|i| cpu(i, 0, i, Some(u32::from(i == 3))))
            .collect();
        let shape = told(&cpus, None).unwrap();
        let found = compare(&config(), &shape);
        assert_eq!(
            found.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "vcpu(s) 2 are in virtual node 1 of the config, but in virtual node 0 of QEMU: QEMU is right"
            ]
        );
        let corrected = corrected(&config(), &shape).unwrap();
        assert_eq!(corrected.virtual_nodes[0].vcpus, "0-2".parse().unwrap());
        assert_eq!(
            corrected.virtual_nodes[1].host_node,
            Some(crate::id::NodeId(3))
        );
        assert_eq!((corrected.sockets, corrected.cores), (2, 2));
    }

    #[test]
    fn qemu_is_right_about_the_number_of_vcpus() {
        let cpus: Vec<Value> = (0..9).map(|i| cpu(i, 0, i, None)).collect();
        let slots: Vec<Value> = (0..9).map(|i| slot(0, i, None)).collect();
        for slots in [Some(slots.as_slice()), None] {
            let shape = told(&cpus, slots).unwrap();
            let found = compare(&config(), &shape);
            assert_eq!(found[0], Mismatch::VcpuCount { config: 4, qemu: 9 });
            let corrected = corrected(&config(), &shape).unwrap();
            assert_eq!(
                (corrected.sockets, corrected.cores, corrected.numa),
                (1, 9, false)
            );
            assert_eq!(corrected.virtual_nodes.len(), 1);
        }
    }

    #[test]
    fn fewer_plugged_vcpus_are_no_mismatch_where_the_places_are_unknown() {
        let shape = told(&[cpu(0, 0, 0, Some(0))], None).unwrap();
        assert_eq!(compare(&config(), &shape), []);
        let few = told(&[cpu(0, 0, 0, Some(0))], Some(&[slot(0, 0, Some(0))])).unwrap();
        assert_eq!(
            compare(&config(), &few),
            [Mismatch::VcpuCount { config: 4, qemu: 1 }]
        );
    }
}
