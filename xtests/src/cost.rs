//! What a placement costs, item by item as the table of the manual's section 4 says, on hosts of any size.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use numapin_core::guest::Hugepages;
use numapin_core::placement::Item;
use numapin_core::policy::{Mode, Smt};

use crate::fraction::Fraction;
use crate::scene::{Part, Place, Scene};

/// Where the virtual nodes that take part are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// The numbers of the host nodes of each part, ascending.
    pub nodes: Vec<Vec<usize>>,
    /// One-to-one: the CPUs taken. Else the CPUs in the masks. Ascending.
    pub cpus: Vec<usize>,
    /// numa and l3: one for each host node of the guest; those of a spanning guest are one.
    pub areas: Vec<Area>,
}

/// What the parts on one host node may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Area {
    /// How many vCPUs are there.
    pub vcpus: usize,
    /// The CPUs of the area.
    pub cpus: Vec<usize>,
    /// The union of the masks.
    pub mask: Vec<usize>,
}

/// One item's value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// A whole number.
    Count(u64),
    /// `crowding`.
    Share(Fraction),
    /// `load`, the highest first.
    Shares(Vec<Fraction>),
}

/// The items in the order in which they are compared.
pub type Cost = Vec<(Item, Value)>;

/// What judges the placements of some parts in a scene.
#[derive(Debug)]
pub struct Judge<'a> {
    scene: &'a Scene<'a>,
    parts: &'a [Part<'a>],
    order: [Item; 19],
}

