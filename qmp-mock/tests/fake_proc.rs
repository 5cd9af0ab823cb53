//! The made-up entries of /proc, read back as anybody would read them.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Client, mock, status, tempdir};
use numapin_qmp_mock::{Accel, FakeHost, Guest, Mock, RunState, Script, Threads, Vhost};
use serde_json::json;
use tempfile::TempDir;

fn proc(root: &TempDir, mock: &Mock) -> PathBuf {
    root.path().join(format!("proc/{}", mock.pid()))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// tid and comm of every task, in the order of ids.
fn tasks(dir: &Path) -> Vec<(u32, String)> {
    let entries = fs::read_dir(dir.join("task")).unwrap();
    let mut tasks: Vec<(u32, String)> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let tid = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            (tid, read(&path.join("comm")).trim_end().to_owned())
        })
        .collect();
    tasks.sort();
    tasks
}

fn names(dir: &Path) -> Vec<String> {
    tasks(dir).into_iter().map(|(_, comm)| comm).collect()
}

/// What the simulated kernel does.
fn set_mask(dir: &Path, tid: u32, cpus: &str) {
    let path = dir.join(format!("task/{tid}/status"));
    let old = format!(
        "Cpus_allowed_list:\t{}\n",
        status(&path, "Cpus_allowed_list")
    );
    fs::write(
        &path,
        read(&path).replace(&old, &format!("Cpus_allowed_list:\t{cpus}\n")),
    )
    .unwrap();
}

#[test]
fn a_proxmox_guest_has_all_that_proxmox_looks_at() {
    let guest = Guest {
        iothreads: vec!["iothread-virtioscsi0".to_owned()],
        vhost: Vhost::Tasks(2),
        workers: 1,
        ..Guest::proxmox(100, 1, 2)
    };
    let (root, mock) = mock(guest, Script::healthy());
    let dir = proc(&root, &mock);
    let pid = mock.pid();
    assert_eq!(
        read(&root.path().join("run/qemu-server/100.pid")),
        format!("{pid}\n")
    );
    assert_eq!(mock.socket(), root.path().join("run/qemu-server/100.qmp"));
    let cmdline = read(&dir.join("cmdline"));
    assert!(
        cmdline.starts_with("/usr/bin/kvm\0-id\x00100\0"),
        "{cmdline:?}"
    );
    assert!(
        cmdline.contains("\0-pidfile\0/var/run/qemu-server/100.pid\0"),
        "{cmdline:?}"
    );
    assert!(cmdline.contains("path=/var/run/qemu-server/100.qmp,") && cmdline.ends_with('\0'));
    assert_eq!(read(&dir.join("cgroup")), "0::/qemu.slice/100.scope\n");
    assert_eq!(read(&dir.join("comm")), "kvm\n");
    let vhost = format!("vhost-{pid}");
    assert_eq!(
        names(&dir),
        [
            "kvm",
            "call_rcu",
            "IO mon_iothread",
            "worker",
            &vhost,
            &vhost,
            "kvm",
            "CPU 0/KVM",
            "CPU 1/KVM"
        ]
    );
    for (tid, comm) in tasks(&dir) {
        let path = dir.join(format!("task/{tid}/status"));
        assert_eq!(status(&path, "Name"), comm);
        assert_eq!(status(&path, "Pid"), tid.to_string());
        assert_eq!(status(&path, "Tgid"), pid.to_string());
        assert_eq!(status(&path, "Threads"), "9");
        assert_eq!(status(&path, "Cpus_allowed"), "ffffffff");
        assert_eq!(status(&path, "Cpus_allowed_list"), "0-31");
        assert_eq!(status(&path, "Mems_allowed_list"), "0");
        assert!(
            read(&dir.join(format!("task/{tid}/stat"))).starts_with(&format!("{tid} ({comm}) S "))
        );
    }
    let told: Vec<u32> = mock.vcpu_tids();
    let named: Vec<u32> = tasks(&dir)
        .into_iter()
        .filter(|(_, comm)| comm.starts_with("CPU"))
        .map(|(tid, _)| tid)
        .collect();
    assert_eq!(told, named);
}

