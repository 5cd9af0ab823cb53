//! Kinds of core, and PCI devices.

use std::collections::BTreeSet;

use super::Out;
use crate::description::{Host, Kind, Pci};
use crate::error::Error;
use crate::layout::Layout;

/// `/sys/devices/cpu_core/cpus` and its like: the online CPUs of a kind.
pub(super) fn kinds(out: &mut Out<'_>) {
    let (host, layout) = (out.host, out.layout);
    for (i, kind) in host.kinds.iter().enumerate().filter(|(_, kind)| kind.pmu) {
        let cores = layout.cores.iter().filter(|core| core.kind == Some(i));
        let cpus = layout.online(cores.flat_map(|core| core.cpus.iter().copied()));
        let text = out.plain_text(&cpus).list;
        out.file(format!("sys/devices/cpu_{}/cpus", kind.name), text);
    }
}

/// `/sys/bus/pci/devices` and what its links lead to.
pub(super) fn pci(out: &mut Out<'_>) {
    let (host, layout) = (out.host, out.layout);
    for device in &host.pci {
        let Pci {
            address,
            bridge,
            node,
            class,
        } = device;
        let root = bus_of(bridge.as_ref().unwrap_or(address)).unwrap_or_default();
        let behind = bridge
            .as_ref()
            .map(|bridge| format!("{bridge}/"))
            .unwrap_or_default();
        let dir = format!("devices/pci{root}/{behind}{address}");
        // A device whose node is unknown is near to every CPU.
        let near: BTreeSet<u32> = match u32::try_from(*node)
            .ok()
            .and_then(|id| layout.nodes.get(&id))
        {
            Some(node) => layout.online(node.cpus.iter().copied()),
            None => layout.online.clone(),
        };
        let near = out.plain_text(&near);
        if !host.quirks.lists_only {
            out.file(format!("sys/{dir}/local_cpus"), near.mask);
        }
        if !host.quirks.masks_only {
            out.file(format!("sys/{dir}/local_cpulist"), near.list);
        }
        out.line(format!("sys/{dir}/numa_node"), node);
        out.line(format!("sys/{dir}/class"), class);
        out.link(
            format!("sys/bus/pci/devices/{address}"),
            format!("../../../{dir}"),
        );
    }
}

/// Names become parts of paths, so they are what they should be; and each stands once.
pub(super) fn check(host: &Host, layout: &Layout) -> Result<(), Error> {
    let mut names = BTreeSet::new();
    for Kind { name, .. } in &host.kinds {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            let what = format!("'{name}' is no name (expected letters, digits and _)");
            return Err(Error::description("kinds.name", what));
        }
        if !names.insert(name) {
            return Err(Error::description(
                "kinds.name",
                format!("'{name}' stands twice"),
            ));
        }
    }
    let mut addresses = BTreeSet::new();
    for device in &host.pci {
        for (key, address) in [
            ("pci.address", Some(&device.address)),
            ("pci.bridge", device.bridge.as_ref()),
        ] {
            if let Some(address) = address.filter(|address| bus_of(address).is_none()) {
                return Err(Error::description(
                    key,
                    format!("'{address}' is not like 0000:41:00.0"),
                ));
            }
        }
        if !addresses.insert(&device.address) {
            return Err(Error::description(
                "pci.address",
                format!("'{}' stands twice", device.address),
            ));
        }
        match u32::try_from(device.node) {
            Ok(node) if !layout.nodes.contains_key(&node) => {
                return Err(Error::description(
                    "pci.node",
                    format!("node {node} is not a node of this machine"),
                ));
            }
            Err(_) if device.node != -1 => {
                let what = format!("{} is neither a node nor -1", device.node);
                return Err(Error::description("pci.node", what));
            }
            _ => {}
        }
    }
    Ok(())
}

/// `0000:41` of `0000:41:00.0`.
fn bus_of(address: &str) -> Option<&str> {
    let (bus, slot) = address.rsplit_once(':')?;
    let (domain, number) = bus.split_once(':')?;
    let (device, function) = slot.split_once('.')?;
    let hex = |text: &str, digits: std::ops::RangeInclusive<usize>| {
        digits.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let fits =
        hex(domain, 4..=8) && hex(number, 2..=2) && hex(device, 2..=2) && hex(function, 1..=1);
    fits.then_some(bus)
}