impl<'a> Judge<'a> {
    /// A judge with the order of the scene's policy.
    #[must_use]
    pub fn new(scene: &'a Scene<'a>, parts: &'a [Part<'a>]) -> Self {
        let order = order(scene.policy.mode, scene.policy.smt);
        Self {
            scene,
            parts,
            order,
        }
    }

    /// What a placement costs; `None` as soon as it is known to cost more than another one.
    #[must_use]
    pub fn cost(&self, placement: &Placement, other: Option<&Cost>) -> Option<Cost> {
        let mut cost = Vec::with_capacity(self.order.len());
        let mut equal = true;
        for (i, item) in self.order.into_iter().enumerate() {
            let value = self.value(item, placement);
            if let Some(other) = other.filter(|_| equal) {
                match value.cmp(&other[i].1) {
                    Ordering::Less => equal = false,
                    Ordering::Equal => {}
                    Ordering::Greater => return None,
                }
            }
            cost.push((item, value));
        }
        Some(cost)
    }

    fn value(&self, item: Item, placement: &Placement) -> Value {
        // A guest without areas is one-to-one: the other modes are not judged.
        let one_to_one = self.scene.policy.mode == Mode::OneToOne;
        let count = match item {
            Item::Crowding if one_to_one => return Value::Share(self.crowding(placement)),
            Item::Crowding => return Value::Share(Fraction::ZERO),
            Item::Load => return Value::Shares(self.load(placement)),
            Item::SharedNodes => self.shared_nodes(placement),
            Item::Packages => self.packages(placement),
            Item::Spanned => spanned(placement).map_or(0, |nodes| nodes.len() - 1),
            Item::RemoteMemory => return Value::Count(self.remote_memory(placement)),
            Item::RemoteDevices => self.remote_devices(placement),
            Item::ShortMemory => self.short_memory(placement),
            Item::Distance => return Value::Count(self.distance(placement)),
            Item::Renumbered => self.renumbered(placement),
            _ if one_to_one => self.of_cpus_taken(item, &placement.cpus),
            _ => self.of_areas(item, placement),
        };
        Value::Count(count as u64)
    }

    fn of_cpus_taken(&self, item: Item, taken: &[usize]) -> usize {
        let smt = self.scene.policy.smt;
        let count = |f: fn(&Place) -> bool| taken.iter().filter(|c| f(self.cpu(**c))).count();
        match item {
            Item::Overlap => count(|cpu| cpu.claimed),
            Item::ForeignCores if smt == Smt::Any => 0,
            Item::ForeignCores => self.cores_with(taken, |cpu| cpu.claimed),
            Item::CoreKinds => distinct(taken, |c| self.cpu(c).kind) - 1,
            Item::SlowVcpus => count(|cpu| cpu.slow),
            Item::SharedCores => match smt {
                Smt::Spread => self.pairs(taken),
                Smt::Pack => distinct(taken, |c| self.cpu(c).core),
                Smt::Isolate | Smt::Any => 0,
            },
            Item::HalfCores if smt == Smt::Any => 0,
            Item::HalfCores => self.cores_with(taken, |cpu| !cpu.usable),
            Item::BootCore => count(|cpu| cpu.boot),
            Item::L3Domains => distinct(taken, |c| self.cpu(c).l3),
            _ => self.leftover(taken),
        }
    }

    fn of_areas(&self, item: Item, placement: &Placement) -> usize {
        let missing = |count: fn(&Self, &Area) -> usize| {
            let areas = placement.areas.iter();
            areas.map(|a| a.vcpus.saturating_sub(count(self, a))).sum()
        };
        match item {
            Item::Overlap => missing(|judge, area| {
                let cpus = area.cpus.iter();
                cpus.filter(|c| !judge.cpu(**c).claimed).count()
            }),
            Item::SharedCores => missing(|judge, area| distinct(&area.mask, |c| judge.cpu(c).core)),
            Item::L3Domains if self.scene.policy.mode == Mode::L3 => {
                let l3s = |area: &Area| distinct(&area.cpus, |c| self.cpu(c).l3);
                placement.areas.iter().map(l3s).sum()
            }
            _ => 0,
        }
    }

    /// Virtual nodes without `hostnodes` that share their host node with another one of this guest.
    fn shared_nodes(&self, placement: &Placement) -> usize {
        let shares = |i: usize| {
            let mut others = (0..self.parts.len()).filter(|j| *j != i);
            others.any(|j| placement.nodes[i] == placement.nodes[j])
        };
        let free = (0..self.parts.len()).filter(|i| self.parts[*i].node.host_node.is_none());
        free.filter(|i| shares(*i)).count()
    }

    fn packages(&self, placement: &Placement) -> usize {
        let Some(nodes) = spanned(placement) else {
            return 0;
        };
        let covered = |cpu: &&Place| cpu.usable && nodes.contains(&cpu.node);
        let cpus = self.scene.cpus.iter().filter(covered);
        let packages: BTreeSet<_> = cpus.filter_map(|cpu| cpu.package).collect();
        packages.len().saturating_sub(1)
    }

    /// Cores used of which some online CPU is such.
    fn cores_with(&self, taken: &[usize], such: fn(&Place) -> bool) -> usize {
        let used = |cpu: &Place| taken.iter().any(|t| self.cpu(*t).core == cpu.core);
        let mut cores = Vec::new();
        for cpu in self.scene.cpus.iter().filter(|cpu| such(cpu)) {
            if !cores.contains(&cpu.core) && used(cpu) {
                cores.push(cpu.core);
            }
        }
        cores.len()
    }

    /// m(m-1)/2 for the m vCPUs of each core: the pairs that share one.
    fn pairs(&self, taken: &[usize]) -> usize {
        let core = |i: usize| self.cpu(taken[i]).core;
        let pairs = (0..taken.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
        pairs.filter(|(i, j)| core(*i) == core(*j)).count()
    }

    fn leftover(&self, taken: &[usize]) -> usize {
        let used: BTreeSet<usize> = taken.iter().map(|c| self.cpu(*c).l3).collect();
        let left = |i: &usize| {
            let cpu = self.cpu(*i);
            cpu.usable && !cpu.claimed && used.contains(&cpu.l3) && taken.binary_search(i).is_err()
        };
        (0..self.scene.cpus.len()).filter(left).count()
    }

    fn crowding(&self, placement: &Placement) -> Fraction {
        let crowds = placement.cpus.iter().map(|c| self.cpu(*c).crowd);
        crowds.fold(Fraction::ZERO, |sum, crowd| sum + crowd)
    }

    fn load(&self, placement: &Placement) -> Vec<Fraction> {
        let full = |area: &Area| {
            let claimed = area.cpus.iter().filter(|c| self.cpu(**c).claimed).count();
            // The share of a mask in the area is the sum of its shares of the area's CPUs.
            let crowds = area.cpus.iter().map(|c| self.cpu(*c).crowd);
            let sum = crowds.fold(Fraction::ZERO, |sum, crowd| sum + crowd);
            (sum + Fraction::new(claimed + area.vcpus, 1)).divided(area.cpus.len())
        };
        let mut loads: Vec<Fraction> = placement.areas.iter().map(full).collect();
        loads.sort_by(|a, b| b.cmp(a));
        loads
    }

    fn remote_memory(&self, placement: &Placement) -> u64 {
        let Some(running) = &self.scene.guest.running else {
            return 0;
        };
        let own = self.host_nodes(placement);
        let local = |id| self.scene.node_number(id).is_some_and(|n| own.contains(&n));
        let remote = running.memory_mib.iter().filter(|(id, _)| !local(**id));
        remote.map(|(_, mib)| mib).sum()
    }

    fn remote_devices(&self, placement: &Placement) -> usize {
        let own = self.host_nodes(placement);
        let known = self
            .scene
            .guest
            .devices
            .iter()
            .filter_map(|device| device.node);
        known
            .filter(|id| {
                self.scene
                    .node_number(*id)
                    .is_none_or(|n| !own.contains(&n))
            })
            .count()
    }

    fn short_memory(&self, placement: &Placement) -> usize {
        if self.scene.guest.running.is_some() || self.scene.host.zfs {
            return 0;
        }
        if let Some(nodes) = spanned(placement) {
            return usize::from(self.is_short(&[0], nodes));
        }
        let short = |node: &usize| {
            let here = |i: &usize| placement.nodes[*i] == [*node];
            let parts: Vec<usize> = (0..self.parts.len()).filter(here).collect();
            self.is_short(&parts, &[*node])
        };
        self.host_nodes(placement)
            .iter()
            .filter(|n| short(n))
            .count()
    }

    /// Whether host nodes have less available than parts need; false where anything is unknown.
    fn is_short(&self, parts: &[usize], nodes: &[usize]) -> bool {
        // By the size of a page in KiB, 0 for ordinary memory.
        let mut needs: BTreeMap<u64, u64> = BTreeMap::new();
        for part in parts {
            let Some(mib) = self.scene.guest.memory_of(self.parts[*part].node) else {
                return false;
            };
            let page = match self.scene.guest.hugepages {
                None => 0,
                Some(Hugepages::Mib2) => 2048,
                Some(Hugepages::Gib1) => 1 << 20,
                Some(Hugepages::Any) if mib % 1024 == 0 => 1 << 20,
                Some(Hugepages::Any) => 2048,
            };
            *needs.entry(page).or_default() += mib * 1024;
        }
        let has = |page: u64, node: usize| {
            let id = self.scene.nodes[node];
            let memory = self.scene.host.node(id)?.memory.as_ref()?;
            if page > 0 {
                return Some(memory.free_hugepages.get(&page)? * page);
            }
            let promised = self.scene.claims.promised_kib.get(&id).copied();
            let available = memory.available_kib.unwrap_or(memory.total_kib);
            Some(available.saturating_sub(promised.unwrap_or(0)))
        };
        let all = |page: u64| nodes.iter().map(|n| has(page, *n)).sum::<Option<u64>>();
        let known: Option<Vec<bool>> = needs
            .iter()
            .map(|(page, need)| all(*page).map(|has| has < *need))
            .collect();
        known.is_some_and(|short| short.contains(&true))
    }

    fn distance(&self, placement: &Placement) -> u64 {
        let id = |number: usize| self.scene.nodes[number];
        let own = self.host_nodes(placement);
        let mut sum = 0;
        for (i, a) in own.iter().enumerate() {
            for b in &own[..i] {
                let there = self.scene.host.distance(id(*a), id(*b));
                let back = self.scene.host.distance(id(*b), id(*a));
                sum += u64::from(there.max(back));
            }
        }
        sum
    }

    fn renumbered(&self, placement: &Placement) -> usize {
        let stays = |(part, nodes): &(&Part<'_>, &Vec<usize>)| match nodes[..] {
            [node] => self.scene.nodes[node].0 == part.node.id.0,
            _ => false,
        };
        let all = self.parts.iter().zip(&placement.nodes);
        all.filter(|pair| !stays(pair)).count()
    }

    /// The host nodes of the guest, ascending.
    fn host_nodes(&self, placement: &Placement) -> Vec<usize> {
        let mut nodes: Vec<usize> = placement.nodes.concat();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    fn cpu(&self, number: usize) -> &Place {
        &self.scene.cpus[number]
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Share(share) => share.fmt(f),
            Self::Shares(shares) => {
                let words: Vec<String> = shares.iter().map(ToString::to_string).collect();
                f.write_str(&words.join(" "))
            }
        }
    }
}

