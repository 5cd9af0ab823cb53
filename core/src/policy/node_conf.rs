//! /etc/pve/numapin.conf: policies by VMID, and what is kept from guests.
//!
//! ```text
//! # one "key: value" a line
//! 100: name=db1,one-to-one,smt=isolate
//! default: shared
//! reserved: 0-1
//! reserved.pve2: 0,32
//! isolated: 60-63
//! tags: yes
//! ```
//! Strict, line by line: a bad line is data beside the good ones, and spoils no other guest's. A key that comes twice is in doubt:
//! of a guest and of `default` neither line counts, of the rest the first one does.

use std::collections::BTreeMap;
use std::path::Path;

use super::line_error::{About, LineError, LineProblem};
use super::parse::nearest;
use super::{GuestLine, Policy};
use crate::cpulist;
use crate::guest::excerpt;
use crate::host::Host;
use crate::id::Vmid;
use crate::idset::CpuSet;
use crate::root::{self, FileError, Root};
use crate::sorted;

/// The settings of a node, as far as they can be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeConf {
    guests: BTreeMap<Vmid, (usize, GuestLine)>,
    default: Option<(usize, Policy)>,
    reserved: Option<CpuSet>,
    reserved_on: BTreeMap<String, CpuSet>,
    /// CPUs that count as isolated, in addition to those that the kernel isolates.
    pub isolated: CpuSet,
    /// Whether tags choose policies.
    pub tags: bool,
    /// The lines that can't be read, in their order.
    pub errors: Vec<LineError>,
}

/// The keys that are words, for the nearest one.
const WORDS: &[&str] = &["default", "reserved", "isolated", "tags"];

impl NodeConf {
    /// Reads numapin.conf of a machine; without the file there is no setting.
    ///
    /// # Errors
    /// The file is there and can't be read.
    pub fn read(root: &Root) -> Result<Self, FileError> {
        let file = root.etc_pve().join("numapin.conf");
        let text = root::read_text(&file)?.unwrap_or_default();
        Ok(Self::parse(&file, &text))
    }

    /// Reads the file. `file` is only what messages call it.
    #[must_use]
    pub fn parse(file: &Path, text: &str) -> Self {
        let mut conf = Self::default();
        let mut seen = BTreeMap::new();
        for (i, line) in text.lines().enumerate() {
            let line = without_comment(line);
            if line.is_empty() {
                continue;
            }
            if let Err((about, problem)) = conf.take(line, i + 1, &mut seen) {
                conf.errors.push(LineError {
                    file: file.to_owned(),
                    line: i + 1,
                    about,
                    problem,
                });
            }
        }
        conf
    }

    /// The line of a guest, and its number.
    ///
    /// # Errors
    /// The guest's line can't be read, or there are two.
    pub fn guest(&self, vmid: Vmid) -> Result<Option<(usize, &GuestLine)>, &LineError> {
        match self.error(&About::Guest(vmid)) {
            Some(error) => Err(error),
            None => Ok(self.guests.get(&vmid).map(|(number, line)| (*number, line))),
        }
    }

    /// The policy of guests that have no other, and the number of its line.
    ///
    /// # Errors
    /// The line can't be read, or there are two.
    pub fn default_policy(&self) -> Result<Option<(usize, &Policy)>, &LineError> {
        match self.error(&About::Default) {
            Some(error) => Err(error),
            None => Ok(self
                .default
                .as_ref()
                .map(|(number, policy)| (*number, policy))),
        }
    }

    /// The guests that have a line, also one that can't be read, in ascending order.
    #[must_use]
    pub fn vmids(&self) -> Vec<Vmid> {
        let bad = self.errors.iter().filter_map(|error| match error.about {
            About::Guest(vmid) => Some(vmid),
            _ => None,
        });
        let all: std::collections::BTreeSet<Vmid> =
            sorted::set(self.guests.keys().copied().chain(bad));
        all.into_iter().collect()
    }

