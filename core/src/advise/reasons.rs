//! Why settings are better, as data and in words.

use std::fmt;
use std::mem::discriminant;

use serde::Serialize;

use super::judge::{Case, State, only, useful};
use crate::guest::pve::MemoryPolicy;
use crate::id::{NodeId, VnodeId};
use crate::idset::{CpuSet, NodeSet};
use crate::placement::{Cost, Item, Note, Plan, Value};

/// Why a setting is better.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reason {
    /// Sockets and cores that fit the host.
    #[error(
        "sockets {} -> {}, cores {} -> {}: {}; the guest sees {} socket(s) instead of {}, which systems licensed by the socket \
         (Windows) count",
        before.0, after.0, before.1, after.1, why(host_nodes.len(), *shared), after.0, before.0
    )]
    Shape {
        /// Sockets and cores before.
        before: (u32, u32),
        /// Sockets and cores after.
        after: (u32, u32),
        /// The host nodes of the plan.
        host_nodes: NodeSet,
        /// Whether virtual nodes still share host nodes.
        shared: bool,
    },
    /// Virtual nodes where there were none.
    #[error(
        "numa: 1: the guest gets {virtual_nodes} virtual node(s), so that where its memory is can be said"
    )]
    Numa {
        /// How many.
        virtual_nodes: usize,
    },
    /// Memory tied to the host nodes where the vCPUs go.
    #[error("numaN: {}{}", ties(list), at_start(*early))]
    Ties {
        /// Each virtual node.
        #[serde(rename = "virtual_nodes")]
        list: Vec<Tie>,
        /// Its memory is placed before anything can be pinned.
        early: bool,
    },
    /// Lines that only say which vCPUs and how much memory a virtual node has.
    #[error(
        "numaN: the memory of the virtual nodes sums up to that of the guest, and each line has what Proxmox VE wants"
    )]
    Lines,
    /// Memory in whole pages.
    #[error("each virtual node has whole huge pages, without which the guest can't start")]
    Pages,
    /// Lines that go.
    #[error("the numaN lines go: {}", if *plugged { "memory can't be plugged beside them" }
        else { "a virtual node for each socket says it all" })]
    NoLines {
        /// Memory is hot-plugged.
        plugged: bool,
    },
    /// Other CPUs that the guest may use. Only root can set it.
    #[error("affinity {}: {}; only root can set it", arrow(before.as_ref(), after.as_ref()), why)]
    Affinity {
        /// Before.
        before: Option<CpuSet>,
        /// After.
        after: Option<CpuSet>,
        /// What for.
        why: AffinityWhy,
    },
}

/// The memory of a virtual node with the host node it is tied to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tie {
    /// Which one.
    pub virtual_node: VnodeId,
    /// How much memory it has.
    pub memory_mib: u64,
    /// Where its vCPUs go.
    pub host_nodes: NodeSet,
    /// The word of the policy; `None`: it is tied to none.
    pub policy: Option<&'static str>,
}

/// What another affinity is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AffinityWhy {
    /// It named CPUs that are offline, do not exist, or are kept for the host.
    Cleaned,
    /// It forbade the better placement.
    Wider,
    /// It places the memory of a guest that has it before anything can be pinned.
    Places,
}

/// An item of the cost that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Change {
    /// Which one.
    pub item: Item,
    /// Its value with the settings as they are.
    pub before: Value,
    /// Its value with the better ones.
    pub after: Value,
}

