//! End-to-end tests of numapin and the laws of its house.
