//! numapin.

fn main() {}
