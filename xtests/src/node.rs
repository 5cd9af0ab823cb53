//! A simulated node on which the whole program runs: in this process, or as one of its own that is killed at a step.
//!
//! ```text
//! Node ─┬─ run(words)           in this process: exit code, answer, what it told
//!       ├─ refused_at(n, errno) the same, with the n-th step refused
//!       └─ killed_at(n)         as a process of its own, stopped at the n-th step and killed there
//! ```
//! What a step is: `numapin_core::steps`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use numapin_cli::{Ran, run_words};
use numapin_qmp_mock::{FakeHost, Guest, Mock, Mocks, Script, Threads, Vhost};
use numapin_sysfs_sim::Host;
use tempfile::TempDir;

use crate::flow::Broken;
use crate::flow::masks::{self, Masks};

/// How long a process may take to reach its step or its end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A simulated node in a directory of its own.
#[derive(Debug)]
pub struct Node {
    dir: TempDir,
    mocks: Mocks,
}

/// How a process ended that was to be killed at a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Killed {
    /// At the step, which would have done this.
    At(String),
    /// It never came to that step.
    Ended {
        /// Its exit code.
        code: i32,
        /// What it told.
        told: String,
    },
}

/// The files of a node that numapin can change, as they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept(BTreeMap<PathBuf, Vec<u8>>);

impl Node {
    /// A host of 8 CPUs: 2 host nodes of 2 cores with 2 threads. With a directory for configs.
    ///
    /// # Errors
    /// It can't be written.
    pub fn small() -> Result<Self, Broken> {
        Self::of(&Host::grid(1, 2, 1, 2, 2))
    }

    /// A host of this description.
    ///
    /// # Errors
    /// It can't be written.
    pub fn of(host: &Host) -> Result<Self, Broken> {
        let mut new = tempfile::Builder::new();
        new.prefix("numapin-node-");
        // In memory where that can be had: there are many small files.
        let dir = new.tempdir_in("/dev/shm").or_else(|_| new.tempdir())?;
        host.write_tree(dir.path())?;
        fs::create_dir_all(dir.path().join("etc/pve/qemu-server"))?;
        Ok(Self {
            dir,
            mocks: Mocks::new()?,
        })
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A path below it.
    #[must_use]
    pub fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Writes a file below it.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> io::Result<()> {
        let path = self.at(path);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, text)
    }

    /// Starts a guest of one socket with so many vCPUs, an iothread and a vhost worker, and writes its config.
    ///
    /// # Errors
    /// The mock can't be started.
    pub fn guest(&self, vmid: u32, cores: u32, script: Script) -> Result<Mock, Broken> {
        let mut guest = Guest::proxmox(vmid, 1, cores);
        guest.iothreads = vec!["iothread-virtioscsi0".into()];
        guest.vhost = Vhost::Tasks(1);
        self.start(guest, script)
    }

    /// Starts a guest, and writes its config.
    ///
    /// # Errors
    /// The mock can't be started.
    pub fn start(&self, guest: Guest, script: Script) -> Result<Mock, Broken> {
        if let Some(vmid) = guest.vmid {
            let Guest {
                name,
                cores,
                sockets,
                ..
            } = &guest;
            let text = format!("cores: {cores}\nmemory: 1024\nname: {name}\nsockets: {sockets}\n");
            self.write(&format!("etc/pve/qemu-server/{vmid}.conf"), text)?;
        }
        let host = FakeHost::at(self.dir())?;
        Ok(self.mocks.spawn(guest, Threads::Fake(host), script)?)
    }

    /// Locks the config of a guest, as Proxmox VE does for a whole start; until the file is dropped.
    ///
    /// # Errors
    /// The lock can't be made or taken.
    pub fn lock_config(&self, vmid: u32) -> Result<File, Broken> {
        let name = format!("run/lock/qemu-server/lock-{vmid}.conf");
        self.write(&name, "")?;
        let file = File::open(self.at(&name))?;
        file.try_lock()?;
        Ok(file)
    }

    /// Sets a mask behind numapin's back, as `taskset` does.
    ///
    /// # Errors
    /// The thread is not there.
    pub fn taskset(&self, mock: &Mock, tid: u32, cpus: &[u32]) -> io::Result<()> {
        let status = self.at(&format!("proc/{}/task/{tid}/status", mock.pid()));
        let bits = cpus.iter().fold(0_u64, |bits, cpu| bits | 1 << cpu);
        let list: Vec<String> = cpus.iter().map(u32::to_string).collect();
        let list = list.join(",");
        let text = fs::read_to_string(&status)?;
        let lines = text.lines().map(|line| match line.split_once(':') {
            Some(("Cpus_allowed", _)) => format!("Cpus_allowed:\t{bits:08x}\n"),
            Some(("Cpus_allowed_list", _)) => format!("Cpus_allowed_list:\t{list}\n"),
            _ => format!("{line}\n"),
        });
        fs::write(&status, lines.collect::<String>())
    }

    /// The masks of all threads.
    ///
    /// # Errors
    /// They can't be read.
    pub fn masks(&self) -> io::Result<Masks> {
        masks::of_all(&self.at("proc"))
    }

