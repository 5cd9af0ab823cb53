//! How many files are opened to read a host (strace).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use numapin_sysfs_sim::Machine;

/// 96 CPUs in 48 cores, 16 L3s, 8 nodes and dies, 2 packages: each file that tells of a group is opened once for it.
#[test]
fn a_host_is_read_by_its_groups() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("host");
    let machine = Machine::load("epyc7451-2s").expect("a host that is embedded");
    machine
        .write_tree(&root)
        .expect("a directory to write into");
    let calls = dir.path().join("calls");
    let mut strace = Command::new("strace");
    strace
        .args(["-qq", "-e", "trace=openat", "-o"])
        .arg(&calls)
        .arg(env!("CARGO_BIN_EXE_numapin"))
        .args(["topology", "--format", "json", "--sysfs-root"])
        .arg(&root)
        .stdin(Stdio::null());
    let output = match strace.output() {
        Ok(output) => output,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return passed_over("no strace"),
        Err(e) => panic!("strace: {e}"),
    };
    let calls = fs::read_to_string(calls).unwrap_or_default();
    if !calls.contains("openat(") {
        return passed_over(&format!("strace may not trace here: {output:?}"));
    }
    assert!(output.status.success(), "{output:?}");

    // `openat(3, "cpu0/topology/die_id", O_RDONLY) = 5` is one "cpuN/topology/die_id".
    let mut opened = BTreeMap::new();
    for path in calls.lines().filter_map(|line| line.split('"').nth(1)) {
        let mut kind = String::new();
        for c in path.chars() {
            match c.is_ascii_digit() {
                false => kind.push(c),
                true if !kind.ends_with('N') => kind.push('N'),
                true => {}
            }
        }
        if kind.starts_with("cpuN/") || kind.starts_with("nodeN/") {
            *opened.entry(kind).or_insert(0) += 1;
        }
    }
    let expected = [
        ("cpuN/cache/indexN/level", 2), // once for each package of one kind of core
        ("cpuN/cache/indexN/shared_cpu_list", 16),
        ("cpuN/cpu_capacity", 1), // absent at the first
        ("cpuN/topology/core_cpus_list", 48),
        ("cpuN/topology/die_cpus_list", 8),
        ("cpuN/topology/die_id", 8 + 1), // at the first, whether there are any
        ("cpuN/topology/package_cpus_list", 2),
        ("cpuN/topology/physical_package_id", 2),
        ("nodeN/cpulist", 8),
        ("nodeN/distance", 8),
        ("nodeN/meminfo", 8),
    ];
    let expected = expected.map(|(kind, files)| (kind.to_owned(), files));
    assert_eq!(opened, BTreeMap::from(expected));
}

fn passed_over(why: &str) {
    let required = std::env::var("NUMAPIN_REQUIRE").is_ok_and(|parts| parts.contains("tools"));
    assert!(!required, "NUMAPIN_REQUIRE asks for tools: {why}");
    let said = writeln!(io::stderr(), "{why}: passed over");
    said.expect("stderr is open");
}
