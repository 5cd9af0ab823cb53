//! `numapin simulate`.

use numapin_sysfs_sim::Machine;

use crate::Answer;
use crate::args::{Format, Global, Simulate};
use crate::fault::{Exit, Fault};
use crate::render::look::Look;
use crate::render::{self, json};
use crate::simulate::{self, Setup, Sim};
use crate::{intent, tell};

/// The host of the RFC's experiment.
const RFC_HOST: &str = "epyc7351p";

/// Walks the whole flow on a simulated machine.
pub(crate) fn run(global: &Global, args: &Simulate) -> Result<Answer, Fault> {
    if let Some(dir) = intent::directory(global) {
        return Err(Fault::usage(format!(
            "{}: simulate makes a machine of its own (choose the host with --host {0}, and leave it with --keep DIR)",
            dir.display()
        )));
    }
    if args.with.qmp.is_some() {
        return Err(Fault::usage(
            "--qmp is for a QEMU that runs, and simulate starts its own (expected the paths of .conf files, or none)",
        ));
    }
    let name = args.host.as_deref().unwrap_or(RFC_HOST);
    let alone = args.guests.is_empty();
    let setup = Setup {
        machine: Machine::load(name)?,
        guests: if alone {
            Sim::rfc()
        } else {
            Sim::files(&args.guests)?
        },
        alone,
        over: intent::over(&args.with)?,
        keep: args.keep.as_deref(),
        deadline: intent::deadline(global),
    };
    let outcome = simulate::run(&setup)?;
    outcome.warnings.iter().for_each(|line| tell(line));
    let out = match global.format {
        Format::Json => json::line(&json::SimulateDocument::new(name, &outcome)) + "\n",
        Format::Text | Format::Svg | Format::Prometheus => {
            render::simulate::text(name, &setup, &outcome, Look::of(global.color))
        }
    };
    let refused = outcome.walks.iter().any(|walk| walk.steps.is_err());
    Ok(Answer {
        out,
        exit: if refused {
            Exit::Constraints
        } else {
            Exit::Done
        },
    })
}
