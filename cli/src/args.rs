//! What was typed. What it means is worked out in [`crate::intent`].

mod one;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, FromArgMatches as _, Parser, Subcommand, ValueEnum};

/// Gives the vCPUs of QEMU guests the right host CPUs: aware of NUMA nodes, caches and SMT; exact, explained, reversible.
#[derive(Debug, Parser)]
#[command(
    name = "numapin",
    version,
    max_term_width = 80,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "\
Exit codes: 0 done; 1 a fault of numapin or of the system; 2 wrong usage or a file that can't be parsed; 3 the constraints \
can't be met; 4 QMP did not answer; 5 the affinity could not be set and was put back; 6 drift (status).")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    /// What clap has to say: help, the version, or a mistake.
    pub(crate) fn read(words: &[OsString]) -> Result<Self, clap::Error> {
        // The whole grammar takes longer to build than many a command takes: a line that is right needs that of its command
        // alone, and about any other the whole grammar speaks.
        if let Some(mut grammar) = one::grammar(words) {
            match grammar.try_get_matches_from_mut(words) {
                Ok(mut matches) => return Self::from_arg_matches_mut(&mut matches),
                Err(e) if e.kind() == clap::error::ErrorKind::DisplayVersion => return Err(e),
                Err(_) => {}
            }
        }
        Self::try_parse_from(words)
    }
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// Read the host from this sysfs directory, or from a dump that holds sys/ (nothing can be set there).
    #[arg(long, value_name = "DIR", global = true, conflicts_with = "root")]
    pub(crate) sysfs_root: Option<PathBuf>,
    /// Work on the captured or simulated machine below DIR: its sys, proc, run and etc/pve.
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) root: Option<PathBuf>,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    pub(crate) format: Format,
    /// Whether the answer has colours (auto: on a terminal, unless NO_COLOR is set or TERM is dumb).
    #[arg(long, value_enum, default_value_t = Color::Auto, global = true)]
    pub(crate) color: Color,
    /// How long QMP may take altogether, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = seconds, global = true)]
    pub(crate) deadline: f64,
    /// Say more about what is read and done (on stderr).
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

/// How the answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs; changes only by addition.
    Json,
    /// A drawing (topology and plan).
    Svg,
    /// For the textfile collector of Prometheus' node_exporter (status).
    Prometheus,
}

/// Whether the answer has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal that can.
    Auto,
    /// Yes.
    Always,
    /// No.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the host: NUMA nodes, L3s, cores, SMT threads, distances
    #[command(after_help = "Example: numapin topology --sysfs-root ./dump-of-a-node")]
    Topology,
    /// Say whether a guest can be pinned
    ///
    /// Exit 0, or 3 with every reason.
    #[command(after_help = "Example: numapin check 100 --mode one-to-one")]
    Check(OneGuest),
    /// Show where each vCPU would go; nothing is touched
    ///
    /// Guests are planned in order, each seeing the ones before.
    #[command(after_help = "Example: numapin plan 100 101 --mode numa")]
    Plan(Guests),
    /// Pin a running guest: ask QEMU, plan, set the affinity, read it back
    #[command(after_help = "Example: numapin apply 100 --mode one-to-one --smt isolate")]
    Apply(Apply),
    /// Compare what is wanted with what is, thread by thread
    ///
    /// Without GUEST: of the whole node, with who holds what. Exit 6 where they differ.
    #[command(after_help = "Example: numapin status 100 --format json")]
    Status(Status),
    /// Put back the masks found before the first apply
    ///
    /// And hold: the service leaves the guest alone until its next start or apply.
    #[command(after_help = "Example: numapin reset 100")]
    Reset(Reset),
    /// Do a hookscript's work: plan before a start, pin after it
    ///
    /// After a stop the guest's CPUs are free again. Only a guest that can't be pinned and whose policy says require=fail is kept
    /// from starting (exit 3); nothing else that may happen stops it.
    #[command(after_help = "Example: numapin hook 100 pre-start")]
    Hook(Hook),
    /// Be the service: keep every guest that has a policy pinned
    #[command(after_help = "Example: numapin watch --dry-run")]
    Watch(Watch),
    /// Write a guest's policy into /etc/pve/numapin.conf
    #[command(after_help = "Example: numapin set 100 one-to-one,smt=isolate")]
    Set(Set),
    /// Remove a guest's policy from /etc/pve/numapin.conf
    #[command(after_help = "Example: numapin unset 100")]
    Unset(Unset),
    /// Name settings that make a guest's memory, devices and pins agree
    ///
    /// As `qm set` lines, each with its reason and what it brings. Nothing is changed.
    #[command(after_help = "Example: numapin advise 100 --mode one-to-one")]
    Advise(OneGuest),
    /// Walk the whole flow on a recorded host with mock guests
    ///
    /// Nothing real is touched.
    #[command(after_help = "Example: numapin simulate --host epyc7451-2s 100.conf --mode numa")]
    Simulate(Simulate),
    /// Write this host's topology into one text file
    ///
    /// For a bug report or CI: numapin simulate --host reads it.
    #[command(after_help = "Example: numapin record host.txt")]
    Record(Record),
    /// Print man pages, shell completions or the schema of the JSON answers
    #[command(
        after_help = "Example: numapin generate completions bash > /etc/bash_completion.d/numapin"
    )]
    Generate(Generate),
}

