//! What can be wrong with a guest's config.
//!
//! The rule: a value that Proxmox VE can't read either is dropped with a warning, as Proxmox VE does, and what stops QEMU at the
//! start is a warning, too. A numaN line (with `numa: 1`) or an `affinity` that can't be read is an error: dropped in silence
//! it would leave another guest than the one that is written, and its vCPUs on CPUs that they were to be kept from.

use std::fmt;
use std::path::PathBuf;

use crate::guest::property::PropertyError;
use crate::guest::ranges::RangesError;
use crate::id::VnodeId;

/// A guest's config that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value that can't be read and can't be done without.
    #[error("{}:{line}: {key}: {problem}", file.display())]
    Value {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key.
        key: String,
        /// What is wrong with its value.
        problem: ValueError,
    },
    /// A file of which no line is one of a config.
    #[error(
        "{}:{line}: {found:?} can't be read, nor can any other line (expected the config of a guest: lines of \"key: value\", \
         like \"cores: 4\")",
        file.display()
    )]
    NotAConfig {
        /// The file.
        file: PathBuf,
        /// The first line that is not empty, from 1.
        line: usize,
        /// What is written there.
        found: String,
    },
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a boolean.
    #[error("{found:?} is not a boolean (expected 0 or 1)")]
    Boolean {
        /// What is written.
        found: String,
    },
    /// Not a number.
    #[error("{found:?} is not {expected}")]
    Number {
        /// What is written.
        found: String,
        /// What was expected, with an article.
        expected: &'static str,
    },
    /// Not one of the words that can stand there.
    #[error("{found:?} is unknown (expected {})", or(allowed))]
    Word {
        /// What is written.
        found: String,
        /// What can stand there.
        allowed: &'static [&'static str],
    },
    /// Not a property string.
    #[error(transparent)]
    Property(#[from] PropertyError),
    /// A key that the property string does not have.
    #[error("{key:?} is not a key of it (expected {})", or(allowed))]
    Key {
        /// What is written.
        key: String,
        /// What can stand there.
        allowed: &'static [&'static str],
    },
    /// A property that has to be there.
    #[error("{key} is missing in {found:?} (expected for example {example:?})")]
    Missing {
        /// Which one.
        key: &'static str,
        /// What is written.
        found: String,
        /// How it looks.
        example: &'static str,
    },
    /// A property of the string.
    #[error("{key}: {problem}")]
    Of {
        /// Which one.
        key: &'static str,
        /// What is wrong with its value.
        problem: Box<ValueError>,
    },
    /// Not a list of ids.
    #[error(transparent)]
    Ranges(#[from] RangesError),
    /// Not the address of a PCI device.
    #[error(
        "{found:?} is not the address of a PCI device (expected one like \"0000:0f:00.0\" or \"0f:00\")"
    )]
    PciId {
        /// What is written.
        found: String,
    },
}

/// Something odd about a guest's config that does not stop numapin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigWarning {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is odd.
    pub oddity: Oddity,
}

/// What is odd about a guest's config.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Oddity {
    /// A section that comes twice.
    #[error("section [{name}] is there twice: only the last one counts")]
    SectionTwice {
        /// Its name.
        name: String,
    },
    /// A section that Proxmox VE does not know.
    #[error("section [{name}] is unknown: it is passed over")]
    UnknownSection {
        /// Its name.
        name: String,
    },
    /// A line that is no "key: value".
    #[error("{found:?} can't be read (expected \"key: value\"): it is passed over")]
    Line {
        /// The start of the line.
        found: String,
    },
    /// `delete:` outside of the section PENDING.
    #[error("delete: counts only in the section [PENDING]: it is passed over")]
    Delete,
    /// A value that can't be read.
    #[error("{key}: {problem}: the line is passed over, as Proxmox VE does")]
    Dropped {
        /// The key.
        key: String,
        /// What is wrong with its value.
        problem: ValueError,
    },
    /// A numaN line without `numa: 1`.
    #[error("numa{} counts for nothing without numa: 1", virtual_node)]
    NumaOff {
        /// Which one.
        virtual_node: VnodeId,
    },
    /// What keeps QEMU from starting.
    #[error("the guest can't start: {0}")]
    NoStart(NoStart),
    /// `vcpus` above what the guest has.
    #[error("vcpus: {found} is more than the guest has ({total}, sockets x cores)")]
    Vcpus {
        /// What is written.
        found: u64,
        /// How many it has.
        total: u32,
    },
    /// `args` that say again what the config says.
    #[error(
        "args has {option}, which overrides what is planned here: the shape of the running guest is what QMP says"
    )]
    Args {
        /// The option of QEMU's.
        option: &'static str,
    },
}

/// What keeps QEMU, or Proxmox VE, from starting the guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoStart {
    /// A gap in the numaN lines.
    #[error("numa{virtual_node} is missing (expected numa0, numa1, ... without a gap)")]
    Gap {
        /// The lowest one that is missing.
        virtual_node: VnodeId,
    },
    /// A numaN line without `memory`.
    #[error("numa{virtual_node} has no memory (expected memory=MiB)")]
    NoMemory {
        /// Which one.
        virtual_node: VnodeId,
    },
    /// `memory` of the numaN lines that is not that of the guest.
    #[error(
        "memory of the numaN lines is {sum} MiB, that of the guest {memory} MiB (expected the same)"
    )]
    MemorySum {
        /// Of the numaN lines.
        sum: u64,
        /// Of the guest.
        memory: u64,
    },
    /// `hostnodes` without `policy`.
    #[error(
        "numa{virtual_node} has hostnodes but no policy (expected policy=bind or policy=preferred)"
    )]
    NoPolicy {
        /// Which one.
        virtual_node: VnodeId,
    },
    /// Huge pages without virtual nodes.
    #[error("hugepages needs numa: 1")]
    HugepagesWithoutNuma,
    /// Memory hotplug without virtual nodes.
    #[error("hotplug of memory needs numa: 1")]
    MemoryHotplugWithoutNuma,
    /// Memory hotplug with numaN lines.
    #[error("hotplug of memory can't be together with numaN lines")]
    MemoryHotplugWithNumaLines,
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.oddity)
    }
}

/// "a, b or c".
fn or(words: &[&str]) -> String {
    match words {
        [] => String::from("nothing"),
        [word] => (*word).to_owned(),
        [words @ .., last] => format!("{} or {last}", words.join(", ")),
    }
}
