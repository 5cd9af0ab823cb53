//! Pure editing of numapin.conf: one guest's line changes; comments, order and every other line stay as they are.

use std::fmt::Write as _;

use super::node_conf::vmid as read_vmid;
use super::{GuestLine, Policy};
use crate::id::Vmid;

/// The text with the policy of a guest in it: in its line, if it has one (of several the first; the others go), else in a new one
/// at the end. `name` guards the line; a name that could not be read again is left out (Proxmox VE allows none).
#[must_use]
pub fn set_line(text: &str, vmid: Vmid, name: Option<&str>, policy: &Policy) -> String {
    let name = name.filter(|name| !name.is_empty() && name.bytes().all(is_name_byte));
    let line = GuestLine {
        name: name.map(ToOwned::to_owned),
        policy: policy.clone(),
    };
    let mut edited = String::with_capacity(text.len() + 80);
    let mut written = false;
    for old in text.split_inclusive('\n') {
        if !is_of(old, vmid) {
            edited.push_str(old);
        } else if !written {
            let _ = writeln!(edited, "{vmid}: {line}{}", comment(old));
            written = true;
        }
    }
    if !written {
        if !edited.is_empty() && !edited.ends_with('\n') {
            edited.push('\n');
        }
        let _ = writeln!(edited, "{vmid}: {line}");
    }
    edited
}

/// The text without the lines of a guest; `None` if it has none.
#[must_use]
pub fn unset_line(text: &str, vmid: Vmid) -> Option<String> {
    let lines = text.split_inclusive('\n');
    let edited: String = lines.filter(|line| !is_of(line, vmid)).collect();
    (edited.len() < text.len()).then_some(edited)
}

fn is_of(line: &str, vmid: Vmid) -> bool {
    let key = line.split('#').next().and_then(|line| line.split_once(':'));
    key.is_some_and(|(key, _)| read_vmid(key.trim()) == Some(vmid))
}

/// The comment of a line, with the white space before it.
fn comment(line: &str) -> &str {
    let line = line.trim_end();
    let Some(at) = line.find('#') else { return "" };
    &line[line[..at].trim_end().len()..]
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use rstest::rstest;

    use super::super::parse::tests::any_policy;
    use super::*;
    use crate::policy::node_conf::NodeConf;

    const TEXT: &str = "# head\n100: numa   # why\n\ndefault: shared\nnonsense\n100: l3\n101: none";

    #[rstest]
    #[case(
        100,
        Some("db1"),
        "# head\n100: name=db1,one-to-one   # why\n\ndefault: shared\nnonsense\n101: none"
    )]
    #[case(
        101,
        None,
        "# head\n100: numa   # why\n\ndefault: shared\nnonsense\n100: l3\n101: one-to-one\n"
    )]
    #[case(
        10,
        Some("a b"),
        "# head\n100: numa   # why\n\ndefault: shared\nnonsense\n100: l3\n101: none\n10: one-to-one\n"
    )]
    fn a_line_is_set(#[case] vmid: u32, #[case] name: Option<&str>, #[case] edited: &str) {
        let policy = "one-to-one".parse().unwrap();
        assert_eq!(set_line(TEXT, Vmid(vmid), name, &policy), edited);
    }

    #[test]
    fn the_first_line_of_all_is_set() {
        let policy = "l3".parse().unwrap();
        assert_eq!(set_line("", Vmid(100), None, &policy), "100: l3\n");
    }

    #[rstest]
    #[case(100, Some("# head\n\ndefault: shared\nnonsense\n101: none"))]
    #[case(
        101,
        Some("# head\n100: numa   # why\n\ndefault: shared\nnonsense\n100: l3\n")
    )]
    #[case(102, None)]
    fn a_line_is_unset(#[case] vmid: u32, #[case] edited: Option<&str>) {
        assert_eq!(unset_line(TEXT, Vmid(vmid)).as_deref(), edited);
    }

    proptest! {
        #[test]
        fn what_is_set_is_read_again_and_nothing_else_changes(
            text in "((1(00|01)|default|reserved|x)?:? ?(numa|l3|0-1|#[a-z]{0,4})?\n){0,6}(102: l3)?",
            vmid in 100..104_u32,
            name in proptest::option::of("[a-z][a-z0-9.-]{0,9}"),
            policy in any_policy(),
        ) {
            let vmid = Vmid(vmid);
            let edited = set_line(&text, vmid, name.as_deref(), &policy);
            let conf = NodeConf::parse(Path::new("numapin.conf"), &edited);
            let (_, line) = conf.guest(vmid).unwrap().unwrap();
            prop_assert_eq!(&line.policy, &policy);
            prop_assert_eq!(&line.name, &name);
            prop_assert_eq!(GuestLine::read(&line.to_string()).unwrap(), line.clone());
            let others = |text: &str| {
                let lines = text.lines().filter(|line| !is_of(line, vmid)).map(ToOwned::to_owned);
                lines.collect::<Vec<_>>()
            };
            prop_assert_eq!(others(&edited), others(&text));
            let unset = unset_line(&edited, vmid).unwrap();
            prop_assert_eq!(others(&unset), others(&text));
            prop_assert_eq!(unset_line(&unset, vmid), None);
        }

        #[test]
        fn no_text_is_a_panic(text in "\\PC{0,60}", vmid in 100..102_u32) {
            let edited = set_line(&text, Vmid(vmid), None, &Policy::default());
            prop_assert!(NodeConf::parse(Path::new("numapin.conf"), &edited).guest(Vmid(vmid)).is_ok());
        }
    }
}
