//! Ids of the guest and of the host as types of their own, so that the two are never mixed.
//!
//! Each prints as its bare number; whoever prints one says which kind it is ("vcpu 3", "cpu 12").

use std::fmt;

use serde::{Deserialize, Serialize};

/// An id that can be a member of an [`IdSet`](crate::idset::IdSet).
pub trait Id: Copy + Ord + fmt::Debug + fmt::Display {
    /// The id as a position in a bit set.
    fn index(self) -> usize;
    /// The id at a position of a bit set.
    fn from_index(index: usize) -> Self;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

macro_rules! set_ids {
    ($($name:ident)*) => {$(
        impl Id for $name {
            fn index(self) -> usize {
                self.0 as usize
            }
            fn from_index(index: usize) -> Self {
                Self(u32::try_from(index).unwrap_or(u32::MAX))
            }
        }
    )*};
}

ids! {
    /// A logical CPU (SMT thread) of the host, by the kernel's number.
    CpuId(u32);
    /// A NUMA node of the host, by the kernel's number.
    NodeId(u32);
    /// A vCPU of a guest: QEMU's cpu-index.
    VcpuId(u32);
    /// A NUMA node of a guest (a virtual node).
    VnodeId(u32);
    /// A physical core of the host: its lowest online CPU. (`core_id` is unique only within a package.)
    CoreId(u32);
    /// A level-3 cache of the host: the lowest online CPU that shares it.
    L3Id(u32);
    /// A socket (package) of the host, by the kernel's `physical_package_id`: can be large and sparse.
    PackageId(i32);
    /// A thread of the host.
    Tid(i32);
    /// A process of the host.
    Pid(i32);
    /// A Proxmox VE guest's number.
    Vmid(u32);
}

set_ids! { CpuId NodeId VcpuId VnodeId }
