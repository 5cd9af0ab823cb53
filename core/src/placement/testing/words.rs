//! What is said: notes, why each host node, why there is no plan and what would mend it.

use rstest::rstest;

use super::{claims, epyc, explicit, guest, host, made, one_to_one, pinned, policy};
use crate::guest::{Device, Running};
use crate::host::NodeMemory;
use crate::id::NodeId;
use crate::placement::explain::{Against, Reason};
use crate::placement::*;
use crate::policy::{Isolated, Kind, Overlap};

fn change(host: &Host, guest: &Guest, claims: &Claims, policy: &Policy) -> String {
    let refused = plan(host, guest, claims, policy).unwrap_err();
    let text = refused.list[0].to_string();
    let (_, change) = text
        .split_once("; it fits with ")
        .unwrap_or(("", "nothing"));
    change.to_owned()
}

fn within(guest: &Guest, affinity: &str) -> Guest {
    guest
        .changed(|g| g.affinity = Some(affinity.parse().unwrap()))
        .unwrap()
}

#[rstest]
#[case::larger_than_the_host(guest(1, 33), "no more than 32 vcpu(s) in virtual node 0")]
#[case::other_node(explicit(&[(4, Some(0)), (6, Some(0))]), "hostnodes=1 for virtual node 0")]
#[case::absent_node(explicit(&[(4, Some(7))]), "hostnodes=0 for virtual node 0")]
#[case::larger_than_nodes(explicit(&[(12, None), (4, None)]), "numa: 1 with sockets: 2 and cores: 8")]
#[case::affinity(within(&guest(1, 6), "0-3"), "an affinity with 2 more cpu(s) of host node 0, for example 16-17")]
#[case::named_for_nothing(within(&explicit(&[(6, Some(2))]), "0-10"), "no hostnodes for virtual node 0")]
fn the_smallest_change_of_the_guest(#[case] guest: Guest, #[case] wanted: &str) {
    assert_eq!(
        change(&epyc(), &guest, &Claims::default(), &policy(Mode::OneToOne)),
        wanted
    );
}

#[test]
fn the_smallest_change_of_the_policy_or_of_others() {
    let epyc = epyc();
    let none = Claims::default();
    let isolate = one_to_one(Smt::Isolate, Overlap::Avoid);
    assert_eq!(
        change(&epyc, &guest(1, 20), &none, &isolate),
        "smt=spread in the policy"
    );
    let deny = one_to_one(Smt::Spread, Overlap::Deny);
    assert_eq!(
        change(&epyc, &guest(1, 20), &claims("0-15"), &deny),
        "overlap=avoid in the policy"
    );
    let mut isolated = epyc.clone();
    isolated.isolated = "4-31".parse().unwrap();
    let avoid = policy(Mode::OneToOne);
    assert_eq!(
        change(&isolated, &guest(1, 8), &none, &avoid),
        "isolated=allow in the policy"
    );
    let mut hybrid = host(1, 1, 4, 1);
    for cpu in &mut hybrid.cpus {
        cpu.kind = Some(cpu.id.0 % 2);
    }
    let fast = Policy {
        kind: Kind::Performance,
        ..policy(Mode::Numa)
    };
    assert_eq!(
        change(&hybrid, &guest(1, 3), &none, &fast),
        "kind=any in the policy"
    );
    // isolated CPUs that affinity names are usable, those of the policy only in one-to-one
    assert_eq!(
        change(&isolated, &guest(1, 8), &none, &policy(Mode::Numa)),
        "no more than 4 vcpu(s) in virtual node 0"
    );
    assert_eq!(change(&epyc, &guest(3, 12), &none, &avoid), "cores: 8");
    let only = Policy {
        isolated: Isolated::Only,
        ..avoid
    };
    assert_eq!(
        change(&epyc, &guest(1, 1), &none, &only),
        "isolated=allow in the policy"
    );
}

#[test]
fn a_guest_to_move_is_named_where_nothing_milder_helps() {
    // with avoid it would sit on others' CPUs, which is milder than moving them
    let deny = one_to_one(Smt::Isolate, Overlap::Deny);
    let refused = plan(&host(1, 1, 4, 1), &guest(1, 3), &claims("0-1"), &deny).unwrap_err();
    assert!(
        refused.list[0]
            .to_string()
            .contains("guest 200 holds cpu(s) 0-1"),
        "{}",
        refused.list[0]
    );
}

