//! The keys that are read, with their types (qemu-server QemuServer.pm, `check_type` and the formats it knows).

use super::fields::{HostPci, Hotplug, NumaLine, memory};
use super::problem::ValueError;
use super::words;
use crate::guest::ranges::Ranges;
use crate::guest::{Hugepages, excerpt};

/// The words of `lock`.
const LOCKS: &[&str] = &[
    "backup",
    "clone",
    "create",
    "migrate",
    "rollback",
    "snapshot",
    "snapshot-delete",
    "suspending",
    "suspended",
];

/// Whether an unreadable value of the key is an error.
pub(super) fn is_placing(key: &str) -> bool {
    key == "affinity" || numbered(key, "numa", 8).is_some()
}

/// What Proxmox VE checks of a value when it reads it: not its range. Keys that are not ours pass.
pub(super) fn check(key: &str, value: &str) -> Result<(), ValueError> {
    match key {
        "sockets" | "cores" | "smp" | "vcpus" => integer(value).map(drop),
        "numa" | "template" => boolean(value).map(drop),
        "affinity" => Ranges::cpuset(value).map(drop).map_err(ValueError::from),
        "memory" => memory(value).map(drop),
        "hugepages" => hugepages(value).map(drop),
        "hotplug" => Hotplug::read(value).map(drop),
        "lock" => word(value, LOCKS),
        _ if numbered(key, "numa", 8).is_some() => NumaLine::read(value).map(drop),
        _ if numbered(key, "hostpci", 16).is_some() => HostPci::read(value).map(drop),
        _ => Ok(()),
    }
}

/// The number at the end of a key, below `count`.
pub(super) fn numbered(key: &str, word: &str, count: u32) -> Option<u32> {
    let digits = key.strip_prefix(word)?;
    (0..count).find(|i| i.to_string() == digits)
}

/// Digits; a number that is too long for anything counts as the highest.
pub(super) fn integer(value: &str) -> Result<u64, ValueError> {
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ValueError::Number {
            found: excerpt(value),
            expected: "a number from 0 up",
        });
    }
    Ok(value.parse().unwrap_or(u64::MAX))
}

pub(super) fn boolean(value: &str) -> Result<bool, ValueError> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "on" | "yes" | "true" => Ok(true),
        "0" | "off" | "no" | "false" => Ok(false),
        _ => Err(ValueError::Boolean {
            found: excerpt(value),
        }),
    }
}

pub(super) fn hugepages(value: &str) -> Result<Hugepages, ValueError> {
    match value {
        "any" => Ok(Hugepages::Any),
        "2" => Ok(Hugepages::Mib2),
        "1024" => Ok(Hugepages::Gib1),
        _ => Err(ValueError::Word {
            found: excerpt(value),
            allowed: &["any", "2", "1024"],
        }),
    }
}

pub(super) fn word(value: &str, allowed: &'static [&'static str]) -> Result<(), ValueError> {
    match allowed.contains(&value) {
        true => Ok(()),
        false => Err(ValueError::Word {
            found: excerpt(value),
            allowed,
        }),
    }
}

/// The tags of a guest, in lower case.
pub(super) fn tags(value: &str) -> Vec<String> {
    words(value).map(str::to_ascii_lowercase).collect()
}
