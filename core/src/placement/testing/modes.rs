//! What each mode gives, on the host of the RFC.

use rstest::rstest;

use super::{epyc, guest, hosts, made, masks, policy};
use crate::placement::*;

#[test]
fn none_sets_nothing() {
    let plan = made(&epyc(), &guest(1, 8), &policy(Mode::None));
    assert!(plan.vcpus.is_empty());
    assert_eq!(plan.threads, ThreadMasks::default());
}

#[rstest]
#[case::numa(
    Mode::Numa,
    4,
    2,
    "0 1 2 3",
    "0-3,16-19 0-3,16-19 4-7,20-23 4-7,20-23 8-11,24-27 8-11,24-27 12-15,28-31 12-15,28-31"
)]
#[case::l3(Mode::L3, 2, 2, "0 1", "0-1,16-17 0-1,16-17 4-5,20-21 4-5,20-21")]
#[case::one_to_one(Mode::OneToOne, 2, 2, "0 1", "2 3 4 5")]
#[case::shared(Mode::Shared, 1, 2, "0-3", "0-31 0-31")]
fn modes(
    #[case] mode: Mode,
    #[case] sockets: u32,
    #[case] cores: u32,
    #[case] at: &str,
    #[case] wanted: &str,
) {
    let plan = made(&epyc(), &guest(sockets, cores), &policy(mode));
    assert_eq!(hosts(&plan), at);
    assert_eq!(masks(&plan), wanted);
    assert!(plan.optimal);
    assert_eq!(plan.bound, None);
}

#[test]
fn l3s_of_the_boot_core_come_last_in_one_to_one() {
    let plan = made(&epyc(), &guest(1, 4), &policy(Mode::OneToOne));
    assert_eq!(masks(&plan), "4 5 6 7");
}
