//! The program, run as a user runs it.

mod bad_config;
mod bad_host;
mod check;
mod help;
mod plan;
mod plan_inputs;
mod support;
mod topology;
