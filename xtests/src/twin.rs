//! The exhaustive twin of the planner: it walks through all placements within the rules of the manual's section 4 and keeps the
//! best. For small hosts only.

use std::collections::BTreeMap;

use numapin_core::id::{NodeId, VcpuId};
use numapin_core::idset::CpuSet;
use numapin_core::policy::Mode;

use crate::cost::{Area, Cost, Judge, Placement};
use crate::scene::{Part, Scene};

/// The best placement of all.
#[derive(Debug)]
pub struct Best<'a> {
    /// The parts it places.
    pub parts: Vec<Part<'a>>,
    /// Where they go.
    pub placement: Placement,
    /// What that costs.
    pub cost: Cost,
    /// The mask of each vCPU.
    pub masks: BTreeMap<VcpuId, CpuSet>,
    /// How many placements there were.
    pub seen: usize,
    /// vCPUs that are not plugged were left out, since they do not fit.
    pub plugged_only: bool,
}

/// The best placement in the modes numa, l3 and one-to-one; `None` where there is none within the rules.
#[must_use]
pub fn best<'a>(scene: &'a Scene<'a>) -> Option<Best<'a>> {
    let with = |plugged_only| {
        let parts = scene.parts(plugged_only);
        if parts.is_empty() {
            return None;
        }
        let (placement, cost, seen) = Search::new(scene, &parts)?.run()?;
        let masks = masks(scene, &parts, &placement);
        Some(Best {
            parts,
            placement,
            cost,
            masks,
            seen,
            plugged_only,
        })
    };
    with(false).or_else(|| with(true).filter(|_| scene.has_unplugged()))
}

/// The mask of each vCPU of a placement: in one-to-one, CPUs are dealt in topological order.
#[must_use]
pub fn masks(
    scene: &Scene<'_>,
    parts: &[Part<'_>],
    placement: &Placement,
) -> BTreeMap<VcpuId, CpuSet> {
    let mut masks = BTreeMap::new();
    if scene.policy.mode != Mode::OneToOne {
        for (part, nodes) in parts.iter().zip(&placement.nodes) {
            let area = placement.areas.iter().find(|area| {
                let first = area.cpus.first().map(|cpu| scene.cpus[*cpu].node);
                first.is_some_and(|node| nodes.contains(&node))
            });
            let mask = area.map_or_else(Vec::new, |area| mask_of(scene, &area.cpus, part.count));
            masks.extend(part.vcpus.iter().map(|vcpu| (vcpu, scene.ids(&mask))));
        }
        return masks;
    }
    let mut left = placement.cpus.clone();
    left.sort_by_key(|cpu| (scene.cpus[*cpu].node, scene.cpus[*cpu].order));
    for (part, nodes) in parts.iter().zip(&placement.nodes) {
        for vcpu in part.vcpus.iter() {
            let next = left
                .iter()
                .position(|cpu| nodes.contains(&scene.cpus[*cpu].node));
            if let Some(next) = next {
                masks.insert(vcpu, scene.ids(&[left.remove(next)]));
            }
        }
    }
    masks
}

/// The mask of a virtual node: the unclaimed part of its area if that has as many CPUs as it has vCPUs, else the whole area.
#[must_use]
pub fn mask_of(scene: &Scene<'_>, area: &[usize], vcpus: usize) -> Vec<usize> {
    let unclaimed = area.iter().filter(|cpu| !scene.cpus[**cpu].claimed);
    let unclaimed: Vec<usize> = unclaimed.copied().collect();
    if unclaimed.len() >= vcpus {
        unclaimed
    } else {
        area.to_vec()
    }
}

struct Search<'a> {
    scene: &'a Scene<'a>,
    parts: &'a [Part<'a>],
    judge: Judge<'a>,
    /// The host node of each part that has to go to one.
    pinned: Vec<Option<usize>>,
    rooms: Vec<usize>,
    usable: Vec<Vec<usize>>,
    best: Option<(Cost, Placement)>,
    seen: usize,
}

