//! What other guests hold: CPUs one-to-one, masks of several CPUs, and memory promised to guests that are starting.

mod fold;

use std::collections::BTreeMap;

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
}
