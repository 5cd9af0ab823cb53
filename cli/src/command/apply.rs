//! `numapin apply`.

use crate::Answer;
use crate::args::{Format, Global, OneGuest};
use crate::fault::{Exit, Fault};
use crate::load::Node;
use crate::render::{self, json};
use crate::{flow, intent, tell};

/// Pins one running guest.
pub(crate) fn run(global: &Global, args: &OneGuest) -> Result<Answer, Fault> {
    intent::may_change(global)?;
    let which = intent::one_guest(args)?;
    let over = intent::over(&args.with)?;
    let mut warn = Vec::new();
    let mut node = Node::read(intent::root(global)?, &mut warn)?;
    let applied = flow::apply(
        &mut node,
        &which,
        &over,
        intent::deadline(global),
        &mut warn,
    );
    warn.iter().for_each(|line| tell(line));
    let refused = match applied? {
        Ok(applied) => {
            let out = match global.format {
                Format::Json => json::line(&json::ApplyDocument::new(&applied)) + "\n",
                Format::Text | Format::Prometheus => render::report::text(&applied),
            };
            return Ok(Answer {
                out,
                exit: Exit::Done,
            });
        }
        Err(violations) => [violations],
    };
    let out = match global.format {
        Format::Json => json::line(&json::CheckDocument::new(&refused)) + "\n",
        Format::Text | Format::Prometheus => refused.iter().map(render::violations::text).collect(),
    };
    Ok(Answer {
        out,
        exit: Exit::Constraints,
    })
}
