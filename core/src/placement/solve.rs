//! The whole search: the scale of costs, then the best host nodes, then the best CPUs on them.

use super::among::Among;
use super::cost::{Cost, Item, Value};
use super::cpus::{Cores, Prices};
use super::inner::{self, AreaTable, Inner};
use super::nodes::Task;
use super::number::{self, Number};
use super::problem::Problem;
use super::scale::{Limits, Scale};
use super::search::{self, Budget, Space};
use super::span::{Span, Split};
use super::tables::Tables;
use super::wide::Wide;
use crate::idset::CpuSet;
use crate::policy::Mode;
use crate::sorted;

/// Where a guest goes.
pub(super) struct Solution {
    /// The host nodes of each virtual node, as positions in the index.
    pub hosts: Vec<Vec<usize>>,
    /// The CPUs of each host node: its area (numa, l3), or those taken (one-to-one). By position in the index.
    pub cpus: Vec<(Vec<usize>, CpuSet)>,
    /// What it costs.
    pub cost: Cost,
    /// Nothing costs less than this; `None`: nothing costs less than `cost`.
    pub bound: Option<Cost>,
}

/// How wide the numbers are that costs are packed into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Narrow,
    Wide,
}

/// The best solution; `None`: there is none within the rules.
pub(super) fn solve(problem: &Problem<'_>) -> Option<Solution> {
    solve_with(problem, narrowest)
}

fn narrowest(limits: &Limits) -> Width {
    match limits.bits() <= number::ROOM {
        true => Width::Narrow,
        false => Width::Wide,
    }
}

fn solve_with(problem: &Problem<'_>, width: impl Fn(&Limits) -> Width) -> Option<Solution> {
    if problem.index.nodes.is_empty() || problem.vnodes.is_empty() {
        return None;
    }
    let mut limits = problem.limits();
    if problem.spans() {
        return match width(&limits) {
            Width::Narrow => span::<i128>(problem, &Scale::new(limits)),
            Width::Wide => span::<Wide>(problem, &Scale::new(limits)),
        };
    }
    let task = Task::new(problem)?;
    let areas = match problem.policy.mode {
        Mode::OneToOne => AreaTable::new(),
        _ => inner::areas(problem, &task.loads(problem), &mut limits),
    };
    match width(&limits) {
        Width::Narrow => several::<i128>(problem, &task, &areas, &Scale::new(limits)),
        Width::Wide => several::<Wide>(problem, &task, &areas, &Scale::new(limits)),
    }
}

/// The sets of kinds of core to be tried in one-to-one: `core_kinds` counts kinds, which does not add up over cores, so each set
/// is a search of its own, small sets first. A set of which one kind is not used costs more than the set without it, which is
/// tried as well.
fn kinds(problem: &Problem<'_>) -> Vec<Vec<u32>> {
    let all = &problem.index.kinds;
    if all.len() <= 1 || problem.policy.mode != Mode::OneToOne {
        return vec![all.clone()];
    }
    let sets = 1..1_u64 << all.len().min(12);
    let member = |set: u64| move |(i, _): &(usize, &u32)| set >> (*i).min(11) & 1 == 1;
    let of = |set: u64| {
        all.iter()
            .enumerate()
            .filter(member(set))
            .map(|(_, kind)| *kind)
            .collect()
    };
    let mut sets: Vec<Vec<u32>> = sets.map(of).collect();
    sorted::sort_by_key(&mut sets, Vec::len);
    sets
}

/// The best set of host nodes for a guest that may span them, and a bound where that is not proved.
struct Set<W> {
    cost: Split<W>,
    nodes: Vec<usize>,
    bound: Option<Split<W>>,
}

fn set<W: Number>(
    problem: &Problem<'_>,
    scale: &Scale<W>,
    mut tables: Option<Tables<W>>,
) -> Option<Set<W>> {
    let mut budget = Budget(problem.budget());
    let mut bound: Option<Split<W>> = None;
    let whole = Among::whole(problem);
    let distances = problem.distances();
    let mut space = Span::new(problem, scale, tables.as_mut(), &whole, &distances);
    let best_single = space.single();
    let mut best: Option<(Split<W>, Vec<usize>)> = best_single;
    let hopeless = |space: &mut Span<'_, W>, best: &Option<(Split<W>, Vec<usize>)>| {
        let bound = space.bound();
        bound.is_none_or(|bound| best.as_ref().is_some_and(|(cost, _)| bound > *cost))
    };
    if hopeless(&mut space, &best) {
        let (cost, nodes) = best?;
        return Some(Set { cost, nodes, bound });
    }
    for among in Among::all(problem) {
        let ceiling = best.as_ref().map(|(cost, _)| cost);
        let mut space = Span::new(problem, scale, tables.as_mut(), &among, &distances);
        if hopeless(&mut space, &best) {
            continue;
        }
        let found = search::cheapest(&mut space, &mut budget, ceiling);
        let low = [bound, found.bound].into_iter().flatten().min();
        bound = low;
        // of equal costs, the lowest host nodes
        let new = found
            .best
            .map(|(cost, choices)| (cost, among.chosen(&choices)));
        best = [best, new].into_iter().flatten().min();
    }
    let (cost, nodes) = best?;
    let bound = bound.filter(|bound| *bound < cost);
    Some(Set { cost, nodes, bound })
}

