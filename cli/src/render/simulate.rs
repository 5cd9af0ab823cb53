//! `simulate` for people: the road of each guest, then all of them side by side.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use numapin_core::claims::Claims;
use numapin_core::host::Host;
use numapin_core::policy::Mode;
use numapin_core::sorted;

use super::drawing::{Drawn, Scene};
use super::look::Look;
use super::table::Table;
use super::{map, plan, report, topology, violations};
use crate::simulate::{Outcome, Setup, Steps, Walk, estimate};

/// The whole simulation as text.
pub(crate) fn text(host: &str, setup: &Setup<'_>, outcome: &Outcome, look: Look) -> String {
    let mut out = format!("host {host}: {}", topology::summary(&outcome.host));
    let provenance = setup.machine.provenance();
    let sentence = provenance.split(". ").next().unwrap_or(provenance);
    let sentence = sentence.trim_end_matches(['.', '\n']);
    if !sentence.is_empty() {
        let _ = writeln!(out, "  {sentence}");
    }
    let together = if setup.alone {
        "each guest has the host for itself"
    } else {
        "the guests start one after the other"
    };
    let _ = writeln!(
        out,
        "  simulated: no hypervisor, nothing real is touched; {together}\n"
    );
    for walk in &outcome.walks {
        out.push_str(&road(walk));
        out.push('\n');
        if setup.alone {
            out.push_str(&picture(&outcome.host, std::slice::from_ref(walk), look));
        }
    }
    if !setup.alone {
        out.push_str(&picture(&outcome.host, &outcome.walks, look));
    }
    out.push_str(&side_by_side(&outcome.walks));
    let _ = writeln!(out, "\n{}", estimate::MODEL);
    for dir in &outcome.kept {
        let _ = writeln!(
            out,
            "kept: {0} (look into it with: numapin topology --root {0})",
            dir.display()
        );
    }
    out
}

fn road(walk: &Walk) -> String {
    let steps = match &walk.steps {
        Ok(steps) => steps,
        Err(reasons) => return violations::titled(&walk.label, reasons),
    };
    let mut out = plan::titled(&walk.label, &steps.planned);
    let threads: Vec<_> = steps.threads.values().copied().collect();
    let _ = writeln!(
        out,
        "  start            check: it fits; a mock QEMU runs with {}",
        count(threads.len(), "vcpu thread")
    );
    match &steps.report {
        None => {
            let masks: BTreeSet<_> = sorted::set(steps.masks.values().map(ToString::to_string));
            let masks: Vec<_> = masks.into_iter().collect();
            let _ = writeln!(
                out,
                "  affinity         none is set: every vcpu may run on cpus {}",
                masks.join(" or ")
            );
        }
        Some(done) => {
            let span = threads.iter().min().zip(threads.iter().max());
            let span = span.map_or(String::new(), |(first, last)| {
                format!(", threads {first} to {last}")
            });
            let _ = writeln!(
                out,
                "  query-cpus-fast  {}{span}",
                count(threads.len(), "vcpu")
            );
            let mut lines = String::new();
            report::lines(done, "pinning", &mut lines);
            for line in lines.lines() {
                let _ = writeln!(out, "  affinity         {line}");
            }
            let _ = writeln!(out, "  read back        {}", read_back(steps));
        }
    }
    let _ = writeln!(
        out,
        "  local share      {} before, {} after",
        percent(steps.local.0),
        percent(steps.local.1)
    );
    out
}

/// The guests on the host; empty where none of them is pinned.
fn picture(host: &Host, walks: &[Walk], look: Look) -> String {
    let started = walks
        .iter()
        .filter_map(|walk| Some((walk, walk.steps.as_ref().ok()?)));
    let drawn: Vec<Drawn<'_>> = started
        .map(|(walk, steps)| Drawn {
            label: &walk.label,
            guest: &steps.planned.guest,
            plan: &steps.planned.plan,
            now: &steps.masks,
        })
        .collect();
    let scene = Scene::new(host, &drawn, &Claims::default());
    match scene.after.is_empty() {
        true => String::new(),
        false => map::text(&scene.after, look) + "\n",
    }
}

/// How many vCPUs have the mask of the plan, by the masks that were read in the end.
fn read_back(steps: &Steps) -> String {
    let placed = &steps.planned.plan.vcpus;
    let right = placed
        .iter()
        .filter(|vcpu| steps.masks.get(&vcpu.vcpu) == Some(&vcpu.cpus))
        .count();
    let pairs = match steps.sibling_pairs {
        Some(0) => "; no two on one core".to_owned(),
        Some(pairs) => format!("; {} on SMT siblings of one core", count(pairs, "pair")),
        None => String::new(),
    };
    format!(
        "{right} of {} as planned{pairs}",
        count(placed.len(), "mask")
    )
}

fn side_by_side(walks: &[Walk]) -> String {
    let mut table = Table::new([
        "guest",
        "shape",
        "policy",
        "host nodes",
        "sibling pairs",
        "local before",
        "local after",
    ]);
    for walk in walks {
        let steps = match &walk.steps {
            Ok(steps) => steps,
            Err(_) => {
                table.row([walk.label.as_str(), "", "", "refused"]);
                continue;
            }
        };
        let guest = &steps.planned.guest;
        let nodes = if steps.planned.policy.mode == Mode::None {
            "any".to_owned()
        } else {
            let placed = steps.planned.plan.virtual_nodes.iter();
            placed
                .map(|node| node.host_nodes.to_string())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let own = if guest.named_host_nodes().is_empty() {
            ""
        } else {
            ", bound"
        };
        let numa = if guest.numa {
            format!(", {} nodes{own}", guest.virtual_nodes.len())
        } else {
            String::new()
        };
        table.row([
            walk.label.clone(),
            format!("{} x {}{numa}", guest.sockets, guest.cores),
            steps.planned.policy.to_string(),
            nodes,
            steps
                .sibling_pairs
                .map_or("by chance".to_owned(), |pairs| pairs.to_string()),
            percent(steps.local.0),
            percent(steps.local.1),
        ]);
    }
    table.to_string()
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
