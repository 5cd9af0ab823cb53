//! The masks that are wanted now: those of the plan, as the claims of others and the CPUs that are online leave them.

use std::collections::{BTreeMap, BTreeSet};

use super::threads::Seen;
use super::{Around, Note, Now};
use crate::claims::{KeptNode, KeptVcpu};
use crate::id::{CoreId, CpuId, VcpuId};
use crate::idset::{CpuSet, VcpuSet};
use crate::placement::ThreadMasks;
use crate::policy::{Mode, Overlap};
use crate::sorted;
use crate::thread::ThreadKind;

/// The masks that are wanted now.
#[derive(Debug, Default)]
pub(super) struct Masks {
    /// Of each plugged vCPU that is to have one.
    pub(super) vcpus: BTreeMap<VcpuId, Wanted>,
    /// Of the other threads.
    pub(super) threads: ThreadMasks,
}

/// A mask that is wanted now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) cpus: CpuSet,
    /// It is not what was planned, because that is offline or not allowed.
    pub(super) stand_in: bool,
}

impl Masks {
    pub(super) fn of(
        around: Around<'_>,
        now: Now<'_>,
        found: &[Seen<'_>],
        notes: &mut Vec<Note>,
    ) -> Self {
        let plan = &now.entry.plan;
        let mut maker = Maker::new(around, now, found);
        match plan.mode {
            Mode::None => {}
            Mode::OneToOne => maker.one_to_one(notes),
            Mode::Numa | Mode::L3 | Mode::Shared => {
                for node in &plan.virtual_nodes {
                    maker.follow(node, notes);
                }
            }
        }
        let spare = |mask: &Option<CpuSet>, spare: bool| {
            let mask = mask.as_ref()?;
            Some(maker.spare(mask, spare))
        };
        Self {
            threads: ThreadMasks {
                emulator: spare(&plan.threads.emulator, plan.spare.emulator),
                iothreads: spare(&plan.threads.iothreads, plan.spare.iothreads),
                vhost: spare(&plan.threads.vhost, plan.spare.vhost),
            },
            vcpus: maker.vcpus,
        }
    }
}

struct Maker<'a> {
    around: Around<'a>,
    now: Now<'a>,
    /// Online and allowed.
    usable: CpuSet,
    /// What others hold one-to-one; none for overlap=allow.
    others: CpuSet,
    /// The masks of the plugged vCPUs' threads.
    actual: BTreeMap<VcpuId, &'a CpuSet>,
    vcpus: BTreeMap<VcpuId, Wanted>,
}

impl<'a> Maker<'a> {
    fn new(around: Around<'a>, now: Now<'a>, found: &[Seen<'a>]) -> Self {
        let online = around.host.online();
        let vcpu = |seen: &Seen<'a>| match &seen.kind {
            ThreadKind::Vcpu { vcpu } => Some((*vcpu, seen.mask)),
            _ => None,
        };
        Self {
            usable: match now.allowed {
                Some(allowed) => online.intersection(allowed),
                None => online,
            },
            others: match now.entry.plan.overlap {
                Overlap::Allow => CpuSet::new(),
                Overlap::Avoid | Overlap::Deny => around.claims.claimed_by_others(&now.entry.guest),
            },
            actual: sorted::map(found.iter().filter_map(vcpu)),
            vcpus: BTreeMap::new(),
            around,
            now,
        }
    }

