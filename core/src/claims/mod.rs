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
mod outdated;
pub mod recorded;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use kept::{KeptNode, KeptPlan, KeptVcpu, SpareThreads};
pub use lock::{Lock, LockError, WatchLock};
pub use outdated::{Outdated, outdated};

use crate::guest::GuestName;
use crate::id::{CpuId, NodeId};
use crate::idset::CpuSet;
use crate::sorted;

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

/// Who else can be on some CPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Beside {
    /// Guests that hold one of them one-to-one, too.
    pub one_to_one: BTreeSet<GuestName>,
    /// Guests with masks of several CPUs, of which one is among them.
    pub set_pinned: BTreeSet<GuestName>,
    /// Guests with vCPUs that nobody pinned.
    pub unpinned: BTreeSet<GuestName>,
}

impl Claims {
    /// The CPUs held one-to-one.
    #[must_use]
    pub fn claimed(&self) -> CpuSet {
        self.one_to_one.keys().copied().collect()
    }

    /// The CPUs that anybody but this guest holds one-to-one.
    #[must_use]
    pub fn claimed_by_others(&self, guest: &GuestName) -> CpuSet {
        let others = |holders: &Vec<GuestName>| holders.iter().any(|holder| holder != guest);
        let held = self
            .one_to_one
            .iter()
            .filter(|(_, holders)| others(holders));
        held.map(|(cpu, _)| *cpu).collect()
    }

    /// Who else can be on CPUs that a guest holds one-to-one.
    #[must_use]
    pub fn beside(&self, guest: &GuestName, cpus: &CpuSet) -> Beside {
        let mut beside = Beside::default();
        let held = self
            .one_to_one
            .iter()
            .filter(|(cpu, _)| cpus.contains(**cpu));
        for holder in held.flat_map(|(_, holders)| holders) {
            beside.one_to_one.insert(holder.clone());
        }
        let pinned = self.set_pinned.iter();
        let there = pinned.filter(|pinned| !pinned.mask.is_disjoint(cpus));
        beside.set_pinned = sorted::set(there.map(|pinned| pinned.guest.clone()));
        beside.unpinned = sorted::set(self.unpinned.keys().cloned());
        for names in [
            &mut beside.one_to_one,
            &mut beside.set_pinned,
            &mut beside.unpinned,
        ] {
            names.remove(guest);
        }
        beside
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
        // Neighbours have the same mask as a rule: sets of thousands of CPUs are not compared for each of them.
        let mut last: Option<(&CpuSet, u32)> = None;
        for mask in masks {
            if let Some((_, vcpus)) = last.as_mut().filter(|(last, _)| *last == mask) {
                *vcpus += 1;
                continue;
            }
            if online.is_subset(mask) {
                *self.unpinned.entry(guest.clone()).or_default() += 1;
            } else if mask.len() == 1 {
                self.hold(guest, mask);
            } else if !mask.is_empty()
                && let Some((mask, vcpus)) = last.replace((mask, 1))
            {
                *several.entry(mask).or_default() += vcpus;
            }
        }
        if let Some((mask, vcpus)) = last {
            *several.entry(mask).or_default() += vcpus;
        }
        let set_pinned = several.into_iter().map(|(mask, vcpus)| SetPinned {
            guest: guest.clone(),
            mask: mask.clone(),
            vcpus,
        });
        self.set_pinned.extend(set_pinned);
    }
}
