//! The hookscript that is shipped, and what a guest without a policy costs.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use numapin_qmp_mock::Guest;
use rstest::rstest;

use crate::hook::{entry, locked, stopped};
use crate::lab::{Node, Ran};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/numapin-hook");

/// A program that the tests can do without, unless `NUMAPIN_REQUIRE` names `tools`.
fn tool(command: &mut Command) -> Option<Output> {
    let name = command.get_program().to_owned();
    match command.output() {
        Ok(output) => Some(output),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let required = std::env::var("NUMAPIN_REQUIRE").unwrap_or_default();
            assert!(!required.contains("tools"), "{name:?} is not installed");
            passed_over(&format!("{name:?} is not installed"));
            None
        }
        Err(e) => panic!("{name:?}: {e}"),
    }
}

#[allow(clippy::print_stderr)]
fn passed_over(why: &str) {
    eprintln!("{why}: passed over");
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A storage with the hookscript, as it is or with another one chained, and a directory of programs.
struct Snippets<'a> {
    node: &'a Node,
    script: PathBuf,
}

impl<'a> Snippets<'a> {
    /// `numapin` is what a shell is to run as it; `None`: it is not installed.
    fn new(node: &'a Node, numapin: Option<&str>, chain: Option<&str>) -> Self {
        fs::create_dir_all(node.path("bin")).unwrap();
        if let Some(numapin) = numapin {
            executable(
                &node.path("bin/numapin"),
                &format!("#!/bin/sh\n{numapin}\n"),
            );
        }
        let mut text = fs::read_to_string(SCRIPT).unwrap();
        if let Some(chain) = chain {
            let path = node.path("other hook");
            if !chain.is_empty() {
                executable(&path, &format!("#!/bin/sh\n{chain}\n"));
            }
            let line = format!("\nchain='{}'\n", path.display());
            assert!(text.contains("\nchain=''\n"), "the variable has moved");
            text = text.replace("\nchain=''\n", &line);
        }
        let script = node.path("numapin-hook");
        executable(&script, &text);
        Self { node, script }
    }

    /// With the program itself, on the node.
    fn real(node: &'a Node, chain: Option<&str>) -> Self {
        let (program, root) = (env!("CARGO_BIN_EXE_numapin"), node.path(""));
        let numapin = format!("exec '{program}' --root '{}' \"$@\"", root.display());
        Self::new(node, Some(&numapin), chain)
    }

    /// Calls it as Proxmox VE does: an environment of three words, and an empty pipe.
    fn call(&self, phase: &str) -> Ran {
        let mut command = Command::new(&self.script);
        let path = format!(
            "{}:/sbin:/bin:/usr/sbin:/usr/bin",
            self.node.path("bin").display()
        );
        command.args(["100", phase]).env_clear().env("PATH", path);
        command.env("LC_ALL", "C").env("PVE_MIGRATED_FROM", "");
        let (empty, _) = io::pipe().unwrap();
        Ran::of(command.stdin(empty).output().unwrap())
    }
}

#[test]
fn the_script_takes_a_guest_through_its_life() {
    let node = Node::new();
    node.conf("100: one-to-one,require=fail\n");
    stopped(&node, 100, 2, "");
    let lock = locked(&node, 100);
    let snippets = Snippets::real(&node, None);
    let ran = snippets.call("pre-start");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    assert!(
        ran.out.starts_with("numapin: guest 100 is planned"),
        "{ran:?}"
    );
    let guest = node.start(Guest::proxmox(100, 1, 2));
    assert_eq!(snippets.call("post-start").code, 0);
    assert_ne!(node.vcpus(&guest), "0-31 0-31");
    assert_eq!(snippets.call("pre-stop").out, "");
    guest.stop();
    assert_eq!(snippets.call("post-stop").code, 0);
    assert_eq!(entry(&node, 100), None);
    let ran = snippets.call("pre-dream");
    assert_eq!((ran.code, ran.out + &ran.err), (0, String::new()));
    node.conf("100: one-to-one,require=fail\nreserved: 0-30\n");
    let ran = snippets.call("pre-start");
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.contains("require=fail stops its start"), "{ran:?}");
    drop(lock);
}

/// Nothing but a refusal stops a guest: not that numapin was removed, is older, was killed, or crashed.
#[rstest]
#[case::removed(None, [0, 0])]
#[case::fine(Some("exit 0"), [0, 0])]
#[case::refused(Some("exit 3"), [3, 0])]
#[case::fault(Some("exit 1"), [0, 0])]
#[case::knows_no_hook(Some("exit 2"), [0, 0])]
#[case::not_to_be_run(Some("exit 126"), [0, 0])]
#[case::killed(Some("kill -9 $$"), [0, 0])]
#[case::aborted(Some("kill -6 $$"), [0, 0])]
fn what_the_script_lets_stop_a_start(#[case] numapin: Option<&str>, #[case] codes: [i32; 2]) {
    let node = Node::new();
    let snippets = Snippets::new(&node, numapin, None);
    for (phase, code) in ["pre-start", "post-start"].into_iter().zip(codes) {
        assert_eq!(snippets.call(phase).code, code, "{phase}");
    }
}

