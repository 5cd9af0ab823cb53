//! The wrong turns of the RFC that concern placement, each with what is right. Numbers are those of the table in the notes on
//! the RFC: 3-9, 13-16, 18, 20, 28, 31.

use super::{claims, epyc, explicit, guest, host, hosts, made, masks, offline, one_to_one, policy};
use crate::id::{CpuId, NodeId};
use crate::placement::*;
use crate::policy::{Isolated, Overlap};
use crate::violation::Violation;

fn refused(host: &Host, guest: &Guest, policy: &Policy) -> Vec<Violation> {
    plan(host, guest, &Claims::default(), policy)
        .unwrap_err()
        .list
}

#[test]
fn row_3_a_guest_without_numa_is_placed_as_one_node() {
    let plan = made(&epyc(), &guest(1, 8), &policy(Mode::Numa));
    assert_eq!(hosts(&plan), "0");
    assert_eq!(plan.vcpus.len(), 8);
}

#[test]
fn row_4_a_guest_without_numa_gets_the_host_nodes_that_fit_best() {
    // 4 cores in a node: 8 vCPUs get a core each only on two nodes; the boot core is spared
    let plan = made(&epyc(), &guest(1, 8), &policy(Mode::OneToOne));
    assert_eq!(hosts(&plan), "1-2");
    assert_eq!(masks(&plan), "4 5 6 7 8 9 10 11");
    // without a core for each it stays on one
    let plan = made(&epyc(), &guest(1, 8), &one_to_one(Smt::Any, Overlap::Avoid));
    assert_eq!(hosts(&plan), "1");
}

#[test]
fn row_5_siblings_are_used_only_when_cores_run_out() {
    let one_node = host(1, 1, 4, 2);
    let plan = made(&one_node, &guest(1, 4), &policy(Mode::OneToOne));
    assert_eq!(masks(&plan), "0 1 2 3");
    let plan = made(&one_node, &guest(1, 6), &policy(Mode::OneToOne));
    // in topological order: neighbours in the guest are neighbours in the host; the boot core is not doubled
    assert_eq!(masks(&plan), "0 1 5 2 6 3");
}

#[test]
fn row_6_a_node_without_usable_cpus_is_never_chosen() {
    for cpus in ["4-31", "8-15"] {
        let guest = guest(1, 2)
            .changed(|g| g.affinity = Some(cpus.parse().unwrap()))
            .unwrap();
        for mode in [Mode::Numa, Mode::L3, Mode::OneToOne] {
            let plan = made(&epyc(), &guest, &policy(mode));
            let used: CpuSet = plan.vcpus.iter().flat_map(|v| v.cpus.iter()).collect();
            assert!(
                used.is_subset(guest.affinity.as_ref().unwrap()),
                "{mode} {used}"
            );
        }
    }
    let mut with_memory_node = epyc();
    with_memory_node.nodes.push(crate::host::Node {
        id: NodeId(4),
        ..Default::default()
    });
    let plan = made(&with_memory_node, &guest(4, 8), &policy(Mode::Numa));
    assert_eq!(hosts(&plan), "0 1 2 3");
}

#[test]
fn row_7_host_nodes_are_taken_in_order_of_number() {
    let plan = made(&host(12, 1, 2, 1), &guest(3, 2), &policy(Mode::Numa));
    assert_eq!(hosts(&plan), "0 1 2");
}

#[test]
fn row_8_offline_cpus_are_never_used() {
    let mut host = epyc();
    offline(&mut host, "5,21");
    let plan = made(&host, &explicit(&[(6, Some(1))]), &policy(Mode::Numa));
    assert_eq!(plan.vcpus[0].cpus.to_string(), "4,6-7,20,22-23");
    let list = refused(&host, &explicit(&[(7, Some(1))]), &policy(Mode::OneToOne));
    assert!(
        list[0]
            .to_string()
            .contains("cpu(s) 5,21 of the host are offline"),
        "{}",
        list[0]
    );
}

#[test]
fn row_9_a_host_node_that_does_not_exist_is_said_to_be_absent() {
    let list = refused(
        &epyc(),
        &explicit(&[(2, Some(9)), (2, None)]),
        &policy(Mode::Numa),
    );
    assert!(
        matches!(
            list[0],
            Violation::NoSuchHostNode {
                host_node: NodeId(9),
                ..
            }
        ),
        "{list:?}"
    );
}

#[test]
fn row_13_every_vcpu_stays_in_the_virtual_node_that_has_it() {
    let plan = made(
        &epyc(),
        &explicit(&[(3, None), (1, None)]),
        &policy(Mode::OneToOne),
    );
    let nodes: Vec<u32> = plan.vcpus.iter().map(|v| v.virtual_node.0).collect();
    assert_eq!(nodes, [0, 0, 0, 1]);
}

#[test]
fn row_14_a_plan_holds_every_vcpu_or_there_is_none() {
    let plan = made(&epyc(), &guest(4, 8), &policy(Mode::OneToOne));
    assert_eq!(plan.vcpus.len(), 32);
    assert_eq!(
        refused(&epyc(), &guest(4, 9), &policy(Mode::OneToOne)).len(),
        4
    );
}

