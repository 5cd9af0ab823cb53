//! `numapin plan`: the plan as text and as JSON, and all that it depends on.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Lab, at, directory, numapin_in, same_as_file};

/// The CPUs of each vCPU of a plan.
fn cpus(plan: &Value) -> Vec<&str> {
    let vcpus = at(plan, "/vcpus").as_array().expect("a list of vCPUs");
    vcpus
        .iter()
        .filter_map(|vcpu| at(vcpu, "/cpus").as_str())
        .collect()
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .expect("a map")
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn the_json_of_a_plan_has_its_shape() {
    let lab = Lab::rfc();
    lab.config(100, "sockets: 4\ncores: 2\nnuma: 1\npinning: one-to-one\n");
    let run = lab.run(&["plan", "100", "--format", "json"]).quiet(0);
    let document = run.json();
    assert_eq!(keys(&document), ["plans", "schema"]);
    assert_eq!(at(&document, "/schema"), 1);
    let plan = at(&document, "/plans/0");
    let guest =
        json!({"name": "100", "vmid": 100, "sockets": 4, "cores": 2, "threads": 1, "numa": true});
    assert_eq!(at(plan, "/guest"), &guest);
    assert_eq!(at(plan, "/policy/mode"), "one-to-one");
    assert_eq!(at(plan, "/policy/smt"), "spread");
    let node = |node: u32| json!({"virtual_node": node, "vcpus": format!("{}-{}", 2 * node, 2 * node + 1), "host_nodes": node.to_string()});
    let nodes: Vec<Value> = (0..4).map(node).collect();
    assert_eq!(at(plan, "/virtual_nodes"), &Value::Array(nodes));
    // Core 0 is left alone where there is another: interrupts gather on it.
    assert_eq!(cpus(plan), ["2", "3", "4", "5", "8", "9", "12", "13"]);
    let first = json!({"vcpu": 0, "virtual_node": 0, "host_nodes": "0", "cpus": "2"});
    assert_eq!(at(plan, "/vcpus/0"), &first);
    // What is spare: all of the four host nodes without the guest's own CPUs.
    let spare = "0-1,6-7,10-11,14-31";
    let threads = json!({"emulator": spare, "iothreads": spare, "vhost": spare});
    assert_eq!(at(plan, "/threads"), &threads);
    assert_eq!(at(plan, "/cost/distance"), 96);
    assert_eq!(at(plan, "/cost/shared_cores"), 0);
    assert_eq!(at(plan, "/optimal"), true);
    assert_eq!(at(plan, "/bound"), &Value::Null);
    assert!(at(plan, "/notes").is_array());
}

#[rstest]
#[case(
    "numa",
    "packages,spanned,core_kinds,slow_vcpus,shared_cores,half_cores"
)]
#[case(
    "one-to-one",
    "packages,core_kinds,slow_vcpus,shared_cores,spanned,half_cores"
)]
#[case(
    "one-to-one,smt=pack",
    "packages,spanned,core_kinds,slow_vcpus,shared_cores,half_cores"
)]
fn cost_stands_in_the_order_of_comparison(#[case] policy: &str, #[case] middle: &str) {
    let lab = Lab::rfc();
    lab.config(100, "cores: 2\n");
    let run = lab
        .run(&["plan", "100", "--policy", policy, "--format", "json"])
        .quiet(0);
    let (_, cost) = run.out.split_once("\"cost\":{").expect("a cost");
    let (cost, _) = cost.split_once('}').expect("its end");
    let items: Vec<&str> = cost
        .split(",\"")
        .filter_map(|item| item.trim_start_matches('"').split('"').next())
        .collect();
    let order = format!(
        "shared_nodes,overlap,foreign_cores,{middle},crowding,remote_memory,remote_devices,short_memory,distance,boot_core,\
         l3_domains,load,leftover,renumbered"
    );
    assert_eq!(items.join(","), order);
}

