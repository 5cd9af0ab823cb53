//! A mock QEMU: a QMP server with scripted faults, and threads fake or real.
//!
//! A [`Guest`] says what is pretended, [`Threads`] where its threads are, a [`Script`] what goes wrong; [`Mock::spawn`] makes
//! a QMP socket that answers as QEMU 7.2 and 10.0 do.
//!
//! ```
//! use std::io::{BufRead, BufReader};
//!
//! use numapin_qmp_mock::{FakeHost, Guest, Mock, Script, Threads, connect};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let root = tempfile::tempdir()?;
//! let host = FakeHost::with_cpus(root.path(), "0-31")?;
//! let guest = Guest::proxmox(100, 2, 4).numa_per_socket();
//! let mock = Mock::spawn(guest, Threads::Fake(host), Script::healthy())?;
//!
//! let mut greeting = String::new();
//! BufReader::new(connect(mock.socket())?).read_line(&mut greeting)?;
//! assert!(greeting.contains("\"QMP\""));
//!
//! let tid = mock.plug_vcpu(3).unwrap_err();
//! assert_eq!(tid.to_string(), "CPU[3] with APIC ID 3 exists");
//! let status = root.path().join(format!("proc/{}/status", mock.pid()));
//! assert!(std::fs::read_to_string(status)?.contains("Cpus_allowed_list:\t0-31\n"));
//! # Ok(())
//! # }
//! ```
//!
//! It shares no code with the engine that it is there to test.

mod cmdline;
mod error;
mod faults;
mod guest;
mod machine;
mod masks;
mod mock;
mod qmp;
mod script;
mod serve;
mod threads;

pub use error::MockError;
pub use guest::{Accel, Guest, QemuVersion, RunState, Unplug, Vhost, VirtualNode};
pub use machine::Vcpu;
pub use mock::{Holder, Mock, Mocks};
pub use qmp::server::connect;
pub use script::{At, Fault, LyingTid, Pick, Rule, Script, Then};
pub use serve::{Ready, serve};
pub use threads::{FakeHost, RealHost, Threads};

use std::path::Path;

/// Reads a value from a JSON file.
pub(crate) fn load_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, MockError> {
    let text = std::fs::read_to_string(path).map_err(MockError::file(path))?;
    serde_json::from_str(&text).map_err(|e| MockError::Json {
        path: path.to_owned(),
        line: e.line(),
        what: e.to_string(),
    })
}
