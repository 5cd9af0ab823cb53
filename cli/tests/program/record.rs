//! `numapin record`: a host in one text file, and back.

use std::fs;
use std::os::unix::fs::symlink;

use numapin_sysfs_sim::{Host, Machine};
use rstest::rstest;

use crate::support::{Lab, captured_hosts, directory, numapin, numapin_in};

fn topology(root: &str) -> String {
    let args = ["topology", "--format", "json", "--root", root];
    numapin(args).ended(0).out
}

#[rstest]
#[case("epyc7351p")]
#[case("hybrid-i7-1370p")]
#[case("xeon6230-2s-snc2")]
fn what_is_recorded_is_the_host(#[case] name: &str) {
    let lab = Lab::named(name);
    let root = lab.path().to_str().expect("UTF-8");
    let text = numapin(["record", "-", "--root", root]).ended(0).out;
    assert!(text.starts_with("numapin-recording 1\n"), "{}", &text[..60]);
    // To a file it is the same, and nothing is said.
    let file = lab.at("recording");
    let run = numapin([
        "record",
        file.to_str().expect("UTF-8"),
        "--sysfs-root",
        root,
    ])
    .ended(0);
    assert_eq!(run.out, "");
    assert_eq!(fs::read_to_string(&file).expect("it was written"), text);
    // And back.
    let back = directory();
    let machine = Machine::from_text(&text, "recording").expect("a recording");
    machine.write_tree(back.path()).expect("it can be written");
    assert_eq!(
        topology(back.path().to_str().expect("UTF-8")),
        topology(root)
    );
    // A recording of the recording is the recording.
    let again = numapin([
        "record",
        "-",
        "--root",
        back.path().to_str().expect("UTF-8"),
    ])
    .ended(0)
    .out;
    assert_eq!(again, text);
}

#[test]
fn captured_hosts_go_through_a_recording() {
    for (dir, oracle) in captured_hosts() {
        let root = dir.path().to_str().expect("UTF-8");
        let text = numapin(["record", "-", "--root", root]).ended(0).out;
        let back = directory();
        let machine = Machine::from_text(&text, "recording").expect("a recording");
        machine.write_tree(back.path()).expect("it can be written");
        let again = topology(back.path().to_str().expect("UTF-8"));
        assert_eq!(again, topology(root), "{oracle:?}");
    }
}

#[test]
fn where_it_comes_from_is_kept() {
    let lab = Lab::small();
    let run = lab
        .run(&["record", "-", "--provenance", "rack 7, node b"])
        .ended(0);
    let line = run.out.lines().nth(1);
    assert_eq!(line, Some("provenance: rack 7, node b"));
}

#[test]
fn nothing_outside_the_root_is_read() {
    let mut host = Host::grid(1, 1, 1, 2, 1);
    host.isolated = [1].into();
    let lab = Lab::of(&host);
    let outside = directory();
    fs::write(outside.path().join("secret"), "do not tell\n").expect("it can be written");
    let isolated = lab.at("sys/devices/system/cpu/isolated");
    fs::remove_file(&isolated).expect("it was there");
    symlink(outside.path().join("secret"), &isolated).expect("a link");
    let run = lab.run(&["record", "-"]);
    assert!(!run.out.contains("do not tell"), "{}", run.out);
    let whole = run.code == 0 && run.out.contains("sys/devices/system/cpu/online = 0-1\n");
    assert!(whole || run.err.contains("isolated"), "{run:?}");
}

#[test]
fn what_cannot_be_recorded_or_written() {
    let lab = Lab::small();
    let says = "holds neither sys/devices/system/cpu nor devices/system/cpu (expected the root of a machine, or its sysfs)";
    let empty = directory();
    numapin_in(empty.path(), ["record", "-", "--root", "."]).refused(2, &format!(".: {says}"));
    numapin_in(empty.path(), ["record", "-", "--root", "nowhere"])
        .refused(2, &format!("nowhere: {says}"));
    lab.run(&["record", "nowhere/file"])
        .refused(1, "nowhere/file: no such file or directory");
}
