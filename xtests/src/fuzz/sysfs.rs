//! A machine's files, edited in any way.
//!
//! ```text
//! 0                                            which machine the edits are made on
//! sys/devices/system/node/node0/cpulist = 0-3  another text of a file; \n, \0 and \\ stand for what they mean
//! 17 = 0                                       the same for the 17th file
//! sys/devices/system/cpu/cpu1 !                no such file or directory
//! sys/devices/system/cpu/cpu9/topology /       an empty directory in its place
//! sys/devices/system/node/online > possible    a link to something beside it
//! ```

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use numapin_core::claims::Claims;
use numapin_core::guest::{Guest, GuestParts};
use numapin_core::host::sysfs::{self, Want};
use numapin_core::host::{Host, cpuset, pci};
use numapin_core::id::{CpuId, Vmid};
use numapin_core::idset::CpuSet;
use numapin_core::placement::plan;
use numapin_core::policy::{Mode, Policy, Smt};

use super::sysfs_tree::Machines;
use super::told;
use crate::check::check_plan;

/// Hosts up to this size are planned on.
const PLANNED: usize = 64;

thread_local! {
    static MACHINES: RefCell<Machines> = RefCell::new(Machines::new());
}

/// Reads a machine whose files were edited. A host that is read holds together, and a plan on it is a valid one.
pub fn sysfs(bytes: &[u8]) {
    MACHINES.with_borrow_mut(|machines| {
        let root = machines.edited(bytes);
        for want in [Want::TOPOLOGY, Want::PLAN] {
            match sysfs::read(root, want) {
                Ok(host) => {
                    host.warnings.iter().for_each(|warning| told(warning));
                    holds_together(&host);
                    if want == Want::PLAN {
                        planned(&host);
                    }
                }
                Err(error) => told(&error),
            }
        }
        let online: CpuSet = (0..8).map(CpuId).collect();
        match cpuset::allowed(root, &online, Some(Vmid(100)), None) {
            Ok(allowed) => assert!(allowed.is_none_or(|cpus| cpus.is_subset(&online))),
            Err(error) => told(&error),
        }
        for address in ["0000:01:00.0", "02:00"] {
            let address = address.parse().expect("an address");
            if let Err(error) = pci::node(root, address) {
                told(&error);
            }
        }
    });
}

fn holds_together(host: &Host) {
    let online = host.online();
    assert!(!online.is_empty());
    assert!(host.cpus.is_sorted_by(|a, b| a.id < b.id));
    assert!(host.nodes.is_sorted_by(|a, b| a.id < b.id));
    assert!(online.is_disjoint(&host.offline));
    assert!(host.isolated.is_subset(&online));
    let mut seen = CpuSet::new();
    for node in &host.nodes {
        assert!(node.cpus.is_subset(&online) && node.cpus.is_disjoint(&seen));
        seen = seen.union(&node.cpus);
        for cpu in node.cpus.iter().filter_map(|id| host.cpu(id)) {
            assert_eq!(cpu.node, Some(node.id));
        }
        for to in node.distances.keys() {
            assert!(host.node(*to).is_some());
        }
    }
    let mut cores: BTreeMap<_, BTreeSet<CpuId>> = BTreeMap::new();
    let mut l3s: BTreeMap<_, BTreeSet<CpuId>> = BTreeMap::new();
    for cpu in &host.cpus {
        assert_eq!(cpu.node.is_some(), seen.contains(cpu.id), "{}", cpu.id);
        cores.entry(cpu.core).or_default().insert(cpu.id);
        if let Some(l3) = cpu.l3 {
            l3s.entry(l3).or_default().insert(cpu.id);
        }
    }
    for (core, cpus) in cores {
        assert_eq!(cpus.first(), Some(&CpuId(core.0)), "core {core}: {cpus:?}");
    }
    for (l3, cpus) in l3s {
        assert_eq!(cpus.first(), Some(&CpuId(l3.0)), "L3 {l3}: {cpus:?}");
    }
}

fn planned(host: &Host) {
    if host.cpus.len() > PLANNED {
        return;
    }
    let claims = Claims::default();
    for (mode, smt, sockets) in [
        (Mode::OneToOne, Smt::Spread, 1),
        (Mode::OneToOne, Smt::Isolate, 2),
        (Mode::Numa, Smt::Spread, 2),
        (Mode::L3, Smt::Spread, 1),
    ] {
        let policy = Policy {
            mode,
            smt,
            ..Policy::default()
        };
        let parts = GuestParts::new("100", sockets, 2);
        let parts = if sockets > 1 {
            parts.with_numa()
        } else {
            parts
        };
        let guest = Guest::new(parts).expect("a guest of a few vcpus");
        match plan(host, &guest, &claims, &policy) {
            Ok(plan) if has_whole_cores(host) => {
                let faults = check_plan(host, &guest, &claims, &policy, &plan);
                assert!(
                    faults.is_empty(),
                    "{faults:?}\n{policy}\n{host:?}\n{plan:?}"
                );
            }
            Ok(plan) => assert_eq!(plan.vcpus.len(), guest.vcpus().len()),
            Err(violations) => violations.list.iter().for_each(|v| told(v)),
        }
    }
}

/// Whether no core is on two host nodes: of such a host, which no machine is, the manual does not say what a core is.
fn has_whole_cores(host: &Host) -> bool {
    let mut nodes = BTreeMap::new();
    let mut cpus = host.cpus.iter();
    cpus.all(|cpu| *nodes.entry(cpu.core).or_insert(cpu.node) == cpu.node)
}
