//! `numapin apply` on a simulated machine: text, JSON, and what is left alone when it fails.

use std::fs;
use std::time::{Duration, Instant};

use numapin_qmp_mock::{Accel, Fault, Guest, LyingTid, Mock, Pick, Script};
use numapin_sysfs_sim::Host;
use rstest::rstest;

use crate::support::{Lab, at, numapin};

const CONFIG: &str = "sockets: 2\ncores: 2\nnuma: 1\npinning: numa\n";

fn running(lab: &mut Lab) -> Mock {
    lab.config(100, CONFIG);
    lab.start(
        Guest::proxmox(100, 2, 2).numa_per_socket(),
        Script::healthy(),
    )
}

/// The masks of the vCPUs, in order.
fn vcpus(lab: &Lab, mock: &Mock) -> Vec<String> {
    let tids = mock.vcpu_tids().into_iter();
    tids.map(|tid| lab.mask(mock.pid(), tid)).collect()
}

#[test]
fn every_vcpu_is_pinned_and_told() {
    let mut lab = Lab::rfc();
    let mock = running(&mut lab);
    assert_eq!(vcpus(&lab, &mock), ["0-31"; 4]);
    let tids = mock.vcpu_tids();
    let masks = ["0-3,16-19", "0-3,16-19", "4-7,20-23", "4-7,20-23"];
    let lines = |state: &str| -> String {
        let lines = (0..4).map(|i| {
            format!(
                "pinning vcpu {i} (thread {}) to cpu(s) {}{state}\n",
                tids[i], masks[i]
            )
        });
        lines.collect()
    };
    let memory = "note: virtual node(s) 0, 1 have memory that is not bound to their host node: what is touched before the pins are \
                  set can be elsewhere\n";
    let run = lab.run(&["apply", "100"]).quiet(0);
    assert_eq!(run.out, lines("") + memory);
    assert_eq!(vcpus(&lab, &mock), masks);
    assert_eq!(lab.mask(mock.pid(), mock.main_tid()), "0-31", "no vcpu");

    let before = lab.masks(&mock);
    let run = lab.run(&["apply", "100"]).quiet(0);
    let nothing = "nothing to change: every mask is as planned\n";
    // The plan is the one that was kept; its notes were those of the moment when it was made.
    assert_eq!(run.out, lines(": already there") + nothing);
    assert_eq!(lab.masks(&mock), before);
}

#[test]
fn the_json_of_apply_holds_plan_and_report() {
    let mut lab = Lab::rfc();
    let mock = running(&mut lab);
    let args = ["apply", "100", "--format", "json", "--mode", "one-to-one"];
    let document = lab.run(&args).quiet(0).json();
    assert_eq!(at(&document, "/schema"), 1);
    assert_eq!(at(&document, "/plan/policy/mode"), "one-to-one");
    assert_eq!(at(&document, "/report/guest"), "100");
    assert_eq!(at(&document, "/report/pid"), mock.pid());
    let threads = at(&document, "/report/threads")
        .as_array()
        .expect("threads");
    let of_vcpus = threads
        .iter()
        .filter(|thread| at(thread, "/kind") == "vcpu");
    let told: Vec<_> = of_vcpus
        .map(|thread| {
            assert_eq!(at(thread, "/found"), "0-31");
            assert_eq!(at(thread, "/actual"), at(thread, "/wanted"));
            assert_eq!(at(thread, "/state"), "set");
            (at(thread, "/tid").as_u64(), at(thread, "/wanted").as_str())
        })
        .collect();
    let masks = vcpus(&lab, &mock);
    let expected: Vec<_> = mock
        .vcpu_tids()
        .into_iter()
        .zip(&masks)
        .map(|(tid, mask)| (Some(u64::from(tid)), Some(mask.as_str())))
        .collect();
    assert_eq!(told, expected);
    assert_eq!(masks, ["2", "3", "4", "5"]);
    // QEMU's own threads went to what is spare.
    let spare = lab.mask(mock.pid(), mock.main_tid());
    assert_eq!(spare, "0-1,6-7,16-23");
}

