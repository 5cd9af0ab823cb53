//! Any entry is read as it was written.

use proptest::prelude::*;

use super::*;
use crate::id::Id;
use crate::idset::IdSet;

fn ids<I: Id + 'static>() -> impl Strategy<Value = IdSet<I>> {
    let ids = prop::collection::vec(0_usize..1200, 0..6);
    ids.prop_map(|ids| ids.into_iter().map(I::from_index).collect())
}

fn word<T: Copy + std::fmt::Debug>(all: &'static [T]) -> impl Strategy<Value = T> {
    (0..all.len()).prop_map(|i| all[i])
}

fn kind() -> impl Strategy<Value = ThreadKind> {
    prop_oneof![
        (0_u32..1000).prop_map(|n| ThreadKind::Vcpu { vcpu: VcpuId(n) }),
        Just(ThreadKind::AllVcpus),
        Just(ThreadKind::Vhost),
        ".*".prop_map(|iothread| ThreadKind::Iothread { iothread }),
        ".*".prop_map(|name| ThreadKind::Emulator { name }),
    ]
}

fn kept() -> impl Strategy<Value = KeptPlan> {
    let vcpu = (0_u32..2000, 0_u32..8, ids(), ids(), ids()).prop_map(
        |(vcpu, virtual_node, host_nodes, cpus, claims)| KeptVcpu {
            placed: PlacedVcpu {
                vcpu: VcpuId(vcpu),
                virtual_node: VnodeId(virtual_node),
                host_nodes,
                cpus,
            },
            claims,
        },
    );
    let node =
        (0_u32..8, ids(), ids(), ids(), ids()).prop_map(|(id, vcpus, host_nodes, area, node)| {
            KeptNode {
                placed: PlacedNode {
                    virtual_node: VnodeId(id),
                    vcpus,
                    host_nodes,
                },
                area,
                node,
            }
        });
    let mask = || prop::option::of(ids());
    let threads = (mask(), mask(), mask()).prop_map(|(emulator, iothreads, vhost)| ThreadMasks {
        emulator,
        iothreads,
        vhost,
    });
    let words = (word(Mode::ALL), word(Smt::ALL), word(Overlap::ALL), ids());
    let spare = any::<[bool; 3]>().prop_map(|[emulator, iothreads, vhost]| SpareThreads {
        emulator,
        iothreads,
        vhost,
    });
    let lists = (
        prop::collection::vec(node, 0..3),
        prop::collection::vec(vcpu, 0..4),
    );
    (words, lists, threads, spare).prop_map(
        |((mode, smt, overlap, plugged), (virtual_nodes, vcpus), threads, spare)| KeptPlan {
            mode,
            smt,
            overlap,
            plugged,
            virtual_nodes,
            vcpus,
            threads,
            spare,
        },
    )
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let target = (kind(), any::<(i32, i32, u64, bool)>(), ids(), ids()).prop_map(
        |(kind, (pid, tid, started_by, unpinned), found, wanted)| Target {
            kind,
            thread: Thread {
                pid: Pid(pid),
                tid: Tid(tid),
            },
            started_by,
            found,
            unpinned,
            wanted,
        },
    );
    let states = &[EntryState::Pending, EntryState::Applied, EntryState::Held];
    let texts = (".*", ".*", ".*");
    let whose = (any::<Option<u32>>(), any::<Option<(i32, u64)>>());
    let promised = prop::collection::btree_map(any::<u32>().prop_map(NodeId), any::<u64>(), 0..3);
    let found = prop::collection::vec(target, 0..3);
    let iothreads = prop::collection::btree_map(any::<i32>().prop_map(Tid), ".*", 0..3);
    (
        (texts, whose, word(states)),
        kept(),
        found,
        iothreads,
        promised,
    )
        .prop_map(
            |(
                ((name, text, source), (vmid, process), state),
                plan,
                found,
                iothreads,
                promised_kib,
            )| Entry {
                schema: SCHEMA,
                guest: GuestName(name),
                vmid: vmid.map(Vmid),
                state,
                boot_id: "boot-1".into(),
                process: process.map(|(pid, start_time)| Process {
                    pid: Pid(pid),
                    start_time,
                }),
                policy: KeptPolicy { text, source },
                plan,
                found,
                iothreads,
                promised_kib,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_entry_is_read_as_it_was_written(entry in any_entry()) {
        let text = entry.to_text();
        let read = Entry::parse(Path::new("x.json"), &entry.stem(), &text);
        prop_assert_eq!(read.unwrap(), entry);
    }
}