impl<'a> Search<'a> {
    /// `None` where a part names a host node that does not exist.
    fn new(scene: &'a Scene<'a>, parts: &'a [Part<'a>]) -> Option<Self> {
        let mut pinned = Vec::new();
        for part in parts {
            pinned.push(match part.node.host_node {
                Some(id) => Some(scene.node_number(id)?),
                None => None,
            });
        }
        let nodes = 0..scene.nodes.len();
        let mut search = Self {
            scene,
            parts,
            judge: Judge::new(scene, parts),
            pinned,
            rooms: nodes.clone().map(|node| scene.room(node)).collect(),
            usable: nodes.map(|node| scene.usable_of(node)).collect(),
            best: None,
            seen: 0,
        };
        if scene.guest.hugepages.is_some() && !scene.guest.numa_explicit {
            search.follow_pages();
        }
        Some(search)
    }

    /// Rule 2: virtual node i goes to host node i if the rules allow.
    fn follow_pages(&mut self) {
        for i in 0..self.parts.len() {
            let id = NodeId(self.parts[i].node.id.0);
            let before = self.pinned[i];
            if let (None, Some(node)) = (before, self.scene.node_number(id)) {
                self.pinned[i] = Some(node);
                if self.assignments().is_empty() {
                    self.pinned[i] = None;
                }
            }
        }
    }

    fn run(mut self) -> Option<(Placement, Cost, usize)> {
        if self.parts.len() == 1 && self.pinned[0].is_none() {
            self.span();
        } else {
            for nodes in self.assignments() {
                self.place(&nodes);
            }
        }
        let (cost, placement) = self.best?;
        Some((placement, cost, self.seen))
    }

    /// Every way to give each part one host node, so that each host node has room for what is put there.
    fn assignments(&self) -> Vec<Vec<usize>> {
        let mut all = vec![Vec::new()];
        for pinned in &self.pinned {
            let nodes: Vec<usize> = match pinned {
                Some(node) => vec![*node],
                None => (0..self.rooms.len()).collect(),
            };
            let longer = |begun: &Vec<usize>| {
                let more = nodes.iter().map(|node| [&begun[..], &[*node]].concat());
                more.filter(|a| self.has_room(a)).collect::<Vec<_>>()
            };
            all = all.iter().flat_map(longer).collect();
        }
        all
    }

    fn has_room(&self, assigned: &[usize]) -> bool {
        let needs = self.needs(assigned);
        needs
            .iter()
            .zip(&self.rooms)
            .all(|(need, room)| need <= room)
    }

    /// How many vCPUs each host node gets.
    fn needs(&self, assigned: &[usize]) -> Vec<usize> {
        let mut needs = vec![0; self.rooms.len()];
        for (part, node) in self.parts.iter().zip(assigned) {
            needs[*node] += part.count;
        }
        needs
    }

    /// Every placement with these host nodes.
    fn place(&mut self, assigned: &[usize]) {
        let needs = self.needs(assigned);
        let nodes: Vec<Vec<usize>> = assigned.iter().map(|node| vec![*node]).collect();
        let used = (0..needs.len()).filter(|node| needs[*node] > 0);
        let choices: Vec<Vec<Vec<usize>>> = match self.scene.policy.mode {
            Mode::OneToOne => used
                .map(|node| self.subsets(&self.usable[node], needs[node]))
                .collect(),
            Mode::L3 => used
                .map(|node| self.unions_of_l3s(&self.usable[node], needs[node]))
                .collect(),
            _ => used.map(|node| vec![self.usable[node].clone()]).collect(),
        };
        let mut all: Vec<Vec<&Vec<usize>>> = vec![Vec::new()];
        for choice in &choices {
            let mut longer = Vec::new();
            for begun in &all {
                longer.extend(choice.iter().map(|next| [&begun[..], &[next]].concat()));
            }
            all = longer;
        }
        for chosen in all {
            self.consider(nodes.clone(), &chosen);
        }
    }

    /// Every placement of the one part that may span host nodes.
    fn span(&mut self) {
        let vcpus = self.parts[0].count;
        let usable: Vec<usize> = (0..self.scene.cpus.len())
            .filter(|cpu| self.scene.cpus[*cpu].usable)
            .collect();
        let choices = match self.scene.policy.mode {
            Mode::OneToOne => self.subsets(&usable, vcpus),
            Mode::L3 => self.unions_of_l3s(&usable, vcpus),
            _ => unions(&self.usable, vcpus),
        };
        for cpus in &choices {
            let mut nodes: Vec<usize> = cpus.iter().map(|c| self.scene.cpus[*c].node).collect();
            nodes.sort_unstable();
            nodes.dedup();
            self.consider(vec![nodes], &[cpus]);
        }
    }

    /// Judges a placement: `chosen` has the CPUs of each host node, or of all of them together for a guest that may span.
    fn consider(&mut self, nodes: Vec<Vec<usize>>, chosen: &[&Vec<usize>]) {
        self.seen += 1;
        let mut placement = Placement {
            nodes,
            ..Placement::default()
        };
        for cpus in chosen {
            if self.scene.policy.mode == Mode::OneToOne {
                placement.cpus.extend(cpus.iter());
                continue;
            }
            let area = area(self.scene, self.parts, &placement.nodes, cpus);
            placement.cpus.extend(&area.mask);
            placement.areas.push(area);
        }
        placement.cpus.sort_unstable();
        let best = self.best.as_ref().map(|(cost, _)| cost);
        let Some(cost) = self.judge.cost(&placement, best) else {
            return;
        };
        // Then the lowest host node ids in order of virtual nodes, then the lowest set of CPU ids: numbers ascend as ids do.
        let key = |cost: &Cost, p: &Placement| (cost.clone(), p.nodes.clone(), p.cpus.clone());
        let better = |(c, p): &(Cost, Placement)| key(&cost, &placement) < key(c, p);
        if self.best.as_ref().is_none_or(better) {
            self.best = Some((cost, placement));
        }
    }

    /// Every set of so many CPUs; with smt=isolate each of a core of its own.
    fn subsets(&self, of: &[usize], count: usize) -> Vec<Vec<usize>> {
        let mut sets = Vec::new();
        let alone = self.scene.is_isolate();
        let core = |cpu: usize| self.scene.cpus[cpu].core;
        let of: Vec<usize> = of
            .iter()
            .filter(|cpu| !alone || self.scene.is_free_of_denied(core(**cpu)))
            .copied()
            .collect();
        subsets(&of, count, &mut Vec::new(), &mut sets, &|begun, next| {
            !alone || begun.iter().all(|cpu| core(*cpu) != core(next))
        });
        sets
    }

    /// The usable CPUs of every set of L3s that has so many.
    fn unions_of_l3s(&self, usable: &[usize], count: usize) -> Vec<Vec<usize>> {
        let mut l3s: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for cpu in usable {
            l3s.entry(self.scene.cpus[*cpu].l3).or_default().push(*cpu);
        }
        unions(&l3s.into_values().collect::<Vec<_>>(), count)
    }
}