/// Why each setting is better.
pub(super) fn of(case: &Case<'_>, now: &State, last: &State) -> Vec<Reason> {
    let (before, after) = (&now.draft, &last.draft);
    let mut reasons = Vec::new();
    let Ok((guest, plan)) = &last.planned else {
        return reasons;
    };
    let shape = |of: &super::draft::Draft| (of.sockets, of.cores);
    if shape(before) != shape(after) {
        let hosts = plan
            .virtual_nodes
            .iter()
            .flat_map(|node| node.host_nodes.iter());
        reasons.push(Reason::Shape {
            before: shape(before),
            after: shape(after),
            host_nodes: hosts.collect(),
            shared: last.shares_nodes(),
        });
    }
    if before.numa != after.numa {
        reasons.push(Reason::Numa {
            virtual_nodes: guest.virtual_nodes.len(),
        });
    }
    if after.explicit() && (before.lines != after.lines || !before.numa) {
        let list = plan.virtual_nodes.iter().filter_map(|placed| {
            let line = after.lines.get(&placed.virtual_node)?;
            Some(Tie {
                virtual_node: placed.virtual_node,
                memory_mib: line.memory_mib?,
                host_nodes: placed.host_nodes.clone(),
                policy: line.policy.map(MemoryPolicy::word),
            })
        });
        let list: Vec<Tie> = list.collect();
        reasons.push(match after.names_hosts() {
            true => Reason::Ties {
                list,
                early: now.places_memory_early(case),
            },
            false => Reason::Lines,
        });
    } else if before.explicit() && !after.explicit() {
        reasons.push(Reason::NoLines {
            plugged: now.plugs_memory(),
        });
    }
    if now.has_broken_pages() && !last.has_broken_pages() {
        reasons.push(Reason::Pages);
    }
    if before.affinity != after.affinity {
        let useful = useful(&case.host);
        let cleaned = |old: &CpuSet, new: &CpuSet| old.intersection(&useful) == *new;
        let why = match (&before.affinity, &after.affinity) {
            (Some(old), Some(new)) if cleaned(old, new) => AffinityWhy::Cleaned,
            (Some(old), Some(new)) if new.is_subset(old) => AffinityWhy::Places,
            (None, Some(_)) => AffinityWhy::Places,
            _ => AffinityWhy::Wider,
        };
        reasons.push(Reason::Affinity {
            before: before.affinity.clone(),
            after: after.affinity.clone(),
            why,
        });
    }
    reasons
}

/// The items of the cost that differ; none where there was no plan before, or one for other vCPUs.
pub(super) fn changes(now: &State, last: &State) -> Vec<Change> {
    let (Some(before), Some(after)) = (now.plan(), last.plan()) else {
        return Vec::new();
    };
    match before.vcpus.len() == after.vcpus.len() {
        true => between(&before.cost, &after.cost),
        false => Vec::new(),
    }
}

fn between(before: &Cost, after: &Cost) -> Vec<Change> {
    let both = before.iter().zip(after.iter());
    let differing = both.filter(|((_, a), (_, b))| a != b);
    let change = |((item, before), (_, after)): ((Item, &Value), (Item, &Value))| Change {
        item,
        before: before.clone(),
        after: after.clone(),
    };
    differing.map(change).collect()
}

/// The notes of whose kind the other plan has none.
pub(super) fn ended(before: Option<&Plan>, after: &Plan) -> Vec<Note> {
    let kept = |note: &Note| {
        after
            .notes
            .iter()
            .any(|other| discriminant(other) == discriminant(note))
    };
    let notes = before.into_iter().flat_map(|plan| &plan.notes);
    notes.filter(|note| !kept(note)).cloned().collect()
}

impl fmt::Display for AffinityWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cleaned => "it named cpus that are offline, do not exist or are reserved for the host",
            Self::Wider => "it forbade the better placement",
            Self::Places => {
                "the memory is placed at the start, before anything can be pinned, and on the host node of these cpus; other \
                 host nodes are out of reach for the guest then"
            }
        })
    }
}

fn why(host_nodes: usize, shared: bool) -> String {
    match (host_nodes, shared) {
        (1, _) => "the guest fits one host node".to_owned(),
        (n, false) => format!("each of {n} virtual nodes has a host node of its own"),
        (n, true) => format!("the virtual nodes fit {n} host nodes"),
    }
}

fn ties(list: &[Tie]) -> String {
    let tie = |tie: &Tie| {
        let Tie {
            virtual_node,
            memory_mib,
            host_nodes,
            policy,
        } = tie;
        match policy {
            Some("bind") => format!(
                "the {memory_mib} MiB of virtual node {virtual_node} come from host node {host_nodes}"
            ),
            Some(_) => format!(
                "the {memory_mib} MiB of virtual node {virtual_node} come from host node {host_nodes} as far as it has them \
                 (preferred: not so much is known to be free there)"
            ),
            None => format!(
                "the {memory_mib} MiB of virtual node {virtual_node} are tied to no host node"
            ),
        }
    };
    format!(
        "{}, where its vcpus go",
        list.iter().map(tie).collect::<Vec<_>>().join(", ")
    )
}

fn at_start(early: bool) -> &'static str {
    if early {
        "; passthrough and huge pages place it at the start, before anything can be pinned"
    } else {
        ""
    }
}

fn arrow(before: Option<&CpuSet>, after: Option<&CpuSet>) -> String {
    let word = |cpus: Option<&CpuSet>| cpus.map_or_else(|| "unset".to_owned(), ToString::to_string);
    format!("{} -> {}", word(before), word(after))
}

/// The host node of a virtual node in a plan, where it has one.
pub(super) fn host_of(plan: &Plan, id: VnodeId) -> Option<NodeId> {
    only(
        plan.virtual_nodes
            .iter()
            .find(|placed| placed.virtual_node == id)?,
    )
}