fn span<W: Number>(problem: &Problem<'_>, scale: &Scale<W>) -> Option<Solution> {
    let vcpus = problem.vcpus();
    if problem.policy.mode != Mode::OneToOne {
        let Set { cost, nodes, bound } = set(problem, scale, None)?;
        let area = problem.areas.best(&nodes, vcpus, vcpus);
        let unpack = |(before, load, behind): &Split<W>| {
            let load = Value::Fractions(vec![load.clone()]);
            scale.unpack(&before.plus(behind)).with(Item::Load, load)
        };
        return Some(Solution {
            cost: unpack(&cost),
            bound: bound.as_ref().map(unpack),
            cpus: vec![(nodes.clone(), area.cpus)],
            hosts: vec![nodes],
        });
    }
    let prices = Prices::new(scale, &problem.index, problem.policy.smt);
    let mut best: Option<Candidate<W>> = None;
    for kinds in kinds(problem) {
        let accepts = |kind: u32| kinds.contains(&kind);
        let extra = scale.of(Item::CoreKinds, kinds.len() as u64 - 1);
        if best.as_ref().is_some_and(|best| best.cost < extra) {
            break;
        }
        let count = problem.index.nodes.len();
        let take = |nodes: &[usize]| {
            let nodes = nodes.iter().map(|n| &problem.index.nodes[*n]);
            Cores::exactly(&prices, nodes, &accepts, vcpus).take()
        };
        // on a single host node one number is all that is asked
        let only = if count == 1 { take(&[0]) } else { None };
        let inner = match (count, &only) {
            (1, Some((cost, _))) => {
                let mut table = vec![W::nothing(); vcpus + 1];
                table[vcpus] = cost.clone();
                Inner::Cpus(vec![table])
            }
            (1, None) => continue,
            _ => Inner::of_cpus(problem, &prices, &accepts, &|_| vcpus),
        };
        let tables = Tables::new(&inner, count, vcpus);
        let Some(Set { cost, nodes, bound }) = set(problem, scale, Some(tables)) else {
            continue;
        };
        let whole = |(before, _, behind): &Split<W>| before.plus(behind).plus(&extra);
        let (_, cpus) = only.or_else(|| take(&nodes))?;
        let candidate = Candidate {
            cost: whole(&cost),
            bound: bound.as_ref().map(whole),
            cpus: vec![(nodes.clone(), cpus)],
            hosts: vec![nodes],
        };
        Candidate::keep(&mut best, candidate);
    }
    best.map(|best| best.solution(scale))
}

fn several<W: Number>(
    problem: &Problem<'_>,
    task: &Task,
    areas: &AreaTable,
    scale: &Scale<W>,
) -> Option<Solution> {
    if problem.policy.mode != Mode::OneToOne {
        let inner = Inner::of_areas(areas, scale);
        let placed = task.place(problem, scale, &inner)?;
        let cpus = loads(&placed.hosts).into_iter().map(|(n, vnodes)| {
            let area = areas.get(&Task::load(problem, n, &vnodes));
            (
                vec![n],
                area.map(|area| area.cpus.clone()).unwrap_or_default(),
            )
        });
        return Some(Solution {
            cpus: cpus.collect(),
            hosts: placed.hosts.iter().map(|n| vec![*n]).collect(),
            cost: scale.unpack(&placed.cost),
            bound: placed.bound.map(|bound| scale.unpack(&bound)),
        });
    }
    let prices = Prices::new(scale, &problem.index, problem.policy.smt);
    let most = task.loads(problem).into_iter().fold(
        vec![0; problem.index.nodes.len()],
        |mut most, load| {
            most[load.0] = load.1.max(most[load.0]);
            most
        },
    );
    let mut best: Option<Candidate<W>> = None;
    for kinds in kinds(problem) {
        let accepts = |kind: u32| kinds.contains(&kind);
        let extra = scale.of(Item::CoreKinds, kinds.len() as u64 - 1);
        if best.as_ref().is_some_and(|best| best.cost < extra) {
            break;
        }
        let inner = Inner::of_cpus(problem, &prices, &accepts, &|n| most[n]);
        let Some(placed) = task.place(problem, scale, &inner) else {
            continue;
        };
        let mut cpus = Vec::new();
        for (n, vnodes) in loads(&placed.hosts) {
            let (_, vcpus, _) = Task::load(problem, n, &vnodes);
            let node = std::iter::once(&problem.index.nodes[n]);
            let (_, taken) = Cores::exactly(&prices, node, &accepts, vcpus).take()?;
            cpus.push((vec![n], taken));
        }
        let candidate = Candidate {
            cost: placed.cost.plus(&extra),
            bound: placed.bound.map(|bound| bound.plus(&extra)),
            cpus,
            hosts: placed.hosts.iter().map(|n| vec![*n]).collect(),
        };
        Candidate::keep(&mut best, candidate);
    }
    best.map(|best| best.solution(scale))
}

