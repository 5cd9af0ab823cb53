//! `apply` and `reset` under the node's lock, with the ledger.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::lab::Node;

/// The set of CPUs of masks that must all be of one CPU and different.
fn apart(masks: &str) -> BTreeSet<u32> {
    let cpus: Vec<u32> = masks.split(' ').map(|mask| mask.parse().unwrap()).collect();
    let set: BTreeSet<u32> = cpus.iter().copied().collect();
    assert_eq!(set.len(), cpus.len(), "{masks}");
    set
}

fn ledger(node: &Node, vmid: u32) -> Value {
    serde_json::from_str(&node.read(&format!("run/numapin/{vmid}.json"))).unwrap()
}

#[test]
fn guests_pinned_one_after_the_other_never_share_a_cpu() {
    let node = Node::new();
    node.conf("default: one-to-one\n");
    let guests = [100, 101, 102, 103].map(|vmid| node.guest(vmid, 8));
    for vmid in ["100", "101", "102", "103"] {
        node.ok(&["apply", vmid]);
    }
    let all = guests
        .iter()
        .map(|guest| node.vcpus(guest))
        .collect::<Vec<_>>();
    assert_eq!(apart(&all.join(" ")).len(), 32);
    // Applying again changes nothing.
    let (code, again) = node.json(&["apply", "101"]);
    assert_eq!((code, &again["kept"]), (0, &json!(true)));
    for thread in again["report"]["threads"].as_array().unwrap() {
        assert_eq!(thread["state"], "already", "{thread}");
    }
    assert_eq!(node.vcpus(&guests[1]), all[1]);
}

#[test]
fn starts_at_once_never_take_the_same_cpu() {
    let node = Node::new();
    let vmids: Vec<u32> = (100..108).collect();
    let guests: Vec<_> = vmids.iter().map(|vmid| node.guest(*vmid, 4)).collect();
    let started: Vec<_> = vmids
        .iter()
        .map(|vmid| {
            node.command(&["apply", &vmid.to_string(), "--mode", "one-to-one"])
                .spawn()
                .unwrap()
        })
        .collect();
    for mut apply in started {
        assert!(apply.wait().unwrap().success());
    }
    let all: Vec<_> = guests.iter().map(|guest| node.vcpus(guest)).collect();
    assert_eq!(apart(&all.join(" ")).len(), 32);
}

#[test]
fn set_pinned_guests_follow_what_others_hold() {
    let node = Node::new();
    let wide = node.guest(100, 2);
    let narrow = node.guest(101, 2);
    node.ok(&["apply", "100", "--mode", "shared"]);
    assert_eq!(node.vcpus(&wide), "0-31 0-31");
    let (_, applied) = node.json(&["apply", "101", "--mode", "one-to-one"]);
    let held = apart(&node.vcpus(&narrow));
    assert_eq!(applied["followed"][0]["guest"], "100");
    let rest: Vec<u32> = (0..32).filter(|cpu| !held.contains(cpu)).collect();
    let masks = node.vcpus(&wide);
    let mask = masks.split(' ').next().unwrap();
    let listed: Vec<u32> = mask
        .split(',')
        .flat_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            first.parse::<u32>().unwrap()..=last.parse().unwrap()
        })
        .collect();
    assert_eq!(listed, rest, "{masks}");
    // And get them back.
    let said = node.ok(&["reset", "101"]);
    assert!(said.contains("guest 100 follows the claims:"), "{said}");
    assert_eq!(node.vcpus(&wide), "0-31 0-31");
    assert_eq!(node.vcpus(&narrow), "0-31 0-31");
}

#[test]
fn a_plan_holds_as_long_as_its_process() {
    let node = Node::new();
    node.conf("100: numa\n");
    let guest = node.guest(100, 2);
    node.ok(&["apply", "100"]);
    let numa = node.vcpus(&guest);
    assert_eq!(numa, "0-3,16-19 0-3,16-19");
    // A policy that changed in its file waits; one that is typed does not.
    node.conf("100: one-to-one\n");
    let said = node.ok(&["apply", "100"]);
    assert!(
        said.contains("note: the policy is now one-to-one (numapin.conf line 1)"),
        "{said}"
    );
    assert_eq!(node.vcpus(&guest), numa);
    let said = node.ok(&["apply", "100", "--replan"]);
    assert!(
        said.contains("change: vcpu 0 from cpu(s) 0-3,16-19 to cpu(s) "),
        "{said}"
    );
    apart(&node.vcpus(&guest));
    node.ok(&["apply", "100", "--mode", "l3"]);
    assert_eq!(node.vcpus(&guest).split(' ').count(), 2);
    assert_ne!(node.vcpus(&guest), numa);
    // What the rules no longer allow is planned again, and told.
    node.config(100, "name: vm100\ncores: 2\nmemory: 1024\naffinity: 8-11\n");
    let said = node.ok(&["apply", "100"]);
    assert!(said.contains("note: a new plan is made: cpu(s) "), "{said}");
    // What was found at the very first is still what is put back.
    node.ok(&["reset", "100"]);
    assert_eq!(node.vcpus(&guest), "0-31 0-31");
    drop(guest);
    let again = node.guest(100, 2);
    node.conf("100: numa\n");
    node.ok(&["apply", "100"]);
    assert_eq!(node.vcpus(&again), numa, "a new process, a new plan");
}

