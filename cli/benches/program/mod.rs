//! The program that is measured.

use std::path::PathBuf;

/// What `NUMAPIN_BIN` names; without it the program that cargo built beside the benchmark, which is not the one that ships: it is
/// not static.
pub(crate) fn numapin() -> PathBuf {
    let named = std::env::var_os("NUMAPIN_BIN").map(PathBuf::from);
    named.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_numapin")))
}
