//! What the command line means: the machine it is about.

use std::path::Path;

use numapin_core::root::Root;

use crate::args::Global;
use crate::fault::Fault;

/// The machine that the command is about.
///
/// # Errors
/// The directory that was named can't be read.
pub(crate) fn root(global: &Global) -> Result<Root, Fault> {
    match (&global.sysfs_root, &global.root) {
        (Some(dir), _) => Root::sysfs(dir).map_err(Fault::usage),
        (None, Some(dir)) => Root::captured(dir).map_err(Fault::usage),
        (None, None) => Ok(Root::live()),
    }
}

/// The directory of the machine that the command is about; `None`: this machine.
pub(crate) fn directory(global: &Global) -> Option<&Path> {
    global.sysfs_root.as_deref().or(global.root.as_deref())
}