    /// The CPUs that are kept for the host itself on a node of the cluster.
    #[must_use]
    pub fn reserved(&self, node: &str) -> CpuSet {
        self.reserved_on
            .get(node)
            .or(self.reserved.as_ref())
            .cloned()
            .unwrap_or_default()
    }

    /// Tells a host which CPUs it keeps for itself, and which are isolated.
    pub fn restrict(&self, node: &str, host: &mut Host) {
        host.reserved = self.reserved(node);
        host.isolated = host.isolated.union(&self.isolated);
    }

    fn error(&self, about: &About) -> Option<&LineError> {
        self.errors.iter().find(|error| error.about == *about)
    }

    fn take(
        &mut self,
        line: &str,
        number: usize,
        seen: &mut BTreeMap<String, usize>,
    ) -> Result<(), (About, LineProblem)> {
        let (key, value) = line.split_once(':').ok_or_else(|| {
            let found = excerpt(line);
            (About::Unknown, LineProblem::NotASetting { found })
        })?;
        let (key, value) = (key.trim(), value.trim());
        let about = about(key).ok_or_else(|| {
            let problem = LineProblem::Key {
                key: excerpt(key),
                nearest: nearest(key, WORDS),
            };
            (About::Unknown, problem)
        })?;
        if let Some(first) = seen.get(key) {
            return Err((about, LineProblem::Twice { first: *first }));
        }
        seen.insert(key.to_owned(), number);
        self.put(&about, value, number)
            .map_err(|problem| (about, problem))
    }

    fn put(&mut self, about: &About, value: &str, number: usize) -> Result<(), LineProblem> {
        match about {
            About::Guest(vmid) => {
                self.guests.insert(*vmid, (number, GuestLine::read(value)?));
            }
            About::Default => self.default = Some((number, value.parse()?)),
            About::Key(key) => match (key.as_str(), key.strip_prefix("reserved.")) {
                (_, Some(node)) => {
                    self.reserved_on
                        .insert(node.to_owned(), cpulist::parse_list(value)?);
                }
                ("reserved", _) => self.reserved = Some(cpulist::parse_list(value)?),
                ("isolated", _) => self.isolated = cpulist::parse_list(value)?,
                _ => {
                    self.tags = match value {
                        "yes" => true,
                        "no" => false,
                        _ => {
                            let found = excerpt(value);
                            return Err(LineProblem::YesNo { found });
                        }
                    }
                }
            },
            About::Unknown => {}
        }
        Ok(())
    }
}

/// What a key is about; `None` for an unknown one.
fn about(key: &str) -> Option<About> {
    let node = key.strip_prefix("reserved.");
    match key {
        "default" => Some(About::Default),
        "reserved" | "isolated" | "tags" => Some(About::Key(key.to_owned())),
        _ if node.is_some_and(is_node_name) => Some(About::Key(key.to_owned())),
        _ => vmid(key).map(About::Guest),
    }
}

/// A VMID as Proxmox VE takes it: 100 to 999999999, without leading zeros.
pub(super) fn vmid(text: &str) -> Option<Vmid> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let plain = digits && !text.starts_with('0') && (3..=9).contains(&text.len());
    plain.then(|| text.parse().ok().map(Vmid))?
}

