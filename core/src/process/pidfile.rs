//! The QEMU process of a Proxmox VE guest, by its pid file.

use super::{Process, ProcessError, numbers_with_suffix, process};
use crate::id::{Pid, Vmid};
use crate::root::{Root, read_text};

/// A guest of this node with its QEMU, or why that can't be told.
pub type RunningGuest = (Vmid, Result<Process, ProcessError>);

/// The QEMU process of a guest; `None` where there is no pid file, or its process has ended.
///
/// On this machine the check is Proxmox VE's own against numbers used again (`Helpers.pm`): the command is `kvm` or
/// `qemu-...`, and its `-pidfile` is this file. In a captured root the pid file alone decides.
///
/// # Errors
/// The pid file holds no number, or names a process that is not this guest's QEMU.
pub fn guest_process(root: &Root, vmid: Vmid) -> Result<Option<Process>, ProcessError> {
    let name = format!("{vmid}.pid");
    let file = root.run().join("qemu-server").join(&name);
    let Some(text) = read_text(&file)? else {
        return Ok(None);
    };
    let number = text.strip_suffix('\n').unwrap_or(&text);
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let pid = match number.parse() {
        Ok(pid) if digits && pid > 0 => Pid(pid),
        _ => {
            return Err(ProcessError::Malformed {
                file,
                line: 1,
                value: number.chars().take(40).collect(),
                expected: "process number",
            });
        }
    };
    let Some(process) = process(root, pid)? else {
        return Ok(None);
    };
    if root.is_live() {
        let cmdline = root.proc().join(pid.to_string()).join("cmdline");
        let Some(cmdline) = read_text(&cmdline)? else {
            return Ok(None);
        };
        if let Err(reason) = is_qemu_of(&cmdline, &name) {
            return Err(ProcessError::NotItsQemu {
                file,
                vmid,
                pid,
                reason,
            });
        }
    }
    Ok(Some(process))
}

/// The guests whose QEMU runs on this node, by the pid files, ascending; a guest whose pid file lies carries its error.
///
/// # Errors
/// The directory of the pid files can't be listed.
pub fn guests(root: &Root) -> Result<Vec<RunningGuest>, ProcessError> {
    let mut guests = Vec::new();
    for number in numbers_with_suffix(&root.run().join("qemu-server"), ".pid")? {
        let vmid = Vmid(number);
        match guest_process(root, vmid) {
            Ok(None) => {}
            Ok(Some(process)) => guests.push((vmid, Ok(process))),
            Err(e) => guests.push((vmid, Err(e))),
        }
    }
    Ok(guests)
}

/// Whether a command line (arguments that each end with NUL) is that of the QEMU with this pid file.
fn is_qemu_of(cmdline: &str, pidfile: &str) -> Result<(), String> {
    let mut args = cmdline.strip_suffix('\0').unwrap_or(cmdline).split('\0');
    let command = args.next().unwrap_or_default();
    let base = command.rsplit('/').next().unwrap_or_default();
    if !(base == "kvm" || base.starts_with("qemu-")) {
        return Err(format!("its command is {command:?}"));
    }
    let found = args
        .by_ref()
        .find(|arg| *arg == "-pidfile" || *arg == "--pidfile")
        .and_then(|_| args.next());
    // /var/run is /run.
    let expected = |dir: &str| found == Some(&*format!("{dir}/qemu-server/{pidfile}"));
    if expected("/run") || expected("/var/run") {
        return Ok(());
    }
    Err(match found {
        Some(found) => format!("its pid file is {found:?}"),
        None => "its command line names no pid file".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "/usr/bin/kvm\0-enable-kvm\0-pidfile\0/var/run/qemu-server/100.pid\0-daemonize\0",
        ""
    )]
    #[case("kvm\0-pidfile\0/run/qemu-server/100.pid\0", "")]
    #[case(
        "/usr/bin/qemu-system-aarch64\0--pidfile\0/run/qemu-server/100.pid\0",
        ""
    )]
    #[case("/bin/bash\0-c\0kvm\0", "its command is \"/bin/bash\"")]
    #[case("", "its command is \"\"")]
    #[case("/usr/bin/kvm\0-enable-kvm\0", "its command line names no pid file")]
    #[case(
        "/usr/bin/kvm\0-pidfile\0/run/qemu-server/101.pid\0",
        "its pid file is \"/run/qemu-server/101.pid\""
    )]
    #[case("/usr/bin/kvm\0-pidfile\0", "its command line names no pid file")]
    fn a_command_line_is_checked_as_proxmox_does(#[case] cmdline: &str, #[case] reason: &str) {
        let expected = match reason {
            "" => Ok(()),
            reason => Err(reason.to_owned()),
        };
        assert_eq!(is_qemu_of(cmdline, "100.pid"), expected);
    }

    #[rstest]
    #[case("")]
    #[case("\n")]
    #[case("+12\n")]
    #[case("12 34\n")]
    #[case("0")]
    #[case("-5")]
    #[case("99999999999\n")]
    fn a_pid_file_that_holds_no_number_is_named(#[case] text: &str) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("run/qemu-server")).unwrap();
        let file = dir.path().join("run/qemu-server/100.pid");
        fs::write(&file, text).unwrap();
        let root = Root::captured(dir.path()).unwrap();
        let told = guest_process(&root, Vmid(100)).unwrap_err().to_string();
        let value = text.strip_suffix('\n').unwrap_or(text);
        assert_eq!(
            told,
            format!("{}:1: {value:?} is no process number", file.display())
        );
    }

    #[test]
    fn guests_are_found_by_their_pid_files() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run/qemu-server");
        fs::create_dir_all(&run).unwrap();
        for (name, text) in [
            ("100.pid", "4711\n"),
            ("9.pid", "x"),
            ("102.pid", "12"),
            ("100.qmp", ""),
        ] {
            fs::write(run.join(name), text).unwrap();
        }
        fs::create_dir_all(dir.path().join("proc/4711")).unwrap();
        let stat = "4711 (kvm) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 77 0";
        fs::write(dir.path().join("proc/4711/stat"), stat).unwrap();
        let guests = guests(&Root::captured(dir.path()).unwrap()).unwrap();
        assert_eq!(guests.len(), 2, "102's process is gone");
        assert!(guests[0].0 == Vmid(9) && guests[0].1.is_err());
        let expected = Process {
            pid: Pid(4711),
            start_time: 77,
        };
        assert_eq!(
            (guests[1].0, guests[1].1.as_ref().unwrap()),
            (Vmid(100), &expected)
        );
    }
}
