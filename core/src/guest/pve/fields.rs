//! The values that have a grammar of their own: numaN, hostpciN, memory, hotplug (qemu-server QemuServer/Memory.pm, PCI.pm).

use super::number::{MAX_MIB, mebibytes};
use super::problem::ValueError;
use super::types::{integer, word};
use super::words;
use crate::guest::excerpt;
use crate::guest::property::{self, Properties};
use crate::guest::ranges::Ranges;

/// A numaN line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumaLine {
    /// `cpus`: its vCPUs.
    pub cpus: Ranges,
    /// `hostnodes`: where its memory comes from.
    pub hostnodes: Option<Ranges>,
    /// `memory` in MiB, rounded down.
    pub memory_mib: Option<u64>,
    /// `policy`: how the memory is tied to `hostnodes`.
    pub policy: Option<MemoryPolicy>,
}

/// How memory is tied to host nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryPolicy {
    /// There where possible.
    Preferred,
    /// There and nowhere else.
    Bind,
    /// Page by page over all of them.
    Interleave,
}

/// A hostpciN line: either addresses, or the name of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPci {
    /// Addresses as Proxmox VE takes them, domain included; without a function: all functions.
    Host(Vec<String>),
    /// A name in /etc/pve/mapping/pci.cfg.
    Mapping(String),
}

/// What can be plugged while the guest runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hotplug {
    /// vCPUs.
    pub cpu: bool,
    /// Memory.
    pub memory: bool,
}

impl NumaLine {
    const KEYS: &'static [&'static str] = &["cpus", "hostnodes", "memory", "policy"];

    /// Reads the value of a numaN line.
    ///
    /// # Errors
    /// It can't be read.
    pub fn read(text: &str) -> Result<Self, ValueError> {
        let properties = strict(text, Some("cpus"), Self::KEYS)?;
        let Some(cpus) = properties.get("cpus") else {
            return Err(ValueError::Missing {
                key: "cpus",
                found: excerpt(text),
                example: "cpus=0-3,memory=4096",
            });
        };
        let ranges = |key, text| Ranges::numa(text).map_err(|e| of(key, e.into()));
        let hostnodes = properties.get("hostnodes");
        let memory = properties.get("memory");
        let policy = properties.get("policy");
        Ok(Self {
            cpus: ranges("cpus", cpus)?,
            hostnodes: hostnodes
                .map(|text| ranges("hostnodes", text))
                .transpose()?,
            memory_mib: memory
                .map(mebibytes)
                .transpose()
                .map_err(|e| of("memory", e))?,
            policy: policy
                .map(MemoryPolicy::read)
                .transpose()
                .map_err(|e| of("policy", e))?,
        })
    }
}

impl MemoryPolicy {
    const WORDS: &'static [&'static str] = &["preferred", "bind", "interleave"];

    /// The word in a numaN line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Preferred => "preferred",
            Self::Bind => "bind",
            Self::Interleave => "interleave",
        }
    }

    fn read(text: &str) -> Result<Self, ValueError> {
        word(text, Self::WORDS)?;
        let all = [Self::Preferred, Self::Bind, Self::Interleave];
        Ok(all
            .into_iter()
            .find(|policy| policy.word() == text)
            .unwrap_or(Self::Bind))
    }
}

impl HostPci {
    /// Reads the value of a hostpciN line. Keys that say nothing about where the device is are passed over.
    ///
    /// # Errors
    /// It can't be read, or names neither an address nor a mapping, or both.
    pub fn read(text: &str) -> Result<Self, ValueError> {
        let properties = property::read(text, Some("host"))?;
        match (properties.get("host"), properties.get("mapping")) {
            (Some(ids), None) => ids
                .split(';')
                .map(pci_id)
                .collect::<Result<_, _>>()
                .map(Self::Host),
            (None, Some(name)) => Ok(Self::Mapping(name.to_owned())),
            _ => Err(ValueError::Missing {
                key: "exactly one of host and mapping",
                found: excerpt(text),
                example: "0000:0f:00.0,pcie=1",
            }),
        }
    }
}

