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
                if text.contains("; expected") {
                    wrong("says in brackets what was expected");
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
            (
                "core/src/x.rs",
                "#[error(\"{0} is odd; expected even\")] struct A;",
            ),
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

/// What is written in English, and is no message: help texts, descriptions of the schema and of metrics, a paragraph.
const PROSE: [&str; 7] = [
    "cli/src/args.rs",
    "cli/src/render/prometheus.rs",
    "cli/src/render/json/schema.rs",
    "cli/src/simulate/estimate.rs",
    "core/src/idset/schema.rs",
    "core/src/placement/cost.rs",
    "core/src/placement/fraction.rs",
];

#[test]
fn all_that_is_told_has_one_voice() {
    fn breaches(sources: &[Source]) -> Vec<String> {
        let told = |s: &&Source| {
            let ours = ["core/src/", "cli/src/", "sysfs-sim/src/"];
            ours.iter().any(|folder| s.path.starts_with(folder)) && !PROSE.contains(&&*s.path)
        };
        let mut found = Vec::new();
        for source in sources.iter().filter(told) {
            for tokens in source.tokens.windows(3).filter(|tokens| !tokens[2].test) {
                let token = &tokens[2];
                let text = token.string().unwrap_or_default();
                // Comments of the documentation are texts of attributes.
                let comment = tokens[0].text == "doc" && tokens[1].text == "=";
                if comment || text.split_whitespace().count() < 3 {
                    continue;
                }
                let mut wrong = |why: &str| {
                    found.push(format!("{}:{}: {text:?}: {why}", source.path, token.line));
                };
                let end = text.trim_end_matches("\\n").trim_end();
                if end.ends_with(['.', '!']) && !end.ends_with("..") {
                    wrong("ends without a full stop");
                }
                let lower = text.to_lowercase();
                if ["failed to", "unable to", "cannot ", "sorry"]
                    .iter()
                    .any(|word| lower.contains(word))
                {
                    wrong("says what is wrong, in plain words");
                }
                if lower.contains("; expected") {
                    wrong("says in brackets what was expected");
                }
            }
        }
        found
    }
    law(
        breaches,
        &[
            ("cli/src/x.rs", "fn f() { g(\"it is odd.\") }"),
            ("cli/src/x.rs", "fn f() { g(\"failed to open it\") }"),
            ("core/src/x.rs", "fn f() { g(\"it cannot be\") }"),
            ("sysfs-sim/src/x.rs", "fn f() { g(\"{x}; expected a y\") }"),
        ],
    );
    held(&breaches(&sample(
        "cli/src/x.rs",
        "fn f() { g(\"it is odd (expected even)\") }",
    )));
}