    /// The mask of a virtual node with an area: its unclaimed part if that is large enough, else all of it.
    fn follow(&mut self, node: &KeptNode, notes: &mut Vec<Note>) {
        let (id, vcpus) = (node.placed.virtual_node, &node.placed.vcpus);
        let plugged: Vec<VcpuId> = vcpus
            .iter()
            .filter(|vcpu| self.actual.contains_key(vcpu))
            .collect();
        if plugged.is_empty() {
            return;
        }
        // Offline CPUs stay in the mask: the kernel hides them, and has them again when they return.
        let lost = self.usable.is_disjoint(&node.area);
        let area = if lost { &node.node } else { &node.area };
        if self.usable.is_disjoint(area) {
            notes.push(Note::NothingLeft {
                what: format!("virtual node {id}"),
                planned: node.area.clone(),
            });
            return;
        }
        if lost && !self.around.settled {
            notes.push(Note::Unsettled {
                vcpus: plugged.into_iter().collect(),
            });
            return;
        }
        let unclaimed = area.difference(&self.others);
        let free = unclaimed.common(&self.usable);
        let deny = self.now.entry.plan.overlap == Overlap::Deny && free > 0;
        let cpus = match free >= vcpus.len() || deny {
            true => unclaimed,
            false => area.clone(),
        };
        if lost {
            notes.push(Note::OutOfArea {
                virtual_node: id,
                planned: node.area.clone(),
                cpus: cpus.clone(),
            });
        }
        let foreign = cpus.intersection(&self.others);
        if !foreign.is_empty() {
            notes.push(Note::WholeArea {
                virtual_node: id,
                vcpus: vcpus.len(),
                unclaimed: free,
                cpus: foreign,
            });
        } else if free < vcpus.len() && deny {
            notes.push(Note::FewCpus {
                virtual_node: id,
                vcpus: vcpus.len(),
                cpus: cpus.intersection(&self.usable),
            });
        }
        for vcpu in plugged {
            let cpus = cpus.clone();
            self.vcpus.insert(
                vcpu,
                Wanted {
                    cpus,
                    stand_in: lost,
                },
            );
        }
    }

    /// Each vCPU has the CPU of the plan; only those whose CPU is gone get another one of the same host node.
    fn one_to_one(&mut self, notes: &mut Vec<Note>) {
        let mut lost: Vec<&'a KeptVcpu> = Vec::new();
        let entry = self.now.entry;
        for kept in &entry.plan.vcpus {
            let placed = &kept.placed;
            if !self.actual.contains_key(&placed.vcpu) {
                continue;
            }
            if placed.cpus.is_disjoint(&self.usable) {
                lost.push(kept);
            } else {
                let cpus = placed.cpus.clone();
                self.give(placed.vcpu, cpus, false);
            }
        }
        if lost.is_empty() {
            return;
        }
        // What stands in already goes on doing so, whatever else has become free and whether or not all has settled: no vCPU
        // moves without need, and the guest's other threads stay off its CPU.
        let mut taken = self.own();
        let mut left = Vec::new();
        for kept in lost {
            let vcpu = kept.placed.vcpu;
            let has = self.actual[&vcpu];
            let stays = has.len() == 1
                && has.is_subset(&self.pool(kept))
                && has.is_disjoint(&taken)
                && has.is_disjoint(&self.others);
            if stays {
                taken = taken.union(has);
                self.give(vcpu, has.clone(), true);
            } else {
                left.push(kept);
            }
        }
        if !self.around.settled && !left.is_empty() {
            let vcpus: VcpuSet = left.iter().map(|kept| kept.placed.vcpu).collect();
            notes.push(Note::Unsettled { vcpus });
            return;
        }
        for kept in left {
            if let Some(cpu) = self.choose(kept, &taken) {
                taken.insert(cpu);
                self.give(kept.placed.vcpu, [cpu].into_iter().collect(), true);
            }
        }
        for kept in &entry.plan.vcpus {
            self.tell(kept, notes);
        }
    }

