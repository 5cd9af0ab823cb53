//! One file a command: what is read, what is asked of the engine, what is printed.

pub(crate) mod advise;
pub(crate) mod apply;
pub(crate) mod generate;
pub(crate) mod hook;
pub(crate) mod plan;
pub(crate) mod record;
pub(crate) mod reset;
pub(crate) mod set;
pub(crate) mod simulate;
pub(crate) mod status;
pub(crate) mod topology;
pub(crate) mod watch;
