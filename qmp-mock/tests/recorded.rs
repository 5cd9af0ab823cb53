//! Replies against those that real QEMU 7.2 and 10.0 gave to the same commands for the same guest.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::{Client, load, mock, recorded};
use numapin_qmp_mock::{Accel, Guest, QemuVersion, RunState, Script, Unplug, VirtualNode};
use serde_json::{Value, json};

/// Every field, its name, its kind and its value are the same, but for thread ids, package names and patch levels.
#[test]
fn every_reply_is_as_recorded() {
    let Some(dir) = recorded() else { return };
    let mut seen = BTreeSet::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let record = load(&path);
        if record.get("cmd").is_none() {
            continue;
        }
        let guest = guest_of(&record);
        let (_root, mock) = mock(guest, Script::healthy());
        let mut client = Client::connect(mock.socket());
        let mut compare = |what: &str, reply: Value| {
            let Some(real) = record.get(what) else { return };
            assert_eq!(normal(&reply), normal(real), "{what} of {}", path.display());
            seen.insert(what.to_owned());
        };
        compare("greeting", client.value());
        compare("before_capabilities", client.ask("query-status"));
        compare("qmp_capabilities", client.ask("qmp_capabilities"));
        for command in [
            "query-status",
            "query-cpus-fast",
            "query-iothreads",
            "query-name",
            "query-hotpluggable-cpus",
            "query-kvm",
            "query-version",
            "query-memdev",
            "query-uuid",
        ] {
            compare(command, client.ask(command));
        }
        client.send(r#"{"execute":"query-status","id":"x:1"}"#);
        compare("with_id", client.value());
        compare("unknown", client.ask("nope"));
        compare("query-cpus_old", client.ask("query-cpus"));
        client.send(r#"{"execute":"cont"}"#);
        assert_eq!(client.value()["event"], "RESUME");
        compare("cont", client.value());
        compare("query-cpus-fast_running", client.ask("query-cpus-fast"));
        compare("first_still_ok", client.ask("query-status"));
        let shared = tids(&record["query-cpus-fast"]) == 1;
        let vcpus = mock.vcpu_tids();
        let ours: BTreeSet<_> = vcpus.iter().collect();
        assert_eq!(ours.len() == 1, shared, "{}", path.display());
    }
    assert_eq!(seen.len(), 18, "every kind of reply was compared: {seen:?}");
}

/// Plugging and unplugging, step by step, with the errors QEMU gave.
#[test]
fn plugging_is_as_recorded() {
    let Some(dir) = recorded() else { return };
    for (file, accel) in [
        ("hotplug-kvm.json", Accel::Kvm),
        ("hotplug-tcg-thread_multi.json", Accel::TcgMulti),
    ] {
        let record = load(&dir.join(file));
        let steps = record.as_array().unwrap();
        let step = |name: &str| {
            let found = steps.iter().find(|step| step["step"] == name);
            found.unwrap_or_else(|| panic!("{file} has no step {name}"))
        };
        let guest = Guest {
            vcpus: 2,
            accel,
            qemu: QemuVersion::V7_2,
            state: RunState::Prelaunch,
            unplug: Unplug::NotBooted,
            ..Guest::proxmox(100, 1, 8).numa(&["0-3", "4-7"])
        };
        let (_root, mock) = mock(guest, Script::healthy());
        let mut client = Client::ready(&mock);
        let cpu = |id: &str, core: Value| json!({"driver": "qemu64-x86_64-cpu", "id": id, "socket-id": 0, "core-id": core, "thread-id": 0});
        let mut odd = cpu("cpu9", json!(6));
        odd["driver"] = json!("max-x86_64-cpu");
        let io = json!({"qom-type": "iothread", "id": "iothread-hp"});
        let at = |path: &str| json!({ "id": path });
        for (name, command, arguments) in [
            ("hotpluggable", "query-hotpluggable-cpus", json!({})),
            (
                "device_add core5 (out of order)",
                "device_add",
                cpu("cpu6", json!(5)),
            ),
            (
                "device_add core2 by string ints",
                "device_add",
                cpu("cpu3", json!("2")),
            ),
            ("cpus after", "query-cpus-fast", json!({})),
            ("dup add", "device_add", cpu("cpu9", json!(5))),
            ("bad core", "device_add", cpu("cpu9", json!(9))),
            ("wrong model", "device_add", odd),
            ("object-add iothread", "object-add", io),
            ("query-iothreads", "query-iothreads", json!({})),
            ("device_del cpu6 (paused)", "device_del", at("cpu6")),
            ("device_del cpu6 again", "device_del", at("cpu6")),
            (
                "device_del boot cpu by qom path",
                "device_del",
                at("/machine/unattached/device[0]"),
            ),
            (
                "device_del boot cpu1 by qom path",
                "device_del",
                at("/machine/unattached/device[2]"),
            ),
            ("device_del unknown", "device_del", at("nope")),
            ("object-del iothread", "object-del", at("iothread-hp")),
        ] {
            let reply = client.ask_with(command, arguments);
            assert_eq!(
                normal(&reply),
                normal(&step(name)["result"]),
                "{name} of {file}"
            );
        }
        assert_eq!(client.ask("query-iothreads"), json!({"return": []}));
        for name in ["cont", "stop", "system_reset", "quit"] {
            client.send(json!({ "execute": name }).to_string());
            let (first, second) = (client.value(), client.value());
            let (event, reply) = if name == "quit" {
                (second, first)
            } else {
                (first, second)
            };
            assert_eq!(
                normal(&reply),
                normal(&step(name)["result"]),
                "{name} of {file}"
            );
            assert_eq!(
                normal(&event),
                normal(&step(name)["events"][0]),
                "{name} of {file}"
            );
        }
        assert!(client.is_closed());
    }
}

/// ACPI_DEVICE_OST as a booted guest made QEMU send it.
#[test]
fn a_booted_guest_answers_as_recorded() {
    let Some(dir) = recorded() else { return };
    let record = load(&dir.join("hotplug-booted-guest--tcg.json"));
    let event = |name: &str| {
        let steps = record.as_array().unwrap();
        let step = steps.iter().find(|step| step["step"] == name).unwrap();
        normal(&step["events"][0])
    };
    let guest = Guest {
        vcpus: 2,
        unplug: Unplug::Refused,
        ..Guest::proxmox(100, 1, 8)
    };
    let (_root, mock) = mock(guest, Script::healthy());
    let mut client = Client::ready(&mock);
    let arguments = json!({
        "driver": "qemu64-x86_64-cpu", "id": "cpu6", "socket-id": 0, "core-id": 5, "thread-id": 0
    });
    let ok = json!({"return": {}});
    assert_eq!(client.ask_with("device_add", arguments.clone()), ok);
    assert_eq!(normal(&client.value()), event("after add"));
    assert_eq!(client.ask_with("device_del", json!({"id": "cpu6"})), ok);
    assert_eq!(normal(&client.value()), event("after del"));
    let again = client.ask_with("device_add", arguments);
    let real = record
        .as_array()
        .unwrap()
        .iter()
        .find(|step| step["step"] == "re-add");
    assert_eq!(again, real.unwrap()["result"]);
}

/// The guest that a recorded command line describes.
fn guest_of(record: &Value) -> Guest {
    let args: Vec<&str> = record["cmd"]
        .as_array()
        .unwrap()
        .iter()
        .map(|arg| arg.as_str().unwrap())
        .collect();
    let ten = record["greeting"]["QMP"]["version"]["qemu"]["major"] == 10;
    let mut guest = Guest {
        sockets: 1,
        cores: 1,
        state: RunState::Prelaunch,
        qemu: if ten {
            QemuVersion::V10_0
        } else {
            QemuVersion::V7_2
        },
        ..Guest::plain("vm100", 1, 1)
    };
    for pair in args.windows(2) {
        let (key, value) = (pair[0], pair[1]);
        let field = |name: &str| {
            let fields = value.split(',');
            fields
                .filter_map(|part| part.split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, v)| v)
        };
        let number = |name: &str| field(name).map(|v| v.parse().unwrap());
        match key {
            "-accel" => {
                guest.accel = match value {
                    "kvm" => Accel::Kvm,
                    "tcg,thread=single" => Accel::TcgSingle,
                    _ => Accel::TcgMulti,
                }
            }
            "-smp" => {
                guest.vcpus = value.split(',').next().unwrap().parse().unwrap();
                guest.sockets = number("sockets").unwrap();
                guest.cores = number("cores").unwrap();
                guest.threads = number("threads").unwrap_or(1);
            }
            "-m" => guest.memory_mib = value.parse().unwrap(),
            "-object" if value.starts_with("iothread,") => {
                guest.iothreads.push(field("id").unwrap().to_owned());
            }
            "-device" if value.contains("-x86_64-cpu") => {
                let cores = guest.cores;
                guest
                    .plugged
                    .push(number("socket-id").unwrap() * cores + number("core-id").unwrap());
            }
            "-numa" => {
                let ranges = value
                    .split(',')
                    .filter_map(|part| part.strip_prefix("cpus="));
                guest.nodes.push(VirtualNode {
                    cpus: ranges.collect::<Vec<_>>().join(","),
                    host_nodes: None,
                });
            }
            _ => {}
        }
    }
    guest
}

/// The reply without what differs from run to run: thread ids at the top, times, package and patch level, and the order of
/// memory backends (that of a hash).
fn normal(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let of_cpu = members.contains_key("cpu-index") || members.contains_key("poll-max-ns");
            let members = members.iter().map(|(key, member)| {
                let member = match key.as_str() {
                    "thread-id" if of_cpu => kind(member),
                    "package" | "micro" | "seconds" | "microseconds" => kind(member),
                    _ => normal(member),
                };
                (key.clone(), member)
            });
            Value::Object(members.collect())
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(normal).collect();
            if items.iter().any(|item| item.get("prealloc").is_some()) {
                items.sort_by_key(|item| item["id"].to_string());
            }
            Value::Array(items)
        }
        other => other.clone(),
    }
}

fn kind(value: &Value) -> Value {
    json!(match value {
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        _ => "something else",
    })
}

fn tids(reply: &Value) -> usize {
    let cpus = reply["return"].as_array().unwrap().iter();
    cpus.map(|cpu| cpu["thread-id"].as_u64())
        .collect::<BTreeSet<_>>()
        .len()
}
