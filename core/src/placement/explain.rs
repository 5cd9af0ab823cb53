//! Why a virtual node is where it is: for each other host node the first rule or item of the cost that spoke against it.
//!
//! Nothing is remembered from the search, which never looks at most alternatives: each answer is found by planning again with
//! the virtual node on that host node, so both figures are those of real plans.

use std::fmt;

use serde::Serialize;

use super::cost::{Item, Value};
use super::problem::Problem;
use super::room::{NodeRoom, Unit};
use super::{Plan, fits, solve, why};
use crate::claims::Claims;
use crate::guest::Guest;
use crate::host::Host;
use crate::id::{NodeId, VnodeId};
use crate::idset::NodeSet;
use crate::policy::{Mode, Policy};

/// Why each virtual node is where it is; nothing for the modes none and shared, which choose no host node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Explanation {
    /// One for each virtual node that was placed, ascending.
    pub virtual_nodes: Vec<NodeWhy>,
}

/// Why one virtual node is where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodeWhy {
    /// Which one.
    pub virtual_node: VnodeId,
    /// Where it is.
    pub host_nodes: NodeSet,
    /// What speaks for that.
    pub reason: Reason,
    /// What spoke against each other host node (for a guest that spans: against each one alone), ascending.
    pub others: Vec<Other>,
}

/// What speaks for a host node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// `hostnodes` names it.
    Named,
    /// Its huge pages are reserved there.
    HugePages,
    /// It is the only one with room.
    OnlyOne,
    /// The plan costs least with it.
    Cheapest,
}

/// A host node where the virtual node is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Other {
    /// Which one.
    pub host_node: NodeId,
    /// What spoke against it.
    pub against: Against,
}

/// What spoke against a host node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Against {
    /// Another one is named, or the huge pages are elsewhere.
    NotAsked,
    /// It has not enough room.
    NoRoom {
        /// How many the virtual node needs.
        wanted: u32,
        /// Of what.
        unit: Unit,
        /// What it has.
        room: NodeRoom,
    },
    /// With this virtual node there, others would have no place.
    OthersLeftOut,
    /// The best plan with it costs more: the first item that differs.
    Cost {
        /// Which item.
        item: Item,
        /// Its value in the plan.
        here: Value,
        /// Its value with the virtual node there.
        there: Value,
    },
    /// It costs the same, and has a higher number (or leads to one, or to higher CPUs).
    Higher,
}

pub(super) fn explain(
    host: &Host,
    guest: &Guest,
    claims: &Claims,
    policy: &Policy,
    plan: &Plan,
) -> Explanation {
    if matches!(policy.mode, Mode::None | Mode::Shared) {
        return Explanation::default();
    }
    let left_out = plan.vcpus.len() < guest.vcpus().len();
    let mut problem = Problem::new(host, guest, claims, policy, left_out);
    problem.tie_huge_pages();
    // many plans are made: each may take less long than the one that counts
    problem.patience /= 50;
    let mut virtual_nodes = Vec::new();
    for (v, placed) in plan
        .virtual_nodes
        .iter()
        .enumerate()
        .take(problem.vnodes.len())
    {
        let vnode = problem.vnodes[v].clone();
        let mut others = Vec::new();
        for node in &host.nodes {
            let here = placed.host_nodes.len() == 1 && placed.host_nodes.contains(node.id);
            if !here && !node.cpus.is_empty() {
                let against = against(&mut problem, v, node.id, plan);
                problem.vnodes[v].tied = vnode.tied;
                others.push(Other {
                    host_node: node.id,
                    against,
                });
            }
        }
        let only = others
            .iter()
            .all(|other| matches!(other.against, Against::NoRoom { .. }));
        virtual_nodes.push(NodeWhy {
            virtual_node: vnode.id,
            host_nodes: placed.host_nodes.clone(),
            reason: match vnode.tied {
                Some(_) if vnode.named => Reason::Named,
                Some(_) => Reason::HugePages,
                None if only => Reason::OnlyOne,
                None => Reason::Cheapest,
            },
            others,
        });
    }
    Explanation { virtual_nodes }
}

/// What speaks against a host node; leaves the virtual node tied to it.
fn against(problem: &mut Problem<'_>, v: usize, node: NodeId, plan: &Plan) -> Against {
    let vnode = &problem.vnodes[v];
    if vnode.tied.is_some() {
        return Against::NotAsked;
    }
    let position = problem.index.position(node);
    let room = position.map_or(0, |n| problem.index.nodes[n].room);
    if room < vnode.size() {
        return Against::NoRoom {
            wanted: u32::try_from(vnode.size()).unwrap_or(u32::MAX),
            unit: why::unit(problem),
            room: why::node_room(problem, node),
        };
    }
    problem.vnodes[v].tied = Some(node);
    let solution = if fits::fits(problem) {
        solve::solve(problem)
    } else {
        None
    };
    let Some(solution) = solution else {
        return Against::OthersLeftOut;
    };
    match plan.cost.first_difference(&solution.cost) {
        Some((item, here, value)) => Against::Cost {
            item,
            here: here.clone(),
            there: value.clone(),
        },
        None => Against::Higher,
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Named => "hostnodes names it",
            Self::HugePages => "its huge pages are reserved there",
            Self::OnlyOne => "no other host node has room",
            Self::Cheapest => "the plan costs least",
        })
    }
}

impl fmt::Display for Against {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("not asked for"),
            Self::NoRoom { wanted, unit, room } => write!(f, "{wanted} {unit} are needed, {room}"),
            Self::OthersLeftOut => f.write_str("other virtual nodes would have no place"),
            Self::Cost { item, here, there } => {
                write!(
                    f,
                    "{item} would be {} instead of {}",
                    or_none(there),
                    or_none(here)
                )
            }
            Self::Higher => f.write_str("costs the same, and lower numbers come first"),
        }
    }
}

fn or_none(value: &Value) -> String {
    match value {
        Value::Fractions(list) if list.is_empty() => String::from("nothing"),
        value => value.to_string(),
    }
}
