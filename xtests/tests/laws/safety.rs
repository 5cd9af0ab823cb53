//! What the program never does, wherever it stands in it.

use std::collections::BTreeSet;

use numapin_xtests::source::Source;

use super::law;

/// The program: not its tests, and not the fakes, which may start what they fake.
fn is_program(path: &str) -> bool {
    path.starts_with("core/src/") || path.starts_with("cli/src/")
}

/// Paths and words that stand in the program and may not.
fn named(sources: &[Source], paths: &[&str], words: &[&str], why: &str) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| is_program(&source.path)) {
        let tests: BTreeSet<usize> = source
            .tokens
            .iter()
            .filter(|token| token.test)
            .map(|token| token.line)
            .collect();
        let paths_named = source.paths().into_iter();
        for named in paths_named.filter(|named| !tests.contains(&named.line)) {
            let path = named.parts.join("::");
            if paths.iter().any(|bad| path.starts_with(bad)) {
                found.push(format!("{}:{}: `{path}`: {why}", source.path, named.line));
            }
        }
    }
    found.extend(super::words(
        sources,
        is_program,
        |token| !token.test,
        words,
        why,
    ));
    found
}

#[test]
fn nothing_is_executed() {
    fn breaches(sources: &[Source]) -> Vec<String> {
        const PATHS: [&str; 6] = [
            "libc::system",
            "std::process::Command",
            "std::process::Child",
            "std::os::unix::process::CommandExt",
            "tokio::process",
            "process::Command",
        ];
        const WORDS: [&str; 11] = [
            "CommandExt",
            "execv",
            "execve",
            "execvp",
            "execvpe",
            "execl",
            "execlp",
            "fork",
            "vfork",
            "posix_spawn",
            "popen",
        ];
        let why = "numapin runs as root among guests: it starts no program, least of all a shell";
        let mut found = named(sources, &PATHS, &WORDS, why);
        // Brought in by another name it would still be the one of std.
        for source in sources.iter().filter(|source| is_program(&source.path)) {
            let tokens = source.tokens.iter().filter(|token| !token.test);
            let texts: Vec<&str> = tokens.map(|token| &*token.text).collect();
            let spawns = texts
                .windows(5)
                .any(|at| at == ["Command", ":", ":", "new", "("]);
            if spawns {
                found.push(format!("{}: `Command::new(`: {why}", source.path));
            }
        }
        found
    }
    law(
        breaches,
        &[
            ("core/src/x.rs", "use std::process::Command;"),
            ("cli/src/x.rs", "use std::process::{Command, ExitCode};"),
            (
                "cli/src/x.rs",
                "fn f() { std::process::Command::new(\"sh\"); }",
            ),
            ("cli/src/x.rs", "fn f() { Command::new(\"sh\"); }"),
            ("cli/src/x.rs", "use tokio::process::Command as C;"),
            ("core/src/x.rs", "fn f() { libc::fork(); }"),
        ],
    );
}

/// A clock that is set back, or forward, changes nothing: time is only ever a span, by the clock that no one can set. One room
/// asks how long ago a file was written, and reads the file where the answer makes no sense.
#[test]
fn no_decision_depends_on_the_time_of_day() {
    fn breaches(sources: &[Source]) -> Vec<String> {
        const WORDS: [&str; 3] = ["SystemTime", "UNIX_EPOCH", "CLOCK_REALTIME"];
        let why = "the clock can be set back; measure spans with Instant";
        let mut found = named(sources, &[], &WORDS, why);
        found.retain(|breach| !breach.starts_with("core/src/root/stamp.rs:"));
        found
    }
    law(
        breaches,
        &[
            ("core/src/x.rs", "use std::time::SystemTime;"),
            ("cli/src/x.rs", "fn f() { std::time::UNIX_EPOCH; }"),
            (
                "core/src/x.rs",
                "fn f() { libc::clock_gettime(libc::CLOCK_REALTIME, t); }",
            ),
        ],
    );
}
