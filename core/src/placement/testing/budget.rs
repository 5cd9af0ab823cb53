//! Where the search may stop.

use super::{explicit, guest, host, policy};
use crate::claims::Claims;
use crate::placement::problem::Problem;
use crate::placement::{Mode, make};

#[test]
fn a_search_that_stops_says_so_and_gives_a_bound() {
    // nine virtual nodes: the proof is not wanted at any price
    let mut host = host(12, 1, 2, 1);
    for (i, node) in host.nodes.iter_mut().enumerate() {
        for (j, distance) in node.distances.values_mut().enumerate() {
            *distance = if i == j {
                10
            } else {
                11 + u32::try_from((i * j * 7 + i + j) % 19).unwrap()
            };
        }
    }
    let (guest, claims, policy) = (guest(9, 2), Claims::default(), policy(Mode::Numa));
    let mut problem = Problem::new(&host, &guest, &claims, &policy, false);
    problem.patience = 1;
    let stopped = make::bare(&mut problem).unwrap();
    assert!(!stopped.optimal);
    let bound = stopped.bound.clone().unwrap();
    assert!(bound < stopped.cost);
    assert_eq!(
        make::bare(&mut problem).unwrap(),
        stopped,
        "the same each time"
    );
    problem.patience = u64::MAX;
    let proved = make::bare(&mut problem).unwrap();
    assert!(proved.optimal && proved.bound.is_none());
    assert!(bound <= proved.cost && proved.cost <= stopped.cost);
}

#[test]
fn a_place_is_found_however_short_the_search() {
    // rooms of 5, 4 and 3; the largest first is the only way
    let mut host = host(3, 1, 5, 1);
    host.reserved = "5,10-11".parse().unwrap();
    let guest = explicit(&[(1, None), (2, None), (2, None), (3, None), (4, None)]);
    let (claims, policy) = (Claims::default(), policy(Mode::OneToOne));
    let mut problem = Problem::new(&host, &guest, &claims, &policy, false);
    problem.patience = 0;
    assert!(make::bare(&mut problem).is_some());
}
