//! See `numapin_xtests::fuzz::ledger`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| numapin_xtests::fuzz::ledger(bytes));