/// The virtual nodes on each host node that is used.
fn loads(hosts: &[usize]) -> Vec<(usize, Vec<usize>)> {
    let mut used: Vec<usize> = hosts.to_vec();
    used.sort_unstable();
    used.dedup();
    let on = |n: usize| (0..hosts.len()).filter(|v| hosts[*v] == n).collect();
    used.into_iter().map(|n| (n, on(n))).collect()
}

/// A result for one set of kinds.
struct Candidate<W> {
    cost: W,
    bound: Option<W>,
    hosts: Vec<Vec<usize>>,
    cpus: Vec<(Vec<usize>, CpuSet)>,
}

impl<W: Number> Candidate<W> {
    /// Keeps the better one: the lower cost, then the lowest host nodes in order of virtual nodes, then the lowest CPUs.
    fn keep(best: &mut Option<Self>, new: Self) {
        let Some(old) = best else {
            *best = Some(new);
            return;
        };
        let bound = |c: &Self| c.bound.clone().unwrap_or_else(|| c.cost.clone());
        let bounded = old.bound.is_some() || new.bound.is_some();
        let low = bound(old).min(bound(&new));
        let key = |c: &Self| (c.cost.clone(), c.hosts.clone(), c.all());
        if key(&new) < key(old) {
            *old = new;
        }
        old.bound = (bounded && low < old.cost).then_some(low);
    }

    fn all(&self) -> CpuSet {
        self.cpus
            .iter()
            .fold(CpuSet::new(), |all, (_, cpus)| all.union(cpus))
    }

    fn solution(self, scale: &Scale<W>) -> Solution {
        Solution {
            cost: scale.unpack(&self.cost),
            bound: self.bound.map(|bound| scale.unpack(&bound)),
            hosts: self.hosts,
            cpus: self.cpus,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::guest::Guest;
    use crate::placement::testing::{claims, explicit, guest, host, pinned};
    use crate::policy::{Overlap, Policy, Smt};

    fn bits(mask: u32) -> String {
        let set = (0..32).filter(|i| mask >> i & 1 == 1).map(crate::id::CpuId);
        set.collect::<CpuSet>().to_string()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
        #[test]
        fn numbers_of_both_widths_find_the_same(
            sizes in prop::collection::vec((1_u32..7, prop::option::weighted(0.2, 0_u32..4)), 1..6),
            one in 0_u32..20,
            held in (any::<u32>(), any::<u32>()),
            crowd in prop::collection::vec((any::<u32>(), 1_u32..9), 0..6),
            mode in 0_usize..4,
            smt in 0_usize..4,
            overlap in 0_usize..3,
        ) {
            let host = host(4, 2, 2, 2);
            let guest: Guest = if one > 0 && one < 15 { guest(1, one) } else { explicit(&sizes) };
            let mut claims = claims(&bits(held.0 & held.1));
            for (mask, vcpus) in crowd {
                claims = pinned(claims, &bits(mask | 3), vcpus);
            }
            let policy = Policy {
                mode: [Mode::OneToOne, Mode::OneToOne, Mode::Numa, Mode::L3][mode],
                smt: Smt::ALL[smt],
                overlap: Overlap::ALL[overlap],
                ..Policy::default()
            };
            let problem = Problem::new(&host, &guest, &claims, &policy, false);
            let found = |width| {
                let found = solve_with(&problem, |_| width);
                found.map(|s| (s.cost, s.hosts, s.cpus, s.bound))
            };
            let narrow = found(Width::Narrow);
            prop_assert_eq!(&found(Width::Wide), &narrow);
        }
    }

    #[test]
    fn the_numbers_are_as_wide_as_the_costs_need() {
        let host = host(4, 4, 8, 2);
        let guest = guest(1, 8);
        let policy = Policy {
            mode: Mode::OneToOne,
            ..Policy::default()
        };
        let width = |masks: u32| {
            let mut claims = claims("0");
            for last in 1..=masks {
                claims = pinned(claims, &format!("0-{last}"), 1);
            }
            narrowest(&Problem::new(&host, &guest, &claims, &policy, false).limits())
        };
        assert_eq!(width(0), Width::Narrow);
        assert_eq!(width(60), Width::Wide);
    }
}