    /// Says what stands in for a vCPU's CPU; where none is free, gives it those of its host node.
    fn tell(&mut self, kept: &KeptVcpu, notes: &mut Vec<Note>) {
        let vcpu = kept.placed.vcpu;
        let planned = kept.placed.cpus.clone();
        let offline = !planned.is_subset(&self.around.host.online());
        match self.vcpus.get(&vcpu) {
            Some(Wanted {
                stand_in: false, ..
            }) => {}
            Some(wanted) => notes.push(Note::StandIn {
                vcpu,
                planned,
                cpus: wanted.cpus.clone(),
                offline,
            }),
            None if !self.actual.contains_key(&vcpu) => {}
            None => {
                let pool = self.pool(kept);
                let unclaimed = pool.difference(&self.others);
                let cpus = if unclaimed.is_empty() {
                    pool
                } else {
                    unclaimed
                };
                if cpus.is_empty() {
                    notes.push(Note::NothingLeft {
                        what: format!("vcpu {vcpu}"),
                        planned,
                    });
                    return;
                }
                notes.push(Note::Shares {
                    vcpu,
                    planned,
                    cpus: cpus.clone(),
                    offline,
                });
                self.give(vcpu, cpus, true);
            }
        }
    }

    fn give(&mut self, vcpu: VcpuId, cpus: CpuSet, stand_in: bool) {
        self.vcpus.insert(vcpu, Wanted { cpus, stand_in });
    }

    /// What the guest's vCPUs that kept their CPU hold.
    fn own(&self) -> CpuSet {
        let kept = self.now.entry.plan.vcpus.iter();
        let kept = kept.filter(|kept| self.vcpus.contains_key(&kept.placed.vcpu));
        kept.fold(CpuSet::new(), |all, kept| {
            all.union(&kept.placed.cpus).union(&kept.claims)
        })
    }

    /// The usable CPUs of the host node of a vCPU.
    fn pool(&self, kept: &KeptVcpu) -> CpuSet {
        let node = self.now.entry.plan.virtual_node(kept.placed.virtual_node);
        let hosts = kept.placed.host_nodes.iter();
        let there = hosts
            .filter_map(|id| self.around.host.node(id))
            .fold(CpuSet::new(), |all, node| all.union(&node.cpus));
        match node {
            Some(node) => there.intersection(&node.node).intersection(&self.usable),
            None => there.intersection(&self.usable),
        }
    }

    /// Another CPU for a vCPU that lost its own. Compared in this order:
    /// 1. one of its own idle siblings (smt=isolate)
    /// 2. one that is not planned for a vCPU that is not plugged
    /// 3. one on a core that nobody else has a CPU of
    /// 4. the lowest
    fn choose(&self, kept: &KeptVcpu, taken: &CpuSet) -> Option<CpuId> {
        let pool = self.pool(kept).difference(taken).difference(&self.others);
        let host = self.around.host;
        let core = |cpu: CpuId| host.cpu(cpu).map(|cpu| cpu.core);
        let full: BTreeSet<CoreId> = sorted::set(self.others.union(taken).iter().filter_map(core));
        let planned = self.now.entry.plan.vcpus.iter();
        let unplugged = planned.filter(|kept| !self.actual.contains_key(&kept.placed.vcpu));
        let unplugged = unplugged.fold(CpuSet::new(), |all, kept| all.union(&kept.placed.cpus));
        pool.iter().min_by_key(|cpu| {
            (
                !kept.claims.contains(*cpu),
                unplugged.contains(*cpu),
                core(*cpu).is_none_or(|core| full.contains(&core)),
                *cpu,
            )
        })
    }

    /// The mask of other threads: on spare CPUs they give way to one-to-one guests that came later, and to what stands in.
    fn spare(&self, mask: &CpuSet, spare: bool) -> CpuSet {
        if !spare {
            return mask.clone();
        }
        let reserved = &self.around.host.reserved;
        let stand_ins = self.vcpus.values().filter(|wanted| wanted.stand_in);
        let away = stand_ins.fold(self.others.difference(reserved), |all, wanted| {
            all.union(&wanted.cpus)
        });
        let left = mask.difference(&away);
        if left.is_disjoint(&self.usable) {
            mask.clone()
        } else {
            left
        }
    }
}
