//! The rules that the parts of a guest are held to.

use super::{Guest, GuestParts};
use crate::id::{NodeId, VcpuId};
use crate::idset::VcpuSet;
use crate::violation::Violation;

/// Host nodes have lower numbers: a bound, so that a typing error does not cost memory.
const MAX_NODE: u32 = crate::cpulist::MAX_ID;

/// How many vCPUs that makes; `None` for none, and for more than a guest can have.
pub(super) fn total(sockets: u32, cores: u32, threads: u32) -> Option<u32> {
    let total = sockets.checked_mul(cores)?.checked_mul(threads)?;
    (1..=Guest::MAX_VCPUS).contains(&total).then_some(total)
}

/// So many vCPUs in a row.
pub(super) fn run(first: u32, count: u32) -> VcpuSet {
    (first..first.saturating_add(count)).map(VcpuId).collect()
}

/// Every rule that is broken. What is broken by a number of vCPUs or virtual nodes that can't be would only be noise
/// after it.
pub(super) fn violations(parts: &GuestParts) -> Vec<Violation> {
    let GuestParts {
        sockets,
        cores,
        threads,
        ..
    } = *parts;
    let Some(total) = total(sockets, cores, threads) else {
        return vec![Violation::VcpuCount {
            sockets,
            cores,
            threads,
            max: Guest::MAX_VCPUS,
        }];
    };
    let nodes = &parts.virtual_nodes;
    if nodes.len() > Guest::MAX_VIRTUAL_NODES as usize {
        return vec![Violation::TooManyVirtualNodes {
            virtual_nodes: u32::try_from(nodes.len()).unwrap_or(u32::MAX),
            max: Guest::MAX_VIRTUAL_NODES,
        }];
    }
    let all = run(0, total);
    let mut found = Vec::new();
    for pair in nodes.windows(2).filter(|pair| pair[0].id == pair[1].id) {
        found.push(Violation::VirtualNodeTwice {
            virtual_node: pair[0].id,
        });
    }
    for (i, node) in nodes.iter().enumerate() {
        if node.vcpus.is_empty() {
            found.push(Violation::NoVcpus {
                virtual_node: node.id,
            });
        }
        if let Some(host_node) = node.host_node.filter(|node| *node > NodeId(MAX_NODE)) {
            found.push(Violation::NoSuchHostNode {
                virtual_node: node.id,
                host_node,
                change: None,
            });
        }
        for earlier in &nodes[..i] {
            let vcpus = earlier.vcpus.intersection(&node.vcpus);
            if !vcpus.is_empty() {
                found.push(Violation::VcpuTwice {
                    vcpus,
                    first: earlier.id,
                    second: node.id,
                });
            }
        }
        let vcpus = node.vcpus.difference(&all);
        if !vcpus.is_empty() {
            found.push(Violation::VcpuBeyond {
                virtual_node: node.id,
                vcpus,
                total,
            });
        }
    }
    let vcpus = all.difference(&parts.vcpus());
    if !vcpus.is_empty() {
        found.push(Violation::VcpuMissing { vcpus, total });
    }
    let vcpus = parts.plugged.difference(&all);
    if !vcpus.is_empty() {
        found.push(Violation::PluggedBeyond { vcpus, total });
    }
    found
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::VirtualNode;
    use super::*;

    fn refused(parts: GuestParts) -> Vec<String> {
        let refused = Guest::new(parts).unwrap_err();
        refused.list.iter().map(ToString::to_string).collect()
    }

    fn with_nodes(nodes: &[(u32, &str)]) -> GuestParts {
        GuestParts {
            virtual_nodes: nodes
                .iter()
                .map(|(id, vcpus)| VirtualNode::new(*id, vcpus.parse().unwrap()))
                .collect(),
            ..GuestParts::new("100", 2, 4)
        }
    }

    #[rstest]
    #[case(&[(0, "0-3"), (1, "3-7")], &["vcpu(s) 3 are in virtual node 0 and again in virtual node 1"])]
    #[case(&[(0, "0-2"), (1, "4-7")], &["vcpu(s) 3 are in no virtual node"])]
    #[case(&[(0, "0-3"), (1, "4-9")], &["virtual node 1 names vcpu(s) 8-9, but the guest has only 8 vcpus"])]
    #[case(&[(0, "0-3"), (0, "4-7")], &["virtual node 0 is there twice"])]
    #[case(&[(0, "0-7"), (1, "")], &["virtual node 1 has no vcpus"])]
    #[case(&[(0, "0-1,8"), (1, "1-3")], &["virtual node 0 names vcpu(s) 8", "vcpu(s) 1 are in virtual node 0 and again",
        "vcpu(s) 4-7 are in no virtual node"])]
    #[case(&[], &["vcpu(s) 0-7 are in no virtual node"])]
    fn parts_that_are_no_partition_are_refused(
        #[case] nodes: &[(u32, &str)],
        #[case] says: &[&str],
    ) {
        let refused = refused(with_nodes(nodes));
        assert_eq!(refused.len(), says.len(), "{refused:?}");
        for (refused, says) in refused.iter().zip(says) {
            assert!(refused.starts_with(says), "{refused}");
        }
    }

    #[test]
    fn virtual_nodes_are_put_in_order() {
        let guest = Guest::new(with_nodes(&[(1, "4-7"), (0, "0-3")])).unwrap();
        assert_eq!(guest.virtual_nodes[0].vcpus, "0-3".parse().unwrap());
    }

    #[rstest]
    #[case(u32::MAX, u32::MAX)]
    #[case(0, 4)]
    #[case(2, 0)]
    #[case(1, 8_193)]
    fn numbers_that_cannot_be_are_refused_at_once(#[case] sockets: u32, #[case] cores: u32) {
        let parts = GuestParts::new("100", sockets, cores);
        let says = format!(
            "{sockets} socket(s) of {cores} core(s) are not a number of vcpus that a guest can have (expected 1 to 8192)"
        );
        for parts in [parts.clone(), parts.with_numa()] {
            assert_eq!(refused(parts).join("\n"), says);
        }
    }

    #[test]
    fn more_virtual_nodes_than_qemu_takes_are_refused() {
        let nodes: Vec<(u32, String)> = (0..200).map(|i| (i, i.to_string())).collect();
        let nodes: Vec<(u32, &str)> = nodes
            .iter()
            .map(|(i, vcpus)| (*i, vcpus.as_str()))
            .collect();
        let parts = GuestParts {
            sockets: 100,
            cores: 2,
            ..with_nodes(&nodes)
        };
        assert_eq!(
            refused(parts),
            ["200 virtual nodes are more than a guest can have (expected at most 128)"]
        );
    }

    #[test]
    fn a_change_is_held_to_the_rules() {
        let guest = Guest::new(GuestParts::new("100", 1, 4)).unwrap();
        let smaller = guest.changed(|parts| parts.plugged = "0-1".parse().unwrap());
        assert_eq!(smaller.unwrap().plugged.len(), 2);
        let beyond = guest.changed(|parts| parts.plugged = "0-4".parse().unwrap());
        assert_eq!(
            beyond.unwrap_err().list,
            [Violation::PluggedBeyond {
                vcpus: "4".parse().unwrap(),
                total: 4
            }]
        );
    }

    #[test]
    fn memory_is_divided_over_the_sockets() {
        let mut parts = GuestParts::new("100", 2, 4);
        parts.memory_mib = Some(4096);
        let guest = Guest::new(parts.with_numa()).unwrap();
        assert_eq!(guest.memory_of(&guest.virtual_nodes[1]), Some(2048));
    }
}
