//! `numapin advise`: what it says, what it says to programs, and that a shell reads its commands as they are meant.

use std::process::Command;

use numapin_qmp_mock::{Guest, Script};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Lab, at, numapin};

#[test]
fn the_text_of_advice() {
    let lab = Lab::rfc();
    lab.config(100, "cores: 8\nmemory: 8192\npinning: one-to-one\n");
    let run = lab.run(&["advise", "100"]).quiet(0);
    assert_eq!(run.out, include_str!("expected/advise.txt"));
}

#[test]
fn advice_taken_leads_to_a_guest_that_is_right() {
    let lab = Lab::rfc();
    lab.config(100, "cores: 8\nmemory: 8192\npinning: one-to-one\n");
    let run = lab
        .run(&["advise", "100", "--format", "json"])
        .quiet(0)
        .json();
    let lines = at(&run, "/better/config").as_array().expect("lines");
    let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
    let text = format!("memory: 8192\npinning: one-to-one\n{}\n", lines.join("\n"));
    lab.config(100, &text);
    let right = lab.run(&["advise", "100"]).quiet(0).out;
    assert_eq!(
        right,
        "guest 100 is right as it is; policy one-to-one (pinning: in the config, line 2)\n"
    );
    // Its plan costs what was promised.
    let plan = lab
        .run(&["plan", "100", "--format", "json"])
        .quiet(0)
        .json();
    assert_eq!(at(&plan, "/plans/0/cost"), at(&run, "/better/plan/cost"));
    assert_eq!(at(&run, "/right"), false);
    let right = lab
        .run(&["advise", "100", "--format", "json"])
        .quiet(0)
        .json();
    assert_eq!(at(&right, "/right"), true);
    assert_eq!(at(&right, "/better"), &Value::Null);
}

#[test]
fn the_json_of_advice_has_its_shape() {
    let lab = Lab::rfc();
    lab.config(100, "cores: 2\nmemory: 512\naffinity: 0-3,99\n");
    let run = lab
        .run(&["advise", "100", "--mode", "numa", "--format", "json"])
        .quiet(0)
        .json();
    assert_eq!(at(&run, "/schema"), 1);
    assert_eq!(at(&run, "/guest"), &json!({"name": "100", "vmid": 100}));
    let policy = json!({"policy": "numa", "source": "command line", "assumed": false});
    assert_eq!(at(&run, "/policy"), &policy);
    let line = "cpus=0-1,hostnodes=0,memory=512,policy=bind";
    let set = json!([{"key": "numa", "value": "1"}, {"key": "numa0", "value": line}, {"key": "affinity", "value": "0-3"}]);
    assert_eq!(at(&run, "/better/set"), &set);
    assert_eq!(at(&run, "/better/delete"), &json!([]));
    let commands = [
        format!("qm set 100 --numa 1 --numa0 '{line}'"),
        "qm set 100 --affinity 0-3".to_owned(),
    ];
    assert_eq!(at(&run, "/better/commands"), &json!(commands));
    let kinds = |pointer: &str| -> Vec<String> {
        let list = at(&run, pointer).as_array().expect("a list");
        list.iter()
            .filter_map(|item| at(item, "/kind").as_str().map(str::to_owned))
            .collect()
    };
    assert_eq!(kinds("/better/reasons"), ["numa", "ties", "affinity"]);
    assert_eq!(kinds("/better/ends"), ["affinity_absent", "unbound_memory"]);
    assert_eq!(at(&run, "/better/reasons/2/why"), "cleaned");
    assert_eq!(kinds("/remarks"), ["this_host"]);
    for pointer in ["/before/cost/spanned", "/better/plan/cost/spanned"] {
        assert_eq!(at(&run, pointer), 0);
    }
    assert_eq!(at(&run, "/violations"), &json!([]));
}

#[test]
fn a_shell_reads_the_commands_as_they_are_meant() {
    let lab = Lab::rfc();
    lab.config(
        100,
        "cores: 4\nmemory: 1024\nnuma: 1\nnuma0: cpus=0;3,memory=512\nnuma1: cpus=1-2,memory=512\nnuma2: cpus=,\nname: a b\n",
    );
    // The line that can't be read is an error while virtual nodes are on.
    lab.run(&["advise", "100", "--mode", "numa"]).ended(2);
    lab.config(
        100,
        "cores: 4\nmemory: 1024\nnuma: 1\nnuma0: cpus=0;3,memory=512\nnuma1: cpus=1-2,memory=512\n",
    );
    let run = lab
        .run(&["advise", "100", "--mode", "numa", "--format", "json"])
        .quiet(0)
        .json();
    let commands = at(&run, "/better/commands").as_array().expect("commands");
    let script: Vec<&str> = commands.iter().filter_map(Value::as_str).collect();
    let script = format!("qm() {{ printf '%s\\n' \"$@\"; }}\n{}\n", script.join("\n"));
    let output = Command::new("/bin/sh")
        .args(["-eu", "-c", &script])
        .output()
        .expect("a shell");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let words = String::from_utf8(output.stdout).expect("UTF-8");
    let words: Vec<&str> = words.lines().collect();
    let expected = [
        "set",
        "100",
        "--numa0",
        "cpus=0;3,hostnodes=0,memory=512,policy=bind",
        "--numa1",
        "cpus=1-2,hostnodes=1,memory=512,policy=bind",
    ];
    assert_eq!(words, expected);
}

