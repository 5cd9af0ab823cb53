//! Which policy a guest has: the first place that names one counts as a whole, then the flags of the command line lie over it key
//! by key.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::line_error::LineError;
use super::node_conf::NodeConf;
use super::{Isolated, Mode, Policy, PolicyError, PolicyPatch, Require, Smt};
use crate::guest::pve::GuestConfig;
use crate::id::Vmid;
use crate::sorted;

/// The places where a policy can stand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Places<'a> {
    /// `--policy`.
    pub asked: Option<&'a PolicyPatch>,
    /// `--mode`, `--smt` and so on.
    pub flags: Option<&'a PolicyPatch>,
    /// numapin.conf.
    pub conf: Option<&'a NodeConf>,
    /// The guest's number.
    pub vmid: Option<Vmid>,
    /// The guest's config, and its file.
    pub config: Option<(&'a GuestConfig, &'a Path)>,
}

/// The policy of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenPolicy {
    /// What it is.
    pub policy: Policy,
    /// Where it stands.
    pub source: Source,
    /// Whether flags of the command line lie over it.
    pub flags: bool,
    /// What is to be told with it.
    pub notes: Vec<PolicyNote>,
}

/// Where a policy stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nowhere: nothing is set.
    Nowhere,
    /// A template has none, wherever it stands.
    Template,
    /// `--policy`, or flags and nothing else.
    CommandLine,
    /// The guest's line of numapin.conf.
    Line(usize),
    /// A tag.
    Tag(String),
    /// `pinning:` in the guest's config.
    Pinning(usize),
    /// `default:` in numapin.conf.
    Default(usize),
}

/// What is to be told about a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PolicyNote {
    /// A line of another guest that had the VMID.
    #[error(
        "numapin.conf line {line} is for a guest named {expected:?}, {}: the line is ignored (numapin set writes a new one)",
        named(found.as_deref())
    )]
    OtherName {
        /// Which line.
        line: usize,
        /// The name it is for.
        expected: String,
        /// The guest's name.
        found: Option<String>,
    },
    /// A template.
    #[error("the guest is a template: it has no policy")]
    Template,
    /// A guest that is being backed up.
    #[error("the guest is locked for a backup: it may start unpinned (require=warn)")]
    Backup,
    /// The RFC's place.
    #[error(
        "stock Proxmox VE drops pinning: at its next write of the config (numapin set {} keeps it)",
        set(*vmid, policy)
    )]
    PinningIsDropped {
        /// The guest.
        vmid: Option<Vmid>,
        /// The policy.
        policy: String,
    },
    /// A tag that would choose a policy, if tags were on.
    #[error("tag {tag} counts only with \"tags: yes\" in numapin.conf")]
    TagsOff {
        /// Which one.
        tag: String,
    },
    /// A tag that looks like one of numapin's.
    #[error("tag {tag} names no policy (expected pin-numa, pin-l3, pin-one-to-one or pin-shared)")]
    UnknownTag {
        /// Which one.
        tag: String,
    },
    /// A key that the mode makes no use of.
    #[error("{key} counts only with the mode one-to-one, the mode is {mode}")]
    NoUse {
        /// Which key.
        key: &'static str,
        /// The mode.
        mode: Mode,
    },
}

/// Why it can't be told which policy a guest has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// The line that would count.
    #[error(transparent)]
    Line(Box<LineError>),
    /// `pinning:` in the config.
    #[error("{}:{line}: pinning: {problem}", file.display())]
    Pinning {
        /// The config.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: PolicyError,
    },
    /// Tags that contradict each other.
    #[error("tags {} contradict each other (expected one of them)", tags.join(" and "))]
    Tags {
        /// Which.
        tags: Vec<String>,
    },
}

/// Tags and the modes they choose.
const TAGS: [(&str, Mode); 4] = [
    ("pin-numa", Mode::Numa),
    ("pin-l3", Mode::L3),
    ("pin-one-to-one", Mode::OneToOne),
    ("pin-shared", Mode::Shared),
];

/// Finds the policy of a guest.
///
/// # Errors
/// The place that would count can't be read. (A place after it that can't be read does not matter.)
pub fn choose(places: &Places<'_>) -> Result<ChosenPolicy, ChoiceError> {
    let config = places.config.map(|(config, _)| config);
    let mut notes = Vec::new();
    if config.is_some_and(GuestConfig::template) {
        return Ok(ChosenPolicy {
            policy: Policy::default(),
            source: Source::Template,
            flags: false,
            notes: vec![PolicyNote::Template],
        });
    }
    let flags = places.flags.filter(|flags| !flags.is_empty());
    let (policy, source) = match first(places, &mut notes)? {
        Some(found) => found,
        None if flags.is_some() => (Policy::default(), Source::CommandLine),
        None => (Policy::default(), Source::Nowhere),
    };
    let mut policy = flags.map_or_else(|| policy.clone(), |flags| flags.over(&policy));
    let backup = config
        .and_then(|config| config.lock.as_ref())
        .is_some_and(|lock| lock.value == "backup");
    if backup && policy.require == Require::Fail {
        policy.require = Require::Warn;
        notes.push(PolicyNote::Backup);
    }
    let mode = policy.mode;
    if mode != Mode::OneToOne {
        let unused = [
            ("smt", policy.smt != Smt::default()),
            ("isolated", policy.isolated != Isolated::default()),
        ];
        let unused = unused.into_iter().filter(|(_, given)| *given);
        notes.extend(unused.map(|(key, _)| PolicyNote::NoUse { key, mode }));
    }
    Ok(ChosenPolicy {
        policy,
        flags: flags.is_some() && source != Source::CommandLine,
        source,
        notes,
    })
}

