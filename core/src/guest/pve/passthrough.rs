//! Reads what a node says about the devices of a guest: mappings, reservations, and the host node of each device in sysfs.

use std::fs;

use super::GuestConfig;
use super::devices::{Surroundings, devices, reserved};
use super::mapping::PciMapping;
use crate::guest::Device;
use crate::host::{HostError, pci};
use crate::id::Vmid;
use crate::root::{self, FileError, Root};

/// The devices of a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passthrough {
    /// In the order of hostpciN lines.
    pub devices: Vec<Device>,
    /// What is to be told about them.
    pub warnings: Vec<String>,
}

/// Reads the devices of a guest. A file of Proxmox VE's that is absent says nothing.
///
/// # Errors
/// A file is there and can't be read.
pub fn read(
    root: &Root,
    config: &GuestConfig,
    vmid: Option<Vmid>,
) -> Result<Passthrough, HostError> {
    if config.hostpci.is_empty() {
        return Ok(Passthrough::default());
    }
    let file = root.etc_pve().join("mapping/pci.cfg");
    let mapping = PciMapping::parse(&file, &root::read_text(&file)?.unwrap_or_default());
    let reservations = root.run().join("qemu-server/pci-id-reservations");
    let reservations = root::read_text(&reservations)?.unwrap_or_default();
    let taken = vmid
        .map(|vmid| reserved(&reservations, vmid))
        .unwrap_or_default();
    let node = node_name(root)?.unwrap_or_default();
    let around = Surroundings {
        mapping: &mapping,
        node: &node,
        reserved: &taken,
    };
    let (devices, missing) = devices(config, &around, |address| pci::node(root, address))?;
    let warnings = mapping.warnings.iter().map(ToString::to_string);
    Ok(Passthrough {
        devices,
        warnings: warnings
            .chain(missing.iter().map(ToString::to_string))
            .collect(),
    })
}

/// What this node is called in its cluster: where /etc/pve/local leads, else the name of the host; on a dump that has neither, the
/// only node it has.
///
/// # Errors
/// A file is there and can't be read.
pub fn node_name(root: &Root) -> Result<Option<String>, FileError> {
    let local = fs::read_link(root.etc_pve().join("local")).ok();
    let local = local.as_deref().and_then(|path| path.file_name()?.to_str());
    if let Some(name) = local {
        return Ok(Some(name.to_owned()));
    }
    let host = root::read_text(&root.proc().join("sys/kernel/hostname"))?.unwrap_or_default();
    let host = host.trim().split('.').next().unwrap_or_default();
    if !host.is_empty() {
        return Ok(Some(host.to_owned()));
    }
    let nodes = root::read_names(&root.etc_pve().join("nodes"))?.unwrap_or_default();
    Ok(match nodes.as_slice() {
        [node] => Some(node.clone()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tempfile::TempDir;

    use super::super::{Pending, parse};
    use super::*;
    use crate::id::NodeId;

    fn tree(files: &[(&str, &str)]) -> (TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let root = Root::captured(dir.path()).unwrap();
        (dir, root)
    }

    const FILES: &[(&str, &str)] = &[
        ("sys/bus/pci/devices/0000:01:00.0/numa_node", "1\n"),
        ("sys/bus/pci/devices/0000:02:00.1/numa_node", "3\n"),
        ("proc/sys/kernel/hostname", "pve1.lan\n"),
        (
            "etc/pve/mapping/pci.cfg",
            "nic\n\tmap node=pve1,path=0000:01:00.0,id=1:1\n\tmap node=pve1,path=0000:02:00,id=1:1\n\tmap x\n",
        ),
        (
            "run/qemu-server/pci-id-reservations",
            "0000:02:00.1 100 pid:7\n",
        ),
    ];

    fn devices_of(files: &[(&str, &str)], vmid: u32) -> Passthrough {
        let (_dir, root) = tree(files);
        let text = "hostpci0: mapping=nic\nhostpci1: 01:00.0\nhostpci2: 0f:f2.0\n";
        let config = parse(Path::new("100.conf"), text, Pending::Merge)
            .unwrap()
            .config;
        read(&root, &config, Some(Vmid(vmid))).unwrap()
    }

    #[test]
    fn devices_are_read() {
        let found = devices_of(FILES, 100);
        let nodes: Vec<_> = found
            .devices
            .iter()
            .map(|device| (device.address.as_str(), device.node))
            .collect();
        let expected = [
            ("0000:02:00", Some(NodeId(3))),
            ("0000:01:00.0", Some(NodeId(1))),
            ("0000:0f:f2.0", None),
        ];
        assert_eq!(nodes, expected);
        assert_eq!(found.warnings.len(), 1);
        assert!(found.warnings[0].ends_with(
            "pci.cfg:4: \"x\" has no key (expected key=value): the line is passed over"
        ));
        assert_eq!(devices_of(FILES, 101).devices[0].node, None);
    }

    #[test]
    fn without_a_mapping_file_the_place_is_unknown() {
        let found = devices_of(&[("sys/kernel/x", "")], 100);
        assert_eq!(found.devices.len(), 2);
        assert!(found.warnings[0].starts_with(
            "hostpci0: the mapping \"nic\" has no device on this node, whose name is not known"
        ));
    }

    #[test]
    fn the_node_is_named() {
        let (dir, root) = tree(&[("etc/pve/nodes/a/x", ""), ("sys/x", "")]);
        assert_eq!(node_name(&root).unwrap().as_deref(), Some("a"));
        fs::create_dir_all(dir.path().join("etc/pve/nodes/b")).unwrap();
        assert_eq!(node_name(&root).unwrap(), None);
        std::os::unix::fs::symlink("nodes/b", dir.path().join("etc/pve/local")).unwrap();
        assert_eq!(node_name(&root).unwrap().as_deref(), Some("b"));
        let (_dir, root) = tree(FILES);
        assert_eq!(node_name(&root).unwrap().as_deref(), Some("pve1"));
    }
}
