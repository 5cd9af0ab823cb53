//! `numapin apply`.

use std::time::Duration;

use crate::Answer;
use crate::args::{Apply, Format, Global};
use crate::fault::{Exit, Fault};
use crate::flow::{self, How};
use crate::load::{Configs, Node};
use crate::render::{self, json};
use crate::{intent, tell};

/// How long the lock is waited for: whoever holds it sets some masks and goes.
pub(super) const LOCK: Duration = Duration::from_secs(10);

/// Pins one running guest.
pub(crate) fn run(global: &Global, args: &Apply) -> Result<Answer, Fault> {
    intent::may_change(global)?;
    let which = intent::one_guest(&args.one)?;
    let over = intent::over(&args.one.with)?;
    let how = How {
        deadline: intent::deadline(global),
        wait: LOCK,
        replan: args.replan,
        command: match &args.one.guest {
            Some(guest) => format!("numapin apply {guest}"),
            None => "numapin apply --qmp".to_owned(),
        },
    };
    let mut warn = Vec::new();
    let root = intent::root(global)?;
    let configs = Configs::read(&root, &mut warn)?;
    let mut node = Node::unlooked(root, configs, &mut warn)?;
    let applied = flow::apply(&mut node, &which, &over, &how, &mut warn);
    if global.verbose {
        tell(&node.told());
    }
    warn.iter().for_each(|line| tell(line));
    let refused = match applied? {
        Ok(applied) => {
            let out = match global.format {
                Format::Json => json::line(&json::ApplyDocument::new(&applied)) + "\n",
                Format::Text | Format::Svg | Format::Prometheus => render::report::text(&applied),
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
        Format::Text | Format::Svg | Format::Prometheus => {
            refused.iter().map(render::violations::text).collect()
        }
    };
    Ok(Answer {
        out,
        exit: Exit::Constraints,
    })
}
