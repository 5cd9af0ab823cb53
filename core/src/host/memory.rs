//! Memory of the nodes, and where a running guest's memory is.
//!
//! Sources: Linux Documentation/admin-guide/cgroup-v2.rst (memory.numa_stat, hugetlb), Documentation/admin-guide/mm/hugetlbpage.rst,
//! drivers/base/node.c (nodeN/meminfo).

use std::collections::BTreeMap;

use super::error::{Problem, parse, trimmed};
use super::sysfs::unless_malformed;
use super::{Host, HostError, HostWarning, Node, NodeMemory, cpuset};
use crate::id::{NodeId, Pid, Vmid};
use crate::root::{FileError, Reader, Root};

/// How much of a running guest's memory lies on which host node, in MiB rounded down, by the accounts of its cgroup: anonymous
/// and file memory (`memory.numa_stat`) and huge pages (`hugetlb.*.numa_stat`). Cheap, unlike `/proc/PID/numa_maps`, which
/// can stall a guest. Empty where the cgroup or its accounts are absent; a line that is not understood counts for nothing.
///
/// # Errors
/// A file that is there can't be read.
pub fn of_cgroup(
    root: &Root,
    vmid: Option<Vmid>,
    pid: Option<Pid>,
) -> Result<BTreeMap<NodeId, u64>, FileError> {
    let mut bytes = BTreeMap::new();
    if let Some(dir) = cpuset::accounts_of(root, "memory", vmid, pid)? {
        let mut reader = Reader::below(&dir);
        if let Some(text) = reader.read(format_args!("memory.numa_stat"))? {
            add_memory(text, &mut bytes);
        }
    }
    if let Some(dir) = cpuset::accounts_of(root, "hugetlb", vmid, pid)? {
        let mut reader = Reader::below(&dir);
        for name in reader.names(format_args!(""))?.unwrap_or_default() {
            // Not hugetlb.2MB.rsvd.numa_stat or the like: what is reserved is on no node yet.
            let size = name
                .strip_prefix("hugetlb.")
                .and_then(|n| n.strip_suffix(".numa_stat"));
            if size.is_none_or(|size| size.contains('.')) {
                continue;
            }
            if let Some(text) = reader.read(format_args!("{name}"))? {
                // "total=4194304 N0=2097152 N1=2097152", bytes; v1 adds a line "hierarchical_total=...".
                let line = text
                    .lines()
                    .find(|line| line.starts_with("hierarchical_total="));
                add_columns(line.or(text.lines().next()).unwrap_or(""), 1, &mut bytes);
            }
        }
    }
    bytes.retain(|_, n| {
        *n >>= 20;
        *n > 0
    });
    Ok(bytes)
}

/// Whether ZFS is in use: its cache (ARC) counts as used memory, though it gives way, so that free memory says little.
pub(super) fn zfs_in_use(root: &Root) -> Result<bool, FileError> {
    let mut reader = Reader::below(root.proc());
    let stats = reader.read(format_args!("spl/kstat/zfs/arcstats"))?;
    if let Some(stats) = stats {
        let size = stats.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("size")).then(|| words.nth(1)?.parse::<u64>().ok())?
        });
        return Ok(size != Some(0));
    }
    Ok(root.sys().join("module/zfs").is_dir())
}

/// The memory of a node, by a reader of the nodes' directory; `None` where the host does not say.
pub(super) fn of_node(
    reader: &mut Reader,
    id: NodeId,
    warnings: &mut Vec<HostWarning>,
) -> Result<Option<NodeMemory>, HostError> {
    let name = format_args!("node{id}/meminfo");
    // "Node 0 MemTotal:       222472 kB"
    let memory = parse(reader, name, |text| {
        understand(text, |line| {
            line.strip_prefix("Node ")?
                .trim_start()
                .split_once(' ')
                .map(|(_, rest)| rest)
        })
    });
    Ok(unless_malformed(memory, "its memory", warnings)?.flatten())
}

/// The memory of a machine without nodes; `None` where the host does not say.
pub(super) fn of_machine(
    root: &Root,
    warnings: &mut Vec<HostWarning>,
) -> Result<Option<NodeMemory>, HostError> {
    let mut reader = Reader::below(root.proc());
    let memory = parse(&mut reader, format_args!("meminfo"), |text| {
        understand(text, Some)
    });
    Ok(unless_malformed(memory, "its memory", warnings)?.flatten())
}

/// Adds the free huge pages of each node whose memory is known; those of the machine to the one node of a host without NUMA.
pub(super) fn add_hugepages(
    reader: &mut Reader,
    root: &Root,
    host: &mut Host,
) -> Result<(), HostError> {
    let Host {
        nodes, warnings, ..
    } = host;
    let numa = reader.read(format_args!("online"))?.is_some() || nodes.len() > 1;
    for node in nodes {
        let dir = format!("node{}/hugepages/", node.id);
        if let Some(names) = reader.names(format_args!("{dir}"))? {
            add_pages(reader, &dir, &names, node, warnings)?;
        } else if !numa {
            let mut reader = Reader::of_sysfs(&root.sys().join("kernel/mm/hugepages"));
            let names = reader.names(format_args!(""))?.unwrap_or_default();
            add_pages(&mut reader, "", &names, node, warnings)?;
        }
    }
    Ok(())
}

