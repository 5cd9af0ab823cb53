//! The bar of what takes long: on a terminal that can, and nowhere else.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Lab, command};

/// So many guests take longer than a second, if not fewer do.
const MOST: usize = 48;

/// What a simulation of so many guests shows on a terminal of this name, by `script` of util-linux.
fn on_terminal(lab: &Lab, guests: usize, term: &str) -> String {
    let program = command();
    let mut line = format!("{} simulate --mode numa", program.get_program().display());
    for _ in 0..guests {
        line += &format!(" {}", config(lab).display());
    }
    let output = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", term)
        .stdin(Stdio::null())
        .output()
        .expect("script is part of Debian's essential bsdutils");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn config(lab: &Lab) -> std::path::PathBuf {
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
        let shown = on_terminal(&lab, guests, "xterm");
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
    let dumb = on_terminal(&lab, guests, "dumb");
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
