mod follow;
mod offline;
mod random;

use super::*;
use crate::claims::ledger::KeptPolicy;
use crate::guest::{Guest, GuestName, GuestParts};
use crate::host::{Cpu, Node};
use crate::id::{CoreId, CpuId, L3Id, NodeId, Pid, Tid, Vmid};
use crate::placement;
use crate::policy::{Mode, Overlap, Place, Policy, Smt};
use crate::thread::Process;
use crate::thread::Target;

/// Two host nodes of two L3s of two cores with two threads: node 0 has CPUs 0-3 and 8-11, and CPU 8 is the sibling of CPU 0.
fn host(offline: &str) -> Host {
    let offline = set(offline);
    let cpu = |id: u32| Cpu {
        id: CpuId(id),
        node: Some(NodeId(id % 8 / 4)),
        package: None,
        die: None,
        core: CoreId(id % 8),
        l3: Some(L3Id(id % 8 / 2 * 2)),
        kind: None,
    };
    let cpus: Vec<Cpu> = (0..16).map(cpu).collect();
    let cpus: Vec<Cpu> = cpus
        .into_iter()
        .filter(|cpu| !offline.contains(cpu.id))
        .collect();
    let node = |id| Node {
        id: NodeId(id),
        cpus: cpus
            .iter()
            .filter(|cpu| cpu.node == Some(NodeId(id)))
            .map(|cpu| cpu.id)
            .collect(),
        ..Node::default()
    };
    Host {
        nodes: vec![node(0), node(1)],
        cpus,
        offline,
        ..Host::default()
    }
}

fn set(list: &str) -> CpuSet {
    list.parse().unwrap()
}

fn policy(mode: Mode) -> Policy {
    Policy {
        mode,
        emulator: Some(Place::Keep),
        iothreads: Some(Place::Keep),
        vhost: Some(Place::Keep),
        ..Policy::default()
    }
}

/// Guest 100 and everything around it.
struct World {
    entry: Entry,
    live: LiveGuest,
    offline: String,
    claimed: String,
    allowed: Option<CpuSet>,
    settled: bool,
    vhost: Vec<LiveThread>,
}

impl World {
    /// A guest of one socket whose threads have all CPUs; nothing is set yet.
    fn new(cores: u32, policy: &Policy) -> Self {
        let guest = Guest::new(GuestParts::new("100", 1, cores)).unwrap();
        let plan = placement::plan(&host(""), &guest, &Claims::default(), policy).unwrap();
        let mut threads = vec![("kvm".to_owned(), 4000)];
        threads.extend(
            (0..cores)
                .zip(4001..)
                .map(|(n, tid)| (format!("CPU {n}/KVM"), tid)),
        );
        let thread = |(comm, tid)| LiveThread {
            tid: Tid(tid),
            comm,
            told: None,
            mask: set("0-15"),
        };
        Self {
            entry: Entry::new(
                &host(""),
                &guest,
                &plan,
                (policy, KeptPolicy::default()),
                Some(Process {
                    pid: Pid(4000),
                    start_time: 1,
                }),
                String::new(),
            ),
            live: LiveGuest {
                name: GuestName("100".into()),
                vmid: Some(Vmid(100)),
                pid: Pid(4000),
                threads: threads.into_iter().map(thread).collect(),
            },
            offline: String::new(),
            claimed: String::new(),
            allowed: None,
            settled: true,
            vhost: Vec::new(),
        }
    }

    fn outcome(&self) -> Outcome {
        let mut claims = Claims::default();
        let held: CpuSet = set(&self.claimed);
        claims.hold(&GuestName("9".into()), &held);
        // Its own claims are in what is handed over, and are no reason to move.
        let live = self.live.vcpu_masks();
        claims.hold(&self.entry.guest, &self.entry.claims(None));
        claims.add_masks(&self.entry.guest, &host(&self.offline).online(), live);
        reconcile(
            Around {
                host: &host(&self.offline),
                claims: &claims,
                settled: self.settled,
            },
            Now {
                entry: &self.entry,
                live: Some(&self.live),
                vhost: &self.vhost,
                allowed: self.allowed.as_ref(),
            },
        )
    }