/// Adds the free huge pages that the directories of these names below `dir` tell.
fn add_pages(
    reader: &mut Reader,
    dir: &str,
    names: &[String],
    node: &mut Node,
    warnings: &mut Vec<HostWarning>,
) -> Result<(), HostError> {
    for name in names {
        let size = name
            .strip_prefix("hugepages-")
            .and_then(|n| n.strip_suffix("kB"));
        let Some(size) = size.and_then(|size| size.parse::<u64>().ok()) else {
            continue;
        };
        let file = format_args!("{dir}{name}/free_hugepages");
        let free = parse(reader, file, |text| {
            let text = trimmed(text);
            let number = text.parse::<u64>();
            number.map_err(|_| Problem::not_a_number(text, "a number of pages"))
        });
        let free = unless_malformed(free, "the number of free huge pages", warnings)?;
        if let (Some(free), Some(memory)) = (free, &mut node.memory) {
            memory.free_hugepages.insert(size, free);
        }
    }
    Ok(())
}

/// Understands a meminfo of which `strip` takes what stands before the name of each field; `None` where it has no total.
fn understand<'a>(
    text: &'a str,
    strip: impl Fn(&'a str) -> Option<&'a str>,
) -> Result<Option<NodeMemory>, Problem> {
    const FIELDS: [&str; 8] = [
        "MemTotal",
        "MemFree",
        "FilePages",
        "Shmem",
        "KReclaimable",
        "SReclaimable",
        "Cached",
        "Buffers",
    ];
    let mut fields = [None; FIELDS.len()];
    for line in text.lines().filter_map(strip) {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let Some(nth) = FIELDS.iter().position(|field| *field == name) else {
            continue;
        };
        let value = trimmed(value);
        let number = value
            .strip_suffix("kB")
            .unwrap_or(value)
            .trim_end()
            .parse::<u64>();
        fields[nth] = Some(number.map_err(|_| Problem::not_a_number(value, "kB"))?);
    }
    let [
        total,
        free,
        pages,
        shmem,
        reclaimable,
        slab,
        cached,
        buffers,
    ] = fields;
    let Some(total_kib) = total else {
        return Ok(None);
    };
    // /proc/meminfo has no FilePages: they are Cached and Buffers there.
    let pages = pages.or_else(|| Some(cached? + buffers.unwrap_or(0)));
    // KReclaimable came with Linux 4.20; before, what can be reclaimed of the kernel's is SReclaimable.
    let reclaimable = reclaimable.or(slab).unwrap_or(0);
    let available_kib = free.zip(pages).map(|(free, pages)| {
        let pages = pages.saturating_sub(shmem.unwrap_or(0));
        free.saturating_add(pages)
            .saturating_add(reclaimable)
            .min(total_kib)
    });
    Ok(Some(NodeMemory {
        total_kib,
        available_kib,
        free_hugepages: BTreeMap::new(),
    }))
}

/// Adds up memory.numa_stat: in cgroup v2 bytes by kind of memory ("anon N0=123 N1=456"), in v1 pages with a line for all
/// ("hierarchical_total=1 N0=1", or "total=1 N0=1").
fn add_memory(text: &str, bytes: &mut BTreeMap<NodeId, u64>) {
    const V1_PAGE: u64 = 4096;
    let line = |prefix: &str| text.lines().find(|line| line.starts_with(prefix));
    if let Some(line) = line("hierarchical_total=").or_else(|| line("total=")) {
        return add_columns(line, V1_PAGE, bytes);
    }
    for line in ["anon ", "file "].into_iter().filter_map(line) {
        add_columns(line, 1, bytes);
    }
}

