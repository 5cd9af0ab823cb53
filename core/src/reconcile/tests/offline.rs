//! CPUs that go offline, or that the cpuset takes away, and come back.

use super::*;

#[test]
fn only_the_vcpu_that_lost_its_cpu_moves_and_it_goes_back() {
    let mut world = World::new(2, &policy(Mode::OneToOne));
    world.run();
    world.offline = "3".into();
    world.settled = false;
    let early = world.run();
    assert_eq!(actions(&early), Vec::<String>::new());
    assert_eq!(states(&early), "right narrowed kept");
    assert_eq!(
        notes(&early),
        ["vcpu(s) 1 lost their cpus: nothing is changed until the online cpus have settled"]
    );
    world.settled = true;
    let late = world.run();
    assert_eq!(
        actions(&late),
        ["vcpu 1 0: StandIn"],
        "a core that nobody is on"
    );
    assert_eq!(
        notes(&late),
        [
            "vcpu 1 is on cpu(s) 0 of the same host node, since cpu(s) 3 is offline; it goes back when that returns"
        ]
    );
    let then = world.outcome();
    assert_eq!(
        (actions(&then), states(&then)),
        (vec![], "right narrowed kept".to_owned())
    );
    world.offline.clear();
    assert_eq!(actions(&world.run()), ["vcpu 1 3: Back"]);
    assert_eq!(world.masks(), "2 3");
}

#[test]
fn a_stand_in_stays_when_something_better_becomes_free() {
    let mut world = World::new(2, &policy(Mode::OneToOne));
    world.run();
    (world.offline, world.claimed) = ("3".into(), "0-1,8".into());
    assert_eq!(
        actions(&world.run()),
        ["vcpu 1 11: StandIn"],
        "the sibling of the lost CPU is on a free core"
    );
    world.claimed.clear();
    assert_eq!(actions(&world.run()), Vec::<String>::new());
    world.claimed = "11".into();
    assert_eq!(
        actions(&world.run()),
        ["vcpu 1 0: StandIn"],
        "somebody else came to hold it"
    );
}

#[test]
fn an_isolated_vcpu_goes_to_its_own_idle_sibling() {
    let mut world = World::new(
        2,
        &Policy {
            smt: Smt::Isolate,
            ..policy(Mode::OneToOne)
        },
    );
    world.run();
    assert_eq!(world.masks(), "2 3");
    world.offline = "3".into();
    assert_eq!(actions(&world.run()), ["vcpu 1 11: StandIn"]);
}

#[test]
fn where_no_cpu_is_free_the_mask_is_the_host_nodes() {
    let mut world = World::new(2, &policy(Mode::OneToOne));
    world.run();
    (world.offline, world.claimed) = ("3,11".into(), "0-1,8-10".into());
    let outcome = world.run();
    assert_eq!(actions(&outcome), ["vcpu 1 2: StandIn"]);
    assert_eq!(
        notes(&outcome),
        [
            "vcpu 1 shares cpu(s) 2 of its host node with others, since cpu(s) 3 is offline and no cpu there is free"
        ]
    );
    world.offline = "0-3,8-11".into();
    let none = world.run();
    assert_eq!(
        actions(&none),
        Vec::<String>::new(),
        "it never leaves its host node"
    );
    assert_eq!(states(&none), "narrowed narrowed kept");
    assert_eq!(
        notes(&none)[0],
        "vcpu 0 can't have cpu(s) 2, nor another cpu of the same host node: none is online and allowed; its mask is left as it is, and apply makes a new plan"
    );
    // Once they run, the kernel sends them elsewhere.
    world.thread(Tid(4002)).mask = set("0-15");
    let elsewhere = world.run();
    assert_eq!(actions(&elsewhere), Vec::<String>::new());
    assert_eq!(states(&elsewhere), "narrowed drifted kept");
}

#[test]
fn a_busy_vcpu_whose_cpu_went_away_has_all_cpus_until_it_is_put_in_place() {
    let mut world = World::new(2, &policy(Mode::OneToOne));
    world.run();
    world.offline = "3".into();
    world.thread(Tid(4002)).mask = set("0-2,4-15");
    assert_eq!(actions(&world.run()), ["vcpu 1 0: StandIn"]);
    world.offline.clear();
    world.thread(Tid(4002)).mask = set("0-15");
    world.run();
    assert_eq!(world.masks(), "2 3");
}

#[test]
fn offline_cpus_of_a_set_are_no_drift_and_are_taken_again() {
    let mut world = World::new(4, &policy(Mode::Numa));
    world.run();
    world.offline = "8-11".into();
    // The kernel still shows them of a thread that sleeps, and not of one that was set meanwhile.
    world.thread(Tid(4002)).mask = set("0-3");
    let outcome = world.run();
    assert_eq!(actions(&outcome), Vec::<String>::new());
    assert_eq!(states(&outcome), "narrowed narrowed narrowed narrowed kept");
    let lost = outcome.threads[0].narrowed.clone().unwrap();
    assert_eq!((lost.offline, lost.cpuset), (set("8-11"), set("")));
    world.offline.clear();
    assert_eq!(actions(&world.run()), ["vcpu 1 0-3,8-11: Back"]);
}

#[test]
fn an_l3_that_is_offline_gives_way_to_its_host_node() {
    let mut world = World::new(2, &policy(Mode::L3));
    world.run();
    assert_eq!(world.masks(), "0-1,8-9 0-1,8-9");
    world.offline = "0-1,8-9".into();
    let outcome = world.run();
    assert_eq!(
        notes(&outcome),
        [
            "virtual node 0 is on cpu(s) 0-3,8-11 of its host nodes, since none of cpu(s) 0-1,8-9 is online and allowed"
        ]
    );
    assert_eq!(world.masks(), "2-3,10-11 2-3,10-11");
    world.offline.clear();
    world.run();
    assert_eq!(world.masks(), "0-1,8-9 0-1,8-9");
}

#[test]
fn what_the_cpuset_takes_is_narrowed_and_set_again_when_it_is_given_back() {
    let mut world = World::new(2, &policy(Mode::OneToOne));
    world.run();
    world.allowed = Some(set("0-2"));
    // From 6.2 on a mask of which nothing is left becomes the whole cpuset.
    world.thread(Tid(4002)).mask = set("0-2");
    let outcome = world.run();
    assert_eq!(
        notes(&outcome),
        [
            "vcpu 1 is on cpu(s) 0 of the same host node, since cpu(s) 3 is not allowed by the cpuset of its cgroup; it goes \
          back when that returns"
        ]
    );
    assert_eq!(world.masks(), "2 0");
    world.allowed = None;
    assert_eq!(actions(&world.run()), ["vcpu 1 3: Back"]);
}

#[test]
fn a_stand_in_stays_while_the_online_cpus_settle_and_other_threads_stay_off_it() {
    let spare = Policy {
        emulator: Some(Place::Spare),
        ..policy(Mode::OneToOne)
    };
    let mut world = World::new(2, &spare);
    world.run();
    world.offline = "3".into();
    let stands_in = actions(&world.run());
    assert_eq!(stands_in[0], "vcpu 1 0: StandIn");
    world.settled = false;
    let outcome = world.run();
    assert_eq!(actions(&outcome), Vec::<String>::new());
    assert_eq!(states(&outcome), "right narrowed right");
}
