//! The config of a Proxmox VE guest: text -> [`GuestConfig`], as written.
//!
//! ```text
//! 100.conf ── lines ──► live part, [PENDING] ── types, fields ──► GuestConfig ── build ──► Guest
//!                       (each value with its line)                            └─ shape ──► -smp, -m, -numa
//! ```
//! What Proxmox VE wrote is read as Proxmox VE reads it: keys that are not ours pass in silence, a value that it can't read either
//! is dropped with a warning. [`problem`] says what is an error instead.

mod build;
pub mod devices;
mod fields;
mod lines;
pub mod mapping;
mod number;
mod oddities;
pub mod passthrough;
pub mod problem;
pub mod shape;
mod types;

use std::collections::BTreeMap;
use std::path::Path;

pub use self::build::Beside;
pub use self::fields::{HostPci, Hotplug, MemoryPolicy, NumaLine};
use self::lines::Values;
pub use self::problem::{ConfigError, ConfigWarning};
pub use self::shape::{QemuShape, qemu_shape};
use super::Hugepages;
use super::ranges::Ranges;
use crate::id::VnodeId;
use crate::idset::CpuSet;
use crate::sorted;

/// A value and the line it is on, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written<T> {
    /// The value.
    pub value: T,
    /// Its line.
    pub line: usize,
}

/// Whether changes that wait for the next start are part of the config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    /// They are, as in the next start of a guest that does not run.
    Merge,
    /// They are not: the guest runs without them.
    Leave,
}

/// What is read of a guest's config, as written. `None`: the key is not there, or its value was dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestConfig {
    /// `sockets`; 0 counts as not there.
    pub sockets: Option<Written<u64>>,
    /// `cores` of a socket; 0 counts as not there.
    pub cores: Option<Written<u64>>,
    /// `smp`, the old form of `sockets`.
    pub smp: Option<Written<u64>>,
    /// `vcpus` that are plugged at the start; 0 counts as not there.
    pub vcpus: Option<Written<u64>>,
    /// `numa`.
    pub numa: Option<Written<bool>>,
    /// `numa0` to `numa7`, also where `numa` is off.
    pub numa_lines: BTreeMap<VnodeId, Written<NumaLine>>,
    /// `affinity`.
    pub affinity: Option<Written<CpuSet>>,
    /// `pinning`, not read further: it is numapin's own.
    pub pinning: Option<Written<String>>,
    /// `memory` in MiB.
    pub memory_mib: Option<Written<u64>>,
    /// `hugepages`.
    pub hugepages: Option<Written<Hugepages>>,
    /// `hotplug`.
    pub hotplug: Option<Written<Hotplug>>,
    /// `hostpci0` to `hostpci15`.
    pub hostpci: BTreeMap<u32, Written<HostPci>>,
    /// `args`, raw.
    pub args: Option<Written<String>>,
    /// `tags`, in lower case.
    pub tags: Option<Written<Vec<String>>>,
    /// `name`.
    pub name: Option<Written<String>>,
    /// `template`.
    pub template: Option<Written<bool>>,
    /// `lock`: what is being done with the guest.
    pub lock: Option<Written<String>>,
}

/// A config that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// What it says.
    pub config: GuestConfig,
    /// What is odd about it, in the order of lines.
    pub warnings: Vec<ConfigWarning>,
}

/// Reads the config of a guest. `file` is only what messages call it.
///
/// # Errors
/// A numaN line (with `numa: 1`) or an `affinity` that can't be read, or a file that is no config.
///
/// ```
/// use numapin_core::guest::pve::{self, Pending};
///
/// let text = "cores: 4\nsockets: 2\n\n[PENDING]\nsockets: 1\ndelete: cores\n";
/// let file = std::path::Path::new("100.conf");
/// let sockets = |pending| pve::parse(file, text, pending).map(|parsed| parsed.config.sockets());
/// assert_eq!(sockets(Pending::Leave), Ok(2));
/// assert_eq!(sockets(Pending::Merge), Ok(1));
/// ```
pub fn parse(file: &Path, text: &str, pending: Pending) -> Result<Parsed, ConfigError> {
    let mut lines = lines::read(text);
    if let (false, Some(Written { value, line })) = (lines.any, lines.oddities.first())
        && let problem::Oddity::Line { found } = value
    {
        return Err(ConfigError::NotAConfig {
            file: file.to_owned(),
            line: *line,
            found: found.clone(),
        });
    }
    if pending == Pending::Merge {
        lines.live.retain(|key, _| !lines.delete.contains(key));
        let pending = std::mem::take(&mut lines.pending);
        lines.live.extend(pending);
    }
    let mut oddities = lines.oddities;
    let config =
        GuestConfig::of(&lines.live, &mut oddities).map_err(|Written { value, line }| {
            ConfigError::Value {
                file: file.to_owned(),
                line,
                key: value.0,
                problem: value.1,
            }
        })?;
    oddities.extend(oddities::of(&config));
    sorted::sort_by_key(&mut oddities, |odd| odd.line);
    let warnings = oddities
        .into_iter()
        .map(|Written { value, line }| ConfigWarning {
            file: file.to_owned(),
            line,
            oddity: value,
        });
    Ok(Parsed {
        config,
        warnings: warnings.collect(),
    })
}

