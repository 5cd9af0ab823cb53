//! What bad descriptions, names and directories get.

#![allow(clippy::unwrap_used)]

mod support;

use numapin_sysfs_sim::{Host, Machine};
use rstest::rstest;
use support::tempdir;

#[rstest]
#[case("shape = { packages = 2 ", "h.toml:1: ")]
#[case(
    "numbering = \"blocked\"\n\nshapes = 1\n",
    "h.toml:3: unknown field `shapes`, expected one of "
)]
#[case(
    "shape = { cores = -1 }",
    "h.toml:1: invalid value: integer `-1`, expected u32"
)]
#[case(
    "shape = {}\nnumbering = \"odd\"",
    "h.toml:2: unknown variant `odd`, expected one of `adjacent`, `blocked`"
)]
#[case("shape = {}\noffline = \"3-1\"", "h.toml:2: '3-1' runs backwards")]
#[case(
    "",
    "h.toml:1: neither shape nor cores (expected a machine description or a recording)"
)]
#[case(
    "provenance = \"x\"\nshape = { cores = 0 }",
    "h.toml:2: shape.cores: 0 (expected at least 1)"
)]
#[case(
    "# nodes_of_an_l3\nshape = { nodes = 3, nodes_of_an_l3 = 2 }",
    "h.toml:1: shape.nodes_of_an_l3: 2 needs l3s = 1 and nodes (here 3) a multiple of it"
)]
#[case(
    "shape = { nodes = 2, dies = 3 }",
    "h.toml:1: shape.dies: 3 dies can't share 2 nodes or L3s evenly"
)]
#[case(
    "shape = { packages = 1000, cores = 1000 }",
    "h.toml:1: cores: 1000000 cpus (expected at most 65536)"
)]
#[case(
    "shape = { packages = 4294967295, nodes = 4294967295, l3s = 4294967295, cores = 4294967295, threads = 4294967295 }",
    "h.toml:1: cores: "
)]
#[case(
    "shape = {}\noffline = \"0\"",
    "h.toml:2: offline: no cpu is left online"
)]
#[case(
    "shape = {}\noffline = \"1\"",
    "h.toml:2: offline: cpu 1 is not a cpu of this machine"
)]
#[case(
    "cpu_ids = [0]\nshape = { cores = 2 }",
    "h.toml:1: cpu_ids: 1 ids for 2 cpus"
)]
#[case(
    "cpu_ids = [0, 0]\nshape = { cores = 2 }",
    "h.toml:1: cpu_ids: cpu 0 stands twice"
)]
#[case(
    "cpu_ids = [0, 4294967295]\nshape = { cores = 2 }",
    "h.toml:1: cpu_ids: 4294967295 is beyond the highest id, 1048576"
)]
#[case(
    "node_ids = [1, 1]\nshape = { nodes = 2 }",
    "h.toml:1: node_ids: an id stands twice"
)]
#[case(
    "node_ids = [1]\nshape = { nodes = 2 }",
    "h.toml:1: node_ids: 1 ids for 2 nodes"
)]
#[case(
    "distances = [[10]]\nshape = { nodes = 2 }",
    "h.toml:1: distances: expected 2 rows of 2 columns, one for each node"
)]
#[case(
    "shape = {}\n[[cores]]\ncount = 1",
    "h.toml:2: cores: stands beside shape (expected one of them)"
)]
#[case(
    "[[cores]]\nthreads = 0",
    "h.toml:2: cores.threads: 0 (expected at least 1)"
)]
#[case(
    "[[cores]]\nkind = \"fast\"",
    "h.toml:2: cores.kind: 'fast' is not in kinds"
)]
#[case(
    "shape = {}\nkinds = [{ name = \"../x\" }]",
    "h.toml:2: kinds.name: '../x' is no name (expected letters, digits and _)"
)]
#[case(
    "shape = {}\npci = [{ address = \"41:00.0\" }]",
    "h.toml:2: pci.address: '41:00.0' is not like 0000:41:00.0"
)]
#[case(
    "shape = {}\npci = [{ address = \"0000:41:00.0\", node = 3 }]",
    "h.toml:2: pci.node: node 3 is not a node of this machine"
)]
#[case(
    "shape = {}\nquirks = { mask_bits = 0 }",
    "h.toml:2: quirks.mask_bits: 0 is not between 1, the possible cpus, and 1048576"
)]
#[case(
    "shape = { cores = 16384 }\nquirks = { mask_bits = 1048576 }",
    "h.toml:2: quirks.mask_bits: masks of 1048576 bits for 16384 cpus are too much; set lists_only"
)]
#[case(
    "shape = {}\nnodes = [{ id = 1 }, { id = 1 }]",
    "h.toml:2: nodes.id: node 1 stands twice"
)]
fn bad_descriptions(#[case] text: &str, #[case] start: &str) {
    let error = Machine::from_text(text, "h.toml").unwrap_err().to_string();
    assert!(error.starts_with(start), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn a_machine_is_a_name_a_file_or_a_directory() {
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let host = Host::grid(1, 2, 1, 2, 2);
    host.write_tree(&dir.path().join("tree")).unwrap();
    std::fs::write(
        path("host.toml"),
        "shape = { nodes = 2, cores = 2, threads = 2 }\n",
    )
    .unwrap();
    let from_dir = Machine::load(&path("tree")).unwrap();
    std::fs::write(
        path("host.recording"),
        match &from_dir {
            Machine::Recording(recording) => recording.to_string(),
            Machine::Description(_) => panic!("a directory is recorded"),
        },
    )
    .unwrap();
    let from_sysfs = Machine::load(&path("tree/sys")).unwrap();
    assert_eq!(
        Machine::load(&path("host.recording"))
            .unwrap()
            .tree()
            .unwrap(),
        from_dir.tree().unwrap()
    );
    assert_eq!(from_sysfs, from_dir);
    assert_eq!(
        Machine::load(&path("host.toml")).unwrap(),
        Machine::Description(Box::new(host))
    );
    assert!(matches!(
        Machine::load("epyc7351p").unwrap(),
        Machine::Description(_)
    ));

    let error = |what: &str| Machine::load(what).unwrap_err().to_string();
    assert!(error("epyc9999").starts_with(
        "'epyc9999' is neither a file, a directory nor one of the topologies epyc7351p, "
    ));
    std::fs::create_dir(path("empty")).unwrap();
    assert!(error(&path("empty")).contains("empty: holds neither sys/devices/system/cpu nor "));
    std::fs::write(path("bytes"), b"shape = {}\n\xff\n").unwrap();
    assert!(
        error(&path("bytes"))
            .ends_with("bytes:2: not UTF-8 (expected a machine description or a recording)")
    );
}

#[test]
fn nothing_that_exists_is_changed_and_no_link_followed() {
    let dir = tempdir();
    let host = Host::grid(1, 1, 1, 1, 1);
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    host.write_tree(&first).unwrap();
    let error = host.write_tree(&first).unwrap_err().to_string();
    assert!(
        error.ends_with(
            ": exists already; a machine is written into a directory that does not hold one"
        ),
        "{error}"
    );
    std::fs::create_dir_all(dir.path().join("outside")).unwrap();
    std::fs::create_dir_all(&second).unwrap();
    std::os::unix::fs::symlink("../outside", second.join("sys")).unwrap();
    let error = host.write_tree(&second).unwrap_err().to_string();
    assert!(error.contains("second/sys: exists already"), "{error}");
    assert_eq!(
        std::fs::read_dir(dir.path().join("outside"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_description_there_and_back() {
    let mut host = Host::grid(2, 2, 1, 4, 2);
    host.offline = [5, 6].into();
    host.nodes = vec![numapin_sysfs_sim::Node {
        id: 7,
        ..Default::default()
    }];
    let text = toml::to_string(&host).unwrap();
    assert!(text.contains("offline = \"5-6\""));
    assert_eq!(Host::parse(&text, "x").unwrap(), host);
}
