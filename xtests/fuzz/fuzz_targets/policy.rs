//! See `numapin_xtests::fuzz::policy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| numapin_xtests::fuzz::policy(bytes));
