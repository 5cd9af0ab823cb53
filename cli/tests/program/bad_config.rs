//! What malformed configs get: one line with file, line, what was expected, and exit code 2; where Proxmox VE passes over a line,
//! so does the program, and says so.

use rstest::rstest;
use serde_json::json;

use crate::support::Lab;

const FILE: &str = "ROOT/etc/pve/qemu-server/100.conf";

#[rstest]
#[case::affinity(
    "cores: 2\naffinity: 0-3;5\n",
    "2: affinity: \"0-3;5\" is not a number or a range (expected a list like \"0,5,8-11\")"
)]
#[case::affinity_backwards(
    "affinity: 7-4\n",
    "1: affinity: \"7-4\" runs backwards (expected \"4-7\")"
)]
#[case::affinity_huge(
    "affinity: 99999999\n",
    "1: affinity: \"99999999\" is beyond the highest id that can be (1048575)"
)]
#[case::numa_cpus(
    "numa: 1\nnuma0: cpus=0-x,memory=512\n",
    "2: numa0: cpus: \"0-x\" is not a number or a range (expected a list like \"0-1;6-7\")"
)]
#[case::numa_cpus_kernel_list(
    "numa: 1\n\nnuma1: cpus=0,1,memory=512\n",
    "3: numa1: \"cpus\" is there twice in \"cpus=0,1,memory=512\" (expected each key once)"
)]
#[case::numa_backwards(
    "numa: 1\nnuma0: cpus=3-1,memory=512\n",
    "2: numa0: cpus: \"3-1\" runs backwards (expected \"1-3\")"
)]
#[case::numa_hostnodes(
    "numa: 1\nnuma0: cpus=0,hostnodes=a,policy=bind,memory=512\n",
    "2: numa0: hostnodes: \"a\" is not a number or a range (expected a list like \"0-1;6-7\")"
)]
#[case::numa_no_cpus("numa: 1\nnuma0: hostnodes=0,policy=bind,memory=512\n", "2: numa0: ")]
#[case::numa_policy(
    "numa: 1\nnuma0: cpus=0,hostnodes=0,policy=strict,memory=512\n",
    "2: numa0: policy: \"strict\" is unknown (expected preferred, bind or interleave)"
)]
#[case::numa_key(
    "numa: 1\nnuma0: cpus=0, memory=512\n",
    "2: numa0: \" memory\" is not a key of it (expected cpus, hostnodes, memory or policy)"
)]
#[case::numa_half(
    "numa: 1\nnuma0: cpus=,memory=512\n",
    "2: numa0: \"cpus=\" is half a property (expected key=value)"
)]
#[case::numa_memory(
    "numa: 1\nnuma0: cpus=0,memory=lots\n",
    "2: numa0: memory: \"lots\" is not "
)]
#[case::in_pending(
    "cores: 2\n\n[PENDING]\naffinity: x\n",
    "4: affinity: \"x\" is not a number or a range (expected a list like \"0,5,8-11\")"
)]
#[case::pinning(
    "cores: 2\npinning: nume\n",
    "2: pinning: \"nume\" is unknown (did you mean \"numa\"? expected none, numa, l3, one-to-one or shared)"
)]
#[case::pinning_key(
    "pinning: numa,smtp=any\n",
    "1: pinning: \"smtp\" is not a key of a policy (did you mean \"smt\"? expected vcpus, smt, overlap, isolated, kind, emulator, iothreads, vhost or require)"
)]
fn what_decides_where_vcpus_go_is_refused(#[case] config: &str, #[case] says: &str) {
    let lab = Lab::small();
    lab.config(100, config);
    for command in ["check", "plan", "apply"] {
        let run = lab.run(&[command, "100", "--format", "json"]).ended(2);
        let document = run.json();
        let message = document["error"]["message"].as_str().expect("a text");
        assert_eq!(run.err, format!("numapin: {message}\n"));
        let error = json!({"kind": "malformed", "message": message});
        assert_eq!(document, json!({"schema": 1, "error": error}));
        // A policy may stand elsewhere, too: whose it is is told first. A mode may be told with its key.
        let message = message.strip_prefix("guest 100: ").unwrap_or(message);
        let message = message.replace("pinning: vcpus: ", "pinning: ");
        assert!(message.starts_with(&format!("{FILE}:{says}")), "{message}");
    }
}