impl Hotplug {
    const WORDS: &'static [&'static str] = &[
        "0",
        "1",
        "network",
        "disk",
        "cpu",
        "memory",
        "usb",
        "cloudinit",
    ];

    /// Reads `hotplug`. "1" is network, disk and usb; "0" is nothing.
    ///
    /// # Errors
    /// A word that Proxmox VE does not know.
    pub fn read(text: &str) -> Result<Self, ValueError> {
        let mut hotplug = Self::default();
        for feature in words(text) {
            word(feature, Self::WORDS)?;
            hotplug.cpu |= feature == "cpu";
            hotplug.memory |= feature == "memory";
        }
        Ok(hotplug)
    }
}

/// Reads `memory`: MiB, at least 16.
pub(super) fn memory(text: &str) -> Result<u64, ValueError> {
    let properties = strict(text, Some("current"), &["current"])?;
    let Some(current) = properties.get("current") else {
        return Err(ValueError::Missing {
            key: "current",
            found: excerpt(text),
            example: "4096",
        });
    };
    let mib = integer(current)
        .ok()
        .filter(|mib| (16..=MAX_MIB).contains(mib));
    mib.ok_or_else(|| ValueError::Number {
        found: excerpt(current),
        expected: "memory in MiB (16 or more)",
    })
}

/// An address of a PCI device as Proxmox VE takes it (PCI.pm): lower-case hexadecimal, the domain can be left out. Written with
/// its domain.
pub(super) fn pci_id(text: &str) -> Result<String, ValueError> {
    let hex = |text: &str, digits: fn(usize) -> bool| {
        digits(text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let (slot, function) = match text.split_once('.') {
        Some((slot, function)) => (slot, Some(function)),
        None => (text, None),
    };
    let mut parts = slot.rsplitn(3, ':');
    let (device, bus, domain) = (parts.next(), parts.next(), parts.next());
    let is_id = device.is_some_and(|d| hex(d, |n| n == 2))
        && bus.is_some_and(|b| hex(b, |n| n == 2))
        && domain.is_none_or(|d| hex(d, |n| n >= 4))
        && function.is_none_or(|f| hex(f, |n| n == 1));
    match (is_id, domain) {
        (true, Some(_)) => Ok(text.to_owned()),
        (true, None) => Ok(format!("0000:{text}")),
        (false, _) => Err(ValueError::PciId {
            found: excerpt(text),
        }),
    }
}

/// A property string of which all keys are known.
fn strict<'a>(
    text: &'a str,
    default_key: Option<&'a str>,
    allowed: &'static [&'static str],
) -> Result<Properties<'a>, ValueError> {
    let properties = property::read(text, default_key)?;
    let unknown = properties.iter().find(|(key, _)| !allowed.contains(key));
    match unknown {
        None => Ok(properties),
        Some((key, _)) => Err(ValueError::Key {
            key: excerpt(key),
            allowed,
        }),
    }
}

