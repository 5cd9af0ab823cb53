//! Pictures as SVG: XML that others can read, nothing over anything else, a title on every CPU.

use std::collections::BTreeSet;

use numapin_qmp_mock::{Guest, Script};
use numapin_sysfs_sim::{Host, Numbering, topologies};
use roxmltree::{Document, Node};
use rstest::rstest;

use crate::support::{Lab, captured_hosts, few_files, numapin, same_as_file};

/// Where something is: left, upper, right, lower edge, in tenths of a pixel.
type Area = (i64, i64, i64, i64);

/// What a drawing holds, with the place of everything on the page.
struct Found {
    page: Area,
    texts: Vec<(Area, String)>,
    cpus: Vec<(Area, String)>,
}

#[track_caller]
fn read(svg: &str) -> Found {
    let document = Document::parse(svg).unwrap_or_else(|e| panic!("{e}: {svg}"));
    let root = document.root_element();
    let size = |name| {
        root.attribute(name)
            .and_then(|size| size.parse::<i64>().ok())
    };
    let (width, height) = size("width").zip(size("height")).expect("a size");
    let mut found = Found {
        page: (0, 0, width * 10, height * 10),
        texts: Vec::new(),
        cpus: Vec::new(),
    };
    look(root, (0, 0, 10), &mut found);
    found
}

/// Goes through a drawing with its translations and scales.
fn look(node: Node<'_, '_>, (mut x, mut y, mut scale): (i64, i64, i64), found: &mut Found) {
    let number = |name: &str| -> i64 {
        let value = node.attribute(name).expect(name);
        value.parse().expect("a whole number")
    };
    assert!(!["script", "image", "foreignObject", "a"].contains(&node.tag_name().name()));
    if let Some(transform) = node.attribute("transform") {
        let (what, of) = transform
            .strip_suffix(')')
            .and_then(|of| of.split_once('('))
            .expect("one");
        // Tenths: nothing is finer.
        let tenths = |n: &str| -> i64 {
            let (whole, rest) = n.split_once('.').unwrap_or((n, "0"));
            let number = |n: &str| n.parse::<i64>().expect("a number");
            assert_eq!(rest.len(), 1, "{n}");
            10 * number(whole) + number(rest)
        };
        let numbers: Vec<i64> = of.split(' ').map(tenths).collect();
        match (what, &numbers[..]) {
            ("translate", [right, down]) => {
                x += right * scale / 10;
                y += down * scale / 10;
            }
            ("scale", [times]) => scale = scale * times / 10,
            other => panic!("{other:?}"),
        }
    }
    if node.tag_name().name() == "text" {
        let text = node.text().unwrap_or_default().to_owned();
        let class = node.attribute("class").expect("a class").split(' ').next();
        let size = match class.expect("one") {
            "title" => 20,
            "heading" => 16,
            "name" => 14,
            "label" | "sign" => 12,
            "cpu" => 11,
            "small" => 10,
            other => panic!("{other}"),
        };
        // A letter of the fonts that are named is 6/10 as wide as it is high.
        let letters = i64::try_from(text.chars().count()).expect("few");
        let wide = letters * size * 6 * scale / 10;
        let end = node.attribute("text-anchor") == Some("end");
        let left = x + number("x") * scale - if end { wide } else { 0 };
        let base = y + number("y") * scale;
        found.texts.push((
            (left, base - size * scale * 8 / 10, left + wide, base),
            text,
        ));
    }
    let title = node
        .children()
        .find(|child| child.tag_name().name() == "title");
    if let Some(title) = title.and_then(|title| title.text())
        && title.starts_with("cpu ")
    {
        let rect = node
            .children()
            .find(|child| child.tag_name().name() == "rect");
        let rect = rect.expect("a rectangle");
        let of = |name: &str| {
            rect.attribute(name)
                .and_then(|n| n.parse::<i64>().ok())
                .expect(name)
        };
        let (left, top) = (x + of("x") * scale, y + of("y") * scale);
        let area = (
            left,
            top,
            left + of("width") * scale,
            top + of("height") * scale,
        );
        found.cpus.push((area, title.to_owned()));
    }
    for child in node.children().filter(Node::is_element) {
        look(child, (x, y, scale), found);
    }
}

