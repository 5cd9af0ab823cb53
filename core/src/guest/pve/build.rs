//! A config and the flags over it -> [`Guest`].

use super::{GuestConfig, MemoryPolicy, NumaLine, Written};
use crate::guest::flags::Overrides;
use crate::guest::{Device, Guest, GuestName, GuestParts, Running, VirtualNode};
use crate::id::{VcpuId, Vmid, VnodeId};
use crate::violation::{Violation, Violations};

/// What is known of a guest beside its config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    /// Its number.
    pub vmid: Option<Vmid>,
    /// The PCI devices of its config, with the host nodes they hang on.
    pub devices: Vec<Device>,
    /// What only a running guest has.
    pub running: Option<Running>,
}

impl GuestConfig {
    /// The guest that this config and the flags over it describe.
    ///
    /// # Errors
    /// Every rule that it breaks.
    pub fn guest(
        &self,
        name: GuestName,
        flags: &Overrides,
        beside: Beside,
    ) -> Result<Guest, Violations> {
        let sockets = flags.sockets.unwrap_or_else(|| narrow(self.sockets()));
        let cores = flags.cores.unwrap_or_else(|| narrow(self.cores()));
        let numa = flags.numa.unwrap_or_else(|| self.numa());
        let mut parts = GuestParts {
            vmid: beside.vmid,
            affinity: self.affinity.as_ref().map(|w| w.value.clone()),
            memory_mib: Some(self.memory_mib()),
            devices: beside.devices,
            running: beside.running,
            ..GuestParts::new(&name.0, sockets, cores)
        };
        let mut list = Vec::new();
        if numa {
            parts.hugepages = self.hugepages.as_ref().map(|w| w.value);
            if self.numa_lines.is_empty() {
                parts = parts.with_numa();
            } else {
                parts.numa = true;
                parts.numa_explicit = true;
                let nodes = self.numa_lines.iter();
                parts.virtual_nodes = nodes.map(|(id, line)| virtual_node(*id, line)).collect();
                list = self
                    .numa_lines
                    .iter()
                    .flat_map(|(id, line)| broken(*id, line, flags))
                    .collect();
            }
        }
        if let Some(vcpus) = self
            .vcpus
            .as_ref()
            .map(|w| narrow(w.value))
            .filter(|n| *n > 0)
        {
            parts.plugged = parts
                .plugged
                .iter()
                .filter(|vcpu| *vcpu < VcpuId(vcpus))
                .collect();
        }
        list.extend(flags.lay_over(&mut parts));
        match (Guest::new(parts), list.is_empty()) {
            (Ok(guest), true) => Ok(guest),
            (Ok(_), false) => Err(Violations { guest: name, list }),
            (Err(more), _) => {
                list.extend(more.list);
                Err(Violations { guest: name, list })
            }
        }
    }
}

fn virtual_node(id: VnodeId, Written { value, .. }: &Written<NumaLine>) -> VirtualNode {
    let hostnodes = value.hostnodes.as_ref();
    VirtualNode {
        id,
        vcpus: value.cpus.set(),
        host_node: hostnodes.and_then(|ranges| ranges.single()),
        memory_mib: value.memory_mib,
        bound: hostnodes.is_some() && value.policy == Some(MemoryPolicy::Bind),
    }
}

/// What a line breaks that can't be seen in the virtual node any more.
fn broken(
    id: VnodeId,
    Written { value, .. }: &Written<NumaLine>,
    flags: &Overrides,
) -> Vec<Violation> {
    let mut list = Vec::new();
    let hostnodes = value
        .hostnodes
        .as_ref()
        .filter(|_| !flags.host_nodes.contains_key(&id));
    if let Some(several) = hostnodes.filter(|ranges| ranges.single::<crate::id::NodeId>().is_none())
    {
        list.push(Violation::SeveralHostNodes {
            virtual_node: id,
            hostnodes: several.to_string(),
        });
    }
    let vcpus = value.cpus.repeated();
    if !vcpus.is_empty() {
        list.push(Violation::VcpuTwice {
            vcpus,
            first: id,
            second: id,
        });
    }
    list
}

