//! What may stand in which room.

use numapin_xtests::source::{Source, Token};

use super::{held, law, sample, words};

fn is_pure(path: &str) -> bool {
    ["placement/", "advise/", "reconcile"]
        .iter()
        .any(|room| path.starts_with(&format!("core/src/{room}")))
}

#[test]
fn thinking_touches_no_file_socket_clock_environment_or_random_number() {
    fn breaches(sources: &[Source]) -> Vec<String> {
        const OUTSIDE: [&str; 10] = [
            "std::fs",
            "std::net",
            "std::time",
            "std::env",
            "std::process",
            "std::thread",
            "std::io",
            "std::os",
            "std::random",
            "std::ptr",
        ];
        // Rooms that read or act: their values may be named, not their functions, nor what reads and acts.
        const ROOMS: [&str; 8] = [
            "crate::root",
            "crate::host::sysfs",
            "crate::host::memory",
            "crate::host::cpuset",
            "crate::host::pci",
            "crate::qmp",
            "crate::process",
            "crate::apply",
        ];
        const ACTORS: [&str; 9] = [
            "Root",
            "LiveRoot",
            "CapturedRoot",
            "Reader",
            "Client",
            "Affinity",
            "Linux",
            "Captured",
            "Transaction",
        ];
        const CRATES: [&str; 5] = ["rand", "tokio", "libc", "tempfile", "getrandom"];
        let mut found = Vec::new();
        for source in sources.iter().filter(|s| is_pure(&s.path)) {
            for named in source.paths() {
                let path = format!("{}::", named.parts.join("::"));
                let outside = |of: &&&str| path.starts_with(&format!("{of}::"));
                let is_value = named.parts.last().is_some_and(|name| {
                    name.starts_with(char::is_uppercase) && !ACTORS.contains(&name.as_str())
                });
                let rooms = ROOMS.iter().filter(|_| !is_value);
                let mut all = OUTSIDE.iter().chain(rooms).chain(&CRATES);
                if let Some(of) = all.find(outside) {
                    found.push(format!(
                        "{}:{}: `{of}`: this room only thinks; let a reader hand the value in",
                        source.path, named.line
                    ));
                }
            }
        }
        let names = [
            "SystemTime",
            "Instant",
            "RandomState",
            "File",
            "env",
            "option_env",
        ];
        let why = "this room only thinks; same input, same output";
        found.extend(words(sources, is_pure, |_| true, &names, why));
        found
    }
    law(
        breaches,
        &[
            ("core/src/placement/x.rs", "use std::{cmp, fs::read};"),
            ("core/src/advise/mod.rs", "fn f() { std::env::var(\"A\"); }"),
            ("core/src/reconcile.rs", "use crate::root::Root;"),
            (
                "core/src/reconcile.rs",
                "use crate::process::{Task, tasks};",
            ),
            ("core/src/reconcile/x.rs", "use crate::apply::Affinity;"),
            ("core/src/placement/x.rs", "fn f() { rand::random() }"),
            ("core/src/placement/x.rs", "const A: &str = env!(\"A\");"),
        ],
    );
}

#[test]
fn what_core_walks_through_is_ordered() {
    fn breaches(sources: &[Source]) -> Vec<String> {
        let why =
            "its order differs from run to run; use BTreeMap, BTreeSet, IdSet or a sorted Vec";
        let unordered = ["HashMap", "HashSet"];
        words(
            sources,
            |path| path.starts_with("core/src/"),
            |token| !token.test,
            &unordered,
            why,
        )
    }
    law(
        breaches,
        &[(
            "core/src/claims/x.rs",
            "use std::collections::HashMap; fn f() {}",
        )],
    );
}

#[test]
fn unsafe_code_stands_in_one_file() {
    fn breaches(sources: &[Source]) -> Vec<String> {
        let elsewhere = |path: &str| path != "core/src/apply/linux.rs";
        let why = "only core/src/apply/linux.rs may hold it";
        words(
            sources,
            elsewhere,
            |_| true,
            &["unsafe", "unsafe_code"],
            why,
        )
    }
    law(
        breaches,
        &[
            ("core/src/apply/mod.rs", "fn f() { unsafe { g() } }"),
            ("qmp-mock/src/lib.rs", "#![allow(unsafe_code)]"),
        ],
    );
}

#[test]
fn affinity_system_calls_stand_in_one_file() {
    fn breaches(sources: &[Source]) -> Vec<String> {
        // A benchmark makes the bare calls on threads of its own: they are the floor that numapin is measured against.
        let measured = "cli/benches/peers.rs";
        let elsewhere = |path: &str| path != "core/src/apply/linux.rs" && path != measured;
        let calls = [
            "sched_setaffinity",
            "sched_getaffinity",
            "SYS_sched_setaffinity",
            "SYS_sched_getaffinity",
            "pthread_setaffinity_np",
        ];
        let why = "only core/src/apply/linux.rs calls it, for a live root";
        words(sources, elsewhere, |_| true, &calls, why)
    }
    law(
        breaches,
        &[(
            "core/src/process.rs",
            "fn f() { libc::sched_getaffinity(0, 0, x); }",
        )],
    );
}

