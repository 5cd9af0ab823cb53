//! `numapin simulate`: the whole flow without a hypervisor.

use std::fs;

use numapin_sysfs_sim::topologies;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Lab, Run, at, directory, numapin, numapin_in};

const SMALL: &str = "shape = { packages = 1, nodes = 2, l3s = 1, cores = 4, threads = 2 }\nnumbering = \"blocked\"\n";

/// Runs `simulate` in a directory with a small host and two guests.
fn simulate(args: &[&str]) -> (tempfile::TempDir, Run) {
    let dir = directory();
    fs::write(dir.path().join("host.toml"), SMALL).expect("it can be written");
    for (name, text) in [
        (
            "100.conf",
            "name: web\ncores: 2\nsockets: 2\nnuma: 1\nmemory: 1024\n",
        ),
        (
            "db.conf",
            "name: db\ncores: 3\nmemory: 1024\npinning: one-to-one\n",
        ),
        ("big.conf", "cores: 17\nmemory: 1024\n"),
    ] {
        fs::write(dir.path().join(name), text).expect("it can be written");
    }
    let args = ["simulate"].iter().chain(args);
    let run = numapin_in(dir.path(), args);
    (dir, run)
}

#[test]
fn without_arguments_the_six_guests_of_the_rfc_are_shown() {
    let run = numapin(["simulate"]).quiet(0);
    let mut rest = run.out.as_str();
    assert!(
        rest.starts_with("host epyc7351p: 32 cpus online, 16 cores, "),
        "{rest}"
    );
    for guest in ["A", "B", "C", "D", "E", "F"] {
        let (_, after) = rest
            .split_once(&format!("\nguest {guest}: "))
            .expect("its road");
        let road = after.split("\n\n").next().expect("a block");
        let pinned = matches!(guest, "E" | "F");
        assert_eq!(
            road.contains("  read back        8 of 8 masks as planned"),
            pinned,
            "{road}"
        );
        assert_eq!(
            road.contains("  local share      25 % before, 100 % after"),
            pinned,
            "{road}"
        );
        rest = after;
    }
    let (_, table) = rest.split_once("\nguest  shape").expect("a table");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .skip(1)
        .take(6)
        .map(|row| {
            row.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect();
    let last: Vec<_> = rows
        .iter()
        .map(|row| (row[0], *row.last().expect("cells")))
        .collect();
    assert_eq!(
        last,
        [
            ("A", "25 %"),
            ("B", "25 %"),
            ("C", "25 %"),
            ("D", "25 %"),
            ("E", "100 %"),
            ("F", "100 %")
        ]
    );
    assert_eq!(rows[5][2..5], ["one-to-one", "0 1 2 3", "0"]);
    assert!(
        run.out.contains("\nlocal share: an estimate."),
        "{}",
        run.out
    );
    assert_eq!(numapin(["simulate"]), run, "same input, same bytes");
}

#[test]
fn every_topology_in_every_mode() {
    // Two guests for each mode, all on one host: every host has room for them.
    let dir = directory();
    let mut guests = Vec::new();
    for mode in ["none", "numa", "l3", "one-to-one", "shared"] {
        for (shape, text) in [
            ("one", "cores: 2\n"),
            ("two", "sockets: 2\ncores: 1\nnuma: 1\n"),
        ] {
            let text = format!("{text}memory: 512\npinning: {mode}\n");
            let name = format!("{shape}-{mode}.conf");
            fs::write(dir.path().join(&name), text).expect("it can be written");
            guests.push(name);
        }
    }
    for name in topologies::names() {
        let mut args = vec!["simulate", "--host", name];
        args.extend(guests.iter().map(String::as_str));
        let run = numapin_in(dir.path(), args).ended(0);
        for guest in &guests {
            let guest = guest.trim_end_matches(".conf");
            let (_, road) = run
                .out
                .split_once(&format!("\nguest {guest}: "))
                .expect("its road");
            let road = road.split("\n\n").next().expect("a block");
            let line = if guest.ends_with("-none") {
                "  affinity         none is set: every vcpu may run on cpus "
            } else {
                "  read back        2 of 2 masks as planned"
            };
            assert!(road.contains(line), "{name}: {road}");
        }
    }
}

#[test]
fn guests_start_one_after_the_other_on_one_host() {
    let (_dir, run) = simulate(&[
        "--host",
        "host.toml",
        "100.conf",
        "db.conf",
        "--mode",
        "one-to-one",
        "--format",
        "json",
    ]);
    let document = run.ended(0).json();
    assert_eq!(at(&document, "/schema"), 1);
    assert_eq!(at(&document, "/host"), "host.toml");
    let guests = at(&document, "/guests").as_array().expect("guests");
    let mut all: Vec<&str> = Vec::new();
    for (guest, (label, vcpus)) in guests.iter().zip([("100", 4), ("db", 3)]) {
        assert_eq!(
            (at(guest, "/label"), at(guest, "/started")),
            (&json!(label), &json!(true))
        );
        let planned = at(guest, "/plan/vcpus").as_array().expect("vCPUs");
        let masks = at(guest, "/masks").as_object().expect("masks");
        assert_eq!((planned.len(), masks.len()), (vcpus, vcpus));
        for vcpu in planned {
            let mask = &masks[&at(vcpu, "/vcpu").to_string()];
            assert_eq!(mask, at(vcpu, "/cpus"));
            all.extend(mask.as_str());
        }
        // The second one finds no node with three free cores, and cores come before nodes.
        let local = if label == "100" { 100.0 } else { 55.6 };
        assert_eq!(at(guest, "/local_after"), local);
        assert_eq!(at(guest, "/sibling_pairs"), 0);
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 7, "{all:?}");
}

#[test]
fn a_guest_that_does_not_fit_is_refused_and_the_others_start() {
    let args = [
        "--host",
        "host.toml",
        "big.conf",
        "100.conf",
        "--mode",
        "numa",
    ];
    let run = simulate(&args).1.quiet(3);
    assert!(
        run.out.contains("\nguest big can't be pinned:\n  - "),
        "{}",
        run.out
    );
    assert!(run.out.contains("4 of 4 masks as planned"), "{}", run.out);
    assert!(
        run.out
            .lines()
            .any(|line| line.starts_with("big ") && line.ends_with(" refused")),
        "{}",
        run.out
    );
    let args = [&args[..], &["--format", "json"]].concat();
    let document = simulate(&args).1.quiet(3).json();
    let refused = at(&document, "/guests/0");
    assert_eq!(
        (at(refused, "/started"), at(refused, "/plan")),
        (&json!(false), &Value::Null)
    );
    assert_eq!(at(refused, "/label"), "big");
    assert_eq!(at(refused, "/violations/0/wanted"), 17);
    // A file named after a guest keeps its number.
    assert_eq!(at(&document, "/guests/1/plan/guest/vmid"), 100);
    assert_eq!(at(&document, "/guests/1/started"), true);
}

#[test]
fn what_is_kept_can_be_looked_into() {
    let (dir, run) = simulate(&[
        "--host",
        "host.toml",
        "--keep",
        "machine",
        "100.conf",
        "db.conf",
        "--mode",
        "one-to-one",
        "--overlap",
        "deny",
    ]);
    let run = run.ended(0);
    assert!(
        run.out
            .ends_with("kept: machine (look into it with: numapin topology --root machine)\n"),
        "{}",
        run.out
    );
    let topology = numapin_in(
        dir.path(),
        ["topology", "--root", "machine", "--format", "json"],
    )
    .quiet(0)
    .json();
    assert_eq!(at(&topology, "/nodes/1/cpus"), "4-7,12-15");
    // Its guests hold their CPUs: a guest of 16 vCPUs of its own finds no room, one of 4 does.
    let plan = |cores: &str| {
        let args = [
            "plan",
            "100",
            "--root",
            "machine",
            "--affinity",
            "0-15",
            "--sockets",
            "1",
            "--numa",
            "0",
            "--cores",
            cores,
        ];
        numapin_in(
            dir.path(),
            args.iter().chain(&[
                "--mode",
                "one-to-one",
                "--overlap",
                "deny",
                "--format",
                "json",
            ]),
        )
    };
    let document = plan("4").quiet(0).json();
    assert_eq!(
        at(&document, "/plans/0/vcpus").as_array().map(Vec::len),
        Some(4)
    );
    let document = plan("16").quiet(3).json();
    assert_eq!(at(&document, "/violations/0/guest"), "100");
    // A machine is not written over another one.
    let again = numapin_in(
        dir.path(),
        [
            "simulate",
            "--host",
            "host.toml",
            "--keep",
            "machine",
            "100.conf",
        ],
    )
    .ended(2);
    assert!(
        again.err.contains(
            "exists already; a machine is written into a directory that does not hold one"
        ),
        "{}",
        again.err
    );
}

#[test]
fn a_host_may_be_a_directory_or_a_recording() {
    let lab = Lab::small();
    lab.write("guest.conf", "cores: 2\nmemory: 512\n");
    let root = lab.path().to_str().expect("UTF-8").to_owned();
    numapin(["record", "-", "--root", &root]).ended(0);
    let recording = lab.at("host.recording");
    numapin_in(lab.path(), ["record", "host.recording", "--root", "."]).ended(0);
    let texts: Vec<_> = [root.as_str(), recording.to_str().expect("UTF-8"), "."]
        .iter()
        .map(|host| {
            let args = [
                "simulate",
                "--host",
                host,
                "guest.conf",
                "--mode",
                "one-to-one",
            ];
            let run = numapin_in(lab.path(), args).ended(0);
            let (_, rest) = run.out.split_once("\nguest guest: ").expect("its road");
            rest.to_owned()
        })
        .collect();
    assert!(texts[0].contains("2 of 2 masks as planned"), "{}", texts[0]);
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
}

#[rstest]
#[case(&["--root", "."], ".: simulate makes a machine of its own (choose the host with --host ., and leave it with --keep DIR)")]
#[case(&["--qmp", "x"], "--qmp is for a QEMU that runs, and simulate starts its own (expected the paths of .conf files, or none)")]
#[case(&["nowhere.conf"], "nowhere.conf: there is no such file (expected the path of a .conf file)")]
#[case(&["."], ".: is a directory (expected a file)")]
#[case(&["--mode", "nume"], "--mode: \"nume\" is unknown (did you mean \"numa\"? expected none, numa, l3, one-to-one or shared)")]
fn what_cannot_be_simulated(#[case] args: &[&str], #[case] line: &str) {
    simulate(args).1.refused(2, line);
}
