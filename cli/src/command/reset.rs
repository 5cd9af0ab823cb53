//! `numapin reset`.

use super::apply::LOCK;
use crate::Answer;
use crate::args::{Format, Global, Reset};
use crate::fault::{Exit, Fault};
use crate::flow::{self, How};
use crate::load::{Configs, Node};
use crate::render::{self, json};
use crate::{intent, tell};

/// Puts back what was found before the first apply, and holds.
pub(crate) fn run(global: &Global, args: &Reset) -> Result<Answer, Fault> {
    intent::may_change(global)?;
    let vmid = match &args.guest {
        Some(word) => Some(intent::vmid(word)?),
        None => None,
    };
    let how = How {
        deadline: intent::deadline(global),
        wait: LOCK,
        replan: false,
        command: match vmid {
            Some(vmid) => format!("numapin reset {vmid}"),
            None => "numapin reset --all".to_owned(),
        },
    };
    let mut warn = Vec::new();
    let root = intent::root(global)?;
    let configs = Configs::read(&root, &mut warn)?;
    let mut node = Node::unlooked(root, configs, &mut warn)?;
    let resets = flow::reset(&mut node, vmid, &how, &mut warn);
    if global.verbose {
        tell(&node.told());
    }
    warn.iter().for_each(|line| tell(line));
    let resets = resets?;
    let out = match global.format {
        Format::Json => json::line(&json::ResetDocument::from(&resets)) + "\n",
        Format::Text | Format::Svg | Format::Prometheus => render::report::reset(&resets),
    };
    Ok(Answer {
        out,
        exit: Exit::Done,
    })
}
