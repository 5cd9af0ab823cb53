use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};

use rstest::rstest;
use tempfile::TempDir;

use super::*;

/// A captured root with one process of one thread.
fn tree(stat: &str, status: &str) -> (TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    for place in ["proc/47", "proc/47/task/48"] {
        let place = dir.path().join(place);
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("stat"), stat).unwrap();
        fs::write(place.join("status"), status).unwrap();
    }
    let root = Root::captured(dir.path()).unwrap();
    (dir, root)
}

const STAT: &str = "47 (kvm) S 1 47 47 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 123456 99 100\n";
const STATUS: &str = "Name:\tkvm\nCpus_allowed:\tff\nCpus_allowed_list:\t0-7\nMems_allowed:\t1\n";

#[rstest]
#[case::plain(STAT, "kvm")]
#[case::spaces(
    "47 (CPU 0/KVM) S 1 47 47 0 -1 64 1 2 3 4 5 6 7 8 20 0 9 0 123456 99",
    "CPU 0/KVM"
)]
#[case::brackets(
    "47 (a) S 1 (b) R) S 1 47 47 0 -1 64 1 2 3 4 5 6 7 8 20 0 9 0 123456",
    "a) S 1 (b) R"
)]
#[case::line_break("47 (a\nb) S 1 47 47 0 -1 64 1 2 3 4 5 6 7 8 20 0 9 0 123456", "a\nb")]
#[case::nameless("47 () S 1 47 47 0 -1 64 1 2 3 4 5 6 7 8 20 0 9 0 123456", "")]
fn stat_is_read_after_the_last_bracket(#[case] stat: &str, #[case] comm: &str) {
    let (_dir, root) = tree(stat, STATUS);
    let expected = Process {
        pid: Pid(47),
        start_time: 123_456,
    };
    assert_eq!(process(&root, Pid(47)).unwrap(), Some(expected));
    let task = task(&root, Pid(47), Tid(48)).unwrap().unwrap();
    assert_eq!(
        (&*task.comm, task.start_time, task.mask.to_string()),
        (comm, 123_456, "0-7".into())
    );
    assert_eq!(task_start(&root, Pid(47), Tid(48)).unwrap(), Some(123_456));
}

#[rstest]
#[case::empty("")]
#[case::short("47 (kvm) S 1 2 3")]
#[case::no_name("47 kvm S 1 47 47 0 -1 64 1 2 3 4 5 6 7 8 20 0 9 0 123456")]
#[case::not_a_number("47 (kvm) S 1 47 47 0 -1 64 1 2 3 4 5 6 7 8 20 0 9 0 soon")]
#[case::closed_first("47 )kvm( S 1 47 47 0 -1 64 1 2 3 4 5 6 7 8 20 0 9 0 5")]
fn a_stat_that_is_none_names_its_file(#[case] stat: &str) {
    let (dir, root) = tree(stat, STATUS);
    let told = process(&root, Pid(47)).unwrap_err().to_string();
    let start = format!(
        "{}/proc/47/stat:1: {stat:?} is no line of a process",
        dir.path().display()
    );
    assert!(told.starts_with(&start), "{told}");
}

#[rstest]
#[case::list("Cpus_allowed_list:\t2,4-5\n", "2,4-5")]
#[case::mask_only("Name:\tx\nCpus_allowed:\t00000001,00000000\n", "32")]
#[case::nothing("Cpus_allowed_list:\t\n", "")]
fn masks_are_read_from_status(#[case] status: &str, #[case] expected: &str) {
    let (_dir, root) = tree(STAT, status);
    assert_eq!(tasks(&root, Pid(47)).unwrap()[0].mask.to_string(), expected);
}

#[rstest]
#[case(
    "Name:\tx\nCpus_allowed_list:\t3-1\n",
    ":2: \"3-1\" is no list of cpus"
)]
#[case("Cpus_allowed:\txyz\n", ":1: \"xyz\" is no mask of cpus")]
#[case("Name:\tx\n", ": has no line \"Cpus_allowed_list:\"")]
fn a_status_without_a_mask_names_its_line(#[case] status: &str, #[case] expected: &str) {
    let (dir, root) = tree(STAT, status);
    let told = tasks(&root, Pid(47)).unwrap_err().to_string();
    assert_eq!(
        told,
        format!("{}/proc/47/task/48/status{expected}", dir.path().display())
    );
}

