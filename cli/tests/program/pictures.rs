//! Pictures in characters: every CPU once, every sign told, nothing wider than the terminal.

use std::collections::{BTreeMap, BTreeSet};

use numapin_qmp_mock::{Guest, Script};
use numapin_sysfs_sim::{Host, Numbering, Pci};
use rstest::rstest;
use serde_json::Value;

use crate::support::{Lab, at, command, few_files};

/// Runs the program on a machine with an environment.
#[track_caller]
fn shown(lab: &Lab, args: &[&str], env: &[(&str, &str)]) -> String {
    let mut command = command();
    command.envs(env.iter().copied()).args(args);
    let output = command.arg("--root").arg(lab.path()).output();
    let output = output.expect("the program was built and starts");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The lines of the boxes, and those of the legend.
fn picture(text: &str) -> (Vec<&str>, Vec<&str>) {
    let framed = |line: &&str| line.starts_with(['+', '|', '┌', '│', '└']);
    let boxes: Vec<&str> = text.lines().skip_while(|line| !framed(line)).collect();
    let end = boxes.iter().position(|line| !framed(line));
    let (boxes, rest) = boxes.split_at(end.unwrap_or(boxes.len()));
    let legend = rest.iter().take_while(|line| line.starts_with("  "));
    (boxes.to_vec(), legend.copied().collect())
}

/// The CPUs of a picture with numbers, each with its sign.
#[track_caller]
fn cells(text: &str) -> BTreeMap<u64, String> {
    let mut found = BTreeMap::new();
    let (boxes, _) = picture(text);
    let inner = boxes.iter().filter(|line| line.starts_with(['|', '│']));
    for part in inner.flat_map(|line| line.split(['|', '│', '┊'])) {
        let mut sign = String::new();
        for word in part.split_whitespace().filter(|word| *word != ":") {
            let digits = word.trim_start_matches(|c: char| !c.is_ascii_digit());
            sign.push_str(word.strip_suffix(digits).expect("its end"));
            if let Ok(cpu) = digits.parse() {
                let again = found.insert(cpu, std::mem::take(&mut sign));
                assert_eq!(again, None, "cpu {cpu} in\n{text}");
            }
        }
    }
    found
}

#[test]
fn each_cpu_is_in_the_picture_once() {
    let names = [
        "epyc7351p",
        "hybrid-i7-1370p",
        "kunpeng920-2s",
        "lab-memless",
    ];
    let hosts = names.map(|name| (name, Lab::named(name)));
    let power = Lab::of(&few_files(Host::grid(2, 1, 1, 12, 8)));
    for (name, lab) in hosts.into_iter().chain([("SMT8", power)]) {
        let json = lab.run(&["topology", "--format", "json"]).quiet(0).json();
        let cpus = at(&json, "/cpus").as_array().expect("a list").iter();
        let online: BTreeSet<u64> = cpus.filter_map(|cpu| at(cpu, "/cpu").as_u64()).collect();
        for width in ["60", "80", "200"] {
            let text = shown(&lab, &["topology"], &[("COLUMNS", width)]);
            let drawn: BTreeSet<u64> = cells(&text).into_keys().collect();
            assert_eq!(drawn, online, "{name}\n{text}");
        }
    }
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let names = [
        "epyc7351p",
        "epyc7713-2s-nps4",
        "hybrid-i7-1370p",
        "kunpeng920-2s",
    ];
    let hosts = names.map(|name| (name, Lab::named(name)));
    for (name, lab) in hosts.into_iter().chain([("1,024", Lab::of(&large()))]) {
        lab.config(100, "cores: 3\nsockets: 2\nnuma: 1\npinning: one-to-one\n");
        lab.config(101, "cores: 4\npinning: numa\n");
        for (columns, locale) in [
            ("40", "C"),
            ("60", "C.UTF-8"),
            ("80", "C"),
            ("200", "C.UTF-8"),
        ] {
            let width: usize = columns.parse().expect("a number");
            let env = [("COLUMNS", columns), ("LANG", locale)];
            for args in [&["topology"][..], &["plan", "100", "101"]] {
                let text = shown(&lab, args, &env);
                let (boxes, legend) = picture(&text);
                let lines = boxes.iter().chain(&legend);
                let widest = lines.map(|line| line.chars().count()).max();
                let fits = widest.is_some_and(|widest| widest <= width);
                assert!(fits, "{name} in {columns}\n{text}");
                assert!(boxes.len() <= 60 || width < 80, "{name}\n{text}");
                assert_eq!(text.is_ascii(), locale == "C", "{name}\n{text}");
            }
        }
    }
}

/// A host of 1,024 CPUs.
fn large() -> Host {
    few_files(Host::grid(2, 4, 8, 8, 2).numbered(Numbering::Blocked))
}

#[test]
fn what_is_alike_is_drawn_once_where_all_would_be_too_much() {
    let host = Host::grid(4, 4, 8, 4, 2).numbered(Numbering::Blocked);
    let lab = Lab::of(&few_files(host));
    lab.config(100, "cores: 6\npinning: one-to-one\n");
    let text = shown(&lab, &["plan", "100"], &[]);
    let (boxes, legend) = picture(&text);
    assert!(boxes.len() <= 24, "{text}");
    assert!(text.contains("host nodes 1 to 15, each"), "{text}");
    // The guest's own L3s stand alone, the six others of its host node and the eight of each other node are folded.
    let owned: usize = boxes.iter().map(|line| line.matches('A').count()).sum();
    assert_eq!(owned, 6, "{text}");
    assert!(boxes.iter().any(|line| line.contains("x6")), "{text}");
    assert!(boxes.iter().any(|line| line.contains("x8")), "{text}");
    assert!(legend.concat().contains(". free (1018)"), "{text}");
}

/// The letters of a plan in the order of its guests and their virtual nodes.
#[rstest]
#[case(&["one-to-one", "one-to-one,smt=isolate"], ["A", "B", "C"])]
#[case(&["one-to-one", "l3"], ["A", "B", "c"])]
#[case(&["numa", "one-to-one"], ["a", "b", "C"])]
fn letters_are_where_the_plan_says(#[case] policies: &[&str], #[case] letters: [&str; 3]) {
    let lab = Lab::rfc();
    lab.config(
        100,
        &format!("sockets: 2\ncores: 2\nnuma: 1\npinning: {}\n", policies[0]),
    );
    lab.config(101, &format!("cores: 3\npinning: {}\n", policies[1]));
    let plans = lab
        .run(&["plan", "100", "101", "--format", "json"])
        .quiet(0);
    let mut expected: BTreeMap<u64, String> = (0..32).map(|cpu| (cpu, ".".to_owned())).collect();
    let mut first = 0;
    for plan in at(&plans.json(), "/plans").as_array().expect("plans") {
        for vcpu in at(plan, "/vcpus").as_array().expect("vCPUs") {
            let node = at(vcpu, "/virtual_node").as_u64().expect("a number");
            let letter = letters[first + usize::try_from(node).expect("small")];
            for cpu in listed(at(vcpu, "/cpus")) {
                expected.insert(cpu, letter.to_owned());
            }
        }
        first += at(plan, "/virtual_nodes").as_array().map_or(0, Vec::len);
    }
    if policies[1].ends_with("isolate") {
        let siblings: Vec<u64> = (0..32).filter(|cpu| expected[cpu] == "C").collect();
        let idle = siblings.iter().map(|cpu| (cpu + 16, ":".to_owned()));
        expected.extend(idle);
    }
    let text = shown(&lab, &["plan", "100", "101"], &[]);
    assert_eq!(cells(&text), expected, "{text}");
    let legend = picture(&text).1.concat();
    let told = format!(
        "{} guest 100, virtual node 0   {} virtual node 1",
        letters[0], letters[1]
    );
    assert!(legend.contains(&told), "{legend}");
    assert!(
        legend.contains(&format!("{} guest 101", letters[2])),
        "{legend}"
    );
}

/// The CPUs of a list.
fn listed(list: &Value) -> Vec<u64> {
    let list = list.as_str().expect("a list is a string").split(',');
    let ends = list.map(|part| part.split_once('-').unwrap_or((part, part)));
    let number = |text: &str| text.parse::<u64>().expect("a number");
    ends.flat_map(|(first, last)| number(first)..=number(last))
        .collect()
}

#[test]
fn others_reserved_isolated_and_offline_cpus_are_told_apart() {
    let mut host = Host::grid(1, 2, 1, 4, 2).numbered(Numbering::Blocked);
    host.isolated = [3, 11].into();
    host.offline = [15].into();
    let mut lab = Lab::of(&host);
    lab.write("etc/pve/numapin.conf", "reserved: 0,8\n");
    lab.config(102, "cores: 2\npinning: one-to-one\n");
    lab.config(103, "cores: 2\naffinity: 6-7,13-14\n");
    lab.config(100, "cores: 1\npinning: one-to-one\n");
    let _other = lab.start(Guest::proxmox(102, 1, 2), Script::healthy());
    lab.run(&["apply", "102"]).ended(0);
    let text = shown(&lab, &["plan", "100"], &[]);
    let cells = cells(&text);
    let of = |sign: &str| -> Vec<u64> {
        let those = cells.iter().filter(|(_, is)| *is == sign);
        those.map(|(cpu, _)| *cpu).collect()
    };
    assert_eq!(of("r"), [0, 8], "{text}");
    assert_eq!(of("i"), [3, 11], "{text}");
    assert_eq!(of("/"), [15], "{text}");
    assert_eq!((of("X").len(), of("A").len()), (2, 1), "{text}");
    let legend = picture(&text).1.join("\n");
    for told in [
        "A guest 100",
        "X held one-to-one by guest 102",
        "i isolated",
        "r reserved for the host",
        "/ offline",
        ". free (",
    ] {
        assert!(legend.contains(told), "{told} in\n{legend}");
    }
    // Status of the node draws the other one by its own letter.
    let text = shown(&lab, &["status"], &[]);
    assert!(
        picture(&text).1.join("\n").contains("A guest 102"),
        "{text}"
    );
    // What nobody plugged is not held.
    lab.config(
        100,
        "cores: 2\nvcpus: 1\nhotplug: cpu\npinning: one-to-one\n",
    );
    let text = shown(&lab, &["plan", "100"], &[]);
    let legend = picture(&text).1.join("\n");
    assert!(
        legend.contains("' for a vcpu that is not plugged"),
        "{text}"
    );
}

#[test]
fn status_draws_who_holds_what() {
    let mut lab = Lab::rfc();
    lab.config(100, "cores: 2\nsockets: 2\nnuma: 1\npinning: one-to-one\n");
    lab.config(101, "cores: 3\npinning: l3\n");
    lab.config(102, "cores: 1\n");
    let guests = [
        Guest::proxmox(100, 2, 2).numa_per_socket(),
        Guest::proxmox(101, 1, 3),
        Guest::proxmox(102, 1, 1),
    ];
    let _running = guests.map(|guest| lab.start(guest, Script::healthy()));
    // Nobody is pinned: there is nothing to be seen.
    assert!(!shown(&lab, &["status"], &[]).contains("+-"));
    for vmid in ["100", "101"] {
        lab.run(&["apply", vmid]).ended(0);
    }
    let plans = lab.run(&["status", "--format", "json"]).ended(0).json();
    let mut expected: BTreeMap<u64, String> = (0..32).map(|cpu| (cpu, ".".to_owned())).collect();
    let letters = [["A", "A", "B", "B"], ["c"; 4]];
    for (guest, letters) in at(&plans, "/guests")
        .as_array()
        .expect("guests")
        .iter()
        .zip(letters)
    {
        let threads = at(guest, "/threads").as_array().expect("threads").iter();
        let vcpus = threads.filter(|thread| thread["kind"] == "vcpu");
        for (thread, letter) in vcpus.zip(letters) {
            let cpus = listed(at(thread, "/actual")).into_iter();
            expected.extend(cpus.map(|cpu| (cpu, letter.to_owned())));
        }
    }
    let text = shown(&lab, &["status"], &[]);
    assert_eq!(cells(&text), expected, "{text}");
    // Of one guest, with the others beside it.
    let text = shown(&lab, &["status", "101"], &[]);
    let other = |sign: &String| match sign.as_str() {
        "A" | "B" => "X".to_owned(),
        "c" => "a".to_owned(),
        free => free.to_owned(),
    };
    let beside = expected.iter().map(|(cpu, sign)| (*cpu, other(sign)));
    assert_eq!(cells(&text), beside.collect(), "{text}");
    assert!(text.contains("X held one-to-one by guest 100"), "{text}");
}

#[test]
fn devices_stand_in_the_box_of_their_host_node() {
    let mut host = Host::grid(1, 4, 8, 8, 2).numbered(Numbering::Blocked);
    host.pci = [
        ("0000:41:00.0", 2),
        ("0000:41:00.1", 2),
        ("0000:01:00.0", -1),
    ]
    .map(|(address, node)| Pci {
        address: address.to_owned(),
        node,
        ..Pci::default()
    })
    .into();
    let lab = Lab::of(&few_files(host));
    let devices = "hostpci0: 0000:41:00.0\nhostpci1: 0000:41:00.1\nhostpci2: 0000:01:00.0\n";
    lab.config(100, &format!("cores: 2\npinning: one-to-one\n{devices}"));
    lab.config(
        101,
        "cores: 2\npinning: one-to-one\nhostpci0: 0000:41:00.1\n",
    );
    for (width, locale) in [("40", "C"), ("200", "C.UTF-8")] {
        let env = [("COLUMNS", width), ("LANG", locale)];
        let text = shown(&lab, &["plan", "100", "101"], &env);
        let (boxes, legend) = picture(&text);
        // In one column, so that a box is what stands between two edges.
        let boxes = boxes.join("\n");
        let home = boxes.split("host node").find(|text| text.contains("PCI"));
        assert!(home.is_some_and(|home| home.starts_with(" 2 ")), "{text}");
        let words: Vec<&str> = boxes.split([' ', '\n', '|', '│', '+']).collect();
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let told = words.join(" ");
        for line in [
            "PCI 0000:41:00.0, 0000:41:00.1 of guest 100",
            "PCI 0000:41:00.1 of guest 101",
        ] {
            assert!(told.contains(line), "{line} in\n{text}");
        }
        let unknown = "PCI 0000:01:00.0 of guest 100: at no host node that is known";
        let legend: Vec<&str> = legend
            .iter()
            .flat_map(|line| line.split_whitespace())
            .collect();
        assert!(legend.join(" ").contains(unknown), "{text}");
    }
}

#[test]
fn masks_that_overlap_have_a_sign_of_their_own() {
    let lab = Lab::small();
    for vmid in [100, 101, 102] {
        lab.config(vmid, "cores: 2\npinning: shared\n");
    }
    let text = shown(&lab, &["plan", "100", "101", "102"], &[]);
    assert!(cells(&text).values().all(|sign| sign == "+"), "{text}");
    assert!(text.contains("  + a and b and c"), "{text}");
}

#[test]
fn colour_is_never_alone_and_only_where_it_is_wanted() {
    let lab = Lab::rfc();
    lab.config(100, "sockets: 2\ncores: 2\nnuma: 1\npinning: one-to-one\n");
    let args = ["plan", "100"];
    let plain = shown(&lab, &args, &[]);
    assert!(!plain.contains('\x1b'), "{plain}");
    // In a pipe a terminal's name changes nothing.
    assert_eq!(shown(&lab, &args, &[("TERM", "xterm-256color")]), plain);
    let painted = shown(&lab, &[&args[..], &["--color", "always"]].concat(), &[]);
    let mut bare = String::new();
    for part in painted.split('\x1b') {
        match part.strip_prefix('[').and_then(|code| code.split_once('m')) {
            Some((code, rest)) => {
                assert!(
                    code.bytes().all(|b| b.is_ascii_digit() || b == b';'),
                    "{code}"
                );
                bare.push_str(rest);
            }
            None => bare.push_str(part),
        }
    }
    assert_eq!(bare, plain);
    // The two virtual nodes have different colours.
    let code = |sign: &str| {
        let (before, _) = painted.split_once(sign).expect("drawn");
        before.rsplit_once("\x1b[").map(|(_, code)| code.to_owned())
    };
    assert_ne!(
        code("mA 2").zip(code("mB 4")).map(|(a, b)| a == b),
        Some(true),
        "{painted}"
    );
}

#[test]
fn a_dumb_terminal_gets_ascii() {
    let lab = Lab::small();
    let utf8 = shown(&lab, &["topology"], &[("LANG", "C.UTF-8")]);
    let dumb = shown(
        &lab,
        &["topology"],
        &[("LANG", "C.UTF-8"), ("TERM", "dumb")],
    );
    assert!(utf8.contains('┌') && dumb.is_ascii(), "{utf8}{dumb}");
    let same = [
        ("┌", "+"),
        ("┐", "+"),
        ("└", "+"),
        ("┘", "+"),
        ("─", "-"),
        ("│", "|"),
        ("·", "-"),
    ];
    let ascii = same
        .iter()
        .fold(utf8, |text, (from, to)| text.replace(from, to));
    assert_eq!(ascii, dumb);
}
