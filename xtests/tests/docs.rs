//! Every command line of the documents runs, and prints what they show.

use std::fs;
use std::path::{Path, PathBuf};

use numapin_sysfs_sim::{Machine, topologies};
use numapin_xtests::docs::{Block, Line, Stage, blocks};
use numapin_xtests::source::{self, Source};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn page(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Plays a page. With NUMAPIN_BLESS=1 what it shows as outputs is written anew, but for those that leave lines out.
fn play(name: &str, stage: &mut Stage) -> usize {
    let bless = std::env::var_os("NUMAPIN_BLESS").is_some();
    let mut text = page(name);
    let blocks = blocks(&text);
    for block in &blocks {
        let Err(why) = stage.play(block) else {
            continue;
        };
        match block {
            Block::Output(_, old) if bless && !old.lines().any(|line| line == "...") => {
                let fence = |output: &str| format!("```text\n{output}```");
                text = text.replacen(&fence(old), &fence(stage.shown()), 1);
            }
            _ => panic!("{name}: {why}"),
        }
    }
    if text != page(name) {
        fs::write(path(name), text).unwrap_or_else(|e| panic!("{name}: {e}"));
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
    let start = Block::Commands(vec![Line {
        number: 0,
        words: "qm start 100".to_owned(),
        exit: 0,
    }]);
    stage.play(&start).unwrap();
    assert!(play("README.md", &mut stage) >= 4);
}

/// On the host of the pages, with a network card at host node 2, and with free huge pages.
#[test]
fn advice_can_be_copied() {
    let card = "pci = [{ address = \"0000:41:00.0\", node = 2 }]";
    let text = topologies::text("epyc7351p").unwrap();
    let pages = "memory = { pages_2m = { total = 2048, free = 2048 }, ";
    let text = format!("{card}\n{}", text.replace("memory = { ", pages));
    let machine = Machine::from_text(&text, "with a card").unwrap();
    let mut stage = Stage::on(&machine, &[]).unwrap();
    assert!(play("docs/advise.md", &mut stage) > 10);
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

#[test]
fn no_command_is_missing_in_the_page_about_json() {
    let page = page("docs/json.md");
    let help = numapin_cli::run_words(["--help"]).told;
    let from = help.iter().position(|line| line == "Commands:").unwrap();
    let lines = help[from + 1..].iter().take_while(|line| !line.is_empty());
    let commands = lines.filter_map(|line| line.split_whitespace().next());
    let commands: Vec<&str> = commands.filter(|command| *command != "help").collect();
    assert!(commands.len() > 12, "{help:?}");
    for command in commands {
        assert!(page.contains(&format!("`{command}`")), "{command}");
    }
}

/// The pages that tell of messages.
const PAGES: [&str; 2] = ["docs/troubleshooting.md", "docs/advise.md"];

/// The fixed parts of messages that a page tells of: headings of the third level, and what stands first
/// in an entry in backquotes.
fn told_of(page: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            parts.push(heading);
        }
        let entry = line.strip_prefix("- ").or(line.strip_prefix("  "));
        let mut rest = entry.unwrap_or("");
        while let Some((part, after)) = rest.strip_prefix('`').and_then(|of| of.split_once('`')) {
            parts.push(part);
            rest = after.strip_prefix(", ").unwrap_or("");
        }
    }
    parts
}

#[test]
fn troubleshooting_knows_the_messages_as_they_are() {
    let pages = PAGES.map(page);
    let parts: Vec<&str> = pages.iter().flat_map(|page| told_of(page)).collect();
    assert!(parts.len() > 150, "{parts:?}");
    let mut sources = Vec::new();
    for folder in ["core/src", "cli/src"] {
        for file in source::files(&source::workspace().join(folder)).unwrap() {
            let text = fs::read_to_string(&file).unwrap();
            sources.push(one_text(&text));
        }
    }
    for part in parts {
        let known = sources.iter().any(|text| text.contains(part));
        assert!(known, "no message says {part:?}");
    }
}

/// Every error, note and violation of core, but for those that stand in another one: the pages tell of what is around them.
#[test]
fn no_message_is_missing_in_troubleshooting() {
    let pages = PAGES.map(page);
    let parts: Vec<&str> = pages.iter().flat_map(|page| told_of(page)).collect();
    let inside = [
        "core/src/advise/reasons.rs",
        "core/src/qmp/reply.rs",
        "core/src/qmp/wire.rs",
    ];
    let mut looked_at = 0;
    for source in Source::all("core/src").unwrap() {
        if inside.contains(&&*source.path) {
            continue;
        }
        for (text, line) in source.error_texts() {
            let text = one_text(&text);
            // What is around another message says little by itself.
            if text.starts_with("{0};") || fixed_words(&text) < 3 {
                continue;
            }
            looked_at += 1;
            let told = parts.iter().any(|part| text.contains(part));
            assert!(told, "{}:{line}: {text:?} is missing", source.path);
        }
    }
    assert!(looked_at > 120, "{looked_at}");
}

/// A text of a source as it is told: a string that goes on in the next line is one, and quotes are no escapes.
fn one_text(text: &str) -> String {
    let text: String = text.split("\\\n").map(str::trim_start).collect();
    text.replace("\\\"", "\"")
}

/// How many words of a message are no fields.
fn fixed_words(text: &str) -> usize {
    let outside = text
        .split('{')
        .map(|part| part.rsplit('}').next().unwrap_or(""));
    let words = outside.flat_map(str::split_whitespace);
    words
        .filter(|word| word.chars().any(char::is_alphabetic))
        .count()
}
