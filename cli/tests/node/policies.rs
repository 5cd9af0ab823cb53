//! Where policies stand, and how they are set and unset.

use std::fs;

use crate::lab::Node;

fn guests(node: &Node) {
    node.config(100, "name: db1\ncores: 2\nmemory: 512\n");
    node.config(
        101,
        "name: web\ncores: 2\nmemory: 512\ntags: pin-numa;prod\n",
    );
    node.config(102, "name: tpl\ncores: 2\ntemplate: 1\nmemory: 512\n");
    node.config(103, "name: rfc\ncores: 2\nmemory: 512\npinning: numa\n");
    node.config(104, "name: other\ncores: 2\nmemory: 512\n");
}

/// What `plan` without a guest plans: guest, mode and source of each.
fn planned(node: &Node) -> Vec<String> {
    let (_, plans) = node.json(&["plan"]);
    let plans = plans["plans"].as_array().unwrap();
    let text = |plan: &serde_json::Value| {
        let text = |of: &str, key: &str| plan[of][key].as_str().unwrap().to_owned();
        let (name, mode) = (text("guest", "name"), text("policy", "mode"));
        format!("{name} {mode} {}", text("policy", "source"))
    };
    plans.iter().map(text).collect()
}

#[test]
fn each_place_of_a_policy_counts_in_its_order() {
    let node = Node::new();
    guests(&node);
    assert_eq!(planned(&node), ["103 numa pinning: in the config, line 4"]);
    node.conf("100: name=db1,one-to-one\ntags: yes\ndefault: shared\n");
    assert_eq!(
        planned(&node),
        [
            "100 one-to-one numapin.conf line 1",
            "101 numa tag pin-numa",
            "103 numa pinning: in the config, line 4",
            "104 shared default: in numapin.conf, line 3",
        ]
    );
    // A recycled VMID, and a bad line: each told, neither spoils another guest.
    node.conf("100: name=db2,one-to-one\n101: onetoone\n104: l3\n");
    let ran = node.run(&["plan"]);
    assert!(
        ran.err.contains("line 1 is for a guest named \"db2\""),
        "{ran:?}"
    );
    assert!(
        ran.err
            .contains("numapin.conf:2: 101: vcpus: \"onetoone\" is unknown"),
        "{ran:?}"
    );
    assert_eq!(
        planned(&node),
        [
            "103 numa pinning: in the config, line 4",
            "104 l3 numapin.conf line 3"
        ]
    );
    let ran = node.run(&["plan", "101"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{ran:?}");
    assert!(ran.err.contains("did you mean \"one-to-one\"?"), "{ran:?}");
}

#[test]
fn reserved_and_isolated_cpus_are_kept_from_guests() {
    let node = Node::new();
    node.config(100, "cores: 8\nmemory: 512\n");
    node.conf("100: one-to-one\nreserved: 0,16\nisolated: 4-7\n");
    let (code, plans) = node.json(&["plan"]);
    assert_eq!(code, 0);
    let vcpus = plans["plans"][0]["vcpus"].as_array().unwrap();
    for vcpu in vcpus {
        let cpu: u32 = vcpu["cpus"].as_str().unwrap().parse().unwrap();
        assert!(![0, 16, 4, 5, 6, 7].contains(&cpu), "{vcpu}");
    }
    let (_, topology) = node.json(&["topology"]);
    assert_eq!(topology["cpus"].as_array().unwrap().len(), 32);
}

#[test]
fn a_line_is_set_with_its_guard_and_unset() {
    let node = Node::new();
    guests(&node);
    node.conf("# ours\n104: l3   # why\nbroken\n");
    let said = node.ok(&["set", "100", "one-to-one,smt=isolate"]);
    assert!(
        said.contains("100: name=db1,one-to-one,smt=isolate\n"),
        "{said}"
    );
    node.ok(&["set", "104", "numa"]);
    assert_eq!(
        node.read("etc/pve/numapin.conf"),
        "# ours\n104: name=other,numa   # why\nbroken\n100: name=db1,one-to-one,smt=isolate\n"
    );
    let (code, again) = node.json(&["set", "104", "numa"]);
    assert_eq!(code, 0);
    assert_eq!(
        again,
        serde_json::json!({"schema": 1, "vmid": 104, "changed": false, "line": "104: name=other,numa"})
    );
    node.ok(&["unset", "104"]);
    assert_eq!(
        node.read("etc/pve/numapin.conf"),
        "# ours\nbroken\n100: name=db1,one-to-one,smt=isolate\n"
    );
    assert!(node.ok(&["unset", "104"]).contains("has no line"));
    let left: Vec<_> = fs::read_dir(node.path("etc/pve")).unwrap().collect();
    assert_eq!(left.len(), 2, "no temporary file stays: {left:?}");
}

#[test]
fn what_can_not_be_set_is_refused_and_changes_nothing() {
    let node = Node::new();
    guests(&node);
    for (args, code, says) in [
        (
            &["set", "100", "onetoone"][..],
            2,
            "did you mean \"one-to-one\"?",
        ),
        (&["set", "100", ""], 2, "policy"),
        (&["set", "999", "numa"], 2, "guest 999 has no config"),
        (&["set", "db1", "numa"], 2, "\"db1\" is not a VMID"),
        (&["unset", "-1"], 2, ""),
    ] {
        let ran = node.run(args);
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
        assert!(ran.err.contains(says), "{args:?}: {ran:?}");
    }
    assert!(!node.path("etc/pve/numapin.conf").exists());
    let bare = Node::new();
    fs::remove_dir_all(bare.path("etc/pve")).unwrap();
    let ran = bare.run(&["unset", "100"]);
    assert_eq!(ran.code, 2, "{ran:?}");
}