#[test]
fn new_threads_get_the_main_threads_mask_of_that_time() {
    let guest = Guest {
        vcpus: 2,
        ..Guest::proxmox(100, 1, 4)
    };
    let (root, mock) = mock(guest, Script::healthy());
    let dir = proc(&root, &mock);
    set_mask(&dir, mock.main_tid(), "4-7");
    set_mask(&dir, mock.vcpu_tids()[0], "9");
    assert_eq!(
        status(&dir.join("status"), "Cpus_allowed_list"),
        "4-7",
        "the process shows its main thread"
    );
    let mask = |tid: u32| status(&dir.join(format!("task/{tid}/status")), "Cpus_allowed_list");
    let vcpu = mock.plug_vcpu(3).unwrap();
    let iothread = mock.plug_iothread("iothread-scsi12345").unwrap();
    let worker = mock.add_thread("worker").unwrap();
    for tid in [vcpu, iothread, worker] {
        assert_eq!(mask(tid), "4-7");
        assert_eq!(
            status(&dir.join(format!("task/{tid}/status")), "Cpus_allowed"),
            "000000f0"
        );
    }
    let comm = |tid: u32| read(&dir.join(format!("task/{tid}/comm")));
    assert_eq!(comm(vcpu), "CPU 3/KVM\n");
    assert_eq!(comm(iothread), "IO iothread-scs\n");
    assert_eq!(
        mask(mock.vcpu_tids()[0]),
        "9",
        "what is there is not touched"
    );
    assert_eq!(mask(mock.vcpu_tids()[1]), "0-31");
    let again = mock.replace_vcpu_thread(0).unwrap();
    assert_eq!(mask(again), "4-7");
    mock.end_thread(worker).unwrap();
    mock.unplug_iothread("iothread-scsi12345").unwrap();
    mock.unplug_vcpu(3).unwrap();
    for tid in [vcpu, iothread, worker] {
        assert!(!dir.join(format!("task/{tid}")).exists());
    }
    assert!(
        mock.end_thread(vcpu)
            .unwrap_err()
            .to_string()
            .contains("has no added thread")
    );
}

#[test]
fn plugged_by_qmp_it_has_a_thread_at_once() {
    let guest = Guest {
        vcpus: 1,
        state: RunState::Inmigrate,
        ..Guest::proxmox(100, 1, 2)
    };
    let (root, mock) = mock(guest, Script::healthy());
    let mut client = Client::ready(&mock);
    let arguments = json!({
        "driver": "qemu64-x86_64-cpu", "id": "cpu2", "socket-id": 0, "core-id": 1, "thread-id": 0
    });
    assert_eq!(
        client.ask_with("device_add", arguments),
        json!({"return": {}})
    );
    assert_eq!(names(&proc(&root, &mock)).last().unwrap(), "CPU 1/KVM");
    assert_eq!(client.ask("query-status")["return"]["status"], "inmigrate");
}

#[test]
fn threads_are_named_as_the_accelerator_and_the_flag_have_it() {
    let of = |accel, debug_threads| {
        let guest = Guest {
            accel,
            debug_threads,
            ..Guest::plain("x", 1, 2)
        };
        let (root, mock) = mock(guest, Script::healthy());
        (names(&proc(&root, &mock)), mock.vcpu_tids())
    };
    let main = "qemu-system-x86";
    assert_eq!(
        of(Accel::TcgMulti, true).0,
        [
            main,
            "call_rcu",
            "IO mon_iothread",
            "CPU 0/TCG",
            "CPU 1/TCG"
        ]
    );
    let (single, tids) = of(Accel::TcgSingle, true);
    assert_eq!(
        single,
        [main, "call_rcu", "IO mon_iothread", "ALL CPUs/TCG"]
    );
    assert_eq!(tids[0], tids[1]);
    assert_eq!(of(Accel::Kvm, false).0, [main; 5]);
}

