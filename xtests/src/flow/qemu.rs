//! A real QEMU that a test starts and ends.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::Broken;
use super::machine::wait_for;
use super::masks::{self, Masks};

/// Debian's name of it.
const PROGRAM: &str = "qemu-system-x86_64";

/// A running QEMU under `-S`: its guest never runs. It is ended with this value.
#[derive(Debug)]
pub struct Qemu {
    child: Child,
    dir: TempDir,
}

/// What runs the vCPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// KVM.
    Kvm,
    /// A thread for each vCPU.
    TcgMulti,
    /// One thread for all.
    TcgSingle,
}

/// Whether QEMU is there; where it is not, that is told.
///
/// # Errors
/// It is absent, and `NUMAPIN_REQUIRE` names `qemu`.
pub fn is_there() -> Result<bool, Broken> {
    let told = Command::new(PROGRAM).arg("--version").output();
    if told.is_ok_and(|told| told.status.success()) {
        return Ok(true);
    }
    pass_over("qemu", &format!("{PROGRAM} is not installed"))
}

/// Whether KVM can be used; where it can't, that is told. (Nothing requires it: TCG shows the same.)
///
/// # Errors
/// None so far.
pub fn has_kvm() -> Result<bool, Broken> {
    let kvm = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm");
    match kvm {
        Ok(_) => Ok(true),
        Err(e) => pass_over("kvm", &format!("/dev/kvm: {e}")),
    }
}

/// Says that a test is passed over, since a part of it is missing.
///
/// # Errors
/// `NUMAPIN_REQUIRE` names the part.
#[allow(clippy::print_stderr)] // A test that is passed over says so.
pub fn pass_over(part: &str, why: &str) -> Result<bool, Broken> {
    let required = std::env::var("NUMAPIN_REQUIRE").unwrap_or_default();
    if required.split(',').any(|word| word.trim() == part) {
        return Err(format!("{why}, and NUMAPIN_REQUIRE asks for {part}").into());
    }
    eprintln!("passed over: {why}");
    Ok(false)
}

impl Qemu {
    /// Starts one with so many sockets of so many cores, a virtual node for each socket, and an iothread.
    ///
    /// # Errors
    /// It does not start; its own words are told.
    pub fn start(accel: Accel, sockets: u32, cores: u32) -> Result<Self, Broken> {
        let dir = tempfile::Builder::new().prefix("numapin-qemu-").tempdir()?;
        let accel = match accel {
            Accel::Kvm => "kvm",
            Accel::TcgMulti => "tcg,thread=multi",
            Accel::TcgSingle => "tcg,thread=single",
        };
        let mut command = Command::new(PROGRAM);
        command
            .args(["-S", "-display", "none", "-nodefaults", "-no-user-config"])
            .args(["-machine", "q35", "-accel", accel])
            .args(["-name", "flow,debug-threads=on"])
            .args(["-m", &format!("{}", 16 * sockets)])
            .args([
                "-smp",
                &format!("{},sockets={sockets},cores={cores}", sockets * cores),
            ])
            .args(["-object", "iothread,id=io0"]);
        for socket in 0..sockets {
            let (first, last) = (socket * cores, (socket + 1) * cores - 1);
            command
                .args([
                    "-object",
                    &format!("memory-backend-ram,id=ram{socket},size=16M"),
                ])
                .args([
                    "-numa",
                    &format!("node,nodeid={socket},cpus={first}-{last},memdev=ram{socket}"),
                ]);
        }
        let socket = dir.path().join("qmp");
        let child = command
            .args([
                "-qmp",
                &format!("unix:{},server=on,wait=off", socket.display()),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.path().join("stderr"))?)
            .spawn()?;
        let mut qemu = Self { child, dir };
        let mut ended = None;
        wait_for("QEMU's socket", || {
            ended = qemu.child.try_wait().ok().flatten();
            ended.is_some() || socket.exists()
        })?;
        match ended {
            Some(status) => {
                let words = fs::read_to_string(qemu.dir.path().join("stderr"))?;
                Err(format!("QEMU ended with {status}: {words}").into())
            }
            None => Ok(qemu),
        }
    }

    /// Its QMP socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("qmp")
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its threads.
    ///
    /// # Errors
    /// They can't be read.
    pub fn masks(&self) -> io::Result<Masks> {
        masks::of_process(Path::new("/proc"), self.pid())
    }

    /// Ends it at once, as a crash does.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.kill();
    }
}
