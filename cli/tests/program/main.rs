//! The program, run as a user runs it.

mod advise;
mod apply;
mod bad_config;
mod bad_host;
mod check;
mod help;
mod mutations;
mod opens;
mod pictures;
mod pictures_svg;
mod plan;
mod plan_inputs;
mod qmp_faults;
mod record;
mod simulate;
mod support;
mod terminal;
mod topology;