/// A command about one guest.
#[derive(Debug, Args)]
pub(crate) struct OneGuest {
    /// A VMID or the path of a .conf file; absent with --qmp.
    #[arg(value_name = "GUEST")]
    pub(crate) guest: Option<String>,
    #[command(flatten)]
    pub(crate) with: With,
}

/// `numapin apply`.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) one: OneGuest,
    /// Make a new plan, and show what it changes; without it a plan holds as long as the guest's process.
    #[arg(long)]
    pub(crate) replan: bool,
}

/// `numapin status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// VMIDs; without: the node.
    #[arg(value_name = "GUEST")]
    pub(crate) guests: Vec<String>,
}

/// `numapin reset`.
#[derive(Debug, Args)]
pub(crate) struct Reset {
    /// A VMID.
    #[arg(
        value_name = "GUEST",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    pub(crate) guest: Option<String>,
    /// Every guest that numapin pinned.
    #[arg(long)]
    pub(crate) all: bool,
}

/// `numapin hook`, with the two arguments that Proxmox VE gives a hookscript.
#[derive(Debug, Args)]
pub(crate) struct Hook {
    /// The guest.
    #[arg(value_name = "VMID")]
    pub(crate) vmid: String,
    /// pre-start, post-start, pre-stop or post-stop; any other is passed over.
    #[arg(value_name = "PHASE")]
    pub(crate) phase: String,
}

/// `numapin watch`.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Plan and pin guests, too, that run already and were never placed.
    #[arg(long)]
    pub(crate) adopt: bool,
    /// Tell what would be done, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// A command about any number of guests.
#[derive(Debug, Args)]
pub(crate) struct Guests {
    /// VMIDs or paths of .conf files; without: every guest of this node that has a policy.
    #[arg(value_name = "GUEST")]
    pub(crate) guests: Vec<String>,
    /// Say why each virtual node is where it is, and what spoke against each other host node.
    #[arg(long)]
    pub(crate) explain: bool,
    #[command(flatten)]
    pub(crate) with: With,
}

/// `numapin set`.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The guest.
    #[arg(value_name = "VMID")]
    pub(crate) vmid: String,
    /// Its policy, like "one-to-one,smt=isolate".
    #[arg(value_name = "POLICY")]
    pub(crate) policy: String,
}

/// `numapin unset`.
#[derive(Debug, Args)]
pub(crate) struct Unset {
    /// The guest.
    #[arg(value_name = "VMID")]
    pub(crate) vmid: String,
}

