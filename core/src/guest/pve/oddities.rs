//! What is odd about a config as a whole.

use super::problem::{NoStart, Oddity};
use super::{GuestConfig, Written};
use crate::guest::Guest;
use crate::id::VnodeId;

/// Everything that is odd, with the line it is seen on.
pub(super) fn of(config: &GuestConfig) -> Vec<Written<Oddity>> {
    let mut found = Vec::new();
    if config.numa() {
        with_lines(config, &mut found);
    } else {
        without_numa(config, &mut found);
    }
    let total = config.sockets().checked_mul(config.cores());
    let total = total
        .and_then(|n| u32::try_from(n).ok())
        .filter(|n| *n <= Guest::MAX_VCPUS);
    if let (Some(vcpus), Some(total)) = (&config.vcpus, total)
        && vcpus.value > u64::from(total)
    {
        found.push(vcpus.with(Oddity::Vcpus {
            found: vcpus.value,
            total,
        }));
    }
    if let Some(args) = &config.args {
        let has = |option: &str| {
            arguments(&args.value)
                .any(|word| word.trim_start_matches('-') == option && word.starts_with('-'))
        };
        let overriding = [("-smp", "smp"), ("-numa", "numa")];
        let overriding = overriding.into_iter().filter(|(_, word)| has(word));
        found.extend(overriding.map(|(option, _)| args.with(Oddity::Args { option })));
    }
    found
}

fn without_numa(config: &GuestConfig, found: &mut Vec<Written<Oddity>>) {
    found.extend(config.numa_lines.iter().map(|(virtual_node, line)| {
        line.with(Oddity::NumaOff {
            virtual_node: *virtual_node,
        })
    }));
    if let Some(hugepages) = &config.hugepages {
        found.push(hugepages.with(Oddity::NoStart(NoStart::HugepagesWithoutNuma)));
    }
    if let Some(hotplug) = config.hotplug.as_ref().filter(|w| w.value.memory) {
        found.push(hotplug.with(Oddity::NoStart(NoStart::MemoryHotplugWithoutNuma)));
    }
}

fn with_lines(config: &GuestConfig, found: &mut Vec<Written<Oddity>>) {
    let mut no_start = |line: &Written<_>, why| found.push(line.with(Oddity::NoStart(why)));
    for (expected, (virtual_node, line)) in (0..).map(VnodeId).zip(&config.numa_lines) {
        if expected != *virtual_node {
            no_start(
                line,
                NoStart::Gap {
                    virtual_node: expected,
                },
            );
            break;
        }
    }
    for (virtual_node, line) in &config.numa_lines {
        let virtual_node = *virtual_node;
        if line.value.memory_mib.is_none() {
            no_start(line, NoStart::NoMemory { virtual_node });
        }
        if line.value.hostnodes.is_some() && line.value.policy.is_none() {
            no_start(line, NoStart::NoPolicy { virtual_node });
        }
    }
    let Some((_, last)) = config.numa_lines.last_key_value() else {
        return;
    };
    let sum: Option<u64> = config
        .numa_lines
        .values()
        .map(|line| line.value.memory_mib)
        .sum();
    let memory = config.memory_mib();
    if let Some(sum) = sum.filter(|sum| *sum != memory) {
        no_start(last, NoStart::MemorySum { sum, memory });
    }
    if let Some(hotplug) = config.hotplug.as_ref().filter(|w| w.value.memory) {
        found.push(hotplug.with(Oddity::NoStart(NoStart::MemoryHotplugWithNumaLines)));
    }
}

