//! Where the guest's other threads go.

use rstest::rstest;

use super::{claims, epyc, guest, host, made, masks, one_to_one, policy};
use crate::placement::*;
use crate::policy::{Overlap, Place};

fn shown(mask: Option<&CpuSet>) -> String {
    mask.map_or_else(|| String::from("kept"), ToString::to_string)
}

fn placed(policy: Policy, place: Place) -> Policy {
    Policy {
        emulator: Some(place),
        ..policy
    }
}

#[rstest]
#[case::by_default(policy(Mode::OneToOne), "0-1,4,6-7")]
#[case::kept(placed(policy(Mode::OneToOne), Place::Keep), "kept")]
#[case::on_the_node(placed(policy(Mode::OneToOne), Place::Node), "2-7")]
#[case::isolated_siblings_stay_idle(one_to_one(Smt::Isolate, Overlap::Avoid), "0,4")]
#[case::set_modes_keep(policy(Mode::Numa), "kept")]
#[case::spare_of_a_set_mode(placed(policy(Mode::Numa), Place::Spare), "0-7")]
#[case::none(placed(policy(Mode::None), Place::Spare), "kept")]
fn the_mask_of_the_emulator(#[case] policy: Policy, #[case] wanted: &str) {
    // cores 0,4 and 1,5 are half reserved; a core for each comes before whole cores: the three vCPUs are on 2, 3 and 5
    let mut host = host(1, 1, 4, 2);
    host.reserved = "0-1".parse().unwrap();
    let plan = made(&host, &guest(1, 3), &policy);
    assert_eq!(
        shown(plan.threads.emulator.as_ref()),
        wanted,
        "{}",
        masks(&plan)
    );
}

#[test]
fn spare_cpus_are_reserved_or_unclaimed_never_isolated_and_within_the_cpuset() {
    let mut host = epyc();
    host.reserved = "4".parse().unwrap();
    host.isolated = "23".parse().unwrap();
    host.allowed = Some("4-7,20-23".parse().unwrap());
    let guest = guest(1, 2)
        .changed(|g| g.affinity = Some("4-6".parse().unwrap()))
        .unwrap();
    let plan = plan(&host, &guest, &claims("20"), &policy(Mode::OneToOne)).unwrap();
    assert_eq!(plan.claims.to_string(), "5-6");
    for mask in [
        &plan.threads.emulator,
        &plan.threads.iothreads,
        &plan.threads.vhost,
    ] {
        assert_eq!(shown(mask.as_ref()), "4,7,21-22");
    }
}

#[test]
fn with_fewer_than_two_spare_cpus_threads_are_left_by_default() {
    let small = host(1, 1, 3, 1);
    assert_eq!(
        made(&small, &guest(1, 2), &policy(Mode::OneToOne)).threads,
        ThreadMasks::default()
    );
    let asked = placed(policy(Mode::OneToOne), Place::Spare);
    assert_eq!(
        shown(made(&small, &guest(1, 2), &asked).threads.emulator.as_ref()),
        "0"
    );
    let plan = made(&small, &guest(1, 3), &asked);
    assert_eq!(plan.threads.emulator, None);
    let told = plan
        .notes
        .iter()
        .any(|note| matches!(note, Note::NothingSpare { threads, .. } if threads == "emulator"));
    assert!(told, "{:?}", plan.notes);
}
