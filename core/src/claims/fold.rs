//! A plan as a claim: guests planned in order each see the ones before.

use std::collections::BTreeMap;

use super::{Claims, SetPinned};
use crate::guest::{Guest, GuestName};
use crate::host::Host;
use crate::idset::CpuSet;
use crate::placement::Plan;

impl Claims {
    /// These claims and what a plan of `guest` on `host` adds to them once the guest runs: the CPUs it holds one-to-one, the
    /// masks of its plugged vCPUs, and for a guest that does not run yet the memory it will take from each host node.
    ///
    /// What a spanning guest takes from each node is not known: it is split evenly. Huge pages come out of a pool of their
    /// own and are not promised.
    #[must_use]
    pub fn with_plan(&self, host: &Host, guest: &Guest, plan: &Plan) -> Self {
        let mut claims = self.clone();
        let online = host.online();
        let mut held = plan.claims.clone();
        let mut masks: BTreeMap<&CpuSet, u32> = BTreeMap::new();
        for placed in plan.vcpus.iter().filter(|v| guest.plugged.contains(v.vcpu)) {
            match placed.cpus.len() {
                1 => held.extend(placed.cpus.iter()),
                _ if placed.cpus == online => {}
                _ => *masks.entry(&placed.cpus).or_default() += 1,
            }
        }
        for cpu in held.iter() {
            let holders = claims.one_to_one.entry(cpu).or_default();
            if !holders.contains(&plan.guest) {
                holders.push(plan.guest.clone());
            }
        }
        let set_pinned = masks.into_iter().map(|(mask, vcpus)| SetPinned {
            guest: plan.guest.clone(),
            mask: mask.clone(),
            vcpus,
        });
        claims.set_pinned.extend(set_pinned);
        if guest.running.is_none() && guest.hugepages.is_none() {
            claims.promise(guest, plan);
        }
        claims
    }

    /// These claims as they were if another guest were not there. Memory promised to it stays promised.
    #[must_use]
    pub fn without(&self, guest: &GuestName) -> Self {
        let mut claims = self.clone();
        for holders in claims.one_to_one.values_mut() {
            holders.retain(|holder| holder != guest);
        }
        claims.one_to_one.retain(|_, holders| !holders.is_empty());
        claims.set_pinned.retain(|pinned| pinned.guest != *guest);
        claims.unpinned.remove(guest);
        claims
    }

    fn promise(&mut self, guest: &Guest, plan: &Plan) {
        for placed in &plan.virtual_nodes {
            let node = guest
                .virtual_nodes
                .iter()
                .find(|node| node.id == placed.virtual_node);
            let nodes = placed.host_nodes.len() as u64;
            let Some(mib) = node.and_then(|node| guest.memory_of(node)) else {
                continue;
            };
            for host_node in placed.host_nodes.iter() {
                *self.promised_kib.entry(host_node).or_default() += (mib * 1024).div_ceil(nodes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::GuestParts;
    use crate::host::Cpu;
    use crate::id::{CoreId, CpuId, VcpuId, VnodeId};
    use crate::placement::{Cost, PlacedVcpu, ThreadMasks};
    use crate::policy::{Mode, Smt};

    fn plan(masks: &[&str], claims: &str) -> Plan {
        let vcpu = |(i, mask): (usize, &&str)| PlacedVcpu {
            vcpu: VcpuId(u32::try_from(i).unwrap()),
            virtual_node: VnodeId(0),
            host_nodes: "0".parse().unwrap(),
            cpus: mask.parse().unwrap(),
        };
        Plan {
            guest: GuestName("100".into()),
            mode: Mode::OneToOne,
            smt: Smt::Spread,
            virtual_nodes: Vec::new(),
            vcpus: masks.iter().enumerate().map(vcpu).collect(),
            threads: ThreadMasks::default(),
            claims: claims.parse().unwrap(),
            cost: Cost::zero(Mode::OneToOne, Smt::Spread),
            optimal: true,
            bound: None,
            notes: Vec::new(),
        }
    }

    fn guest(plugged: &str) -> Guest {
        let mut parts = GuestParts::new("100", 1, 3);
        parts.plugged = plugged.parse().unwrap();
        Guest::new(parts).unwrap()
    }

    fn host() -> Host {
        let cpu = |id| Cpu {
            id: CpuId(id),
            node: None,
            package: None,
            die: None,
            core: CoreId(id),
            l3: None,
            kind: None,
        };
        Host {
            cpus: (0..4).map(cpu).collect(),
            ..Host::default()
        }
    }

    #[test]
    fn a_one_to_one_plan_holds_its_plugged_cpus_and_idle_siblings() {
        let plan = plan(&["0", "2", "3"], "0-1");
        let after = Claims::default().with_plan(&host(), &guest("0-1"), &plan);
        assert_eq!(after.claimed(), "0-2".parse().unwrap());
        assert!(after.set_pinned.is_empty());
        assert_eq!(
            after.with_plan(&host(), &guest("0-1"), &plan).one_to_one[&CpuId(0)].len(),
            1
        );
    }

    #[test]
    fn masks_of_several_cpus_are_set_pinned_unless_they_are_all_online_cpus() {
        let after =
            Claims::default().with_plan(&host(), &guest("0-2"), &plan(&["0-1", "0-1", "0-3"], ""));
        assert!(after.one_to_one.is_empty());
        assert_eq!(after.set_pinned.len(), 1);
        assert_eq!(
            (
                after.set_pinned[0].mask.to_string().as_str(),
                after.set_pinned[0].vcpus
            ),
            ("0-1", 2)
        );
    }
}
