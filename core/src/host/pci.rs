//! Where PCI devices are.

use std::fmt;
use std::str::FromStr;

use super::HostError;
use super::error::{Problem, parse, trimmed};
use crate::id::NodeId;
use crate::root::{Reader, Root};

/// The address of a PCI device as Proxmox VE writes it: `0000:0f:00.0`, `0f:00.0` (domain 0), or `0f:00` for all its functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PciAddress {
    /// The PCI domain; devices behind Intel VMD have domains from 0x10000 on.
    pub domain: u32,
    /// The bus.
    pub bus: u8,
    /// The device on the bus, 0 to 31.
    pub device: u8,
    /// The function, 0 to 7; `None` for all of them.
    pub function: Option<u8>,
}

/// Why an address of a PCI device was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is not the address of a PCI device (expected one like \"0000:0f:00.0\", \"0f:00.0\" or \"0f:00\")"
)]
pub struct PciAddressError {
    /// What was written.
    pub found: String,
}

/// The host node that a device is nearest to, by `numa_node` in sysfs; `None` where the kernel does not know (-1) or there is no
/// such device. Of a device with all functions: that of the lowest function whose node is known.
///
/// # Errors
/// The file can't be read or understood.
pub fn node(root: &Root, address: PciAddress) -> Result<Option<NodeId>, HostError> {
    let mut reader = Reader::below(root.sys());
    let PciAddress {
        domain,
        bus,
        device,
        function,
    } = address;
    let functions = function.map_or(0..=7, |function| function..=function);
    for function in functions {
        let name = format_args!(
            "bus/pci/devices/{domain:04x}:{bus:02x}:{device:02x}.{function:x}/numa_node"
        );
        let node = parse(&mut reader, name, |text| {
            let text = trimmed(text);
            let number = text.parse::<i32>();
            number.map_err(|_| Problem::not_a_number(text, "a host node, or -1"))
        })?;
        if let Some(node) = node.and_then(|node| u32::try_from(node).ok()) {
            return Ok(Some(NodeId(node)));
        }
    }
    Ok(None)
}

impl FromStr for PciAddress {
    type Err = PciAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        understand(text).ok_or_else(|| PciAddressError {
            found: text.to_owned(),
        })
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            domain,
            bus,
            device,
            function,
        } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}")?;
        match function {
            Some(function) => write!(f, ".{function:x}"),
            None => Ok(()),
        }
    }
}

fn understand(text: &str) -> Option<PciAddress> {
    let (slot, function) = match text.split_once('.') {
        Some((slot, function)) => (slot, Some(hex(function, 1..=1).filter(|f| *f < 8)?)),
        None => (text, None),
    };
    let (bus, device) = slot.rsplit_once(':')?;
    let (domain, bus) = match bus.rsplit_once(':') {
        Some((domain, bus)) => (hex(domain, 4..=8)?, bus),
        None => (0, bus),
    };
    Some(PciAddress {
        domain,
        bus: u8::try_from(hex(bus, 2..=2)?).ok()?,
        device: u8::try_from(hex(device, 2..=2)?).ok().filter(|d| *d < 32)?,
        function: function.and_then(|f| u8::try_from(f).ok()),
    })
}

/// A number of so many hexadecimal digits.
fn hex(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let plain = text.bytes().all(|b| b.is_ascii_hexdigit());
    (plain && digits.contains(&text.len())).then(|| u32::from_str_radix(text, 16).ok())?
}
