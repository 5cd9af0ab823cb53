//! The project's documents as stories: each file that a page shows is written, each command line that it names is run, in
//! order, on a simulated node; what stands below a command as its output is compared.

mod page;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use numapin_cli::run_words;
use numapin_cli::watch::{Options, Watch};
use numapin_core::guest::pve::{self, GuestConfig, Pending};
use numapin_core::root::Root;
use numapin_qmp_mock::{Guest, Mock, Script};
use numapin_sysfs_sim::Machine;

use crate::flow::Broken;
use crate::flow::lab::Lab;
use crate::flow::masks::{self, Masks};

pub use page::{Block, Line, blocks};

/// A simulated node on which a page is played.
pub struct Stage {
    lab: Lab,
    guests: BTreeMap<u32, Mock>,
    /// Words of the page that stand for something else here, such as `./dump`.
    words: BTreeMap<String, String>,
    /// What the last command showed on the terminal.
    shown: String,
    /// What the service has said.
    journal: String,
    /// The service, where the page has enabled it.
    service: Option<Watch>,
    /// How long it has been watching.
    watched: Duration,
}

impl Stage {
    /// A node of the topology with this name, where some words of the page stand for others.
    ///
    /// # Errors
    /// The node can't be written.
    pub fn of(topology: &str, words: &[(&str, &str)]) -> Result<Self, Broken> {
        Self::on(&Machine::load(topology)?, words)
    }

    /// The same on any machine.
    ///
    /// # Errors
    /// The node can't be written.
    pub fn on(machine: &Machine, words: &[(&str, &str)]) -> Result<Self, Broken> {
        let lab = Lab::of(machine)?;
        let root = lab.dir().display().to_string();
        let word = |(from, to): &(&str, &str)| ((*from).to_owned(), to.replace("ROOT", &root));
        fs::create_dir_all(lab.dir().join("etc/pve/qemu-server"))?;
        Ok(Self {
            words: words.iter().map(word).collect(),
            lab,
            guests: BTreeMap::new(),
            shown: String::new(),
            journal: String::new(),
            service: None,
            watched: Duration::ZERO,
        })
    }

