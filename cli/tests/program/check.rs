//! `numapin check`: whether a guest fits, and every reason why not.

use rstest::rstest;
use serde_json::json;

use crate::support::{Lab, at};

#[test]
fn a_guest_that_fits() {
    let lab = Lab::rfc();
    lab.config(100, "sockets: 2\ncores: 4\nnuma: 1\npinning: numa\n");
    let run = lab.run(&["check", "100"]).quiet(0);
    let (head, rest) = run.out.split_once('\n').expect("lines");
    assert!(
        head.starts_with("guest 100: 2 sockets x 4 cores, 2 virtual nodes; policy numa ("),
        "{head}"
    );
    assert!(rest.starts_with("  it fits\n"), "{rest}");
    let document = lab
        .run(&["check", "100", "--format", "json"])
        .quiet(0)
        .json();
    assert_eq!(document, json!({"schema": 1, "ok": true, "violations": []}));
}

#[test]
fn every_reason_is_told() {
    let lab = Lab::rfc();
    lab.config(
        100,
        "sockets: 2\ncores: 2\nnuma: 1\nmemory: 1024\nnuma0: cpus=0-1;9,hostnodes=0-1,memory=512,policy=bind\n\
         numa1: cpus=1-2,hostnodes=7,memory=512,policy=bind\npinning: numa\n",
    );
    let reasons = [
        "virtual node 0 names several host nodes (\"0-1\") (expected exactly one, or none: write one hostnodes value, or one \
         numaN line for each host node)",
        "vcpu(s) 1 are in virtual node 0 and again in virtual node 1 (expected each vcpu once)",
        "virtual node 0 names vcpu(s) 9, but the guest has only 4 vcpus (sockets x cores): 0 to 3",
        "vcpu(s) 3 are in no virtual node (expected each of the 4 vcpus, sockets x cores, once in the cpus of a numaN line)",
    ];
    let run = lab.run(&["check", "100"]).quiet(3);
    let (head, list) = run.out.split_once('\n').expect("lines");
    assert_eq!(head, "guest 100 can't be pinned:");
    for reason in reasons {
        assert!(
            list.contains(&format!("  - {reason}\n")),
            "{reason} is missing in\n{list}"
        );
    }
    assert_eq!(list.lines().count(), reasons.len(), "{list}");

    let document = lab
        .run(&["check", "100", "--format", "json"])
        .quiet(3)
        .json();
    assert_eq!(at(&document, "/ok"), false);
    let violations = at(&document, "/violations").as_array().expect("a list");
    let mut messages: Vec<_> = violations
        .iter()
        .filter_map(|v| at(v, "/message").as_str())
        .collect();
    let mut lines: Vec<_> = list
        .lines()
        .filter_map(|line| line.strip_prefix("  - "))
        .collect();
    messages.sort_unstable();
    lines.sort_unstable();
    assert_eq!(messages, lines);
    assert!(violations.iter().all(|v| at(v, "/guest") == "100"));
    let several = violations
        .iter()
        .find(|v| at(v, "/kind") == "several_host_nodes");
    let several = several.expect("its kind");
    assert_eq!(
        (at(several, "/virtual_node"), at(several, "/hostnodes")),
        (&json!(0), &json!("0-1"))
    );
}

