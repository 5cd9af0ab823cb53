//! What can't be understood.

use rstest::rstest;

use crate::host::testing::Tree;

#[rstest]
#[case(
    "cpu/online",
    "0-x",
    "\"0-x\" is not a number or a range (expected a list like \"0-3,16-19\")"
)]
#[case("cpu/isolated", "3-1", "\"3-1\" runs backwards (expected \"1-3\")")]
#[case(
    "node/online",
    "node0",
    "\"node0\" is not a number or a range (expected a list like \"0-3,16-19\")"
)]
#[case(
    "node/node0/cpulist",
    "0;1",
    "\"0;1\" is not a number or a range (expected a list like \"0-3,16-19\")"
)]
#[case(
    "cpu/cpu0/topology/core_cpus_list",
    "0-99999999",
    "\"0-99999999\" is beyond the highest id that can be (1048575)"
)]
#[case(
    "cpu/cpu0/cache/index3/level",
    "L3",
    "\"L3\" is not a number (expected the level of a cache)"
)]
#[case(
    "cpu/cpu0/cache/index3/shared_cpu_list",
    "all",
    "\"all\" is not a number or a range (expected a list like \"0-3,16-19\")"
)]
fn what_says_where_a_cpu_is_must_be_understood(
    #[case] file: &str,
    #[case] text: &str,
    #[case] problem: &str,
) {
    let tree = Tree::plain(2).system(file, text);
    assert_eq!(
        tree.error(),
        format!("sys/devices/system/{file}: {problem}")
    );
}

#[rstest]
#[case("cpu/present", "?", "which cpus are offline")]
#[case("cpu/cpu0/topology/physical_package_id", "one", "physical_package_id")]
#[case("cpu/cpu0/topology/package_cpus_list", "one", "physical_package_id")]
#[case("cpu/cpu0/topology/die_id", "-7", "die_id")]
#[case("node/node0/meminfo", "Node 0 MemTotal: lots", "its memory")]
#[case(
    "node/node0/hugepages/hugepages-2048kB/free_hugepages",
    "-1",
    "the number of free huge pages"
)]
#[case("node/node0/distance", "near", "every distance")]
fn what_only_weighs_is_a_warning(#[case] file: &str, #[case] text: &str, #[case] unknown: &str) {
    let tree = Tree::plain(2).system(file, text);
    let warnings = tree.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with(&format!("sys/devices/system/{file}: ")),
        "{warnings:?}"
    );
    assert!(
        warnings[0].ends_with(&format!("; {unknown} counts as unknown")),
        "{warnings:?}"
    );
}

#[test]
fn a_directory_without_cpus_is_no_host() {
    let tree = Tree::new().file("sys/x", "");
    assert_eq!(
        tree.error(),
        "sys/devices/system/cpu: no online cpu found (expected the /sys of a Linux host: devices/system/cpu/online, or \
         directories cpu0, cpu1, ...)"
    );
}

#[test]
fn whatever_a_file_holds_no_reader_panics() {
    const FILES: [&str; 14] = [
        "cpu/online",
        "cpu/present",
        "cpu/isolated",
        "cpu/cpu1/cpu_capacity",
        "cpu/cpu0/topology/core_cpus_list",
        "cpu/cpu0/topology/package_cpus_list",
        "cpu/cpu0/topology/physical_package_id",
        "cpu/cpu0/topology/die_id",
        "cpu/cpu0/cache/index3/level",
        "cpu/cpu0/cache/index3/shared_cpu_list",
        "node/online",
        "node/node0/cpulist",
        "node/node0/distance",
        "node/node0/meminfo",
    ];
    const TEXTS: [&str; 12] = [
        "",
        "\n\0",
        "-",
        ",",
        "-1",
        "3",
        "7-9,0",
        "18446744073709551616",
        "0-3:9/2",
        "ffffffff,ffffffff",
        "Node 0 MemTotal: 99999999999999999999 kB",
        "\u{fffd}é",
    ];
    let mut outcomes = [0, 0];
    for file in FILES {
        for text in TEXTS {
            let tree = Tree::plain(2).cpu(0, "cpu_capacity", "9\n");
            match tree.system(file, text).read() {
                Ok(host) => {
                    assert!(!host.cpus.is_empty() && !host.nodes.is_empty());
                    outcomes[0] += 1;
                }
                Err(e) => {
                    assert!(e.to_string().contains("/devices/system/"), "{e}");
                    outcomes[1] += 1;
                }
            }
        }
    }
    assert!(outcomes.iter().all(|n| *n > 20), "{outcomes:?}");
}