/// The area of the parts on the host nodes of some CPUs.
#[must_use]
pub fn area(scene: &Scene<'_>, parts: &[Part<'_>], nodes: &[Vec<usize>], cpus: &[usize]) -> Area {
    let here = |nodes: &Vec<usize>| {
        cpus.first()
            .is_some_and(|c| nodes.contains(&scene.cpus[*c].node))
    };
    let mut vcpus = 0;
    let mut mask = Vec::new();
    for (part, _) in parts.iter().zip(nodes).filter(|(_, nodes)| here(nodes)) {
        vcpus += part.count;
        mask.extend(mask_of(scene, cpus, part.count));
    }
    mask.sort_unstable();
    mask.dedup();
    Area {
        vcpus,
        cpus: cpus.to_vec(),
        mask,
    }
}

/// The unions of every choice of non-empty sets that have so many members together, ascending.
fn unions(sets: &[Vec<usize>], count: usize) -> Vec<Vec<usize>> {
    let sets: Vec<&Vec<usize>> = sets.iter().filter(|set| !set.is_empty()).collect();
    let mut unions = Vec::new();
    for choice in 1_usize..1 << sets.len() {
        let chosen = (0..sets.len()).filter(|i| choice >> i & 1 == 1);
        let mut union: Vec<usize> = chosen.flat_map(|i| sets[i].iter().copied()).collect();
        union.sort_unstable();
        if union.len() >= count {
            unions.push(union);
        }
    }
    unions
}

fn subsets(
    of: &[usize],
    count: usize,
    begun: &mut Vec<usize>,
    sets: &mut Vec<Vec<usize>>,
    may: &impl Fn(&[usize], usize) -> bool,
) {
    if count == 0 {
        sets.push(begun.clone());
        return;
    }
    for (i, next) in of.iter().enumerate() {
        if of.len() - i < count {
            break;
        }
        if may(begun, *next) {
            begun.push(*next);
            subsets(&of[i + 1..], count - 1, begun, sets, may);
            begun.pop();
        }
    }
}
