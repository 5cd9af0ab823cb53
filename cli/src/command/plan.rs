//! `numapin plan` and `numapin check`.

use std::collections::BTreeMap;
use std::iter;

use numapin_core::claims::live::Own;
use numapin_core::host::Host;
use numapin_core::id::VcpuId;
use numapin_core::idset::CpuSet;
use numapin_core::placement::{Explanation, explain, plan};
use numapin_core::policy::{Mode, PolicyNote};
use numapin_core::violation::Violations;

use crate::Answer;
use crate::args::{Format, Global, Guests, OneGuest};
use crate::fault::{Exit, Fault};
use crate::intent::{self, GuestRef, Over};
use crate::load::Node;
use crate::planned::Planned;
use crate::render::drawing::{Drawn, Scene};
use crate::render::look::Look;
use crate::render::{self, json, map, svg};
use crate::{flow, tell};

/// Plans of several guests.
struct Outcome {
    /// Those that stand.
    plans: Vec<Planned>,
    /// Why each of them is as it is; empty where nobody asked.
    why: Vec<Explanation>,
    /// Guests that do not fit.
    refused: Vec<Violations>,
    /// The host before and after the plans.
    scene: Scene,
    /// The host.
    host: Host,
}

/// Plans guests in order, each seeing the ones before, and prints the plans.
pub(crate) fn run(global: &Global, args: &Guests) -> Result<Answer, Fault> {
    let guests = intent::guests(args)?;
    let outcome = plan_all(global, &guests, &intent::over(&args.with)?, args.explain)?;
    let Outcome {
        plans,
        why,
        refused,
        scene,
        host,
    } = outcome;
    let out = match global.format {
        Format::Svg => {
            refused
                .iter()
                .for_each(|refusal| tell(render::violations::text(refusal).trim_end()));
            svg::plan(&host, &scene, &plans)
        }
        Format::Text | Format::Prometheus if plans.is_empty() && refused.is_empty() => {
            "no guest of this node has a policy\n".to_owned()
        }
        Format::Json => json::line(&json::PlanDocument::new(&plans, &why, &refused)) + "\n",
        Format::Text | Format::Prometheus => {
            let why = why
                .iter()
                .map(render::explain::text)
                .chain(iter::repeat(String::new()));
            let texts = plans.iter().map(render::plan::text);
            let mut blocks: Vec<_> = texts.zip(why).map(|(plan, why)| plan + &why).collect();
            if plans.iter().any(|plan| !plan.plan.vcpus.is_empty()) {
                blocks.push(map::text(&scene.after, Look::of(global.color)));
            }
            blocks.extend(refused.iter().map(render::violations::text));
            blocks.join("\n")
        }
    };
    let exit = if refused.is_empty() {
        Exit::Done
    } else {
        Exit::Constraints
    };
    Ok(Answer { out, exit })
}

/// Says whether one guest fits.
pub(crate) fn check(global: &Global, args: &OneGuest) -> Result<Answer, Fault> {
    let guest = intent::one_guest(args)?;
    let outcome = plan_all(global, &[guest], &intent::over(&args.with)?, false)?;
    let Outcome { plans, refused, .. } = outcome;
    let out = match global.format {
        Format::Json => json::line(&json::CheckDocument::new(&refused)) + "\n",
        Format::Text | Format::Svg | Format::Prometheus if refused.is_empty() => {
            plans.iter().map(render::plan::fits).collect()
        }
        Format::Text | Format::Svg | Format::Prometheus => refused
            .iter()
            .map(render::violations::text)
            .collect::<Vec<_>>()
            .join("\n"),
    };
    let exit = if refused.is_empty() {
        Exit::Done
    } else {
        Exit::Constraints
    };
    Ok(Answer { out, exit })
}

fn plan_all(
    global: &Global,
    guests: &[GuestRef],
    over: &Over,
    explained: bool,
) -> Result<Outcome, Fault> {
    let mut warn = Vec::new();
    let mut node = Node::read(intent::root(global)?, &mut warn)?;
    if global.verbose {
        tell(&node.told());
    }
    let mut plans: Vec<Planned> = Vec::new();
    let (mut why, mut refused) = (Vec::new(), Vec::new());
    let mut now: Vec<BTreeMap<VcpuId, CpuSet>> = Vec::new();
    let named = match guests {
        [] => with_policy(&node, over, &mut warn)?,
        named => named.to_vec(),
    };
    for which in &named {
        let loaded = match flow::load(&node, which, over, intent::deadline(global), &mut warn)? {
            Ok(loaded) => loaded,
            Err(violations) => {
                refused.push(violations);
                continue;
            }
        };
        node.allow(loaded.guest.vmid, loaded.process.map(|process| process.pid))?;
        let live = node.claims(&loaded.guest, loaded.process);
        let claims = plans.iter().fold(live, |claims, before| {
            claims.with_plan(&node.host, &before.guest, &before.plan)
        });
        match plan(&node.host, &loaded.guest, &claims, &loaded.policy) {
            Ok(plan) => {
                if explained {
                    why.push(explain(
                        &node.host,
                        &loaded.guest,
                        &claims,
                        &loaded.policy,
                        &plan,
                    ));
                }
                now.push(node.masks_now(loaded.guest.vmid, loaded.process));
                node.forget(&loaded.guest);
                plans.push(Planned {
                    guest: loaded.guest,
                    policy: loaded.policy,
                    source: loaded.source,
                    plan,
                });
            }
            Err(violations) => refused.push(violations),
        }
    }
    warn.iter().for_each(|line| tell(line));
    let scene = scene(&node, &plans, &now);
    Ok(Outcome {
        plans,
        why,
        refused,
        scene,
        host: node.host,
    })
}

/// The host with plans that were made, and with what all others hold.
fn scene(node: &Node, plans: &[Planned], now: &[BTreeMap<VcpuId, CpuSet>]) -> Scene {
    let drawn: Vec<Drawn<'_>> = plans
        .iter()
        .zip(now)
        .map(|(planned, now)| Drawn {
            label: &planned.guest.name.0,
            guest: &planned.guest,
            plan: &planned.plan,
            now,
        })
        .collect();
    Scene::new(&node.host, &drawn, &node.claims_beside(Own::default()))
}

/// The guests of this node that have a policy. One whose policy or config can't be read is told, and spoils no other.
fn with_policy(node: &Node, over: &Over, warn: &mut Vec<String>) -> Result<Vec<GuestRef>, Fault> {
    let mut found = Vec::new();
    for vmid in node.configs.guests()? {
        let which = GuestRef::Vmid(vmid);
        // What is odd about a config is told when the guest is planned.
        let config = node.configs.config(&which, &mut Vec::new());
        match config.and_then(|config| node.configs.policy(&config, over)) {
            Ok(chosen) if chosen.policy.mode == Mode::None => {
                let ignored = |note: &&PolicyNote| matches!(note, PolicyNote::OtherName { .. });
                let ignored = chosen.notes.iter().filter(ignored);
                warn.extend(ignored.map(|note| format!("guest {vmid}: {note}")));
            }
            Ok(_) => found.push(which),
            Err(fault) => warn.push(fault.message),
        }
    }
    Ok(found)
}