/// The order of the table; for spread, `spanned` stands after 8.
fn order(mode: Mode, smt: Smt) -> [Item; 19] {
    use Item::{
        BootCore, CoreKinds, Crowding, Distance, ForeignCores, HalfCores, L3Domains, Leftover,
        Load, Overlap, Packages, RemoteDevices, RemoteMemory, Renumbered, SharedCores, SharedNodes,
        ShortMemory, SlowVcpus, Spanned,
    };
    let nodes_first = [Spanned, CoreKinds, SlowVcpus, SharedCores];
    let cores_first = [CoreKinds, SlowVcpus, SharedCores, Spanned];
    let spread = mode == Mode::OneToOne && smt == Smt::Spread;
    let [a, b, c, d] = if spread { cores_first } else { nodes_first };
    [
        SharedNodes,
        Overlap,
        ForeignCores,
        Packages,
        a,
        b,
        c,
        d,
        HalfCores,
        Crowding,
        RemoteMemory,
        RemoteDevices,
        ShortMemory,
        Distance,
        BootCore,
        L3Domains,
        Load,
        Leftover,
        Renumbered,
    ]
}

/// The host nodes of a guest that spans several.
fn spanned(placement: &Placement) -> Option<&[usize]> {
    match &placement.nodes[..] {
        [nodes] if nodes.len() > 1 => Some(nodes),
        _ => None,
    }
}

fn distinct<T: Ord>(of: &[usize], key: impl Fn(usize) -> T) -> usize {
    of.iter().map(|i| key(*i)).collect::<BTreeSet<T>>().len()
}
