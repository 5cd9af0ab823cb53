//! numapin: gives the vCPUs of QEMU guests the right host CPUs.
//!
//! Arguments in, an answer out: what is decided is decided in `numapin-core`. The answer goes to standard output, everything
//! else to standard error. A library, so that tests and benchmarks can step through the rounds of `watch` and run thousands of
//! commands without a process for each ([`run_words`]); `main.rs` only calls [`main`].

mod args;
mod command;
mod fault;
mod flow;
mod intent;
mod load;
mod planned;
mod progress;
mod render;
mod simulate;
mod survey;
pub mod watch;

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use numapin_core::root::reason;

pub use crate::command::hook::survive_panics;

use crate::args::{Cli, Command, Format};
use crate::fault::{Exit, Fault};
#[cfg(feature = "schema")]
pub use crate::render::json::schema;

/// How a command of [`run_words`] ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// The exit code, as `numapin --help` lists them.
    pub code: u8,
    /// What would have gone to standard output.
    pub out: String,
    /// The lines that would have gone to standard error, without the program's name.
    pub told: Vec<String>,
}

/// What a command answers.
struct Answer {
    /// What goes to standard output, complete with its last newline.
    out: String,
    /// How it ended.
    exit: Exit,
}

/// Runs the command that was typed, and prints its answer.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let cli = Cli::read(&words).unwrap_or_else(|e| misused(&e, &words));
    if matches!(cli.command, Command::Hook(_)) {
        command::hook::survive_panics();
    }
    let mut answer = run(&cli).unwrap_or_else(|fault| refused(&cli, &fault));
    if cli.global.format == Format::Text
        && render::paint::wanted(cli.global.color)
        && !is_plain(&cli)
    {
        answer.out = render::paint::paint(&answer.out);
    }
    let written = io::stdout().lock().write_all(answer.out.as_bytes());
    match written {
        // That the log can't be written stops nobody's start.
        Err(_) if matches!(cli.command, Command::Hook(_)) => answer.exit.into(),
        // A reader that has seen enough (`numapin topology | head`) is no fault.
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            tell(&format!("standard output: {}", reason(&e)));
            Exit::Fault.into()
        }
        _ => answer.exit.into(),
    }
}

/// Runs the command of these words (without the program's name) as [`main`] does, and prints nothing: for tests and
/// benchmarks. Pictures are drawn for 80 columns of Unicode, whatever the environment says.
#[must_use]
pub fn run_words<I, W>(words: I) -> Ran
where
    I: IntoIterator<Item = W>,
    W: Into<OsString>,
{
    let mut line = vec![OsString::from("numapin")];
    line.extend(words.into_iter().map(Into::into));
    let cli = match Cli::read(&line) {
        Ok(cli) => cli,
        Err(e) => {
            let lines = e.to_string().lines().map(str::to_owned).collect();
            return Ran {
                code: u8::try_from(e.exit_code()).unwrap_or(Exit::Usage as u8),
                out: String::new(),
                told: lines,
            };
        }
    };
    TOLD.set(Some(Vec::new()));
    let answer = run(&cli).unwrap_or_else(|fault| refused(&cli, &fault));
    Ran {
        code: answer.exit as u8,
        out: answer.out,
        told: TOLD.take().unwrap_or_default(),
    }
}

fn run(cli: &Cli) -> Result<Answer, Fault> {
    let global = &cli.global;
    if global.format == Format::Prometheus && !matches!(cli.command, Command::Status(_)) {
        return Err(Fault::usage("--format prometheus is for status only"));
    }
    let drawn = matches!(cli.command, Command::Topology | Command::Plan(_));
    if global.format == Format::Svg && !drawn {
        return Err(Fault::usage("--format svg is for topology and plan only"));
    }
    match &cli.command {
        Command::Topology => command::topology::run(global),
        Command::Plan(args) => command::plan::run(global, args),
        Command::Check(args) => command::plan::check(global, args),
        Command::Advise(args) => command::advise::run(global, args),
        Command::Apply(args) => command::apply::run(global, args),
        Command::Status(args) => command::status::run(global, args),
        Command::Reset(args) => command::reset::run(global, args),
        Command::Hook(args) => command::hook::run(global, args),
        Command::Watch(args) => command::watch::run(global, args),
        Command::Set(args) => command::set::set(global, args),
        Command::Unset(args) => command::set::unset(global, args),
        Command::Record(args) => command::record::run(global, args),
        Command::Simulate(args) => command::simulate::run(global, args),
        Command::Generate(args) => command::generate::run(args),
    }
}

/// Whether the answer is never painted: `record -` is piped into a file for programs, and the hook writes into a log.
fn is_plain(cli: &Cli) -> bool {
    matches!(
        cli.command,
        Command::Record(_) | Command::Generate(_) | Command::Hook(_)
    )
}

/// Ends with what clap has to say: help and version are answers; a mistake is one, too, for programs that asked for JSON.
fn misused(error: &clap::Error, words: &[OsString]) -> ! {
    let asked = |pair: &[OsString]| pair == ["--format", "json"];
    let json = words.windows(2).any(asked) || words.iter().any(|word| word == "--format=json");
    if json && error.use_stderr() {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let fault = Fault::usage(first.strip_prefix("error: ").unwrap_or(first));
        let document = render::json::line(&render::json::FaultDocument::from(&fault));
        // As with any answer: that nobody reads it changes nothing.
        let _ = writeln!(io::stdout().lock(), "{document}");
    }
    error.exit()
}

/// The answer of a command that ended in a fault: the line on standard error, and for programs a document.
fn refused(cli: &Cli, fault: &Fault) -> Answer {
    tell(&fault.message);
    let out = match cli.global.format {
        Format::Json => render::json::line(&render::json::FaultDocument::from(fault)) + "\n",
        Format::Text | Format::Svg | Format::Prometheus => String::new(),
    };
    Answer {
        out,
        exit: fault.kind.exit(),
    }
}

thread_local! {
    /// What this thread tells, where it is kept instead of printed.
    static TOLD: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Whether what is told and answered is kept instead of printed.
fn is_kept() -> bool {
    TOLD.with_borrow(Option::is_some)
}

/// A line on standard error. That it can't be written is nobody's business.
fn tell(line: &str) {
    let kept = TOLD.with_borrow_mut(|told| match told {
        Some(told) => {
            told.push(line.to_owned());
            true
        }
        None => false,
    });
    if kept {
        return;
    }
    let _ = writeln!(io::stderr().lock(), "numapin: {line}");
}
