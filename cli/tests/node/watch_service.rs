//! `watch` as a process: what systemd is told, and which signals it hears.

use std::fs::{self, File};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::lab::Node;

/// The end of systemd.
struct Manager(UnixDatagram);

impl Manager {
    fn new(name: &str) -> Self {
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        Self(socket)
    }

    fn hears(&self) -> String {
        let mut text = [0; 500];
        let length = self.0.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    /// Waits for a message that begins like this; whether the watch said meanwhile that it lives.
    fn waits_for(&self, start: &str) -> (String, bool) {
        let mut alive = false;
        loop {
            let text = self.hears();
            if text.starts_with(start) {
                return (text, alive);
            }
            alive |= text == "WATCHDOG=1\n";
            let known = ["WATCHDOG=1\n", "STATUS="];
            assert!(known.iter().any(|known| text.starts_with(known)), "{text}");
        }
    }
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-s", name, &pid]).status();
    assert!(sent.unwrap().success());
}

fn until(mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "it takes too long"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_service_tells_systemd_and_hears_signals() {
    let node = Node::new();
    node.conf("default: one-to-one\n");
    let stranger = node.guest(100, 2);
    let name = format!("numapin-watch-{}", std::process::id());
    let manager = Manager::new(&name);
    let log = node.path("log");
    let file = File::create(&log).unwrap();
    let meta = file.metadata().unwrap();
    let mut command = node.command(&["watch"]);
    command
        .env("NOTIFY_SOCKET", format!("@{name}"))
        .env("WATCHDOG_USEC", "600000")
        .env("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino()))
        .stderr(file);
    let mut child = command.spawn().unwrap();
    let (ready, _) = manager.waits_for("READY=1\n");
    assert_eq!(
        ready,
        "READY=1\nSTATUS=1 guest(s): 0 kept pinned, 0 held, 0 waiting to be pinned, 1 left alone\n"
    );
    let guest = node.guest(101, 2);
    let (status, alive) = manager.waits_for("STATUS=2 guest(s): 1 kept pinned");
    assert!(alive, "{status}");
    assert!(!node.vcpus(&guest).contains('-'));
    assert_eq!(node.vcpus(&stranger), "0-31 0-31");

    // A second one is not wanted, and a dry run is.
    let ran = node.run(&["watch", "--format", "json"]);
    assert_eq!(ran.code, 1);
    let holder = format!(
        "this node is watched already, by process {} (numapin watch)",
        child.id()
    );
    assert!(ran.out.contains(&holder), "{ran:?}");
    let mut dry = node.command(&["watch", "--dry-run", "--adopt"]);
    dry.stderr(File::create(node.path("dry")).unwrap());
    let mut dry = dry.spawn().unwrap();
    until(|| {
        node.read("dry")
            .contains("numapin: guest 100: would be pinned by one-to-one")
    });
    signal(&dry, "INT");
    assert_eq!(dry.wait().unwrap().code(), Some(0));
    assert_eq!(node.vcpus(&stranger), "0-31 0-31");

    signal(&child, "HUP");
    let (reloading, _) = manager.waits_for("RELOADING=1\n");
    let since = reloading
        .lines()
        .nth(1)
        .unwrap()
        .strip_prefix("MONOTONIC_USEC=");
    assert!(since.unwrap().parse::<u64>().unwrap() > 0, "{reloading}");
    manager.waits_for("READY=1\n");

    let masks = node.vcpus(&guest);
    signal(&child, "TERM");
    manager.waits_for("STOPPING=1\n");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(node.vcpus(&guest), masks);
    let log = fs::read_to_string(log).unwrap();
    let of = |text: &str| {
        log.lines()
            .find(|line| line.contains(text))
            .unwrap_or_else(|| panic!("{log}"))
    };
    assert!(
        of("guest 100 runs since before").starts_with("<5>"),
        "{log}"
    );
    assert!(
        of("guest 101: pinned by one-to-one").starts_with("<5>"),
        "{log}"
    );
    assert!(of("all masks stay as they are").starts_with("<6>"), "{log}");
}

#[test]
fn a_host_of_which_only_sys_is_known_is_not_watched() {
    let node = Node::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_numapin"));
    command.arg("--sysfs-root").arg(node.path("sys"));
    let ran = crate::lab::Ran::of(command.arg("watch").output().unwrap());
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.err.contains("nothing can be set below --sysfs-root"),
        "{ran:?}"
    );
    let ran = node.run(&["watch", "100"]);
    assert_eq!(ran.code, 2, "{ran:?}");
}