#[test]
fn a_guest_that_does_not_fit_is_told_what_makes_it_fit_or_that_nothing_does() {
    let lab = Lab::rfc();
    lab.config(100, "sockets: 2\ncores: 9\nmemory: 3072\nnuma: 1\n");
    let run = lab.run(&["advise", "100", "--mode", "numa"]).quiet(0);
    assert!(
        run.out
            .starts_with("guest 100 can't be pinned:\n  - virtual node 0 needs 9 cpus"),
        "{}",
        run.out
    );
    assert!(
        run.out
            .contains("\n    qm set 100 \\\n        --sockets 3 \\\n        --cores 6 \\\n"),
        "{}",
        run.out
    );
    lab.config(100, "cores: 33\nnuma: 1\n");
    let run = lab.run(&["advise", "100", "--mode", "numa"]).quiet(3);
    assert!(
        run.out.contains("\n  no setting of the guest mends that with as many vcpus and as much memory; policy numa"),
        "{}",
        run.out
    );
    let json = lab
        .run(&["advise", "100", "--mode", "numa", "--format", "json"])
        .quiet(3)
        .json();
    assert_eq!(at(&json, "/violations/0/kind"), "not_enough_together");
    assert_eq!(at(&json, "/before"), &Value::Null);
}

#[rstest]
#[case(
    "template: 1\ncores: 4\n",
    "guest 100 is a template: there is nothing to advise\n"
)]
#[case(
    "cores: 99999\nsockets: 99999\n",
    "guest 100: its sockets and cores are no number of vcpus that a guest can have: there is nothing to advise\n"
)]
fn where_there_is_nothing_to_advise(#[case] config: &str, #[case] says: &str) {
    let lab = Lab::small();
    lab.config(100, config);
    assert_eq!(lab.run(&["advise", "100"]).ended(0).out, says);
}

#[test]
fn a_guest_that_runs_is_advised_for_its_next_start() {
    let mut lab = Lab::rfc();
    lab.config(
        100,
        "cores: 2\nmemory: 512\nlock: backup\n\n[PENDING]\nmemory: 1024\n",
    );
    let _mock = lab.start(Guest::proxmox(100, 1, 2), Script::healthy());
    let run = lab.run(&["advise", "100"]).quiet(0).out;
    for says in [
        "--numa0 'cpus=0-1,hostnodes=0,memory=1024,policy=bind'",
        "\n  note: the guest runs: what is set takes effect when it is stopped and started again",
        "\n  note: the guest is locked (backup): qm set is refused until that is over",
        "\n  note: the guest has no policy: this is for the mode numa, which \"numapin set 100 numa\" gives it",
    ] {
        assert!(run.contains(says), "{says}\nis missing in\n{run}");
    }
}

#[test]
fn a_file_beside_a_dump_is_enough() {
    let lab = Lab::rfc();
    lab.write("web.conf", "cores: 2\n");
    let dump = lab.at("sys");
    let dump = dump.to_str().expect("UTF-8");
    let file = lab.at("web.conf");
    let args = [
        "advise",
        file.to_str().expect("UTF-8"),
        "--sysfs-root",
        dump,
        "--mode",
        "numa",
    ];
    let run = numapin(args).quiet(0).out;
    assert!(
        run.contains("\n    qm set VMID --numa 1 --numa0 'cpus=0-1,"),
        "{run}"
    );
}

#[rstest]
#[case(&["advise"], "no guest is named (expected a VMID, the path of a .conf file, or --qmp SOCKET)")]
#[case(&["advise", "--qmp", "x.qmp"],
    "x.qmp: a guest of --qmp has no config that could be better (expected a VMID or the path of a .conf file)")]
#[case(&["advise", "100", "--sockets", "2"],
    "--sockets can't be together with advise, which says itself what it should be (expected flags of the policy only)")]
#[case(&["advise", "100", "--affinity", "2"],
    "--affinity can't be together with advise, which says itself what it should be (expected flags of the policy only)")]
#[case(&["advise", "100", "--format", "prometheus"], "--format prometheus is for status only")]
#[case(&["advise", "777"], "guest 777 has no config: ROOT/etc/pve/qemu-server/777.conf does not exist, nor is it on another \
    node of the cluster")]
fn wrong_usage_is_told(#[case] args: &[&str], #[case] says: &str) {
    let lab = Lab::small();
    lab.config(100, "cores: 2\n");
    lab.run(args).refused(2, says);
}
