//! Kinds of core, and PCI devices.

use std::collections::BTreeSet;

use super::Out;
use crate::description::Pci;
use crate::error::Error;

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
pub(super) fn pci(out: &mut Out<'_>) -> Result<(), Error> {
    let (host, layout) = (out.host, out.layout);
    for Pci {
        address,
        bridge,
        node,
        class,
    } in &host.pci
    {
        let domain_and_bus = [Some(address), bridge.as_ref()]
            .into_iter()
            .flatten()
            .map(|a| {
                bus_of(a).ok_or_else(|| {
                    Error::description("pci.address", format!("'{a}' is not like 0000:41:00.0"))
                })
            });
        let buses: Vec<&str> = domain_and_bus.collect::<Result<_, _>>()?;
        let root = buses.last().copied().unwrap_or_default();
        let behind = bridge
            .as_ref()
            .map(|bridge| format!("{bridge}/"))
            .unwrap_or_default();
        let dir = format!("devices/pci{root}/{behind}{address}");
        // A device whose node is unknown is near to every CPU.
        let near: BTreeSet<u32> = match u32::try_from(*node) {
            Err(_) => layout.online.clone(),
            Ok(id) => {
                let known = layout.nodes.get(&id).ok_or_else(|| {
                    Error::description(
                        "pci.node",
                        format!("node {id} is not a node of this machine"),
                    )
                })?;
                layout.online(known.cpus.iter().copied())
            }
        };
        let near = out.plain_text(&near);
        out.both(&format!("sys/{dir}/local_cpu"), "list", &near);
        // The mask has a name of its own.
        if let Some(mask) = out.tree.remove(&format!("sys/{dir}/local_cpu")) {
            out.tree.insert(format!("sys/{dir}/local_cpus"), mask);
        }
        out.line(format!("sys/{dir}/numa_node"), node);
        out.line(format!("sys/{dir}/class"), class);
        out.link(
            format!("sys/bus/pci/devices/{address}"),
            format!("../../../{dir}"),
        );
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
