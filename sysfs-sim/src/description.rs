//! A machine, described: what stands in a description file, and what a test builds in Rust.
//!
//! A description is TOML with the keys of [`Host`]. Unknown keys are errors. Only what differs from the defaults needs to
//! be said:
//!
//! ```toml
//! provenance = "made up"
//! numbering = "blocked"
//! offline = "5"
//! shape = { packages = 2, nodes = 2, l3s = 1, cores = 4, threads = 2 }
//! ```

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::list::Ids;
use crate::quirks::Quirks;
use crate::render;

/// A host. Every field has a default; the default host has one CPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Host {
    /// Where the description comes from.
    pub provenance: String,
    /// How the CPUs are numbered.
    pub numbering: Numbering,
    /// CPU ids core by core, each core's threads together: instead of `numbering`, for ids that follow no rule.
    pub cpu_ids: Vec<u32>,
    /// CPUs that are present and offline.
    pub offline: Ids,
    /// CPUs isolated at boot (`isolcpus=`): `/sys/devices/system/cpu/isolated`.
    pub isolated: Ids,
    /// Node ids in order of structure (package by package); empty: 0, 1, 2, ... Only with `shape`.
    pub node_ids: Vec<u32>,
    /// `core_id` of the first, second, ... core of each package, from the start again where the list is shorter than the
    /// package; empty: 0, 1, 2, ...
    pub core_ids: Vec<i32>,
    /// `physical_package_id` of the first, second, ... package; empty: the package's number. -1 is a kernel that knows none.
    pub package_ids: Vec<i32>,
    /// `id` of the first, second, ... L3; empty: 0, 1, 2, ...
    pub l3_ids: Vec<u32>,
    /// The distance of two nodes of one package, where `distances` is empty.
    pub distance_within: u32,
    /// The distance of two nodes of different packages, or of which one has no CPUs, where `distances` is empty.
    pub distance_across: u32,
    /// One row for each node in ascending order of ids, one column for each in the same order; empty: from the two above.
    pub distances: Vec<Vec<u32>>,
    /// A uniform machine. Either this, or `cores`, or neither: one CPU.
    pub shape: Option<Shape>,
    /// The memory of each node that `nodes` does not name. Nodes without CPUs have none unless named.
    pub memory: Memory,
    /// The allowed CPUs of the host's control groups.
    pub cgroup: Cgroup,
    /// What old kernels, captures and broken firmware leave out or get wrong.
    pub quirks: Quirks,
    /// Cores that are not all alike, group by group.
    pub cores: Vec<CoreGroup>,
    /// Kinds of core that a group can name.
    pub kinds: Vec<Kind>,
    /// Nodes with memory of their own; also nodes without CPUs.
    pub nodes: Vec<Node>,
    /// PCI devices.
    pub pci: Vec<Pci>,
}

/// A uniform machine: each number counts within the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shape {
    /// Packages.
    pub packages: u32,
    /// Dies in a package; 0: the platform tells of none. Nodes and L3s are dealt evenly to the dies.
    pub dies: u32,
    /// NUMA nodes in a package.
    pub nodes: u32,
    /// L3s in a node; 0: the platform tells of none.
    pub l3s: u32,
    /// Nodes that one L3 covers (sub-NUMA clustering); more than 1 needs `l3s` = 1.
    pub nodes_of_an_l3: u32,
    /// Cores in an L3 (where `l3s` is 0, or an L3 covers several nodes: in a node).
    pub cores: u32,
    /// SMT threads of a core.
    pub threads: u32,
    /// Cores in a cluster; 0: the platform tells of none.
    pub cluster: u32,
}

/// Cores that are alike and stand together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoreGroup {
    /// How many cores.
    pub count: u32,
    /// SMT threads of each.
    pub threads: u32,
    /// The package, counted from 0.
    pub package: u32,
    /// The die within the package; none: the platform tells of none.
    pub die: Option<u32>,
    /// The id of the NUMA node.
    pub node: u32,
    /// The number of the L3, counted from 0 over the machine; none: the platform tells of none.
    pub l3: Option<u32>,
    /// Cores in a cluster; 0: the platform tells of none.
    pub cluster: u32,
    /// Cores that share a level-2 cache.
    pub l2: u32,
    /// The name of a kind in `kinds`.
    pub kind: Option<String>,
}

/// How CPU ids follow from the cores, which stand in order of package, die, node, L3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Numbering {
    /// The threads of a core are neighbours: core 0 is 0-1, core 1 is 2-3.
    #[default]
    Adjacent,
    /// The first threads of all cores, then the second ones.
    Blocked,
    /// Package by package, and in each the first threads of its cores, then the second ones.
    BlockedByPackage,
    /// As `Blocked`, with the cores dealt out over the packages: even ids on one package, odd ones on the other.
    RoundRobinPackages,
    /// As `Blocked`, with the cores dealt out over the nodes in ascending order of their ids.
    RoundRobinNodes,
}

/// A kind of core of a hybrid machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kind {
    /// As it stands in `/sys/devices/cpu_NAME`: `core`, `atom`, `lowpower`.
    pub name: String,
    /// Whether `/sys/devices/cpu_NAME/cpus` exists.
    pub pmu: bool,
    /// `cpu_capacity` (1024: the fastest); none: no such file.
    pub capacity: Option<u32>,
}

/// A NUMA node that differs from the rest, or has no CPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// The id.
    pub id: u32,
    /// Its memory.
    pub memory: Memory,
}

