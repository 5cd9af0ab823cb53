//! What a plan depends on: flags, the config and where it is, devices, running guests.

use std::fs;
use std::os::unix::fs::symlink;

use numapin_qmp_mock::{Guest, Script};
use numapin_sysfs_sim::{Host, Numbering, Pci};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Lab, at, numapin};

#[rstest]
#[case(&[], "/policy/mode", json!("numa"))]
#[case(&["--policy", "l3"], "/policy/mode", json!("l3"))]
// `--policy` counts as a whole: nothing of the config's policy is left.
#[case(&["--policy", "l3"], "/policy/overlap", json!("avoid"))]
#[case(&["--policy", "vcpus=l3,smt=any"], "/policy/smt", json!("any"))]
// A flag overrides one key, and the rest stays.
#[case(&["--mode", "one-to-one"], "/policy/mode", json!("one-to-one"))]
#[case(&["--mode", "one-to-one"], "/policy/overlap", json!("deny"))]
#[case(&["--smt", "pack"], "/policy/smt", json!("pack"))]
#[case(&["--overlap", "allow"], "/policy/overlap", json!("allow"))]
#[case(&["--isolated", "allow"], "/policy/isolated", json!("allow"))]
#[case(&["--kind", "any"], "/policy/kind", json!("any"))]
#[case(&["--emulator", "node"], "/policy/emulator", json!("node"))]
#[case(&["--iothreads", "spare"], "/policy/iothreads", json!("spare"))]
#[case(&["--vhost", "keep"], "/policy/vhost", json!("keep"))]
#[case(&["--policy", "l3,smt=any", "--mode", "shared"], "/policy/mode", json!("shared"))]
#[case(&["--policy", "l3,smt=any", "--mode", "shared"], "/policy/smt", json!("any"))]
// Flags over the guest's own settings.
#[case(&["--sockets", "2"], "/guest/sockets", json!(2))]
#[case(&["--cores", "3"], "/guest/cores", json!(3))]
#[case(&["--sockets", "2", "--numa", "1"], "/virtual_nodes/1/vcpus", json!("2-3"))]
#[case(&["--affinity", "8-11"], "/vcpus/0/cpus", json!("8-11"))]
#[case(&["--affinity", "8-11", "--mode", "one-to-one"], "/vcpus/1/cpus", json!("9"))]
#[case(&["--host-node", "0=3"], "/virtual_nodes/0/host_nodes", json!("3"))]
fn flags_lie_over_the_config(#[case] flags: &[&str], #[case] pointer: &str, #[case] value: Value) {
    let lab = Lab::rfc();
    lab.config(100, "cores: 2\npinning: numa,overlap=deny\n");
    let args: Vec<&str> = ["plan", "100", "--format", "json"]
        .iter()
        .chain(flags)
        .copied()
        .collect();
    let document = lab.run(&args).ended(0).json();
    assert_eq!(at(at(&document, "/plans/0"), pointer), &value, "{document}");
}

#[test]
fn where_the_policy_stands_is_told() {
    let lab = Lab::small();
    lab.config(100, "cores: 2\npinning: numa\n");
    let source = |flags: &[&str]| {
        let args = ["plan", "100", "--format", "json"];
        let args: Vec<&str> = args.iter().chain(flags).copied().collect();
        let document = lab.run(&args).ended(0).json();
        at(&document, "/plans/0/policy/source").clone()
    };
    assert_eq!(source(&[]), "pinning: in the config, line 2");
    assert_eq!(source(&["--policy", "l3"]), "command line");
    assert_eq!(
        source(&["--kind", "any"]),
        "pinning: in the config, line 2, and the command line over it"
    );
}

#[test]
fn the_key_that_proxmox_drops_is_told() {
    let lab = Lab::small();
    lab.config(100, "cores: 2\npinning: l3\n");
    let output = crate::support::command()
        .args(["plan", "100", "--root"])
        .arg(lab.path())
        .output();
    let err = String::from_utf8(output.expect("it starts").stderr).expect("UTF-8");
    let says = "numapin: guest 100: stock Proxmox VE drops pinning: at its next write of the config (numapin set 100 l3 keeps it)\n";
    assert_eq!(err, says);
}

