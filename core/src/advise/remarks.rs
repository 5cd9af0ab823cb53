//! What is worth knowing beside the settings, and what no setting mends.

use serde::Serialize;

use super::judge::{Case, State};
use super::split::unit;
use super::text;
use crate::guest::pve::problem::Oddity;
use crate::guest::{Guest, Hugepages};
use crate::id::{NodeId, VnodeId};
use crate::idset::VcpuSet;
use crate::placement::{Item, Plan, plan};
use crate::policy::Mode;

/// Something worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Remark {
    /// The guest has no policy.
    #[error(
        "the guest has no policy: this is for the mode numa, which \"numapin set {guest} numa\" gives it; --mode asks for another"
    )]
    NoPolicy {
        /// Which guest.
        guest: String,
    },
    /// The mode leaves the guest on the whole host.
    #[error(
        "policy shared leaves the guest on the whole host: there is no host node that its memory could follow"
    )]
    Shared,
    /// What is set takes effect later.
    #[error(
        "the guest runs: what is set takes effect when it is stopped and started again, not at a reboot from inside"
    )]
    AtNextStart,
    /// Something is being done with the guest.
    #[error("the guest is locked ({lock}): qm set is refused until that is over")]
    Locked {
        /// What.
        lock: String,
    },
    /// QEMU is told another shape.
    #[error(
        "args has {option}, which overrides the shape that the config says: nothing is advised about it"
    )]
    Args {
        /// The option.
        option: &'static str,
    },
    /// The guest can't start, and no setting here mends it.
    #[error("{message}")]
    NoStart {
        /// What stops it.
        message: String,
    },
    /// Memory that is not made of whole pages.
    #[error(
        "memory: {memory_mib} does not give each virtual node whole pages of {page_mib} MiB: the guest can't start with \
         hugepages: {hugepages}"
    )]
    Pages {
        /// `memory`.
        memory_mib: u64,
        /// The size of a page in MiB.
        page_mib: u64,
        /// `hugepages`.
        hugepages: &'static str,
    },
    /// Memory that is plugged forbids lines.
    #[error(
        "hotplug has memory, beside which there can be no numaN lines: what is not bound is placed where the guest touches it first"
    )]
    MemoryHotplug,
    /// vCPUs that can be plugged.
    #[error(
        "vcpu(s) {vcpus} are not plugged: their cpus are planned, not claimed, and their threads start on the mask of QEMU's main \
         thread until numapin watch or apply pins them"
    )]
    Unplugged {
        /// Which.
        vcpus: VcpuSet,
    },
    /// vCPUs that can't be plugged.
    #[error(
        "vcpu(s) {vcpus} are not plugged and can't be while the guest runs: hotplug has no cpu (it is not in the default)"
    )]
    NotPluggable {
        /// Which.
        vcpus: VcpuSet,
    },
    /// Host nodes are those of this host.
    #[error(
        "hostnodes names host nodes of this host: on a node of the cluster that lacks them the guest does not start (HA, migration)"
    )]
    ThisHost,
    /// A balloon beside bound memory.
    #[error(
        "balloon: {balloon_mib} is below memory: what the guest gives away it can get back only from the host node it is bound to"
    )]
    Balloon {
        /// `balloon`.
        balloon_mib: u64,
    },
    /// Pages that stay reserved.
    #[error(
        "keephugepages leaves the pages of the last start reserved where they are: free them, or the new host nodes need them twice"
    )]
    KeptPages,
    /// A host node that can't be named.
    #[error(
        "virtual node {virtual_node} goes to host node {host_node}, to which its memory can't be tied: {}",
        if *memoryless { "it has none that is known" } else { "Proxmox VE takes only host nodes 0 to 9 with hugepages" }
    )]
    Untied {
        /// Which one.
        virtual_node: VnodeId,
        /// Where it goes.
        host_node: NodeId,
        /// The host node has no memory.
        memoryless: bool,
    },
    /// A device that hangs elsewhere, where the guest could be at a price.
    #[error(
        "device {address} hangs on host node {host_node}, where the guest would cost more: {item} {before} -> {after}"
    )]
    DeviceCosts {
        /// Its address.
        address: String,
        /// Where it hangs.
        host_node: NodeId,
        /// The first item that is worse there.
        item: Item,
        /// Its value where the guest is.
        before: String,
        /// Its value there.
        after: String,
    },
    /// A device that hangs where the guest does not fit.
    #[error("device {address} hangs on host node {host_node}, where the guest does not fit")]
    DeviceUnreachable {
        /// Its address.
        address: String,
        /// Where it hangs.
        host_node: NodeId,
    },
}