/// The first place that names a policy.
fn first(
    places: &Places<'_>,
    notes: &mut Vec<PolicyNote>,
) -> Result<Option<(Policy, Source)>, ChoiceError> {
    if let Some(asked) = places.asked {
        return Ok(Some((asked.over(&Policy::default()), Source::CommandLine)));
    }
    let config = places.config.map(|(config, _)| config);
    let name = config
        .and_then(|config| config.name.as_ref())
        .map(|name| &name.value);
    if let (Some(conf), Some(vmid)) = (places.conf, places.vmid)
        && let Some((number, line)) = conf.guest(vmid).map_err(boxed)?
    {
        match &line.name {
            Some(expected) if Some(expected) != name => notes.push(PolicyNote::OtherName {
                line: number,
                expected: expected.clone(),
                found: name.cloned(),
            }),
            _ => return Ok(Some((line.policy.clone(), Source::Line(number)))),
        }
    }
    if let Some(config) = config
        && let Some(found) = tagged(config, places.conf.is_some_and(|conf| conf.tags), notes)?
    {
        return Ok(Some(found));
    }
    if let Some((config, file)) = places.config
        && let Some(pinning) = &config.pinning
    {
        let policy: Policy = pinning
            .value
            .parse()
            .map_err(|problem| ChoiceError::Pinning {
                file: file.to_owned(),
                line: pinning.line,
                problem,
            })?;
        notes.push(PolicyNote::PinningIsDropped {
            vmid: places.vmid,
            policy: policy.to_string(),
        });
        return Ok(Some((policy, Source::Pinning(pinning.line))));
    }
    let default = places
        .conf
        .map(|conf| conf.default_policy().map_err(boxed))
        .transpose()?;
    Ok(default
        .flatten()
        .map(|(number, policy)| (policy.clone(), Source::Default(number))))
}

/// The policy that a tag names.
fn tagged(
    config: &GuestConfig,
    on: bool,
    notes: &mut Vec<PolicyNote>,
) -> Result<Option<(Policy, Source)>, ChoiceError> {
    let known = |tag: &str| {
        TAGS.iter()
            .find(|(known, _)| *known == tag)
            .map(|(_, mode)| *mode)
    };
    let ours = config.tags().filter(|tag| tag.starts_with("pin-"));
    let (names, others): (Vec<&str>, Vec<&str>) = ours.partition(|tag| known(tag).is_some());
    if !on {
        notes.extend(names.iter().map(|tag| PolicyNote::TagsOff {
            tag: (*tag).to_owned(),
        }));
        return Ok(None);
    }
    notes.extend(others.iter().map(|tag| PolicyNote::UnknownTag {
        tag: (*tag).to_owned(),
    }));
    let mut names = names;
    sorted::sort_by(&mut names, Ord::cmp);
    names.dedup();
    match names.as_slice() {
        [] => Ok(None),
        [tag] => {
            let policy = Policy {
                mode: known(tag).unwrap_or_default(),
                ..Policy::default()
            };
            Ok(Some((policy, Source::Tag((*tag).to_owned()))))
        }
        several => Err(ChoiceError::Tags {
            tags: several.iter().map(|tag| (*tag).to_owned()).collect(),
        }),
    }
}

impl ChosenPolicy {
    /// Whether a place names a policy; `none` is one, too.
    #[must_use]
    pub fn is_named(&self) -> bool {
        !matches!(self.source, Source::Nowhere | Source::Template)
    }

    /// Where it comes from, for people.
    #[must_use]
    pub fn origin(&self) -> String {
        match self.flags {
            true => format!("{}, and the command line over it", self.source),
            false => self.source.to_string(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => f.write_str("no policy"),
            Self::Template => f.write_str("a template has no policy"),
            Self::CommandLine => f.write_str("command line"),
            Self::Line(line) => write!(f, "numapin.conf line {line}"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::Pinning(line) => write!(f, "pinning: in the config, line {line}"),
            Self::Default(line) => write!(f, "default: in numapin.conf, line {line}"),
        }
    }
}

fn boxed(error: &LineError) -> ChoiceError {
    ChoiceError::Line(Box::new(error.clone()))
}

fn named(found: Option<&str>) -> String {
    found.map_or_else(
        || "and this one has no name".to_owned(),
        |found| format!("and this one is named {found:?}"),
    )
}

fn set(vmid: Option<Vmid>, policy: &str) -> String {
    vmid.map_or_else(
        || format!("VMID {policy}"),
        |vmid| format!("{vmid} {policy}"),
    )
}
