//! What malformed hosts get: sysfs trees, descriptions and recordings.

use std::fs;

use rstest::rstest;
use serde_json::json;

use crate::support::{Lab, directory, numapin_in};

const LIST: &str = "is not a number or a range (expected a list like \"0-3,16-19\")";

#[rstest]
#[case::online(
    "cpu/online",
    "0-31x\n",
    "\"0-31x\" is not a number or a range (expected a list like \"0-3,16-19\")"
)]
#[case::online_backwards("cpu/online", "31-0\n", "\"31-0\" runs backwards (expected \"0-31\")")]
#[case::online_huge(
    "cpu/online",
    "0-4294967295\n",
    "\"0-4294967295\" is beyond the highest id that can be (1048575)"
)]
#[case::online_gap(
    "cpu/online",
    "0,,2\n",
    "\"\" is not a number or a range (expected a list like \"0-3,16-19\")"
)]
#[case::isolated(
    "cpu/isolated",
    "none\n",
    "\"none\" is not a number or a range (expected a list like \"0-3,16-19\")"
)]
#[case::nodes(
    "node/online",
    "0;1\n",
    "\"0;1\" is not a number or a range (expected a list like \"0-3,16-19\")"
)]
#[case::cpulist(
    "node/node1/cpulist",
    "4-7,20-\n",
    "\"20-\" is not a number or a range (expected a list like \"0-3,16-19\")"
)]
#[case::siblings(
    "cpu/cpu0/topology/core_cpus_list",
    "0,sixteen\n",
    "\"sixteen\" is not a number or a range (expected a list like \"0-3,16-19\")"
)]
#[case::l3(
    "cpu/cpu0/cache/index3/shared_cpu_list",
    "?\n",
    "\"?\" is not a number or a range (expected a list like \"0-3,16-19\")"
)]
fn a_file_that_says_where_cpus_are_is_refused(
    #[case] file: &str,
    #[case] text: &str,
    #[case] says: &str,
) {
    let lab = Lab::rfc();
    lab.config(100, "cores: 2\n");
    let path = format!("sys/devices/system/{file}");
    assert!(lab.at(&path).is_file(), "{path}");
    lab.write(&path, text);
    let line = format!("ROOT/{path}: {says}");
    lab.run(&["topology"]).refused(2, &line);
    lab.run(&["check", "100"]).refused(2, &line);
    let document = json!({"schema": 1, "error": {"kind": "malformed", "message": line}});
    assert_eq!(
        lab.run(&["topology", "--format", "json"]).ended(2).json(),
        document
    );
}

#[test]
fn masks_of_old_kernels_are_checked_too() {
    let lab = Lab::rfc();
    fs::remove_file(lab.at("sys/devices/system/node/node0/cpulist")).expect("it was there");
    lab.write("sys/devices/system/node/node0/cpumap", "000f000g\n");
    let line = "ROOT/sys/devices/system/node/node0/cpumap: \"000f000g\" is not a group of a mask (expected up to 8 hexadecimal \
                digits, groups separated by commas)";
    lab.run(&["topology"]).refused(2, line);
}

#[test]
fn a_list_of_online_cpus_that_is_absent_is_counted_and_checked() {
    let lab = Lab::rfc();
    fs::remove_file(lab.at("sys/devices/system/cpu/online")).expect("it was there");
    lab.run(&["topology"]).quiet(0);
    lab.write("sys/devices/system/cpu/cpu3/online", "yes\n");
    lab.run(&["topology"]).refused(
        2,
        "ROOT/sys/devices/system/cpu/cpu3/online: \"yes\" is not a number (expected 0 or 1)",
    );
}

#[test]
fn nothing_online_is_no_host() {
    let lab = Lab::rfc();
    lab.write("sys/devices/system/cpu/online", "\n");
    lab.run(&["topology"]).refused(
        2,
        "ROOT/sys/devices/system/cpu: no online cpu found (expected the /sys of a Linux host: devices/system/cpu/online, or \
         directories cpu0, cpu1, ...)",
    );
}

#[rstest]
#[case("cpu/online")]
#[case("node/node0/cpulist")]
#[case("cpu/isolated")]
fn a_directory_in_place_of_a_file(#[case] file: &str) {
    let lab = Lab::rfc();
    let path = format!("sys/devices/system/{file}");
    fs::remove_file(lab.at(&path)).expect("it was there");
    fs::create_dir(lab.at(&path)).expect("it can be made");
    let line = format!("ROOT/{path}: is a directory (expected a file)");
    lab.run(&["topology"]).refused(2, &line);
}

#[rstest]
#[case::distance(
    "node/node0/distance",
    "10 16\n",
    "\"10 16\" has 2 distances (expected 4, one for each online host node); every distance counts as unknown"
)]
#[case::memory("node/node1/meminfo", "Node 1 MemTotal: lots kB\n", "")]
#[case::package("cpu/cpu0/topology/physical_package_id", "zero\n", "")]
#[case::present(
    "cpu/present",
    "all\n",
    "\"all\" is not a number or a range (expected a list like \"0-3,16-19\"); which cpus are offline counts as unknown"
)]
fn a_file_that_only_weighs_plans_is_told_and_unknown(
    #[case] file: &str,
    #[case] text: &str,
    #[case] says: &str,
) {
    let lab = Lab::rfc();
    lab.config(100, "cores: 2\npinning: one-to-one\n");
    let path = format!("sys/devices/system/{file}");
    lab.write(&path, text);
    let run = lab.run(&["plan", "100"]).ended(0);
    let line = format!("numapin: ROOT/{path}: {says}");
    assert!(
        run.err.starts_with(&line) && run.err.lines().count() == 1,
        "{}",
        run.err
    );
    assert!(run.err.ends_with("counts as unknown\n"), "{}", run.err);
    assert!(run.out.contains("vcpu 1 -> cpu "), "{}", run.out);
}