fn overlap(a: Area, b: Area) -> bool {
    a.0 < b.2 && b.0 < a.2 && a.1 < b.3 && b.1 < a.3
}

/// That nothing leaves the page, and no text stands on another one nor leaves its CPU.
#[track_caller]
fn tidy(svg: &str) -> Found {
    let found = read(svg);
    let within = |of: Area, in_it: Area| {
        of.0 <= in_it.0 && of.1 <= in_it.1 && in_it.2 <= of.2 && in_it.3 <= of.3
    };
    let mut texts = found.texts.clone();
    texts.sort();
    for (number, (area, text)) in texts.iter().enumerate() {
        assert!(within(found.page, *area), "{text:?} leaves the page");
        let near = texts[number + 1..]
            .iter()
            .take_while(|(other, _)| other.0 < area.2);
        for (other, words) in near {
            assert!(!overlap(*area, *other), "{text:?} and {words:?}");
        }
    }
    let mut cpus = found.cpus.clone();
    cpus.sort();
    for (number, (area, title)) in cpus.iter().enumerate() {
        assert!(within(found.page, *area), "{title:?} leaves the page");
        let near = cpus[number + 1..]
            .iter()
            .take_while(|(other, _)| other.0 < area.2);
        for (other, of) in near {
            assert!(!overlap(*area, *other), "{title:?} and {of:?}");
        }
    }
    let (width, height) = (found.page.2, found.page.3);
    assert!(
        width <= 4 * height && height <= 3 * width,
        "{width} x {height}"
    );
    found
}

/// The CPUs that the titles of a picture name.
fn named(found: &Found) -> Vec<u64> {
    let titles = found.cpus.iter().map(|(_, title)| title);
    let number = |title: &String| title[4..].split([',', ';']).next()?.parse().ok();
    titles.filter_map(number).collect()
}

#[test]
fn every_topology_is_drawn_whole() {
    // The others are of the same shapes.
    let names = [
        "epyc7351p",
        "epyc7713-2s-nps4",
        "hybrid-i7-1370p",
        "xeon6230-2s",
        "lab-memless",
    ];
    for name in names {
        let lab = Lab::named(name);
        let svg = lab.run(&["topology", "--format", "svg"]).quiet(0).out;
        let found = tidy(&svg);
        let json = lab.run(&["topology", "--format", "json"]).quiet(0).json();
        let online = json["cpus"].as_array().expect("a list").len();
        let offline = json["offline"]
            .as_str()
            .is_some_and(|list| !list.is_empty());
        let named: BTreeSet<u64> = named(&found).into_iter().collect();
        assert!(named.len() == online || offline, "{name}");
        assert_eq!(named.len(), found.cpus.len(), "{name}: each once");
    }
}

#[test]
fn captured_hosts_are_drawn_whole() {
    for (dir, _) in captured_hosts().iter().step_by(2) {
        let root = dir.path().to_str().expect("UTF-8");
        let run = numapin(["topology", "--format", "svg", "--sysfs-root", root]);
        tidy(&run.ended(0).out);
    }
}

#[rstest]
#[case::one_to_one("one-to-one,smt=isolate")]
#[case::shared("shared")]
fn plans_on_a_host_of_1024_cpus(#[case] policy: &str) {
    let host = Host::grid(2, 4, 8, 8, 2).numbered(Numbering::Blocked);
    let lab = Lab::of(&few_files(host));
    let mut args = vec!["plan", "--policy", policy, "--format", "svg"];
    let vmids: Vec<String> = (100..130).map(|vmid| vmid.to_string()).collect();
    for (vmid, name) in (100..).zip(&vmids) {
        lab.config(vmid, "sockets: 2\ncores: 3\nnuma: 1\n");
        args.push(name);
    }
    let run = lab.run(&args).ended(0);
    let found = tidy(&run.out);
    assert_eq!(found.cpus.len(), 2 * 1024, "before and after");
    assert_eq!(lab.run(&args).out, run.out, "same input, same bytes");
    for vmid in ["100", "129"] {
        let title = format!("; guest {vmid} virtual node 1 vcpu");
        assert!(
            found.cpus.iter().any(|(_, of)| of.contains(&title)),
            "{title}"
        );
    }
}

