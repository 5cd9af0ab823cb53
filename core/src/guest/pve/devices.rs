//! Which PCI devices a guest gets, and on which host node each is.

use std::collections::BTreeSet;

use super::mapping::PciMapping;
use super::{GuestConfig, HostPci};
use crate::guest::Device;
use crate::host::pci::PciAddress;
use crate::id::{NodeId, Vmid};
use crate::sorted;

/// What is known about devices beside the config.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The mappings of the cluster.
    pub mapping: &'a PciMapping,
    /// The name of this node in the cluster.
    pub node: &'a str,
    /// The addresses that Proxmox VE has reserved for this guest: they tell which alternative of a mapping it took.
    pub reserved: &'a BTreeSet<String>,
}

/// A hostpciN line that leads to no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "hostpci{slot}: the mapping {mapping:?} has no device on {} (expected a map line for it in /etc/pve/mapping/pci.cfg); its \
     place counts as unknown",
    this(node)
)]
pub struct NoDevice {
    /// Which line.
    pub slot: u32,
    /// The name of the mapping.
    pub mapping: String,
    /// This node.
    pub node: String,
}

/// The devices of a guest in the order of its hostpciN lines, and the lines that lead to none. `place` is asked for the host
/// node of each address.
///
/// Of a mapping with several alternatives Proxmox VE takes one when the guest starts: until then the host node is known only if
/// all of them are on the same one.
///
/// # Errors
/// What `place` answers.
pub fn devices<E>(
    config: &GuestConfig,
    around: &Surroundings<'_>,
    mut place: impl FnMut(PciAddress) -> Result<Option<NodeId>, E>,
) -> Result<(Vec<Device>, Vec<NoDevice>), E> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for (slot, line) in &config.hostpci {
        match &line.value {
            HostPci::Host(addresses) => {
                for address in addresses {
                    found.push(device(address, &mut place)?);
                }
            }
            HostPci::Mapping(name) => {
                let all: Vec<&[String]> = around.mapping.alternatives(name, around.node).collect();
                let taken = all
                    .iter()
                    .find(|addresses| addresses.iter().any(|a| is_reserved(a, around.reserved)));
                let alternatives = taken.map_or(all.as_slice(), std::slice::from_ref);
                match alternatives {
                    [] => missing.push(NoDevice {
                        slot: *slot,
                        mapping: name.clone(),
                        node: around.node.to_owned(),
                    }),
                    [addresses] => {
                        for address in *addresses {
                            found.push(device(address, &mut place)?);
                        }
                    }
                    several => {
                        let mut nodes = BTreeSet::new();
                        for address in several.iter().copied().flatten() {
                            nodes.insert(device(address, &mut place)?.node);
                        }
                        found.push(Device {
                            address: format!("mapping {name}"),
                            node: nodes
                                .first()
                                .copied()
                                .flatten()
                                .filter(|_| nodes.len() == 1),
                        });
                    }
                }
            }
        }
    }
    Ok((found, missing))
}

/// The addresses that Proxmox VE has reserved for a guest, of /run/qemu-server/pci-id-reservations: lines of an address, the VMID, and
/// since when or by which process. Lines of any other form pass.
#[must_use]
pub fn reserved(text: &str, vmid: Vmid) -> BTreeSet<String> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (address, owner) = (words.next()?, words.next()?);
        (owner == vmid.to_string()).then(|| address.to_owned())
    });
    sorted::set(lines)
}

fn this(node: &str) -> String {
    match node {
        "" => "this node, whose name is not known".to_owned(),
        _ => format!("node {node:?}"),
    }
}

/// A reservation can be for each function of a device.
fn is_reserved(address: &str, reserved: &BTreeSet<String>) -> bool {
    let functions = format!("{address}.");
    reserved
        .iter()
        .any(|r| r == address || (!address.contains('.') && r.starts_with(&functions)))
}

/// An address that no device can have (Proxmox VE takes some) is on no known node.
fn device<E>(
    address: &str,
    place: &mut impl FnMut(PciAddress) -> Result<Option<NodeId>, E>,
) -> Result<Device, E> {
    let node = match address.parse::<PciAddress>() {
        Ok(parsed) => place(parsed)?,
        Err(_) => None,
    };
    Ok(Device {
        address: address.to_owned(),
        node,
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::path::Path;

    use rstest::rstest;

    use super::super::{Pending, parse};
    use super::*;

    const MAPPING: &str = "nic\n\tmap node=a,path=0000:01:00.0,id=1:1\n\tmap node=a,path=0000:02:00.0,id=1:1\n\n\
        near\n\tmap node=a,path=0000:01:00.0,id=1:1\n\tmap node=a,path=0000:01:00.1,id=1:1\n\n\
        one\n\tmap node=a,path=0000:02:00.0;0000:02:00.1,id=1:1\n\tmap node=b,path=0000:09:00.0,id=1:1\n";

    /// Each bus is its own host node; bus 0 is unknown.
    fn place(address: PciAddress) -> Result<Option<NodeId>, Infallible> {
        Ok((address.bus > 0).then(|| NodeId(u32::from(address.bus))))
    }

    fn found(text: &str, reservations: &str) -> (Vec<String>, Vec<String>) {
        let config = parse(Path::new("100.conf"), text, Pending::Merge)
            .unwrap()
            .config;
        let mapping = PciMapping::parse(Path::new("pci.cfg"), MAPPING);
        let reserved = reserved(reservations, Vmid(100));
        let around = Surroundings {
            mapping: &mapping,
            node: "a",
            reserved: &reserved,
        };
        let Ok((devices, missing)) = devices(&config, &around, place);
        let show = |device: Device| {
            let node = device.node.map_or("?".to_owned(), |node| node.to_string());
            format!("{}@{node}", device.address)
        };
        (
            devices.into_iter().map(show).collect(),
            missing.iter().map(ToString::to_string).collect(),
        )
    }

    #[rstest]
    #[case("hostpci10: 05:00\nhostpci2: 0000:03:00.0;00:1f.0,pcie=1\n", &["0000:03:00.0@3", "0000:00:1f.0@?", "0000:05:00@5"])]
    #[case("hostpci0: 0f:f2.0\n", &["0000:0f:f2.0@?"])]
    #[case("hostpci0: mapping=one\n", &["0000:02:00.0@2", "0000:02:00.1@2"])]
    #[case("hostpci0: mapping=nic\n", &["mapping nic@?"])]
    #[case("hostpci0: mapping=near\n", &["mapping near@1"])]
    #[case("hostpci16: 05:00\n", &[])]
    fn devices_and_their_host_nodes(#[case] text: &str, #[case] devices: &[&str]) {
        assert_eq!(
            found(text, ""),
            (
                devices.iter().map(|d| (*d).to_owned()).collect(),
                Vec::new()
            )
        );
    }

    #[test]
    fn the_alternative_that_was_taken_is_known() {
        let reservations = "0000:01:00.0 101 time:1\nodd\n0000:02:00.0 100 pid:7\n";
        assert_eq!(
            found("hostpci0: mapping=nic\n", reservations).0,
            ["0000:02:00.0@2"]
        );
    }

    #[test]
    fn a_mapping_without_a_device_here_is_told() {
        let (devices, missing) = found("hostpci3: mapping=other\n", "");
        assert!(devices.is_empty());
        assert_eq!(
            missing,
            [
                "hostpci3: the mapping \"other\" has no device on node \"a\" (expected a map line for it in \
              /etc/pve/mapping/pci.cfg); its place counts as unknown"
            ]
        );
    }
}