/// What another hookscript is called with, what it ends with, and in which order both run.
#[rstest]
#[case::pre_start("pre-start", 0, 0, 0, "other 100 pre-start\nhook 100 pre-start\n")]
#[case::it_fails("pre-start", 7, 0, 7, "other 100 pre-start\n")]
#[case::refused("pre-start", 0, 3, 3, "other 100 pre-start\nhook 100 pre-start\n")]
#[case::post_start("post-start", 0, 0, 0, "hook 100 post-start\nother 100 post-start\n")]
#[case::post_start_fails("post-start", 7, 3, 7, "hook 100 post-start\nother 100 post-start\n")]
#[case::pre_stop("pre-stop", 5, 0, 5, "other 100 pre-stop\n")]
#[case::post_stop("post-stop", 5, 1, 5, "hook 100 post-stop\nother 100 post-stop\n")]
#[case::later("pre-dream", 0, 0, 0, "hook 100 pre-dream\nother 100 pre-dream\n")]
fn another_hookscript_is_chained(
    #[case] phase: &str,
    #[case] other: i32,
    #[case] numapin: i32,
    #[case] code: i32,
    #[case] said: &str,
) {
    let node = Node::new();
    let numapin = format!("echo \"$@\"\nexit {numapin}");
    let chain = format!("echo other \"$@\"\nexit {other}");
    let ran = Snippets::new(&node, Some(&numapin), Some(&chain)).call(phase);
    assert_eq!((ran.code, ran.out.as_str()), (code, said), "{ran:?}");
}

/// A chained script that is missing stops the start, as it would without numapin.
#[test]
fn a_chained_script_that_is_missing_stops_the_start() {
    let node = Node::new();
    let ran = Snippets::new(&node, Some("echo planned"), Some("")).call("pre-start");
    assert_eq!((ran.code, ran.out.as_str()), (127, ""), "{ran:?}");
}

#[test]
fn the_script_is_plain_sh() {
    let text = fs::read_to_string(SCRIPT).unwrap();
    let mut code = text.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(code.next(), Some("command -v numapin >/dev/null || exit 0"));
    assert!(fs::metadata(SCRIPT).unwrap().permissions().mode() & 0o111 == 0o111);
    if let Some(output) = tool(Command::new("shellcheck").args(["--shell=sh", SCRIPT])) {
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

/// A guest without a policy costs two files read, whatever the phase: no /sys, no /proc, no lock, nothing written.
#[rstest]
#[case::pre_start("pre-start", 2)]
#[case::post_start("post-start", 2)]
#[case::post_stop("post-stop", 2)]
#[case::pre_stop("pre-stop", 0)]
#[case::later("pre-dream", 0)]
fn a_guest_without_a_policy_costs_two_files_read(#[case] phase: &str, #[case] files: usize) {
    let node = Node::new();
    node.conf("101: one-to-one\nreserved: 0\n");
    stopped(&node, 100, 64, "");
    let dir = node.path("");
    let dir = dir.to_str().unwrap().trim_end_matches('/');
    let calls = node.path("calls");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=file,flock,network,process"]);
    strace.arg("-o").arg(&calls);
    strace.args([
        env!("CARGO_BIN_EXE_numapin"),
        "--root",
        dir,
        "hook",
        "100",
        phase,
    ]);
    let Some(output) = tool(strace.stdin(Stdio::null())) else {
        return;
    };
    let calls = fs::read_to_string(calls).unwrap_or_default();
    if !calls.contains("execve(") {
        // A container can forbid it.
        passed_over(&format!("strace may not trace here: {output:?}"));
        return;
    }
    assert!(output.status.success(), "{output:?}");
    // The machine itself is told by its directory, which is there only with --root.
    let here = format!("\"{dir}/");
    let of_machine = |line: &&str| line.contains(&here) && !line.contains("execve(");
    let opened: Vec<&str> = calls
        .lines()
        .filter(of_machine)
        .filter(|line| line.contains("open"))
        .filter(|line| !line.contains(&format!("{here}\"")))
        .collect();
    let expected: &[&str] = match files {
        0 => &[],
        _ => &["/etc/pve/numapin.conf", "/etc/pve/qemu-server/100.conf"],
    };
    assert_eq!(opened.len(), expected.len(), "{opened:#?}");
    for (line, file) in opened.iter().zip(expected) {
        assert!(line.contains(file) && line.contains("O_RDONLY"), "{line}");
    }
    for forbidden in ["/sys/", "/proc/", "/run/numapin/lock"] {
        let touched: Vec<&str> = calls
            .lines()
            .filter(|line| line.contains(&format!("{dir}{forbidden}")))
            .collect();
        assert!(touched.is_empty(), "{touched:#?}");
    }
    for call in ["flock(", "socket(", "connect(", "clone", "fork("] {
        assert!(!calls.contains(call), "{call} in\n{calls}");
    }
}
