//! How sources and their error texts are written.

use std::collections::BTreeSet;

use numapin_xtests::source::Source;

use super::{held, law, project, sample};

const LINES: usize = 420;

#[test]
fn every_file_is_short() {
    fn breaches(sources: &[Source]) -> Vec<String> {
        let long = |s: &&Source| s.text.lines().count() > LINES;
        sources
            .iter()
            .filter(long)
            .map(|s| {
                let lines = s.text.lines().count();
                format!(
                    "{}: {lines} lines: split it by meaning, at most about 400",
                    s.path
                )
            })
            .collect()
    }
    law(breaches, &[("cli/src/x.rs", &"\n".repeat(LINES + 1))]);
    held(&breaches(&sample("cli/src/x.rs", &"\n".repeat(400))));
}

#[test]
fn nothing_is_left_undone_and_no_test_is_passed_over() {
    fn breaches(sources: &[Source]) -> Vec<String> {
        let mut found = Vec::new();
        for source in sources {
            for (sequence, why) in [
                (&["todo", "!"][..], "write it"),
                (&["unimplemented", "!"], "write it, or make it impossible"),
                (
                    &["#", "[", "ignore"],
                    "a test that does not run holds nothing",
                ),
                (&["should_panic"], "nothing panics on purpose"),
            ] {
                for line in source.lines_of(sequence) {
                    found.push(format!(
                        "{}:{line}: `{}`: {why}",
                        source.path,
                        sequence.concat()
                    ));
                }
            }
        }
        found
    }
    law(
        breaches,
        &[
            ("core/src/x.rs", "fn f() { todo!() }"),
            ("core/src/x.rs", "fn f() { unimplemented!(\"later\") }"),
            ("core/src/x.rs", "#[test] #[ignore = \"slow\"] fn f() {}"),
            ("core/src/x.rs", "#[test] #[should_panic] fn f() {}"),
        ],
    );
}

#[test]
fn error_texts_follow_one_style() {
    fn breaches(sources: &[Source]) -> Vec<String> {
        let mut found = Vec::new();
        for source in sources {
            for (text, line) in source.error_texts() {
                let mut wrong = |why: &str| {
                    found.push(format!("{}:{line}: \"{text}\": {why}", source.path));
                };
                let first = text
                    .split(|c: char| !c.is_alphanumeric())
                    .next()
                    .unwrap_or("");
                // Names of things keep their capitals: QMP, NUMA, QEMU, SMT.
                let name = first.len() > 1 && first.chars().skip(1).any(char::is_uppercase);
                if first.starts_with(char::is_uppercase) && !name {
                    wrong("starts lower-case");
                }
                if text.ends_with(['.', '!', '\n']) {
                    wrong("ends without a full stop");
                }
                if text.to_lowercase().contains("failed to") {
                    wrong("says what is wrong, not what failed");
                }
                if text.trim().is_empty() {
                    wrong("says something");
                }
            }
        }
        found
    }
    law(
        breaches,
        &[
            ("core/src/x.rs", "#[error(\"No such thing\")] struct A;"),
            ("core/src/x.rs", "#[error(\"no such thing.\")] struct A;"),
            (
                "core/src/x.rs",
                "#[error(\"failed to open {0}\")] struct A;",
            ),
            ("core/src/x.rs", "#[error(\"\")] struct A;"),
        ],
    );
    held(&breaches(&sample(
        "a.rs",
        "#[error(\"QMP: {0} is closed\")] struct A;",
    )));
    let texts: BTreeSet<String> = project()
        .iter()
        .flat_map(Source::error_texts)
        .map(|(text, _)| text)
        .collect();
    assert!(
        texts.len() > 10,
        "only {} error texts were found",
        texts.len()
    );
}