/// The host of the RFC with a network card.
fn with_card() -> Lab {
    let text = topologies::text("epyc7351p").expect("a known machine");
    let card = "pci = [{ address = \"0000:41:00.0\", bridge = \"0000:40:01.1\", node = 2, class = \"0x020000\" }]";
    let with = Host::parse(&format!("{card}\n{text}"), "with a card").expect("a description");
    Lab::of(&with)
}

#[test]
fn the_plan_of_the_readme() {
    let mut lab = with_card();
    lab.config(100, "sockets: 4\ncores: 2\nnuma: 1\npinning: one-to-one\n");
    lab.config(101, "cores: 6\nhostpci0: 0000:41:00.0\npinning: l3\n");
    lab.config(102, "cores: 2\npinning: one-to-one,smt=isolate\n");
    let _other = lab.start(Guest::proxmox(102, 1, 2), Script::healthy());
    lab.run(&["apply", "102"]).ended(0);
    let _unpinned = lab.start(
        Guest::proxmox(100, 4, 2).numa_per_socket(),
        Script::healthy(),
    );
    let svg = lab
        .run(&["plan", "100", "101", "--format", "svg"])
        .quiet(0)
        .out;
    let found = tidy(&svg);
    let has = |text: &str| found.texts.iter().any(|(_, of)| of.contains(text));
    for text in [
        "Plan of guests 100, 101",
        "now",
        "as planned",
        "host node 3",
        "PCI 0000:41:00.0 of guest 101",
        "not pinned, can be on any cpu: guest 100",
        "not running: guest 101",
        "guest 100, virtual node 3",
        "held one-to-one by guest 102",
        "Distances between host nodes",
    ] {
        assert!(has(text), "{text}");
    }
    same_as_file(&svg, "../docs/images/plan.svg");
}

#[test]
fn the_topology_of_the_readme() {
    let svg = Lab::named("epyc7451-2s")
        .run(&["topology", "--format", "svg"])
        .quiet(0)
        .out;
    tidy(&svg);
    same_as_file(&svg, "../docs/images/topology.svg");
}

#[test]
fn names_can_hold_anything() {
    let lab = Lab::small();
    lab.write("a<b>&\"c'/100\u{7}.conf", "cores: 2\n");
    let args = [
        "plan",
        "a<b>&\"c'/100\u{7}.conf",
        "--mode",
        "numa",
        "--format",
        "svg",
    ];
    let found = tidy(&lab.run(&args).ended(0).out);
    assert!(
        found
            .texts
            .iter()
            .any(|(_, text)| text.contains("100\u{fffd}"))
    );
}

#[test]
fn refused_guests_are_told_beside_the_drawing() {
    let lab = Lab::small();
    lab.config(100, "cores: 2\n");
    lab.config(101, "cores: 200\n");
    let run = lab
        .run(&[
            "plan",
            "100",
            "101",
            "--mode",
            "one-to-one",
            "--format",
            "svg",
        ])
        .ended(3);
    assert!(
        run.err.contains("guest 101 can't be pinned:"),
        "{}",
        run.err
    );
    tidy(&run.out);
    let run = lab
        .run(&["plan", "101", "--mode", "one-to-one", "--format", "svg"])
        .ended(3);
    assert!(
        tidy(&run.out)
            .texts
            .iter()
            .any(|(_, text)| text == "No plan")
    );
}

#[rstest]
#[case(&["status"])]
#[case(&["check", "100"])]
#[case(&["apply", "100"])]
#[case(&["reset", "--all"])]
#[case(&["simulate"])]
#[case(&["set", "100", "numa"])]
fn other_commands_do_not_draw(#[case] args: &[&str]) {
    let args = [args, &["--format", "svg"]].concat();
    numapin(args).refused(2, "--format svg is for topology and plan only");
}
