//! The grammar of one command, as far as it is needed to understand a line that is right: without help.

use std::ffi::OsString;

use clap::{Args as _, Command as Grammar};

use super::{
    Apply, Generate, Global, Guests, Hook, OneGuest, Record, Reset, Set, Simulate, Status, Unset,
    Watch,
};

/// The grammar for a line that names a command, or asks for the version and nothing else. The first word that is a command's
/// name is taken for it: where it is none (the value of an option, say), the line does not fit the grammar.
pub(super) fn grammar(words: &[OsString]) -> Option<Grammar> {
    let words = words.get(1..)?;
    let program = Grammar::new("numapin").version(env!("CARGO_PKG_VERSION"));
    if words == ["--version"] {
        return Some(program);
    }
    let command = words.iter().find_map(|word| command(word.to_str()?))?;
    Some(Global::augment_args(program).subcommand(command))
}

fn command(word: &str) -> Option<Grammar> {
    let (name, augment): (_, fn(Grammar) -> Grammar) = match word {
        "topology" => ("topology", |command| command),
        "check" => ("check", OneGuest::augment_args),
        "plan" => ("plan", Guests::augment_args),
        "apply" => ("apply", Apply::augment_args),
        "status" => ("status", Status::augment_args),
        "reset" => ("reset", Reset::augment_args),
        "hook" => ("hook", Hook::augment_args),
        "watch" => ("watch", Watch::augment_args),
        "set" => ("set", Set::augment_args),
        "unset" => ("unset", Unset::augment_args),
        "advise" => ("advise", OneGuest::augment_args),
        "simulate" => ("simulate", Simulate::augment_args),
        "record" => ("record", Record::augment_args),
        "generate" => ("generate", Generate::augment_args),
        _ => return None,
    };
    Some(augment(Grammar::new(name)))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use rstest::rstest;

    use super::*;
    use crate::args::Cli;

    fn line(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn each_command_has_the_grammar_that_the_whole_gives_it() {
        let mut whole = Cli::command();
        whole.build();
        let mut commands = 0;
        for of_whole in whole.get_subcommands().filter(|c| c.get_name() != "help") {
            let name = of_whole.get_name();
            let mut alone = grammar(&line(&format!("numapin {name}"))).unwrap();
            alone.build();
            let alone = alone.find_subcommand(name).unwrap();
            let args = |command: &Grammar| {
                let args = command.get_arguments().map(|arg| format!("{arg:?}"));
                args.collect::<Vec<_>>()
            };
            let inner = |command: &Grammar| {
                let inner = command
                    .get_subcommands()
                    .map(|c| (c.get_name().to_owned(), args(c)));
                inner.collect::<Vec<_>>()
            };
            assert_eq!(args(alone), args(of_whole), "{name}");
            assert_eq!(inner(alone), inner(of_whole), "{name}");
            commands += 1;
        }
        assert_eq!(commands, 14);
    }

    #[rstest]
    #[case("numapin topology", true)]
    #[case("numapin --format json topology", true)]
    #[case("numapin --root plan plan 100 topology", true)]
    #[case("numapin --root topology plan", false)]
    #[case("numapin plan --help", false)]
    #[case("numapin help plan", false)]
    #[case("numapin plan --nosuch", false)]
    #[case("numapin generate", false)]
    #[case("numapin generate man plan", true)]
    fn what_it_understands_is_right(#[case] text: &str, #[case] understood: bool) {
        let words = line(text);
        let alone = grammar(&words).unwrap().try_get_matches_from(&words);
        assert_eq!(alone.is_ok(), understood);
    }

    #[rstest]
    #[case("numapin --version")]
    #[case("numapin -V")]
    #[case("numapin")]
    #[case("numapin --help")]
    #[case("numapin --root topology plan")]
    #[case("numapin plan --help")]
    #[case("numapin help plan")]
    #[case("numapin plam")]
    #[case("numapin plan --nosuch")]
    #[case("numapin hook 100")]
    #[case("numapin topology --version")]
    #[case("numapin --format yaml topology")]
    #[case("numapin --sysfs-root a --root b topology")]
    #[case("numapin generate completions tcsh")]
    #[case("numapin --deadline 0 apply 100")]
    #[case("numapin --root plan plan 100 topology --mode numa")]
    fn a_line_is_read_as_by_the_whole(#[case] text: &str) {
        use clap::Parser as _;
        let words = line(text);
        let told = |read: Result<Cli, clap::Error>| match read {
            Ok(cli) => format!("{cli:?}"),
            Err(e) => format!("{:?} {e}", e.kind()),
        };
        assert_eq!(told(Cli::read(&words)), told(Cli::try_parse_from(&words)));
    }
}