    /// Does what a transaction does: remembers, sets, and the kernel narrows.
    fn run(&mut self) -> Outcome {
        let outcome = self.outcome();
        let online = host(&self.offline).online();
        for action in &outcome.actions {
            let wish = &action.wish;
            let thread = self.thread(wish.thread.tid);
            let target = Target {
                kind: wish.kind.clone(),
                thread: wish.thread,
                started_by: 1,
                found: thread.mask.clone(),
                unpinned: false,
                wanted: wish.cpus.clone(),
            };
            let mut mask = wish.cpus.intersection(&online);
            if let Some(allowed) = &self.allowed {
                mask = mask.intersection(allowed);
            }
            assert!(!mask.is_empty(), "the kernel would refuse {wish:?}");
            self.thread(wish.thread.tid).mask = mask;
            self.entry.remember(&[target]);
        }
        outcome
    }

    fn thread(&mut self, tid: Tid) -> &mut LiveThread {
        let own = self.live.threads.iter_mut();
        let mut all = own.chain(&mut self.vhost);
        all.find(|thread| thread.tid == tid).unwrap()
    }

    /// The masks of the vCPUs.
    fn masks(&self) -> String {
        let masks: Vec<String> = self.live.vcpu_masks().map(ToString::to_string).collect();
        masks.join(" ")
    }
}

fn actions(outcome: &Outcome) -> Vec<String> {
    let text = |action: &Action| {
        let wish = &action.wish;
        format!("{} {}: {:?}", wish.kind, wish.cpus, action.why)
    };
    outcome.actions.iter().map(text).collect()
}

fn states(outcome: &Outcome) -> String {
    let states: Vec<&str> = outcome.threads.iter().map(|now| now.state.word()).collect();
    states.join(" ")
}

fn notes(outcome: &Outcome) -> Vec<String> {
    outcome.notes.iter().map(ToString::to_string).collect()
}

#[test]
fn a_new_guest_is_set_and_then_left_alone() {
    let mut world = World::new(2, &policy(Mode::OneToOne));
    assert_eq!(
        actions(&world.run()),
        ["vcpu 0 2: New", "vcpu 1 3: New"],
        "the L3 that is not the boot core's"
    );
    let then = world.outcome();
    assert_eq!(
        (actions(&then), states(&then)),
        (vec![], "right right kept".to_owned())
    );
    assert!(!then.has_drifted());
}

#[test]
fn drift_is_repaired_thread_by_thread() {
    let mut world = World::new(2, &policy(Mode::OneToOne));
    world.run();
    world.thread(Tid(4002)).mask = set("0-15");
    let outcome = world.run();
    assert_eq!(actions(&outcome), ["vcpu 1 3: Drifted"]);
    assert!(outcome.has_drifted());
    assert_eq!(states(&outcome), "right drifted kept");
    assert_eq!(world.masks(), "2 3");
}

#[test]
fn a_vcpu_that_is_plugged_later_gets_its_planned_cpu_and_nobody_else_moves() {
    let mut world = World::new(4, &policy(Mode::OneToOne));
    let late: Vec<LiveThread> = world.live.threads.drain(3..).collect();
    let first = world.run();
    assert_eq!(first.actions.len(), 2);
    assert_eq!(
        states(&first),
        "drifted drifted not plugged not plugged kept"
    );
    world.live.threads.extend(late.into_iter().take(1));
    let plugged = world.run();
    assert_eq!(plugged.actions.len(), 1);
    assert_eq!(plugged.actions[0].why, Why::New);
    let planned = world.entry.plan.vcpus[2].placed.cpus.clone();
    assert_eq!(world.live.threads[3].mask, planned);
}

#[test]
fn a_held_guest_is_left_alone() {
    let mut world = World::new(2, &policy(Mode::OneToOne));
    world.run();
    world.entry.state = EntryState::Held;
    world.thread(Tid(4001)).mask = set("0-15");
    let outcome = world.run();
    assert_eq!(actions(&outcome), Vec::<String>::new());
    assert_eq!(states(&outcome), "held held held");
    assert!(!outcome.has_drifted());
}

#[test]
fn a_guest_whose_process_is_gone_has_nothing_to_be_set() {
    let world = World::new(2, &policy(Mode::OneToOne));
    let outcome = reconcile(
        Around {
            host: &host(""),
            claims: &Claims::default(),
            settled: true,
        },
        Now {
            entry: &world.entry,
            live: None,
            vhost: &[],
            allowed: None,
        },
    );
    assert_eq!(
        (actions(&outcome), states(&outcome)),
        (vec![], "gone gone".to_owned())
    );
}