#[test]
fn too_few_cpus_are_told_with_what_took_them() {
    let lab = Lab::rfc();
    lab.config(
        100,
        "cores: 6\nnuma: 1\nmemory: 512\nnuma0: cpus=0-5,hostnodes=1,memory=512,policy=bind\naffinity: 0-5,16-31\npinning: numa\n",
    );
    lab.config(101, "cores: 7\nnuma: 1\nmemory: 512\nnuma0: cpus=0-6,hostnodes=1,memory=512,policy=bind\naffinity: 0-5,16-31\npinning: numa\n");
    lab.run(&["check", "100"]).quiet(0);
    let document = lab
        .run(&["check", "101", "--format", "json"])
        .quiet(3)
        .json();
    assert_eq!(
        at(&document, "/violations").as_array().map(Vec::len),
        Some(1)
    );
    let violation = at(&document, "/violations/0");
    assert_eq!(at(violation, "/kind"), "not_enough_cpus");
    assert_eq!(at(violation, "/virtual_node"), 0);
    assert_eq!(at(violation, "/wanted"), 7);
    let node = at(violation, "/host_nodes/0");
    let figures = (
        at(node, "/host_node"),
        at(node, "/usable"),
        at(node, "/online"),
    );
    assert_eq!(figures, (&json!(1), &json!(6), &json!(8)));
    let message = at(violation, "/message").as_str().expect("a text");
    let says = "virtual node 0 needs 7 cpus of one host node, but host node 1 has 6 of 8";
    assert!(message.starts_with(says), "{message}");
    assert!(message.contains("affinity"), "{message}");
}

#[rstest]
#[case::mode(&["--mode", "one-to-on"], "--mode: \"one-to-on\" is unknown (did you mean \"one-to-one\"? expected none, numa, l3, one-to-one or shared)")]
#[case::mode_far(&["--mode", "x"], "--mode: \"x\" is unknown (expected none, numa, l3, one-to-one or shared)")]
#[case::smt(&["--smt", "isolated"], "--smt: \"isolated\" is unknown (did you mean \"isolate\"? expected spread, isolate, pack or any)")]
#[case::overlap(&["--overlap", "alow"], "--overlap: \"alow\" is unknown (did you mean \"allow\"? expected avoid, deny or allow)")]
#[case::isolated(&["--isolated", "onyl"], "--isolated: \"onyl\" is unknown (did you mean \"only\"? expected avoid, allow or only)")]
#[case::kind(&["--kind", "fast"], "--kind: \"fast\" is unknown (expected any, performance or efficiency)")]
#[case::emulator(&["--emulator", "nodes"], "--emulator: \"nodes\" is unknown (did you mean \"node\"? expected keep, node or spare)")]
#[case::iothreads(&["--iothreads", ""], "--iothreads: \"\" is unknown (expected keep, node or spare)")]
#[case::vhost(&["--vhost", "spar"], "--vhost: \"spar\" is unknown (did you mean \"spare\"? expected keep, node or spare)")]
#[case::policy_key(&["--policy", "numa,overlapp=deny"], "--policy: \"overlapp\" is not a key of a policy (did you mean \"overlap\"? expected vcpus, smt, overlap, isolated, kind, emulator, iothreads, vhost or require)")]
#[case::policy_value(&["--policy", "numa,smt=non"], "--policy: smt: \"non\" is unknown (expected spread, isolate, pack or any)")]
#[case::policy_twice(&["--policy", "numa,l3"], "--policy: \"vcpus\" is there twice in \"numa,l3\" (expected each key once)")]
#[case::policy_half(&["--policy", "smt="], "--policy: \"smt=\" is half a property (expected key=value)")]
#[case::policy_empty(&["--policy", ""], "--policy: the policy is empty (expected for example \"one-to-one,smt=isolate\")")]
#[case::host_node(&["--host-node", "0:1"], "--host-node: \"0:1\" is not a virtual node and its host node (expected for example \"0=2\": virtual node 0 goes to host node 2)")]
#[case::host_node_twice(&["--host-node", "0=1", "--host-node", "0=1"], "--host-node: virtual node 0 is there twice (expected each once)")]
#[case::sockets(&["--sockets", "0"], "--sockets: \"0\" is not a number from 1 to 8192")]
#[case::cores(&["--cores", "8193"], "--cores: \"8193\" is not a number from 1 to 8192")]
#[case::numa(&["--numa", "2"], "--numa: \"2\" is not 0 or 1")]
#[case::affinity_stride(&["--affinity", "0-15:2"], "--affinity: \"0-15:2\" is not a number or a range (expected a list like \"0,5,8-11\")")]
#[case::affinity_backwards(&["--affinity", "3-1"], "--affinity: \"3-1\" runs backwards (expected \"1-3\")")]
#[case::affinity_gap(&["--affinity", "0,,1"], "--affinity: \"\" is not a number or a range (expected a list like \"0,5,8-11\")")]
#[case::affinity_huge(&["--affinity", "0-9999999"], "--affinity: \"0-9999999\" is beyond the highest id that can be (1048575)")]
fn a_flag_that_is_not_understood(#[case] flags: &[&str], #[case] line: &str) {
    let lab = Lab::small();
    lab.config(100, "cores: 2\n");
    for command in ["check", "plan", "apply"] {
        let args: Vec<&str> = [command, "100"].iter().chain(flags).copied().collect();
        lab.run(&args).refused(2, line);
    }
}