#[test]
fn a_second_guest_gets_other_cpus() {
    let mut lab = Lab::rfc();
    for vmid in [100, 101] {
        lab.config(vmid, "cores: 4\npinning: one-to-one\n");
    }
    let first = lab.start(Guest::proxmox(100, 1, 4), Script::healthy());
    let second = lab.start(Guest::proxmox(101, 1, 4), Script::healthy());
    lab.run(&["apply", "100"]).quiet(0);
    lab.run(&["apply", "101"]).quiet(0);
    let mut all = [vcpus(&lab, &first), vcpus(&lab, &second)].concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 8, "{all:?}");
}

#[test]
fn mode_none_asks_nobody() {
    let lab = Lab::small();
    lab.config(100, "cores: 2\n");
    let run = lab.run(&["apply", "100"]).quiet(0);
    assert_eq!(run.out, "guest 100: policy none, nothing is pinned\n");
}

#[test]
fn a_guest_that_does_not_fit_is_left_alone() {
    let mut lab = Lab::rfc();
    let mock = running(&mut lab);
    let before = lab.masks(&mock);
    let run = lab.run(&["apply", "100", "--affinity", "0-1,4"]).quiet(3);
    assert!(
        run.out
            .starts_with("guest 100 can't be pinned:\n  - virtual node"),
        "{}",
        run.out
    );
    let document = lab
        .run(&["apply", "100", "--affinity", "0-1,4", "--format", "json"])
        .quiet(3)
        .json();
    assert_eq!(at(&document, "/ok"), false);
    assert_eq!(lab.masks(&mock), before);
}

#[test]
fn a_mask_that_cannot_be_set_puts_the_others_back() {
    let mut lab = Lab::rfc();
    let mock = running(&mut lab);
    let before = lab.masks(&mock);
    let last = mock.vcpu_tids()[3];
    // The simulated kernel keeps a thread's mask in two files; one of them can't be written now.
    let wanted = lab.at(&format!("proc/{}/task/{last}/requested_cpus", mock.pid()));
    drop(fs::remove_file(&wanted));
    fs::create_dir(&wanted).expect("it can be made");
    let run = lab.run(&["apply", "100"]).ended(5);
    let start = format!("numapin: vcpu 3 (thread {last}): cpu(s) 4-7,20-23 could not be set: ");
    let end = "; the 3 masks set before it were put back\n";
    assert!(
        run.err.starts_with(&start) && run.err.ends_with(end),
        "{}",
        run.err
    );
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    assert_eq!(lab.masks(&mock), before);
    let document = lab
        .run(&["apply", "100", "--format", "json"])
        .ended(5)
        .json();
    assert_eq!(at(&document, "/error/kind"), "affinity");
    // And once it can be, all is set.
    fs::remove_dir(&wanted).expect("it is empty");
    lab.run(&["apply", "100"]).quiet(0);
    assert_eq!(vcpus(&lab, &mock)[3], "4-7,20-23");
}

#[rstest]
#[case::of_another_process(None)]
#[case::init(Some(1))]
fn a_foreign_thread_is_refused_and_nothing_touched(#[case] number: Option<i64>) {
    let mut lab = Lab::rfc();
    lab.config(100, CONFIG);
    let other = lab.start(Guest::proxmox(101, 1, 2), Script::healthy());
    let tid = number.unwrap_or(i64::from(other.vcpu_tids()[0]));
    if number.is_some() {
        // A task that is there, of a process of its own.
        let from = lab.at(&format!("proc/{}/task/{}", other.pid(), other.pid()));
        let to = lab.at(&format!("proc/{tid}/task/{tid}"));
        for dir in [to.clone(), lab.at(&format!("proc/{tid}"))] {
            fs::create_dir_all(&dir).expect("it can be made");
            for name in ["stat", "status", "comm"] {
                fs::copy(from.join(name), dir.join(name)).expect("it can be copied");
            }
        }
    }
    let lie = Fault::ThreadId {
        vcpu: Pick::Nth(1),
        tid: LyingTid::Number(tid),
    };
    let mock = lab.start(Guest::proxmox(100, 2, 2).numa_per_socket(), Script::of(lie));
    let before = (lab.masks(&mock), lab.masks(&other));
    let line = format!(
        "thread {tid}, said to be vcpu 1, is no thread of process {}; nothing was set; is something else than the guest's QEMU \
         answering on the socket?",
        mock.pid()
    );
    lab.run(&["apply", "100"]).refused(5, &line);
    assert_eq!((lab.masks(&mock), lab.masks(&other)), before);
}

