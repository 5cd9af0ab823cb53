//! What the hook did, for the task log of Proxmox VE: short lines, each with the program's name.

use std::fmt::Write as _;

use numapin_core::id::Vmid;
use numapin_core::idset::CpuSet;
use numapin_core::placement::Plan;
use numapin_core::policy::Mode;
use numapin_core::report::{Report, State};
use numapin_core::violation::Violations;

use crate::flow::{Applied, Begun, Step};
use crate::planned::Planned;

/// What was done about a guest.
pub(crate) fn text(vmid: Vmid, step: &Step) -> String {
    let mut lines = Vec::new();
    match step {
        Step::Nothing => {}
        Step::Runs => lines.push(format!(
            "guest {vmid} runs already: its plan is left as it is"
        )),
        Step::Held => lines.push(format!(
            "guest {vmid} is left alone, as numapin reset has it"
        )),
        Step::Planned(begun) => {
            let Begun {
                planned,
                kept,
                followed,
            } = &**begun;
            placed(planned, "planned", &mut lines);
            if !kept {
                lines.push(format!(
                    "guest {vmid} starts for a backup: it holds its cpus once it runs"
                ));
            }
            follow(followed, &mut lines);
        }
        Step::Refused(violations) => {
            lines.push(format!("guest {vmid} can't be pinned, and runs without:"));
            reasons(violations, &mut lines);
        }
        Step::Stopped(violations) => {
            lines.push(format!(
                "guest {vmid} can't be pinned, and require=fail stops its start:"
            ));
            reasons(violations, &mut lines);
        }
        Step::Pinned(applied) => pinned(applied, &mut lines),
        Step::Freed(followed) => {
            lines.push(format!("guest {vmid} holds no cpu any more"));
            follow(followed, &mut lines);
        }
    }
    let mut out = String::new();
    for line in lines {
        let _ = writeln!(out, "numapin: {line}");
    }
    out
}

fn reasons(violations: &Violations, lines: &mut Vec<String>) {
    let list = violations.list.iter();
    lines.extend(list.map(|violation| format!("  - {violation}")));
}

fn pinned(applied: &Applied, lines: &mut Vec<String>) {
    placed(&applied.planned, "pinned", lines);
    lines.extend(applied.notes.iter().map(|note| format!("note: {note}")));
    if let Some(report) = &applied.report {
        let narrowed = report.threads.iter().filter_map(|thread| {
            let narrowed = thread.narrowed.as_ref()?;
            Some(format!("note: {}: {narrowed}", thread.kind))
        });
        lines.extend(narrowed);
        lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
    }
    follow(&applied.followed, lines);
}

/// Where a guest's virtual nodes are, a line for each.
fn placed(planned: &Planned, done: &str, lines: &mut Vec<String>) {
    let Planned {
        guest,
        source,
        plan,
        ..
    } = planned;
    let mode = plan.mode;
    lines.push(format!("guest {} is {done} {mode} ({source})", guest.name));
    for node in &plan.virtual_nodes {
        lines.push(format!(
            "  virtual node {}, vcpu(s) {}: host node(s) {}, cpu(s) {}",
            node.virtual_node,
            node.vcpus,
            node.host_nodes,
            cpus(plan, node.virtual_node)
        ));
    }
    lines.extend(plan.notes.iter().map(|note| format!("note: {note}")));
    if mode == Mode::None {
        lines.push("  nothing is set, and what was set is put back".to_owned());
    }
}

fn cpus(plan: &Plan, virtual_node: numapin_core::id::VnodeId) -> CpuSet {
    let vcpus = plan.vcpus.iter();
    vcpus
        .filter(|vcpu| vcpu.virtual_node == virtual_node)
        .fold(CpuSet::new(), |all, vcpu| all.union(&vcpu.cpus))
}

/// Other guests whose masks changed.
fn follow(reports: &[Report], lines: &mut Vec<String>) {
    for report in reports {
        let set = |state: State| matches!(state, State::Set);
        let set = report.threads.iter().filter(|thread| set(thread.state));
        lines.push(format!(
            "guest {} follows the claims: {} thread(s) got another mask",
            report.guest,
            set.count()
        ));
    }
}