/// The memory of a node, in KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// MemTotal. 0: a node without memory.
    pub total_kib: u64,
    /// MemFree; none: all but the next three.
    pub free_kib: Option<u64>,
    /// FilePages, which hold Shmem, too.
    pub file_kib: u64,
    /// Shmem.
    pub shmem_kib: u64,
    /// KReclaimable.
    pub reclaimable_kib: u64,
    /// Huge pages of 2 MiB.
    pub pages_2m: Pages,
    /// Huge pages of 1 GiB.
    pub pages_1g: Pages,
}

/// Huge pages of one size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pages {
    /// `nr_hugepages`.
    pub total: u64,
    /// `free_hugepages`.
    pub free: u64,
    /// `surplus_hugepages`.
    pub surplus: u64,
}

/// A PCI device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pci {
    /// `0000:41:00.0`.
    pub address: String,
    /// The bridge it stands behind, if any.
    pub bridge: Option<String>,
    /// `numa_node`; -1: unknown.
    pub node: i32,
    /// `class`, as the kernel writes it: `0x020000`.
    pub class: String,
}

/// Control groups, as far as CPU sets go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cgroup {
    /// Which hierarchy is mounted, and where.
    pub mount: CgroupMount,
    /// CPUs of an isolated partition (`cpuset.cpus.isolated`, v2): the rest of the machine does not have them.
    pub isolated: Option<Ids>,
    /// The CPUs that an administrator allowed qemu.slice; none: the slice has no CPU set of its own.
    pub qemu_slice: Option<Ids>,
    /// `/proc/self/cgroup` (v2: `/` or `/system.slice/x.service`); none: no such file.
    pub of_self: Option<String>,
}

/// Where CPU sets are mounted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CgroupMount {
    /// `/sys/fs/cgroup`, version 2.
    #[default]
    V2,
    /// `/sys/fs/cgroup/cpuset`, version 1.
    V1,
    /// `/dev/cpuset`, with file names that have no prefix.
    DevCpuset,
    /// Nowhere.
    None,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            provenance: String::new(),
            numbering: Numbering::default(),
            cpu_ids: Vec::new(),
            offline: Ids::default(),
            isolated: Ids::default(),
            node_ids: Vec::new(),
            core_ids: Vec::new(),
            package_ids: Vec::new(),
            l3_ids: Vec::new(),
            distance_within: 12,
            distance_across: 32,
            distances: Vec::new(),
            shape: None,
            memory: Memory::of_mib(16 << 10),
            cgroup: Cgroup::default(),
            quirks: Quirks::default(),
            cores: Vec::new(),
            kinds: Vec::new(),
            nodes: Vec::new(),
            pci: Vec::new(),
        }
    }
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            packages: 1,
            dies: 1,
            nodes: 1,
            l3s: 1,
            nodes_of_an_l3: 1,
            cores: 1,
            threads: 1,
            cluster: 1,
        }
    }
}

impl Default for CoreGroup {
    fn default() -> Self {
        Self {
            count: 1,
            threads: 1,
            package: 0,
            die: Some(0),
            node: 0,
            l3: Some(0),
            cluster: 1,
            l2: 1,
            kind: None,
        }
    }
}

impl Default for Pci {
    fn default() -> Self {
        Self {
            address: String::new(),
            bridge: None,
            node: -1,
            class: "0x020000".to_owned(),
        }
    }
}

impl Memory {
    /// So much memory, all of it free.
    #[must_use]
    pub fn of_mib(mib: u64) -> Self {
        Self {
            total_kib: mib.saturating_mul(1024),
            ..Self::default()
        }
    }
}

impl Host {
    /// A uniform machine: packages, nodes in a package, L3s in a node, cores in an L3, threads of a core.
    ///
    /// ```
    /// use numapin_sysfs_sim::{Host, Numbering};
    /// let mut host = Host::grid(2, 2, 1, 4, 2).numbered(Numbering::Blocked);
    /// host.offline = [5].into();
    /// ```
    #[must_use]
    pub fn grid(packages: u32, nodes: u32, l3s: u32, cores: u32, threads: u32) -> Self {
        Self {
            shape: Some(Shape {
                packages,
                nodes,
                l3s,
                cores,
                threads,
                ..Shape::default()
            }),
            ..Self::default()
        }
    }

    /// The same with another numbering.
    #[must_use]
    pub fn numbered(self, numbering: Numbering) -> Self {
        Self { numbering, ..self }
    }

    /// Reads a description; `file` is the name for error messages.
    ///
    /// # Errors
    /// The text is no TOML, has an unknown or mistyped key, or describes no possible machine.
    pub fn parse(text: &str, file: &str) -> Result<Self, Error> {
        let wrong = |line: usize, what: String| Error::Syntax {
            file: file.to_owned(),
            line,
            what,
        };
        let host: Self = toml::from_str(text).map_err(|e| {
            let start = e.span().map_or(0, |span| span.start).min(text.len());
            let before = text.as_bytes().get(..start).unwrap_or_default();
            let line = 1 + before.iter().filter(|b| **b == b'\n').count();
            wrong(line, e.message().replace('\n', " "))
        })?;
        if host.shape.is_none() && host.cores.is_empty() {
            return Err(wrong(
                1,
                "neither shape nor cores (expected a machine description or a recording)"
                    .to_owned(),
            ));
        }
        render::check(&host).map_err(|e| match e {
            Error::Description { key, what } => {
                wrong(line_of(text, &key), format!("{key}: {what}"))
            }
            other => other,
        })?;
        Ok(host)
    }
}

/// The line where a key stands: the first one with its last part, else the first line.
fn line_of(text: &str, key: &str) -> usize {
    let name = key.rsplit('.').next().unwrap_or(key);
    let is_name = |word: &str| word == name;
    let words = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let outside_quotes = |line: &str| {
        line.split('"')
            .step_by(2)
            .any(|part| part.split(words).any(is_name))
    };
    1 + text.lines().position(outside_quotes).unwrap_or_default()
}
