//! The guests of a simulation: configs from files or those of the RFC's experiment, and the mock QEMU that stands for each.

use std::collections::BTreeSet;
use std::path::Path;

use numapin_core::guest::Guest;
use numapin_core::root;

use crate::fault::Fault;

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

    /// Guests of config files. A file named VMID.conf keeps its number, unless another one before has it.
    ///
    /// # Errors
    /// A file can't be read.
    pub(crate) fn files(paths: &[String]) -> Result<Vec<Self>, Fault> {
        let mut taken = BTreeSet::new();
        paths
            .iter()
            .map(|name| {
                let path = Path::new(name);
                let config = root::read_text(path)?.ok_or_else(|| {
                    Fault::usage(format!(
                        "{name}: there is no such file (expected the path of a .conf file)"
                    ))
                })?;
                let label = path
                    .file_stem()
                    .unwrap_or(path.as_os_str())
                    .to_string_lossy()
                    .into_owned();
                let wanted = label
                    .parse()
                    .ok()
                    .filter(|vmid| *vmid >= 100 && !taken.contains(vmid));
                let vmid = wanted
                    .unwrap_or_else(|| (100..).find(|vmid| !taken.contains(vmid)).unwrap_or(100));
                taken.insert(vmid);
                Ok(Self {
                    label,
                    vmid,
                    config,
                })
            })
            .collect()
    }
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