/// What there is to say about a guest, with the better settings where there are some.
pub(super) fn of(
    case: &Case<'_>,
    now: &State,
    better: Option<&State>,
    assumed: bool,
    runs: bool,
) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let end = better.unwrap_or(now);
    if assumed {
        remarks.push(Remark::NoPolicy {
            guest: case
                .vmid
                .map_or_else(|| "VMID".to_owned(), |vmid| vmid.to_string()),
        });
    }
    if case.policy.mode == Mode::Shared {
        remarks.push(Remark::Shared);
    }
    if runs && better.is_some() {
        remarks.push(Remark::AtNextStart);
    }
    if let Some(lock) = &now.config.lock {
        remarks.push(Remark::Locked {
            lock: lock.value.clone(),
        });
    }
    for odd in &end.oddities {
        match odd {
            Oddity::Args { option } => remarks.push(Remark::Args { option }),
            Oddity::NoStart(_) => remarks.push(Remark::NoStart {
                message: odd.to_string(),
            }),
            _ => {}
        }
    }
    of_memory(case, now, end, &mut remarks);
    if let Ok((guest, plan)) = &end.planned {
        of_vcpus(end, guest, &mut remarks);
        of_devices(case, guest, plan, &mut remarks);
    }
    remarks
}

fn of_memory(case: &Case<'_>, now: &State, end: &State, remarks: &mut Vec<Remark>) {
    let memory_mib = end.config.memory_mib();
    let page_mib = unit(end.hugepages());
    if let Some(pages) = end.hugepages().filter(|_| end.has_broken_pages()) {
        let hugepages = match pages {
            Hugepages::Any => "any",
            Hugepages::Mib2 => "2",
            Hugepages::Gib1 => "1024",
        };
        remarks.push(Remark::Pages {
            memory_mib,
            page_mib,
            hugepages,
        });
    }
    if end.plugs_memory() && end.is_loose() {
        remarks.push(Remark::MemoryHotplug);
    }
    if end.draft.names_hosts() && now.draft != end.draft {
        remarks.push(Remark::ThisHost);
    }
    let bound = end.draft.names_hosts();
    let number = |key| text::value(&end.text, key).and_then(|value| value.parse::<u64>().ok());
    if let Some(balloon_mib) =
        number("balloon").filter(|mib| bound && *mib > 0 && *mib < memory_mib)
    {
        remarks.push(Remark::Balloon { balloon_mib });
    }
    let moved = bound && now.draft.lines != end.draft.lines;
    if moved && end.hugepages().is_some() && number("keephugepages") == Some(1) {
        remarks.push(Remark::KeptPages);
    }
    if let Ok((guest, plan)) = &end.planned
        && end.is_loose()
        && !end.plugs_memory()
    {
        for node in &guest.virtual_nodes {
            let Some(host_node) = super::reasons::host_of(plan, node.id) else {
                continue;
            };
            let memoryless = !case.has_memory(host_node);
            if memoryless || (end.hugepages().is_some() && host_node.0 > 9) {
                remarks.push(Remark::Untied {
                    virtual_node: node.id,
                    host_node,
                    memoryless,
                });
            }
        }
    }
}

fn of_vcpus(end: &State, guest: &Guest, remarks: &mut Vec<Remark>) {
    let vcpus = guest.vcpus().difference(&guest.plugged);
    if vcpus.is_empty() {
        return;
    }
    let pluggable = end
        .config
        .hotplug
        .as_ref()
        .is_some_and(|hotplug| hotplug.value.cpu);
    remarks.push(match pluggable {
        true => Remark::Unplugged { vcpus },
        false => Remark::NotPluggable { vcpus },
    });
}

/// What it would cost to be where each remote device is.
fn of_devices(case: &Case<'_>, guest: &Guest, now: &Plan, remarks: &mut Vec<Remark>) {
    let here = |node| {
        now.virtual_nodes
            .iter()
            .any(|placed| placed.host_nodes.contains(node))
    };
    if matches!(now.mode, Mode::Shared | Mode::None) {
        return;
    }
    for device in &guest.devices {
        let Some(host_node) = device.node.filter(|node| !here(*node)) else {
            continue;
        };
        let address = device.address.clone();
        let there = guest.virtual_nodes.iter().enumerate().filter_map(|(i, _)| {
            let moved = guest.changed(|parts| {
                parts
                    .virtual_nodes
                    .iter_mut()
                    .for_each(|node| node.host_node = None);
                parts.virtual_nodes[i].host_node = Some(host_node);
            });
            plan(&case.host, &moved.ok()?, case.claims, &case.policy).ok()
        });
        let best = there.min_by(|a, b| a.cost.cmp(&b.cost));
        remarks.push(
            match best
                .as_ref()
                .map(|best| now.cost.first_difference(&best.cost))
            {
                None => Remark::DeviceUnreachable { address, host_node },
                Some(None) => continue,
                Some(Some((item, before, after))) => Remark::DeviceCosts {
                    address,
                    host_node,
                    item,
                    before: before.to_string(),
                    after: after.to_string(),
                },
            },
        );
    }
}
