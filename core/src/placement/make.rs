//! The making of a plan: search, masks, notes; or the reasons why there is none.

use super::cost::Cost;
use super::masks::Masks;
use super::notes::Note;
use super::problem::Problem;
use super::{Plan, ThreadMasks, mend, remarks, solve, why};
use crate::claims::Claims;
use crate::guest::Guest;
use crate::host::Host;
use crate::idset::CpuSet;
use crate::policy::{Mode, Policy};
use crate::violation::Violations;

/// The plan of a guest, or every reason why there is none.
pub(super) fn plan(
    host: &Host,
    guest: &Guest,
    claims: &Claims,
    policy: &Policy,
) -> Result<Plan, Violations> {
    let mut problem = Problem::new(host, guest, claims, policy, false);
    if let Some(mut plan) = bare(&mut problem) {
        remarks::add(&problem, &mut plan);
        return Ok(plan);
    }
    let all = guest.vcpus();
    let unplugged = all.difference(&guest.plugged);
    if !unplugged.is_empty() && unplugged != all {
        // what is plugged counts: if it fits, the rest is left out, else it is what does not fit
        problem = Problem::new(host, guest, claims, policy, true);
        if let Some(mut plan) = bare(&mut problem) {
            remarks::add(&problem, &mut plan);
            plan.notes
                .insert(0, Note::UnpluggedLeftOut { vcpus: unplugged });
            return Ok(plan);
        }
    }
    let mut list = why::reasons(&problem);
    let change = mend::smallest(&problem, &list);
    for reason in &mut list {
        reason.mend_with(change.clone());
    }
    Err(Violations {
        guest: guest.name.clone(),
        list,
    })
}

/// The plan of a problem, without words; `None`: there is none.
pub(super) fn bare(problem: &mut Problem<'_>) -> Option<Plan> {
    let policy = problem.policy;
    let mut plan = Plan {
        guest: problem.guest.name.clone(),
        mode: policy.mode,
        smt: policy.smt,
        virtual_nodes: Vec::new(),
        vcpus: Vec::new(),
        threads: ThreadMasks::default(),
        claims: CpuSet::new(),
        cost: Cost::zero(policy.mode, policy.smt),
        optimal: true,
        bound: None,
        notes: Vec::new(),
    };
    let masks = match policy.mode {
        Mode::None => {
            plan.virtual_nodes = problem.unplaced();
            return Some(plan);
        }
        Mode::Shared if problem.usable.cpus.is_empty() => return None,
        Mode::Shared => Masks::shared(problem),
        Mode::Numa | Mode::L3 | Mode::OneToOne => {
            problem.tie_huge_pages();
            let solution = solve::solve(problem)?;
            let masks = Masks::of(problem, &solution);
            plan.cost = solution.cost;
            plan.optimal = solution.bound.is_none();
            plan.bound = solution.bound;
            masks
        }
    };
    plan.virtual_nodes = masks.virtual_nodes;
    plan.vcpus = masks.vcpus;
    plan.threads = masks.threads;
    plan.claims = masks.claims;
    plan.notes = masks.notes;
    Some(plan)
}
