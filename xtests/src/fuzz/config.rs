//! The config of a Proxmox VE guest, as far as a plan on a small host.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;

use numapin_core::claims::Claims;
use numapin_core::guest::flags::Overrides;
use numapin_core::guest::pve::mapping::PciMapping;
use numapin_core::guest::pve::{self, Beside, GuestConfig, Pending, qemu_shape};
use numapin_core::guest::{Guest, GuestName};
use numapin_core::host::Host;
use numapin_core::host::sysfs::{self, Want};
use numapin_core::id::Vmid;
use numapin_core::idset::VcpuSet;
use numapin_core::placement::plan;
use numapin_core::policy::{Mode, Policy};
use numapin_core::root::Root;
use numapin_sysfs_sim::Host as Described;

use super::printed::{printed, without_lines};
use super::told;
use crate::check::{check_notes, check_plan};

/// Reads a config with and without what is pending. What is read can be printed and read again; a guest that it describes keeps
/// to the rules, and its plan on a small host is a valid one.
pub fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let file = Path::new("100.conf");
    for pending in [Pending::Leave, Pending::Merge] {
        let parsed = match pve::parse(file, &text, pending) {
            Ok(parsed) => parsed,
            Err(error) => {
                told(&error);
                continue;
            }
        };
        parsed.warnings.iter().for_each(|warning| told(warning));
        assert!(parsed.warnings.is_sorted_by_key(|warning| warning.line));
        read_again(file, &parsed.config);
        if let Err(violations) = qemu_shape(&parsed.config) {
            violations.list.iter().for_each(|v| told(v));
        }
        guest(&parsed.config);
    }
    PciMapping::parse(file, &text)
        .warnings
        .iter()
        .for_each(|w| told(w));
}

fn read_again(file: &Path, config: &GuestConfig) {
    let text = printed(config);
    let again = pve::parse(file, &text, Pending::Leave);
    let again = again.map(|parsed| without_lines(parsed.config));
    assert_eq!(again, Ok(without_lines(config.clone())), "{text:?}");
}

fn guest(config: &GuestConfig) {
    let name = GuestName("100".to_owned());
    let beside = Beside {
        vmid: Some(Vmid(100)),
        ..Beside::default()
    };
    match config.guest(name, &Overrides::default(), beside) {
        Ok(guest) => {
            assert_whole(&guest);
            placed(config, &guest);
        }
        Err(violations) => {
            assert!(!violations.list.is_empty());
            violations.list.iter().for_each(|v| told(v));
        }
    }
}

/// Virtual nodes are a partition of the vCPUs, and the rules hold when they are asked again.
fn assert_whole(guest: &Guest) {
    let mut seen = VcpuSet::new();
    for node in &guest.virtual_nodes {
        assert!(node.vcpus.is_disjoint(&seen) && !node.vcpus.is_empty());
        seen = seen.union(&node.vcpus);
    }
    assert_eq!(seen, guest.vcpus());
    assert!(guest.plugged.is_subset(&seen));
    let ids: BTreeSet<_> = guest.virtual_nodes.iter().map(|node| node.id).collect();
    assert_eq!(ids.len(), guest.virtual_nodes.len());
    assert_eq!(Guest::new(guest.clone().into_parts()).as_ref(), Ok(guest));
}

/// The policy that `pinning` says, or one that keeps the planner busy.
fn placed(config: &GuestConfig, guest: &Guest) {
    let written = config.pinning.as_ref().map(|w| w.value.parse::<Policy>());
    let policy = match written {
        Some(Ok(policy)) => policy,
        _ => Policy {
            mode: Mode::OneToOne,
            ..Policy::default()
        },
    };
    let (host, claims) = (small_host(), Claims::default());
    match plan(host, guest, &claims, &policy) {
        Ok(plan) => {
            let mut faults = check_plan(host, guest, &claims, &policy, &plan);
            if faults.is_empty() {
                faults = check_notes(host, guest, &claims, &policy, &plan);
            }
            assert!(
                faults.is_empty(),
                "{faults:?}\n{policy}\n{guest:?}\n{plan:?}"
            );
        }
        Err(violations) => {
            assert!(!violations.list.is_empty());
            violations.list.iter().for_each(|v| told(v));
        }
    }
}

/// Two packages of two host nodes with two cores of two threads each: 16 CPUs.
fn small_host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let dir = super::recording::in_memory();
        let described = Described::grid(2, 2, 1, 2, 2);
        described.write_tree(dir.path()).expect("a tree is written");
        let root = Root::captured(dir.path()).expect("a root is read");
        sysfs::read(&root, Want::PLAN).expect("a host is read")
    })
}
