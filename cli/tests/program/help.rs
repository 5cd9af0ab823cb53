//! `--help` and `--version`.

use rstest::rstest;

use crate::support::{Lab, numapin};

const COMMANDS: [&str; 6] = ["topology", "check", "plan", "apply", "simulate", "record"];

#[test]
fn the_help_names_commands_and_exit_codes() {
    let help = numapin(["--help"]).quiet(0).out;
    for command in COMMANDS {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "{command} is missing in\n{help}"
        );
    }
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, codes) = words.split_once("Exit codes: ").expect("exit codes");
    for (code, word) in [
        (0, "done"),
        (1, "fault"),
        (2, "usage"),
        (3, "constraints"),
        (4, "QMP"),
        (5, "affinity"),
        (6, "drift"),
    ] {
        let (_, meaning) = codes
            .split_once(&format!("{code} "))
            .unwrap_or_else(|| panic!("{code} in {codes}"));
        let meaning = meaning.split(';').next().unwrap_or_default();
        assert!(meaning.contains(word), "{code}: {meaning}");
    }
}

/// Every command of the help, also those that come later.
fn commands() -> Vec<String> {
    let help = numapin(["--help"]).quiet(0).out;
    let (_, rest) = help.split_once("Commands:\n").expect("a list of commands");
    let list = rest.split("\n\n").next().unwrap_or_default();
    // A line that goes on is indented further.
    let names = list
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_has_an_example() {
    let commands = commands();
    assert!(commands.len() > COMMANDS.len(), "{commands:?}");
    for command in commands.iter().filter(|command| *command != "help") {
        let help = numapin([command.as_str(), "--help"]).quiet(0).out;
        let example = help.lines().find_map(|line| line.strip_prefix("Example: "));
        let example = example.unwrap_or_else(|| panic!("{command} has no example in\n{help}"));
        assert!(
            example.starts_with(&format!("numapin {command}")),
            "{example}"
        );
    }
}

#[test]
fn every_help_fits_80_columns() {
    let mut asked = vec![vec!["--help".to_owned()], vec!["-h".to_owned()]];
    for command in commands() {
        asked.push(vec![command.clone(), "-h".to_owned()]);
        asked.push(vec![command, "--help".to_owned()]);
    }
    for what in ["man", "completions", "schema"] {
        asked.push(["generate", what, "--help"].map(str::to_owned).into());
    }
    for words in asked.iter().filter(|words| words[0] != "help") {
        let help = numapin(words).quiet(0).out;
        let wide = help.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None, "{words:?}");
    }
    // What each command does is told on one line.
    let help = numapin(["--help"]).quiet(0).out;
    let (_, list) = help.split_once("Commands:\n").expect("a list of commands");
    let list = list.split("\n\n").next().unwrap_or_default();
    assert_eq!(list.lines().count(), commands().len(), "{list}");
}

#[test]
fn every_command_has_a_man_page() {
    for command in commands().iter().filter(|command| *command != "help") {
        let page = numapin(["generate", "man", command]).quiet(0).out;
        let title = format!(".TH numapin-{command} 1 ");
        assert!(page.contains(&title), "{page}");
        for section in ["NAME", "SYNOPSIS", "EXAMPLE", "\"EXIT STATUS\"", "FILES"] {
            assert!(
                page.contains(&format!(".SH {section}\n")),
                "{section} is missing in\n{page}"
            );
        }
    }
    let page = numapin(["generate", "man"]).quiet(0).out;
    assert!(
        page.contains("numapin\\-status(1)") && !page.contains("numapin\\-help"),
        "{page}"
    );
    let run = numapin(["generate", "man", "frobnicate"]).ended(2);
    assert!(
        run.err
            .starts_with("numapin: there is no command \"frobnicate\""),
        "{}",
        run.err
    );
}

#[rstest]
#[case("bash", "complete -F _numapin")]
#[case("zsh", "#compdef numapin")]
#[case("fish", "complete -c numapin")]
fn completions_know_every_command(#[case] shell: &str, #[case] says: &str) {
    let script = numapin(["generate", "completions", shell]).quiet(0).out;
    assert!(script.contains(says), "{script}");
    for command in commands() {
        assert!(
            script.contains(&command),
            "{command} is missing in\n{script}"
        );
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let line = concat!("numapin ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(numapin(["--version"]).quiet(0).out, line);
}

#[test]
fn without_a_command_there_is_help_and_exit_2() {
    let run = numapin::<&str>([]).ended(2);
    assert!(
        run.out.is_empty() && run.err.contains("Usage: numapin "),
        "{}",
        run.err
    );
}

#[rstest]
#[case::command(&["frobnicate"], "unrecognized subcommand 'frobnicate'")]
#[case::flag(&["topology", "--sysfs"], "unexpected argument '--sysfs' found")]
#[case::format(&["topology", "--format", "xml"], "invalid value 'xml' for '--format <FORMAT>'")]
#[case::deadline(&["plan", "--deadline", "0"], "invalid value '0' for '--deadline <SECONDS>': expected seconds above 0 and up to 3600")]
#[case::deadline_word(&["plan", "--deadline", "soon"], "invalid value 'soon' for '--deadline <SECONDS>': expected seconds above 0 and up to 3600")]
#[case::deadline_nan(&["plan", "--deadline", "nan"], "invalid value 'nan' for '--deadline <SECONDS>': expected seconds above 0 and up to 3600")]
#[case::file(&["record"], "the following required arguments were not provided:")]
fn wrong_usage_is_told_for_people_and_for_programs(#[case] args: &[&str], #[case] says: &str) {
    let run = numapin(args).ended(2);
    assert_eq!(run.out, "");
    assert_eq!(
        run.err.lines().next(),
        Some(format!("error: {says}").as_str())
    );
    let last = ["--format=json"];
    if !args.contains(&"--format") {
        let run = numapin(args.iter().chain(&last)).ended(2);
        let document =
            serde_json::json!({"schema": 1, "error": {"kind": "usage", "message": says}});
        assert_eq!(run.json(), document);
    }
}

#[test]
fn colours_come_only_where_they_are_wanted() {
    let lab = Lab::rfc();
    lab.config(100, "cores: 2\n");
    let plan = |more: &[&str]| {
        lab.run(&[&["plan", "100", "--mode", "numa"], more].concat())
            .quiet(0)
            .out
    };
    let plain = plan(&[]);
    assert!(
        plain.starts_with("guest 100:") && !plain.contains('\x1b'),
        "{plain}"
    );
    assert_eq!(plan(&["--color", "never"]), plain);
    let painted = plan(&["--color", "always"]);
    assert!(painted.starts_with("\x1b[1mguest 100:"), "{painted}");
    let json = plan(&["--color", "always", "--format", "json"]);
    assert!(json.starts_with('{') && !json.contains('\x1b'), "{json}");
}

#[test]
fn verbose_tells_what_was_read() {
    let lab = Lab::rfc();
    lab.config(100, "cores: 2\n");
    let run = lab.run(&["plan", "100", "--mode", "numa", "-v"]).ended(0);
    let told = "numapin: read the machine below ROOT (nothing real is touched): 32 cpu(s) online on 4 host node(s), 0 QEMU \
                process(es), 0 plan(s) kept\n";
    assert_eq!(run.err, told);
}
