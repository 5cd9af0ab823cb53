//! The text of a config with other settings, as `qm set` leaves it for the next start.

use std::collections::BTreeSet;

use super::settings::Settings;

/// The config with the settings in its live part. What waits in `[PENDING]` for the same keys is gone, as after `qm set`; snapshots
/// and everything else stay as they are.
pub(super) fn apply(text: &str, settings: &Settings) -> String {
    let mut part = Part::Live;
    let mut lines: Vec<String> = Vec::new();
    let mut end = None;
    for line in text.split('\n') {
        if let Some(name) = header(line) {
            if part == Part::Live {
                end = Some(lines.len());
            }
            part = Part::of(name);
        }
        match key(line).filter(|_| part != Part::Other) {
            Some(key) if settings.changes(key) => continue,
            Some("delete") if part == Part::Pending => lines.extend(kept(line, settings)),
            _ => lines.push(line.to_owned()),
        }
    }
    let mut at = end.unwrap_or(lines.len());
    while at > 0 && lines[at - 1].trim().is_empty() {
        at -= 1;
    }
    let new = settings.config_lines();
    lines.splice(at..at, new);
    let mut text = lines.join("\n");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// The numaN keys that stand in the live part or in `[PENDING]`, readable or not.
pub(super) fn numa_keys(text: &str) -> BTreeSet<String> {
    let mut part = Part::Live;
    let mut keys = BTreeSet::new();
    for line in text.split('\n') {
        if let Some(name) = header(line) {
            part = Part::of(name);
        }
        let numbered = |key: &&str| (0..8).any(|n| *key == format!("numa{n}"));
        if let Some(key) = key(line).filter(|_| part != Part::Other).filter(numbered) {
            keys.insert(key.to_owned());
        }
    }
    keys
}

/// The value that a key has at the next start, as it is written.
pub(super) fn value<'a>(text: &'a str, wanted: &str) -> Option<&'a str> {
    let mut part = Part::Live;
    let mut found = None;
    for line in text.split('\n') {
        if let Some(name) = header(line) {
            part = Part::of(name);
        }
        if part != Part::Other
            && key(line) == Some(wanted)
            && let Some((_, value)) = line.split_once(':')
        {
            found = Some(value.trim());
        }
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Live,
    Pending,
    Other,
}

impl Part {
    fn of(name: &str) -> Self {
        match name.eq_ignore_ascii_case("pending") {
            true => Self::Pending,
            false => Self::Other,
        }
    }
}

fn header(line: &str) -> Option<&str> {
    let (name, rest) = line.strip_prefix('[')?.split_once(']')?;
    rest.trim().is_empty().then_some(name)
}

fn key(line: &str) -> Option<&str> {
    Some(line.split_once(':')?.0)
}

/// The line `delete:` of `[PENDING]` without the keys that are set; `None`: nothing is left of it.
fn kept(line: &str, settings: &Settings) -> Option<String> {
    let (_, keys) = line.split_once(':')?;
    let words = keys.split(|c: char| c == ',' || c == ';' || c == '\0' || c.is_ascii_whitespace());
    let left = words.filter(|word| {
        let key = word.strip_prefix('!').unwrap_or(word);
        !key.is_empty() && !settings.changes(key)
    });
    let left: Vec<&str> = left.collect();
    (!left.is_empty()).then(|| format!("delete: {}", left.join(",")))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::settings::Setting;
    use super::*;

    fn settings() -> Settings {
        let setting = |key: &str, value: &str| Setting {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        Settings {
            set: vec![setting("numa", "1"), setting("cores", "2")],
            delete: vec!["numa4".to_owned()],
        }
    }

    #[rstest]
    #[case("", "numa: 1\ncores: 2\n")]
    #[case(
        "#cores: 9\ncores: 8\nname: a\n",
        "#cores: 9\nname: a\nnuma: 1\ncores: 2\n"
    )]
    #[case("name: a", "name: a\nnuma: 1\ncores: 2\n")]
    #[case(
        "numa4: cpus=0\n\n[snap]\ncores: 8\nnuma4: x\n",
        "numa: 1\ncores: 2\n\n[snap]\ncores: 8\nnuma4: x\n"
    )]
    #[case(
        "cores: 4\n\n[PENDING]\ncores: 6\nmemory: 64\ndelete: numa,!vcpus numa4\n",
        "numa: 1\ncores: 2\n\n[PENDING]\nmemory: 64\ndelete: !vcpus\n"
    )]
    #[case("[pending]\ndelete: numa\n", "numa: 1\ncores: 2\n[pending]\n")]
    #[case("cores2: 1\nCores: 1\n", "cores2: 1\nCores: 1\nnuma: 1\ncores: 2\n")]
    fn settings_are_written(#[case] text: &str, #[case] after: &str) {
        assert_eq!(apply(text, &settings()), after);
        assert_eq!(
            apply(after, &settings()),
            apply(&apply(after, &settings()), &settings())
        );
    }

    #[test]
    fn values_and_keys_are_found() {
        let text = "numa0: x\nballoon: 0\n[PENDING]\nballoon: 64 \nnuma7: y\nnuma8: z\n[snap]\nballoon: 1\nnuma1: z\n";
        assert_eq!(value(text, "balloon"), Some("64"));
        assert_eq!(value(text, "memory"), None);
        assert_eq!(
            numa_keys(text).into_iter().collect::<Vec<_>>(),
            ["numa0", "numa7"]
        );
    }
}
