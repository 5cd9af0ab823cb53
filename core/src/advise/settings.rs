//! Settings as they are written: the lines of a config, and the commands that write them.

use serde::Serialize;

use crate::id::Vmid;

/// Keys of a guest's config that get another value, and keys that go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Settings {
    /// Keys with their new values, in the order in which they are best read.
    pub set: Vec<Setting>,
    /// Keys that are to be removed.
    pub delete: Vec<String>,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Setting {
    /// The key, like "numa0".
    pub key: String,
    /// Its value, like "cpus=0-3,hostnodes=0,memory=4096,policy=bind".
    pub value: String,
}

/// Keys that only root may write (PVE/API2/Qemu.pm: what no privilege is named for).
const ROOT_ONLY: &[&str] = &["affinity"];

/// The length from which a command is broken into several lines.
const LINE: usize = 100;

impl Settings {
    /// Whether there is nothing to be set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.delete.is_empty()
    }

    /// Whether a key is set or removed.
    #[must_use]
    pub fn changes(&self, key: &str) -> bool {
        self.set.iter().any(|setting| setting.key == key) || self.delete.iter().any(|k| k == key)
    }

    /// The lines as they stand in the config file, without those that go.
    #[must_use]
    pub fn config_lines(&self) -> Vec<String> {
        let line = |setting: &Setting| format!("{}: {}", setting.key, setting.value);
        self.set.iter().map(line).collect()
    }

    /// The commands for a shell of the node, each complete: the keys that belong together in one `qm set`, so that no half of
    /// them is ever in force, and those that only root may write in one of their own. `None`: a guest whose number is not known.
    #[must_use]
    pub fn commands(&self, vmid: Option<Vmid>) -> Vec<String> {
        let vmid = vmid.map_or_else(|| "VMID".to_owned(), |vmid| vmid.to_string());
        let (root, others): (Vec<_>, Vec<_>) =
            self.options().into_iter().partition(|option| option.root);
        let command = |options: Vec<Written>| {
            let words: Vec<String> = options.into_iter().map(|option| option.text).collect();
            let start = format!("qm set {vmid}");
            let line = format!("{start} {}", words.join(" "));
            match line.len() > LINE && words.len() > 1 {
                true => format!("{start} \\\n    {}", words.join(" \\\n    ")),
                false => line,
            }
        };
        [others, root]
            .into_iter()
            .filter(|options| !options.is_empty())
            .map(command)
            .collect()
    }

    fn options(&self) -> Vec<Written> {
        let root = |key: &str| ROOT_ONLY.contains(&key);
        let set = self.set.iter().map(|setting| Written {
            root: root(&setting.key),
            text: format!("--{} {}", setting.key, quoted(&setting.value)),
        });
        let mut options: Vec<Written> = set.collect();
        for of_root in [false, true] {
            let keys = self.delete.iter().filter(|key| root(key) == of_root);
            let keys: Vec<&str> = keys.map(String::as_str).collect();
            if !keys.is_empty() {
                options.push(Written {
                    root: of_root,
                    text: format!("--delete {}", keys.join(",")),
                });
            }
        }
        options
    }
}

/// An option of `qm set` as it is typed.
struct Written {
    root: bool,
    text: String,
}

/// A word for a POSIX shell: bare where nothing in it means anything to a shell, else between single quotes.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.,:/+@%".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn settings(set: &[(&str, &str)], delete: &[&str]) -> Settings {
        let set = set.iter().map(|(key, value)| Setting {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        });
        Settings {
            set: set.collect(),
            delete: delete.iter().map(|key| (*key).to_owned()).collect(),
        }
    }

    #[rstest]
    #[case(&[("sockets", "4"), ("cores", "2"), ("numa", "1")], &[], &["qm set 100 --sockets 4 --cores 2 --numa 1"])]
    #[case(&[("numa0", "cpus=0-1;6-7,memory=64")], &["numa4", "numa5"],
        &["qm set 100 --numa0 'cpus=0-1;6-7,memory=64' --delete numa4,numa5"])]
    #[case(&[("numa", "1"), ("affinity", "0-3,16-19")], &[], &["qm set 100 --numa 1", "qm set 100 --affinity 0-3,16-19"])]
    #[case(&[("numa", "1")], &["affinity"], &["qm set 100 --numa 1", "qm set 100 --delete affinity"])]
    #[case(&[], &[], &[])]
    fn commands(#[case] set: &[(&str, &str)], #[case] delete: &[&str], #[case] lines: &[&str]) {
        assert_eq!(settings(set, delete).commands(Some(Vmid(100))), lines);
    }

    #[test]
    fn a_long_command_is_broken_where_a_shell_reads_on() {
        let line = "cpus=0-3,hostnodes=0,memory=4096,policy=bind";
        let commands =
            settings(&[("numa", "1"), ("numa0", line), ("numa1", line)], &[]).commands(None);
        assert_eq!(
            commands,
            [format!(
                "qm set VMID \\\n    --numa 1 \\\n    --numa0 '{line}' \\\n    --numa1 '{line}'"
            )]
        );
    }

    #[rstest]
    #[case("0-3,16", "0-3,16")]
    #[case("cpus=0", "'cpus=0'")]
    #[case("it's", r"'it'\''s'")]
    #[case("", "''")]
    fn words_are_quoted(#[case] word: &str, #[case] typed: &str) {
        assert_eq!(quoted(word), typed);
    }
}
