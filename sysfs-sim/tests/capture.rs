//! What is recorded of a machine, and what is not.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use numapin_sysfs_sim::{Entry, Host, Machine, Numbering, Recording, record};
use support::tempdir;

fn file(bytes: &[u8]) -> Entry {
    Entry::File(Arc::from(bytes))
}

#[test]
fn a_generated_tree_is_recorded_and_written_back_the_same() {
    let mut host = Host::grid(2, 2, 2, 2, 2).numbered(Numbering::RoundRobinNodes);
    host.offline = [9].into();
    host.quirks.trailing_nul = true;
    host.quirks.meminfo_blank_line = true;
    host.pci = vec![numapin_sysfs_sim::Pci {
        address: "0000:41:00.0".to_owned(),
        node: 1,
        ..Default::default()
    }];
    host.cgroup.of_self = Some("/qemu.slice/100.scope".to_owned());
    host.cgroup.qemu_slice = Some([1, 2].into());
    let dir = tempdir();
    let (first, second) = (dir.path().join("a"), dir.path().join("b"));
    host.write_tree(&first).unwrap();
    let recording = record(&first).unwrap();
    assert_eq!(recording.notes, Vec::<String>::new());
    let text = recording.to_string();
    Machine::from_text(&text, "x")
        .unwrap()
        .write_tree(&second)
        .unwrap();
    let again = record(&second).unwrap();
    assert_eq!(again, recording);
    assert_eq!(again.to_string(), text);
    // All that a description makes is recorded, but for the local CPUs' mask.
    let missing: Vec<String> = host
        .tree()
        .unwrap()
        .into_keys()
        .filter(|path| !recording.tree.contains_key(path))
        .collect();
    assert_eq!(missing, ["sys/devices/pci0000:41/0000:41:00.0/local_cpus"]);
}

#[test]
fn only_topology_is_recorded() {
    let dir = tempdir();
    Host::grid(1, 1, 1, 2, 1).write_tree(dir.path()).unwrap();
    let put = |path: &str, text: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put(
        "sys/devices/system/cpu/cpu0/topology/ppin",
        "0x30937ce0b46338b\n",
    );
    put("sys/devices/virtual/dmi/id/product_serial", "secret\n");
    put("proc/cmdline", "secret\n");
    put("etc/pve/qemu-server/100.conf", "name: secret\n");
    put(
        "sys/fs/cgroup/system.slice/docker-secret.scope/cpuset.cpus.effective",
        "0\n",
    );
    put("proc/4711/cgroup", "0::/secret\n");
    symlink("4711", dir.path().join("proc/self")).unwrap();
    put("proc/sys/kernel/osrelease", "6.8.12-pve\n");
    let text = record(dir.path()).unwrap().to_string();
    assert!(text.contains("\nproc/sys/kernel/osrelease = 6.8.12-pve\n"));
    for word in ["secret", "30937ce0b46338b", "proc/self", "4711"] {
        assert!(!text.contains(word), "{word} in\n{text}");
    }
}

#[test]
fn a_dump_keeps_the_cpu_sets_in_which_it_was_made() {
    let dir = tempdir();
    Host::grid(1, 1, 1, 4, 1).write_tree(dir.path()).unwrap();
    let put = |path: &str, text: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put("proc/self/cgroup", "4:cpuset:/a/b\n0::/../x\n");
    put("proc/self/cpuset", "/a/b\n");
    put("dev/cpuset/cpus", "0-3\n");
    put("dev/cpuset/a/cpus", "0-2\n");
    put("dev/cpuset/a/b/cpus", "0-1\n");
    put("dev/cpuset/c/cpus", "0\n");
    let tree = record(dir.path()).unwrap().tree;
    assert_eq!(tree.get("dev/cpuset/a/b/cpus"), Some(&file(b"0-1\n")));
    assert_eq!(tree.get("dev/cpuset/a/cpus"), Some(&file(b"0-2\n")));
    assert_eq!(tree.get("dev/cpuset/cpus"), Some(&file(b"0-3\n")));
    assert_eq!(tree.get("dev/cpuset/c/cpus"), None);
    assert!(tree.contains_key("proc/self/cgroup") && tree.contains_key("proc/self/cpuset"));
}

#[test]
fn what_can_not_be_recorded_becomes_a_note() {
    let dir = tempdir();
    Host::grid(1, 1, 1, 2, 1).write_tree(dir.path()).unwrap();
    fs::write(dir.path().join("secret"), "secret\n").unwrap();
    let cpu = dir.path().join("sys/devices/system/cpu");
    fs::write(cpu.join("online"), vec![b'1'; 300_000]).unwrap();
    fs::remove_file(cpu.join("present")).unwrap();
    std::os::unix::net::UnixListener::bind(cpu.join("present")).unwrap();
    fs::remove_file(cpu.join("cpu1/node0")).unwrap();
    symlink("../../../../../../secret", cpu.join("cpu1/node0")).unwrap();
    symlink("/", cpu.join("cpu0/topology/a\nb_id")).unwrap();
    let outside = tempdir();
    fs::write(outside.path().join("id"), "secret\n").unwrap();
    fs::remove_dir_all(cpu.join("cpu1/topology")).unwrap();
    symlink(outside.path(), cpu.join("cpu1/topology")).unwrap();
    let recording = record(dir.path()).unwrap();
    assert_eq!(
        recording.notes,
        [
            "sys/devices/system/cpu/cpu0/topology/a?b_id: not recorded: leads out of the machine",
            "sys/devices/system/cpu/cpu1/node0: not recorded: leads out of the machine",
            "sys/devices/system/cpu/cpu1/topology: not recorded: leads out of the machine",
            "sys/devices/system/cpu/online: not recorded: larger than 262144 bytes",
            "sys/devices/system/cpu/present: not recorded: not a regular file",
        ]
    );
    let text = recording.to_string();
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(Recording::parse(&text, "x").unwrap(), recording);
}
