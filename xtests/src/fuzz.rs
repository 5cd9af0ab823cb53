//! What is done with any bytes at all: one function for each kind of input, run by the fuzzer and, over the kept inputs, by
//! ordinary tests.
//!
//! ```text
//! bytes ──► text ──► reader ──► value ──► printer ──► text ──► reader ──► the same value
//!                       └─► error: one line that says what was expected
//! ```
//! A reader may refuse, but never panics or goes on without end; where there is a printer, what it prints is read as what was
//! printed. A function that finds anything else panics: that is how a fuzzer is told.

mod config;
mod ledger;
mod lists;
mod policy;
mod printed;
mod qmp;
mod recording;
mod sysfs;
mod sysfs_tree;

pub use config::config;
pub use ledger::ledger;
pub use lists::lists;
pub use policy::policy;
pub use printed::{printed, without_lines};
pub use qmp::qmp;
pub use recording::recording;
pub use sysfs::sysfs;

/// A kind of input and what is done with it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: that of the fuzzer's target, and of the folder with its kept inputs.
    pub name: &'static str,
    /// Takes any bytes; panics where the bytes show a mistake.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "config",
        run: config,
    },
    Target {
        name: "ledger",
        run: ledger,
    },
    Target {
        name: "lists",
        run: lists,
    },
    Target {
        name: "policy",
        run: policy,
    },
    Target {
        name: "qmp",
        run: qmp,
    },
    Target {
        name: "recording",
        run: recording,
    },
    Target {
        name: "sysfs",
        run: sysfs,
    },
];

/// The message of an error: one line that is not empty, without control characters, and not as long as what was wrong.
fn told(error: &dyn std::fmt::Display) {
    let text = error.to_string();
    assert!(!text.is_empty(), "an error says nothing");
    assert!(
        !text.chars().any(char::is_control),
        "not one plain line: {text:?}"
    );
    assert!(
        text.len() < 4096,
        "{} bytes of message: {text:.200}",
        text.len()
    );
}
