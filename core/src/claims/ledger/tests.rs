mod roundtrip;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use rstest::rstest;
use tempfile::TempDir;

use super::super::kept::{KeptNode, KeptPlan, KeptVcpu, SpareThreads};
use super::super::lock::LockError;
use super::*;
use crate::claims::Claims;
use crate::guest::{Guest, GuestName, GuestParts};
use crate::host::{Cpu, Host, Node};
use crate::id::{CoreId, CpuId, NodeId, Pid, Tid, VcpuId, VnodeId};
use crate::idset::CpuSet;
use crate::placement::{PlacedNode, PlacedVcpu, ThreadMasks, plan};
use crate::policy::{Mode, Overlap, Policy, Smt};
use crate::process::Task;
use crate::thread::{Process, ThreadKind};
use crate::thread::{Target, Thread};

pub(crate) fn machine() -> (TempDir, Root) {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let dir = dir.unwrap();
    put(&dir, "proc/sys/kernel/random/boot_id", "boot-1\n");
    let root = Root::captured(dir.path()).unwrap();
    (dir, root)
}

fn put(dir: &TempDir, path: &str, text: &str) {
    let path = dir.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn lives(dir: &TempDir, pid: i32, start: u64) {
    let text = format!("{pid} (kvm) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {start} 0");
    put(dir, &format!("proc/{pid}/stat"), &text);
}

fn lock(root: &Root) -> Lock {
    Lock::acquire(root, "numapin test", Duration::ZERO).unwrap()
}

fn set(list: &str) -> CpuSet {
    list.parse().unwrap()
}

fn process(pid: i32, start_time: u64) -> Process {
    Process {
        pid: Pid(pid),
        start_time,
    }
}

/// An entry of a guest with two vCPUs on CPUs 2 and 3.
pub(crate) fn entry(vmid: u32, process: Option<Process>) -> Entry {
    let vcpu = |n: u32| KeptVcpu {
        placed: PlacedVcpu {
            vcpu: VcpuId(n),
            virtual_node: VnodeId(0),
            host_nodes: "0".parse().unwrap(),
            cpus: [CpuId(n + 2)].into_iter().collect(),
        },
        claims: [CpuId(n + 2)].into_iter().collect(),
    };
    Entry {
        schema: SCHEMA,
        guest: GuestName(vmid.to_string()),
        vmid: Some(Vmid(vmid)),
        state: match process {
            Some(_) => EntryState::Applied,
            None => EntryState::Pending,
        },
        boot_id: "boot-1".into(),
        process,
        policy: KeptPolicy {
            text: "one-to-one".into(),
            source: "--policy".into(),
        },
        plan: KeptPlan {
            mode: Mode::OneToOne,
            smt: Smt::Spread,
            overlap: Overlap::Avoid,
            plugged: "0-1".parse().unwrap(),
            virtual_nodes: vec![KeptNode {
                placed: PlacedNode {
                    virtual_node: VnodeId(0),
                    vcpus: "0-1".parse().unwrap(),
                    host_nodes: "0".parse().unwrap(),
                },
                area: set("0-7"),
                node: set("0-7"),
            }],
            vcpus: vec![vcpu(0), vcpu(1)],
            threads: ThreadMasks::default(),
            spare: SpareThreads::default(),
        },
        found: Vec::new(),
        iothreads: [(Tid(4005), "iothread-scsi0".to_owned())].into(),
        promised_kib: [(NodeId(0), 1024)].into(),
    }
}

fn problems(root: &Root) -> Vec<String> {
    let entries = read(root).unwrap();
    entries.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_written_is_read_and_readable_by_all() {
    let (dir, root) = machine();
    lives(&dir, 4000, 77);
    let written = entry(100, Some(process(4000, 77)));
    write(&lock(&root), &written).unwrap();
    assert_eq!(read(&root).unwrap().alive, [written]);
    let mode = |path: &str| {
        let meta = fs::metadata(dir.path().join(path)).unwrap();
        meta.permissions().mode() & 0o777
    };
    assert_eq!(mode("run/numapin"), 0o755);
    assert_eq!(mode("run/numapin/100.json"), 0o644);
    assert_eq!(mode("run/numapin/lock"), 0o600, "nobody else may lock it");
}

#[rstest]
#[case::same_process("boot-1", 77, true)]
#[case::number_used_again("boot-1", 78, false)]
#[case::other_boot("boot-2", 77, false)]
fn an_entry_is_bound_to_its_process(#[case] boot: &str, #[case] start: u64, #[case] counts: bool) {
    let (dir, root) = machine();
    lives(&dir, 4000, start);
    put(&dir, "proc/sys/kernel/random/boot_id", boot);
    let lock = lock(&root);
    write(&lock, &entry(100, Some(process(4000, 77)))).unwrap();
    write(&lock, &entry(101, Some(process(4001, 77)))).unwrap();
    put(&dir, "run/numapin/102.json.new", "{");
    let entries = read(&root).unwrap();
    assert_eq!(entries.of(Vmid(100)).is_some(), counts);
    assert_eq!(entries.of_process(process(4000, 77)).is_some(), counts);
    assert_eq!(entries.dead.len(), if counts { 1 } else { 2 });
    for (vmid, there) in [(100, counts), (101, false)] {
        assert_eq!(of(&root, Some(Vmid(vmid)), None).unwrap().is_some(), there);
    }
    let tidied = tidy(&root, &lock).unwrap();
    assert_eq!(
        (tidied.alive.len(), tidied.dead.len()),
        (usize::from(counts), 0)
    );
    let left = if counts {
        vec!["100.json", "lock"]
    } else {
        vec!["lock"]
    };
    assert_eq!(read_names(lock.dir()).unwrap().unwrap(), left);
}

#[test]
fn a_pending_entry_counts_while_the_config_is_locked_or_its_qemu_lives() {
    let (dir, root) = machine();
    write(&lock(&root), &entry(100, None)).unwrap();
    let counts = || read(&root).unwrap().of(Vmid(100)).is_some();
    assert!(!counts(), "nobody is starting it");
    put(&dir, "run/lock/qemu-server/lock-100.conf", "");
    assert!(!counts(), "the file is there, and nobody holds it");
    let path = dir.path().join("run/lock/qemu-server/lock-100.conf");
    let config = File::open(path).unwrap();
    config.lock().unwrap();
    assert!(counts());
    drop(config);
    assert!(!counts());
    put(&dir, "run/qemu-server/100.pid", "4000\n");
    assert!(!counts(), "a leftover of its last run");
    lives(&dir, 4000, 5);
    assert!(counts());
}

#[rstest]
#[case::empty("", "{}: ends in the middle of an entry; {remove}")]
#[case::cut(
    "{\"schema\":1,\"guest\":\"1",
    "{}: ends in the middle of an entry; {remove}"
)]
#[case::nonsense(
    "\nx",
    "{}:2: is no entry of the ledger (expected value at line 2 column 1); {remove}"
)]
#[case::lacking(
    "{\"schema\":1}",
    "{}:1: is no entry of the ledger (missing field `guest` at line 1 column 12); {remove}"
)]
#[case::newer(
    "{\"schema\":2,\"shape\":[]}",
    "{}: has schema 2, and this numapin knows up to 1; use the newer one, or stop the guest and remove the file"
)]
fn a_file_that_is_no_entry_is_told_and_stops_no_other(#[case] text: &str, #[case] told: &str) {
    let (dir, root) = machine();
    lives(&dir, 4000, 77);
    let other = entry(101, Some(process(4000, 77)));
    write(&lock(&root), &other).unwrap();
    put(&dir, "run/numapin/100.json", text);
    let file = dir
        .path()
        .join("run/numapin/100.json")
        .display()
        .to_string();
    assert_eq!(
        problems(&root),
        [told.replace("{}", &file).replace("{remove}", REMOVE)]
    );
    assert_eq!(read(&root).unwrap().alive, [other]);
}

