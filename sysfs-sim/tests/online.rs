//! CPUs of a written tree going offline and coming back, as the kernel does it.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use numapin_sysfs_sim::{Error, Host, Kind, Numbering, OnlineFiles, Quirks};
use support::{Files, tempdir};

/// Everything below a directory: files, links, directories.
fn all(root: &Path) -> Vec<(String, String)> {
    let (mut found, mut dirs) = (Vec::new(), vec![root.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let text = if path.is_symlink() {
                fs::read_link(&path).unwrap().to_str().unwrap().to_owned()
            } else if path.is_dir() {
                dirs.push(path.clone());
                String::new()
            } else {
                fs::read_to_string(&path).unwrap()
            };
            found.push((name, text));
        }
    }
    found.sort();
    found
}

fn fresh(host: &Host) -> Vec<(String, String)> {
    let dir = tempdir();
    host.write_tree(dir.path()).unwrap();
    all(dir.path())
}

#[test]
fn each_step_leaves_the_tree_that_would_have_been_written() {
    let mut host = Host::grid(2, 1, 2, 2, 2).numbered(Numbering::Blocked);
    let dir = tempdir();
    host.write_tree(dir.path()).unwrap();
    let start = all(dir.path());
    for cpu in [15, 7, 0, 5, 13, 4, 12, 6, 14] {
        host.set_online(dir.path(), cpu, false).unwrap();
        assert!(host.offline.has(cpu));
        assert_eq!(all(dir.path()), fresh(&host), "cpu {cpu} offline");
    }
    let read = Files::of_dir(dir.path());
    assert_eq!(read.cpu("online"), Some("1-3,8-11\n"));
    assert_eq!(read.node("node1/cpulist"), Some("\n"));
    assert_eq!(read.node("has_cpu"), Some("0\n"));
    assert_eq!(read.cpu("cpu0/online"), Some("0\n"));
    for cpu in [0, 15, 7, 5, 13, 4, 12, 6, 14] {
        host.set_online(dir.path(), cpu, true).unwrap();
        assert_eq!(all(dir.path()), fresh(&host), "cpu {cpu} back");
    }
    assert_eq!(all(dir.path()), start);
}

#[test]
fn a_bare_kernel_keeps_the_directory_of_the_cpu() {
    let quirks = Quirks {
        online_files: OnlineFiles::None,
        no_cpu_node_links: true,
        no_node_dir: true,
        masks_only: true,
        ..Quirks::default()
    };
    let mut host = Host {
        quirks,
        ..Host::grid(1, 1, 1, 4, 1)
    };
    let dir = tempdir();
    host.write_tree(dir.path()).unwrap();
    let start = all(dir.path());
    host.set_online(dir.path(), 2, false).unwrap();
    let cpu2 = dir.path().join("sys/devices/system/cpu/cpu2");
    assert_eq!(fs::read_dir(&cpu2).unwrap().count(), 0);
    host.set_online(dir.path(), 2, true).unwrap();
    assert_eq!(all(dir.path()), start);
}

#[test]
fn files_of_others_stay() {
    let mut host = Host::grid(1, 1, 1, 4, 1);
    host.kinds = vec![Kind {
        name: "core".to_owned(),
        pmu: true,
        capacity: None,
    }];
    let dir = tempdir();
    host.write_tree(dir.path()).unwrap();
    let scope = dir.path().join("sys/fs/cgroup/qemu.slice/100.scope");
    fs::create_dir_all(&scope).unwrap();
    fs::write(scope.join("memory.numa_stat"), "anon N0=0\n").unwrap();
    host.set_online(dir.path(), 3, false).unwrap();
    host.set_online(dir.path(), 3, false).unwrap();
    assert_eq!(
        fs::read_to_string(scope.join("memory.numa_stat")).unwrap(),
        "anon N0=0\n"
    );
    let names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["sys"], "nothing else is left behind");
}

#[test]
fn what_can_not_go_offline() {
    let mut host = Host::grid(1, 1, 1, 2, 1);
    let dir = tempdir();
    host.write_tree(dir.path()).unwrap();
    let error = host.set_online(dir.path(), 7, false).unwrap_err();
    assert!(matches!(error, Error::NoSuchCpu { cpu: 7, .. }));
    assert_eq!(
        error.to_string(),
        "cpu 7 is not a cpu of this machine, which has 0-1"
    );
    host.set_online(dir.path(), 0, false).unwrap();
    let error = host.set_online(dir.path(), 1, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "machine description: offline: no cpu is left online"
    );
    assert_eq!(host.offline.to_string(), "0");
    assert_eq!(Files::of_dir(dir.path()).cpu("online"), Some("1\n"));
}
