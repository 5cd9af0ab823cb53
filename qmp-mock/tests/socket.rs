//! The socket: one client at a time, and paths of any depth.

#![allow(clippy::unwrap_used)]

mod common;

use std::io;
use std::time::Duration;

use common::{Client, mock, tempdir, wait_for};
use numapin_qmp_mock::{FakeHost, Fault, Guest, Mock, Mocks, RunState, Script, Threads, connect};
use serde_json::json;

#[test]
fn a_second_client_is_greeted_when_the_first_has_gone() {
    let (_root, mock) = mock(Guest::proxmox(100, 1, 4), Script::healthy());
    let mut first = Client::ready(&mock);
    let mut second = Client::connect(mock.socket());
    assert!(second.is_silent());
    second.send(r#"{"execute":"qmp_capabilities"}"#);
    assert!(second.is_silent());
    assert_eq!(
        first.ask("query-name"),
        json!({"return": {"name": "vm100"}})
    );
    drop(first);
    assert!(second.value()["QMP"].is_object());
    assert_eq!(second.value(), json!({"return": {}}));
}

/// As recorded: behind the client that is served two can wait, the next one's connect gets EAGAIN.
#[test]
fn the_backlog_holds_as_many_as_qemus() {
    let (_root, mock) = mock(Guest::proxmox(100, 1, 4), Script::healthy());
    let _held = mock.hold().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut waiting = Vec::new();
        for _ in 0..2 {
            waiting.push(
                tokio::net::UnixStream::connect(mock.socket())
                    .await
                    .unwrap(),
            );
        }
        let third = tokio::net::UnixStream::connect(mock.socket()).await;
        assert_eq!(third.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    });
}

#[test]
fn another_client_holds_the_socket_for_a_while() {
    let (_root, mock) = mock(
        Guest::proxmox(100, 1, 4),
        Script::of(Fault::Held { ms: 150 }),
    );
    let mut client = Client::connect(mock.socket());
    assert!(client.is_silent());
    assert!(client.value()["QMP"].is_object());
}