    /// A path below the root of the node.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.lab.dir().join(name)
    }

    /// The threads of all guests that run.
    ///
    /// # Errors
    /// They can't be read.
    pub fn masks(&self) -> Result<Masks, Broken> {
        self.lab.masks()
    }

    /// Starts a plain QEMU whose socket stands below the root.
    ///
    /// # Errors
    /// The mock can't be started.
    pub fn plain(&mut self, guest: Guest) -> Result<(), Broken> {
        let mock = self.lab.start(guest, Script::healthy())?;
        self.guests.insert(0, mock);
        Ok(())
    }

    /// Plays a block.
    ///
    /// # Errors
    /// A command line that is no part of the page's world, or did not end in 0; an output that differs.
    pub fn play(&mut self, block: &Block) -> Result<(), Broken> {
        match block {
            Block::File(path, text) => {
                let path = self.path(path);
                fs::create_dir_all(path.parent().ok_or("a file without a directory")?)?;
                fs::write(path, text)?;
            }
            Block::Commands(lines) => {
                for line in lines {
                    self.line(line)
                        .map_err(|why| format!("line {}: {}: {why}", line.number, line.words))?;
                    self.pass_time();
                }
            }
            Block::Output(number, text) => {
                if !page::shows(text, &self.shown) {
                    return Err(format!(
                        "line {number}: the page shows\n{text}but the command printed\n{}",
                        self.shown
                    )
                    .into());
                }
            }
        }
        Ok(())
    }

    /// What the last command showed: what goes to standard error before what goes to standard output.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    fn line(&mut self, line: &Line) -> Result<(), Broken> {
        self.shown.clear();
        let words = line.words.split_whitespace();
        let words: Vec<String> = words.map(|word| self.word(word)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["numapin", "watch"] => {
                self.serve()?;
                self.service = None;
                Ok(())
            }
            ["cargo", "run", .., "--", "simulate"] => self.numapin(&["simulate"], line.exit),
            ["numapin", rest @ ..] => self.numapin(rest, line.exit),
            ["systemctl", "enable", "--now", "numapin"] => self.serve(),
            ["systemctl", "disable", "--now", "numapin"] => {
                self.service = None;
                Ok(())
            }
            ["qm", "start", vmid] => self.start(vmid.parse()?),
            ["qm", "stop", vmid] => {
                let vmid = vmid.parse()?;
                self.guests.remove(&vmid).ok_or("it does not run")?;
                self.hook(vmid, "post-stop")
            }
            ["qm", "set", vmid, options @ ..] => self.set(vmid, options),
            ["rm", "-f", path] if path.starts_with("/etc/pve/") => {
                let _ = fs::remove_file(self.path(path.trim_start_matches('/')));
                Ok(())
            }
            ["journalctl", "-u", "numapin"] => {
                self.shown.clone_from(&self.journal);
                Ok(())
            }
            ["journalctl", "-u", "numapin", "-n", lines] => {
                let all: Vec<&str> = self.journal.split_inclusive('\n').collect();
                let first = all.len().saturating_sub(lines.parse()?);
                self.shown = all[first..].concat();
                Ok(())
            }
            ["taskset", "-cp", cpus, thread] => self.taskset(thread.parse()?, cpus),
            // What belongs to the system and not to numapin is named, so that nothing is passed over unseen.
            ["apt", "install" | "remove", ..]
            | ["cp", "/usr/share/doc/numapin/examples/numapin-hook", _]
            | ["cargo", "test", "--workspace"] => Ok(()),
            _ => Err("no test knows this command".into()),
        }
    }

    /// Starts the service.
    fn serve(&mut self) -> Result<(), Broken> {
        let options = Options {
            adopt: false,
            dry_run: false,
            deadline: Duration::from_secs(5),
        };
        let root = Root::captured(self.lab.dir())?;
        self.service = Some(Watch::new(root, options).map_err(|e| e.to_string())?);
        self.pass_time();
        Ok(())
    }

    /// Lets the service go its rounds for a minute: long enough for everything that it waits for.
    fn pass_time(&mut self) {
        if let Some(service) = &mut self.service {
            for _ in 0..30 {
                for line in service.round(self.watched) {
                    self.journal.push_str(&format!("{}\n", line.text));
                }
                self.watched += Duration::from_secs(2);
            }
        }
    }

    fn numapin(&mut self, rest: &[&str], exit: u8) -> Result<(), Broken> {
        let root = self.lab.dir().display().to_string();
        let mut words = rest.to_vec();
        // What makes a machine of its own, or needs none.
        let alone = matches!(rest.first(), Some(&"simulate" | &"generate"));
        if !alone && !rest.contains(&"--sysfs-root") {
            words.extend(["--root", &root]);
        }
        let to_file = words.iter().position(|word| *word == ">");
        if let Some(at) = to_file {
            words.drain(at..at + 2);
        }
        let ran = run_words(&words);
        for line in &ran.told {
            self.shown.push_str(&format!("numapin: {line}\n"));
        }
        self.shown.push_str(&ran.out);
        // The page's node is no directory.
        self.shown = self.shown.replace(&root, "");
        match ran.code == exit {
            true => Ok(()),
            false => Err(format!("exit {}: {}", ran.code, self.shown).into()),
        }
    }

    fn word(&self, word: &str) -> String {
        let bare = word.trim_matches(['\'', '"']);
        self.words
            .get(bare)
            .cloned()
            .unwrap_or_else(|| bare.to_owned())
    }

    /// What `taskset -cp` does to a thread, whatever numapin wants.
    fn taskset(&self, tid: u32, cpus: &str) -> Result<(), Broken> {
        let ids = masks::list(cpus).ok_or("no list of cpus")?;
        let bits = ids.iter().fold(0_u64, |bits, cpu| bits | 1 << cpu);
        for entry in fs::read_dir(self.path("proc"))? {
            let status = entry?.path().join(format!("task/{tid}/status"));
            let Ok(text) = fs::read_to_string(&status) else {
                continue;
            };
            let lines = text.lines().map(|line| match line.split_once(':') {
                Some(("Cpus_allowed", _)) => format!("Cpus_allowed:\t{bits:08x}\n"),
                Some(("Cpus_allowed_list", _)) => format!("Cpus_allowed_list:\t{cpus}\n"),
                _ => format!("{line}\n"),
            });
            return Ok(fs::write(&status, lines.collect::<String>())?);
        }
        Err("there is no such thread".into())
    }

    fn config(&self, vmid: u32) -> PathBuf {
        self.path(&format!("etc/pve/qemu-server/{vmid}.conf"))
    }

    fn start(&mut self, vmid: u32) -> Result<(), Broken> {
        let file = self.config(vmid);
        let text = fs::read_to_string(&file)?;
        let config = parsed(&file, &text)?;
        self.hook(vmid, "pre-start")?;
        let (sockets, cores) = (config.sockets().try_into()?, config.cores().try_into()?);
        let mut guest = Guest::proxmox(vmid, sockets, cores);
        if config.numa() {
            guest = guest.numa_per_socket();
        }
        let mock = self.lab.start(guest, Script::healthy())?;
        self.guests.insert(vmid, mock);
        self.hook(vmid, "post-start")
    }

    /// What Proxmox VE runs where the guest names a hookscript.
    fn hook(&mut self, vmid: u32, phase: &str) -> Result<(), Broken> {
        let text = fs::read_to_string(self.config(vmid))?;
        match text.lines().any(|line| line.starts_with("hookscript:")) {
            true => self.numapin(&["hook", &vmid.to_string(), phase], 0),
            false => Ok(()),
        }
    }

    /// `qm set`, as far as it writes keys into a config.
    fn set(&mut self, vmid: &str, options: &[&str]) -> Result<(), Broken> {
        let file = self.config(vmid.parse()?);
        let text = fs::read_to_string(&file)?;
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for pair in options.chunks(2) {
            let [option, value] = pair else {
                return Err("an option without a value".into());
            };
            let key = option.strip_prefix("--").ok_or("no option")?;
            let gone = if key == "delete" { *value } else { key };
            lines.retain(|line| !line.starts_with(&format!("{gone}:")));
            if key != "delete" {
                lines.push(format!("{key}: {value}"));
            }
        }
        let text = lines.join("\n") + "\n";
        parsed(&file, &text)?;
        fs::write(&file, text)?;
        Ok(())
    }
}

/// A config that Proxmox VE would take: a line that it would drop is a mistake of the page.
fn parsed(file: &Path, text: &str) -> Result<GuestConfig, Broken> {
    let parsed = pve::parse(file, text, Pending::Merge)?;
    match parsed.warnings.as_slice() {
        [] => Ok(parsed.config),
        [first, ..] => Err(first.to_string().into()),
    }
}
