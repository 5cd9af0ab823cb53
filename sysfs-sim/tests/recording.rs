//! Recordings: tree to text and back, exactly; and read strictly.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use numapin_sysfs_sim::{Entry, Host, Machine, Numbering, Recording, Tree};
use rstest::rstest;

fn file(bytes: &[u8]) -> Entry {
    Entry::File(Arc::from(bytes))
}

fn there_and_back(tree: Tree) -> String {
    let recording = Recording {
        provenance: "a test\nof two lines".to_owned(),
        notes: vec!["x: y".to_owned()],
        tree,
    };
    let text = recording.to_string();
    match Recording::parse(&text, "x") {
        Ok(read) => assert_eq!(read, recording, "{text}"),
        Err(e) => panic!("{e} in\n{text}"),
    }
    text
}

#[rstest]
#[case(b"0-3,16-19\n", "a/b = 0-3,16-19")]
#[case(b"", "a/b = \"\"")]
#[case(b"\n", "a/b = \"\\n\"")]
#[case(b"0-3", "a/b = \"0-3\"")]
#[case(b"0-3\n\0", "a/b = \"0-3\\n\\0\"")]
#[case(b" (null)\n", "a/b = \" (null)\\n\"")]
#[case(b"x \n", "a/b = \"x \\n\"")]
#[case(b"\"\n", "a/b = \"\\\"\\n\"")]
#[case(b"\\x\n", "a/b = \\x")]
#[case(b"\xff\x00\t\r\n", "a/b = \"\\xff\\0\\t\\r\\n\"")]
#[case(b"\xc3\xa4\n", "a/b = \"\\xc3\\xa4\\n\"")]
#[case(b"one\n\n two\n", "a/b <<\n| one\n|\n|  two")]
#[case(b"one\ntwo", "a/b = \"one\\ntwo\"")]
#[case(b"\n\n", "a/b <<\n|\n|")]
#[case(b"-> x\n", "a/b = -> x")]
fn bytes_are_kept_exactly(#[case] bytes: &[u8], #[case] line: &str) {
    let text = there_and_back(Tree::from([("a/b".to_owned(), file(bytes))]));
    let (_, body) = text.split_once("\n\n").unwrap();
    assert_eq!(body, format!("{line}\n"));
}

#[test]
fn what_is_the_same_stands_once() {
    let link = |target: &str| Entry::Link(target.to_owned());
    let mut tree = Tree::new();
    for cpu in 0..12 {
        let dir = format!("sys/devices/system/cpu/cpu{cpu}");
        tree.insert(format!("{dir}/online"), file(b"1\n"));
        tree.insert(
            format!("{dir}/topology/core_cpus_list"),
            file(format!("{}\n", cpu % 4).as_bytes()),
        );
        tree.insert(
            format!("{dir}/topology/thread_siblings_list"),
            file(format!("{}\n", cpu % 4).as_bytes()),
        );
        tree.insert(
            format!("{dir}/node{}", cpu / 6),
            link(&format!("../../node/node{}", cpu / 6)),
        );
        tree.insert(
            format!("sys/devices/system/node/node{}/cpu{cpu}", cpu / 6),
            link(&format!("../../cpu/cpu{cpu}")),
        );
    }
    for device in ["0000:17:00.0", "0000:17:1e.4"] {
        tree.insert(
            format!("sys/bus/pci/devices/{device}"),
            link(&format!("../../../devices/pci0000:17/{device}")),
        );
        tree.insert(
            format!("sys/devices/pci0000:17/{device}/numa_node"),
            file(b"-1\n"),
        );
    }
    tree.insert("sys/devices/system/cpu/cpu12".to_owned(), Entry::Dir);
    // What would be read as something else stands in quotes, or alone.
    tree.insert("odd/cpu1/3-5".to_owned(), file(b"x\n"));
    tree.insert("odd/cpu1/6-7".to_owned(), file(b"x\n"));
    tree.insert("odd/cpu1/a,b".to_owned(), file(b"x\n"));
    tree.insert("odd/cpu1/{a}".to_owned(), file(b"x\n"));
    tree.insert("odd/cpu01".to_owned(), file(b"x\n"));
    tree.insert("odd/cpu4294967295".to_owned(), file(b"x\n"));
    tree.insert("odd/ä b".to_owned(), link("a \u{7f}{}"));
    let text = there_and_back(tree);
    let (_, body) = text.split_once("\n\n").unwrap();
    assert_eq!(
        body,
        "odd/cpu01 = x
odd/cpu1/3-5 = x
odd/cpu1/6-7 = x
odd/cpu1/a,b = x
\"odd/cpu1/{a}\" = x
odd/cpu4294967295 = x
\"odd/\\xc3\\xa4 b\" -> \"a \\x7f{}\"
sys/bus/pci/devices/{0000:17:00.0,0000:17:1e.4} -> ../../../devices/pci0000:17/{}
sys/devices/pci0000:17/{0000:17:00.0,0000:17:1e.4}/numa_node = -1
sys/devices/system/cpu/cpu{0-5}/node0 -> ../../node/node0
sys/devices/system/cpu/cpu{0-11}/online = 1
sys/devices/system/cpu/cpu{0,4,8}/topology/{core_cpus_list,thread_siblings_list} = 0
sys/devices/system/cpu/cpu{1,5,9}/topology/{core_cpus_list,thread_siblings_list} = 1
sys/devices/system/cpu/cpu{2,6,10}/topology/{core_cpus_list,thread_siblings_list} = 2
sys/devices/system/cpu/cpu{3,7,11}/topology/{core_cpus_list,thread_siblings_list} = 3
sys/devices/system/cpu/cpu{6-11}/node1 -> ../../node/node1
sys/devices/system/cpu/cpu12/
sys/devices/system/node/node0/cpu{0-5} -> ../../cpu/cpu{}
sys/devices/system/node/node1/cpu{6-11} -> ../../cpu/cpu{}
"
    );
}

