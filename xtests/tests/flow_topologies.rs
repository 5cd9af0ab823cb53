//! The whole flow on every topology: each mode for each guest of a table, written, read, planned, asked, set, read back, undone.

use numapin_core::policy::{Mode, Policy, Smt};
use numapin_sysfs_sim::topologies;
use numapin_xtests::flow::Broken;
use numapin_xtests::flow::guests::POLICIES;
use numapin_xtests::flow::lab::Lab;
use numapin_xtests::flow::walk::every_guest;
use rstest::rstest;

/// Each topology is a test of its own, so that they run side by side; the first one compares with what there is.
const TOPOLOGIES: [&str; 13] = [
    "epyc7351p",
    "epyc7351p-nosmt",
    "epyc7451-2s",
    "epyc7713-2s-nps1",
    "epyc7713-2s-nps4",
    "hybrid-i7-1370p",
    "kunpeng920-2s",
    "lab-epyc2x32-nps2",
    "lab-memless",
    "lab-xeon2x16ht-interleaved",
    "xeon6130-2s-nosmt",
    "xeon6230-2s",
    "xeon6230-2s-snc2",
];

#[test]
fn no_topology_and_no_mode_is_left_out() -> Result<(), Broken> {
    assert!(topologies::names().eq(TOPOLOGIES));
    let policies: Result<Vec<Policy>, _> = POLICIES.iter().map(|text| text.parse()).collect();
    let policies = policies?;
    let mode = |mode: &Mode| policies.iter().any(|policy| policy.mode == *mode);
    assert!(Mode::ALL.iter().all(mode));
    let smt = |smt: &Smt| policies.iter().any(|policy| policy.smt == *smt);
    assert!(Smt::ALL.iter().all(smt));
    Ok(())
}

#[rstest]
fn every_guest_in_every_mode(
    #[values(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)] topology: usize,
) -> Result<(), Broken> {
    every_guest(&Lab::named(TOPOLOGIES[topology])?, u32::MAX, &POLICIES)
}