#[test]
fn vcpus_of_one_thread_are_refused_with_the_reason() {
    let mut lab = Lab::rfc();
    lab.config(100, "cores: 4\npinning: one-to-one\n");
    let guest = Guest {
        accel: Accel::TcgSingle,
        ..Guest::proxmox(100, 1, 4)
    };
    let mock = lab.start(guest, Script::healthy());
    let before = lab.masks(&mock);
    let why = "so that none can be pinned alone";
    let mend = "nothing was set; start QEMU with KVM or with -accel tcg,thread=multi";
    let tid = mock.vcpu_tids()[0];
    let line = format!(
        "vcpus 0-3 share thread {tid}, {why} (TCG with thread=single runs all vcpus in turn); {mend}"
    );
    lab.run(&["apply", "100"]).refused(5, &line);
    // By the names of the threads, too.
    let held = mock.hold().expect("the first client");
    let line = format!(
        "thread {tid} runs all vcpus (it is named \"ALL CPUs\", as TCG with thread=single does it), {why}; {mend}"
    );
    lab.run(&["apply", "100", "--deadline", "0.3"])
        .refused(5, &line);
    drop(held);
    assert_eq!(lab.masks(&mock), before);
}

#[test]
fn where_qmp_stays_busy_names_tell_the_vcpus() {
    let mut lab = Lab::rfc();
    let mock = running(&mut lab);
    let held = mock.hold().expect("the first client");
    let begin = Instant::now();
    let run = lab.run(&["apply", "100", "--deadline", "0.3"]).ended(0);
    assert!(begin.elapsed() < Duration::from_secs(10));
    drop(held);
    assert_eq!(
        vcpus(&lab, &mock),
        ["0-3,16-19", "0-3,16-19", "4-7,20-23", "4-7,20-23"]
    );
    let note = "note: qmp was busy: vcpus were told by the names of the threads (qmp socket ROOT/run/qemu-server/100.qmp: no \
                greeting within 0.3 s: another client is being served, and QEMU serves one at a time; try again, or give a longer \
                --deadline)\n";
    assert!(run.out.contains(note), "{}", run.out);
}

#[test]
fn busy_and_without_names_nothing_can_be_done() {
    let mut lab = Lab::small();
    lab.config(100, "cores: 2\npinning: numa\n");
    let guest = Guest {
        debug_threads: false,
        ..Guest::proxmox(100, 1, 2)
    };
    let mock = lab.start(guest, Script::healthy());
    let held = mock.hold().expect("the first client");
    let line = format!(
        "no thread of process {} is named like a vcpu (\"CPU 0/KVM\"), and qmp is busy; nothing was set; try again, give a longer \
         --deadline, or start QEMU with -name NAME,debug-threads=on",
        mock.pid()
    );
    let run = lab.run(&["apply", "100", "--deadline", "0.3"]).ended(4);
    assert_eq!(
        run.err.lines().last(),
        Some(format!("numapin: {line}").as_str())
    );
    drop(held);
    lab.run(&["apply", "100"]).ended(0);
}

#[test]
fn a_thread_that_ends_meanwhile_is_no_failure() {
    let mut lab = Lab::rfc();
    lab.config(100, CONFIG);
    let dies = Fault::Dies { vcpu: Pick::Nth(2) };
    let mock = lab.start(
        Guest::proxmox(100, 2, 2).numa_per_socket(),
        Script::of(dies),
    );
    let tid = mock.vcpu_tids()[2];
    let run = lab.run(&["apply", "100"]).quiet(0);
    let line = format!("pinning vcpu 2 (thread {tid}) to cpu(s) 4-7,20-23: the thread has ended\n");
    assert!(run.out.contains(&line), "{}", run.out);
    let last = mock
        .vcpus()
        .into_iter()
        .find(|vcpu| vcpu.index == 3)
        .expect("it lives");
    assert_eq!(lab.mask(mock.pid(), last.tid), "4-7,20-23");
}

