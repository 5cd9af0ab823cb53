//! A simulated node below a directory of its own, and the program run on it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use numapin_qmp_mock::{FakeHost, Guest, Mock, Mocks, Script, Threads};
use numapin_sysfs_sim::Machine;
use serde_json::Value;
use tempfile::TempDir;

/// A simulated node.
pub(crate) struct Node {
    dir: TempDir,
    mocks: Mocks,
    started: Cell<u64>,
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Node {
    /// The host of the RFC: host node n has CPUs 4n to 4n+3 and their SMT siblings 4n+16 to 4n+19; two cores share an L3.
    pub(crate) fn new() -> Self {
        Self::of("epyc7351p")
    }

    /// A node of the topology with this name.
    pub(crate) fn of(topology: &str) -> Self {
        let shm = Path::new("/dev/shm");
        let dir = match shm.is_dir() {
            true => tempfile::tempdir_in(shm),
            false => tempfile::tempdir(),
        };
        let dir = dir.unwrap();
        Machine::load(topology)
            .unwrap()
            .write_tree(dir.path())
            .unwrap();
        fs::create_dir_all(dir.path().join("etc/pve/qemu-server")).unwrap();
        Self {
            dir,
            mocks: Mocks::new().unwrap(),
            started: Cell::new(0),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes the config of a guest.
    pub(crate) fn config(&self, vmid: u32, text: &str) {
        self.write(&format!("etc/pve/qemu-server/{vmid}.conf"), text);
    }

    /// Writes numapin.conf.
    pub(crate) fn conf(&self, text: &str) {
        self.write("etc/pve/numapin.conf", text);
    }

    /// Starts the QEMU of a guest.
    pub(crate) fn start(&self, guest: Guest) -> Mock {
        self.start_with(guest, Script::healthy())
    }

    /// Starts the QEMU of a guest that answers by a script.
    pub(crate) fn start_with(&self, mut guest: Guest, script: Script) -> Mock {
        // A number that is used again is another process: the simulated ones tell by this alone.
        let started = self.started.get() + 1;
        self.started.set(started);
        guest.start_ticks.get_or_insert(1_000 + started);
        let host = FakeHost::at(self.dir.path()).unwrap();
        let started = self.mocks.spawn(guest, Threads::Fake(host), script);
        started.unwrap()
    }

    /// Starts a guest of so many cores, with a config that says so.
    pub(crate) fn guest(&self, vmid: u32, cores: u32) -> Mock {
        self.config(
            vmid,
            &format!("name: vm{vmid}\ncores: {cores}\nmemory: 1024\n"),
        );
        self.start(Guest::proxmox(vmid, 1, cores))
    }

    /// The program with these arguments, to be run on the node.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_numapin"));
        command.arg("--root").arg(self.dir.path()).args(args);
        command.env_clear().stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// Runs a command that must end in 0.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        ran.out
    }

    /// The JSON of a command, and its exit code.
    pub(crate) fn json(&self, args: &[&str]) -> (i32, Value) {
        let ran = self.run(&[args, &["--format", "json"]].concat());
        let value = serde_json::from_str(&ran.out);
        (ran.code, value.unwrap_or_else(|e| panic!("{e}: {ran:?}")))
    }

    /// The mask of each thread of a process, by its name, as `status` has it.
    pub(crate) fn masks(&self, mock: &Mock) -> BTreeMap<String, String> {
        let tasks = self.path(&format!("proc/{}/task", mock.pid()));
        let mut masks = BTreeMap::new();
        for task in fs::read_dir(tasks).unwrap() {
            let task = task.unwrap().path();
            let comm = fs::read_to_string(task.join("comm")).unwrap();
            masks.insert(comm.trim().to_owned(), mask(&task.join("status")));
        }
        masks
    }

    /// The masks of a guest's vCPUs in their order, as one text.
    pub(crate) fn vcpus(&self, mock: &Mock) -> String {
        let mask = |vcpu: numapin_qmp_mock::Vcpu| {
            let status = format!("proc/{}/task/{}/status", mock.pid(), vcpu.tid);
            mask(&self.path(&status))
        };
        let mut vcpus = mock.vcpus();
        vcpus.sort_by_key(|vcpu| vcpu.index);
        vcpus.into_iter().map(mask).collect::<Vec<_>>().join(" ")
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn mask(status: &Path) -> String {
    let text = fs::read_to_string(status).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.unwrap().trim().to_owned()
}