fn is_node_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// A line without its comment and the white space around it.
fn without_comment(line: &str) -> &str {
    line.split_once('#').map_or(line, |(line, _)| line).trim()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::policy::Mode;

    fn conf(text: &str) -> NodeConf {
        NodeConf::parse(Path::new("numapin.conf"), text)
    }

    fn errors(text: &str) -> Vec<String> {
        conf(text).errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn everything_that_can_stand_there() {
        let conf = conf(
            "# a comment\n\n 100: name=db1,one-to-one,smt=isolate   # with its reason\n999999999 : numa\r\ndefault: shared\n\
             reserved: 0-1\nreserved.pve2: 0,32\nreserved.pve3:\nisolated: 60-63\ntags: yes\n",
        );
        assert_eq!(conf.errors, []);
        let (line, guest) = conf.guest(Vmid(100)).unwrap().unwrap();
        assert_eq!((line, guest.name.as_deref()), (3, Some("db1")));
        assert_eq!(guest.policy.to_string(), "one-to-one,smt=isolate");
        assert_eq!(
            conf.guest(Vmid(999_999_999))
                .unwrap()
                .unwrap()
                .1
                .policy
                .mode,
            Mode::Numa
        );
        assert_eq!(conf.guest(Vmid(101)), Ok(None));
        assert_eq!(conf.default_policy().unwrap().unwrap().0, 5);
        let reserved = ["pve1", "pve2", "pve3"].map(|node| conf.reserved(node).to_string());
        assert_eq!(reserved, ["0-1", "0,32", ""]);
        assert_eq!(
            (conf.isolated.to_string().as_str(), conf.tags),
            ("60-63", true)
        );
        assert_eq!(conf.vmids(), [Vmid(100), Vmid(999_999_999)]);
    }

    #[test]
    fn a_host_is_told() {
        let mut host = Host {
            isolated: "4".parse().unwrap(),
            ..Host::default()
        };
        conf("isolated: 6\nreserved: 0\n").restrict("pve1", &mut host);
        assert_eq!(
            (host.isolated.to_string(), host.reserved.to_string()),
            ("4,6".into(), "0".into())
        );
    }

    #[rstest]
    #[case(
        "100: onetoone",
        "1: 100: vcpus: \"onetoone\" is unknown (did you mean \"one-to-one\"? expected"
    )]
    #[case(
        "\n100: numa,smtt=any",
        "2: 100: \"smtt\" is not a key of a policy (did you mean \"smt\"? expected name, vcpus,"
    )]
    #[case(
        "100: nam=db1,numa",
        "1: 100: \"nam\" is not a key of a policy (did you mean \"name\"? expected"
    )]
    #[case("100:", "1: 100: the policy is empty (expected for example")]
    #[case("100: name=db1", "1: 100: the policy is empty (expected for example")]
    #[case(
        "100 numa",
        "1: \"100 numa\" is not a setting (expected \"key: value\")"
    )]
    #[case(
        "reservd: 0",
        "1: \"reservd\" is not a key of numapin.conf (did you mean \"reserved\"? expected a VMID from 100 to"
    )]
    #[case(
        "99: numa",
        "1: \"99\" is not a key of numapin.conf (expected a VMID from 100 to 999999999, default, reserved, \
        reserved.NODENAME, isolated or tags)"
    )]
    #[case("0100: numa", "1: \"0100\" is not a key")]
    #[case("4294967396: numa", "1: \"4294967396\" is not a key")]
    #[case(
        "reserved.: 0",
        "1: \"reserved.\" is not a key of numapin.conf (did you mean \"reserved\"?"
    )]
    #[case("reserved: 0 - x", "1: reserved: \"0 - x\" is not a number or a range")]
    #[case("tags: on", "1: tags: \"on\" is unknown (expected yes or no)")]
    #[case("default: none,l3", "1: default: \"vcpus\" is there twice")]
    #[case(
        "isolated: 1\nisolated: 2",
        "2: isolated: it is there twice, also in line 1 (expected each key once)"
    )]
    fn a_bad_line_names_itself(#[case] text: &str, #[case] says: &str) {
        let errors = errors(text);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].starts_with(&format!("numapin.conf:{says}")),
            "{errors:?}"
        );
    }

    #[test]
    fn a_bad_line_spoils_no_other() {
        let conf = conf("100: x\n101: numa\n102: numa\n102: l3\nnonsense\ndefault: y\n103: l3\n");
        assert_eq!(conf.errors.len(), 4);
        assert_eq!(conf.guest(Vmid(100)).unwrap_err().line, 1);
        assert_eq!(
            conf.guest(Vmid(102)).unwrap_err().problem,
            LineProblem::Twice { first: 3 }
        );
        assert_eq!(conf.default_policy().unwrap_err().line, 6);
        for good in [101, 103] {
            assert!(conf.guest(Vmid(good)).unwrap().is_some());
        }
        assert_eq!(conf.vmids(), [100, 101, 102, 103].map(Vmid));
    }
}
