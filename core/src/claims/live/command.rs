//! What the command line of a process tells: whether it is a QEMU, and whose.

use crate::id::Vmid;

/// The command line of a QEMU.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Command {
    /// The VMID in `-pidfile /run/qemu-server/VMID.pid`.
    pub(super) vmid: Option<Vmid>,
    /// The value of `-name`, without its options.
    pub(super) name: Option<String>,
    /// Whether it runs guests: others (`qemu-img`, `qemu-nbd`, ...) have no vCPUs.
    pub(super) system: bool,
}

impl Command {
    /// Reads `/proc/PID/cmdline` (arguments that each end with NUL); `None` for what is no QEMU. The check of the first
    /// argument is that of Proxmox VE (`Helpers.pm`).
    pub(super) fn parse(cmdline: &str) -> Option<Self> {
        let mut args = cmdline.strip_suffix('\0').unwrap_or(cmdline).split('\0');
        let base = args.next()?.rsplit('/').next()?;
        let kvm = base.ends_with("kvm");
        if !kvm && !base.starts_with("qemu-") {
            return None;
        }
        let mut command = Self {
            system: kvm || base.starts_with("qemu-system-"),
            ..Self::default()
        };
        while let Some(arg) = args.next() {
            // QEMU takes options with one dash or two.
            match arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) {
                Some("pidfile") => command.vmid = args.next().and_then(vmid_of),
                Some("name") => command.name = args.next().and_then(name_of),
                _ => {}
            }
        }
        Some(command)
    }
}

fn vmid_of(pidfile: &str) -> Option<Vmid> {
    let file = pidfile
        .strip_prefix("/run/qemu-server/")
        .or_else(|| pidfile.strip_prefix("/var/run/qemu-server/"))?;
    let number = file.strip_suffix(".pid")?;
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|_| digits).map(Vmid)
}

/// `-name guest=db1,debug-threads=on` or `-name db1,...`; a doubled comma is a comma in the name.
fn name_of(value: &str) -> Option<String> {
    let value = value.replace(",,", "\u{1}");
    let parts = value.split(',');
    let name = parts
        .enumerate()
        .find_map(|(i, part)| match part.split_once('=') {
            Some(("guest", name)) => Some(name),
            None if i == 0 => Some(part),
            _ => None,
        })?;
    let name = name.replace('\u{1}', ",");
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::proxmox(
        "/usr/bin/kvm\0-id\0vm\0-name\0db1,debug-threads=on\0-pidfile\0/var/run/qemu-server/100.pid\0",
        Some(100),
        Some("db1")
    )]
    #[case::run(
        "qemu-system-aarch64\0--pidfile\0/run/qemu-server/7.pid\0",
        Some(7),
        None
    )]
    #[case::libvirt(
        "/usr/bin/qemu-system-x86_64\0-name\0guest=a,,b,debug-threads=on\0-S\0",
        None,
        Some("a,b")
    )]
    #[case::option_first("qemu-kvm\0-name\0debug-threads=on,guest=x", None, Some("x"))]
    #[case::foreign_pid_file("kvm\0-pidfile\0/tmp/100.pid\0-name\0", None, None)]
    #[case::signed("kvm\0-pidfile\0/run/qemu-server/+5.pid\0", None, None)]
    fn a_qemu_tells_whose_it_is(
        #[case] cmdline: &str,
        #[case] vmid: Option<u32>,
        #[case] name: Option<&str>,
    ) {
        let expected = Command {
            vmid: vmid.map(Vmid),
            name: name.map(ToOwned::to_owned),
            system: true,
        };
        assert_eq!(Command::parse(cmdline), Some(expected));
    }

    #[rstest]
    #[case::kernel_thread("")]
    #[case::shell("/bin/bash\0-c\0kvm\0")]
    #[case::dir("/opt/qemu-9/bin/helper\0")]
    fn others_are_no_qemu(#[case] cmdline: &str) {
        assert_eq!(Command::parse(cmdline), None);
    }

    #[test]
    fn tools_of_qemu_run_no_guest() {
        assert!(
            !Command::parse("/usr/bin/qemu-nbd\0-c\0/dev/nbd0\0")
                .unwrap()
                .system
        );
    }
}
