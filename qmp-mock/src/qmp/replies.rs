//! Values of the query commands, in the shape QEMU gives them (recorded from 7.2 and 10.0).

use serde_json::{Value, json};

use crate::cmdline::memory_backends;
use crate::guest::{Accel, Guest, QemuVersion, RunState};
use crate::machine::Machine;

/// The greeting.
pub(crate) fn greeting(guest: &Guest) -> Value {
    json!({ "QMP": { "version": version(guest), "capabilities": ["oob"] } })
}

/// query-version.
pub(crate) fn version(guest: &Guest) -> Value {
    let (major, minor, micro, package) = match guest.qemu {
        QemuVersion::V7_2 => (7, 2, 22, "Debian 1:7.2+dfsg-7+deb12u18"),
        QemuVersion::V10_0 => (10, 0, 2, "Debian 1:10.0.2+ds-2+deb13u1"),
    };
    json!({ "qemu": { "micro": micro, "minor": minor, "major": major }, "package": package })
}

/// query-cpus-fast: the vCPUs that are there, in plug order.
pub(crate) fn cpus_fast(machine: &Machine) -> Value {
    let cpus = machine.cpus.iter().map(|cpu| {
        json!({
            "thread-id": cpu.tid,
            "props": props(&machine.guest, cpu.index),
            "qom-path": cpu.qom_path,
            "cpu-index": cpu.index,
            "target": "x86_64",
        })
    });
    cpus.collect()
}

/// query-hotpluggable-cpus: all possible ones, the last first.
pub(crate) fn hotpluggable_cpus(machine: &Machine) -> Value {
    let guest = &machine.guest;
    let slots = (0..guest.max_vcpus()).rev().map(|index| {
        let mut slot = json!({
            "props": props(guest, index),
            "vcpus-count": 1,
            "type": guest.cpu_type(),
        });
        if let Some(cpu) = machine.cpus.iter().find(|cpu| cpu.index == index) {
            slot["qom-path"] = json!(cpu.qom_path);
        }
        slot
    });
    slots.collect()
}

/// query-iothreads: the newest first.
pub(crate) fn iothreads(machine: &Machine) -> Value {
    let threads = machine.iothreads.iter().rev().map(|(id, tid)| {
        json!({
            "poll-shrink": 0,
            "thread-id": tid,
            "aio-max-batch": 0,
            "poll-grow": 0,
            "poll-max-ns": 32768,
            "id": id,
        })
    });
    threads.collect()
}

/// query-status.
pub(crate) fn status(machine: &Machine) -> Value {
    let name = match machine.state {
        RunState::Running => "running",
        RunState::Prelaunch => "prelaunch",
        RunState::Inmigrate => "inmigrate",
        RunState::Paused => "paused",
        RunState::Postmigrate => "postmigrate",
    };
    let mut status = json!({ "status": name, "running": machine.state == RunState::Running });
    if machine.guest.qemu == QemuVersion::V7_2 {
        status["singlestep"] = json!(false);
    }
    status
}

/// query-kvm.
pub(crate) fn kvm(guest: &Guest) -> Value {
    json!({ "enabled": guest.accel == Accel::Kvm, "present": true })
}

/// query-memdev.
pub(crate) fn memdev(guest: &Guest) -> Value {
    let backends = memory_backends(guest)
        .into_iter()
        .map(|(id, size, host_nodes)| {
            json!({
                "share": false,
                "reserve": true,
                "prealloc": false,
                "policy": if host_nodes.is_empty() { "default" } else { "bind" },
                "host-nodes": host_nodes,
                "size": size,
                "merge": true,
                "dump": true,
                "id": id,
            })
        });
    backends.collect()
}

/// Where a vCPU sits; `node-id` only with virtual nodes, `die-id` only with several dies.
fn props(guest: &Guest, index: u32) -> Value {
    let seat = guest.seat(index);
    let mut props = json!({
        "core-id": seat.core,
        "thread-id": seat.thread,
        "socket-id": seat.socket,
    });
    if let Some(node) = seat.node {
        props["node-id"] = json!(node);
    }
    if guest.dies > 1 {
        props["die-id"] = json!(seat.die);
    }
    props
}
