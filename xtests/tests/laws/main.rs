//! The laws of the house, as ARCHITECTURE.md lists them, held against the sources. Each law is a function from sources to
//! breaches, so that its own test can show that it finds one.
#![allow(clippy::unwrap_used)]

mod house;
mod rooms;
mod safety;
mod style;

use numapin_xtests::source::{Source, Token};

const FOLDERS: [&str; 5] = ["core", "sysfs-sim", "qmp-mock", "cli", "xtests"];

fn project() -> Vec<Source> {
    let all = FOLDERS.iter().flat_map(|f| Source::all(f).unwrap());
    let all: Vec<Source> = all.collect();
    assert!(all.len() > 50, "only {} sources were found", all.len());
    all
}

fn sample(path: &str, text: &str) -> Vec<Source> {
    vec![Source::new(path, text.to_owned()).unwrap()]
}

#[track_caller]
fn held(breaches: &[String]) {
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

/// The law finds something in each of the samples, and nothing in the project.
#[track_caller]
fn law(law: impl Fn(&[Source]) -> Vec<String>, bad: &[(&str, &str)]) {
    for (path, text) in bad {
        let found = law(&sample(path, text));
        assert!(!found.is_empty(), "nothing was found in {path}: {text}");
        assert!(found[0].starts_with(path), "{found:?} does not name {path}");
    }
    held(&law(&project()));
}

/// Lines where one of the words stands as a token, in the sources that the filter takes.
fn words(
    sources: &[Source],
    of: impl Fn(&str) -> bool,
    counts: impl Fn(&Token) -> bool,
    words: &[&str],
    why: &str,
) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|s| of(&s.path)) {
        for token in source.tokens.iter().filter(|t| counts(t)) {
            if words.contains(&token.text.as_str()) {
                found.push(format!(
                    "{}:{}: `{}`: {why}",
                    source.path, token.line, token.text
                ));
            }
        }
    }
    found
}