#[test]
fn host_nodes_of_a_virtual_node_are_chosen_and_fixed() {
    let lab = Lab::rfc();
    lab.config(
        100,
        "sockets: 2\ncores: 2\nnuma: 1\nmemory: 1024\nnuma0: cpus=0-1,hostnodes=3,memory=512,policy=bind\n\
         numa1: cpus=2-3,memory=512\npinning: numa\n",
    );
    let nodes = |flags: &[&str]| {
        let args: Vec<&str> = ["plan", "100", "--format", "json"]
            .iter()
            .chain(flags)
            .copied()
            .collect();
        let document = lab.run(&args).quiet(0).json();
        let node = |i| at(&document, &format!("/plans/0/virtual_nodes/{i}/host_nodes")).clone();
        [node(0), node(1)]
    };
    assert_eq!(nodes(&[]), ["3", "1"]);
    assert_eq!(nodes(&["--host-node", "1=3"]), ["3", "3"]);
    assert_eq!(
        nodes(&["--host-node", "0=2", "--host-node", "1=0"]),
        ["2", "0"]
    );
}

#[test]
fn mode_none_pins_nothing() {
    let lab = Lab::rfc();
    lab.config(100, "cores: 2\n");
    let run = lab.run(&["plan", "100"]).quiet(0);
    let (head, rest) = run.out.split_once('\n').expect("lines");
    assert!(
        head.starts_with("guest 100: 1 socket x 2 cores, 1 virtual node; policy none ("),
        "{head}"
    );
    assert_eq!(rest, "  nothing is pinned\n");
    let document = lab
        .run(&["plan", "100", "--format", "json"])
        .quiet(0)
        .json();
    assert_eq!(at(&document, "/plans/0/vcpus"), &json!([]));
}

#[test]
fn pending_changes_count_for_a_stopped_guest_only() {
    let mut lab = Lab::rfc();
    lab.config(
        100,
        "cores: 2\npinning: numa\n\n[PENDING]\ncores: 4\nsockets: 2\n\n[snap]\ncores: 7\n",
    );
    let shape = |lab: &Lab| {
        let document = lab
            .run(&["plan", "100", "--format", "json"])
            .quiet(0)
            .json();
        let guest = at(&document, "/plans/0/guest");
        (at(guest, "/sockets").as_u64(), at(guest, "/cores").as_u64())
    };
    assert_eq!(shape(&lab), (Some(2), Some(4)));
    let mock = lab.start(Guest::proxmox(100, 1, 2), Script::healthy());
    assert_eq!(shape(&lab), (Some(1), Some(2)));
    mock.stop();
    assert_eq!(shape(&lab), (Some(2), Some(4)));
}

#[test]
fn a_config_on_another_node_of_the_cluster_is_found() {
    let lab = Lab::rfc();
    lab.write("etc/pve/nodes/here/qemu-server/101.conf", "cores: 1\n");
    symlink("nodes/here/qemu-server", lab.at("etc/pve/qemu-server")).expect("a link");
    lab.write(
        "etc/pve/nodes/source/qemu-server/100.conf",
        "cores: 3\npinning: numa\n",
    );
    let document = lab
        .run(&["plan", "100", "--format", "json"])
        .quiet(0)
        .json();
    assert_eq!(at(&document, "/plans/0/guest/cores"), 3);
}

fn with_devices() -> Host {
    let mut host = Host::grid(1, 4, 2, 2, 2).numbered(Numbering::Blocked);
    let device = |address: &str, node| Pci {
        address: address.to_owned(),
        node,
        ..Pci::default()
    };
    host.pci = vec![
        device("0000:41:00.0", 2),
        device("0000:c1:00.0", 3),
        device("0000:01:00.0", -1),
    ];
    host
}

#[rstest]
#[case::by_address("hostpci0: 0000:41:00.0,pcie=1\n", "2", 0)]
#[case::without_domain_and_function("hostpci0: c1:00\n", "3", 0)]
#[case::of_unknown_place("hostpci0: 01:00.0\n", "0", 0)]
#[case::two_far_apart("hostpci0: 41:00\nhostpci1: c1:00\n", "2", 1)]
#[case::by_mapping("hostpci0: mapping=gpu\n", "3", 0)]
fn a_passed_through_device_draws_the_guest_to_its_host_node(
    #[case] lines: &str,
    #[case] host_node: &str,
    #[case] remote: u32,
) {
    let lab = Lab::of(&with_devices());
    symlink("nodes/pve1", lab.at("etc/pve/local")).unwrap_or_else(|_| {
        fs::create_dir_all(lab.at("etc/pve")).expect("it can be made");
        symlink("nodes/pve1", lab.at("etc/pve/local")).expect("a link");
    });
    lab.write(
        "etc/pve/mapping/pci.cfg",
        "gpu\n\tmap id=10de:1,node=pve2,path=0000:41:00.0\n\tmap id=10de:1,node=pve1,path=0000:c1:00.0\n",
    );
    lab.config(100, &format!("cores: 2\n{lines}pinning: one-to-one\n"));
    let document = lab
        .run(&["plan", "100", "--format", "json"])
        .quiet(0)
        .json();
    let plan = at(&document, "/plans/0");
    assert_eq!(at(plan, "/virtual_nodes/0/host_nodes"), host_node, "{plan}");
    assert_eq!(at(plan, "/cost/remote_devices"), remote, "{plan}");
}