#[test]
fn other_threads_have_their_masks_and_spare_ones_give_way() {
    let spare = Policy {
        emulator: Some(Place::Spare),
        iothreads: Some(Place::Node),
        vhost: Some(Place::Spare),
        ..policy(Mode::OneToOne)
    };
    let mut world = World::new(2, &spare);
    let thread = |tid, comm: &str| LiveThread {
        tid: Tid(tid),
        comm: comm.into(),
        told: None,
        mask: set("0-15"),
    };
    world.live.threads.extend([
        thread(4100, "IO mon_iothread"),
        thread(4101, "IO iothread-scs"),
        thread(4102, "vhost-4000"),
        thread(4103, "kvm"),
    ]);
    // From the command line, an iothread has the name of the process: what QMP said is in the ledger.
    world.entry.remember(&[Target {
        kind: ThreadKind::Iothread {
            iothread: "iothread-virtio0".into(),
        },
        thread: Thread {
            pid: Pid(4000),
            tid: Tid(4103),
        },
        started_by: 1,
        found: set("0-15"),
        unpinned: true,
        wanted: set("0-15"),
    }]);
    world.vhost.push(thread(77, "vhost-4000"));
    assert_eq!(
        actions(&world.run()),
        [
            "vcpu 0 2: New",
            "vcpu 1 3: New",
            "iothread iothread-scs 0-3,8-11: New",
            "iothread iothread-virtio0 0-3,8-11: Claims",
            "vhost worker 0-1,8-11: New",
            "vhost worker 0-1,8-11: New",
            "emulator thread \"kvm\" 0-1,8-11: New",
            "emulator thread \"IO mon_iothread\" 0-1,8-11: New",
        ]
    );
    world.claimed = "0,8".into();
    assert_eq!(
        actions(&world.run()),
        [
            "vhost worker 1,9-11: Claims",
            "vhost worker 1,9-11: Claims",
            "emulator thread \"kvm\" 1,9-11: Claims",
            "emulator thread \"IO mon_iothread\" 1,9-11: Claims",
        ]
    );
    world.claimed = "0-1,8-11".into();
    let crowded = world.run();
    assert_eq!(
        crowded.actions.len(),
        4,
        "where nothing spare is left, they have what was planned: {crowded:?}"
    );
    assert!(
        crowded
            .actions
            .iter()
            .all(|action| action.wish.cpus == set("0-1,8-11"))
    );
}

#[test]
fn an_iothread_that_is_kept_is_not_taken_for_one_of_qemus_own() {
    let policy = Policy {
        emulator: Some(Place::Spare),
        ..policy(Mode::OneToOne)
    };
    let mut world = World::new(1, &policy);
    world.live.threads.push(LiveThread {
        tid: Tid(4103),
        comm: "kvm".into(),
        told: None,
        mask: set("0-15"),
    });
    let iothread = (Tid(4103), "iothread-scsi0".to_owned());
    world.entry.iothreads = [iothread].into();
    let outcome = world.run();
    assert_eq!(actions(&outcome).len(), 2, "vcpu and main: {outcome:?}");
    assert_eq!(states(&world.outcome()), "right kept right");
}

#[test]
fn threads_that_the_plan_does_not_know_are_told_and_left() {
    let mut world = World::new(2, &policy(Mode::OneToOne));
    world.live.threads[2].comm = "CPU 7/KVM".into();
    let outcome = world.run();
    assert_eq!(states(&outcome), "drifted not plugged kept kept");
    assert_eq!(
        notes(&outcome),
        [
            "vcpu(s) 7 are not in the plan and left as they are; does `args: -smp` differ from the config? (apply --replan)"
        ]
    );
    world.live.threads[1].comm = "ALL CPUs/TCG".into();
    assert_eq!(notes(&world.outcome()).len(), 2);
}

#[test]
fn mode_none_wants_nothing() {
    let mut world = World::new(2, &policy(Mode::None));
    let outcome = world.run();
    assert_eq!(
        (actions(&outcome), states(&outcome)),
        (vec![], "kept kept kept".to_owned())
    );
    assert_eq!(notes(&outcome), Vec::<String>::new());
}
