//! Among which host nodes a set is looked for, for a guest that may span them: those of each set of packages.

use std::collections::BTreeSet;

use super::problem::Problem;
use crate::id::PackageId;
use crate::sorted;

/// Host nodes among which a set is looked for, and how many packages beyond the first it covers.
pub(super) struct Among {
    /// Positions in the index.
    pub nodes: Vec<usize>,
    /// The item `packages`, for a set of several host nodes; `None`: it has to be counted.
    pub packages: Option<usize>,
}

/// The choice of a host node, at its position.
pub(super) const TAKE: usize = 0;

/// With more packages than this their sets are not gone through.
const PACKAGE_SETS: usize = 6;

impl Among {
    /// All host nodes, as if they were of one package: for bounds.
    pub(super) fn whole(problem: &Problem<'_>) -> Self {
        Self {
            nodes: (0..problem.index.nodes.len()).collect(),
            packages: Some(0),
        }
    }

    /// The sets of host nodes to be searched: those of each set of packages, few packages first.
    pub(super) fn all(problem: &Problem<'_>) -> Vec<Self> {
        let nodes = || problem.index.nodes.iter().enumerate();
        let packages: BTreeSet<PackageId> =
            sorted::set(nodes().flat_map(|(_, n)| n.packages.clone()));
        let packages: Vec<PackageId> = packages.into_iter().collect();
        if packages.len() < 2 || packages.len() > PACKAGE_SETS {
            let packages = if packages.len() < 2 { Some(0) } else { None };
            return vec![Self {
                nodes: nodes().map(|(n, _)| n).collect(),
                packages,
            }];
        }
        let mut sets: Vec<u32> = (1..1 << packages.len()).collect();
        sorted::sort_by_key(&mut sets, |set| (set.count_ones(), *set));
        let mut all: Vec<Self> = Vec::new();
        for set in sets {
            let inside = |p: &PackageId| packages.binary_search(p).is_ok_and(|i| set >> i & 1 == 1);
            let fitting = nodes().filter(|(_, node)| node.packages.iter().all(inside));
            let nodes: Vec<usize> = fitting.map(|(n, _)| n).collect();
            // a set that adds no host node to a smaller one only costs more
            if !nodes.is_empty() && all.iter().all(|one| one.nodes != nodes) {
                all.push(Self {
                    nodes,
                    packages: Some(set.count_ones() as usize - 1),
                });
            }
        }
        all
    }

    /// The host nodes of a row of choices.
    pub(super) fn chosen(&self, choices: &[usize]) -> Vec<usize> {
        let taken = self
            .nodes
            .iter()
            .zip(choices)
            .filter(|(_, choice)| **choice == TAKE);
        taken.map(|(n, _)| *n).collect()
    }
}
