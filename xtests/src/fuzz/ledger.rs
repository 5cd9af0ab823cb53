//! An entry of the ledger.

use std::path::Path;

use numapin_core::claims::ledger::Entry;
use numapin_core::claims::live::{Live, Own};
use numapin_core::claims::node;
use numapin_core::idset::CpuSet;

use super::told;

/// Reads an entry; what is printed is read as it was, and whatever it says, it can be asked.
pub fn ledger(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let file = Path::new("100.json");
    let entry = match Entry::parse(file, "100", &text) {
        Ok(entry) => entry,
        Err(error) => return told(&error),
    };
    let printed = entry.to_text();
    let again = Entry::parse(file, "100", &printed);
    assert_eq!(again.ok().as_ref(), Some(&entry), "{printed}");
    let online: CpuSet = (0..16).map(numapin_core::id::CpuId).collect();
    let mut all = entry.claims(None);
    all = all.union(&entry.claims(Some(&entry.plan.plugged)));
    // One that is starting has the masks of its plan.
    for placed in entry.plan.placed() {
        all = all.union(&placed.cpus);
    }
    let claims = node::merge(
        &Live::default(),
        std::slice::from_ref(&entry),
        &online,
        Own::default(),
    );
    assert!(claims.claimed().is_subset(&all), "{claims:?}");
    assert!(entry.way_back(&[]).len() <= entry.found.len());
    let mut remembered = entry.clone();
    remembered.remember(&entry.found);
    let mut twice = remembered.clone();
    twice.remember(&entry.found);
    assert_eq!(twice, remembered);
}