#[test]
fn a_refusal_says_what_each_node_has_and_what_took_the_rest() {
    let mut host = epyc();
    host.reserved = "0,16".parse().unwrap();
    host.isolated = "1".parse().unwrap();
    let guest = explicit(&[(8, Some(0)), (9, Some(1))]);
    let refused = plan(&host, &guest, &Claims::default(), &policy(Mode::Numa)).unwrap_err();
    let texts: Vec<String> = refused.list.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "virtual node 0 needs 8 cpus of one host node, but host node 0 has 5 of 8 (cpu(s) 0,16 are reserved for the host, \
             cpu(s) 1 are isolated)",
            "virtual node 1 needs 9 cpus of one host node, but host node 1 has 8 of 8",
        ]
    );
}

#[test]
fn an_explanation_gives_both_figures_for_each_other_node() {
    let guest = guest(2, 2);
    let held = claims("4-7");
    let policy = policy(Mode::OneToOne);
    let plan = plan(&epyc(), &guest, &held, &policy).unwrap();
    let why = explain(&epyc(), &guest, &held, &policy, &plan);
    assert_eq!(why.virtual_nodes.len(), 2);
    let first = &why.virtual_nodes[0];
    assert_eq!(
        (first.host_nodes.to_string().as_str(), first.reason),
        ("0", Reason::Cheapest)
    );
    let against: Vec<String> = first
        .others
        .iter()
        .map(|o| format!("{}: {}", o.host_node, o.against))
        .collect();
    assert_eq!(
        against,
        [
            "1: foreign_cores would be 2 instead of 0",
            "2: renumbered would be 2 instead of 1",
            "3: renumbered would be 2 instead of 1",
        ]
    );
    let higher = &why.virtual_nodes[1];
    assert_eq!(higher.host_nodes.to_string(), "2");
    assert_eq!(higher.others[2].against, Against::Higher);
}

#[test]
fn an_explanation_tells_rules_from_costs() {
    let guest = within(
        &explicit(&[(6, None), (2, Some(3)), (3, None)]),
        "0-7,12-14,16-21",
    );
    let policy = policy(Mode::Numa);
    let plan = made(&epyc(), &guest, &policy);
    let why = explain(&epyc(), &guest, &Claims::default(), &policy, &plan);
    assert_eq!(why.virtual_nodes[1].reason, Reason::Named);
    assert!(
        why.virtual_nodes[1]
            .others
            .iter()
            .all(|o| o.against == Against::NotAsked)
    );
    let room = &why.virtual_nodes[0].others[1];
    assert_eq!(room.host_node, NodeId(2));
    let said = room.against.to_string();
    assert_eq!(
        said,
        "6 cpus are needed, host node 2 has 0 of 8 (affinity leaves out cpu(s) 8-11,24-27)"
    );
    // with virtual node 2 on its host node, a guest of four virtual nodes leaves no place for the largest
    let tight = within(&explicit(&[(6, None), (2, None)]), "0-5,16-17");
    let plan = made(&epyc(), &tight, &policy);
    let why = explain(&epyc(), &tight, &Claims::default(), &policy, &plan);
    assert_eq!(why.virtual_nodes[0].reason, Reason::OnlyOne);
    assert_eq!(
        why.virtual_nodes[1].others[0].against,
        Against::OthersLeftOut
    );
}

fn notes(host: &Host, guest: &Guest, claims: &Claims, policy: &Policy) -> Vec<String> {
    let plan = plan(host, guest, claims, policy).unwrap();
    plan.notes.iter().map(ToString::to_string).collect()
}

#[test]
fn a_guest_that_spans_is_told_the_sockets_that_fit() {
    let said = notes(
        &epyc(),
        &guest(1, 8),
        &Claims::default(),
        &policy(Mode::OneToOne),
    );
    assert_eq!(
        said[0],
        "the guest spans host nodes 1-2 and does not know it: numa: 1 with sockets: 2 and cores: 4 would tell it"
    );
    // seven can't be divided
    let said = notes(
        &epyc(),
        &guest(1, 7),
        &Claims::default(),
        &policy(Mode::OneToOne),
    );
    assert_eq!(
        said[0],
        "the guest spans host nodes 0-1 and does not know it"
    );
}

