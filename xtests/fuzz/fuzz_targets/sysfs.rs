//! See `numapin_xtests::fuzz::sysfs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| numapin_xtests::fuzz::sysfs(bytes));