#[test]
fn every_cut_of_an_entry_is_noticed() {
    let text = entry(100, Some(process(4000, 77))).to_text();
    for end in 0..text.trim_end().len() {
        let cut = Entry::parse(Path::new("100.json"), "100", &text[..end]);
        assert!(
            matches!(cut, Err(LedgerError::Cut { .. })),
            "{end}: {cut:?}"
        );
    }
}

#[test]
fn links_and_what_others_can_write_are_not_used() {
    let (dir, root) = machine();
    let lock = lock(&root);
    let at = |name: &str| dir.path().join("run/numapin").join(name);
    put(&dir, "victim", "{}");
    symlink(dir.path().join("victim"), at("100.json")).unwrap();
    fs::create_dir(at("101.json")).unwrap();
    put(&dir, "run/numapin/102.json", "{}");
    fs::set_permissions(at("102.json"), fs::Permissions::from_mode(0o666)).unwrap();
    put(&dir, "run/numapin/103.json", &entry(104, None).to_text());
    fs::set_permissions(at("103.json"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(
        problems(&root),
        [
            format!(
                "{}: is a symbolic link, which is never followed here; remove it",
                at("100.json").display()
            ),
            format!("{}: is no file; remove it", at("101.json").display()),
            format!(
                "{}: can be written by others (mode 666); remove it, and find out who changed it",
                at("102.json").display()
            ),
            format!(
                "{}: holds the entry of \"104\"; {REMOVE}",
                at("103.json").display()
            ),
        ]
    );
    // Written over, a link is replaced and what it names left alone.
    symlink(dir.path().join("victim"), at("100.json.new")).unwrap();
    write(&lock, &entry(100, None)).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("victim")).unwrap(), "{}");
    assert!(fs::symlink_metadata(at("100.json")).unwrap().is_file());
}