fn of(key: &'static str, problem: ValueError) -> ValueError {
    ValueError::Of {
        key,
        problem: Box::new(problem),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("cpus=0-1;6-7,memory=2048", "0-1;6-7", None, Some(2048), None)]
    #[case("0-3", "0-3", None, None, None)]
    #[case(
        "cpus=0-3,hostnodes=0-0,memory=1e3,policy=bind",
        "0-3",
        Some("0-0"),
        Some(1000),
        Some(MemoryPolicy::Bind)
    )]
    #[case("memory=512.5,,cpus=1,", "1", None, Some(512), None)]
    fn a_numa_line_is_read(
        #[case] text: &str,
        #[case] cpus: &str,
        #[case] hostnodes: Option<&str>,
        #[case] memory_mib: Option<u64>,
        #[case] policy: Option<MemoryPolicy>,
    ) {
        let line = NumaLine::read(text).unwrap();
        assert_eq!(line.cpus.to_string(), cpus);
        assert_eq!(
            line.hostnodes.as_ref().map(Ranges::to_string).as_deref(),
            hostnodes
        );
        assert_eq!((line.memory_mib, line.policy), (memory_mib, policy));
    }

    #[rstest]
    #[case(
        "cpus=0, memory=1",
        "\" memory\" is not a key of it (expected cpus, hostnodes, memory or policy)"
    )]
    #[case(
        "memory=1",
        "cpus is missing in \"memory=1\" (expected for example \"cpus=0-3,memory=4096\")"
    )]
    #[case(
        "cpus=0-",
        "cpus: \"0-\" is not a number or a range (expected a list like \"0-1;6-7\")"
    )]
    #[case("cpus=3-1", "cpus: \"3-1\" runs backwards (expected \"1-3\")")]
    #[case(
        "cpus=0,hostnodes=a",
        "hostnodes: \"a\" is not a number or a range (expected a list like \"0-1;6-7\")"
    )]
    #[case(
        "cpus=0,memory=-5",
        "memory: \"-5\" is not memory in MiB (a number up to 2^40)"
    )]
    #[case(
        "cpus=0,policy=strict",
        "policy: \"strict\" is unknown (expected preferred, bind or interleave)"
    )]
    #[case(
        "cpus=0,cpus=1",
        "\"cpus\" is there twice in \"cpus=0,cpus=1\" (expected each key once)"
    )]
    fn a_numa_line_is_refused(#[case] text: &str, #[case] says: &str) {
        assert_eq!(NumaLine::read(text).unwrap_err().to_string(), says);
    }

    #[rstest]
    #[case("4096", Some(4096))]
    #[case("current=4096", Some(4096))]
    #[case("15", None)]
    #[case("4096,max=5000", None)]
    #[case("1e3", None)]
    #[case("99999999999999999999", None)]
    fn memory_of_the_guest(#[case] text: &str, #[case] mib: Option<u64>) {
        assert_eq!(memory(text).ok(), mib);
    }

    #[rstest]
    #[case("0f:f2.0", &["0000:0f:f2.0"])]
    #[case("1234:f0:43,pcie=1,x-vga=1", &["1234:f0:43"])]
    #[case("host=00:ff.1;00:1f", &["0000:00:ff.1", "0000:00:1f"])]
    #[case("10000:01:00.0", &["10000:01:00.0"])]
    fn addresses_are_read(#[case] text: &str, #[case] ids: &[&str]) {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        assert_eq!(HostPci::read(text), Ok(HostPci::Host(ids)));
    }

    #[rstest]
    #[case("0F:00.0", "\"0F:00.0\" is not the address of a PCI device")]
    #[case("f:00.0", "\"f:00.0\" is not")]
    #[case("123:0f:00.0", "\"123:0f:00.0\" is not")]
    #[case("0f:00.10", "\"0f:00.10\" is not")]
    #[case("0f:00;", "\"\" is not")]
    #[case("0", "\"0\" is not")]
    #[case("0f:00,mapping=nic", "exactly one of host and mapping is missing in")]
    #[case("pcie=1", "exactly one of host and mapping is missing in")]
    fn addresses_are_refused(#[case] text: &str, #[case] says: &str) {
        let refused = HostPci::read(text).unwrap_err().to_string();
        assert!(refused.starts_with(says), "{refused}");
    }

    #[test]
    fn a_mapping_is_read() {
        let read = HostPci::read("mapping=someGpu,mdev=some-model");
        assert_eq!(read, Ok(HostPci::Mapping("someGpu".to_owned())));
    }

    #[rstest]
    #[case("0", false, false)]
    #[case("1", false, false)]
    #[case("network,disk;cpu memory", true, true)]
    #[case("cpu", true, false)]
    fn hotplug_is_read(#[case] text: &str, #[case] cpu: bool, #[case] memory: bool) {
        assert_eq!(Hotplug::read(text), Ok(Hotplug { cpu, memory }));
    }

    #[test]
    fn a_hotplug_that_proxmox_does_not_know_is_refused() {
        assert!(Hotplug::read("cpu,ram").is_err());
    }
}
