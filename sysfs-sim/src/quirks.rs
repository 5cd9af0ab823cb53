//! What old kernels, captures and broken firmware leave out or get wrong: one switch for each.

use serde::{Deserialize, Serialize};

use crate::list::Ids;

/// Deviations from what a current kernel writes. The default has none of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quirks {
    /// Masks only: no `*_list` of CPUs and caches, no node cpulist.
    pub masks_only: bool,
    /// No masks: only lists. (No kernel is like this; it keeps trees of thousands of CPUs small.)
    pub lists_only: bool,
    /// Only the L3 among the caches. (As above.)
    pub l3_only: bool,
    /// No cpu/online, possible, present, offline, isolated.
    pub no_cpu_lists: bool,
    /// Which CPUs have a cpuN/online.
    pub online_files: OnlineFiles,
    /// No node cpulist.
    pub no_node_cpulist: bool,
    /// No node/online, possible, has_cpu, has_memory.
    pub no_node_lists: bool,
    /// No node distance.
    pub no_distance: bool,
    /// No node meminfo.
    pub no_meminfo: bool,
    /// An empty first line in meminfo.
    pub meminfo_blank_line: bool,
    /// No KReclaimable in meminfo (before 4.20).
    pub no_kreclaimable: bool,
    /// No huge pages below the nodes.
    pub no_hugepages: bool,
    /// No node directory at all: a kernel without NUMA.
    pub no_node_dir: bool,
    /// No links from cpuN to its node.
    pub no_cpu_node_links: bool,
    /// No core_cpus, package_cpus, die_cpus, cluster_cpus: only thread_siblings and core_siblings (before 5.3).
    pub no_core_cpus: bool,
    /// No die_id and die_cpus.
    pub no_die: bool,
    /// No cluster_id and cluster_cpus (before 5.16).
    pub no_cluster: bool,
    /// No id of a cache.
    pub no_cache_id: bool,
    /// No cache directory.
    pub no_cache: bool,
    /// Node cpumap and cpulist keep CPUs that are offline.
    pub node_keeps_offline: bool,
    /// Masks are padded to so many bits; none: to the number of possible CPUs.
    pub mask_bits: Option<u32>,
    /// A NUL after the newline of topology and node CPU lists and masks (5.14 and its stable series).
    pub trailing_nul: bool,
    /// Every node shows every CPU.
    pub overlapping_nodes: bool,
    /// CPUs that no node shows.
    pub homeless: Ids,
    /// Columns that each distance row has beyond the online nodes.
    pub extra_distance_columns: u32,
    /// Nodes that are possible beyond those that are online.
    pub possible_nodes: Ids,
    /// CPUs that are possible beyond those that are present.
    pub possible_cpus: Ids,
}

/// Which CPUs have a file `cpuN/online`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnlineFiles {
    /// All but CPU 0 (x86: the boot CPU can't go offline).
    #[default]
    ButBoot,
    /// All.
    All,
    /// Only those that are offline.
    Offline,
    /// None.
    None,
}
