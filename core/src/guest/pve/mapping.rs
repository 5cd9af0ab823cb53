//! /etc/pve/mapping/pci.cfg: names for PCI devices, with the addresses that they have on each node of the cluster.
//!
//! Proxmox VE's section config (pve-common SectionConfig.pm, pve-guest-common Mapping/PCI.pm): a line that is an id opens a section,
//! indented lines belong to it, and a line `map` holds one alternative: a property string with `node=` and `path=`.
//!
//! ```text
//! someNic
//!         map id=8086:1563,iommugroup=12,node=pve1,path=0000:0f:00.0
//!         map id=8086:1563,node=pve2,path=0000:41:00.0;0000:41:00.1
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::fields::pci_id;
use super::is_blank;
use super::problem::ValueError;
use crate::guest::{excerpt, property};

/// The mappings of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PciMapping {
    /// Alternatives by name, in the order of the file.
    mappings: BTreeMap<String, Vec<Alternative>>,
    /// What can't be read, in the order of lines.
    pub warnings: Vec<MappingWarning>,
}

/// The addresses of a mapped device on one node of the cluster; all of them go to the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Alternative {
    node: String,
    addresses: Vec<String>,
}

/// A `map` line that can't be read: it is passed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {problem}: the line is passed over", file.display())]
pub struct MappingWarning {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: ValueError,
}

impl PciMapping {
    /// Reads the file. `file` is only what messages call it.
    #[must_use]
    pub fn parse(file: &Path, text: &str) -> Self {
        let mut mapping = Self::default();
        let mut section: Option<String> = None;
        for (i, line) in text.split('\n').enumerate() {
            let content = line.trim_matches(is_blank);
            match (
                content.is_empty(),
                line.starts_with(is_blank),
                content.starts_with('#'),
            ) {
                // An empty line ends a section.
                (true, ..) => section = None,
                (_, _, true) => {}
                (_, false, _) => {
                    // Other section files write "type: id".
                    let id = content
                        .rsplit(':')
                        .next()
                        .unwrap_or(content)
                        .trim_matches(is_blank);
                    mapping.mappings.entry(id.to_owned()).or_default();
                    section = Some(id.to_owned());
                }
                (_, true, _) => {
                    let Some(alternatives) =
                        section.as_ref().and_then(|id| mapping.mappings.get_mut(id))
                    else {
                        continue;
                    };
                    let Some(("map", value)) = content.split_once(is_blank) else {
                        continue;
                    };
                    match alternative(value.trim_matches(is_blank)) {
                        Ok(alternative) => alternatives.push(alternative),
                        Err(problem) => mapping.warnings.push(MappingWarning {
                            file: file.to_owned(),
                            line: i + 1,
                            problem,
                        }),
                    }
                }
            }
        }
        mapping
    }

    /// Whether there is a mapping of that name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.mappings.contains_key(name)
    }

    /// The alternatives that a mapping has on a node of the cluster, each the addresses of one device.
    pub fn alternatives<'a>(
        &'a self,
        name: &str,
        node: &'a str,
    ) -> impl Iterator<Item = &'a [String]> {
        let all = self.mappings.get(name).into_iter().flatten();
        all.filter(move |alternative| alternative.node == node)
            .map(|alternative| alternative.addresses.as_slice())
    }
}

/// Keys that say nothing about where the device is are passed over.
fn alternative(text: &str) -> Result<Alternative, ValueError> {
    let properties = property::read(text, None)?;
    let value = |key| {
        properties.get(key).ok_or_else(|| ValueError::Missing {
            key,
            found: excerpt(text),
            example: "node=pve1,path=0000:0f:00.0,id=8086:1563",
        })
    };
    let addresses = value("path")?.split(';').map(pci_id);
    Ok(Alternative {
        node: value("node")?.to_owned(),
        addresses: addresses.collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "someNic\n\tmap id=8086:1563,iommugroup=12,node=pve1,path=0000:0f:00.0,subsystem-id=1:2\n\
        \tdescription a: map\n\tmap id=8086:1563,node=pve2,path=0000:41:00.0;0000:41:00.1\n\tmap node=pve1,path=0000:81:00.0,id=1:1\n\
        \n\
        # a comment\nsomeGpu\n    map path=0000:c1:00,node=pve1,id=10de:1\n    mdev 1\n    map node=pve1\n    map path=x,node=pve1\n";

    fn alternatives(name: &str, node: &str) -> Vec<String> {
        let mapping = PciMapping::parse(Path::new("pci.cfg"), TEXT);
        mapping
            .alternatives(name, node)
            .map(|addresses| addresses.join(";"))
            .collect()
    }

    #[test]
    fn each_node_has_its_alternatives() {
        assert_eq!(
            alternatives("someNic", "pve1"),
            ["0000:0f:00.0", "0000:81:00.0"]
        );
        assert_eq!(
            alternatives("someNic", "pve2"),
            ["0000:41:00.0;0000:41:00.1"]
        );
        assert_eq!(alternatives("someGpu", "pve1"), ["0000:c1:00"]);
        assert!(alternatives("someGpu", "pve2").is_empty());
        assert!(alternatives("other", "pve1").is_empty());
    }

    #[test]
    fn lines_that_cannot_be_read_are_told() {
        let warnings = PciMapping::parse(Path::new("pci.cfg"), TEXT).warnings;
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            [
                "pci.cfg:11: path is missing in \"node=pve1\" (expected for example \
                 \"node=pve1,path=0000:0f:00.0,id=8086:1563\"): the line is passed over",
                "pci.cfg:12: \"x\" is not the address of a PCI device (expected one like \"0000:0f:00.0\" or \"0f:00\"): the \
                 line is passed over",
            ]
        );
    }

    #[test]
    fn a_section_may_name_its_type() {
        let mapping = PciMapping::parse(
            Path::new("pci.cfg"),
            "pci: nic\n\tmap node=a,path=0000:01:00.0,id=1:1\n",
        );
        assert!(mapping.contains("nic") && !mapping.contains("pci"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_a_panic(text in "([ \t\n#:,=;a-f0-9.]|map |node=|path=|\\PC){0,60}") {
            let mapping = PciMapping::parse(Path::new("pci.cfg"), &text);
            proptest::prop_assert!(mapping.mappings.len() + mapping.warnings.len() <= text.len() + 1);
        }
    }
}