#[test]
fn tokio_stands_in_the_client_the_mock_and_the_program() {
    fn breaches(sources: &[Source]) -> Vec<String> {
        let elsewhere = |path: &str| {
            path.starts_with("core/src/") && path != "core/src/qmp/client.rs"
                || path.starts_with("sysfs-sim/src/")
        };
        let why = "only core/src/qmp/client.rs, qmp-mock and cli wait for sockets";
        // Code for tests may drive the client.
        words(sources, elsewhere, |token| !token.test, &["tokio"], why)
    }
    law(
        breaches,
        &[
            ("core/src/qmp/wire.rs", "use tokio::net::UnixStream;"),
            (
                "core/src/host/mod.rs",
                "async fn f() { tokio::task::yield_now() }",
            ),
        ],
    );
}

#[test]
fn every_reader_takes_a_root() {
    // What is no place of the machine: this process's own descriptors, and what QEMU's command line says.
    const OTHERS: [(&str, &str); 5] = [
        ("core/src/qmp/client.rs", "/proc/self/fd/"),
        ("core/src/process/pidfile.rs", "/run"),
        ("core/src/process/pidfile.rs", "/var/run"),
        ("core/src/claims/live/command.rs", "/run/qemu-server/"),
        ("core/src/claims/live/command.rs", "/var/run/qemu-server/"),
    ];
    fn breaches(sources: &[Source]) -> Vec<String> {
        let of = |path: &str| path.starts_with("core/src/") && path != "core/src/root.rs";
        let mut found = Vec::new();
        for source in sources.iter().filter(|s| of(&s.path)) {
            let doc = |i: usize| i >= 2 && source.tokens[i - 2].text == "doc";
            for (i, token) in source.tokens.iter().enumerate() {
                let Some(text) = token.string().filter(|_| !token.test && !doc(i)) else {
                    continue;
                };
                let fixed = ["/sys", "/proc", "/run", "/dev", "/etc", "/var", "/usr"];
                let whole = |root: &&str| text == **root || text.starts_with(&format!("{root}/"));
                let sentence = text.contains(' ')
                    || OTHERS
                        .iter()
                        .any(|(p, t)| source.path == *p && text.starts_with(t));
                if fixed.iter().any(whole) && !sentence {
                    found.push(format!(
                        "{}:{}: \"{text}\": paths of the machine come from a Root",
                        source.path, token.line
                    ));
                }
            }
        }
        found
    }
    law(
        breaches,
        &[
            (
                "core/src/host/x.rs",
                "fn f() { read(\"/proc/self/status\"); }",
            ),
            ("core/src/qmp/client.rs", "const A: &str = \"/run\";"),
        ],
    );
}

#[test]
fn what_comes_over_the_wire_is_read_leniently() {
    fn breaches(sources: &[Source]) -> Vec<String> {
        let of = |path: &str| path.starts_with("core/src/qmp/");
        let why = "QEMU adds fields with every release; they pass through";
        words(sources, of, |_| true, &["deny_unknown_fields"], why)
    }
    law(
        breaches,
        &[(
            "core/src/qmp/wire.rs",
            "#[serde(deny_unknown_fields)] struct A;",
        )],
    );
}

#[test]
fn a_trait_has_two_implementations() {
    fn breaches(sources: &[Source]) -> Vec<String> {
        let core = || sources.iter().filter(|s| s.path.starts_with("core/src/"));
        let mut found = Vec::new();
        for source in core() {
            for i in 1..source.tokens.len() {
                let [before, token] = [&source.tokens[i - 1], &source.tokens[i]];
                if before.text != "trait" || token.test {
                    continue;
                }
                let all = core()
                    .map(|s| implementations(s, &token.text))
                    .sum::<usize>();
                if all < 2 {
                    found.push(format!(
                        "{}:{}: trait `{}` has {all} implementation(s): a function or an enum does",
                        source.path, token.line, token.text
                    ));
                }
            }
        }
        found
    }
    /// Implementations outside of tests; one for a macro's variable stands for several.
    fn implementations(source: &Source, name: &str) -> usize {
        let tokens = &source.tokens;
        let mut count = 0;
        for i in 0..tokens.len() {
            if tokens[i].text != name || tokens[i].test {
                continue;
            }
            // `impl<...> path::Name<...> for Type`: look back for `impl`, ahead for `for`, within the same item.
            let head = |t: &&Token| !["{", "}", ";"].contains(&t.text.as_str());
            let back = tokens[..i].iter().rev().take_while(head);
            let mut ahead = tokens[i..].iter().take_while(head);
            if !back.take(30).any(|t| t.text == "impl") || !ahead.any(|t| t.text == "for") {
                continue;
            }
            count += if ahead.next().is_some_and(|t| t.text == "$") {
                2
            } else {
                1
            };
        }
        count
    }
    law(
        breaches,
        &[
            ("core/src/x.rs", "trait A {} impl A for u8 {}"),
            (
                "core/src/x.rs",
                "pub trait A {} impl A for u8 {} #[cfg(test)] mod t { impl A for u16 {} }",
            ),
            (
                "core/src/x.rs",
                "trait A {} fn f(a: &impl A) { for b in c {} }",
            ),
        ],
    );
    let two = sample(
        "core/src/x.rs",
        "trait A {} impl<T> A for B<T> {} impl x::A for C {}",
    );
    held(&breaches(&two));
    let many = sample(
        "core/src/x.rs",
        "trait A {} macro_rules! m { () => { impl A for $n {} } }",
    );
    held(&breaches(&many));
}
