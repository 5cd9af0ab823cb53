//! Where other projects' data is, for the tests that read it.

use std::path::PathBuf;

/// The directory of the data, or `None` where the test passes over `what`, and says so.
pub(crate) fn data(what: &str) -> Option<PathBuf> {
    let data = std::env::var_os("NUMAPIN_DATA").map(PathBuf::from);
    let required = std::env::var("NUMAPIN_REQUIRE").unwrap_or_default();
    assert!(
        data.is_some() || !required.split(',').any(|word| word.trim() == "data"),
        "NUMAPIN_REQUIRE asks for data, and NUMAPIN_DATA is unset"
    );
    if data.is_none() {
        eprintln!("passed over: NUMAPIN_DATA is unset, so there are no {what}");
    }
    data
}