/// `numapin simulate`.
#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// Paths of .conf files; without: the six guests of the Proxmox VE proposal.
    #[arg(value_name = "GUEST")]
    pub(crate) guests: Vec<String>,
    /// A recorded host by name, a machine description or recording, or a directory that holds sys/.
    #[arg(long, value_name = "NAME|FILE|DIR")]
    pub(crate) host: Option<String>,
    /// Leave the simulated machine in DIR, to be looked into with --root DIR.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) with: With,
}

/// `numapin record`.
#[derive(Debug, Args)]
pub(crate) struct Record {
    /// The file to write; `-` for standard output.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Where the host comes from, kept in the file's head.
    #[arg(long, value_name = "TEXT")]
    pub(crate) provenance: Option<String>,
}

/// `numapin generate`.
#[derive(Debug, Args)]
pub(crate) struct Generate {
    #[command(subcommand)]
    pub(crate) what: Generated,
}

/// What can be generated.
#[derive(Debug, Subcommand)]
pub(crate) enum Generated {
    /// Print a man page in roff: of numapin, or of one of its commands
    #[command(after_help = "Example: numapin generate man plan > numapin-plan.1")]
    Man {
        /// The command; without: numapin itself.
        #[arg(value_name = "COMMAND")]
        command: Option<String>,
    },
    /// Print completions for a shell
    #[command(
        after_help = "Example: numapin generate completions fish > ~/.config/fish/completions/numapin.fish"
    )]
    Completions {
        /// The shell.
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Print the JSON Schema of the answers with --format json
    #[command(after_help = "Example: numapin generate schema > numapin.schema.json")]
    Schema,
}

/// A shell that completions are generated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// GNU bash.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}

/// What is laid over a guest's config and policy, key by key.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Guest and policy")]
pub(crate) struct With {
    /// A plain QEMU guest by its QMP socket: its shape is read from QEMU.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) qmp: Option<PathBuf>,
    /// The policy as a whole, like "one-to-one,smt=isolate".
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<String>,
    /// none, numa, l3, one-to-one or shared.
    #[arg(long)]
    pub(crate) mode: Option<String>,
    /// How vCPUs share cores: spread, isolate, pack or any (one-to-one).
    #[arg(long)]
    pub(crate) smt: Option<String>,
    /// What CPUs held by other guests mean: avoid, deny or allow.
    #[arg(long)]
    pub(crate) overlap: Option<String>,
    /// What isolated CPUs mean: avoid, allow or only.
    #[arg(long)]
    pub(crate) isolated: Option<String>,
    /// Which kind of core: any, performance or efficiency.
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// Where QEMU's own threads go: keep, node or spare.
    #[arg(long)]
    pub(crate) emulator: Option<String>,
    /// Where iothreads go: keep, node or spare.
    #[arg(long)]
    pub(crate) iothreads: Option<String>,
    /// Where vhost workers go: keep, node or spare.
    #[arg(long)]
    pub(crate) vhost: Option<String>,
    /// The host CPUs that may be used, like "0-3,16-19".
    #[arg(long, value_name = "CPUS")]
    pub(crate) affinity: Option<String>,
    /// Sockets of the guest.
    #[arg(long, value_name = "N")]
    pub(crate) sockets: Option<String>,
    /// Cores of a socket of the guest.
    #[arg(long, value_name = "N")]
    pub(crate) cores: Option<String>,
    /// Whether the guest has virtual nodes: 0 or 1.
    #[arg(long, value_name = "0|1")]
    pub(crate) numa: Option<String>,
    /// Virtual node V goes to host node N; may be given several times.
    #[arg(long, value_name = "V=N")]
    pub(crate) host_node: Vec<String>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3600.0 => Ok(seconds),
        _ => Err("expected seconds above 0 and up to 3600".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_holds_together() {
        Cli::command().debug_assert();
    }
}
