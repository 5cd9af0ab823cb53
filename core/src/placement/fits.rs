//! Whether a guest fits at all, without looking for the best way.

use std::collections::BTreeSet;

use super::nodes::Task;
use super::problem::Problem;
use crate::policy::Mode;
use crate::sorted;

/// Whether there is a plan within the rules.
pub(super) fn fits(problem: &Problem<'_>) -> bool {
    let room = |n: usize| problem.index.nodes[n].room;
    match problem.policy.mode {
        Mode::None => return true,
        Mode::Shared => return !problem.usable.cpus.is_empty(),
        Mode::Numa | Mode::L3 | Mode::OneToOne => {}
    }
    if problem.spans() {
        return (0..problem.index.nodes.len()).map(room).sum::<usize>() >= problem.vcpus();
    }
    Task::new(problem).is_some_and(|task| task_fits(problem, &task, &room))
}

/// Whether all virtual nodes have a place where host nodes have `room`.
pub(super) fn task_fits(problem: &Problem<'_>, task: &Task, room: &dyn Fn(usize) -> usize) -> bool {
    let mut rooms = Vec::new();
    for n in 0..problem.index.nodes.len() {
        let there = task
            .fixed
            .get(&n)
            .map_or(0, |vnodes| Task::load(problem, n, vnodes).1);
        let Some(rest) = room(n).checked_sub(there) else {
            return false;
        };
        rooms.push(rest);
    }
    let mut sizes: Vec<usize> = task
        .free
        .iter()
        .map(|v| problem.vnodes[*v].size())
        .collect();
    sorted::sort_by(&mut sizes, |a, b| b.cmp(a));
    task.apart(problem, room) || pack(&sizes, rooms, &mut BTreeSet::new())
}

/// Whether rooms are too small for so many things of at least this size, or for all together.
pub(super) fn too_small(rooms: impl Iterator<Item = usize> + Clone, sizes: &[usize]) -> bool {
    let smallest = sizes.iter().min().copied().unwrap_or(0).max(1);
    let fitting: usize = rooms.clone().map(|room| room / smallest).sum();
    fitting < sizes.len() || rooms.sum::<usize>() < sizes.iter().sum()
}

/// Whether things of these sizes, the largest first, can be packed into rooms. `failed` are rooms that are known not to do for
/// what is left then: how much is left says how many things are.
fn pack(
    sizes: &[usize],
    mut rooms: Vec<usize>,
    failed: &mut BTreeSet<(usize, Vec<usize>)>,
) -> bool {
    let Some((size, rest)) = sizes.split_first() else {
        return true;
    };
    rooms.sort_unstable();
    if too_small(rooms.iter().copied(), sizes) || failed.contains(&(rest.len(), rooms.clone())) {
        return false;
    }
    for n in 0..rooms.len() {
        // of equal rooms one is enough
        if rooms[n] < *size || (n > 0 && rooms[n] == rooms[n - 1]) {
            continue;
        }
        let mut next = rooms.clone();
        next[n] -= size;
        if pack(rest, next, failed) {
            return true;
        }
    }
    failed.insert((rest.len(), rooms));
    false
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::exactly(&[6, 4, 4, 2], &[8, 8], true)]
    #[case::not_by_largest_first(&[5, 4, 3, 3, 3], &[9, 9], true)]
    #[case::enough_in_all_but_not_for_each(&[5, 5, 5], &[8, 7], false)]
    #[case::none(&[], &[], true)]
    fn packing(#[case] sizes: &[usize], #[case] rooms: &[usize], #[case] fits: bool) {
        assert_eq!(pack(sizes, rooms.to_vec(), &mut BTreeSet::new()), fits);
    }
}
