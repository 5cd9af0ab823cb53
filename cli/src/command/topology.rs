//! `numapin topology`.

use numapin_core::host::cpuset;
use numapin_core::host::sysfs::{self, Want};

use crate::Answer;
use crate::args::{Format, Global};
use crate::fault::{Exit, Fault};
use crate::render::look::Look;
use crate::render::{json, svg, topology};
use crate::{intent, tell};

/// Reads the host and prints it.
pub(crate) fn run(global: &Global) -> Result<Answer, Fault> {
    let root = intent::root(global)?;
    let mut host = sysfs::read(&root, Want::TOPOLOGY)?;
    host.allowed = cpuset::allowed(&root, &host.online(), None, None)?;
    let out = match global.format {
        Format::Json => json::line(&json::TopologyDocument::from(&host)) + "\n",
        Format::Text | Format::Svg | Format::Prometheus => {
            for warning in &host.warnings {
                tell(&warning.to_string());
            }
            if global.format == Format::Svg {
                svg::topology(&host)
            } else {
                topology::text(&host, Look::of(global.color))
            }
        }
    };
    Ok(Answer {
        out,
        exit: Exit::Done,
    })
}
