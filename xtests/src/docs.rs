//! The project's documents as stories: each file that a page shows is written, each command line that it names is run, in
//! order, on a simulated node; what stands below a command as its output is compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use numapin_cli::watch::{Options, Watch};
use numapin_cli::{Ran, run_words};
use numapin_core::guest::pve::{self, GuestConfig, Pending};
use numapin_core::root::Root;
use numapin_qmp_mock::{Guest, Mock, Script};

use crate::flow::Broken;
use crate::flow::lab::Lab;
use crate::flow::masks::Masks;

/// One fenced block of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// ` ```sh `: command lines, without comments.
    Commands(Vec<(usize, String)>),
    /// ` ```conf PATH `: a file below the root of the node.
    File(String, String),
    /// ` ```text ` right below commands: what the last of them printed. `...` stands for any lines.
    Output(usize, String),
}

/// A simulated node on which a page is played.
pub struct Stage {
    lab: Lab,
    guests: BTreeMap<u32, Mock>,
    /// Words of the page that stand for something else here, such as `./dump`.
    words: BTreeMap<String, String>,
    last: Option<Ran>,
    /// The service, where the page has enabled it.
    service: Option<Watch>,
    /// How long it has been watching.
    watched: Duration,
}

/// The blocks of a page that mean something here; others are left out.
#[must_use]
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open: Option<(String, usize, Vec<&str>)> = None;
    let mut adjacent = false;
    for (number, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some((info.trim().to_owned(), number + 1, Vec::new())),
            (None, None) => adjacent &= line.trim().is_empty(),
            (Some((_, _, lines)), None) => lines.push(line),
            (Some((info, first, lines)), Some(_)) => {
                let text = lines.join("\n") + "\n";
                let block = match info.split_once(' ') {
                    Some(("conf", path)) => Some(Block::File(path.to_owned(), text)),
                    None if info == "sh" => Some(Block::Commands(commands(lines, *first))),
                    None if info == "text" && adjacent => Some(Block::Output(*first, text)),
                    _ => None,
                };
                adjacent = matches!(block, Some(Block::Commands(_)));
                blocks.extend(block);
                open = None;
            }
        }
    }
    blocks
}

fn commands(lines: &[&str], first: usize) -> Vec<(usize, String)> {
    let (mut all, mut begun): (Vec<(usize, String)>, bool) = (Vec::new(), false);
    for (i, line) in lines.iter().enumerate() {
        let line = line.split(" #").next().unwrap_or_default().trim();
        let goes_on = line.ends_with('\\');
        let line = line.trim_end_matches('\\').trim();
        match all.last_mut() {
            Some((_, last)) if begun => *last = format!("{last} {line}"),
            _ if line.is_empty() || line.starts_with('#') => continue,
            _ => all.push((first + i + 1, line.to_owned())),
        }
        begun = goes_on;
    }
    all
}

impl Stage {
    /// A node of the topology with this name, where some words of the page stand for others.
    ///
    /// # Errors
    /// The node can't be written.
    pub fn of(topology: &str, words: &[(&str, &str)]) -> Result<Self, Broken> {
        let lab = Lab::named(topology)?;
        let root = lab.dir().display().to_string();
        let word = |(from, to): &(&str, &str)| ((*from).to_owned(), to.replace("ROOT", &root));
        fs::create_dir_all(lab.dir().join("etc/pve/qemu-server"))?;
        Ok(Self {
            words: words.iter().map(word).collect(),
            lab,
            guests: BTreeMap::new(),
            last: None,
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
                for (number, line) in lines {
                    self.line(line)
                        .map_err(|why| format!("line {number}: {line}: {why}"))?;
                    self.pass_time();
                }
            }
            Block::Output(number, text) => {
                let last = self.last.as_ref().ok_or("an output without a command")?;
                if !shows(text, &last.out) {
                    return Err(format!(
                        "line {number}: the page shows\n{text}but the command printed\n{}",
                        last.out
                    )
                    .into());
                }
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> Result<(), Broken> {
        let words: Vec<String> = line
            .split_whitespace()
            .map(|word| self.word(word))
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["numapin", "watch"] => {
                self.serve()?;
                self.service = None;
                Ok(())
            }
            ["numapin", rest @ ..] => self.numapin(rest),
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
            // What belongs to the system and not to numapin is named, so that nothing is passed over unseen.
            ["apt", "install" | "remove", ..]
            | ["journalctl", "-u", "numapin"]
            | ["cp", "/usr/share/doc/numapin/examples/numapin-hook", _]
            | ["cargo", ..] => Ok(()),
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
                service.round(self.watched);
                self.watched += Duration::from_secs(2);
            }
        }
    }

    fn numapin(&mut self, rest: &[&str]) -> Result<(), Broken> {
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
        let told = ran.told.join("\n");
        if ran.code != 0 {
            return Err(format!("exit {}: {}{told}", ran.code, ran.out).into());
        }
        self.last = Some(ran);
        Ok(())
    }

    fn word(&self, word: &str) -> String {
        let bare = word.trim_matches(['\'', '"']);
        self.words
            .get(bare)
            .cloned()
            .unwrap_or_else(|| bare.to_owned())
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
            true => self.numapin(&["hook", &vmid.to_string(), phase]),
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

/// Whether a page's text stands in an output: its lines in a row, `...` for any number of others.
fn shows(page: &str, output: &str) -> bool {
    let lines: Vec<&str> = output.lines().map(str::trim_end).collect();
    let parts = page.lines().map(str::trim_end).collect::<Vec<_>>();
    let mut at = 0;
    for (i, part) in parts.split(|line| line.trim() == "...").enumerate() {
        if part.is_empty() {
            continue;
        }
        let found = lines[at..]
            .windows(part.len())
            .position(|some| some == part);
        match found {
            Some(found) if i > 0 || found == 0 => at += found + part.len(),
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_cut_into_what_is_played() {
        let page = "x\n```sh\n# why\nnumapin plan 100   # that\nqm set 1 \\\n  --cores 2\n```\n\n```text\na\n...\n```\nwords\n```text\nb\n```\n```conf \
                    etc/x\ny\n```\n";
        let commands = vec![
            (4, "numapin plan 100".to_owned()),
            (5, "qm set 1 --cores 2".to_owned()),
        ];
        let expected = vec![
            Block::Commands(commands),
            Block::Output(9, "a\n...\n".to_owned()),
            Block::File("etc/x".to_owned(), "y\n".to_owned()),
        ];
        assert_eq!(blocks(page), expected);
    }

    #[test]
    fn outputs_are_compared_line_by_line() {
        let output = "a\nb\nc\nd\n";
        for page in ["a\nb\n", "a\n...\nc\n", "...\nd\n", "a\nb\nc\nd\n"] {
            assert!(shows(page, output), "{page}");
        }
        for page in ["b\n", "a\nc\n", "a\n...\nb\nd\n", "e\n"] {
            assert!(!shows(page, output), "{page}");
        }
    }
}
