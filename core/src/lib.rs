//! The pinning engine of numapin.