#[test]
fn a_socket_that_is_not_there_and_one_where_nobody_listens() {
    let (_root, absent) = mock(Guest::proxmox(100, 1, 4), Script::of(Fault::AbsentSocket));
    assert!(!absent.socket().exists());
    assert_eq!(
        connect(absent.socket()).unwrap_err().kind(),
        io::ErrorKind::NotFound
    );
    let (_root, refused) = mock(Guest::proxmox(100, 1, 4), Script::of(Fault::Refused));
    assert!(refused.socket().exists());
    assert_eq!(
        connect(refused.socket()).unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
    assert_eq!(
        refused.vcpu_tids().len(),
        4,
        "the process is there all the same"
    );
}

#[test]
fn a_root_deeper_than_a_socket_address() {
    let root = tempdir();
    let deep = root.path().join("d".repeat(100)).join("e".repeat(100));
    let host = FakeHost::with_cpus(&deep, "0-3").unwrap();
    let mock = Mock::spawn(
        Guest::proxmox(100, 1, 2),
        Threads::Fake(host),
        Script::healthy(),
    )
    .unwrap();
    assert!(mock.socket().as_os_str().len() > 200);
    let mut client = Client::ready(&mock);
    assert_eq!(client.ask("query-status")["return"]["status"], "running");
    let socket = mock.socket().to_owned();
    mock.stop();
    assert!(!socket.exists());
    assert!(client.is_closed());
}

#[test]
fn events_reach_only_who_has_negotiated() {
    let (_root, mock) = mock(Guest::proxmox(100, 1, 2), Script::healthy());
    let mut client = Client::connect(mock.socket());
    client.value();
    mock.set_state(RunState::Paused);
    assert!(client.is_silent());
    client.ask("qmp_capabilities");
    mock.tell("NIC_RX_FILTER_CHANGED", Some(json!({"path": "x"})));
    let event = client.value();
    assert_eq!(event["event"], "NIC_RX_FILTER_CHANGED");
    assert!(event["timestamp"]["seconds"].as_u64().unwrap() > 1_600_000_000);
    assert!(event["timestamp"]["microseconds"].as_u64().unwrap() < 1_000_000);
}

#[test]
fn errors_keep_the_id_and_the_connection() {
    let (_root, mock) = mock(Guest::proxmox(100, 1, 2), Script::healthy());
    let mut client = Client::ready(&mock);
    client.send(
        "{\"execute\":\"nope\",\"id\":{\"a\":[1]}}\nfoo\n{\"execute\":\"query-name\",\"id\":0}",
    );
    let unknown = client.value();
    assert_eq!(unknown["id"], json!({"a": [1]}));
    assert_eq!(unknown["error"]["class"], "CommandNotFound");
    assert_eq!(
        client.value()["error"],
        json!({"class": "GenericError", "desc": "JSON parse error, invalid keyword 'foo'"})
    );
    assert_eq!(
        client.value(),
        json!({"return": {"name": "vm100"}, "id": 0})
    );
    let twice = client.ask("qmp_capabilities");
    assert_eq!(twice["error"]["class"], "CommandNotFound");
}

#[test]
fn unplugging_takes_time_and_the_vcpu_stays_listed() {
    let guest = Guest {
        plugged: vec![2],
        vcpus: 2,
        unplug: numapin_qmp_mock::Unplug::After(80),
        ..Guest::proxmox(100, 1, 4)
    };
    let (_root, mock) = mock(guest, Script::healthy());
    let mut client = Client::ready(&mock);
    assert_eq!(
        client.ask_with("device_del", json!({"id": "cpu3"})),
        json!({"return": {}})
    );
    let listed = client.ask("query-cpus-fast");
    assert_eq!(listed["return"].as_array().unwrap().len(), 3);
    let event = client.value();
    assert_eq!(event["event"], "DEVICE_DELETED");
    assert_eq!(
        event["data"],
        json!({"device": "cpu3", "path": "/machine/peripheral/cpu3"})
    );
    assert_eq!(
        client.ask("query-cpus-fast")["return"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

/// As `qm set --vcpus` does it: by the human monitor's commands.
#[test]
fn proxmox_plugs_by_the_human_monitor() {
    let guest = Guest {
        vcpus: 1,
        ..Guest::proxmox(100, 2, 2)
    };
    let (_root, mock) = mock(guest, Script::healthy());
    let mut client = Client::ready(&mock);
    let line = "device_add qemu64-x86_64-cpu,id=cpu4,socket-id=1,core-id=1,thread-id=0";
    let human = |client: &mut Client, line: &str| {
        client.ask_with("human-monitor-command", json!({ "command-line": line }))["return"].clone()
    };
    assert_eq!(human(&mut client, line), "");
    assert_eq!(client.value()["event"], "ACPI_DEVICE_OST");
    assert_eq!(
        human(&mut client, line),
        "Error: Duplicate device ID 'cpu4'\r\n"
    );
    assert_eq!(human(&mut client, "frob"), "unknown command: 'frob'\r\n");
    let indexes: Vec<u32> = mock.vcpus().iter().map(|vcpu| vcpu.index).collect();
    assert_eq!(indexes, [0, 3]);
}

#[test]
fn quit_removes_what_qemu_removes() {
    let (root, mock) = mock(Guest::proxmox(100, 1, 2), Script::healthy());
    let mut client = Client::ready(&mock);
    assert_eq!(client.ask("quit"), json!({"return": {}}));
    let event = client.value();
    assert_eq!(event["event"], "SHUTDOWN");
    assert!(client.is_closed());
    wait_for("the mock has ended", || mock.has_ended());
    assert!(!mock.socket().exists());
    assert!(!mock.pid_file().unwrap().exists());
    assert!(!root.path().join(format!("proc/{}", mock.pid())).exists());
    assert_eq!(
        mock.plug_vcpu(1).unwrap_err().to_string(),
        "guest vm100 has ended"
    );
}

#[test]
fn a_mock_starts_where_a_dead_one_left_its_socket() {
    let root = tempdir();
    let mocks = Mocks::new().unwrap();
    let host = || Threads::Fake(FakeHost::with_cpus(root.path(), "0-3").unwrap());
    let mock = mocks
        .spawn(Guest::proxmox(100, 1, 1), host(), Script::healthy())
        .unwrap();
    let (socket, pid_file) = (
        mock.socket().to_owned(),
        mock.pid_file().unwrap().to_owned(),
    );
    let proc = root.path().join(format!("proc/{}", mock.pid()));
    mock.crash();
    assert!(socket.exists() && pid_file.exists() && !proc.exists());
    assert_eq!(
        connect(&socket).unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
    let again = mocks
        .spawn(Guest::proxmox(100, 1, 1), host(), Script::healthy())
        .unwrap();
    Client::ready(&again);
}

/// Dozens of guests on one thread.
#[test]
fn many_mocks_share_a_thread_and_no_id() {
    let root = tempdir();
    let mocks = Mocks::new().unwrap();
    let start = std::time::Instant::now();
    let running: Vec<Mock> = (0..40)
        .map(|n| {
            let host = FakeHost::with_cpus(root.path(), "0-255").unwrap();
            let guest = Guest::proxmox(100 + n, 2, 8).numa_per_socket();
            mocks
                .spawn(guest, Threads::Fake(host), Script::healthy())
                .unwrap()
        })
        .collect();
    let mut tids = std::collections::BTreeSet::new();
    for mock in &running {
        assert!(tids.insert(mock.pid()));
        for tid in mock.vcpu_tids() {
            assert!(tids.insert(tid), "thread {tid} twice");
        }
        let mut client = Client::ready(mock);
        assert_eq!(
            client.ask("query-cpus-fast")["return"]
                .as_array()
                .unwrap()
                .len(),
            16
        );
    }
    assert_eq!(tids.len(), 40 * 17);
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    drop(running);
    let left = std::fs::read_dir(root.path().join("proc")).unwrap().count();
    assert_eq!(left, 0);
}

/// Mocks that are started at once, as by several programs, share no id either.
#[test]
fn mocks_started_at_once_share_no_id() {
    let root = tempdir();
    let mocks: Vec<Mock> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8)
            .map(|n| {
                let host = FakeHost::with_cpus(root.path(), "0-3").unwrap();
                let start = move || {
                    Mock::spawn(
                        Guest::proxmox(100 + n, 1, 2),
                        Threads::Fake(host),
                        Script::healthy(),
                    )
                };
                scope.spawn(start)
            })
            .collect();
        starts
            .into_iter()
            .map(|start| start.join().unwrap().unwrap())
            .collect()
    });
    let pids: std::collections::BTreeSet<u32> = mocks.iter().map(Mock::pid).collect();
    assert_eq!(pids.len(), 8);
    for mock in &mocks {
        let pid = std::fs::read_to_string(mock.pid_file().unwrap()).unwrap();
        assert_eq!(pid, format!("{}\n", mock.pid()));
        Client::ready(mock);
    }
}
