//! `numapin status`.

use numapin_core::claims::live::Own;

use crate::Answer;
use crate::args::{Format, Global, Status};
use crate::fault::{Exit, Fault};
use crate::load::Node;
use crate::render::drawing::Drawing;
use crate::render::look::Look;
use crate::render::{self, json, map, prometheus};
use crate::{intent, survey, tell};

/// Shows what is wanted and what is.
pub(crate) fn run(global: &Global, args: &Status) -> Result<Answer, Fault> {
    intent::whole_machine(global)?;
    let vmids: Vec<_> = args
        .guests
        .iter()
        .map(|word| intent::vmid(word))
        .collect::<Result<_, _>>()?;
    let mut warn = Vec::new();
    let node = Node::read(intent::root(global)?, &mut warn)?;
    if global.verbose {
        tell(&node.told());
    }
    let guests = match vmids.as_slice() {
        [] => survey::all(&node, &mut warn)?,
        vmids => vmids
            .iter()
            .map(|vmid| survey::one(&node, *vmid))
            .collect::<Result<_, _>>()?,
    };
    let whole = vmids.is_empty().then(|| survey::node(&node));
    warn.iter().for_each(|line| tell(line));
    let out = match global.format {
        Format::Json => json::line(&json::StatusDocument::new(&guests, whole.as_ref())) + "\n",
        Format::Prometheus => prometheus::text(&guests, whole.as_ref()),
        Format::Text | Format::Svg => {
            let beside = node.claims_beside(Own::default());
            let drawing = Drawing::of_status(&node.host, &guests, &beside);
            let picture = match drawing.is_empty() {
                true => String::new(),
                false => map::text(&drawing, Look::of(global.color)),
            };
            match &whole {
                Some(whole) => render::status::node(&guests, whole, &picture),
                None => render::status::guests(&guests, &picture),
            }
        }
    };
    let drift = guests.iter().any(|guest| guest.drift);
    Ok(Answer {
        out,
        exit: if drift { Exit::Drift } else { Exit::Done },
    })
}
