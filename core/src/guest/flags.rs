//! What the command line lays over a guest: `--affinity --sockets --cores --numa --host-node V=N`.

use std::collections::BTreeMap;

use super::ranges::{Ranges, RangesError};
use super::{Guest, GuestParts, excerpt};
use crate::id::{NodeId, VnodeId};
use crate::idset::CpuSet;
use crate::violation::{Violation, Violations};

/// The flags as they were typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Typed<'a> {
    /// `--affinity`.
    pub affinity: Option<&'a str>,
    /// `--sockets`.
    pub sockets: Option<&'a str>,
    /// `--cores`.
    pub cores: Option<&'a str>,
    /// `--numa`.
    pub numa: Option<&'a str>,
    /// `--host-node`, each.
    pub host_nodes: Vec<&'a str>,
}

/// What the flags mean. They take the place of the keys of the config one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The CPUs that may be used.
    pub affinity: Option<CpuSet>,
    /// Sockets, at least 1.
    pub sockets: Option<u32>,
    /// Cores of a socket, at least 1.
    pub cores: Option<u32>,
    /// Whether the guest has virtual nodes.
    pub numa: Option<bool>,
    /// Host nodes by virtual node.
    pub host_nodes: BTreeMap<VnodeId, NodeId>,
}

/// A flag that was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// `--affinity`.
    #[error("--affinity: {0}")]
    Affinity(RangesError),
    /// `--sockets` or `--cores`.
    #[error("{flag}: {found:?} is not a number from 1 to {max}", max = Guest::MAX_VCPUS)]
    Number {
        /// Which flag.
        flag: &'static str,
        /// What was typed.
        found: String,
    },
    /// `--numa`.
    #[error("--numa: {found:?} is not 0 or 1")]
    Numa {
        /// What was typed.
        found: String,
    },
    /// `--host-node`.
    #[error(
        "--host-node: {found:?} is not a virtual node and its host node (expected for example \"0=2\": virtual node 0 goes to \
         host node 2)"
    )]
    HostNode {
        /// What was typed.
        found: String,
    },
    /// `--host-node` twice for one virtual node.
    #[error("--host-node: virtual node {virtual_node} is there twice (expected each once)")]
    HostNodeTwice {
        /// Which one.
        virtual_node: VnodeId,
    },
    /// A flag about the shape of a guest that QEMU itself tells.
    #[error("{flag} can't be together with --qmp: QEMU says what the guest is made of")]
    Shape {
        /// Which flag.
        flag: &'static str,
    },
}

impl Typed<'_> {
    /// What the flags mean.
    ///
    /// # Errors
    /// One of them can't be understood.
    pub fn understand(&self) -> Result<Overrides, FlagError> {
        let affinity = self
            .affinity
            .map(|text| Ranges::cpuset(text).map_err(FlagError::Affinity));
        let number = |flag, text: Option<&str>| text.map(|text| number(flag, text)).transpose();
        let numa = self.numa.map(|text| match text {
            "1" => Ok(true),
            "0" => Ok(false),
            _ => Err(FlagError::Numa {
                found: excerpt(text),
            }),
        });
        let mut host_nodes = BTreeMap::new();
        for text in &self.host_nodes {
            let (virtual_node, host_node) = pair(text)?;
            if host_nodes.insert(virtual_node, host_node).is_some() {
                return Err(FlagError::HostNodeTwice { virtual_node });
            }
        }
        Ok(Overrides {
            affinity: affinity.transpose()?.map(|ranges| ranges.set()),
            sockets: number("--sockets", self.sockets)?,
            cores: number("--cores", self.cores)?,
            numa: numa.transpose()?,
            host_nodes,
        })
    }
}