/// The words of a command line: white space separates them, unless it is quoted; quotes are dropped.
fn arguments(text: &str) -> impl Iterator<Item = String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words.into_iter()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rstest::rstest;

    use super::super::{Pending, parse};

    #[rstest]
    #[case(
        "numa0: cpus=0,memory=512\n",
        "1: numa0 counts for nothing without numa: 1"
    )]
    #[case("hugepages: 2\n", "1: the guest can't start: hugepages needs numa: 1")]
    #[case(
        "hotplug: memory\n",
        "1: the guest can't start: hotplug of memory needs numa: 1"
    )]
    #[case(
        "numa: 1\nnuma0: cpus=0,memory=512\nhotplug: memory\n",
        "3: the guest can't start: hotplug of memory can't be together with numaN lines"
    )]
    #[case(
        "numa: 1\nnuma0: cpus=0\n",
        "2: the guest can't start: numa0 has no memory (expected memory=MiB)"
    )]
    #[case(
        "numa: 1\nnuma0: cpus=0,memory=500\n",
        "2: the guest can't start: memory of the numaN lines is 500 MiB, that of the guest 512 MiB (expected the same)"
    )]
    #[case(
        "numa: 1\nnuma0: cpus=0,memory=512,hostnodes=0\n",
        "2: the guest can't start: numa0 has hostnodes but no policy (expected policy=bind or policy=preferred)"
    )]
    #[case(
        "numa: 1\ncores: 2\nnuma0: cpus=0,memory=256\nnuma2: cpus=1,memory=256\n",
        "4: the guest can't start: numa1 is missing (expected numa0, numa1, ... without a gap)"
    )]
    #[case(
        "cores: 2\nvcpus: 3\n",
        "2: vcpus: 3 is more than the guest has (2, sockets x cores)"
    )]
    #[case(
        "args: -cpu host -smp 2,cores=2\n",
        "1: args has -smp, which overrides what is planned here"
    )]
    #[case(
        "args: '--numa' 'node,nodeid=0'\n",
        "1: args has -numa, which overrides what is planned here"
    )]
    fn is_told(#[case] text: &str, #[case] says: &str) {
        let warnings = parse(Path::new("9.conf"), text, Pending::Merge)
            .unwrap()
            .warnings;
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].starts_with(&format!("9.conf:{says}")),
            "{warnings:?}"
        );
    }

    #[rstest]
    #[case("args: -name smp -device 'x,-smp'\n")]
    #[case("args: \"a -smp 2\"\n")]
    #[case("numa: 1\ncores: 2\nnuma0: cpus=0-1,memory=512,hostnodes=0,policy=bind\n")]
    #[case("vcpus: 1\nhotplug: cpu\n")]
    fn nothing_is_odd(#[case] text: &str) {
        assert_eq!(
            parse(Path::new("9.conf"), text, Pending::Merge)
                .unwrap()
                .warnings,
            []
        );
    }

    #[rstest]
    #[case(
        "affinity: 0 - 3\n",
        "9.conf:1: affinity: \"0 - 3\" is not a number or a range"
    )]
    #[case(
        "numa: 1\nnuma3: cpus=3-1\n",
        "9.conf:2: numa3: cpus: \"3-1\" runs backwards (expected \"1-3\")"
    )]
    #[case(
        "cores: 1\n[PENDING]\naffinity: x\n",
        "9.conf:3: affinity: \"x\" is not a number or a range"
    )]
    #[case(
        "\n\u{1}\u{fffd}x\nand so\n",
        "9.conf:2: \"\\u{1}\u{fffd}x\" can't be read, nor can any other line (expected the config of a guest: lines of"
    )]
    fn is_an_error(#[case] text: &str, #[case] says: &str) {
        let refused = parse(Path::new("9.conf"), text, Pending::Merge)
            .unwrap_err()
            .to_string();
        assert!(refused.starts_with(says), "{refused}");
    }

    #[rstest]
    #[case("numa3: cpus=3-1\n", 1)]
    #[case("\n\u{1}x\nand: so\n", 1)]
    #[case("# only a description\n", 0)]
    #[case("", 0)]
    #[case("cores: 1\n[PENDING]\naffinity: x\n", 0)]
    fn what_is_not_in_force_is_no_error(#[case] text: &str, #[case] warnings: usize) {
        let parsed = parse(Path::new("9.conf"), text, Pending::Leave).unwrap();
        assert_eq!(parsed.warnings.len(), warnings);
    }
}