#[rstest]
#[case(
    "numapin-recording 2\n",
    1,
    "version '2' of recordings is unknown (expected 1)"
)]
#[case(
    "numapin-recording\n",
    1,
    "'numapin-recording' is not 'numapin-recording 1'"
)]
#[case(
    "numapin-recording 1\nprovenance: a\tb\n",
    2,
    "the control character '\\t'"
)]
#[case(
    "numapin-recording 1\n\nsys/x\n",
    3,
    "'sys/x' is no entry (expected 'PATH = TEXT', 'PATH -> TARGET', 'PATH <<' or 'PATH/')"
)]
#[case("numapin-recording 1\n\nsys/x =\n", 3, "'sys/x =' is no entry (")]
#[case(
    "numapin-recording 1\n\nsys/x = \n",
    3,
    "no text; an empty line is written as \"\\n\""
)]
#[case(
    "numapin-recording 1\n\nsys/x = 1\r\n",
    3,
    "the character '\\r' in a text without quotes"
)]
#[case(
    "numapin-recording 1\n\n/etc/x = 1\n",
    3,
    "path '/etc/x' is absolute (expected one relative to the root of the machine)"
)]
#[case(
    "numapin-recording 1\n\nsys/../../x = 1\n",
    3,
    "path 'sys/../../x' has a part '.' or '..'"
)]
#[case(
    "numapin-recording 1\n\nsys/{a,../..}/x = 1\n",
    3,
    "path 'sys/../../x' has a part '.' or '..'"
)]
#[case(
    "numapin-recording 1\n\n\"../x\" = 1\n",
    3,
    "path '../x' has a part '.' or '..'"
)]
#[case(
    "numapin-recording 1\n\nsys//x = 1\n",
    3,
    "path 'sys//x' has an empty part"
)]
#[case("numapin-recording 1\n\n\"a\\0\" = 1\n", 3, "path 'a\\u{0}' has a NUL")]
#[case(
    "numapin-recording 1\n\na = 1\n# again\na = 1\n",
    5,
    "path 'a' stands in line 3 already"
)]
#[case(
    "numapin-recording 1\n\na{0-3} = 1\na{3,4} = 1\n",
    4,
    "path 'a3' stands in line 3 already"
)]
#[case(
    "numapin-recording 1\n\na/b = 1\na = 1\n",
    3,
    "'a/b' is below 'a', which is a file (line 4)"
)]
#[case(
    "numapin-recording 1\n\na -> b\na/b = 1\n",
    4,
    "'a/b' is below 'a', which is a link (line 3)"
)]
#[case(
    "numapin-recording 1\n\na/\na/b = 1\n",
    4,
    "'a/b' is below 'a', which is an empty directory (line 3)"
)]
#[case(
    "numapin-recording 1\n\na -> /etc/passwd\n",
    3,
    "the link 'a' leads to '/etc/passwd', which is not inside the tree"
)]
#[case(
    "numapin-recording 1\n\na/b -> ../../etc\n",
    3,
    "the link 'a/b' leads to '../../etc', which is not inside the tree"
)]
#[case(
    "numapin-recording 1\n\na/b -> c/../../..\n",
    3,
    "the link 'a/b' leads to 'c/../../..', which is not inside the tree"
)]
#[case(
    "numapin-recording 1\n\na -> b{}\n",
    3,
    "'{}' in a target, but no braces in the path"
)]
#[case(
    "numapin-recording 1\n\na{0-1 = 1\n",
    3,
    "'a{0-1' has a '{' without its '}'"
)]
#[case(
    "numapin-recording 1\n\na{3-1} = 1\n",
    3,
    "'3-1' in braces is no range (expected the lower number first)"
)]
#[case(
    "numapin-recording 1\n\na{1,} = 1\n",
    3,
    "an empty alternative in braces"
)]
#[case(
    "numapin-recording 1\n\na} = 1\n",
    3,
    "'a}' has the character '}'; such a path stands in quotes"
)]
#[case(
    "numapin-recording 1\n\na{0-9999999} = 1\n",
    3,
    "more than 2000000 paths"
)]
#[case(
    "numapin-recording 1\n\na{0-4294967295}{0-4294967295}{0-4294967295} = 1\n",
    3,
    "more than 2000000 paths"
)]
#[case(
    "numapin-recording 1\n\n{a}{a}{a}{a}{a}{a}{a}{a}{a} = 1\n",
    3,
    "more than 8 braces in a path"
)]
#[case("numapin-recording 1\n\na = \"b\n", 3, "a quote without its end")]
#[case(
    "numapin-recording 1\n\na = \"b\" c\n",
    3,
    "' c' behind the closing quote"
)]
#[case(
    "numapin-recording 1\n\na = \"\\q\"\n",
    3,
    "unknown escape '\\q' (expected one of "
)]
#[case(
    "numapin-recording 1\n\na = \"\\x+1\"\n",
    3,
    "'\\x+1' is no byte (expected two hexadecimal digits)"
)]
#[case(
    "numapin-recording 1\n\na <<\nb = 1\n",
    3,
    "'<<' without a line behind it that begins with '|'"
)]
#[case("numapin-recording 1\n\n| x\n", 3, "'| x' belongs to no '<<'")]
#[case("numapin-recording 1\n\n\"\\xff\" = 1\n", 3, "a path is not UTF-8")]
fn a_wrong_line_is_named(#[case] text: &str, #[case] line: usize, #[case] start: &str) {
    let error = Machine::from_text(text, "m.recording")
        .unwrap_err()
        .to_string();
    let start = format!("m.recording:{line}: {start}");
    assert!(error.starts_with(&start), "{error:?} instead of {start:?}");
}