impl Overrides {
    /// Lays those that do not change the shape over a guest whose shape QEMU told.
    ///
    /// # Errors
    /// A flag that would change the shape.
    pub fn without_shape(&self) -> Result<(), FlagError> {
        let given = [
            ("--sockets", self.sockets.is_some()),
            ("--cores", self.cores.is_some()),
            ("--numa", self.numa.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(FlagError::Shape { flag }),
            None => Ok(()),
        }
    }

    /// Lays `--affinity` and `--host-node` over a guest.
    ///
    /// # Errors
    /// A virtual node that the guest does not have.
    pub fn over(&self, guest: &Guest) -> Result<Guest, Violations> {
        let mut parts = guest.clone().into_parts();
        let list = self.lay_over(&mut parts);
        if list.is_empty() {
            return Guest::new(parts);
        }
        Err(Violations {
            guest: parts.name,
            list,
        })
    }

    /// Sets affinity and host nodes; tells of virtual nodes that the guest does not have.
    pub(super) fn lay_over(&self, parts: &mut GuestParts) -> Vec<Violation> {
        if let Some(affinity) = &self.affinity {
            parts.affinity = Some(affinity.clone());
        }
        let mut unknown = Vec::new();
        for (virtual_node, host_node) in &self.host_nodes {
            match parts
                .virtual_nodes
                .iter_mut()
                .find(|node| node.id == *virtual_node)
            {
                Some(node) => node.host_node = Some(*host_node),
                None => unknown.push(Violation::NoSuchVirtualNode {
                    virtual_node: *virtual_node,
                    host_node: *host_node,
                    virtual_nodes: parts.virtual_nodes.iter().map(|node| node.id).collect(),
                }),
            }
        }
        unknown
    }
}

fn number(flag: &'static str, text: &str) -> Result<u32, FlagError> {
    let number = digits(text).filter(|n| (1..=Guest::MAX_VCPUS).contains(n));
    number.ok_or_else(|| FlagError::Number {
        flag,
        found: excerpt(text),
    })
}

fn pair(text: &str) -> Result<(VnodeId, NodeId), FlagError> {
    let pair = text.split_once('=').and_then(|(virtual_node, host_node)| {
        let host_node = digits(host_node).filter(|n| *n <= crate::cpulist::MAX_ID)?;
        Some((VnodeId(digits(virtual_node)?), NodeId(host_node)))
    });
    pair.ok_or_else(|| FlagError::HostNode {
        found: excerpt(text),
    })
}

fn digits(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn flags_are_understood() {
        let typed = Typed {
            affinity: Some("0-3,16-19"),
            sockets: Some("2"),
            cores: Some("8"),
            numa: Some("1"),
            host_nodes: vec!["0=2", "1=0"],
        };
        let expected = Overrides {
            affinity: Some("0-3,16-19".parse().unwrap()),
            sockets: Some(2),
            cores: Some(8),
            numa: Some(true),
            host_nodes: BTreeMap::from([(VnodeId(0), NodeId(2)), (VnodeId(1), NodeId(0))]),
        };
        assert_eq!(typed.understand(), Ok(expected));
        assert_eq!(Typed::default().understand(), Ok(Overrides::default()));
    }

    #[rstest]
    #[case(Typed { affinity: Some("0 - 3"), ..Typed::default() },
        "--affinity: \"0 - 3\" is not a number or a range (expected a list like \"0,5,8-11\")")]
    #[case(Typed { affinity: Some(""), ..Typed::default() }, "--affinity: \"\" is not a number or a range")]
    #[case(Typed { sockets: Some("0"), ..Typed::default() }, "--sockets: \"0\" is not a number from 1 to 8192")]
    #[case(Typed { cores: Some("4294967297"), ..Typed::default() }, "--cores: \"4294967297\" is not a number from 1 to 8192")]
    #[case(Typed { numa: Some("yes"), ..Typed::default() }, "--numa: \"yes\" is not 0 or 1")]
    #[case(Typed { host_nodes: vec!["2"], ..Typed::default() }, "--host-node: \"2\" is not a virtual node and its host node")]
    #[case(Typed { host_nodes: vec!["0=4294967295"], ..Typed::default() }, "--host-node: \"0=4294967295\" is not")]
    #[case(Typed { host_nodes: vec!["0=1", "0=2"], ..Typed::default() }, "--host-node: virtual node 0 is there twice")]
    fn flags_are_refused(#[case] typed: Typed<'_>, #[case] says: &str) {
        let refused = typed.understand().unwrap_err().to_string();
        assert!(refused.starts_with(says), "{refused}");
    }

    #[test]
    fn flags_lie_over_a_guest_of_qemus() {
        let guest = Guest::new(GuestParts::new("a.qmp", 2, 2).with_numa()).unwrap();
        let mut flags = Overrides::default();
        flags.host_nodes.insert(VnodeId(1), NodeId(3));
        flags.affinity = Some("0-7".parse().unwrap());
        let over = flags.over(&guest).unwrap();
        assert_eq!(over.virtual_nodes[1].host_node, Some(NodeId(3)));
        assert_eq!(over.affinity, flags.affinity);
        flags.host_nodes.insert(VnodeId(2), NodeId(3));
        assert_eq!(
            flags.over(&guest).unwrap_err().list[0].to_string(),
            "virtual node 2 is to go to host node 3, but the guest has only virtual node(s) 0, 1"
        );
        assert_eq!(flags.without_shape(), Ok(()));
        flags.cores = Some(4);
        assert_eq!(
            flags.without_shape(),
            Err(FlagError::Shape { flag: "--cores" })
        );
    }
}
