//! The policy string, a guest's line, and numapin.conf.

use std::path::Path;

use numapin_core::id::Vmid;
use numapin_core::policy::{GuestLine, NodeConf, Policy, PolicyPatch, set_line, unset_line};

use super::told;

/// Reads the first line as a policy, the whole as numapin.conf; what is printed is read as it was, and editing changes one guest's
/// lines only.
pub fn policy(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().next().unwrap_or_default();
    let policy = string(line);
    guest_line(line);
    conf(&text, policy.as_ref().unwrap_or(&Policy::default()));
}

fn string(text: &str) -> Option<Policy> {
    let patch = text.parse::<PolicyPatch>();
    match text.parse::<Policy>() {
        Ok(policy) => {
            assert_eq!(policy.to_string().parse(), Ok(policy.clone()), "{text:?}");
            let patch = patch.map(|patch| patch.over(&Policy::default()));
            assert_eq!(patch, Ok(policy.clone()));
            Some(policy)
        }
        Err(error) => {
            assert_eq!(patch, Err(error.clone()));
            told(&error);
            None
        }
    }
}

fn guest_line(text: &str) {
    match GuestLine::read(text) {
        Ok(line) => assert_eq!(GuestLine::read(&line.to_string()), Ok(line), "{text:?}"),
        Err(error) => told(&error),
    }
}

fn conf(text: &str, policy: &Policy) {
    let file = Path::new("numapin.conf");
    let conf = NodeConf::parse(file, text);
    conf.errors.iter().for_each(|error| told(error));
    let _ = (conf.default_policy(), conf.reserved("pve1"));
    let mut vmids = conf.vmids();
    vmids.truncate(3);
    vmids.push(Vmid(999_999_999));
    for vmid in vmids {
        let edited = set_line(text, vmid, Some("db1"), policy);
        let read = NodeConf::parse(file, &edited);
        let (_, line) = read
            .guest(vmid)
            .expect("what was set is read")
            .expect("what was set is there");
        let set = GuestLine {
            name: Some("db1".to_owned()),
            policy: policy.clone(),
        };
        assert_eq!(line, &set, "{edited:?}");
        others(&conf, &read, vmid);
        assert_eq!(set_line(&edited, vmid, Some("db1"), policy), edited);
        let unset = unset_line(&edited, vmid).expect("the line is there");
        let read = NodeConf::parse(file, &unset);
        assert_eq!(read.guest(vmid), Ok(None), "{unset:?}");
        others(&conf, &read, vmid);
        assert_eq!(unset_line(&unset, vmid), None);
    }
}

/// What does not concern a guest is as it was, but for the numbers of lines.
fn others(before: &NodeConf, after: &NodeConf, vmid: Vmid) {
    let rest = |conf: &NodeConf| {
        let mut vmids = conf.vmids();
        vmids.retain(|other| *other != vmid);
        let guests = vmids.iter().map(|other| {
            let line = conf
                .guest(*other)
                .map(|line| line.map(|(_, line)| line.clone()));
            line.map_err(|error| error.about.clone())
        });
        let guests: Vec<_> = guests.collect();
        let default = conf
            .default_policy()
            .map(|line| line.map(|(_, p)| p.clone()));
        let default = default.map_err(|error| error.about.clone());
        let reserved = ["pve1", "pve2", ""].map(|node| conf.reserved(node));
        (
            vmids,
            guests,
            default,
            reserved,
            conf.isolated.clone(),
            conf.tags,
        )
    };
    assert_eq!(rest(after), rest(before));
}
