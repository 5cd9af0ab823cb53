//! The host as its files tell it, read by a reader of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::flow::masks::list;
use crate::flow::{Broken, Ids};

/// The host with all of its CPUs online.
#[derive(Debug, Clone, Default)]
pub struct Topology {
    /// Every CPU with its host node.
    pub node: BTreeMap<u32, u32>,
    /// The CPUs of each core, by each of its CPUs.
    pub core: BTreeMap<u32, Ids>,
    /// The CPUs that are of a slower kind.
    pub slow: Ids,
}

impl Topology {
    /// Reads it while every CPU is online.
    ///
    /// # Errors
    /// A file is missing or is no list.
    pub fn read(root: &Path) -> Result<Self, Broken> {
        let mut all = Self::default();
        let nodes = root.join("sys/devices/system/node");
        if nodes.is_dir() {
            for id in ids(&nodes.join("online"))? {
                for cpu in ids(&nodes.join(format!("node{id}/cpulist")))? {
                    all.node.insert(cpu, id);
                }
            }
        }
        let cpus = root.join("sys/devices/system/cpu");
        for cpu in ids(&cpus.join("online"))? {
            all.node.entry(cpu).or_insert(0);
            let topology = cpus.join(format!("cpu{cpu}/topology"));
            let siblings = ["core_cpus_list", "thread_siblings_list"]
                .iter()
                .map(|name| topology.join(name))
                .find(|path| path.exists());
            let siblings = siblings.ok_or_else(|| format!("cpu {cpu} tells no siblings"))?;
            all.core.insert(cpu, ids(&siblings)?);
        }
        let slow = root.join("sys/devices/cpu_atom/cpus");
        if slow.exists() {
            all.slow = ids(&slow)?;
        }
        Ok(all)
    }

    /// Every CPU.
    #[must_use]
    pub fn all(&self) -> Ids {
        self.node.keys().copied().collect()
    }

    /// The CPUs of these host nodes.
    #[must_use]
    pub fn of_nodes(&self, nodes: &Ids) -> Ids {
        let inside = self.node.iter().filter(|(_, node)| nodes.contains(node));
        inside.map(|(cpu, _)| *cpu).collect()
    }

    /// The host nodes of these CPUs.
    #[must_use]
    pub fn nodes_of(&self, cpus: &Ids) -> Ids {
        cpus.iter()
            .filter_map(|cpu| self.node.get(cpu).copied())
            .collect()
    }
}

/// The ids of a list in a file.
///
/// # Errors
/// It can't be read, or is no list.
pub fn ids(path: &Path) -> Result<Ids, Broken> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    list(text).ok_or_else(|| format!("{}: {text:?}", path.display()).into())
}