#[rstest]
#[case(
    "100.conf",
    "100.conf: there is no such file (expected a VMID or the path of a .conf file)"
)]
#[case("99", "\"99\" is not a VMID (expected 100 to 999999999)")]
#[case(
    "1000000000",
    "\"1000000000\" is not a VMID (expected 100 to 999999999)"
)]
#[case(
    "99999999999999999999",
    "\"99999999999999999999\" is not a VMID (expected 100 to 999999999)"
)]
#[case("", "\"\" is not a VMID (expected 100 to 999999999)")]
#[case("sys", "sys: is a directory (expected a file)")]
fn a_word_that_is_no_guest(#[case] word: &str, #[case] line: &str) {
    let lab = Lab::small();
    for command in ["check", "plan", "apply"] {
        lab.run(&[command, word]).refused(2, line);
    }
}

#[test]
fn no_guest_and_two_ways_of_naming_one() {
    let lab = Lab::small();
    for command in ["check", "apply"] {
        let line = "no guest is named (expected a VMID, the path of a .conf file, or --qmp SOCKET)";
        lab.run(&[command]).refused(2, line);
        let line = "GUEST and --qmp can't be together: --qmp is for a plain QEMU, whose shape it tells itself";
        lab.run(&[command, "100", "--qmp", "x.qmp"])
            .refused(2, line);
    }
}

#[test]
fn a_guest_named_twice_would_be_in_its_own_way() {
    let lab = Lab::small();
    lab.config(100, "cores: 2\n");
    let line = "guest 0100 is named twice (expected each once)";
    lab.run(&["plan", "100", "0100"]).refused(2, line);
}

#[rstest]
#[case("0,5,8-11", Some("0,5,8-11"))]
#[case(" 0-3", Some("0-3"))]
#[case("0-3, 5", Some("0-3,5"))]
#[case("0-3,", Some("0-3"))]
#[case("0-3,2,3", Some("0-3"))]
#[case("08", Some("8"))]
#[case("0 - 3", None)]
#[case("3-1", None)]
#[case("0,,1", None)]
#[case(",0", None)]
#[case("1-", None)]
#[case("0-15:2", None)]
#[case("^3", None)]
#[case("0;1", None)]
fn affinity_is_read_as_proxmox_reads_it(#[case] affinity: &str, #[case] cpus: Option<&str>) {
    let lab = Lab::small();
    lab.config(
        100,
        &format!("cores: 1\naffinity: {affinity}\npinning: shared\n"),
    );
    let run = lab.run(&["plan", "100", "--format", "json"]);
    match cpus {
        Some(cpus) => assert_eq!(at(&run.quiet(0).json(), "/plans/0/vcpus/0/cpus"), cpus),
        None => {
            let run = run.ended(2);
            let line = "numapin: ROOT/etc/pve/qemu-server/100.conf:2: affinity: \"";
            assert!(
                run.err.starts_with(line) && run.err.lines().count() == 1,
                "{}",
                run.err
            );
            assert_eq!(at(&run.json(), "/error/kind"), "malformed");
        }
    }
}
