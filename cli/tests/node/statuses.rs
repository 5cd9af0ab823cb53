//! `status`: wanted against actual.

use numapin_qmp_mock::Guest;
use serde_json::json;

use crate::lab::Node;

/// Sets the mask of a vCPU behind numapin's back.
pub(crate) fn taskset(
    node: &Node,
    guest: &numapin_qmp_mock::Mock,
    vcpu: usize,
    list: &str,
    mask: &str,
) {
    let tid = guest.vcpus()[vcpu].tid;
    let status = format!("proc/{}/task/{tid}/status", guest.pid());
    let text = node.read(&status);
    let lines = text.lines().map(|line| match line.split_once(':') {
        Some(("Cpus_allowed_list", _)) => format!("Cpus_allowed_list:\t{list}\n"),
        Some(("Cpus_allowed", _)) => format!("Cpus_allowed:\t{mask}\n"),
        _ => format!("{line}\n"),
    });
    node.write(&status, &lines.collect::<String>());
}

#[test]
fn a_guest_is_followed_from_stopped_to_held() {
    let node = Node::new();
    node.conf("100: one-to-one\n");
    node.config(100, "name: db1\ncores: 2\nmemory: 1024\n");
    let state = || {
        let (code, status) = node.json(&["status", "100"]);
        (
            code,
            status["guests"][0]["state"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(state(), (0, "stopped".into()));
    let mut mock = Guest::proxmox(100, 1, 2);
    mock.numa_stat = [(0, 900), (2, 100)].into();
    let guest = node.start(mock);
    assert_eq!(state(), (6, "unplaced".into()));
    node.ok(&["apply", "100"]);
    assert_eq!(state(), (0, "pinned".into()));
    taskset(&node, &guest, 1, "7", "00000080");
    assert_eq!(state(), (6, "drifted".into()));
    let (_, status) = node.json(&["status", "100"]);
    let vcpu = &status["guests"][0]["threads"][1];
    assert_eq!(
        (&vcpu["actual"], &vcpu["state"]),
        (&json!("7"), &json!("drifted")),
        "{vcpu}"
    );
    assert_eq!(
        status["guests"][0]["memory_mib"],
        json!({"0": 900, "2": 100})
    );
    let text = node.run(&["status", "100"]);
    assert_eq!(text.code, 6, "{text:?}");
    assert!(
        text.out.starts_with(
            "guest 100 (db1): drifted; policy one-to-one (numapin.conf line 1); process "
        ),
        "{text:?}"
    );
    assert!(
        text.out.contains("100 MiB on host node 2 (outside)"),
        "{text:?}"
    );
    node.ok(&["apply", "100"]);
    node.conf("100: numa\n");
    let (code, status) = node.json(&["status", "100"]);
    let notes = status["guests"][0]["notes"].to_string();
    assert!(
        code == 0 && notes.contains("the policy is now numa"),
        "{notes}"
    );
    node.ok(&["reset", "100"]);
    assert_eq!(state(), (0, "held".into()));
    let ran = node.run(&["status", "999"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("guest 999 has no config"), "{ran:?}");
}

#[test]
fn the_node_tells_what_is_held_and_what_is_free() {
    let node = Node::new();
    node.conf("100: one-to-one,smt=isolate\n777: numa\nreserved: 0,16\n");
    node.config(101, "name: stopped\ncores: 2\nmemory: 512\n");
    let _guest = node.guest(100, 2);
    let loose = node.guest(102, 2);
    node.ok(&["apply", "100"]);
    taskset(&node, &loose, 0, "0-31", "ffffffff");
    let (code, status) = node.json(&["status"]);
    assert_eq!(code, 0, "{status}");
    let whole = &status["node"];
    assert_eq!(whole["lines_without_guest"], json!([777]));
    let held = whole["claimed"]["100"].as_str().unwrap();
    assert_eq!(held, status["guests"][0]["claimed"].as_str().unwrap());
    assert_eq!(status["guests"][0]["beside"]["unpinned"], json!(["102"]));
    let free: Vec<(u64, u64, u64)> = whole["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| {
            let of = |key: &str| node[key].as_u64().unwrap();
            (of("node"), of("free_cores"), of("free_l3s"))
        })
        .collect();
    // Two of the four cores of one host node are the guest's, on one L3; core 0 is reserved.
    let cores: u64 = free.iter().map(|(_, cores, _)| cores).sum();
    let l3s: u64 = free.iter().map(|(.., l3s)| l3s).sum();
    assert_eq!((cores, free[0].0), (13, 0), "{free:?}");
    assert!(l3s == 6 || l3s == 7, "{free:?}");
    let text = node.ok(&["status"]);
    assert!(
        text.contains("note: numapin.conf has a line for guest 777"),
        "{text}"
    );
    assert!(
        !text.contains("stopped"),
        "a stopped guest without a policy is not shown: {text}"
    );
}

#[test]
fn prometheus_gets_its_metrics() {
    let node = Node::new();
    node.conf("100: one-to-one\n");
    let _guest = node.guest(100, 2);
    let ran = node.run(&["status", "--format", "prometheus"]);
    assert_eq!(ran.code, 6, "{ran:?}");
    node.ok(&["apply", "100"]);
    let text = node.ok(&["status", "--format", "prometheus"]);
    for line in [
        "# TYPE numapin_guest_drift gauge",
        "numapin_guest_drift{guest=\"100\"} 0",
        "numapin_guest_claimed_cpus{guest=\"100\"} 2",
        "numapin_guest_info{guest=\"100\",name=\"vm100\",state=\"pinned\",policy=\"one-to-one\"} 1",
        "numapin_node_cpus{node=\"3\"} 8",
        "numapin_policy_lines_without_guest 0",
    ] {
        assert!(text.lines().any(|there| there == line), "{line} in\n{text}");
    }
    let ran = node.run(&["topology", "--format", "prometheus"]);
    assert_eq!(ran.code, 2, "{ran:?}");
}