/// A number too large for any guest stays one.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use rstest::rstest;

    use super::super::{ConfigError, Pending, parse};
    use super::*;

    fn guest_with(text: &str, flags: &Overrides) -> Result<Guest, Violations> {
        let config = parse(Path::new("100.conf"), text, Pending::Merge)
            .unwrap()
            .config;
        config.guest(GuestName("100".to_owned()), flags, Beside::default())
    }

    fn guest(text: &str) -> Guest {
        guest_with(text, &Overrides::default()).unwrap()
    }

    fn shape(guest: &Guest) -> String {
        let nodes = guest.virtual_nodes.iter().map(|node| {
            let host_node = node
                .host_node
                .map_or(String::new(), |host| format!("@{host}"));
            format!("{}:{}{host_node}", node.id, node.vcpus)
        });
        nodes.collect::<Vec<_>>().join(" ")
    }

    #[rstest]
    #[case("", "0:0")]
    #[case("sockets: 0\ncores: 0\n", "0:0")]
    #[case("sockets: 2\ncores: 4\n", "0:0-7")]
    #[case("smp: 2\ncores: 4\n", "0:0-7")]
    #[case("smp: 2\nsockets: 0\ncores: 4\n", "0:0-7")]
    #[case("smp: 2\nsockets: 1\ncores: 4\n", "0:0-3")]
    #[case(
        "sockets: 2\ncores: 4\nnuma: 0\nnuma0: cpus=0-7,hostnodes=1,memory=512,policy=bind\n",
        "0:0-7"
    )]
    #[case("sockets: 2\ncores: 4\nnuma: 1\n", "0:0-3 1:4-7")]
    #[case(
        "sockets: 2\ncores: 4\nnuma: yes\nnuma0: cpus=0-1;6-7,memory=256\nnuma1: cpus=2-5,memory=256\n",
        "0:0-1,6-7 1:2-5"
    )]
    #[case(
        "cores: 4\nnuma: 1\nnuma0: 0-3,hostnodes=2-2,memory=512,policy=bind\n",
        "0:0-3@2"
    )]
    #[case("cores: 4\nnuma: 1\nnuma1: 0-3,memory=512\n", "1:0-3")]
    #[case("cores: 1\n[PENDING]\ncores: 2\nnuma: 1\n[snap]\ncores: 8\n", "0:0-1")]
    fn virtual_nodes(#[case] text: &str, #[case] nodes: &str) {
        assert_eq!(shape(&guest(text)), nodes);
    }

    #[rstest]
    #[case("cores: 8\nvcpus: 3\n", "0-2")]
    #[case("cores: 8\nvcpus: 0\n", "0-7")]
    #[case("cores: 8\nvcpus: 9\n", "0-7")]
    #[case("cores: 8\nvcpus: 99999999999999999999999\n", "0-7")]
    #[case("cores: 8\n", "0-7")]
    fn plugged(#[case] text: &str, #[case] vcpus: &str) {
        assert_eq!(guest(text).plugged.to_string(), vcpus);
    }

    #[rstest]
    #[case("sockets: 4294967295\ncores: 4294967295\n", &["vcpu_count"])]
    #[case("sockets: 99999999999999999999999999\n", &["vcpu_count"])]
    #[case("cores: 8\nnuma: 1\nnuma0: cpus=0-3,memory=1\nnuma1: cpus=3-6,memory=1\n", &["vcpu_twice", "vcpu_missing"])]
    #[case("cores: 8\nnuma: 1\nnuma0: cpus=0-3;2;4-7,memory=1\n", &["vcpu_twice"])]
    #[case("cores: 8\nnuma: 1\nnuma0: cpus=10-13,memory=1\n", &["vcpu_beyond", "vcpu_missing"])]
    #[case("cores: 8\nnuma: 1\nnuma0: cpus=0-7,hostnodes=0-1,memory=1\n", &["several_host_nodes"])]
    #[case("cores: 8\nnuma: 1\nnuma0: cpus=0-8,hostnodes=0;1,memory=1\nnuma1: cpus=0,memory=1\n",
        &["several_host_nodes", "vcpu_beyond", "vcpu_twice"])]
    #[case("sockets: 200\nnuma: 1\n", &["too_many_virtual_nodes"])]
    fn all_that_is_broken_is_told(#[case] text: &str, #[case] kinds: &[&str]) {
        let list = guest_with(text, &Overrides::default()).unwrap_err().list;
        let found: Vec<String> = list
            .iter()
            .map(|violation| {
                serde_json::to_value(violation).unwrap()["kind"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(found, kinds);
    }

    #[test]
    fn memory_and_devices() {
        let text = "sockets: 2\nmemory: current=4096\nnuma: 1\nhugepages: 1024\n";
        let built = guest(text);
        assert_eq!(built.memory_of(&built.virtual_nodes[0]), Some(2048));
        assert_eq!(built.hugepages, Some(crate::guest::Hugepages::Gib1));
        assert_eq!(guest("hugepages: 2\n").hugepages, None);
        assert_eq!(guest("").memory_mib, Some(512));
        let bound = guest("numa: 1\nmemory: 64\nnuma0: cpus=0,hostnodes=1,memory=64,policy=bind\n");
        assert!(bound.virtual_nodes[0].bound);
    }

    #[test]
    fn flags_take_the_place_of_keys() {
        let mut flags = Overrides {
            sockets: Some(2),
            cores: Some(2),
            numa: Some(true),
            ..Overrides::default()
        };
        flags.host_nodes.insert(VnodeId(1), crate::id::NodeId(5));
        let text = "sockets: 1\ncores: 1\naffinity: 0-3\n";
        assert_eq!(shape(&guest_with(text, &flags).unwrap()), "0:0-1 1:2-3@5");
        let several = "cores: 4\nnuma: 1\nnuma0: cpus=0-3,hostnodes=0-1,memory=1\n";
        let mut flags = Overrides::default();
        flags.host_nodes.insert(VnodeId(0), crate::id::NodeId(1));
        assert_eq!(shape(&guest_with(several, &flags).unwrap()), "0:0-3@1");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever a config says, reading it ends in a guest, in violations or in an error with its line.
        #[test]
        fn no_config_is_a_panic(
            lines in proptest::collection::vec(
                "(sockets|cores|smp|vcpus|numa|numa[0-9]|affinity|memory|hugepages|hotplug|hostpci1?[0-9]|args|tags|delete|\\[PENDING\\]|\
                 \\[\\PC{0,4}\\]|\\PC{0,6}):? ?(0|1|2|8|4294967295|18446744073709551616|cpus=0-3|cpus=0-1;1|4-7,hostnodes=[0-9]{1,8}|\
                 0-3,memory=1e[0-9]{1,9},policy=bind|[0-9,;: =-]{0,9}|\\PC{0,9})",
                0..12,
            ),
            merge in proptest::bool::ANY,
        ) {
            let text = lines.join("\n");
            let pending = if merge { Pending::Merge } else { Pending::Leave };
            match parse(Path::new("100.conf"), &text, pending) {
                Err(ConfigError::Value { line, .. } | ConfigError::NotAConfig { line, .. }) => {
                    prop_assert!((1..=lines.len()).contains(&line));
                }
                Ok(parsed) => {
                    prop_assert!(parsed.warnings.iter().all(|warning| (1..=lines.len()).contains(&warning.line)));
                    let name = GuestName("100".to_owned());
                    match parsed.config.guest(name, &Overrides::default(), Beside::default()) {
                        Ok(guest) => {
                            let total = guest.sockets * guest.cores;
                            prop_assert_eq!(guest.vcpus().len(), usize::try_from(total).unwrap());
                            prop_assert!(super::super::qemu_shape(&parsed.config).is_ok());
                        }
                        Err(violations) => prop_assert!(!violations.list.is_empty()),
                    }
                }
            }
        }
    }
}
