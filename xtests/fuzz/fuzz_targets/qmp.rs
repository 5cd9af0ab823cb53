//! See `numapin_xtests::fuzz::qmp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| numapin_xtests::fuzz::qmp(bytes));