#[test]
fn what_is_gone_is_no_error() {
    let (dir, root) = tree(STAT, STATUS);
    assert_eq!(process(&root, Pid(1)).unwrap(), None);
    assert_eq!(tasks(&root, Pid(1)).unwrap(), []);
    assert_eq!(task(&root, Pid(47), Tid(49)).unwrap(), None);
    fs::remove_file(dir.path().join("proc/47/task/48/status")).unwrap();
    assert_eq!(tasks(&root, Pid(47)).unwrap(), []);
    assert_eq!(owner(&root, Tid(48)).unwrap(), Some(Pid(47)));
    assert_eq!(owner(&root, Tid(49)).unwrap(), None);
}

#[test]
fn vhost_kernel_threads_belong_to_the_process_they_are_named_after() {
    let (dir, root) = tree(STAT, STATUS);
    let kernel = |pid: &str, comm: &str, cmdline: &str| {
        let place = dir.path().join("proc").join(pid);
        let task = place.join("task").join(pid);
        fs::create_dir_all(&task).unwrap();
        for (file, text) in [("stat", STAT), ("status", STATUS), ("comm", comm)] {
            fs::write(task.join(file), text).unwrap();
            fs::write(place.join(file), text).unwrap();
        }
        fs::write(place.join("cmdline"), cmdline).unwrap();
    };
    kernel("900", "vhost-47\n", "");
    kernel("901", "vhost-48\n", "");
    kernel("902", "vhost-47\n", "/bin/liar\0");
    kernel("99", "vhost-47\n", "");
    let found = vhost_kernel_threads(&root, Pid(47)).unwrap();
    let tids: Vec<(i32, i32)> = found.iter().map(|task| (task.pid.0, task.tid.0)).collect();
    assert_eq!(tids, [(99, 99), (900, 900)]);
}

#[rstest]
#[case::as_the_kernel_writes_it("15247.48 6880.62\n", Ok(1_524_748))]
#[case::just_booted("0.03 0.00\n", Ok(3))]
#[case::no_fraction("15247 6880\n", Err("\"15247 6880\\n\""))]
#[case::more_digits("1.480 6.62\n", Err("\"1.480 6.62\\n\""))]
#[case::empty("", Err("\"\""))]
fn the_uptime_is_told_in_ticks(#[case] text: &str, #[case] expected: Result<u64, &str>) {
    let (dir, root) = tree(STAT, STATUS);
    assert_eq!(uptime(&root).unwrap(), None);
    fs::write(dir.path().join("proc/uptime"), text).unwrap();
    match (uptime(&root), expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found, Some(expected)),
        (Err(found), Err(value)) => assert_eq!(
            found.to_string(),
            format!(
                "{}/proc/uptime:1: {value} is no uptime in seconds (\"12345.67 2345.60\")",
                dir.path().display()
            )
        ),
        (found, expected) => panic!("{found:?}, not {expected:?}"),
    }
}

#[test]
fn a_liar_is_no_kernel_thread_on_this_machine() {
    let pid = Pid(std::process::id().cast_signed());
    let stop = Arc::new(AtomicBool::new(false));
    let named = Arc::new(Barrier::new(2));
    let liar = std::thread::Builder::new()
        .name(format!("vhost-{pid}"))
        .spawn({
            let (stop, named) = (stop.clone(), named.clone());
            move || {
                named.wait();
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            }
        });
    named.wait();
    let root = Root::live();
    // As a task of the process it counts, as a kernel thread it does not.
    let tasks = tasks(&root, pid).unwrap();
    let workers = tasks
        .iter()
        .filter(|task| task.comm == format!("vhost-{pid}"));
    let workers: Vec<Tid> = workers.map(|task| task.tid).collect();
    let kernel = vhost_kernel_threads(&root, pid).unwrap();
    stop.store(true, Ordering::Relaxed);
    liar.unwrap().join().unwrap();
    assert_eq!((workers.len(), kernel), (1, vec![]));
}

#[test]
fn this_process_is_read_as_it_is() {
    let root = Root::live();
    let pid = Pid(std::process::id().cast_signed());
    let me = process(&root, pid).unwrap().unwrap();
    assert!(me.start_time > 0);
    let tasks = tasks(&root, pid).unwrap();
    let main = tasks.iter().find(|task| task.tid.0 == pid.0).unwrap();
    assert_eq!(main.start_time, me.start_time);
    assert!(!main.mask.is_empty());
    assert!(guest_process(&root, Vmid(999_999_999)).unwrap().is_none());
}