#[test]
fn a_mapping_without_a_device_here_is_told() {
    let lab = Lab::of(&with_devices());
    lab.write("proc/sys/kernel/hostname", "pve9\n");
    lab.write(
        "etc/pve/mapping/pci.cfg",
        "gpu\n\tmap id=1:1,node=pve2,path=0000:41:00.0\n",
    );
    lab.config(100, "cores: 2\nhostpci3: mapping=gpu\npinning: numa\n");
    let run = lab.run(&["plan", "100"]).ended(0);
    let says = "numapin: hostpci3: the mapping \"gpu\" has no device on node \"pve9\" (expected a map line for it in \
                /etc/pve/mapping/pci.cfg); its place counts as unknown\n";
    assert_eq!(run.err, says);
}

#[test]
fn a_path_needs_no_etc_pve_and_a_vmid_does() {
    let lab = Lab::rfc();
    lab.write("somewhere/100.conf", "cores: 2\npinning: one-to-one\n");
    let root = lab.path().to_str().expect("UTF-8").to_owned();
    let sys = format!("{root}/sys");
    let path = format!("{root}/somewhere/100.conf");
    for dir in [&root, &sys] {
        let run = numapin(["plan", &path, "--sysfs-root", dir, "--format", "json"]).quiet(0);
        assert_eq!(at(&run.json(), "/plans/0/guest/vmid"), 100);
        let line = format!(
            "guest 100: {dir} has no /etc/pve (expected the path of a .conf file instead of a VMID)"
        );
        numapin(["plan", "100", "--sysfs-root", dir]).refused(2, &line);
        numapin(["check", "100", "--sysfs-root", dir]).refused(2, &line);
    }
    fs::create_dir_all(lab.at("etc/pve")).expect("it can be made");
    lab.run(&["plan", "100"]).refused(
        2,
        "guest 100 has no config: ROOT/etc/pve/qemu-server/100.conf does not exist, nor is it on another node of the cluster",
    );
}

#[test]
fn a_plain_qemu_is_planned_by_what_it_says_of_itself() {
    let mut lab = Lab::rfc();
    let mock = lab.start(
        Guest::plain("web", 2, 2).numa(&["0-1", "2-3"]),
        Script::healthy(),
    );
    let socket = mock.socket().to_str().expect("UTF-8");
    let args = [
        "plan", "--qmp", socket, "--mode", "numa", "--format", "json",
    ];
    let document = lab.run(&args).quiet(0).json();
    assert_eq!(at(&document, "/plans/0/guest/vmid"), &Value::Null);
    assert_eq!(at(&document, "/plans/0/virtual_nodes/1/vcpus"), "2-3");
    assert_eq!(at(&document, "/plans/0/vcpus/3/cpus"), "4-7,20-23");
    lab.run(&["check", "--qmp", socket, "--mode", "numa"])
        .quiet(0);
    lab.run(&["plan", "--qmp", socket, "--sockets", "2"])
        .refused(
            2,
            "--sockets can't be together with --qmp: QEMU says what the guest is made of",
        );
}

#[test]
fn claims_of_running_guests_are_seen() {
    let mut lab = Lab::rfc();
    lab.config(100, "cores: 4\npinning: one-to-one\n");
    lab.config(101, "cores: 4\npinning: one-to-one\n");
    let plan = |lab: &Lab| {
        let document = lab
            .run(&["plan", "101", "--format", "json"])
            .quiet(0)
            .json();
        at(&document, "/plans/0/vcpus").clone()
    };
    let free = plan(&lab);
    let mock = lab.start(Guest::proxmox(100, 1, 4), Script::healthy());
    assert_eq!(plan(&lab), free, "it runs, but holds nothing yet");
    lab.run(&["apply", "100"]).quiet(0);
    assert_ne!(plan(&lab), free);
    mock.stop();
    assert_eq!(plan(&lab), free);
}