#[test]
fn taskset_cpuset_and_the_cgroups_files() {
    let root = tempdir();
    let mut host = FakeHost::with_cpus(root.path(), "0-39").unwrap();
    host.mems = "0-1".to_owned();
    host.pid = Some(4711);
    let guest = Guest {
        affinity: Some("2-5,33,99".to_owned()),
        cpuset: Some("0-3,32-39".to_owned()),
        numa_stat: [(0, 512), (1, 1)].into(),
        start_ticks: Some(777),
        busy: true,
        ..Guest::proxmox(7000, 1, 1)
    };
    let mock = Mock::spawn(
        guest.clone(),
        Threads::Fake(host.clone()),
        Script::healthy(),
    )
    .unwrap();
    let dir = proc(&root, &mock);
    assert!(dir.ends_with("proc/4711"));
    assert_eq!(status(&dir.join("status"), "Cpus_allowed"), "02,0000000c");
    assert_eq!(status(&dir.join("status"), "Cpus_allowed_list"), "2-3,33");
    assert_eq!(status(&dir.join("status"), "Mems_allowed_list"), "0-1");
    assert_eq!(read(&dir.join("stat")).split(' ').nth(21), Some("777"));
    let vcpu = mock.vcpu_tids()[0];
    // What taskset asked for is remembered, also for the threads to come.
    let asked = |tid: u32| read(&dir.join(format!("task/{tid}/requested_cpus")));
    assert_eq!(asked(vcpu), "2-5,33,99\n");
    fs::write(dir.join("task/4711/requested_cpus"), "0-7\n").unwrap();
    assert_eq!(asked(mock.add_thread("worker").unwrap()), "0-7\n");
    assert_eq!(
        status(&dir.join(format!("task/{vcpu}/status")), "State"),
        "R (running)"
    );
    assert_eq!(status(&dir.join("status"), "State"), "S (sleeping)");
    let scope = root.path().join("sys/fs/cgroup/qemu.slice/7000.scope");
    assert_eq!(read(&scope.join("cpuset.cpus.effective")), "0-3,32-39\n");
    assert!(read(&scope.join("memory.numa_stat")).starts_with("anon N0=536870912 N1=1048576\n"));
    let taken = Mock::spawn(guest.clone(), Threads::Fake(host), Script::healthy()).unwrap_err();
    assert!(
        taken
            .to_string()
            .contains("proc/4711: a process with this id is there already")
    );
    assert!(
        mock.socket().exists(),
        "a failed start takes nothing of another's away"
    );
    drop(mock);
    assert!(!scope.exists() && !dir.exists());
    let host = FakeHost::with_cpus(root.path(), "50-51").unwrap();
    let none = Mock::spawn(guest, Threads::Fake(host), Script::healthy()).unwrap_err();
    assert!(
        none.to_string()
            .starts_with("guest vm7000: taskset: no CPU of affinity"),
        "{none}"
    );
    let left: Vec<_> = fs::read_dir(root.path().join("proc")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_host_is_read_from_its_sysfs() {
    let root = tempdir();
    let system = root.path().join("sys/devices/system");
    for (file, text) in [
        ("cpu/online", "0-2,4\n"),
        ("cpu/possible", "0-63\n"),
        ("node/online", "0,2\n"),
    ] {
        fs::create_dir_all(system.join(file).parent().unwrap()).unwrap();
        fs::write(system.join(file), text).unwrap();
    }
    let host = FakeHost::at(root.path()).unwrap();
    let mock = Mock::spawn(
        Guest::plain("a", 1, 1),
        Threads::Fake(host),
        Script::healthy(),
    )
    .unwrap();
    let path = proc(&root, &mock).join("status");
    assert_eq!(status(&path, "Cpus_allowed"), "00000000,00000017");
    assert_eq!(status(&path, "Cpus_allowed_list"), "0-2,4");
    assert_eq!(status(&path, "Mems_allowed_list"), "0,2");
    assert_eq!(mock.socket(), root.path().join("run/a.qmp"));
}

#[test]
fn vhost_workers_of_old_kernels_are_processes_of_their_own() {
    let guest = Guest {
        vhost: Vhost::KernelThreads(1),
        ..Guest::proxmox(100, 1, 1)
    };
    let (root, mock) = mock(guest, Script::healthy());
    let name = format!("vhost-{}", mock.pid());
    assert!(!names(&proc(&root, &mock)).contains(&name));
    let of_kernel = || {
        let entries = fs::read_dir(root.path().join("proc")).unwrap();
        let dirs = entries.map(|entry| entry.unwrap().path());
        dirs.filter(|dir| read(&dir.join("comm")).trim_end() == name)
            .collect::<Vec<_>>()
    };
    let found = of_kernel();
    assert_eq!(found.len(), 1);
    assert_eq!(read(&found[0].join("cmdline")), "");
    assert_eq!(status(&found[0].join("status"), "PPid"), "2");
    assert_eq!(names(&found[0]).join(" "), name);
    mock.stop();
    assert!(of_kernel().is_empty());
}

#[test]
fn impossible_guests_are_refused_and_leave_nothing() {
    let root = tempdir();
    let start = |guest: Guest| {
        let host = FakeHost::with_cpus(root.path(), "0-3").unwrap();
        Mock::spawn(guest, Threads::Fake(host), Script::healthy())
            .unwrap_err()
            .to_string()
    };
    let base = || Guest::proxmox(100, 1, 4);
    assert_eq!(
        start(Guest {
            sockets: 0,
            ..base()
        }),
        "guest vm100: 0 possible vCPUs, expected 1 to 4096"
    );
    assert_eq!(
        start(Guest { vcpus: 5, ..base() }),
        "guest vm100: vcpus 5 of 4 possible ones"
    );
    assert_eq!(
        start(Guest {
            vcpus: 2,
            plugged: vec![1],
            ..base()
        }),
        "guest vm100: vCPU 1 is plugged twice"
    );
    assert_eq!(
        start(Guest {
            plugged: vec![9],
            ..base()
        }),
        "guest vm100: plugged vCPU 9 of 4 possible ones"
    );
    assert_eq!(
        start(base().numa(&["0-1", "1-3"])),
        "guest vm100: CPU 1 is already assigned to node-id: 0"
    );
    assert_eq!(
        start(base().numa(&["0-4"])),
        "guest vm100: CPU index (4) should be smaller than maxcpus (4)"
    );
    assert!(start(base().numa(&["x"])).starts_with("\"x\" is no list of ids"));
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}
