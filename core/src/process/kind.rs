//! What each thread of a QEMU process is.

use std::collections::{BTreeMap, BTreeSet};

use super::Task;
use crate::id::{Tid, VcpuId};
use crate::qmp::{Iothread, Place, Vcpu};
use crate::sorted;
use crate::thread::ThreadKind;

/// The vCPUs that the names of the tasks tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// Ascending by index; the first thread where two have the same name.
    pub vcpus: Vec<Vcpu>,
    /// A thread that runs all vCPUs.
    pub shared: Option<Tid>,
}

/// Says what each thread is. QMP's word goes before the name; a thread that is named like a vCPU and that QMP did not list
/// (it was plugged meanwhile, or is leaving) counts as that vCPU, so that it is not taken for one of QEMU's own.
#[must_use]
pub fn classify(
    tasks: &[Task],
    vcpus: &[Vcpu],
    iothreads: &[Iothread],
) -> BTreeMap<Tid, ThreadKind> {
    let mut by_tid: BTreeMap<Tid, ThreadKind> = BTreeMap::new();
    for iothread in iothreads {
        by_tid.insert(
            iothread.tid,
            ThreadKind::Iothread {
                iothread: iothread.id.clone(),
            },
        );
    }
    for vcpu in vcpus {
        by_tid.insert(vcpu.tid, ThreadKind::Vcpu { vcpu: vcpu.index });
    }
    let kind = |task: &Task| {
        by_tid
            .get(&task.tid)
            .cloned()
            .unwrap_or_else(|| by_name(task))
    };
    sorted::map(tasks.iter().map(|task| (task.tid, kind(task))))
}

/// The vCPUs by the names of the tasks (`CPU n/KVM`, `CPU n/TCG`): known where QEMU was started with `debug-threads=on`, as
/// Proxmox VE does. For when QMP is busy.
#[must_use]
pub fn named_vcpus(tasks: &[Task]) -> Named {
    let mut named = Named::default();
    let mut seen = BTreeSet::new();
    for task in tasks {
        match by_name(task) {
            ThreadKind::Vcpu { vcpu } if seen.insert(vcpu) => named.vcpus.push(Vcpu {
                index: vcpu,
                tid: task.tid,
                node: None,
                place: Place::default(),
            }),
            ThreadKind::AllVcpus => named.shared = Some(task.tid),
            _ => {}
        }
    }
    sorted::sort_by_key(&mut named.vcpus, |vcpu| vcpu.index);
    named
}

fn by_name(task: &Task) -> ThreadKind {
    let comm = &*task.comm;
    if comm.starts_with("ALL CPUs/") {
        return ThreadKind::AllVcpus;
    }
    let vcpu = comm
        .strip_prefix("CPU ")
        .and_then(|rest| rest.split_once('/'))
        .and_then(|(number, _)| number.parse().ok());
    if let Some(vcpu) = vcpu {
        return ThreadKind::Vcpu { vcpu: VcpuId(vcpu) };
    }
    // Named after the thread that made it the worker, which is the main one as a rule.
    let digits = |number: &str| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    if comm.strip_prefix("vhost-").is_some_and(digits) {
        return ThreadKind::Vhost;
    }
    ThreadKind::Emulator {
        name: comm.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::id::Pid;
    use crate::idset::CpuSet;

    fn task(tid: i32, comm: &str) -> Task {
        Task {
            pid: Pid(4700),
            tid: Tid(tid),
            start_time: 1,
            comm: comm.to_owned(),
            mask: CpuSet::new(),
        }
    }

    #[rstest]
    #[case("CPU 0/KVM", "vcpu 0")]
    #[case("CPU 4095/KVM", "vcpu 4095")]
    #[case("CPU 7/TCG", "vcpu 7")]
    #[case("ALL CPUs/TCG", "all vcpus")]
    #[case("vhost-4700", "vhost worker")]
    #[case("vhost-4703", "vhost worker")]
    #[case("vhost-x", "emulator thread \"vhost-x\"")]
    #[case("vhost-", "emulator thread \"vhost-\"")]
    #[case("kvm", "emulator thread \"kvm\"")]
    #[case("CPU x/KVM", "emulator thread \"CPU x/KVM\"")]
    #[case("CPU 0", "emulator thread \"CPU 0\"")]
    #[case("IO mon_iothread", "emulator thread \"IO mon_iothread\"")]
    #[case("", "emulator thread \"\"")]
    fn names_tell_what_a_thread_is(#[case] comm: &str, #[case] expected: &str) {
        let kinds = classify(&[task(5, comm)], &[], &[]);
        assert_eq!(kinds[&Tid(5)].to_string(), expected);
    }

    #[test]
    fn qmp_goes_before_the_name() {
        let tasks = [
            task(4700, "qemu-system-x86"),
            task(4701, "qemu-system-x86"),
            task(4702, "qemu-system-x86"),
        ];
        let named = named_vcpus(&[task(8, "CPU 3/KVM")]).vcpus;
        let vcpu = Vcpu {
            tid: Tid(4702),
            ..named[0].clone()
        };
        let iothread = Iothread {
            id: "iothread-scsi0".into(),
            tid: Tid(4701),
        };
        let kinds = classify(&tasks, &[vcpu], &[iothread]);
        let told: Vec<String> = kinds.values().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "emulator thread \"qemu-system-x86\"",
                "iothread iothread-scsi0",
                "vcpu 3"
            ]
        );
    }

    #[test]
    fn vcpus_are_found_by_name_in_order() {
        let tasks = [
            task(1, "kvm"),
            task(9, "CPU 5/KVM"),
            task(10, "CPU 0/KVM"),
            task(11, "CPU 5/KVM"),
        ];
        let named = named_vcpus(&tasks);
        let short: Vec<_> = named.vcpus.iter().map(|v| (v.index.0, v.tid.0)).collect();
        assert_eq!((short, named.shared), (vec![(0, 10), (5, 9)], None));
        let named = named_vcpus(&[task(9, "ALL CPUs/TCG")]);
        assert_eq!((named.vcpus, named.shared), (vec![], Some(Tid(9))));
    }
}
