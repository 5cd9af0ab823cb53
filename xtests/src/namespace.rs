//! Programs with a `/run` of their own: this machine with its real threads and its real kernel, and nothing that is left on it.
//!
//! A mount namespace (`unshare -m`) has an empty `/run`, so that numapin works on this machine as it is and finds only the
//! guests that a test makes up. It takes root, and a machine where root may mount.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::flow::Broken;

/// What the shell does first: `/run` is empty, of root or of whom `$OWNER` says, and has a directory for pid files.
const EMPTY_RUN: &str =
    "mount -t tmpfs -o mode=755,uid=${OWNER:-0} none /run && mkdir /run/qemu-server && ";

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; `None`: a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Whether this user may do all that on this machine; if not, that is said.
#[must_use]
pub fn can_be_had() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    let can = *CAN.get_or_init(|| shell("true", &[]).is_ok_and(|ended| ended.code == Some(0)));
    if !can {
        passed_over("it takes root, and a machine where root may mount");
    }
    can
}

/// Says why a test is passed over, and that it is.
pub fn passed_over(why: &str) {
    // Nobody can do more about a standard error that is closed.
    let _ = writeln!(io::stderr(), "passed over: {why}");
}

/// Runs a shell script where `/run` is empty, with these variables.
///
/// # Errors
/// It can't be started.
pub fn shell(script: &str, variables: &[(&str, &str)]) -> Result<Ended, Broken> {
    let mut command = Command::new("unshare");
    command
        .args(["-m", "bash", "-c", &format!("{EMPTY_RUN}{script}")])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(variables.iter().copied());
    Ok(ended(command.output()?))
}

/// A program in a directory that everybody can get to: those of a build often are not.
///
/// # Errors
/// It can't be copied.
pub fn for_everybody(program: &str) -> Result<(TempDir, PathBuf), Broken> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut new = tempfile::Builder::new();
    new.prefix("numapin-open-");
    new.permissions(fs::Permissions::from_mode(0o755));
    let dir = new.tempdir_in("/dev/shm").or_else(|_| new.tempdir())?;
    let copy = dir.path().join("numapin");
    fs::copy(program, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    Ok((dir, copy))
}

/// The mask of a thread or process of this machine, as the kernel prints it.
///
/// # Errors
/// There is none.
pub fn mask(pid: u32) -> io::Result<String> {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"))?;
    let mut lines = status.lines();
    let list = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:\t"));
    list.map(str::to_owned)
        .ok_or_else(|| io::Error::other("no line Cpus_allowed_list"))
}

fn ended(output: Output) -> Ended {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended {
        code: output.status.code(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

/// Whether strace may trace here; where it may not, that is told.
#[must_use]
pub fn has_strace() -> bool {
    let has = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .status();
    let has = has.is_ok_and(|status| status.success());
    if !has {
        passed_over("there is no strace that may trace");
    }
    has
}