#[rstest]
#[case::no_line(
    "cores 2\nsockets: 1\n",
    "1: \"cores 2\" can't be read (expected \"key: value\"): it is passed over"
)]
#[case::number(
    "cores: two\n",
    "1: cores: \"two\" is not a number from 0 up: the line is passed over, as Proxmox VE does"
)]
#[case::boolean(
    "numa: maybe\n",
    "1: numa: \"maybe\" is not a boolean (expected 0 or 1): the line is passed over, as Proxmox VE does"
)]
#[case::memory("memory: much\n", "1: memory: ")]
#[case::hugepages(
    "numa: 1\nhugepages: 4\n",
    "2: hugepages: \"4\" is unknown (expected any, 2 or 1024): the line is passed over, as Proxmox VE does"
)]
#[case::hostpci("hostpci0: 41\n", "1: hostpci0: ")]
#[case::lock(
    "lock: me\n",
    "1: lock: \"me\" is unknown (expected backup, clone, create, migrate, rollback, snapshot, snapshot-delete, suspending or suspended): the line is passed over, as Proxmox VE does"
)]
#[case::section(
    "cores: 1\n[x]\ncores\n",
    "2: section [x] is unknown: it is passed over"
)]
#[case::section_twice(
    "[PENDING]\n[PENDING]\n",
    "2: section [PENDING] is there twice: only the last one counts"
)]
#[case::delete(
    "delete: cores\n",
    "1: delete: counts only in the section [PENDING]: it is passed over"
)]
#[case::numa_off(
    "numa0: cpus=0,memory=512\n",
    "1: numa0 counts for nothing without numa: 1"
)]
#[case::numa_gap(
    "numa: 1\nmemory: 512\nnuma1: cpus=0,memory=512\n",
    "3: the guest can't start: numa0 is missing (expected numa0, numa1, ... without a gap)"
)]
#[case::numa_memory(
    "numa: 1\nmemory: 512\nnuma0: cpus=0\n",
    "3: the guest can't start: numa0 has no memory (expected memory=MiB)"
)]
#[case::numa_sum(
    "numa: 1\nmemory: 1024\nnuma0: cpus=0,memory=512\n",
    "3: the guest can't start: memory of the numaN lines is 512 MiB, that of the guest 1024 MiB (expected the same)"
)]
#[case::numa_no_policy(
    "numa: 1\nmemory: 512\nnuma0: cpus=0,hostnodes=0,memory=512\n",
    "3: the guest can't start: numa0 has hostnodes but no policy (expected policy=bind or policy=preferred)"
)]
#[case::hugepages_off("hugepages: 2\n", "1: the guest can't start: hugepages needs numa: 1")]
#[case::vcpus(
    "vcpus: 9\ncores: 2\n",
    "1: vcpus: 9 is more than the guest has (2, sockets x cores)"
)]
#[case::args(
    "args: -smp 8\n",
    "1: args has -smp, which overrides what is planned here: the shape of the running guest is what QMP says"
)]
fn what_is_odd_is_told_and_passed_over(#[case] config: &str, #[case] says: &str) {
    let lab = Lab::small();
    lab.config(100, config);
    let run = lab.run(&["check", "100", "--mode", "numa"]).ended(0);
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    let line = format!("numapin: {FILE}:{says}");
    assert!(run.err.starts_with(&line), "{}", run.err);
    let whole = says.ends_with(": ") || run.err == format!("{line}\n");
    assert!(whole, "{}", run.err);
}

#[test]
fn zero_counts_as_unset_and_the_last_of_two_counts() {
    let lab = Lab::small();
    lab.config(100, "cores: 8\ncores: 0\nsockets: 0\n");
    let run = lab.run(&["check", "100", "--mode", "numa"]).quiet(0);
    assert!(
        run.out.starts_with("guest 100: 1 socket x 1 core, "),
        "{}",
        run.out
    );
    lab.config(100, "smp: 3\nsockets: 0\n");
    let run = lab.run(&["check", "100", "--mode", "numa"]).quiet(0);
    assert!(
        run.out.starts_with("guest 100: 3 sockets x 1 core, "),
        "{}",
        run.out
    );
}

#[test]
fn a_config_that_is_no_text_at_all() {
    let lab = Lab::small();
    lab.write(
        "etc/pve/qemu-server/100.conf",
        [0xff, 0xfe, 0, b'c', b'\n', 0x80],
    );
    let run = lab.run(&["check", "100", "--mode", "numa"]).ended(2);
    let says = "can't be read, nor can any other line (expected the config of a guest: lines of \"key: value\", like \"cores: 4\")\n";
    assert!(
        run.err.starts_with(&format!("numapin: {FILE}:1: \"")),
        "{}",
        run.err
    );
    assert!(
        run.err.ends_with(says) && run.err.lines().count() == 1,
        "{}",
        run.err
    );
}

#[test]
fn an_absurd_shape_is_refused_without_being_built() {
    let lab = Lab::small();
    lab.config(100, "cores: 4294967295\nsockets: 99999999999999999999\n");
    let run = lab.run(&["check", "100", "--mode", "numa"]).quiet(3);
    assert!(
        run.out.starts_with("guest 100 can't be pinned:\n  - ") && run.out.lines().count() == 2,
        "{}",
        run.out
    );
    assert!(
        run.out
            .contains("a number of vcpus that a guest can have (expected 1 to 8192)"),
        "{}",
        run.out
    );
}
