//! Which CPUs a guest can use, which of them others hold, and what took the rest.

use std::collections::{BTreeMap, BTreeSet};

use super::room::{Taken, Taker};
use crate::claims::{Claims, SetPinned};
use crate::guest::{Guest, GuestName};
use crate::host::Host;
use crate::idset::CpuSet;
use crate::policy::{Isolated, Kind, Mode, Overlap, Policy};
use crate::sorted;

/// The CPUs of a host as one guest sees them.
#[derive(Debug)]
pub(super) struct Usable<'a> {
    /// Usable CPUs: online, named by `affinity`, allowed by the cpuset, of the kind asked for, not reserved, not isolated
    /// (unless `isolated` or `affinity` says otherwise), and for overlap=deny not claimed.
    pub cpus: CpuSet,
    /// All online CPUs.
    pub online: CpuSet,
    /// CPUs that other guests hold one-to-one; none for overlap=allow.
    pub claimed: CpuSet,
    /// Other guests' masks of several CPUs; none for overlap=allow.
    pub set_pinned: &'a [SetPinned],
    host: &'a Host,
    guest: &'a Guest,
    claims: &'a Claims,
    policy: &'a Policy,
}

impl<'a> Usable<'a> {
    /// The CPUs of `host` as `guest` sees them.
    pub(super) fn new(
        host: &'a Host,
        guest: &'a Guest,
        claims: &'a Claims,
        policy: &'a Policy,
    ) -> Self {
        let allow = policy.overlap == Overlap::Allow;
        let mut usable = Self {
            cpus: CpuSet::new(),
            online: host.online(),
            claimed: if allow {
                CpuSet::new()
            } else {
                claims.claimed()
            },
            set_pinned: if allow { &[] } else { &claims.set_pinned },
            host,
            guest,
            claims,
            policy,
        };
        let limits = usable.limits();
        let taken = limits
            .iter()
            .fold(CpuSet::new(), |all, (_, cpus)| all.union(cpus));
        usable.cpus = usable.online.difference(&taken);
        usable
    }

    /// What takes online CPUs away, each with all online CPUs that it does not leave: they overlap.
    fn limits(&self) -> Vec<(Taker, CpuSet)> {
        let (host, policy) = (self.host, self.policy);
        let outside = |cpus: &CpuSet| self.online.difference(cpus);
        let mut limits = Vec::new();
        if let Some(allowed) = &host.allowed {
            limits.push((Taker::Cpuset, outside(allowed)));
        }
        if let Some(affinity) = &self.guest.affinity {
            limits.push((Taker::Affinity, outside(affinity)));
        }
        limits.push((Taker::Reserved, host.reserved.clone()));
        // `isolated` is a key of one-to-one only; a set of isolated CPUs is not balanced by the kernel, so the set modes use
        // none but those that `affinity` names
        let isolated = match policy.mode {
            Mode::OneToOne => policy.isolated,
            _ => Isolated::Avoid,
        };
        match isolated {
            Isolated::Allow => {}
            Isolated::Only => limits.push((Taker::NotIsolated, outside(&host.isolated))),
            Isolated::Avoid => {
                let named = self.guest.affinity.clone().unwrap_or_default();
                limits.push((Taker::Isolated, host.isolated.difference(&named)));
            }
        }
        let fast = host.fastest_kind();
        let of_kind = |wanted: bool| -> CpuSet {
            let cpus = host.cpus.iter();
            let found = cpus.filter(|cpu| (cpu.kind.unwrap_or(fast) > fast) == wanted);
            found.map(|cpu| cpu.id).collect()
        };
        match policy.kind {
            Kind::Any => {}
            Kind::Performance => limits.push((Taker::Kind, of_kind(true))),
            Kind::Efficiency => limits.push((Taker::Kind, of_kind(false))),
        }
        if policy.overlap == Overlap::Deny {
            limits.extend(self.holders(&self.claimed));
        }
        limits
    }

    /// Who holds CPUs one-to-one, and which.
    fn holders(&self, cpus: &CpuSet) -> Vec<(Taker, CpuSet)> {
        let mut by_guest: BTreeMap<&GuestName, CpuSet> = BTreeMap::new();
        for (cpu, guests) in &self.claims.one_to_one {
            for guest in guests.iter().filter(|_| cpus.contains(*cpu)) {
                by_guest.entry(guest).or_default().insert(*cpu);
            }
        }
        let mut holders: Vec<(Taker, CpuSet)> = Vec::new();
        for (guest, cpus) in by_guest {
            holders.push((Taker::Guest(guest.clone()), cpus));
        }
        // a claim without a name: what remains
        let named = holders
            .iter()
            .fold(CpuSet::new(), |all, (_, cpus)| all.union(cpus));
        let nameless = cpus.difference(&named);
        if !nameless.is_empty() {
            holders.push((Taker::Guest(GuestName(String::from("unknown"))), nameless));
        }
        holders
    }

    /// What took online CPUs of `among` away, each CPU under the first that did; then, of `held`, who holds them.
    pub(super) fn taken(&self, among: &CpuSet, held: &CpuSet) -> Vec<Taken> {
        let mut rest = among.clone();
        let mut taken = Vec::new();
        let holders = self.holders(held);
        for (by, cpus) in self.limits().into_iter().chain(holders) {
            let cpus = cpus.intersection(&rest);
            rest = rest.difference(&cpus);
            if !cpus.is_empty() {
                taken.push(Taken { by, cpus });
            }
        }
        taken
    }

    /// Which other guests hold CPUs of a set one-to-one or have vCPUs pinned there, whatever `overlap` says.
    pub(super) fn guests_on(&self, cpus: &CpuSet) -> (CpuSet, Vec<GuestName>) {
        let mut there = CpuSet::new();
        let mut guests: BTreeSet<&GuestName> = BTreeSet::new();
        for (cpu, holders) in &self.claims.one_to_one {
            if cpus.contains(*cpu) {
                there.insert(*cpu);
                guests.extend(holders);
            }
        }
        for pinned in &self.claims.set_pinned {
            if !pinned.mask.is_disjoint(cpus) {
                there = there.union(&pinned.mask.intersection(cpus));
                guests.insert(&pinned.guest);
            }
        }
        (there, guests.into_iter().cloned().collect())
    }

    /// Which other guests hold CPUs of a set one-to-one.
    pub(super) fn holders_of(&self, cpus: &CpuSet) -> Vec<GuestName> {
        let held = self
            .claims
            .one_to_one
            .iter()
            .filter(|(cpu, _)| cpus.contains(**cpu));
        let guests: BTreeSet<&GuestName> = sorted::set(held.flat_map(|(_, guests)| guests));
        guests.into_iter().cloned().collect()
    }
}
