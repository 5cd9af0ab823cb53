//! Masks that follow the claims of others.

use rstest::rstest;

use super::*;

#[rstest]
#[case::unclaimed_part(Mode::Numa, 4, "0-1,8-9", "2-3,10-11")]
#[case::whole_area(Mode::Numa, 4, "0-2,8-10", "0-3,8-11")]
#[case::l3(Mode::L3, 2, "0", "1,8-9")]
#[case::shared(Mode::Shared, 4, "0-7", "8-15")]
fn masks_of_sets_follow_the_claims(
    #[case] mode: Mode,
    #[case] cores: u32,
    #[case] claimed: &str,
    #[case] mask: &str,
) {
    let mut world = World::new(cores, &policy(mode));
    world.run();
    let before = world.masks();
    world.claimed = claimed.to_owned();
    let followed = world.run();
    let now = vec![mask; cores as usize].join(" ");
    assert_eq!(world.masks(), now);
    // The first mask of a shared guest is what it has anyway: nothing was set then.
    let why = match mode {
        Mode::Shared => Why::New,
        _ => Why::Claims,
    };
    assert!(followed.actions.iter().all(|action| action.why == why));
    assert_eq!(world.outcome().actions, []);
    world.claimed.clear();
    world.run();
    assert_eq!(world.masks(), before, "the CPUs are won back");
}

#[test]
fn a_whole_area_is_told_with_the_cpus_of_others() {
    let mut world = World::new(4, &policy(Mode::Numa));
    world.claimed = "0-2,8-10".into();
    assert_eq!(
        notes(&world.outcome()),
        [
            "virtual node 0 has 4 vcpu(s) but only 2 cpu(s) that no guest holds one-to-one: its mask includes cpu(s) 0-2,8-10 \
          of others"
        ]
    );
}

#[rstest]
#[case::allow(Overlap::Allow, "0-3,8-11", "")]
#[case::deny(
    Overlap::Deny,
    "3,11",
    "virtual node 0 has 4 vcpu(s) on cpu(s) 3,11: overlap=deny leaves it no more"
)]
fn overlap_says_what_claims_mean(#[case] overlap: Overlap, #[case] mask: &str, #[case] note: &str) {
    let mut world = World::new(
        4,
        &Policy {
            overlap,
            ..policy(Mode::Numa)
        },
    );
    world.claimed = "0-2,8-10".into();
    let outcome = world.run();
    assert_eq!(world.masks(), [mask; 4].join(" "));
    assert_eq!(notes(&outcome).join(""), note);
}
