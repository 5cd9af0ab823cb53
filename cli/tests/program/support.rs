//! The program as a user runs it, and machines for it to work on.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use assert_cmd::Command;
use numapin_qmp_mock::{FakeHost, Guest, Mock, Mocks, Script, Threads};
use numapin_sysfs_sim::{Host, Machine, OnlineFiles, Quirks};
use serde_json::Value;
use tempfile::TempDir;

/// How the program ended, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// The exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Run {
    /// Ended with this code and said nothing on standard error.
    #[track_caller]
    pub(crate) fn quiet(self, code: i32) -> Self {
        assert_eq!(self.err, "", "on stderr, with {:?}", self.out);
        self.ended(code)
    }

    /// Ended with this code.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        self
    }

    /// Was refused with exactly this line, and answered nothing.
    #[track_caller]
    pub(crate) fn refused(self, code: i32, line: &str) {
        assert_eq!(
            (self.code, self.err.as_str(), self.out.as_str()),
            (code, format!("numapin: {line}\n").as_str(), "")
        );
    }

    /// Standard output as JSON: one document on one line.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "{}{}", self.out, self.err);
        assert!(self.out.ends_with('\n'), "{:?}", self.out);
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }

    /// The same with a text instead of each occurrence of another one.
    pub(crate) fn with(self, from: &str, to: &str) -> Self {
        Self {
            out: self.out.replace(from, to),
            err: self.err.replace(from, to),
            ..self
        }
    }
}

/// Runs the program in a directory that holds nothing of interest.
#[track_caller]
pub(crate) fn numapin<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Run {
    numapin_in(Path::new("/"), args)
}

/// Runs the program in a directory.
#[track_caller]
pub(crate) fn numapin_in<S: AsRef<OsStr>>(dir: &Path, args: impl IntoIterator<Item = S>) -> Run {
    let output = command().current_dir(dir).args(args).output();
    let output = output.expect("the program was built and starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what is printed is UTF-8");
    // Told for every guest with `pinning:` in its config, and tested once: most guests here have it.
    let drops = "stock Proxmox VE drops pinning: at its next write of the config";
    let lines = text(output.stderr);
    let lines = lines
        .split_inclusive('\n')
        .filter(|line| !line.contains(drops));
    Run {
        code: output.status.code().expect("it ends by itself"),
        out: text(output.stdout),
        err: lines.collect(),
    }
}

/// The program, with an environment that changes nothing and an end.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_numapin"));
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .timeout(std::time::Duration::from_secs(60));
    command
}

/// The program for a test that holds its pipes.
pub(crate) fn raw_command() -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_numapin"));
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A directory for thousands of small files; in memory where that can be had.
pub(crate) fn directory() -> TempDir {
    let mut new = tempfile::Builder::new();
    new.prefix("numapin-cli-");
    new.tempdir_in("/dev/shm")
        .or_else(|_| new.tempdir())
        .expect("a directory for temporary files")
}

/// A large machine with as few files as it can have: a hundred thousand small ones would be slow to write.
pub(crate) fn few_files(host: Host) -> Host {
    let quirks = Quirks {
        lists_only: true,
        l3_only: true,
        online_files: OnlineFiles::None,
        no_cpu_node_links: true,
        no_die: true,
        no_cluster: true,
        no_hugepages: true,
        ..Quirks::default()
    };
    Host { quirks, ..host }
}

/// A simulated machine in a directory of its own.
pub(crate) struct Lab {
    dir: TempDir,
    mocks: Option<Mocks>,
}

impl Lab {
    /// A machine of a description.
    pub(crate) fn of(host: &Host) -> Self {
        let dir = directory();
        host.write_tree(dir.path()).expect("a possible machine");
        Self { dir, mocks: None }
    }

    /// One of the machines that come with the program.
    pub(crate) fn named(name: &str) -> Self {
        let dir = directory();
        let machine = Machine::load(name).expect("a known machine");
        machine.write_tree(dir.path()).expect("it can be written");
        Self { dir, mocks: None }
    }

    /// A host of 12 CPUs on 2 nodes, for where it does not matter: writing many files is slow.
    pub(crate) fn small() -> Self {
        Self::of(&Host::grid(1, 2, 1, 6, 1))
    }