impl GuestConfig {
    /// Sockets: 0 or not there is 1, unless the old `smp` says more.
    #[must_use]
    pub fn sockets(&self) -> u64 {
        let truthy = |key: &Option<Written<u64>>| key.as_ref().map(|w| w.value).filter(|n| *n > 0);
        truthy(&self.sockets)
            .or_else(|| truthy(&self.smp))
            .unwrap_or(1)
    }

    /// Cores of a socket: 0 or not there is 1.
    #[must_use]
    pub fn cores(&self) -> u64 {
        self.cores.as_ref().map_or(1, |w| w.value.max(1))
    }

    /// Whether the guest has virtual nodes.
    #[must_use]
    pub fn numa(&self) -> bool {
        self.numa.as_ref().is_some_and(|w| w.value)
    }

    /// Memory in MiB: 512 without the key.
    #[must_use]
    pub fn memory_mib(&self) -> u64 {
        self.memory_mib.as_ref().map_or(512, |w| w.value)
    }

    /// Whether it is a template.
    #[must_use]
    pub fn template(&self) -> bool {
        self.template.as_ref().is_some_and(|w| w.value)
    }

    /// The tags.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().flat_map(|w| &w.value).map(String::as_str)
    }

    fn of(
        values: &Values<'_>,
        oddities: &mut Vec<Written<problem::Oddity>>,
    ) -> Result<Self, Written<(String, problem::ValueError)>> {
        let error = |key: &str, line| {
            let key = key.to_owned();
            move |value| Written {
                value: (key, value),
                line,
            }
        };
        let text = |key: &str| values.get(key).map(|w| w.with(w.value.to_owned()));
        let number = |key: &str| {
            values
                .get(key)
                .and_then(|w| Some(w.with(types::integer(w.value).ok()?)))
        };
        let boolean = |key: &str| {
            values
                .get(key)
                .and_then(|w| Some(w.with(types::boolean(w.value).ok()?)))
        };
        let mut config = Self {
            sockets: number("sockets"),
            cores: number("cores"),
            smp: number("smp"),
            vcpus: number("vcpus"),
            numa: boolean("numa"),
            pinning: text("pinning"),
            memory_mib: values
                .get("memory")
                .and_then(|w| Some(w.with(fields::memory(w.value).ok()?))),
            hugepages: values
                .get("hugepages")
                .and_then(|w| Some(w.with(types::hugepages(w.value).ok()?))),
            hotplug: values
                .get("hotplug")
                .and_then(|w| Some(w.with(Hotplug::read(w.value).ok()?))),
            args: text("args"),
            tags: values.get("tags").map(|w| w.with(types::tags(w.value))),
            name: text("name"),
            template: boolean("template"),
            lock: text("lock"),
            ..Self::default()
        };
        if let Some(w) = values.get("affinity") {
            let ranges = Ranges::cpuset(w.value);
            let ranges = ranges.map_err(|e| error("affinity", w.line)(e.into()))?;
            config.affinity = Some(w.with(ranges.set()));
        }
        for (key, w) in values {
            if let Some(n) = types::numbered(key, "hostpci", 16) {
                let devices = HostPci::read(w.value).ok().map(|devices| w.with(devices));
                config.hostpci.extend(devices.map(|devices| (n, devices)));
            } else if let Some(n) = types::numbered(key, "numa", 8) {
                match NumaLine::read(w.value) {
                    Ok(line) => drop(config.numa_lines.insert(VnodeId(n), w.with(line))),
                    Err(problem) if config.numa() => return Err(error(key, w.line)(problem)),
                    Err(problem) => oddities.push(w.with(problem::Oddity::Dropped {
                        key: (*key).to_owned(),
                        problem,
                    })),
                }
            }
        }
        Ok(config)
    }
}

impl<T> Written<T> {
    /// Another value on the same line.
    fn with<U>(&self, value: U) -> Written<U> {
        Written {
            value,
            line: self.line,
        }
    }
}

/// What Perl calls `\s`, of the ASCII characters.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// The words of a list, between commas, semicolons, white space and NUL.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| matches!(c, ',' | ';' | '\0') || is_blank(c));
    words.filter(|word| !word.is_empty())
}