#[test]
fn siblings_that_share_a_core_are_told_with_their_cost() {
    let said = notes(
        &host(1, 1, 4, 2),
        &guest(1, 5),
        &Claims::default(),
        &policy(Mode::OneToOne),
    );
    let siblings = "vcpu(s) 1-2 share cores with one another since cores ran out: siblings that are both busy lose 40 to 75 % of \
                    their throughput for about 20 % lower latency";
    assert!(said.iter().any(|note| note == siblings), "{said:?}");
    let packed = one_to_one(Smt::Pack, Overlap::Avoid);
    let said = notes(&host(1, 1, 4, 2), &guest(1, 5), &Claims::default(), &packed);
    assert!(
        !said.iter().any(|note| note.contains("share cores")),
        "{said:?}"
    );
}

#[test]
fn devices_and_memory_that_stay_remote_are_told() {
    let mut host = epyc();
    for node in &mut host.nodes {
        node.memory = Some(NodeMemory {
            total_kib: 1024 * 1024,
            ..NodeMemory::default()
        });
    }
    let device = Device {
        address: "0000:0f:00.0".into(),
        node: Some(NodeId(3)),
    };
    let bound = explicit(&[(2, Some(1))])
        .changed(|g| g.devices = vec![device.clone()])
        .unwrap();
    let said = notes(&host, &bound, &Claims::default(), &policy(Mode::Numa));
    assert_eq!(
        said,
        ["device 0000:0f:00.0 hangs on host node 3, and the guest is not there"]
    );
    // a free guest goes to its device; its memory is there before the pins
    let free = guest(1, 2)
        .changed(|g| (g.devices, g.memory_mib) = (vec![device], Some(2048)))
        .unwrap();
    let said = notes(&host, &free, &Claims::default(), &policy(Mode::Numa));
    assert_eq!(
        said,
        [
            "host node(s) 3 have less memory available than the guest needs there",
            "virtual node(s) 0 have memory that is not bound to their host node: it is placed before the pins are set \
             (passthrough, huge pages) and stays where it is",
        ]
    );
    let memory_mib = [(NodeId(1), 300), (NodeId(2), 700)].into();
    let running = guest(1, 2)
        .changed(|g| g.running = Some(Running { memory_mib }))
        .unwrap();
    let plan = made(&host, &running, &policy(Mode::Numa));
    assert_eq!(plan.virtual_nodes[0].host_nodes.to_string(), "2");
    assert_eq!(
        plan.notes[0].to_string(),
        "300 MiB of the guest's memory are on other host nodes than its vcpus"
    );
}

#[test]
fn others_on_the_cpus_are_told() {
    let one = host(1, 1, 2, 2);
    let held = pinned(claims("0"), "1-3", 2);
    let said = notes(&one, &guest(1, 4), &held, &policy(Mode::OneToOne));
    assert_eq!(
        said[0],
        "1 vcpu(s) are on cpu(s) 0 that guest(s) 200 hold one-to-one"
    );
    let said = notes(&one, &guest(1, 4), &held, &policy(Mode::Numa));
    assert!(
        said[0].starts_with("virtual node 0 has 4 vcpu(s) but only 3 cpu(s) that no guest holds"),
        "{said:?}"
    );
    let allow = one_to_one(Smt::Spread, Overlap::Allow);
    let said = notes(&one, &guest(1, 4), &held, &allow);
    assert_eq!(
        said[0],
        "overlap=allow: guest(s) 200, 300 are on cpu(s) 0-3, too"
    );
    let mut beside = Claims::default();
    beside
        .unpinned
        .insert(crate::guest::GuestName("400".into()), 2);
    let said = notes(&one, &guest(1, 1), &beside, &policy(Mode::OneToOne));
    assert!(
        said[0].contains("off cpu(s) 1 (guest(s) 400 are unpinned now)"),
        "{said:?}"
    );
}
