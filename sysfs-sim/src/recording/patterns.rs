//! Which files are recorded.

/// The files that are recorded, below the root of the machine. `#` stands for a number, `*` for any text without a slash;
/// a pattern that ends with a slash is a directory whose existence tells something.
///
/// These tell how the machine is built, how much memory its nodes have, and which CPUs may be used. Nothing here tells
/// who it belongs to, what runs on it, or its serial numbers (`ppin`, DMI, PCI serials, command lines, guests); only the
/// control groups right below the root (`system.slice`, `qemu.slice`) are named, if they have a CPU set.
/// Of a dump, which holds `proc/self` as a directory, also `proc/self/cgroup`, `proc/self/cpuset` and the CPU sets that these
/// lead to are recorded.
pub const PATTERNS: &[&str] = &[
    "sys/devices/system/cpu/online",
    "sys/devices/system/cpu/offline",
    "sys/devices/system/cpu/present",
    "sys/devices/system/cpu/possible",
    "sys/devices/system/cpu/isolated",
    "sys/devices/system/cpu/kernel_max",
    "sys/devices/system/cpu/smt/active",
    "sys/devices/system/cpu/smt/control",
    "sys/devices/system/cpu/cpu#/",
    "sys/devices/system/cpu/cpu#/online",
    "sys/devices/system/cpu/cpu#/cpu_capacity",
    "sys/devices/system/cpu/cpu#/node#",
    "sys/devices/system/cpu/cpu#/topology/*_id",
    "sys/devices/system/cpu/cpu#/topology/*_cpus",
    "sys/devices/system/cpu/cpu#/topology/*_cpus_list",
    "sys/devices/system/cpu/cpu#/topology/*_siblings",
    "sys/devices/system/cpu/cpu#/topology/*_siblings_list",
    "sys/devices/system/cpu/cpu#/cache/index#/level",
    "sys/devices/system/cpu/cpu#/cache/index#/type",
    "sys/devices/system/cpu/cpu#/cache/index#/id",
    "sys/devices/system/cpu/cpu#/cache/index#/shared_cpu_list",
    "sys/devices/system/cpu/cpu#/cache/index#/shared_cpu_map",
    "sys/devices/system/node/online",
    "sys/devices/system/node/possible",
    "sys/devices/system/node/has_cpu",
    "sys/devices/system/node/has_memory",
    "sys/devices/system/node/has_normal_memory",
    "sys/devices/system/node/node#/",
    "sys/devices/system/node/node#/cpulist",
    "sys/devices/system/node/node#/cpumap",
    "sys/devices/system/node/node#/cpu#",
    "sys/devices/system/node/node#/distance",
    "sys/devices/system/node/node#/meminfo",
    "sys/devices/system/node/node#/hugepages/hugepages-*/nr_hugepages",
    "sys/devices/system/node/node#/hugepages/hugepages-*/free_hugepages",
    "sys/devices/system/node/node#/hugepages/hugepages-*/surplus_hugepages",
    "sys/devices/cpu_*/cpus",
    "sys/bus/pci/devices/*/numa_node",
    "sys/bus/pci/devices/*/class",
    "sys/bus/pci/devices/*/local_cpulist",
    "sys/kernel/mm/hugepages/hugepages-*/nr_hugepages",
    "sys/kernel/mm/hugepages/hugepages-*/free_hugepages",
    "sys/kernel/mm/hugepages/hugepages-*/surplus_hugepages",
    "sys/module/zfs/",
    "sys/fs/cgroup/cpuset.*",
    "sys/fs/cgroup/*/cpuset.cpus*",
    "sys/fs/cgroup/unified/cpuset.*",
    "sys/fs/cgroup/unified/*/cpuset.cpus*",
    "sys/fs/cgroup/cpuset/cpuset.*cpus",
    "sys/fs/cgroup/cpuset/cpuset.*mems",
    "sys/fs/cgroup/cpuset/qemu.slice/cpuset.*cpus",
    "dev/cpuset/*cpus",
    "dev/cpuset/*mems",
    "dev/cpuset/qemu.slice/*cpus",
    "proc/meminfo",
    "proc/sys/kernel/osrelease",
];

/// Where CPU sets can be mounted, and their files there: of a dump also those of its own control group are recorded.
pub(super) const CPUSET_MOUNTS: [&str; 4] = [
    "sys/fs/cgroup",
    "sys/fs/cgroup/unified",
    "sys/fs/cgroup/cpuset",
    "dev/cpuset",
];
pub(super) const CPUSET_FILES: [&str; 3] = ["cpuset.*", "cpus", "mems"];

/// Whether a name is one that a part of a pattern stands for.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let Some(at) = pattern.find(['#', '*']) else {
        return pattern == name;
    };
    let (before, open) = pattern.split_at(at);
    let (open, after) = open.split_at(1);
    let Some(rest) = name.strip_prefix(before) else {
        return false;
    };
    (0..=rest.len())
        .filter(|end| rest.is_char_boundary(*end))
        .any(|end| {
            let (filler, rest) = rest.split_at(end);
            let fits =
                open == "*" || (!filler.is_empty() && filler.bytes().all(|b| b.is_ascii_digit()));
            fits && matches(after, rest)
        })
}