#[test]
fn reset_puts_back_what_was_found_and_holds() {
    let node = Node::new();
    node.conf("default: one-to-one\nreserved: 0,16\n");
    let [first, second] = [100, 101].map(|vmid| node.guest(vmid, 2));
    let before = [&first, &second].map(|guest| node.masks(guest));
    node.ok(&["apply", "100"]);
    node.ok(&["apply", "101"]);
    assert_ne!(node.masks(&first), before[0]);
    let (code, reset) = node.json(&["reset", "--all"]);
    assert_eq!(code, 0, "{reset}");
    assert_eq!(reset["guests"].as_array().unwrap().len(), 2);
    assert_eq!([&first, &second].map(|guest| node.masks(guest)), before);
    assert_eq!(ledger(&node, 100)["state"], "held");
    // A guest that numapin never touched can be held, too.
    let _third = node.guest(102, 2);
    assert!(
        node.ok(&["reset", "102"])
            .contains("guest 102: nothing to put back\n")
    );
    let (_, status) = node.json(&["status", "102"]);
    assert_eq!(
        (&status["guests"][0]["state"], &status["drift"]),
        (&json!("held"), &json!(false))
    );
    // The next apply ends it.
    node.ok(&["apply", "100"]);
    apart(&node.vcpus(&first));
    assert_eq!(ledger(&node, 100)["state"], "applied");
    let ran = node.run(&["reset", "103"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.err.contains("guest 103 is not running on this node"),
        "{ran:?}"
    );
}

#[test]
fn whatever_a_killed_program_left_is_finished_or_undone() {
    for finish in [true, false] {
        let node = Node::new();
        let guest = node.guest(100, 4);
        let before = node.masks(&guest);
        node.ok(&["apply", "100", "--mode", "one-to-one"]);
        let pinned = node.masks(&guest);
        // As if it had been killed after the ledger and the first two masks: the others are as they were.
        for vcpu in &guest.vcpus()[2..] {
            let status = format!("proc/{}/task/{}/status", guest.pid(), vcpu.tid);
            let text = node.read(&status);
            let mask = |line: &str| match line.split_once(':') {
                Some(("Cpus_allowed_list", _)) => "Cpus_allowed_list:\t0-31".to_owned(),
                Some(("Cpus_allowed", _)) => "Cpus_allowed:\tffffffff".to_owned(),
                _ => line.to_owned(),
            };
            let lines: Vec<String> = text.lines().map(mask).collect();
            node.write(&status, &(lines.join("\n") + "\n"));
        }
        assert_ne!(node.masks(&guest), pinned);
        node.write("run/numapin/.100.json.1.tmp", "{");
        if finish {
            node.ok(&["apply", "100"]);
            assert_eq!(node.masks(&guest), pinned);
        } else {
            node.ok(&["reset", "100"]);
            assert_eq!(node.masks(&guest), before);
        }
    }
}

#[test]
fn a_policy_that_became_none_gives_everything_back() {
    let node = Node::new();
    node.conf("100: one-to-one\nreserved: 0,16\n");
    let guest = node.guest(100, 2);
    let before = node.masks(&guest);
    node.ok(&["apply", "100"]);
    assert_ne!(node.masks(&guest), before);
    node.conf("reserved: 0,16\n");
    let said = node.ok(&["apply", "100"]);
    assert!(said.contains("the policy is now none"), "{said}");
    assert_ne!(node.masks(&guest), before);
    node.ok(&["apply", "100", "--replan"]);
    assert_eq!(node.masks(&guest), before);
    assert!(!node.path("run/numapin/100.json").exists());
}

#[test]
fn entries_of_guests_that_ended_hold_nothing() {
    let node = Node::new();
    let guest = node.guest(100, 16);
    node.ok(&["apply", "100", "--mode", "one-to-one"]);
    guest.stop();
    let second = node.guest(101, 16);
    node.ok(&[
        "apply",
        "101",
        "--mode",
        "one-to-one,".trim_end_matches(','),
    ]);
    let spread = apart(&node.vcpus(&second));
    let cores: BTreeSet<u32> = spread.iter().map(|cpu| cpu % 16).collect();
    assert_eq!(cores.len(), 16, "it has the whole host: {spread:?}");
    let left: Vec<_> = fs::read_dir(node.path("run/numapin")).unwrap().collect();
    assert_eq!(left.len(), 2, "the lock and its entry: {left:?}");
}
