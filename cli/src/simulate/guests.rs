//! The guests of a simulation: configs from files or those of the RFC's experiment, and the mock QEMU that stands for each.

use std::collections::BTreeSet;
use std::path::Path;

use numapin_core::guest::Guest;
use numapin_core::root;

use crate::fault::Fault;
use crate::intent;

/// A guest that is to be simulated.
pub(crate) struct Sim {
    /// How output calls it.
    pub(crate) label: String,
    /// Its number on the simulated machine.
    pub(crate) vmid: u32,
    /// The text of its config.
    pub(crate) config: String,
}

impl Sim {
    /// The six guests of the RFC's experiment, A to F.
    pub(crate) fn rfc() -> Vec<Self> {
        let configs = [
            ("A", include_str!("rfc/101.conf")),
            ("B", include_str!("rfc/102.conf")),
            ("C", include_str!("rfc/103.conf")),
            ("D", include_str!("rfc/104.conf")),
            ("E", include_str!("rfc/105.conf")),
            ("F", include_str!("rfc/106.conf")),
        ];
        (101..)
            .zip(configs)
            .map(|(vmid, (label, config))| Self {
                label: label.to_owned(),
                vmid,
                config: config.to_owned(),
            })
            .collect()
    }

    /// Guests of config files. A file named VMID.conf keeps its number, unless another one before has it; the others get the
    /// lowest that are left.
    ///
    /// # Errors
    /// A file can't be read.
    pub(crate) fn files(paths: &[String]) -> Result<Vec<Self>, Fault> {
        let labels: Vec<_> = paths.iter().map(|name| label(Path::new(name))).collect();
        let mut taken = BTreeSet::new();
        let mut own = |label: &String| {
            let vmid = intent::vmid(label).ok()?.0;
            taken.insert(vmid).then_some(vmid)
        };
        let own: Vec<_> = labels.iter().map(&mut own).collect();
        let mut left = (100..).filter(|vmid| !taken.contains(vmid));
        let mut guests = Vec::new();
        for ((name, label), own) in paths.iter().zip(labels).zip(own) {
            let config = root::read_text(Path::new(name))?.ok_or_else(|| {
                Fault::usage(format!(
                    "{name}: there is no such file (expected the path of a .conf file)"
                ))
            })?;
            guests.push(Self {
                label,
                vmid: own.or_else(|| left.next()).unwrap_or(100),
                config,
            });
        }
        Ok(guests)
    }
}

/// The name of a file without its ending.
fn label(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or(path.as_os_str());
    stem.to_string_lossy().into_owned()
}

/// The mock QEMU of a guest: started as Proxmox VE starts it.
pub(crate) fn mock(sim: &Sim, guest: &Guest) -> numapin_qmp_mock::Guest {
    let mut mock = numapin_qmp_mock::Guest::proxmox(sim.vmid, guest.sockets, guest.cores);
    if guest.numa {
        let lists: Vec<_> = guest
            .virtual_nodes
            .iter()
            .map(|node| node.vcpus.to_string())
            .collect();
        mock = mock.numa(&lists.iter().map(String::as_str).collect::<Vec<_>>());
    }
    mock
}
