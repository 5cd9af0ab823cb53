//! What cgroups allow and take away: the cpuset of a guest, and isolated partitions.
//!
//! Sources: Linux Documentation/admin-guide/cgroup-v2.rst (cpuset) and cgroup-v1/cpusets.rst; proc_cgroup in cgroups(7). Three
//! mounts are met: cgroup v2 at /sys/fs/cgroup (or /sys/fs/cgroup/unified), v1 at /sys/fs/cgroup/cpuset, and the older
//! /dev/cpuset, whose files can lack the prefix "cpuset.".

use std::path::PathBuf;

use super::HostError;
use super::error::parse;
use crate::cpulist::parse_list;
use crate::id::{Pid, Vmid};
use crate::idset::CpuSet;
use crate::root::{FileError, Reader, Root};

/// Where Proxmox VE puts its guests: `qemu.slice/VMID.scope`.
const QEMU_SLICE: &str = "qemu.slice";

/// The files that say what a cgroup allows; what is in force before what was asked for.
const FILES: [&str; 5] = [
    "cpuset.cpus.effective",
    "cpuset.effective_cpus",
    "cpuset.cpus",
    "effective_cpus",
    "cpus",
];

/// The online CPUs that the cpuset of a guest's cgroup allows; `None` where nothing restricts them.
///
/// A running guest is given by its process: the cgroup of that, or the nearest one above that has a cpuset. One that does not
/// run: `qemu.slice`, in which its scope will be made; without that the root cgroup, and for a captured root what its `/proc/self`
/// says: a dump taken inside a cpuset shows what that cpuset allows.
///
/// # Errors
/// A file is there and can't be read or understood.
pub fn allowed(
    root: &Root,
    online: &CpuSet,
    vmid: Option<Vmid>,
    pid: Option<Pid>,
) -> Result<Option<CpuSet>, HostError> {
    let v1 = [
        root.sys().join("fs/cgroup/cpuset"),
        root.dev().join("cpuset"),
    ];
    let mounts = Mounts {
        v1: v1.to_vec(),
        v2: v2_mounts(root),
    };
    for place in places(root, &mounts, "cpuset", vmid, pid)? {
        if let Some(cpus) = nearest(&place)? {
            let allowed = cpus.intersection(online);
            return Ok((allowed != *online).then_some(allowed));
        }
    }
    Ok(None)
}

/// The CPUs of isolated partitions (cgroup v2): the scheduler leaves them alone like those of isolcpus, and
/// /sys/devices/system/cpu/isolated does not name them. Newer kernels list them in the root cgroup; before that, each partition
/// says so itself, and only children of partitions can be partitions.
pub(super) fn isolated_partitions(root: &Root) -> Result<CpuSet, HostError> {
    let mut isolated = CpuSet::new();
    for mount in v2_mounts(root) {
        let mut reader = Reader::of_sysfs(&mount);
        let listed = parse(&mut reader, format_args!("cpuset.cpus.isolated"), |text| {
            Ok(parse_list(text)?)
        })?;
        if let Some(listed) = listed {
            isolated = isolated.union(&listed);
        } else if reader.read(format_args!("{}", FILES[0]))?.is_some() {
            add_partitions(&mut reader, "", 0, &mut isolated)?;
        }
    }
    Ok(isolated)
}

/// The directory of a guest's own cgroup with the accounts of a controller ("memory", "hugetlb"); `None` where it has none of
/// its own, as the root cgroup is everybody's.
pub(super) fn accounts_of(
    root: &Root,
    controller: &str,
    vmid: Option<Vmid>,
    pid: Option<Pid>,
) -> Result<Option<PathBuf>, FileError> {
    let mounts = Mounts {
        v1: vec![root.sys().join("fs/cgroup").join(controller)],
        v2: v2_mounts(root),
    };
    let mut places = match pid {
        Some(pid) => of_process(root, &mounts, controller, &pid.to_string())?,
        None => Vec::new(),
    };
    if places.is_empty()
        && let Some(vmid) = vmid
    {
        let path = format!("{QEMU_SLICE}/{vmid}.scope");
        let of_guest = |mount: &PathBuf| Place {
            mount: mount.clone(),
            path: path.clone(),
        };
        places = mounts.all().map(of_guest).collect();
    }
    let dirs = places.into_iter().filter(|place| !place.path.is_empty());
    Ok(dirs
        .map(|place| place.mount.join(place.path))
        .find(|dir| dir.is_dir()))
}

