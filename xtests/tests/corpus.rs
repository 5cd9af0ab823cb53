//! Every kept input of the fuzzer goes through the same function as there.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use numapin_xtests::fuzz::TARGETS;
use numapin_xtests::source::workspace;
use rstest::rstest;

fn folder(name: &str) -> PathBuf {
    workspace().join("xtests/fuzz").join(name)
}

fn names(folder: PathBuf) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[rstest]
#[case("config")]
#[case("ledger")]
#[case("lists")]
#[case("policy")]
#[case("qmp")]
#[case("recording")]
#[case("sysfs")]
fn no_kept_input_shows_a_mistake(#[case] name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let kept = folder("corpus").join(name);
    let files = names(kept.clone());
    assert!(files.len() >= 10, "only {} inputs", files.len());
    for file in files {
        let bytes = fs::read(kept.join(&file)).unwrap();
        assert!(bytes.len() <= 16 << 10, "{name}/{file} is no small input");
        let run = || (target.run)(&bytes);
        if std::panic::catch_unwind(run).is_err() {
            panic!("xtests/fuzz/corpus/{name}/{file} shows a mistake");
        }
    }
}

#[test]
fn each_target_is_run_by_the_fuzzer_and_here() {
    let all: BTreeSet<String> = TARGETS.iter().map(|t| t.name.to_owned()).collect();
    assert_eq!(names(folder("corpus")), all);
    let sources = names(folder("fuzz_targets"));
    let stems = sources
        .iter()
        .map(|name| name.trim_end_matches(".rs").to_owned());
    assert_eq!(stems.collect::<BTreeSet<_>>(), all);
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    for name in all {
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "{name} is no binary"
        );
    }
}
