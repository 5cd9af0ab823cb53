use super::*;
use crate::apply::testing::{PID, process};
use crate::id::{Pid, VnodeId};
use crate::idset::NodeSet;
use crate::qmp::Place;

fn cpus(list: &str) -> CpuSet {
    list.parse().unwrap()
}

fn vcpu(index: u32, tid: i32) -> Vcpu {
    Vcpu {
        index: VcpuId(index),
        tid: Tid(tid),
        node: None,
        place: Place::default(),
    }
}

fn placed(masks: &[&str]) -> Vec<PlacedVcpu> {
    let vcpus = (0..).map(VcpuId).zip(masks);
    let placed = vcpus.map(|(vcpu, mask)| PlacedVcpu {
        vcpu,
        virtual_node: VnodeId(0),
        host_nodes: NodeSet::new(),
        cpus: cpus(mask),
    });
    placed.collect()
}

fn task(pid: Pid, tid: i32, comm: &str) -> Task {
    Task {
        pid,
        tid: Tid(tid),
        start_time: 1,
        comm: comm.to_owned(),
        mask: cpus("0-7"),
    }
}

fn iothread(id: &str, tid: i32) -> Iothread {
    Iothread {
        id: id.into(),
        tid: Tid(tid),
    }
}

fn tasks() -> Vec<Task> {
    let named = [
        (4700, "kvm"),
        (4701, "call_rcu"),
        (4702, "kvm"),
        (4703, "CPU 0/KVM"),
        (4704, "CPU 1/KVM"),
        (4705, "vhost-4700"),
        (4706, "CPU 9/KVM"),
    ];
    named.map(|(tid, comm)| task(PID, tid, comm)).into()
}

/// The wishes of a guest of two vCPUs, one iothread and one vhost worker of each kind.
fn told(masks: &ThreadMasks, iothreads: Option<&[Iothread]>) -> (Vec<String>, Vec<ReportNote>) {
    let found = Found {
        process: process(),
        vcpus: &[vcpu(1, 4704), vcpu(0, 4703)],
        iothreads,
        tasks: &tasks(),
        vhost_kernel_threads: &[task(Pid(900), 900, "vhost-4700")],
    };
    let wishes = wishes(&placed(&["2", "3"]), masks, &found).unwrap();
    let told = wishes.list.iter().map(|wish| {
        let Thread { pid, tid } = wish.thread;
        format!("{} {pid}/{tid} {}", wish.kind, wish.cpus)
    });
    (told.collect(), wishes.notes)
}

#[test]
fn threads_that_are_kept_are_not_wished_for() {
    let (list, notes) = told(
        &ThreadMasks::default(),
        Some(&[iothread("iothread0", 4702)]),
    );
    assert_eq!(list, ["vcpu 0 4700/4703 2", "vcpu 1 4700/4704 3"]);
    assert_eq!(notes, []);
}

#[test]
fn each_kind_of_thread_gets_its_mask() {
    let masks = ThreadMasks {
        emulator: Some(cpus("0")),
        iothreads: Some(cpus("0-1")),
        vhost: Some(cpus("1")),
    };
    let (list, _) = told(&masks, Some(&[iothread("iothread0", 4702)]));
    assert_eq!(
        list,
        [
            "vcpu 0 4700/4703 2",
            "vcpu 1 4700/4704 3",
            "iothread iothread0 4700/4702 0-1",
            "vhost worker 900/900 1",
            "vhost worker 4700/4705 1",
            "emulator thread \"kvm\" 4700/4700 0",
            "emulator thread \"call_rcu\" 4700/4701 0",
        ],
        "a vcpu that qmp did not list is left alone"
    );
}

#[test]
fn without_qmp_iothreads_and_emulator_are_left_alone() {
    let masks = ThreadMasks {
        emulator: Some(cpus("0")),
        iothreads: Some(cpus("0-1")),
        vhost: Some(cpus("1")),
    };
    let (list, notes) = told(&masks, None);
    assert_eq!(
        list[2..],
        ["vhost worker 900/900 1", "vhost worker 4700/4705 1"]
    );
    assert_eq!(notes, [ReportNote::IothreadsUnknown]);
}

fn of_vcpus(masks: &[&str], vcpus: &[Vcpu], iothreads: &[Iothread]) -> Result<Wishes, ApplyError> {
    let found = Found {
        process: process(),
        vcpus,
        iothreads: Some(iothreads),
        tasks: &[],
        vhost_kernel_threads: &[],
    };
    wishes(&placed(masks), &ThreadMasks::default(), &found)
}

#[test]
fn vcpus_that_share_a_thread_are_refused() {
    let refused =
        of_vcpus(&["0", "1", "2"], &[vcpu(0, 5), vcpu(1, 6), vcpu(2, 5)], &[]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "vcpus 0,2 share thread 5, so that none can be pinned alone (TCG with thread=single runs all vcpus in turn); nothing \
         was set; start QEMU with KVM or with -accel tcg,thread=multi"
    );
}

#[test]
fn a_thread_can_not_be_vcpu_and_iothread() {
    let refused = of_vcpus(&["0"], &[vcpu(0, 5)], &[iothread("io1", 5)]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "thread 5 is said to be both vcpu 0 and iothread io1; nothing was set; is something else than QEMU answering on the \
         socket?"
    );
    let refused = of_vcpus(
        &["0"],
        &[vcpu(0, 5)],
        &[iothread("io1", 6), iothread("io2", 6)],
    )
    .unwrap_err();
    assert_eq!(refused.word(), "two_kinds");
}

#[test]
fn vcpus_that_are_not_plugged_are_told_and_those_not_planned_refused() {
    let wishes = of_vcpus(&["0", "1", "2"], &[vcpu(1, 5)], &[]).unwrap();
    assert_eq!(wishes.list.len(), 1);
    assert_eq!(
        wishes.notes[0].to_string(),
        "vcpu(s) 0,2 are not plugged: their cpus are kept for when they come"
    );
    let refused = of_vcpus(&["0", "1"], &[vcpu(0, 5), vcpu(7, 6)], &[]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "vcpu 7 of the running guest is not in the plan, which has vcpus 0-1; nothing was set; does `args: -smp` differ from \
         the config?"
    );
    // The mode none wants nothing of any vCPU.
    assert_eq!(of_vcpus(&[], &[vcpu(7, 6)], &[]).unwrap().list, []);
}
