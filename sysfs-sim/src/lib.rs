//! Writes a host as a sysfs tree: from a machine description, or from a recording.
//!
//! - [`Host`] is a machine description: packages, nodes, L3s, cores and threads, how they are numbered, what is offline, and
//!   what an old kernel leaves out. It is TOML in a file and a plain struct in a test.
//! - [`Recording`] is the bytes of a machine's topology files in one text file, which interprets nothing.
//! - [`Machine`] is either. It is written below a directory as `sys/...` and, where it says so, `proc/...` and `dev/...`.
//! - [`topologies`] are the machines that come with the program.
//!
//! ```
//! use numapin_sysfs_sim::{Host, Machine, Numbering};
//!
//! // 2 packages, 2 nodes each, 1 L3 a node, 4 cores an L3, 2 threads a core; cpu 5 offline.
//! let mut host = Host::grid(2, 2, 1, 4, 2).numbered(Numbering::Blocked);
//! host.offline = [5].into();
//! let dir = tempfile::tempdir()?;
//! host.write_tree(dir.path())?;
//! let node1 = dir.path().join("sys/devices/system/node/node1/cpulist");
//! assert_eq!(std::fs::read_to_string(node1)?, "4,6-7,20-23\n");
//!
//! Machine::load("epyc7351p")?.write_tree(&dir.path().join("other"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This package shares no code with the reader that it is made to test.

mod description;
mod error;
mod layout;
mod list;
mod machine;
mod quirks;
mod recording;
mod render;
pub mod topologies;
mod tree;

pub use description::{
    Cgroup, CgroupMount, CoreGroup, Host, Kind, Memory, Node, Numbering, Pages, Pci, Shape,
};
pub use error::Error;
pub use list::{Ids, MAX_ID};
pub use machine::Machine;
pub use quirks::{OnlineFiles, Quirks};
pub use recording::{PATTERNS, Recording, record};
pub use tree::{Entry, Tree};
