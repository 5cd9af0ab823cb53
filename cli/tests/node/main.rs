//! A node full of guests: policies, claims, apply, reset, status, hook and watch, on simulated machines.

mod lab;
mod pinning;
mod policies;
mod statuses;