#[test]
fn row_15_virtual_nodes_share_a_host_node_where_there_are_too_few() {
    let two = host(2, 1, 4, 2);
    let plan = made(&two, &guest(4, 2), &policy(Mode::Numa));
    assert_eq!(plan.cost.count(Item::SharedNodes), 3);
    assert!(
        plan.notes
            .iter()
            .any(|note| matches!(note, Note::SharedNode { .. }))
    );
    // also one that another virtual node names
    let named = explicit(&[(2, Some(0)), (2, Some(1)), (4, None)]);
    let plan = made(&two, &named, &policy(Mode::OneToOne));
    assert_eq!(plan.cost.count(Item::SharedNodes), 1);
}

#[test]
fn row_16_a_fit_is_found_where_first_fit_fails() {
    let guest = explicit(&[(2, None), (6, None)]);
    let guest = guest
        .changed(|g| g.affinity = Some("0-3,16-19,4-5".parse().unwrap()))
        .unwrap();
    for mode in [Mode::Numa, Mode::L3, Mode::OneToOne] {
        assert_eq!(hosts(&made(&epyc(), &guest, &policy(mode))), "1 0");
    }
}

#[test]
fn row_18_huge_pages_keep_virtual_nodes_on_host_nodes_of_the_same_number() {
    let pages = |guest: Guest| {
        guest
            .changed(|g| g.hugepages = Some(crate::guest::Hugepages::Mib2))
            .unwrap()
    };
    // elsewhere there would be no overlap
    let held = claims("0-3,16-18");
    let free = plan(&epyc(), &guest(2, 2), &held, &policy(Mode::OneToOne)).unwrap();
    assert_eq!(hosts(&free), "2 1");
    let tied = plan(&epyc(), &pages(guest(2, 2)), &held, &policy(Mode::OneToOne)).unwrap();
    assert_eq!(hosts(&tied), "0 1");
    // where the rules do not allow it, a note says so
    let small = pages(guest(2, 3))
        .changed(|g| g.affinity = Some("0-1,4-15".parse().unwrap()))
        .unwrap();
    let plan = made(&epyc(), &small, &policy(Mode::Numa));
    assert_eq!(hosts(&plan), "2 1");
    let note = plan
        .notes
        .iter()
        .find(|note| matches!(note, Note::HugepagesElsewhere { .. }));
    assert!(
        note.unwrap()
            .to_string()
            .starts_with("virtual node 0 can't be on host node 0")
    );
}

#[test]
fn row_20_plans_are_made_for_all_vcpus_plugged_or_not() {
    let guest = guest(2, 4)
        .changed(|g| g.plugged = "0-1,4".parse().unwrap())
        .unwrap();
    let plan = made(&epyc(), &guest, &policy(Mode::OneToOne));
    assert_eq!(plan.vcpus.len(), 8);
    assert_eq!(plan.claims.len(), 3);
    // if only the others do not fit, the plan is made without them
    let small = guest
        .changed(|g| g.affinity = Some("0-1,4-6".parse().unwrap()))
        .unwrap();
    let plan = made(&epyc(), &small, &policy(Mode::OneToOne));
    assert_eq!(masks(&plan).split(' ').count(), 3);
    assert!(
        matches!(&plan.notes[0], Note::UnpluggedLeftOut { vcpus } if vcpus.to_string() == "2-3,5-7")
    );
}

#[test]
fn row_28_isolated_cpus_are_used_only_one_by_one_or_where_affinity_names_them() {
    let mut host = epyc();
    host.isolated = "4-15".parse().unwrap();
    let plan = made(&host, &guest(1, 4), &policy(Mode::Numa));
    let used: CpuSet = plan.vcpus.iter().flat_map(|v| v.cpus.iter()).collect();
    assert!(used.is_disjoint(&host.isolated));
    let only = Policy {
        isolated: Isolated::Only,
        ..policy(Mode::OneToOne)
    };
    assert_eq!(masks(&made(&host, &guest(1, 4), &only)), "4 5 6 7");
    let named = guest(1, 4)
        .changed(|g| g.affinity = Some("4-7".parse().unwrap()))
        .unwrap();
    let plan = made(&host, &named, &policy(Mode::Numa));
    assert_eq!(plan.vcpus[0].cpus.to_string(), "4-7");
    let note = plan
        .notes
        .iter()
        .find(|note| matches!(note, Note::IsolatedMask { .. }));
    assert!(note.unwrap().to_string().contains("cpu(s) 4-7"));
}

#[test]
fn row_31_isolate_counts_cores_and_not_threads() {
    let isolate = one_to_one(Smt::Isolate, Overlap::Avoid);
    let plan = made(&epyc(), &explicit(&[(4, Some(1))]), &isolate);
    assert_eq!(masks(&plan), "4 5 6 7");
    assert_eq!(plan.claims.to_string(), "4-7,20-23");
    let list = refused(&epyc(), &explicit(&[(5, Some(1))]), &isolate);
    assert!(
        list[0].to_string().starts_with(
            "virtual node 0 needs 5 cores of one host node, but host node 1 has 4 of 4"
        ),
        "{}",
        list[0]
    );
    let spread = made(&epyc(), &explicit(&[(5, Some(1))]), &policy(Mode::OneToOne));
    assert_eq!(spread.cost.count(Item::SharedCores), 1);
    assert!(
        spread
            .vcpus
            .iter()
            .all(|v| v.cpus.first() >= Some(CpuId(4)))
    );
}