#[test]
fn a_directory_that_is_a_link_is_refused() {
    let (dir, root) = machine();
    fs::create_dir_all(dir.path().join("run")).unwrap();
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    let link = dir.path().join("run/numapin");
    symlink(dir.path().join("elsewhere"), &link).unwrap();
    let told = format!(
        "{}: is a symbolic link, which is never followed here; remove it",
        link.display()
    );
    assert_eq!(read(&root).unwrap_err().to_string(), told);
    let refused = Lock::acquire(&root, "numapin apply 100", Duration::ZERO);
    assert!(matches!(refused, Err(LockError::Directory(e)) if e.to_string() == told));
    assert_eq!(
        fs::read_dir(dir.path().join("elsewhere")).unwrap().count(),
        0
    );
}

#[test]
fn a_starting_guest_is_promised_its_memory_and_a_running_one_has_it() {
    let mut parts = GuestParts::new("100", 1, 2);
    parts.memory_mib = Some(3);
    let guest = Guest::new(parts).unwrap();
    let cpu = |id| Cpu {
        id: CpuId(id),
        node: Some(NodeId(0)),
        package: None,
        die: None,
        core: CoreId(id),
        l3: None,
        kind: None,
    };
    let host = Host {
        nodes: vec![Node {
            cpus: set("0-3"),
            ..Node::default()
        }],
        cpus: (0..4).map(cpu).collect(),
        ..Host::default()
    };
    let policy = Policy {
        mode: Mode::Numa,
        ..Policy::default()
    };
    let plan = plan(&host, &guest, &Claims::default(), &policy).unwrap();
    for (process, state, promised) in [
        (None, EntryState::Pending, [(NodeId(0), 3072)].into()),
        (Some(process(4000, 1)), EntryState::Applied, BTreeMap::new()),
    ] {
        let text = KeptPolicy::default();
        let entry = Entry::new(&host, &guest, &plan, (&policy, text), process, "b".into());
        assert_eq!((entry.state, &entry.promised_kib), (state, &promised));
        assert_eq!((entry.schema, &*entry.boot_id), (SCHEMA, "b"));
        assert_eq!(entry.plan.placed(), plan.vcpus);
    }
}

#[test]
fn a_machine_without_ledger_has_no_entries() {
    let (_dir, root) = machine();
    let entries = read(&root).unwrap();
    assert!(entries.alive.is_empty() && entries.problems.is_empty());
}

fn target(tid: i32, started_by: u64, found: &str, wanted: &str) -> Target {
    Target {
        kind: ThreadKind::Emulator { name: "kvm".into() },
        thread: Thread {
            pid: Pid(4000),
            tid: Tid(tid),
        },
        started_by,
        found: set(found),
        unpinned: found == "0-7",
        wanted: set(wanted),
    }
}

fn masks(targets: &[Target]) -> Vec<String> {
    let text = |target: &Target| {
        format!(
            "{}: {} -> {}{}",
            target.thread.tid,
            target.found,
            target.wanted,
            if target.unpinned { ", unpinned" } else { "" }
        )
    };
    targets.iter().map(text).collect()
}

#[test]
fn the_mask_before_the_first_set_is_the_one_that_counts() {
    let mut entry = entry(100, Some(process(4000, 77)));
    entry.remember(&[target(4000, 1, "0-7", "6-7"), target(4001, 2, "0-3", "2")]);
    // Set once; then again with other masks. One thread is new in place of 4001, one inherited the main thread's mask.
    entry.remember(&[
        target(4000, 1, "6-7", "7"),
        target(4001, 9, "0-1", "3"),
        target(4002, 5, "6-7", "4"),
    ]);
    assert_eq!(
        masks(&entry.found),
        [
            "4000: 0-7 -> 7, unpinned",
            "4001: 0-1 -> 3",
            "4002: 0-7 -> 4, unpinned"
        ]
    );
    let task = |tid: i32, start_time, mask| Task {
        pid: Pid(4000),
        tid: Tid(tid),
        start_time,
        comm: "worker".into(),
        mask: set(mask),
    };
    let tasks = [
        task(4000, 1, "7"),
        task(4001, 10, "3"),
        task(4002, 5, "4"),
        task(4003, 6, "7"),
        task(4004, 6, "5"),
    ];
    assert_eq!(
        masks(&entry.way_back(&tasks)),
        [
            "4000: 0-7 -> 7, unpinned",
            "4002: 0-7 -> 4, unpinned",
            "4003: 0-7 -> 7, unpinned"
        ],
        "4001 is another thread by now, 4003 came later and inherited, 4004 is somebody else's doing"
    );
}
