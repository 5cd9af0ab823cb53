//! Where PCI devices are.

use std::fmt;
use std::str::FromStr;

use super::HostError;
use super::error::{Problem, parse, trimmed};
use crate::cpulist::excerpt;
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
            found: excerpt(text),
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::host::testing::Tree;

    #[rstest]
    #[case::full("0000:0f:00.0", Some(1))]
    #[case::short("0f:00.0", Some(1))]
    #[case::upper_case("0F:00.0", Some(1))]
    #[case::unknown_to_the_kernel("0f:00.1", None)]
    #[case::no_such_function("0f:00.3", None)]
    #[case::all_functions_lowest_known("0f:01", Some(7))]
    #[case::wide_domain("10000:e1:1f.0", Some(2))]
    #[case::no_such_device("00:00", None)]
    fn devices_tell_their_node(#[case] address: &str, #[case] expected: Option<u32>) {
        let device = |tree: Tree, address: &str, node: &str| {
            tree.file(&format!("sys/bus/pci/devices/{address}/numa_node"), node)
        };
        let tree = device(Tree::new(), "0000:0f:00.0", "1\n");
        let tree = device(tree, "0000:0f:00.1", "-1\n");
        let tree = device(tree, "0000:0f:01.0", "-1\n");
        let tree = device(tree, "0000:0f:01.2", "7\n");
        let tree = device(tree, "10000:e1:1f.0", "2\n");
        let found = node(&tree.root(), address.parse().unwrap()).unwrap();
        assert_eq!(found.map(|node| node.0), expected);
    }

    #[test]
    fn a_node_that_is_no_number_is_an_error() {
        let tree = Tree::new().file("sys/bus/pci/devices/0000:00:00.0/numa_node", "none\n");
        let e = node(&tree.root(), "00:00.0".parse().unwrap()).unwrap_err();
        assert!(e.to_string().ends_with(
            "0000:00:00.0/numa_node: \"none\" is not a number (expected a host node, or -1)"
        ));
    }

    #[rstest]
    #[case("")]
    #[case("0f")]
    #[case("0f:0")]
    #[case("0f:20")]
    #[case("0f:00.8")]
    #[case("0f:00.")]
    #[case("0f:00.00")]
    #[case("000:0f:00.0")]
    #[case("0000:0000:0f:00.0")]
    #[case("../../0f:00.0")]
    #[case("+f:00.0")]
    #[case("0f:00.0\n")]
    fn other_texts_are_no_addresses(#[case] text: &str) {
        let e = text.parse::<PciAddress>().unwrap_err();
        assert_eq!(
            e.to_string(),
            format!(
                "{text:?} is not the address of a PCI device (expected one like \"0000:0f:00.0\", \"0f:00.0\" or \"0f:00\")"
            )
        );
    }

    #[rstest]
    #[case("0f:00", "0000:0f:00")]
    #[case("10000:e1:1f.7", "10000:e1:1f.7")]
    fn addresses_print_with_their_domain(#[case] text: &str, #[case] printed: &str) {
        let address: PciAddress = text.parse().unwrap();
        assert_eq!(address.to_string(), printed);
        assert_eq!(printed.parse(), Ok(address));
    }
}
