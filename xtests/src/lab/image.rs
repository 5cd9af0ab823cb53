//! What the machine of the lab starts with: busybox, taskset, QEMU with its libraries, numapin, the steps.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Lab;
use super::cpio::Archive;
use super::madt::{self, madt};
use crate::flow::Broken;
use crate::source::workspace;

/// Size of the guests' firmware: the smallest that QEMU takes.
const FIRMWARE: usize = 64 * 1024;

/// Where Debian keeps the parts of QEMU that are loaded when they are needed.
const MODULES: &str = "/usr/lib/x86_64-linux-gnu/qemu";

/// The initial file system, with the table of CPUs in front.
///
/// # Errors
/// A program that is needed is not installed.
pub fn image(lab: &Lab, program: &Path) -> Result<Vec<u8>, Broken> {
    let mut tables = Archive::default();
    tables.file(madt::PATH, 0o644, &madt(&lab.host.processors()));

    let mut files = Archive::default();
    let here = workspace().join("xtests/lab");
    files.file("init", 0o755, &fs::read(here.join("init"))?);
    files.file("lab/run.sh", 0o644, &fs::read(here.join("run.sh"))?);
    files.file("lab/facts.sh", 0o644, lab.host.facts().as_bytes());
    for step in steps()? {
        let name = step.file_name().unwrap_or_default().to_string_lossy();
        files.file(&format!("lab/steps/{name}"), 0o644, &fs::read(&step)?);
    }
    files.file("lab/busy.bin", 0o644, &busy_firmware());
    files.copy(program, "usr/bin/numapin")?;
    files.copy(Path::new("/bin/busybox"), "bin/busybox")?;
    with_libraries(&mut files, Path::new("/usr/bin/taskset"))?;
    with_libraries(&mut files, Path::new("/usr/bin/qemu-system-x86_64"))?;
    // Proxmox VE starts it by this name.
    files.link("usr/bin/kvm", "qemu-system-x86_64");
    let tcg = Path::new(MODULES).join("accel-tcg-x86_64.so");
    if tcg.exists() {
        with_libraries(&mut files, &tcg)?;
    }

    let mut image = tables.finish();
    image.extend_from_slice(&files.finish());
    Ok(image)
}

/// The scripts of the steps, in their order.
///
/// # Errors
/// The folder can't be read.
pub fn steps() -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(workspace().join("xtests/lab/steps"))?;
    let mut steps: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    steps.sort();
    Ok(steps)
}

/// A guest's firmware that keeps the first vCPU busy for ever: at the place where a processor starts, 16 bytes below the end,
/// a jump to itself. The other vCPUs wait to be woken, so their threads sleep.
fn busy_firmware() -> Vec<u8> {
    let mut firmware = vec![0; FIRMWARE];
    firmware[FIRMWARE - 16..][..2].copy_from_slice(&[0xeb, 0xfe]);
    firmware
}

/// A program or library with all that the loader wants for it.
fn with_libraries(files: &mut Archive, path: &Path) -> Result<(), Broken> {
    files.copy(path, &path.to_string_lossy())?;
    let told = Command::new("ldd").arg(path).output()?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    for library in told.split_whitespace().filter(|word| word.starts_with('/')) {
        if !files.has(library) {
            files.copy(Path::new(library), library)?;
        }
    }
    Ok(())
}
