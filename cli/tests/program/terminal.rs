//! On a real terminal: the bar of what takes long, and colours. Neither is to be seen anywhere else.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Lab, command};

/// So many guests take longer than a second on any machine, if not fewer do.
const MOST: usize = 768;

/// What the program shows on a terminal with this environment and no other, by `script` of util-linux.
fn on_terminal(words: &str, env: &[(&str, &str)]) -> String {
    let line = format!("{} {words}", command().get_program().display());
    let output = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("script is part of Debian's essential bsdutils");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The same of a simulation of so many guests.
fn simulated(lab: &Lab, guests: usize, term: &str) -> String {
    let configs = format!(" {}", config(lab).display()).repeat(guests);
    on_terminal(&format!("simulate --mode numa{configs}"), &[("TERM", term)])
}

fn config(lab: &Lab) -> PathBuf {
    let path: &Path = lab.path();
    path.join("etc/pve/qemu-server/100.conf")
}

#[test]
fn who_waits_at_a_terminal_sees_how_far_it_is() {
    let lab = Lab::small();
    lab.config(100, "cores: 2\n");
    // A bar comes after a second: on a fast machine more guests are needed for that.
    let mut guests = 6;
    let shown = loop {
        let shown = simulated(&lab, guests, "xterm");
        if shown.contains(&format!(" of {guests}")) || guests >= MOST {
            break shown;
        }
        guests *= 2;
    };
    let bar = shown
        .split(['\r', '\n'])
        .find(|line| line.contains(&format!(" of {guests}")));
    let bar = bar.unwrap_or_else(|| panic!("no bar for {guests} guests in\n{shown}"));
    assert!(bar.contains("guest ") && bar.contains('['), "{bar:?}");
    // It is gone in the end, and the answer stands there whole.
    let end = shown
        .rsplit_once(&format!(" of {guests}"))
        .map_or("", |(_, end)| end);
    assert!(
        end.contains("\u{1b}[2K") && end.contains("local share"),
        "{end:?}"
    );
    // The same on a terminal that can't move its cursor, and in a pipe.
    let dumb = simulated(&lab, guests, "dumb");
    assert!(!dumb.contains(&format!(" of {guests}")), "{dumb}");
    let configs = vec![config(&lab); guests];
    let piped = command()
        .args(["simulate", "--mode", "numa"])
        .args(configs)
        .env("TERM", "xterm")
        .output();
    let piped = piped.expect("the program was built and starts");
    assert_eq!(String::from_utf8_lossy(&piped.stderr), "");
}

#[test]
fn a_terminal_gets_colours_unless_it_is_told_not_to() {
    let lab = Lab::rfc();
    lab.config(100, "cores: 2\n");
    let root = lab.path().display();
    let words = format!("plan 100 --mode one-to-one --root {root}");
    let shown = |words: &str, env: &[(&str, &str)]| {
        let env = [&[("LANG", "C.UTF-8")][..], env].concat();
        on_terminal(words, &env).replace("\r\n", "\n")
    };
    let xterm = [("TERM", "xterm-256color")];
    let painted = shown(&words, &xterm);
    assert!(painted.contains("\x1b[1;38;5;"), "{painted}");
    // Nobody wants them, the terminal has none, or they are forbidden here.
    let plain = shown(&words, &[xterm[0], ("NO_COLOR", "1")]);
    assert!(!plain.contains('\x1b') && plain.contains("A 2"), "{plain}");
    assert_eq!(shown(&format!("{words} --color never"), &xterm), plain);
    let dumb = shown(&words, &[("TERM", "dumb")]);
    assert!(!dumb.contains('\x1b') && dumb.is_ascii(), "{dumb}");
    // Asked for, they come in spite of NO_COLOR.
    let asked = shown(
        &format!("{words} --color always"),
        &[xterm[0], ("NO_COLOR", "1")],
    );
    assert_eq!(asked, painted);
}
