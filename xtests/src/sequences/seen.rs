//! What is on a node at one moment: every thread with its mask, and the files of the ledger.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde::{Deserialize, Deserializer};

use crate::flow::masks::{self, Masks, list};
use crate::flow::{Broken, Ids};

/// What is on a node at one moment.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Every thread below /proc.
    pub threads: Masks,
    /// The entries of the ledger by VMID.
    pub entries: BTreeMap<u32, Entry>,
    /// What is wrong with the files of the ledger.
    pub unfit: Vec<String>,
}

/// An entry of the ledger, as far as it is judged.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// pending, applied or held.
    pub state: String,
    /// Its process.
    pub process: Option<Process>,
    /// The plan.
    pub plan: Kept,
    /// The policy that it was made with.
    pub policy: Policy,
    /// The masks found.
    pub found: Vec<Found>,
}

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Policy {
    /// As it was written.
    pub text: String,
}

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Kept {
    /// none, numa, l3, one-to-one or shared.
    pub mode: String,
    /// avoid, deny or allow.
    pub overlap: String,
    /// The vCPUs that were there.
    #[serde(deserialize_with = "ids")]
    pub plugged: Ids,
    /// The virtual nodes.
    pub virtual_nodes: Vec<Node>,
    /// The vCPUs.
    pub vcpus: Vec<Vcpu>,
    /// Masks of the other threads.
    pub threads: Others<Option<Set>>,
    /// Which of them are of spare CPUs.
    pub spare: Others<bool>,
}

/// A virtual node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Node {
    /// Which one.
    pub virtual_node: u32,
    /// Its vCPUs.
    #[serde(deserialize_with = "ids")]
    pub vcpus: Ids,
    /// Where it is.
    #[serde(deserialize_with = "ids")]
    pub host_nodes: Ids,
    /// Its area.
    #[serde(deserialize_with = "ids")]
    pub area: Ids,
    /// The usable CPUs of its host nodes.
    #[serde(deserialize_with = "ids")]
    pub node: Ids,
}

/// A vCPU.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Vcpu {
    /// Which one.
    pub vcpu: u32,
    /// Its virtual node.
    pub virtual_node: u32,
    /// Its mask.
    #[serde(deserialize_with = "ids")]
    pub cpus: Ids,
    /// What it holds.
    #[serde(deserialize_with = "ids")]
    pub claims: Ids,
}

/// Something for each kind of the other threads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Others<T> {
    /// QEMU's own.
    pub emulator: T,
    /// Iothreads.
    pub iothreads: T,
    /// vhost workers.
    pub vhost: T,
}

/// A mask that was found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Found {
    /// Whose.
    pub thread: Tid,
}

/// A thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Tid {
    /// Its number.
    pub tid: u32,
}

/// A set as a list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Set(#[serde(deserialize_with = "ids")] pub Ids);

impl Seen {
    /// Looks at the node below a root.
    ///
    /// # Errors
    /// /proc can't be read.
    pub fn look(root: &Path) -> Result<Self, Broken> {
        let mut seen = Self {
            threads: masks::of_all(&root.join("proc"))?,
            ..Self::default()
        };
        let dir = root.join("run/numapin");
        let Ok(meta) = fs::symlink_metadata(&dir) else {
            return Ok(seen);
        };
        if !meta.is_dir() || meta.permissions().mode() & 0o777 != 0o755 {
            seen.unfit
                .push(format!("run/numapin: {:o}", meta.permissions().mode()));
        }
        for file in fs::read_dir(&dir)? {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            if ["lock", "watch.lock"].contains(&name.as_str()) {
                continue;
            }
            let meta = fs::symlink_metadata(file.path())?;
            if !meta.is_file() || meta.permissions().mode() & 0o777 != 0o644 {
                let mode = meta.permissions().mode();
                seen.unfit.push(format!("run/numapin/{name}: {mode:o}"));
            }
            let Some(stem) = name.strip_suffix(".json") else {
                seen.unfit.push(format!("run/numapin/{name} is left over"));
                continue;
            };
            let entry = serde_json::from_str(&fs::read_to_string(file.path())?);
            match (stem.parse(), entry) {
                (Ok(vmid), Ok(entry)) => {
                    seen.entries.insert(vmid, entry);
                }
                (vmid, entry) => {
                    let entry = entry.map(|_: Entry| ());
                    seen.unfit
                        .push(format!("run/numapin/{name}: {vmid:?} {entry:?}"));
                }
            }
        }
        Ok(seen)
    }

    /// The mask of a thread.
    #[must_use]
    pub fn mask(&self, tid: u32) -> Ids {
        let seen = self.threads.get(&tid);
        seen.map(|seen| seen.mask.clone()).unwrap_or_default()
    }
}

impl Kept {
    /// What a plan gave a vCPU.
    #[must_use]
    pub fn vcpu(&self, vcpu: u32) -> Option<&Vcpu> {
        self.vcpus.iter().find(|kept| kept.vcpu == vcpu)
    }

    /// A virtual node.
    #[must_use]
    pub fn node(&self, id: u32) -> Option<&Node> {
        self.virtual_nodes
            .iter()
            .find(|node| node.virtual_node == id)
    }

    /// What a plan holds with these vCPUs plugged.
    #[must_use]
    pub fn claims(&self, plugged: &Ids) -> Ids {
        let there = self.vcpus.iter().filter(|v| plugged.contains(&v.vcpu));
        there.flat_map(|vcpu| vcpu.claims.clone()).collect()
    }
}

fn ids<'de, D: Deserializer<'de>>(from: D) -> Result<Ids, D::Error> {
    let text = String::deserialize(from)?;
    list(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no list")))
}