#[test]
fn guests_in_order_see_the_ones_before() {
    let lab = Lab::rfc();
    for vmid in [100, 101, 102, 103] {
        lab.config(vmid, "cores: 4\npinning: one-to-one\n");
    }
    let run = lab
        .run(&["plan", "100", "101", "102", "103", "--format", "json"])
        .quiet(0)
        .json();
    let plans = at(&run, "/plans").as_array().expect("plans");
    let all: Vec<&str> = plans.iter().flat_map(cpus).collect();
    let each: BTreeSet<&&str> = all.iter().collect();
    assert_eq!((all.len(), each.len()), (16, 16), "{all:?}");
    let nodes: BTreeSet<_> = plans
        .iter()
        .map(|plan| at(plan, "/virtual_nodes/0/host_nodes").as_str())
        .collect();
    assert_eq!(nodes.len(), 4, "{nodes:?}");
    // Alone, the second gets what the first got.
    let alone = lab
        .run(&["plan", "101", "--format", "json"])
        .quiet(0)
        .json();
    assert_eq!(at(&alone, "/plans/0/vcpus"), at(&run, "/plans/0/vcpus"));
    // The other way round the places go round with them.
    let back = lab
        .run(&["plan", "103", "102", "101", "100", "--format", "json"])
        .quiet(0)
        .json();
    assert_eq!(at(&back, "/plans/0/guest/name"), "103");
    assert_eq!(at(&back, "/plans/0/vcpus"), at(&run, "/plans/0/vcpus"));
}

#[test]
fn plans_that_stand_are_printed_beside_refusals() {
    let lab = Lab::rfc();
    lab.config(100, "cores: 4\n");
    lab.config(
        101,
        "cores: 2\nsockets: 4\nnuma: 1\nnuma0: cpus=0-7,hostnodes=9,memory=512,policy=bind\n",
    );
    let args = ["plan", "101", "100", "--mode", "numa", "--format", "json"];
    let document = lab.run(&args).quiet(3).json();
    assert_eq!(at(&document, "/plans").as_array().map(Vec::len), Some(1));
    assert_eq!(at(&document, "/plans/0/guest/name"), "100");
    let violation = json!({"guest": "101", "kind": "no_such_host_node", "virtual_node": 0, "host_node": 9,
        "change": {"change": "host_node", "virtual_node": 0, "host_node": 0},
        "message": "virtual node 0 names host node 9, which does not exist on this host; it fits with hostnodes=0 for virtual \
                    node 0"});
    assert_eq!(at(&document, "/violations"), &json!([violation]));
    let text = lab.run(&args[..5]).quiet(3).out;
    let refusal = "guest 101 can't be pinned:\n  - virtual node 0 names host node 9, which does not exist on this host; it \
                   fits with hostnodes=0 for virtual node 0\n";
    assert!(
        text.starts_with("guest 100: 1 socket x 4 cores") && text.ends_with(refusal),
        "{text}"
    );
}

#[test]
fn the_text_of_a_plan() {
    let lab = Lab::rfc();
    lab.config(100, "sockets: 4\ncores: 2\nnuma: 1\npinning: one-to-one\n");
    lab.config(101, "cores: 6\npinning: l3\n");
    let run = lab.run(&["plan", "100", "101"]).quiet(0);
    same_as_file(&run.out, "tests/program/expected/plan-two-guests.txt");
}

#[test]
fn same_input_same_bytes() {
    let lab = Lab::named("xeon6230-2s");
    lab.config(
        100,
        "sockets: 2\ncores: 4\nnuma: 1\npinning: one-to-one,smt=isolate\n",
    );
    lab.config(101, "cores: 9\npinning: l3\n");
    lab.config(102, "cores: 3\nsockets: 3\nnuma: 1\npinning: numa\n");
    let args = ["plan", "100", "101", "102", "--format", "json"];
    let first = lab.run(&args).quiet(0);
    assert_eq!(lab.run(&args), first);
    // The same tree, with every directory's entries made the other way round.
    let other = directory();
    copy_backwards(lab.path(), other.path());
    let root = other.path().to_str().expect("UTF-8");
    let args = args.into_iter().chain(["--root", root]);
    assert_eq!(numapin_in(other.path(), args), first);
}

fn copy_backwards(from: &Path, to: &Path) {
    let mut entries: Vec<_> = fs::read_dir(from)
        .expect("readable")
        .map(|entry| entry.expect("readable"))
        .collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
    for entry in entries {
        let (kind, path) = (
            entry.file_type().expect("known"),
            to.join(entry.file_name()),
        );
        if kind.is_symlink() {
            symlink(fs::read_link(entry.path()).expect("a link"), path).expect("it can be made");
        } else if kind.is_dir() {
            fs::create_dir_all(&path).expect("it can be made");
            copy_backwards(&entry.path(), &path);
        } else {
            fs::write(&path, fs::read(entry.path()).expect("readable")).expect("it can be written");
        }
    }
}