    /// Runs the program in this process; the node is called `ROOT` in what it says.
    pub fn run(&self, words: &[&str]) -> Ran {
        let root = self.dir().display().to_string();
        let ran = run_words(words.iter().copied().chain(["--root", &root]));
        Ran {
            out: ran.out.replace(&root, "ROOT"),
            told: ran
                .told
                .iter()
                .map(|line| line.replace(&root, "ROOT"))
                .collect(),
            ..ran
        }
    }

    /// Runs the program with the n-th step refused; with what that step would have done, if it came to it.
    ///
    /// # Errors
    /// The wish can't be written.
    pub fn refused_at(
        &self,
        n: usize,
        errno: i32,
        words: &[&str],
    ) -> Result<(Ran, Option<String>), Broken> {
        self.write("numapin-step", format!("{n} {errno}\n"))?;
        let ran = self.run(words);
        let reached = self.reached()?;
        self.no_steps()?;
        Ok((ran, reached))
    }

    /// What the steps are of something that is done in this process.
    ///
    /// # Errors
    /// It fails, or the wish can't be written.
    pub fn steps_of(
        &self,
        what: impl FnOnce() -> Result<(), Broken>,
    ) -> Result<Vec<String>, Broken> {
        let all: String = (1..1_000).map(|n| format!("{n} pass\n")).collect();
        self.write("numapin-step", all)?;
        let done = what();
        let reached = fs::read_to_string(self.at("numapin-step.reached")).unwrap_or_default();
        self.no_steps()?;
        done?;
        Ok(reached.lines().map(str::to_owned).collect())
    }

    /// Runs the program as a process, and kills it at a step. `steps` are the lines of the wish, of which the last one stops.
    ///
    /// # Errors
    /// It can't be started, or neither reached its step nor ended in time.
    pub fn killed(&self, program: &str, steps: &str, words: &[&str]) -> Result<Killed, Broken> {
        self.write("numapin-step", steps)?;
        let mut child = self.command(program, words).spawn()?;
        let ended = self.wait(&mut child, steps.lines().count());
        // A real SIGKILL: nothing of the program runs any more after it.
        child.kill()?;
        let output = child.wait_with_output()?;
        let reached = self.reached()?;
        self.no_steps()?;
        let code = ended?;
        Ok(match (code, reached) {
            (Some(code), _) => Killed::Ended {
                code,
                told: String::from_utf8_lossy(&output.stderr).into_owned(),
            },
            (None, reached) => Killed::At(reached.unwrap_or_default()),
        })
    }

    /// The program as a process on this node.
    #[must_use]
    pub fn command(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(words).arg("--root").arg(self.dir());
        command.env_clear().stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// The files that numapin can change: what is below run/numapin, etc/pve and proc.
    ///
    /// # Errors
    /// They can't be read.
    pub fn keep(&self) -> io::Result<Kept> {
        let mut files = BTreeMap::new();
        for dir in ["run/numapin", "etc/pve", "proc"] {
            walk(&self.at(dir), &mut files)?;
        }
        Ok(Kept(files))
    }

    /// Puts them back.
    ///
    /// # Errors
    /// They can't be written.
    pub fn restore(&self, kept: &Kept) -> io::Result<()> {
        let Kept(now) = self.keep()?;
        for path in now.keys().filter(|path| !kept.0.contains_key(*path)) {
            fs::remove_file(path)?;
        }
        for (path, bytes) in &kept.0 {
            if now.get(path) != Some(bytes) {
                fs::write(path, bytes)?;
            }
        }
        Ok(())
    }

    /// Files of numapin that nobody reads: what a killed program left.
    ///
    /// # Errors
    /// They can't be listed.
    pub fn leftovers(&self) -> io::Result<Vec<String>> {
        let Kept(files) = self.keep()?;
        let names = files
            .keys()
            .filter_map(|path| Some(path.strip_prefix(self.dir()).ok()?.display().to_string()));
        let known = |name: &String| {
            let of_ledger = name.strip_prefix("run/numapin/").is_some_and(|name| {
                ["lock", "watch.lock"].contains(&name) || name.ends_with(".json")
            });
            let of_pve = name.starts_with("etc/pve/") && name.ends_with(".conf");
            let of_proc = name.starts_with("proc/")
                && !name
                    .rsplit('/')
                    .next()
                    .is_some_and(|last| last.contains('.'));
            of_ledger || of_pve || of_proc
        };
        Ok(names.filter(|name| !known(name)).collect())
    }

    fn wait(&self, child: &mut Child, steps: usize) -> Result<Option<i32>, Broken> {
        let begin = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status.code().ok_or("it was killed by somebody else")?));
            }
            let text = fs::read_to_string(self.at("numapin-step.reached")).unwrap_or_default();
            if text.matches('\n').count() == steps {
                return Ok(None);
            }
            if begin.elapsed() > PATIENCE {
                return Err("it neither reached its step nor ended".into());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// What the last step that was reached would have done.
    fn reached(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(self.at("numapin-step.reached")) {
            Ok(text) => Ok(text.lines().last().map(str::to_owned)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn no_steps(&self) -> io::Result<()> {
        for name in ["numapin-step", "numapin-step.reached"] {
            match fs::remove_file(self.at(name)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }
}

fn walk(dir: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), files)?;
        } else if kind.is_file() {
            files.insert(entry.path(), fs::read(entry.path())?);
        }
    }
    Ok(())
}