/// Where cgroups of a controller can be mounted.
struct Mounts {
    v1: Vec<PathBuf>,
    v2: Vec<PathBuf>,
}

impl Mounts {
    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.v1.iter().chain(&self.v2)
    }
}

/// A cgroup: its path below a mount, without a leading slash.
struct Place {
    mount: PathBuf,
    path: String,
}

fn v2_mounts(root: &Root) -> Vec<PathBuf> {
    let mount = root.sys().join("fs/cgroup");
    vec![mount.clone(), mount.join("unified")]
}

/// The cgroups that can be meant, the first that has a cpuset counts.
fn places(
    root: &Root,
    mounts: &Mounts,
    controller: &str,
    vmid: Option<Vmid>,
    pid: Option<Pid>,
) -> Result<Vec<Place>, FileError> {
    if let Some(pid) = pid {
        let places = of_process(root, mounts, controller, &pid.to_string())?;
        if !places.is_empty() {
            return Ok(places);
        }
    }
    let at = |path: &str| {
        let place = |mount: &PathBuf| Place {
            mount: mount.clone(),
            path: path.to_owned(),
        };
        mounts.all().map(place).collect::<Vec<_>>()
    };
    if let Some(vmid) = vmid {
        let mut slices = at(&format!("{QEMU_SLICE}/{vmid}.scope"));
        slices.retain(|place| place.mount.join(QEMU_SLICE).is_dir());
        if !slices.is_empty() {
            return Ok(slices);
        }
    }
    let mut places = Vec::new();
    if !root.is_live() {
        places = of_process(root, mounts, controller, "self")?;
    }
    if places.is_empty() {
        places = at("");
    }
    Ok(places)
}

/// The cgroup of a process; empty where /proc says nothing of it. A controller is bound to one hierarchy: where a v1 line names
/// it, the v2 line does not speak of it.
fn of_process(
    root: &Root,
    mounts: &Mounts,
    controller: &str,
    pid: &str,
) -> Result<Vec<Place>, FileError> {
    let mut reader = Reader::below(root.proc());
    let at = |mounts: &[PathBuf], path: &str| {
        let path = below_mount(path);
        let place = |mount: &PathBuf| Place {
            mount: mount.clone(),
            path: path.clone(),
        };
        mounts.iter().map(place).collect::<Vec<_>>()
    };
    // "4:cpuset:/user.slice", "0::/qemu.slice/100.scope"
    if let Some(text) = reader.read(format_args!("{pid}/cgroup"))? {
        let lines = || {
            text.lines().filter_map(|line| {
                let mut fields = line.splitn(3, ':');
                Some((fields.next()?, fields.next()?, fields.next()?))
            })
        };
        let v1 = lines().find(|(_, names, _)| names.split(',').any(|name| name == controller));
        if let Some((_, _, path)) = v1 {
            return Ok(at(&mounts.v1, path));
        }
        if let Some((_, _, path)) = lines().find(|(id, names, _)| *id == "0" && names.is_empty()) {
            return Ok(at(&mounts.v2, path));
        }
    }
    if controller == "cpuset"
        && let Some(text) = reader.read(format_args!("{pid}/cpuset"))?
    {
        return Ok(at(&mounts.v1, text)
            .into_iter()
            .chain(at(&mounts.v2, text))
            .collect());
    }
    Ok(Vec::new())
}

