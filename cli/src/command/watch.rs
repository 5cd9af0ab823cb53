//! `numapin watch`.

use crate::Answer;
use crate::args::{Global, Watch as Args};
use crate::fault::{Exit, Fault};
use crate::watch::{Options, Watch, serve};
use crate::{intent, tell};

/// Keeps every guest that has a policy pinned, until it is told to stop.
pub(crate) fn run(global: &Global, args: &Args) -> Result<Answer, Fault> {
    intent::may_change(global)?;
    let options = Options {
        adopt: args.adopt,
        dry_run: args.dry_run,
        deadline: intent::deadline(global),
    };
    let watch = Watch::new(intent::root(global)?, options)?;
    if global.verbose {
        tell(&watch.told());
    }
    serve(watch)?;
    Ok(Answer {
        out: String::new(),
        exit: Exit::Done,
    })
}