/// Adds up the columns "N0=123" of a line.
fn add_columns(line: &str, unit: u64, bytes: &mut BTreeMap<NodeId, u64>) {
    for column in line.split_whitespace() {
        let node = column.strip_prefix('N').and_then(|c| c.split_once('='));
        let Some((node, count)) = node else { continue };
        if let (Ok(node), Ok(count)) = (node.parse::<u32>(), count.parse::<u64>()) {
            let sum = bytes.entry(NodeId(node)).or_default();
            *sum = sum.saturating_add(count.saturating_mul(unit));
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::host::testing::Tree;

    const NODE0: &str = "Node 0 MemTotal:        1000 kB\nNode 0 MemFree:          500 kB\n\
        Node 0 FilePages:        200 kB\nNode 0 Shmem:             50 kB\n";

    #[rstest]
    #[case::reclaimable("Node 0 KReclaimable: 7 kB\nNode 0 SReclaimable: 3 kB\n", Some(657))]
    #[case::old_kernel("Node 0 SReclaimable: 3 kB\n", Some(653))]
    #[case::no_slab("", Some(650))]
    #[case::never_more_than_all("Node 0 KReclaimable: 900 kB\n", Some(1000))]
    #[case::more_shared_than_file("Node 0 Shmem: 900 kB\n", Some(500))]
    fn what_is_available(#[case] more: &str, #[case] available: Option<u64>) {
        let tree = Tree::plain(1).system("node/node0/meminfo", &format!("{NODE0}{more}"));
        let memory = tree.host().nodes[0].memory.clone().unwrap();
        assert_eq!((memory.total_kib, memory.available_kib), (1000, available));
    }

    #[test]
    fn a_total_alone_says_nothing_of_what_is_available() {
        let tree = Tree::plain(1).system("node/node0/meminfo", "Node 0 MemTotal: 1000 kB\n");
        let memory = tree.host().nodes[0].memory.clone().unwrap();
        assert_eq!((memory.total_kib, memory.available_kib), (1000, None));
        let tree = tree.system("node/node0/meminfo", "Node 0 MemFree: 1000 kB\n");
        assert_eq!(tree.host().nodes[0].memory, None);
    }

    #[test]
    fn huge_pages_are_counted_by_size_and_only_when_wanted() {
        let pages = "node/node0/hugepages/hugepages";
        let tree = Tree::plain(1)
            .system("node/node0/meminfo", NODE0)
            .system(&format!("{pages}-2048kB/free_hugepages"), "12\n")
            .system(&format!("{pages}-1048576kB/free_hugepages"), "0\n")
            .system(&format!("{pages}-odd/free_hugepages"), "9\n");
        let free = |host: Host| host.nodes[0].memory.clone().unwrap().free_hugepages;
        assert_eq!(free(tree.host()), [(2048, 12), (1_048_576, 0)].into());
        let topology = super::super::sysfs::read(&tree.root(), super::super::sysfs::Want::TOPOLOGY);
        assert_eq!(free(topology.unwrap()), BTreeMap::new());
    }

    #[rstest]
    #[case::cache_in_use(
        "proc/spl/kstat/zfs/arcstats",
        "9 1 0x01\nname type data\nhits 4 1\nsize 4 4096\n",
        true
    )]
    #[case::cache_empty("proc/spl/kstat/zfs/arcstats", "name type data\nsize 4 0\n", false)]
    #[case::module("sys/module/zfs/version", "2.2\n", true)]
    #[case::none("sys/module/ext4/version", "1\n", false)]
    fn zfs_is_noticed(#[case] path: &str, #[case] text: &str, #[case] zfs: bool) {
        assert_eq!(Tree::plain(1).file(path, text).host().zfs, zfs);
    }

    fn guest(tree: &Tree, pid: Option<i32>) -> Vec<(u32, u64)> {
        let found = of_cgroup(&tree.root(), Some(Vmid(100)), pid.map(Pid)).unwrap();
        found.into_iter().map(|(node, mib)| (node.0, mib)).collect()
    }

    #[test]
    fn a_guests_memory_is_that_of_its_scope() {
        let scope = "sys/fs/cgroup/qemu.slice/100.scope";
        let tree = Tree::new()
            .file("sys/fs/cgroup/qemu.slice/memory.numa_stat", "anon N0=99999999999\n")
            .file(
                &format!("{scope}/memory.numa_stat"),
                "anon N0=1048576 N1=3145728\nfile N0=1048576 N1=0\nshmem N0=1048576 N1=0\ninactive_anon N0=5 N1=9999999\n",
            )
            .file(&format!("{scope}/hugetlb.2MB.numa_stat"), "total=4194304 N0=0 N1=4194304\n")
            .file(&format!("{scope}/hugetlb.1GB.numa_stat"), "total=1073741824 N0=1073741824 N1=x\n")
            .file(&format!("{scope}/hugetlb.2MB.rsvd.numa_stat"), "total=9999999 N0=9999999\n");
        assert_eq!(guest(&tree, None), [(0, 1026), (1, 7)]);
        assert_eq!(guest(&tree, Some(7)), [(0, 1026), (1, 7)]);
        // The process says where it is, and is believed.
        let tree = tree
            .file("proc/7/cgroup", "0::/machine.slice/a.scope\n")
            .file(
                "sys/fs/cgroup/machine.slice/a.scope/memory.numa_stat",
                "anon N3=2097152\n",
            );
        assert_eq!(guest(&tree, Some(7)), [(3, 2)]);
    }

    #[test]
    fn cgroup_v1_counts_pages() {
        let scope = "qemu.slice/100.scope";
        let tree = Tree::new()
            .file("proc/7/cgroup", "8:memory:/qemu.slice/100.scope\n3:hugetlb:/\n0::/\n")
            .file(
                &format!("sys/fs/cgroup/memory/{scope}/memory.numa_stat"),
                "total=1 N0=1\nanon=1 N0=1\nhierarchical_total=768 N0=256 N1=512\nhierarchical_anon=9 N0=9\n",
            )
            .file("sys/fs/cgroup/hugetlb/hugetlb.2MB.numa_stat", "total=9999999999 N0=9999999999\n");
        assert_eq!(guest(&tree, Some(7)), [(0, 1), (1, 2)]);
        assert_eq!(guest(&tree, None), [(0, 1), (1, 2)]);
    }

    #[test]
    fn without_accounts_nothing_is_known() {
        assert_eq!(guest(&Tree::new(), Some(7)), []);
    }
}
