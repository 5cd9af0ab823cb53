//! Lists and masks of ids, Proxmox VE's ranges, addresses of PCI devices.

use std::collections::BTreeSet;

use numapin_core::cpulist::{each_in_list, format_mask, parse_list, parse_mask};
use numapin_core::guest::ranges::Ranges;
use numapin_core::host::pci::PciAddress;
use numapin_core::id::CpuId;
use numapin_core::idset::CpuSet;

use super::told;

/// Sets up to this size are compared with those of the standard library.
const MODEL: usize = 2048;

/// Reads two lines as lists, as masks, as ranges and as addresses; what is printed is read as it was, and sets do what sets do.
pub fn lists(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (first, second) = text.split_once('\n').unwrap_or((&text, ""));
    let mut sets = Vec::new();
    for text in [first, second] {
        sets.extend(list(text));
        sets.extend(mask(text));
        ranges(text, Ranges::numa(text));
        sets.extend(ranges(text, Ranges::cpuset(text)));
        match text.parse::<PciAddress>() {
            Ok(address) => assert_eq!(address.to_string().parse(), Ok(address)),
            Err(error) => told(&error),
        }
    }
    for (i, a) in sets.iter().enumerate() {
        for b in &sets[i..] {
            algebra(a, b);
        }
    }
}

fn list(text: &str) -> Option<CpuSet> {
    let mut each = CpuSet::new();
    let one_by_one = each_in_list(text, |id: CpuId| {
        each.insert(id);
    });
    match parse_list::<CpuId>(text) {
        Ok(set) => {
            assert_eq!(one_by_one, Ok(()), "each_in_list of {text:?}");
            assert_eq!(each, set, "each_in_list of {text:?}");
            printed(&set);
            Some(set)
        }
        Err(error) => {
            assert_eq!(one_by_one, Err(error.clone()));
            told(&error);
            None
        }
    }
}

fn mask(text: &str) -> Option<CpuSet> {
    match parse_mask::<CpuId>(text) {
        Ok(set) => {
            printed(&set);
            Some(set)
        }
        Err(error) => {
            told(&error);
            None
        }
    }
}

/// A set survives both of its printed forms, and JSON.
fn printed(set: &CpuSet) {
    assert_eq!(parse_list::<CpuId>(&set.to_string()).as_ref(), Ok(set));
    for bits in [0, 8, 64, 72] {
        let mask = format_mask(set, bits);
        assert_eq!(parse_mask::<CpuId>(&mask).as_ref(), Ok(set), "{mask}");
    }
    let json = serde_json::to_string(set).expect("sets are texts in JSON");
    let read: CpuSet = serde_json::from_str(&json).expect("they are read again");
    assert_eq!(read, *set, "{json}");
}

fn ranges<E: std::fmt::Display>(text: &str, read: Result<Ranges, E>) -> Option<CpuSet> {
    match read {
        Ok(ranges) => {
            let set: CpuSet = ranges.set();
            let again = Ranges::numa(&ranges.to_string()).map_err(|e| e.to_string());
            assert_eq!(again, Ok(ranges.clone()), "{text:?}");
            assert!(ranges.repeated().is_subset(&set), "{text:?}");
            if let Some(one) = ranges.single() {
                assert_eq!(std::iter::once(one).collect::<CpuSet>(), set, "{text:?}");
            }
            Some(set)
        }
        Err(error) => {
            told(&error);
            None
        }
    }
}

/// Two sets do what sets of the standard library do.
fn algebra(a: &CpuSet, b: &CpuSet) {
    if a.len() > MODEL || b.len() > MODEL {
        return;
    }
    let model = |set: &CpuSet| set.iter().collect::<BTreeSet<_>>();
    let (x, y) = (model(a), model(b));
    assert_eq!(x.len(), a.len());
    assert_eq!(model(&a.union(b)), x.union(&y).copied().collect());
    assert_eq!(
        model(&a.intersection(b)),
        x.intersection(&y).copied().collect()
    );
    assert_eq!(model(&a.difference(b)), x.difference(&y).copied().collect());
    assert_eq!(a.common(b), x.intersection(&y).count());
    assert_eq!(a.is_subset(b), x.is_subset(&y));
    assert_eq!(a.is_disjoint(b), x.is_disjoint(&y));
    assert_eq!(
        (a.first(), a.last()),
        (x.first().copied(), x.last().copied())
    );
    assert_eq!(a == b, x == y);
    assert_eq!(a.cmp(b) == std::cmp::Ordering::Equal, x == y);
    let runs: usize = a.runs().map(|(p, q)| (q.0 - p.0) as usize + 1).sum();
    assert_eq!(runs, a.len());
    let mut less = a.clone();
    for id in b.iter() {
        assert_eq!(less.remove(id), x.contains(&id));
    }
    assert_eq!(less, a.difference(b));
}