#[test]
fn a_cpuset_that_cannot_be_read_is_refused() {
    let lab = Lab::rfc();
    lab.config(100, "cores: 2\n");
    lab.write("sys/fs/cgroup/cpuset.cpus.isolated", "1-\n");
    let run = lab.run(&["check", "100"]);
    run.refused(
        2,
        &format!("ROOT/sys/fs/cgroup/cpuset.cpus.isolated: \"1-\" {LIST}"),
    );
}

#[rstest]
#[case::no_toml("shape = {\n", "1", "")]
#[case::unknown_key("provenance = \"x\"\nshap = 3\n", "2", "unknown field `shap`")]
#[case::mistyped("shape = { packages = \"two\" }\n", "1", "invalid type")]
#[case::no_machine(
    "provenance = \"x\"\n",
    "1",
    "neither shape nor cores (expected a machine description or a recording)"
)]
#[case::too_many(
    "shape = { packages = 1, nodes = 1, l3s = 1, cores = 0, threads = 1 }\n",
    "1",
    ""
)]
#[case::offline(
    "offline = \"9\"\nshape = { packages = 1, nodes = 1, l3s = 1, cores = 2, threads = 1 }\n",
    "1",
    ""
)]
#[case::no_version(
    "numapin-recording 99\n",
    "1",
    "version '99' of recordings is unknown (expected 1)"
)]
#[case::no_entry(
    "numapin-recording 1\n\nsys/devices\n",
    "3",
    "'sys/devices' is no entry (expected 'PATH = TEXT', 'PATH -> TARGET', 'PATH <<' or 'PATH/')"
)]
#[case::outside(
    "numapin-recording 1\n\nsys/../../etc/passwd = x\n",
    "3",
    "path 'sys/../../etc/passwd' "
)]
#[case::link_outside(
    "numapin-recording 1\n\nsys/a -> ../../etc\n",
    "3",
    "the link 'sys/a' leads to '../../etc', which is not inside the tree"
)]
#[case::absolute("numapin-recording 1\n\n/etc/passwd = x\n", "3", "path '/etc/passwd' ")]
#[case::twice(
    "numapin-recording 1\n\nsys/a = 1\nsys/a = 2\n",
    "4",
    "path 'sys/a' stands in line 3 already"
)]
#[case::brace(
    "numapin-recording 1\n\nsys/{a = 1\n",
    "3",
    "'sys/{a' has a '{' without its '}'"
)]
#[case::bomb(
    "numapin-recording 1\n\nsys/{0-999999}/{0-999999} = 1\n",
    "3",
    "more than 2000000 paths"
)]
#[case::lines("numapin-recording 1\n\n| x\n", "3", "'| x' belongs to no '<<'")]
fn a_description_or_recording_that_is_none(
    #[case] text: &str,
    #[case] line: &str,
    #[case] says: &str,
) {
    let dir = directory();
    fs::write(dir.path().join("host.txt"), text).expect("it can be written");
    let run = numapin_in(dir.path(), ["simulate", "--host", "host.txt"]).ended(2);
    assert_eq!(run.out, "");
    let start = format!("numapin: host.txt:{line}: {says}");
    assert!(
        run.err.starts_with(&start) && run.err.lines().count() == 1,
        "{}",
        run.err
    );
    assert!(
        run.err.trim_end().len() > start.trim_end().len() || !says.is_empty(),
        "{}",
        run.err
    );
    let left: Vec<_> = fs::read_dir(dir.path()).expect("readable").collect();
    assert_eq!(left.len(), 1, "nothing was written");
}

#[test]
fn a_recording_without_a_host_is_told_by_the_reader() {
    let dir = directory();
    fs::write(
        dir.path().join("host.txt"),
        "numapin-recording 1\n\nsys/devices/\n",
    )
    .expect("it can be written");
    let run = numapin_in(dir.path(), ["simulate", "--host", "host.txt"]).ended(2);
    assert!(
        run.err
            .contains("devices/system/cpu: no online cpu found (expected the /sys of a Linux host"),
        "{}",
        run.err
    );
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
}

#[test]
fn bytes_that_are_no_text() {
    let dir = directory();
    fs::write(dir.path().join("host.txt"), b"provenance = \"\"\n# \xff\n")
        .expect("it can be written");
    let line = "host.txt:2: not UTF-8 (expected a machine description or a recording)";
    numapin_in(dir.path(), ["simulate", "--host", "host.txt"]).refused(2, line);
}

#[test]
fn an_unknown_host_names_the_known_ones() {
    let names: Vec<_> = numapin_sysfs_sim::topologies::names().collect();
    let line = format!(
        "'epyc' is neither a file, a directory nor one of the topologies {}",
        names.join(", ")
    );
    numapin_in(directory().path(), ["simulate", "--host", "epyc"]).refused(2, &line);
}
