//! A real kernel with many host nodes: a machine under QEMU's TCG that boots Debian's kernel and walks through the steps of
//! `xtests/lab/steps` with the static program and a real QEMU inside.
//!
//! ```text
//! LabHost ─┬─ qemu() ────────► options ──────────────────┐
//!          └─ processors() ─► madt ─┐                    ├─► boot ──► what the steps said ──► Said
//! busybox, QEMU, numapin, steps ─► cpio ─► initial fs ───┘
//! ```
//! What the steps compare with is what the kernel shows, never what numapin says of itself.

pub mod boot;
pub mod cpio;
pub mod host;
pub mod image;
pub mod madt;
pub mod said;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use host::{HOSTS, LabHost};

use crate::flow::{Broken, qemu};
use crate::source::workspace;

/// What is needed for a boot, all of it there.
#[derive(Debug)]
pub struct Lab {
    /// Where it keeps what it makes.
    pub dir: PathBuf,
    /// The kernel.
    pub kernel: PathBuf,
    /// The machine.
    pub host: LabHost,
}

impl Lab {
    /// The lab as `setup.sh` left it, with the machine that `NUMAPIN_LAB_HOST` names (CI's where it is unset) and the kernel that
    /// `NUMAPIN_LAB_KERNEL` names (Debian's own). `None` where it was not set up, which is told.
    ///
    /// # Errors
    /// It was not set up and `NUMAPIN_REQUIRE` asks for `lab`; or there is no machine of that name.
    pub fn find() -> Result<Option<Self>, Broken> {
        let word = |key: &str| env::var(key).ok().filter(|word| !word.is_empty());
        let host = match word("NUMAPIN_LAB_HOST") {
            None => HOSTS[0],
            Some(name) => LabHost::named(&name).ok_or_else(|| {
                let names = HOSTS.map(|host| host.name).join(", ");
                format!("NUMAPIN_LAB_HOST is {name:?} (expected one of {names})")
            })?,
        };
        let dir = match env::var_os("NUMAPIN_LAB") {
            Some(dir) => PathBuf::from(dir),
            None => workspace().join("target/lab"),
        };
        let version = word("NUMAPIN_LAB_KERNEL").unwrap_or_else(|| "debian".to_owned());
        let kernel = newest_kernel(&dir.join(format!("kernel-{version}/boot")));
        let Some(kernel) = kernel else {
            let why = format!(
                "{} has no kernel {version}: run xtests/lab/setup.sh",
                dir.display()
            );
            qemu::pass_over("lab", &why)?;
            return Ok(None);
        };
        Ok(Some(Self { dir, kernel, host }))
    }

    /// Builds numapin as it ships, one static file that a node without any library can run, and says where it is. Where
    /// `NUMAPIN_LAB_PROGRAM` names one that is built already, that is taken.
    ///
    /// # Errors
    /// It can't be built; cargo's words are told.
    pub fn program(&self) -> Result<PathBuf, Broken> {
        if let Some(program) = env::var_os("NUMAPIN_LAB_PROGRAM") {
            return Ok(PathBuf::from(program));
        }
        let built = Command::new(workspace().join("cli/dist/build"))
            .arg("dev")
            .env("CARGO_TARGET_DIR", self.dir.join("build"))
            // It is carried into a small machine.
            .env("CARGO_PROFILE_DEV_DEBUG", "none")
            .output()?;
        if !built.status.success() {
            let words = String::from_utf8_lossy(&built.stderr);
            return Err(format!("the static program could not be built: {words}").into());
        }
        Ok(PathBuf::from(String::from_utf8(built.stdout)?.trim_end()))
    }
}

fn newest_kernel(dir: &Path) -> Option<PathBuf> {
    let names = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    let kernel = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("vmlinuz-"))
    };
    names.filter(kernel).max()
}
