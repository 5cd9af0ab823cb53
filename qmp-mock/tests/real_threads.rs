//! Real threads, of this process and of the program.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{Client, status, tempdir, wait_for};
use numapin_qmp_mock::{Guest, Mock, RealHost, Script, Threads};
use serde_json::{Value, json};

fn comm(pid: u32, tid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/comm")).unwrap_or_default();
    text.trim_end().to_owned()
}

#[test]
fn they_are_tasks_of_this_process() {
    let dir = tempdir();
    let host = RealHost::at(dir.path().join("x.qmp"));
    let guest = Guest {
        iothreads: vec!["io0".to_owned()],
        vcpus: 3,
        ..Guest::plain("real", 1, 4)
    };
    let mock = Mock::spawn(guest, Threads::Real(host), Script::healthy()).unwrap();
    let me = std::process::id();
    assert_eq!(mock.pid(), me);
    for vcpu in mock.vcpus() {
        assert_eq!(comm(me, vcpu.tid), format!("CPU {}/KVM", vcpu.index));
    }
    assert_eq!(comm(me, mock.iothread_tids()[0].1), "qemu-system-x86");
    assert_eq!(comm(me, mock.main_tid()), "qmp-mock");
    let told = Client::ready(&mock).ask("query-cpus-fast");
    let tids: Vec<u64> = told["return"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cpu| cpu["thread-id"].as_u64().unwrap())
        .collect();
    assert_eq!(
        tids,
        mock.vcpu_tids()
            .iter()
            .map(|&tid| u64::from(tid))
            .collect::<Vec<_>>()
    );
    let plugged = mock.plug_vcpu(3).unwrap();
    assert_eq!(comm(me, plugged), "CPU 3/KVM");
    let old = mock.vcpu_tids()[0];
    let new = mock.replace_vcpu_thread(0).unwrap();
    wait_for("the old thread is gone", || comm(me, old).is_empty());
    assert_eq!(comm(me, new), "CPU 0/KVM");
    let all = mock.vcpu_tids();
    mock.stop();
    for tid in all {
        wait_for("the thread is gone", || comm(me, tid).is_empty());
    }
}

#[test]
fn busy_ones_run() {
    let dir = tempdir();
    let guest = Guest {
        busy: true,
        ..Guest::plain("busy", 1, 1)
    };
    let host = RealHost::at(dir.path().join("x.qmp"));
    let mock = Mock::spawn(guest, Threads::Real(host), Script::healthy()).unwrap();
    let path = format!("/proc/{}/task/{}/status", mock.pid(), mock.vcpu_tids()[0]);
    wait_for("it runs", || {
        status(Path::new(&path), "State").starts_with('R')
    });
}

/// A running program, killed if a test fails before it has ended.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // Ended already, most likely.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(args: &[&str], argv0: &str) -> (Program, Value) {
    let child = Command::new(env!("CARGO_BIN_EXE_numapin-qmp-mock"))
        .arg0(argv0)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut program = Program(child);
    let mut line = String::new();
    BufReader::new(program.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    (program, serde_json::from_str(&line).unwrap())
}

/// As a process it looks like a QEMU of Proxmox VE to who reads its command line, and its peer id is its own.
#[test]
fn the_program_is_a_process_of_its_own() {
    let dir = tempdir();
    let (socket, pid_file) = (dir.path().join("100.qmp"), dir.path().join("100.pid"));
    let (socket, pid_file) = (socket.to_str().unwrap(), pid_file.to_str().unwrap());
    let args = [
        "--socket",
        socket,
        "--pid-file",
        pid_file,
        "--vmid",
        "100",
        "--sockets",
        "2",
        "--cores",
        "2",
        "--numa",
        "--vcpus",
        "1",
        "--plugged",
        "3,1",
        "--iothread",
        "io0",
        "--with-stdin",
        "--",
        "-id",
        "100",
        "-pidfile",
        pid_file,
    ];
    let (mut program, ready) = start(&args, "/usr/bin/kvm");
    let pid = program.0.id();
    assert_eq!(ready["pid"], pid);
    assert_eq!(ready["main_tid"], pid, "the mock runs on the main thread");
    assert_eq!(fs::read_to_string(pid_file).unwrap(), format!("{pid}\n"));
    let cmdline = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(cmdline.starts_with("/usr/bin/kvm\0"));
    assert!(cmdline.ends_with(&format!("\0-pidfile\0{pid_file}\0")));
    let indexes: Vec<u64> = ready["vcpus"]
        .as_array()
        .unwrap()
        .iter()
        .map(|vcpu| vcpu["index"].as_u64().unwrap())
        .collect();
    assert_eq!(indexes, [0, 3, 1]);
    let tid = u32::try_from(ready["vcpus"][1]["tid"].as_u64().unwrap()).unwrap();
    assert_eq!(comm(pid, tid), "CPU 3/KVM");
    let mut client = Client::connect(Path::new(socket));
    client.value();
    client.ask("qmp_capabilities");
    let cpus = client.ask("query-cpus-fast");
    assert_eq!(
        cpus["return"][1]["props"],
        json!({"core-id": 1, "thread-id": 0, "socket-id": 1, "node-id": 1})
    );
    drop(program.0.stdin.take());
    assert!(program.0.wait().unwrap().success());
    assert!(!Path::new(socket).exists() && !Path::new(pid_file).exists());
}

