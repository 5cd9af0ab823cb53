//! Replies that lie about vCPUs and threads, and threads that end at the wrong time.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;

use common::{CPUS, Client, cpus, faulty, guest, mock};
use numapin_qmp_mock::{At, Fault, LyingTid, Mock, Pick, Script};
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

fn list(reply: &Value, key: &str) -> Vec<i64> {
    let cpus = reply["return"].as_array().unwrap().iter();
    cpus.map(|cpu| cpu[key].as_i64().unwrap()).collect()
}

#[test]
fn fields_replaced_removed_and_added() {
    let script = Script::of(Fault::Replace {
        at: cpus(),
        pointer: "/return/1/props/core-id".to_owned(),
        value: json!("one"),
    })
    .and(Fault::Remove {
        at: cpus(),
        pointer: "/return/2/thread-id".to_owned(),
    })
    .and(Fault::ExtraFields {
        at: At::Any,
        fields: json!({"x-new": {"a": 1}}).as_object().cloned().unwrap(),
    })
    .and(Fault::Target {
        vcpu: Pick::Nth(3),
        target: "riscv128".to_owned(),
    });
    let (_root, mock) = mock(guest(), script);
    let mut client = Client::connect(mock.socket());
    let greeting = client.value();
    assert_eq!(greeting["x-new"], json!({"a": 1}));
    assert_eq!(greeting["QMP"]["version"]["x-new"], json!({"a": 1}));
    assert_eq!(client.ask("qmp_capabilities")["return"]["x-new"]["a"], 1);
    let reply = client.ask(CPUS);
    assert_eq!(reply["return"][1]["props"]["core-id"], "one");
    assert_eq!(reply["return"][2].get("thread-id"), None);
    assert_eq!(reply["return"][3]["target"], "riscv128");
    assert_eq!(reply["return"][0]["props"]["x-new"]["a"], 1);
}

#[rstest]
#[case(Pick::Nth(2), -1, [0, 1, -1, 3])]
#[case(Pick::Nth(0), 3, [3, 1, 2, 3])]
#[case(Pick::All, 99, [99; 4])]
fn lying_cpu_indexes(#[case] vcpu: Pick, #[case] index: i64, #[case] told: [i64; 4]) {
    let (_root, _mock, mut client) = faulty(Fault::CpuIndex { vcpu, index });
    assert_eq!(list(&client.ask(CPUS), "cpu-index"), told);
}

#[test]
fn lying_thread_ids() {
    for number in [0, 1, -5, i64::MAX] {
        let tid = LyingTid::Number(number);
        let (_root, mock, mut client) = faulty(Fault::ThreadId {
            vcpu: Pick::Nth(1),
            tid,
        });
        let told = list(&client.ask(CPUS), "thread-id");
        let real = mock.vcpu_tids();
        assert_eq!(told[1], number);
        assert_eq!(told[3], i64::from(real[3]));
    }
    let tid = LyingTid::OfVcpu(2);
    let (_root, mock, mut client) = faulty(Fault::ThreadId {
        vcpu: Pick::All,
        tid,
    });
    assert_eq!(
        list(&client.ask(CPUS), "thread-id"),
        [i64::from(mock.vcpu_tids()[2]); 4]
    );
    let tid = LyingTid::Process;
    let (_root, mock, mut client) = faulty(Fault::ThreadId {
        vcpu: Pick::Nth(0),
        tid,
    });
    assert_eq!(
        list(&client.ask(CPUS), "thread-id")[0],
        i64::from(mock.pid())
    );
    let tid = LyingTid::Dead;
    let (root, mock, mut client) = faulty(Fault::ThreadId {
        vcpu: Pick::Nth(0),
        tid,
    });
    let dead = list(&client.ask(CPUS), "thread-id")[0];
    assert!(!task(&root, &mock, dead).exists());
}

#[test]
fn vcpus_left_out_and_listed_twice() {
    let (_root, _mock, mut client) = faulty(Fault::Omit { vcpu: Pick::Nth(1) });
    assert_eq!(list(&client.ask(CPUS), "cpu-index"), [0, 2, 3]);
    let (_root, _mock, mut client) = faulty(Fault::Twice { vcpu: Pick::Nth(1) });
    assert_eq!(list(&client.ask(CPUS), "cpu-index"), [0, 1, 1, 2, 3]);
}

/// The reply names a thread that is gone by the time it is read.
#[test]
fn a_thread_dies_between_question_and_pinning() {
    let (root, mock) = mock(guest(), Script::of(Fault::Dies { vcpu: Pick::Nth(2) }));
    let before = mock.vcpu_tids();
    let mut client = Client::ready(&mock);
    assert!(task(&root, &mock, before[2].into()).exists());
    let told = list(&client.ask(CPUS), "thread-id");
    assert_eq!(told[2], i64::from(before[2]));
    assert!(!task(&root, &mock, told[2]).exists());
    assert!(task(&root, &mock, told[1]).exists());
}

#[test]
fn a_thread_is_replaced_between_question_and_pinning() {
    let script = Script::healthy().and_on(&[1], Fault::Reborn { vcpu: Pick::Nth(2) });
    let (root, mock) = mock(guest(), script);
    let mut client = Client::ready(&mock);
    let old = list(&client.ask(CPUS), "thread-id");
    assert!(!task(&root, &mock, old[2]).exists());
    drop(client);
    let new = list(&Client::ready(&mock).ask(CPUS), "thread-id");
    assert_ne!(new[2], old[2]);
    assert_eq!((new[0], new[1], new[3]), (old[0], old[1], old[3]));
    assert!(task(&root, &mock, new[2]).exists());
}

fn task(root: &TempDir, mock: &Mock, tid: i64) -> PathBuf {
    root.path().join(format!("proc/{}/task/{tid}", mock.pid()))
}