#[test]
fn qemu_is_right_where_it_and_the_config_differ() {
    let mut lab = Lab::rfc();
    lab.config(100, "cores: 2\npinning: one-to-one\n");
    let mock = lab.start(Guest::proxmox(100, 1, 4), Script::healthy());
    let run = lab.run(&["apply", "100"]).quiet(0);
    assert_eq!(vcpus(&lab, &mock), ["4", "5", "6", "7"]);
    let note = "note: the config makes 2 vcpus (sockets x cores), QEMU has 4: QEMU is right\n";
    assert!(run.out.contains(note), "{}", run.out);
}

#[test]
fn vcpus_that_are_not_plugged_keep_their_places() {
    let mut lab = Lab::rfc();
    lab.config(100, "cores: 4\nvcpus: 2\npinning: one-to-one\n");
    let guest = Guest {
        vcpus: 2,
        ..Guest::proxmox(100, 1, 4)
    };
    let mock = lab.start(guest, Script::healthy());
    let run = lab.run(&["apply", "100"]).quiet(0);
    assert_eq!(vcpus(&lab, &mock), ["4", "5"]);
    let note = "note: vcpu(s) 2-3 are not plugged: their cpus are kept for when they come\n";
    assert!(run.out.contains(note), "{}", run.out);
    // When they come, they get them, and the others stay.
    mock.plug_vcpu(2).expect("a vCPU that is not there yet");
    lab.run(&["apply", "100"]).quiet(0);
    assert_eq!(vcpus(&lab, &mock), ["4", "5", "6"]);
}

#[test]
fn nothing_is_set_below_sysfs_root() {
    let mut lab = Lab::rfc();
    let mock = running(&mut lab);
    let before = lab.masks(&mock);
    let root = lab.path().to_str().expect("UTF-8").to_owned();
    let line = format!(
        "{root}: nothing can be set below --sysfs-root (leave it out for this machine, or give --root DIR for a simulated one)"
    );
    numapin(["apply", "100", "--sysfs-root", &root]).refused(2, &line);
    assert_eq!(lab.masks(&mock), before);
}

#[test]
fn a_plain_qemu_is_pinned_by_its_socket() {
    let mut lab = Lab::of(&Host::grid(1, 2, 1, 2, 1));
    let mock = lab.start(
        Guest::plain("web", 2, 1).numa(&["0", "1"]),
        Script::healthy(),
    );
    let socket = mock.socket().to_str().expect("UTF-8").to_owned();
    let run = lab
        .run(&["apply", "--qmp", &socket, "--mode", "numa"])
        .quiet(0);
    assert_eq!(run.out.matches("pinning vcpu").count(), 2, "{}", run.out);
    assert_eq!(vcpus(&lab, &mock), ["0-1", "2-3"]);
    let args = [
        "apply",
        "--qmp",
        &socket,
        "--mode",
        "numa",
        "--host-node",
        "0=1",
    ];
    lab.run(&args).quiet(0);
    assert_eq!(vcpus(&lab, &mock)[0], "2-3");
}

#[test]
fn a_file_names_its_guest_by_its_number_only() {
    let mut lab = Lab::rfc();
    let mock = running(&mut lab);
    lab.write("db.conf", CONFIG);
    let line =
        "no running guest is named (expected a VMID, a file named VMID.conf, or --qmp SOCKET)";
    lab.run(&["apply", "./db.conf"]).refused(2, line);
    assert_eq!(vcpus(&lab, &mock), ["0-31"; 4]);
    lab.write("100.conf", CONFIG);
    lab.run(&["apply", "100.conf"]).quiet(0);
    assert_eq!(vcpus(&lab, &mock)[0], "0-3,16-19");
}
