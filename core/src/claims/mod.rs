//! What other guests hold: CPUs one-to-one, masks of several CPUs, and memory promised to guests that are starting.
//!
//! ```text
//! /run/qemu-server, /proc ── live ────► masks of every QEMU's vCPU threads, whoever set them ─┐
//!                                                                                             ├─ node ─► Claims
//! /run/numapin ───────────── ledger ──► plans, and the masks found before them ───────────────┘
//!                            lock       one at a time: claims, plan and ledger are one step
//! ```

mod fold;
mod kept;
pub mod ledger;
pub mod live;
pub mod lock;
pub mod node;

use std::collections::BTreeMap;

pub use kept::{KeptNode, KeptPlan, KeptVcpu, SpareThreads};
pub use lock::{Lock, LockError};

use crate::guest::GuestName;
use crate::id::{CpuId, NodeId};
use crate::idset::CpuSet;

/// What other guests hold. A guest's own claims are never in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// CPUs held one-to-one, and by whom; two guests can hold the same (others' tools know nothing of claims).
    pub one_to_one: BTreeMap<CpuId, Vec<GuestName>>,
    /// vCPUs with masks of several CPUs that are not all online CPUs.
    pub set_pinned: Vec<SetPinned>,
    /// Memory promised to guests that are starting, in KiB, by host node.
    pub promised_kib: BTreeMap<NodeId, u64>,
    /// Running guests with vCPUs that nobody pinned, and how many of them: they can sit on any CPU. No rule and no cost looks
    /// at them; status tells them.
    pub unpinned: BTreeMap<GuestName, u32>,
}

/// vCPUs of one guest that share a mask of several CPUs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetPinned {
    /// Whose.
    pub guest: GuestName,
    /// The mask.
    pub mask: CpuSet,
    /// How many vCPUs have it, at least 1.
    pub vcpus: u32,
}

impl Claims {
    /// The CPUs held one-to-one.
    #[must_use]
    pub fn claimed(&self) -> CpuSet {
        self.one_to_one.keys().copied().collect()
    }

    /// Lets a guest hold CPUs one-to-one; what it holds already it holds once.
    pub fn hold(&mut self, guest: &GuestName, cpus: &CpuSet) {
        for cpu in cpus.iter() {
            let holders = self.one_to_one.entry(cpu).or_default();
            if !holders.contains(guest) {
                holders.push(guest.clone());
            }
        }
    }

    /// Adds the masks of a guest's vCPUs on a host with these online CPUs.
    ///
    /// A mask that leaves no online CPU out is nobody's pin, also where there is only one; of the others a mask of one CPU
    /// holds it, and several are set-pinned. Masks count as they stand, with the CPUs that are offline.
    pub fn add_masks<'a>(
        &mut self,
        guest: &GuestName,
        online: &CpuSet,
        masks: impl Iterator<Item = &'a CpuSet>,
    ) {
        let mut several: BTreeMap<&CpuSet, u32> = BTreeMap::new();
        for mask in masks {
            if online.is_subset(mask) {
                *self.unpinned.entry(guest.clone()).or_default() += 1;
            } else if mask.len() == 1 {
                self.hold(guest, mask);
            } else if !mask.is_empty() {
                *several.entry(mask).or_default() += 1;
            }
        }
        let set_pinned = several.into_iter().map(|(mask, vcpus)| SetPinned {
            guest: guest.clone(),
            mask: mask.clone(),
            vcpus,
        });
        self.set_pinned.extend(set_pinned);
    }
}