#[test]
fn the_program_takes_files_and_ends_on_quit() {
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let guest = json!({"vmid": 7, "name": "seven", "cores": 2, "qemu": "7.2", "unplug": {"after": 10}, "vhost": {"tasks": 1}});
    fs::write(path("guest.json"), guest.to_string()).unwrap();
    let script = json!({"rules": [{"fault": {"close": {"at": "greeting"}}, "connections": [1]}]});
    fs::write(path("script.json"), script.to_string()).unwrap();
    let (root, guest, script) = (path("root"), path("guest.json"), path("script.json"));
    let args = [
        "--root",
        &root,
        "--guest",
        &guest,
        "--script",
        &script,
        "--affinity",
        "0",
        "--pid",
        "77",
    ];
    let (mut program, ready) = start(&args, "numapin-qmp-mock");
    assert_eq!(ready["pid"], 77);
    let socket = Path::new(ready["socket"].as_str().unwrap()).to_owned();
    assert!(socket.ends_with("root/run/qemu-server/7.qmp"));
    assert!(Client::connect(&socket).is_closed());
    let mut client = Client::connect(&socket);
    client.value();
    client.ask("qmp_capabilities");
    assert_eq!(client.ask("query-name")["return"]["name"], "seven");
    client.ask("quit");
    assert!(program.0.wait().unwrap().success());
    assert!(!socket.exists());
}

#[test]
fn the_program_tells_wrong_input_apart() {
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_numapin-qmp-mock"))
            .args(args)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let dir = tempdir();
    let root = dir.path().to_str().unwrap();
    let (code, text) = run(&["--root", root, "--cores", "0"]);
    assert_eq!(
        (code, text.as_str()),
        (
            Some(2),
            "numapin-qmp-mock: guest guest: 0 possible vCPUs, expected 1 to 4096\n"
        )
    );
    let (code, text) = run(&["--socket", "/proc/nope/x.qmp"]);
    assert_eq!(code, Some(1));
    assert!(text.starts_with("numapin-qmp-mock: /proc/nope: "), "{text}");
    assert_eq!(run(&[]).0, Some(2));
}

/// As with QEMU: what is plugged inherits the main thread's mask; what is there keeps its own.
#[test]
fn plugged_threads_inherit_the_main_threads_mask() {
    let dir = tempdir();
    let socket = dir.path().join("x.qmp");
    let args = [
        "--socket",
        socket.to_str().unwrap(),
        "--cores",
        "2",
        "--vcpus",
        "1",
    ];
    let (program, ready) = start(&args, "qemu-system-x86_64");
    let pid = program.0.id();
    let mask = |tid: &Value| {
        let path = format!("/proc/{pid}/task/{tid}/status");
        status(Path::new(&path), "Cpus_allowed_list")
    };
    let before = mask(&ready["main_tid"]);
    let first = before.split([',', '-']).next().unwrap();
    let taskset = Command::new("taskset")
        .args(["-pc", first, &pid.to_string()])
        .output();
    if first == before || !taskset.is_ok_and(|output| output.status.success()) {
        eprintln!("passed over: one CPU only, or no taskset");
        return;
    }
    let mut client = Client::connect(&socket);
    client.value();
    client.ask("qmp_capabilities");
    let arguments = json!({
        "driver": "qemu64-x86_64-cpu", "id": "cpu2", "socket-id": 0, "core-id": 1, "thread-id": 0
    });
    client.ask_with("device_add", arguments);
    client.ask_with("object-add", json!({"qom-type": "iothread", "id": "late"}));
    let value = |client: &mut Client| loop {
        let value = client.value();
        if value.get("event").is_none() {
            break value;
        }
    };
    client.send(r#"{"execute":"query-cpus-fast"}"#);
    let cpus = value(&mut client);
    client.send(r#"{"execute":"query-iothreads"}"#);
    let iothreads = value(&mut client);
    assert_eq!(mask(&cpus["return"][0]["thread-id"]), before);
    assert_eq!(mask(&cpus["return"][1]["thread-id"]), first);
    assert_eq!(mask(&iothreads["return"][0]["thread-id"]), first);
}
