//! Boots the machine of the lab and takes down what it says.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Lab;
use crate::flow::Broken;

/// How long a boot and all steps may take; on a free machine they need a tenth of it.
const DEADLINE: Duration = Duration::from_secs(600);

/// How often is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(100);

/// Of a QEMU without KVM: KVM is not everywhere, and one thread for all CPUs is what boots reliably. The clock is QEMU's own;
/// that of the processor would be measured wrongly at boot while this machine is busy.
const KERNEL: &str = "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check nokaslr rcupdate.rcu_expedited=1 \
    random.trust_cpu=on clocksource=hpet";

/// A processor with everything TCG can do, whose dies Linux reads from CPUID leaf 0x1f, which it believes of Intel's only.
const CPU: &str = "max,vendor=GenuineIntel,level=0x1f,-la57";

/// What a boot left.
#[derive(Debug)]
pub struct Booted {
    /// Everything the steps said.
    pub said: String,
    /// How long it took.
    pub took: Duration,
}

/// A QEMU that ends with this value.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots once, and once more where the first try does not come to its end.
///
/// # Errors
/// Both tries failed; the end of the console is told.
pub fn boot(lab: &Lab, image: &[u8]) -> Result<Booted, Broken> {
    once(lab, image).or_else(|first| {
        let again = once(lab, image);
        again.map_err(|second| format!("{first}\nand again: {second}").into())
    })
}

fn once(lab: &Lab, image: &[u8]) -> Result<Booted, Broken> {
    let dir = tempfile::Builder::new()
        .prefix("boot-")
        .tempdir_in(&lab.dir)?;
    let path = |name: &str| dir.path().join(name);
    fs::write(path("initrd"), image)?;
    let child = Command::new("qemu-system-x86_64")
        .args([
            "-accel",
            "tcg,thread=single",
            "-machine",
            "q35",
            "-cpu",
            CPU,
        ])
        .args(["-display", "none", "-nodefaults", "-no-reboot"])
        .args(["-bios", "/usr/share/qemu/qboot.rom"])
        .args(lab.host.qemu())
        .arg("-kernel")
        .arg(&lab.kernel)
        .arg("-initrd")
        .arg(path("initrd"))
        .args(["-append", KERNEL])
        // Files and no pipes: a serial port drops what a slow reader does not take.
        .args(["-serial", &format!("file:{}", path("console").display())])
        .args(["-serial", &format!("file:{}", path("said").display())])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(path("stderr"))?)
        .spawn()?;
    let mut machine = Machine(child);
    let start = Instant::now();
    let mut ended = None;
    while ended.is_none() && start.elapsed() < DEADLINE {
        sleep(LOOK);
        ended = machine.0.try_wait()?;
    }
    let took = start.elapsed();
    let said = text(&path("said"));
    if said
        .lines()
        .last()
        .is_some_and(|last| last.starts_with("end "))
    {
        return Ok(Booted { said, took });
    }
    let how = match ended {
        Some(status) => format!("QEMU ended with {status}"),
        None => "it was stopped".to_owned(),
    };
    Err(format!(
        "the machine did not come to its end: {how} after {} s\nQEMU: {}\nits console ended with:\n{}\nthe steps ended with:\n{}",
        took.as_secs(),
        text(&path("stderr")),
        tail(&text(&path("console"))),
        tail(&said),
    )
    .into())
}

fn text(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\r', "")
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