/// A path of /proc/PID/cgroup below its mount. One that leads out of it (seen from another cgroup namespace, "/../x") can't be
/// followed: the mount itself is the nearest that is known.
fn below_mount(path: &str) -> String {
    let path = super::error::trimmed(path);
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    if path.split('/').any(|part| part == "..") || parts.peek().is_none() {
        return String::new();
    }
    parts.collect::<Vec<_>>().join("/")
}

/// What a cgroup allows, or the nearest one above it that says so: one without the controller has no file, and in v1 one that
/// was not set up has an empty one.
fn nearest(place: &Place) -> Result<Option<CpuSet>, HostError> {
    let mut reader = Reader::of_sysfs(&place.mount);
    let mut path = place.path.as_str();
    loop {
        for file in FILES {
            let slash = if path.is_empty() { "" } else { "/" };
            let cpus = parse(&mut reader, format_args!("{path}{slash}{file}"), |text| {
                Ok(parse_list(text)?)
            })?;
            if let Some(cpus) = cpus.filter(|cpus: &CpuSet| !cpus.is_empty()) {
                return Ok(Some(cpus));
            }
        }
        if path.is_empty() {
            return Ok(None);
        }
        path = path.rsplit_once('/').map_or("", |(above, _)| above);
    }
}

/// Adds the isolated partitions below a cgroup. "isolated invalid (...)" is none.
fn add_partitions(
    reader: &mut Reader,
    path: &str,
    depth: usize,
    isolated: &mut CpuSet,
) -> Result<(), HostError> {
    /// A bound for dumps with links that go round.
    const DEEPEST: usize = 32;
    for name in reader.names(format_args!("{path}"))?.unwrap_or_default() {
        let child = if path.is_empty() {
            name
        } else {
            format!("{path}/{name}")
        };
        let partition = reader.read(format_args!("{child}/cpuset.cpus.partition"))?;
        let partition = partition.map(super::error::trimmed);
        if partition == Some("isolated") {
            let cpus = parse(reader, format_args!("{child}/{}", FILES[0]), |text| {
                Ok(parse_list(text)?)
            })?;
            *isolated = isolated.union(&cpus.unwrap_or_default());
        } else if partition != Some("root") {
            continue;
        }
        if depth < DEEPEST {
            add_partitions(reader, &child, depth + 1, isolated)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::host::testing::Tree;

    fn found(tree: &Tree, vmid: Option<u32>, pid: Option<i32>) -> Option<String> {
        let online: CpuSet = "0-7".parse().unwrap();
        let allowed = allowed(&tree.root(), &online, vmid.map(Vmid), pid.map(Pid));
        allowed.unwrap().map(|cpus| cpus.to_string())
    }

    fn v2() -> Tree {
        Tree::new()
            .file("sys/fs/cgroup/cpuset.cpus.effective", "0-7\n")
            .file("sys/fs/cgroup/qemu.slice/cpuset.cpus.effective", "2-7,64\n")
            .file(
                "sys/fs/cgroup/qemu.slice/100.scope/cpuset.cpus.effective",
                "4-7\n",
            )
            .file("sys/fs/cgroup/qemu.slice/101.scope/cgroup.procs", "")
            .file("sys/fs/cgroup/user.slice/cpuset.cpus.effective", "0-1\n")
            .file("proc/self/cgroup", "0::/user.slice/a/b\n")
            .file("proc/7/cgroup", "0::/qemu.slice/101.scope\n")
            .file("proc/8/cgroup", "0::/\n")
            .file("proc/9/cgroup", "0::/../../user.slice\n")
    }

    #[rstest]
    #[case::its_scope(Some(100), None, Some("4-7"))]
    #[case::slice_above_a_scope_without_the_controller(Some(101), Some(7), Some("2-7"))]
    #[case::slice_of_a_guest_that_does_not_run(Some(102), None, Some("2-7"))]
    #[case::process_before_vmid(Some(100), Some(8), None)]
    #[case::process_that_is_gone(Some(100), Some(77), Some("4-7"))]
    #[case::outside_the_namespace(None, Some(9), None)]
    #[case::neither_is_the_one_who_captured(None, None, Some("0-1"))]
    fn cgroup_v2(
        #[case] vmid: Option<u32>,
        #[case] pid: Option<i32>,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(found(&v2(), vmid, pid).as_deref(), expected);
    }

    #[test]
    fn without_a_slice_and_a_process_the_root_cgroup_counts() {
        let tree = Tree::new().file("sys/fs/cgroup/cpuset.cpus.effective", "0-5\n");
        assert_eq!(found(&tree, Some(100), None).as_deref(), Some("0-5"));
        assert_eq!(found(&Tree::new(), Some(100), Some(7)), None);
    }

    #[test]
    fn cgroup_v1_beside_v2() {
        let tree = Tree::new()
            .file("sys/fs/cgroup/unified/cgroup.procs", "")
            .file("sys/fs/cgroup/cpuset/cpuset.cpus", "0-7\n")
            .file("sys/fs/cgroup/cpuset/qemu.slice/cpuset.cpus", "0-5\n")
            .file(
                "sys/fs/cgroup/cpuset/qemu.slice/cpuset.effective_cpus",
                "0-4\n",
            )
            .file(
                "sys/fs/cgroup/cpuset/qemu.slice/100.scope/cpuset.cpus",
                "\n",
            )
            .file(
                "proc/7/cgroup",
                "4:cpuset,cpu:/qemu.slice/100.scope\n1:name=systemd:/\n0::/x\n",
            );
        // A cgroup that was not set up has an empty list: the one above counts.
        assert_eq!(found(&tree, None, Some(7)).as_deref(), Some("0-4"));
        assert_eq!(found(&tree, Some(100), None).as_deref(), Some("0-4"));
    }

    #[test]
    fn old_mounts_without_prefix() {
        let tree = Tree::new()
            .file("dev/cpuset/cpus", "0-7\n\0")
            .file("dev/cpuset/job/1.cluster/cpus", "3\n")
            .file("proc/self/cpuset", "/job/1.cluster\n");
        assert_eq!(found(&tree, Some(100), None).as_deref(), Some("3"));
    }

    #[test]
    fn a_bad_cpuset_is_an_error() {
        let tree = Tree::new().file("sys/fs/cgroup/cpuset.cpus.effective", "some\n");
        let e = allowed(&tree.root(), &CpuSet::new(), None, None).unwrap_err();
        assert!(e.to_string().ends_with(
            "sys/fs/cgroup/cpuset.cpus.effective: \"some\" is not a number or a range (expected a list like \"0-3,16-19\")"
        ));
    }

    #[test]
    fn partitions_of_older_kernels_say_so_themselves() {
        let top = "sys/fs/cgroup";
        let partition = |tree: Tree, path: &str, kind: &str, cpus: &str| {
            tree.file(&format!("{top}/{path}/cpuset.cpus.partition"), kind)
                .file(&format!("{top}/{path}/cpuset.cpus.effective"), cpus)
        };
        let tree = Tree::plain(8).file(&format!("{top}/cpuset.cpus.effective"), "0\n");
        let tree = partition(tree, "a", "isolated\n", "1-2\n");
        let tree = partition(tree, "b", "root\n", "3-4\n");
        let tree = partition(tree, "b/c", "isolated\n", "5\n");
        let tree = partition(
            tree,
            "d",
            "isolated invalid (Cpu list in cpuset.cpus not exclusive)\n",
            "6\n",
        );
        let tree = partition(tree, "e", "member\n", "7\n");
        let tree = partition(tree, "e/f", "isolated\n", "7\n");
        assert_eq!(tree.host().isolated.to_string(), "1-2,5");
        let tree = tree.file(&format!("{top}/cpuset.cpus.isolated"), "\n");
        assert!(tree.host().isolated.is_empty());
    }
}