#[test]
fn comments_and_order_do_not_matter() {
    let text = "numapin-recording 1\n# c\nprovenance: p\n\nb = 2\n# c\n\na{0-1}/{x,y} = 1\nl{0-1} -> a{}/x";
    let recording = Recording::parse(text, "x").unwrap();
    assert_eq!(recording.provenance, "p");
    let paths: Vec<&str> = recording.tree.keys().map(String::as_str).collect();
    assert_eq!(paths, ["a0/x", "a0/y", "a1/x", "a1/y", "b", "l0", "l1"]);
    assert_eq!(recording.tree["l1"], Entry::Link("a1/x".to_owned()));
}

#[rstest]
#[case(Host::grid(2, 4, 2, 8, 2).numbered(Numbering::Blocked))]
#[case(Host::grid(2, 2, 1, 64, 1).numbered(Numbering::RoundRobinNodes))]
fn a_recording_of_256_cpus_is_small(#[case] host: Host) {
    let tree = host.tree().unwrap();
    let recording = Recording {
        tree,
        ..Recording::default()
    };
    let text = recording.to_string();
    assert!(text.len() < 300_000, "{} bytes", text.len());
    assert_eq!(Recording::parse(&text, "x").unwrap(), recording);
}

/// Trees of odd names and bytes, made by a small generator: what is written is what is read.
#[test]
fn any_tree_there_and_back() {
    let mut state = 1_u64;
    let mut next = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let parts = [
        "cpu0",
        "cpu1",
        "cpu2",
        "cpu10",
        "node0",
        "node1",
        "0000:17:00.0",
        "0000:17:00.1",
        "a",
        "1-2",
        "1,2",
        "{}",
        "ü",
        "x y",
        "cpu00",
        "-",
        "=",
        "\"",
        "#",
        "|",
    ];
    let texts: [&[u8]; 8] = [
        b"1\n", b"", b"\n", b"1\n2\n", b"\xff\n", b"1", b"# \n", b"|\n",
    ];
    for _ in 0..300 {
        let mut tree = Tree::new();
        for _ in 0..12 {
            // A leaf has a name that no directory has.
            let depth = next(3);
            let dirs: Vec<&str> = (0..depth).map(|_| parts[next(parts.len())]).collect();
            let leaf = format!("{}{}", parts[next(parts.len())], ["~", "_f", ".9"][next(3)]);
            let path: String = dirs.iter().map(|d| format!("{d}/")).chain([leaf]).collect();
            let entry = match next(4) {
                0 => Entry::Link(format!(
                    "{}{}",
                    "../".repeat(next(depth + 1)),
                    parts[next(parts.len())]
                )),
                1 => Entry::Dir,
                _ => file(texts[next(texts.len())]),
            };
            tree.insert(path, entry);
        }
        there_and_back(tree);
    }
}