    /// The host of the RFC: 4 nodes of 4 cores with SMT, 0-3,16-19 and so on.
    pub(crate) fn rfc() -> Self {
        Self::named("epyc7351p")
    }

    /// Its directory.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path below it.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Writes a file below it.
    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("it can be made");
        fs::write(&path, text).expect("it can be written");
    }

    /// Writes the config of a guest of this node.
    pub(crate) fn config(&self, vmid: u32, text: &str) {
        self.write(&format!("etc/pve/qemu-server/{vmid}.conf"), text);
    }

    /// Starts a guest.
    pub(crate) fn start(&mut self, guest: Guest, script: Script) -> Mock {
        let host = FakeHost::at(self.path()).expect("the machine says what is online");
        let mocks = self
            .mocks
            .get_or_insert_with(|| Mocks::new().expect("a thread for the mocks"));
        mocks
            .spawn(guest, Threads::Fake(host), script)
            .expect("a possible guest")
    }

    /// Runs the program on this machine, in its directory; the machine is called `ROOT` in what it says.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        let root = self.path().to_str().expect("UTF-8");
        let args = args.iter().copied().chain(["--root", root]);
        numapin_in(self.path(), args).with(root, "ROOT")
    }

    /// The mask that the simulated kernel shows for a thread of a process.
    pub(crate) fn mask(&self, pid: u32, tid: u32) -> String {
        let status = self.at(&format!("proc/{pid}/task/{tid}/status"));
        let text = fs::read_to_string(status).expect("a task with its status");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:\t"));
        line.expect("a mask").to_owned()
    }

    /// The masks of all threads of a guest.
    pub(crate) fn masks(&self, mock: &Mock) -> Vec<(String, String)> {
        let tasks = self.at(&format!("proc/{}/task", mock.pid()));
        let mut tids: Vec<u32> = fs::read_dir(tasks)
            .expect("a process with tasks")
            .map(|task| task.expect("readable").file_name())
            .filter_map(|name| name.to_str()?.parse().ok())
            .collect();
        tids.sort_unstable();
        let mask = |tid: u32| (tid.to_string(), self.mask(mock.pid(), tid));
        tids.into_iter().map(mask).collect()
    }
}

/// The captured hosts, each unpacked, with the file of what others read from it. They are not part of the project: without
/// them there are none, and it is said so.
pub(crate) fn captured_hosts() -> Vec<(TempDir, PathBuf)> {
    let data = std::env::var_os("NUMAPIN_DATA").map(PathBuf::from);
    let required = std::env::var("NUMAPIN_REQUIRE").is_ok_and(|parts| parts.contains("data"));
    let Some(data) = data else {
        assert!(!required, "NUMAPIN_REQUIRE asks for NUMAPIN_DATA");
        let said = writeln!(io::stderr(), "NUMAPIN_DATA is not set: passed over");
        said.expect("stderr is open");
        return Vec::new();
    };
    let entries = fs::read_dir(data.join("hosts")).expect("captured hosts");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let mut archives: Vec<_> = paths
        .filter(|path| path.to_string_lossy().ends_with(".tar.xz"))
        .collect();
    archives.sort();
    assert!(archives.len() >= 13, "{archives:?}");
    let unpacked = archives.iter().map(|archive| {
        let dir = directory();
        let mut tar = std::process::Command::new("tar");
        let tar = tar.arg("-xJf").arg(archive).arg("-C").arg(dir.path());
        assert!(tar.status().expect("tar is there").success(), "{archive:?}");
        (dir, archive.with_extension("").with_extension("json"))
    });
    unpacked.collect()
}

/// Compares an answer with a file of the project, byte by byte. With NUMAPIN_BLESS set the file is written instead: what then
/// changed is looked at before it is committed.
#[track_caller]
pub(crate) fn same_as_file(answer: &str, path: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("NUMAPIN_BLESS").is_some() {
        fs::write(&path, answer).expect("it can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        answer == expected,
        "{} differs (NUMAPIN_BLESS=1 writes it anew) from:\n{answer}",
        path.display()
    );
}

/// The values of a JSON document, as they stand in a table of tests.
#[track_caller]
pub(crate) fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value
        .pointer(pointer)
        .unwrap_or_else(|| panic!("{pointer} is missing in {value}"))
}
