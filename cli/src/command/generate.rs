//! `numapin generate`: what a package ships beside the program, made from the same grammar that reads the command line.

use std::io;

use clap::{Command, CommandFactory as _};
use clap_complete::shells;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::Answer;
use crate::args::{Cli, Generate, Generated, Shell};
use crate::fault::{Exit, Fault};

/// Prints what was asked for.
pub(crate) fn run(args: &Generate) -> Result<Answer, Fault> {
    let bytes = match &args.what {
        Generated::Man { command } => man(command.as_deref())?,
        Generated::Completions { shell } => completions(*shell),
        Generated::Schema => include_bytes!("../../../docs/schema.json").to_vec(),
    };
    // The grammar is ours: its words are UTF-8.
    let out = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Answer {
        out,
        exit: Exit::Done,
    })
}

/// What every page tells last: the exit codes of the manual, and the files.
const STATUS: [(&str, &str); 7] = [
    ("0", "done"),
    ("1", "a fault of numapin or of the system"),
    ("2", "wrong usage, or a file that can't be parsed"),
    ("3", "the constraints can't be met: the reasons are listed"),
    ("4", "QMP did not answer"),
    (
        "5",
        "the affinity could not be set; what had been set was put back",
    ),
    ("6", "drift: what is differs from what is wanted (status)"),
];
const FILES: [(&str, &str); 3] = [
    (
        "/etc/pve/numapin.conf",
        "policies of the guests, reserved and isolated CPUs",
    ),
    (
        "/etc/pve/qemu-server/VMID.conf",
        "the guests of this node; read only",
    ),
    (
        "/run/numapin",
        "plans, the masks found before the first apply, and the lock of the node",
    ),
];

/// The page of numapin, or of one command: `numapin-plan(1)`.
fn man(command: Option<&str>) -> Result<Vec<u8>, Fault> {
    // Built, so that the options of every command stand in each command's page.
    let mut whole = Cli::command().disable_help_subcommand(true);
    whole.build();
    let page = match command {
        None => whole,
        Some(name) => {
            let found = whole.get_subcommands().find(|one| one.get_name() == name);
            let found = found.ok_or_else(|| {
                let names: Vec<_> = whole.get_subcommands().map(Command::get_name).collect();
                Fault::usage(format!(
                    "there is no command {name:?} to write a page of (expected one of {})",
                    names.join(", ")
                ))
            })?;
            found.clone()
        }
    };
    let mut out = Vec::new();
    pages(&page, &mut out).map_err(Fault::system)?;
    Ok(out)
}

fn pages(page: &Command, out: &mut Vec<u8>) -> io::Result<()> {
    let man = Man::new(page.clone())
        .manual("numapin")
        .source(concat!("numapin ", env!("CARGO_PKG_VERSION")));
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    if page.has_subcommands() {
        man.render_subcommands_section(out)?;
    }
    let after = page.get_after_help().map(ToString::to_string);
    if let Some((_, example)) = after
        .as_deref()
        .and_then(|text| text.split_once("Example: "))
    {
        let mut roff = Roff::new();
        roff.control("SH", ["EXAMPLE"]);
        roff.control("nf", [])
            .text([bold(example)])
            .control("fi", []);
        roff.to_writer(out)?;
    }
    for (title, rows) in [("EXIT STATUS", &STATUS[..]), ("FILES", &FILES[..])] {
        let mut roff = Roff::new();
        roff.control("SH", [title]);
        for (word, meaning) in rows {
            roff.control("TP", [])
                .text([bold(*word)])
                .text([roman(*meaning)]);
        }
        roff.to_writer(out)?;
    }
    Ok(())
}

fn completions(shell: Shell) -> Vec<u8> {
    let (mut command, name, mut out) = (Cli::command(), "numapin", Vec::new());
    match shell {
        Shell::Bash => clap_complete::generate(shells::Bash, &mut command, name, &mut out),
        Shell::Zsh => clap_complete::generate(shells::Zsh, &mut command, name, &mut out),
        Shell::Fish => clap_complete::generate(shells::Fish, &mut command, name, &mut out),
    }
    out
}
