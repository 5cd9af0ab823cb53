//! What the tests share: a plain client, and where other projects' data is.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::print_stderr)]

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use numapin_qmp_mock::{At, FakeHost, Fault, Guest, Mock, Script, Threads, connect};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A client without any cleverness.
pub struct Client {
    pub stream: UnixStream,
    pub reader: BufReader<UnixStream>,
}

impl Client {
    pub fn connect(path: &Path) -> Self {
        let stream = connect(path).expect("connects");
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader }
    }

    /// Connected, greeted and negotiated.
    pub fn ready(mock: &Mock) -> Self {
        let mut client = Self::connect(mock.socket());
        assert!(client.value()["QMP"].is_object());
        assert_eq!(client.ask("qmp_capabilities"), json!({"return": {}}));
        client
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// The next line; empty at the end of the connection.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        Ok(line)
    }

    pub fn value(&mut self) -> Value {
        let line = self.line().expect("a line in time");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"))
    }

    pub fn ask(&mut self, command: &str) -> Value {
        self.send(json!({ "execute": command }).to_string());
        self.value()
    }

    pub fn ask_with(&mut self, command: &str, arguments: Value) -> Value {
        self.send(json!({ "execute": command, "arguments": arguments }).to_string());
        self.value()
    }

    /// Whether nothing comes for a while and the connection stays open.
    pub fn is_silent(&mut self) -> bool {
        self.stream
            .set_read_timeout(Some(Duration::from_millis(60)))
            .unwrap();
        let silent = matches!(self.line(), Err(e) if e.kind() == io::ErrorKind::WouldBlock);
        self.stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        silent
    }

    /// Whether the connection is closed, without another byte.
    pub fn is_closed(&mut self) -> bool {
        match self.line() {
            Ok(line) => line.is_empty(),
            // Closed by the other side while it had not read all.
            Err(e) => e.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

/// A directory in memory where there is one: hundreds of small files cost nothing there.
pub fn tempdir() -> TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory)
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// A mock below a root of its own, with 32 CPUs.
pub fn mock(guest: Guest, script: Script) -> (TempDir, Mock) {
    let root = tempdir();
    let host = FakeHost::with_cpus(root.path(), "0-31").unwrap();
    let mock = Mock::spawn(guest, Threads::Fake(host), script).unwrap();
    (root, mock)
}

/// Recorded replies; none where NUMAPIN_DATA does not tell where they are.
pub fn recorded() -> Option<PathBuf> {
    if let Some(data) = std::env::var_os("NUMAPIN_DATA") {
        return Some(PathBuf::from(data).join("qmp"));
    }
    let required = std::env::var("NUMAPIN_REQUIRE").unwrap_or_default();
    assert!(!required.contains("data"), "NUMAPIN_DATA is not set");
    eprintln!("passed over: NUMAPIN_DATA is not set");
    None
}

pub fn load(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Waits until something is so.
pub fn wait_for(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{what}: not within 5 s"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Value of a line of /proc/PID/status.
pub fn status(path: &Path, key: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("{key}:\t")));
    line.unwrap_or_else(|| panic!("no {key} in {text}"))
        .split_once('\t')
        .unwrap()
        .1
        .to_owned()
}

/// The command that most faults are about.
pub const CPUS: &str = "query-cpus-fast";

/// The guest of the tests of faults: one socket of four cores.
pub fn guest() -> Guest {
    Guest::proxmox(100, 1, 4)
}

pub fn cpus() -> At {
    At::Command(CPUS.to_owned())
}

/// A negotiated client of a mock with one fault.
pub fn faulty(fault: Fault) -> (TempDir, Mock, Client) {
    let (root, mock) = mock(guest(), Script::of(fault));
    let client = Client::ready(&mock);
    (root, mock, client)
}
