//! Every command line of the documents runs, and prints what they show.

use std::fs;
use std::path::Path;

use numapin_xtests::docs::{Block, Stage, blocks};
use numapin_xtests::source;

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn play(name: &str, stage: &mut Stage) -> usize {
    let blocks = blocks(&page(name));
    for block in &blocks {
        if let Err(why) = stage.play(block) {
            panic!("{name}: {why}");
        }
    }
    blocks.len()
}

#[test]
fn from_zero_to_a_pinned_guest_and_back() {
    let mut stage = Stage::of("epyc7351p", &[]).unwrap();
    assert!(play("docs/proxmox.md", &mut stage) > 10);
    // The page ends with undoing everything.
    let masks = stage.masks().unwrap();
    let vcpus = masks
        .values()
        .filter(|thread| thread.comm.starts_with("CPU "));
    assert_eq!(vcpus.count(), 12);
    for (tid, thread) in &masks {
        assert_eq!(thread.mask, (0..32).collect(), "thread {tid}: {thread:?}");
    }
    assert!(!stage.path("etc/pve/numapin.conf").exists());
}

#[test]
fn the_readme_can_be_copied() {
    let words = [
        ("./dump", "ROOT"),
        ("./100.conf", "ROOT/etc/pve/qemu-server/100.conf"),
        ("/run/vm.qmp", "ROOT/run/qemu-server/100.qmp"),
        ("host.txt", "ROOT/host.txt"),
    ];
    let mut stage = Stage::of("epyc7351p", &words).unwrap();
    let config = "name: db1\nsockets: 4\ncores: 2\nmemory: 8192\nnuma: 1\n";
    stage
        .play(&Block::File(
            "etc/pve/qemu-server/100.conf".to_owned(),
            config.to_owned(),
        ))
        .unwrap();
    let start = Block::Commands(vec![(0, "qm start 100".to_owned())]);
    stage.play(&start).unwrap();
    assert!(play("README.md", &mut stage) >= 4);
}

#[test]
fn the_page_about_json_can_be_copied() {
    let mut stage = Stage::of("epyc7351p", &[]).unwrap();
    let config = Block::File(
        "etc/pve/qemu-server/100.conf".to_owned(),
        "cores: 4\n".to_owned(),
    );
    stage.play(&config).unwrap();
    assert_eq!(play("docs/json.md", &mut stage), 1);
}

/// Each heading of the page is the fixed part of a message, with the names of its fields as they stand in the source.
#[test]
fn troubleshooting_knows_the_messages_as_they_are() {
    let page = page("docs/troubleshooting.md");
    let headings: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    assert!(headings.len() > 10, "{headings:?}");
    let mut sources = Vec::new();
    for folder in ["core/src", "cli/src"] {
        for file in source::files(&source::workspace().join(folder)).unwrap() {
            let text = fs::read_to_string(&file).unwrap();
            // A string that goes on in the next line is one text.
            sources.push(text.split("\\\n").map(str::trim_start).collect::<String>());
        }
    }
    for heading in headings {
        let known = sources.iter().any(|text| text.contains(heading));
        assert!(known, "no message says {heading:?}");
    }
}
