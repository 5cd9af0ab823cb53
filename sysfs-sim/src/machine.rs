//! A machine from wherever it comes, and its tree.

use std::fs;
use std::path::Path;

use crate::description::Host;
use crate::error::Error;
use crate::layout::Layout;
use crate::list;
use crate::recording::{self, Recording};
use crate::render;
use crate::topologies;
use crate::tree::{self, Tree};

/// A machine that can be written as a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Machine {
    /// A description.
    Description(Box<Host>),
    /// A recording.
    Recording(Recording),
}

impl Machine {
    /// The machine of a name, a file or a directory, the first that fits: one of the [`topologies`]; a directory that
    /// holds a machine (what [`crate::record`] takes of it); a file with a description or a recording. A file named as
    /// a topology is reached as `./NAME`.
    ///
    /// # Errors
    /// There is nothing of that name, it can't be read, or is no machine.
    pub fn load(what: &str) -> Result<Self, Error> {
        if let Some(machine) = topologies::get(what) {
            return machine;
        }
        let path = Path::new(what);
        if path.is_dir() {
            return Ok(Self::Recording(recording::record(path)?));
        }
        match fs::read(path) {
            Ok(bytes) => Self::from_bytes(&bytes, what),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Error::UnknownMachine {
                name: what.to_owned(),
                known: topologies::names().collect::<Vec<_>>().join(", "),
            }),
            Err(e) => Err(Error::io(path, e)),
        }
    }

    /// The machine of a text: a recording if its first line says so, else a description. `file` is the name for error
    /// messages.
    ///
    /// # Errors
    /// The text is neither.
    pub fn from_text(text: &str, file: &str) -> Result<Self, Error> {
        if Recording::starts(text) {
            Recording::parse(text, file).map(Self::Recording)
        } else {
            Host::parse(text, file).map(|host| Self::Description(Box::new(host)))
        }
    }

    /// Where the machine comes from.
    #[must_use]
    pub fn provenance(&self) -> &str {
        match self {
            Self::Description(host) => &host.provenance,
            Self::Recording(recording) => &recording.provenance,
        }
    }

    /// The files of the machine.
    ///
    /// # Errors
    /// The description is of no possible machine.
    pub fn tree(&self) -> Result<Tree, Error> {
        match self {
            Self::Description(host) => host.tree(),
            Self::Recording(recording) => Ok(recording.tree.clone()),
        }
    }

    /// Writes the files of the machine below `dir` (`dir/sys/...`), which is made where it does not exist. Nothing that
    /// exists is changed, and nothing outside `dir` is touched.
    ///
    /// # Errors
    /// The description is of no possible machine, a file of the machine exists already, or can't be written.
    pub fn write_tree(&self, dir: &Path) -> Result<(), Error> {
        match self {
            Self::Description(host) => host.write_tree(dir),
            Self::Recording(recording) => tree::write(&recording.tree, dir),
        }
    }

    fn from_bytes(bytes: &[u8], file: &str) -> Result<Self, Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::from_text(text, file),
            Err(e) => {
                let before = bytes.get(..e.valid_up_to()).unwrap_or_default();
                Err(Error::Syntax {
                    file: file.to_owned(),
                    line: 1 + before.iter().filter(|b| **b == b'\n').count(),
                    what: "not UTF-8 (expected a machine description or a recording)".to_owned(),
                })
            }
        }
    }
}

impl Host {
    /// The files of the machine.
    ///
    /// # Errors
    /// The description is of no possible machine.
    pub fn tree(&self) -> Result<Tree, Error> {
        render::render(self)
    }

    /// As [`Machine::write_tree`].
    ///
    /// # Errors
    /// As there.
    pub fn write_tree(&self, dir: &Path) -> Result<(), Error> {
        tree::write(&self.tree()?, dir)
    }

    /// Takes a CPU offline or back in the tree that [`Host::write_tree`] wrote below `dir`, and in the description: as
    /// the kernel does, the links between CPU and node stay, the CPU's topology and caches vanish, and every list drops
    /// it. Files that are not of the description stay as they are. A CPU that is so already is no error.
    ///
    /// # Errors
    /// The machine has no such CPU, it is the last one online, or the tree can't be changed. The description then is as it
    /// was.
    pub fn set_online(&mut self, dir: &Path, cpu: u32, online: bool) -> Result<(), Error> {
        let layout = Layout::of(self)?;
        if !layout.core_of.contains_key(&cpu) {
            return Err(Error::NoSuchCpu {
                cpu,
                cpus: list::list(layout.core_of.keys().copied()),
            });
        }
        let mut changed = self.clone();
        if online {
            changed.offline.0.remove(&cpu);
        } else {
            changed.offline.0.insert(cpu);
        }
        tree::change(dir, &self.tree()?, &changed.tree()?)?;
        *self = changed;
        Ok(())
    }
}
