//! A node full of guests: policies, claims, apply, reset, status, hook and watch, on simulated machines.
#![allow(clippy::unwrap_used)]

mod changes;
mod hook;
mod hook_faults;
mod hook_script;
mod hook_starts;
mod lab;
mod pinning;
mod policies;
mod statuses;
mod watch;
mod watch_drift;
mod watch_service;
mod watch_trouble;
