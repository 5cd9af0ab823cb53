//! The part of a config that advice may change.

use std::collections::BTreeMap;

use super::settings::{Setting, Settings};
use super::text;
use crate::guest::pve::{GuestConfig, MemoryPolicy, NumaLine};
use crate::guest::ranges::Ranges;
use crate::guest::{Guest, VirtualNode};
use crate::id::{NodeId, VcpuId, VnodeId};
use crate::idset::{CpuSet, VcpuSet};
use crate::sorted;

/// Sockets, cores, virtual nodes and affinity. The number of vCPUs and the memory are not in it: they never change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    /// `sockets`.
    pub sockets: u32,
    /// `cores`.
    pub cores: u32,
    /// `numa`.
    pub numa: bool,
    /// The numaN lines; without `numa` they count for nothing.
    pub lines: BTreeMap<VnodeId, NumaLine>,
    /// `affinity`.
    pub affinity: Option<CpuSet>,
}

impl Draft {
    /// What a config says; `None` where its sockets and cores are no number of vCPUs that a guest can have.
    pub(super) fn of(config: &GuestConfig) -> Option<Self> {
        let sockets = u32::try_from(config.sockets()).ok()?;
        let cores = u32::try_from(config.cores()).ok()?;
        let total = sockets.checked_mul(cores)?;
        let lines = config.numa_lines.iter();
        (total <= Guest::MAX_VCPUS).then(|| Self {
            sockets,
            cores,
            numa: config.numa(),
            lines: sorted::map(lines.map(|(id, line)| (*id, line.value.clone()))),
            affinity: config
                .affinity
                .as_ref()
                .map(|affinity| affinity.value.clone()),
        })
    }

    /// How many vCPUs it has.
    pub(super) fn total(&self) -> u32 {
        self.sockets.saturating_mul(self.cores)
    }

    /// The shape that the guest sees: sockets, cores, and the vCPUs of each virtual node.
    pub(super) fn shape(&self) -> (u32, u32, Vec<VcpuSet>) {
        let run = |first: u32, count: u32| (first..first + count).map(VcpuId).collect();
        let nodes = match (self.numa, self.lines.is_empty()) {
            (false, _) => vec![run(0, self.total())],
            (true, true) => (0..self.sockets)
                .map(|i| run(i * self.cores, self.cores))
                .collect(),
            (true, false) => self.lines.values().map(|line| line.cpus.set()).collect(),
        };
        (self.sockets, self.cores, nodes)
    }

    /// Whether numaN lines are in force.
    pub(super) fn explicit(&self) -> bool {
        self.numa && !self.lines.is_empty()
    }

    /// Whether any line in force names host nodes.
    pub(super) fn names_hosts(&self) -> bool {
        self.explicit() && self.lines.values().any(|line| line.hostnodes.is_some())
    }

    /// The same with lines that name no host nodes.
    pub(super) fn free(&self) -> Self {
        let mut free = self.clone();
        for line in free.lines.values_mut() {
            line.hostnodes = None;
            line.policy = None;
        }
        free
    }

    /// `numa: 1` with so many sockets and no lines.
    pub(super) fn even(&self, sockets: u32) -> Self {
        Self {
            sockets,
            cores: self.total() / sockets,
            numa: true,
            lines: BTreeMap::new(),
            affinity: self.affinity.clone(),
        }
    }

    /// What is to be set to come from another draft to this one. `before` is the text of the other's config: unreadable lines
    /// that counted for nothing would spoil it once virtual nodes are on.
    pub(super) fn settings(&self, from: &Self, before: &str) -> Settings {
        let mut settings = Settings::default();
        if self == from {
            return settings;
        }
        let mut set = |key: String, value: String| settings.set.push(Setting { key, value });
        if self.sockets != from.sockets {
            set("sockets".to_owned(), self.sockets.to_string());
        }
        if self.cores != from.cores {
            set("cores".to_owned(), self.cores.to_string());
        }
        if self.numa != from.numa {
            set("numa".to_owned(), u8::from(self.numa).to_string());
        }
        for (id, line) in &self.lines {
            if from.lines.get(id) != Some(line) {
                set(format!("numa{id}"), written(line));
            }
        }
        match (&self.affinity, &from.affinity) {
            (Some(affinity), before) if Some(affinity) != before.as_ref() => {
                set("affinity".to_owned(), affinity.to_string());
            }
            (None, Some(_)) => settings.delete.push("affinity".to_owned()),
            _ => {}
        }
        if self.numa {
            let mut stale = text::numa_keys(before);
            stale.extend(from.lines.keys().map(|id| format!("numa{id}")));
            let kept = |key: &String| self.lines.keys().any(|id| *key == format!("numa{id}"));
            let gone = stale.into_iter().filter(|key| !kept(key));
            settings.delete.splice(0..0, gone);
        }
        settings
    }
}

/// A numaN line about these vCPUs.
pub(super) fn line(
    cpus: Ranges,
    memory_mib: u64,
    tie: Option<(NodeId, MemoryPolicy)>,
) -> Option<NumaLine> {
    let hostnodes = tie.map(|(node, _)| Ranges::numa(&node.to_string()));
    Some(NumaLine {
        cpus,
        hostnodes: hostnodes.transpose().ok()?,
        memory_mib: Some(memory_mib),
        policy: tie.map(|(_, policy)| policy),
    })
}

/// The vCPUs of a virtual node as a line writes them: those of its line, or its own.
pub(super) fn cpus(draft: &Draft, node: &VirtualNode) -> Option<Ranges> {
    match draft.lines.get(&node.id).filter(|_| draft.numa) {
        Some(line) => Some(line.cpus.clone()),
        None => ranges(&node.vcpus),
    }
}

/// A set of vCPUs as a line writes it ("0-1;6-7").
pub(super) fn ranges(vcpus: &VcpuSet) -> Option<Ranges> {
    let parts = vcpus.runs().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    Ranges::numa(&parts.collect::<Vec<_>>().join(";")).ok()
}

/// The value of a numaN line.
fn written(line: &NumaLine) -> String {
    let mut parts = vec![format!("cpus={}", line.cpus)];
    parts.extend(
        line.hostnodes
            .as_ref()
            .map(|nodes| format!("hostnodes={nodes}")),
    );
    parts.extend(line.memory_mib.map(|mib| format!("memory={mib}")));
    parts.extend(
        line.policy
            .map(|policy| format!("policy={}", policy.word())),
    );
    parts.join(",")
}
