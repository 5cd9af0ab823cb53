use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rstest::rstest;
use tempfile::TempDir;

use super::*;
use crate::id::{Pid, Tid};
use crate::root::Root;

const THREAD: Thread = Thread {
    pid: Pid(50),
    tid: Tid(51),
};

/// A machine of 8 CPUs with one process of two threads (50 and 51) in a cgroup of its own.
struct Machine {
    dir: TempDir,
    kernel: Captured,
}

impl Machine {
    fn new(release: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        for cpu in 0..8 {
            fs::create_dir_all(top.join(format!("sys/devices/system/cpu/cpu{cpu}"))).unwrap();
        }
        write(&top.join("sys/devices/system/cpu/online"), "0-7\n");
        write(&top.join("proc/sys/kernel/osrelease"), release);
        write(&top.join("proc/50/cgroup"), "0::/qemu.slice/100.scope\n");
        for tid in [50, 51] {
            let status =
                "Name:\tkvm\nCpus_allowed:\tff\nCpus_allowed_list:\t0-7\nMems_allowed:\t1\n";
            write(&top.join(format!("proc/50/task/{tid}/status")), status);
        }
        let Ok(Root::Captured(root)) = Root::captured(top) else {
            unreachable!()
        };
        let kernel = Captured::new(&root);
        Self { dir, kernel }
    }

    fn online(&self, list: &str) {
        write(&self.dir.path().join("sys/devices/system/cpu/online"), list);
    }

    fn cpuset(&self, list: &str) {
        let file = "sys/fs/cgroup/qemu.slice/100.scope/cpuset.cpus.effective";
        write(&self.dir.path().join(file), list);
    }

    fn happens(&self, event: Event, busy: bool) {
        self.kernel.replay(event, THREAD.pid, &|_| busy).unwrap();
    }

    fn set(&self, list: &str) -> Result<(), AffinityError> {
        self.kernel.set(THREAD, &list.parse().unwrap())
    }

    /// The mask as `status` has it, and as `sched_getaffinity` tells it.
    fn masks(&self) -> [String; 2] {
        let status = self.status();
        let list = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:\t"));
        [
            list.unwrap().to_owned(),
            self.kernel.get(THREAD).unwrap().to_string(),
        ]
    }

    fn status(&self) -> String {
        fs::read_to_string(self.dir.path().join("proc/50/task/51/status")).unwrap()
    }
}

fn write(file: &Path, text: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

#[test]
fn a_mask_is_written_where_the_kernel_shows_it() {
    let machine = Machine::new("6.8.12-9-pve\n");
    machine.set("2-3").unwrap();
    let expected = "Name:\tkvm\nCpus_allowed:\t0c\nCpus_allowed_list:\t2-3\nMems_allowed:\t1\n";
    assert_eq!(machine.status(), expected);
    let task = machine.dir.path().join("proc/50/task/51");
    assert_eq!(
        fs::read_to_string(task.join("requested_cpus")).unwrap(),
        "2-3\n"
    );
    // Nothing else is left behind, and the other thread is as it was.
    assert_eq!(fs::read_dir(&task).unwrap().count(), 2);
    let other = fs::read_to_string(machine.dir.path().join("proc/50/task/50/status")).unwrap();
    assert!(other.contains("0-7"));
}

#[rstest]
#[case::partly_offline("0-3", "", "2-5", Ok("2-3"))]
#[case::partly_outside("0-7", "4-5", "2-5", Ok("4-5"))]
#[case::absent("0-7", "", "7,4000", Ok("7"))]
#[case::all("0-6", "4-7", "0-8191", Ok("4-6"))]
#[case::offline("0-3", "", "4", Err(()))]
#[case::outside("0-7", "4-5", "3", Err(()))]
#[case::nothing("0-7", "", "", Err(()))]
fn masks_are_narrowed_in_silence(
    #[case] online: &str,
    #[case] cpuset: &str,
    #[case] asked: &str,
    #[case] expected: Result<&str, ()>,
) {
    let machine = Machine::new("6.8.12\n");
    machine.online(online);
    if !cpuset.is_empty() {
        machine.cpuset(cpuset);
    }
    match (machine.set(asked), expected) {
        (Ok(()), Ok(expected)) => assert_eq!(machine.masks(), [expected, expected]),
        (Err(AffinityError::NothingUsable), Err(())) => assert_eq!(machine.masks()[0], "0-7"),
        (found, _) => panic!("{found:?}"),
    }
}

#[rstest]
#[case::of_the_slice("0::/qemu.slice/100.scope", "qemu.slice/cpuset.cpus.effective")]
#[case::of_the_top("0::/qemu.slice/100.scope", "cpuset.cpus.effective")]
#[case::v1("4:cpu,cpuset:/a/b\n0::/x", "cpuset/a/b/cpuset.effective_cpus")]
fn the_next_cpuset_above_binds(#[case] cgroup: &str, #[case] file: &str) {
    let machine = Machine::new("6.8.12\n");
    write(&machine.dir.path().join("proc/50/cgroup"), cgroup);
    write(
        &machine.dir.path().join("sys/fs/cgroup").join(file),
        "1-2\n",
    );
    machine.set("0-1").unwrap();
    assert_eq!(machine.masks(), ["1", "1"]);
}

#[test]
fn a_cgroup_path_does_not_lead_out_of_the_mount() {
    let machine = Machine::new("6.8.12\n");
    write(
        &machine.dir.path().join("proc/50/cgroup"),
        "0::/../../../evil",
    );
    write(
        &machine.dir.path().join("evil/cpuset.cpus.effective"),
        "7\n",
    );
    machine.set("0-1").unwrap();
    assert_eq!(machine.masks()[0], "0-1");
}

#[test]
fn a_thread_that_has_ended_is_gone() {
    let machine = Machine::new("6.8.12\n");
    fs::remove_dir_all(machine.dir.path().join("proc/50/task/51")).unwrap();
    assert!(matches!(machine.set("0"), Err(AffinityError::Gone)));
    assert!(matches!(
        machine.kernel.get(THREAD),
        Err(AffinityError::Gone)
    ));
}

#[test]
fn no_symlink_is_followed_out_of_the_root() {
    let machine = Machine::new("6.8.12\n");
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("status");
    let text = "Cpus_allowed:\tff\nCpus_allowed_list:\t0-7\n";
    fs::write(&victim, text).unwrap();
    let task = machine.dir.path().join("proc/50/task");
    let told = |machine: &Machine| machine.set("0").unwrap_err().to_string();
    // The file is a link.
    fs::remove_file(task.join("51/status")).unwrap();
    symlink(&victim, task.join("51/status")).unwrap();
    assert!(told(&machine).ends_with("51/status is not a regular file"));
    // The directory is a link.
    fs::remove_dir_all(task.join("51")).unwrap();
    symlink(outside.path(), task.join("51")).unwrap();
    assert!(told(&machine).contains("51 leads out of "));
    assert_eq!(fs::read_to_string(&victim).unwrap(), text);
}

#[test]
fn a_status_without_a_mask_is_named() {
    let machine = Machine::new("6.8.12\n");
    let status = machine.dir.path().join("proc/50/task/51/status");
    fs::write(&status, "Name:\tkvm\n").unwrap();
    let told = machine.kernel.get(THREAD).unwrap_err().to_string();
    assert!(
        told.ends_with("51/status: has no line Cpus_allowed_list with a list of cpus"),
        "{told}"
    );
    // The kernel has such lines always: they are there after the first set.
    machine.set("0").unwrap();
    assert_eq!(
        fs::read_to_string(&status).unwrap(),
        "Name:\tkvm\nCpus_allowed:\t1\nCpus_allowed_list:\t0\n"
    );
}

#[test]
fn old_captures_tell_what_is_online_by_cpu() {
    let machine = Machine::new("6.8.12\n");
    let cpu = machine.dir.path().join("sys/devices/system/cpu");
    fs::remove_file(cpu.join("online")).unwrap();
    fs::write(cpu.join("cpu1/online"), "0\n").unwrap();
    fs::write(cpu.join("cpu2/online"), "1\n").unwrap();
    machine.set("0-2").unwrap();
    assert_eq!(machine.masks()[0], "0,2");
}

#[test]
fn a_machine_without_cpus_is_told() {
    let machine = Machine::new("6.8.12\n");
    fs::remove_dir_all(machine.dir.path().join("sys")).unwrap();
    let told = machine.set("0").unwrap_err().to_string();
    assert!(
        told.ends_with("sys/devices/system/cpu: tells of no cpu that is online"),
        "{told}"
    );
}

#[rstest]
#[case("6.1.0-13-amd64", false)]
#[case("5.15.0", false)]
#[case("6.2.16-3-pve", true)]
#[case("6.12.1", true)]
#[case("7.0-rc1", true)]
#[case("unknown", true)]
fn kernels_remember_from_6_2_on(#[case] release: &str, #[case] expected: bool) {
    assert_eq!(remembers(release), expected);
}

#[rstest]
fn a_sleeping_thread_keeps_its_pin_when_the_cpu_goes(#[values("6.1.0", "6.12.0")] release: &str) {
    let machine = Machine::new(release);
    machine.set("2").unwrap();
    machine.online("0-1,3-7");
    machine.happens(Event::CpusOnline, false);
    assert_eq!(machine.masks(), ["2", ""]);
    machine.online("0-7");
    machine.happens(Event::CpusOnline, true);
    assert_eq!(machine.masks(), ["2", "2"]);
}

#[rstest]
fn a_busy_thread_gets_all_cpus_for_good(#[values("6.1.0", "6.12.0")] release: &str) {
    let machine = Machine::new(release);
    machine.set("2").unwrap();
    machine.online("0-1,3-7");
    machine.happens(Event::CpusOnline, true);
    assert_eq!(machine.masks(), ["0-7", "0-1,3-7"]);
    machine.online("0-7");
    machine.happens(Event::CpusOnline, true);
    assert_eq!(machine.masks(), ["0-7", "0-7"]);
}

#[test]
fn a_mask_of_which_something_is_left_stays() {
    let machine = Machine::new("6.1.0");
    machine.set("1-2").unwrap();
    machine.online("0-1,3-7");
    machine.happens(Event::CpusOnline, true);
    assert_eq!(machine.masks(), ["1-2", "1"]);
}

/// As seen on the real kernels 6.12 and 6.1.
#[rstest]
#[case("6.12.0", "2", "0-1", "2")]
#[case("6.1.0", "1-3", "0-1", "0-7")]
fn cpusets_change_masks_as_the_kernel_has_it(
    #[case] release: &str,
    #[case] moved: &str,
    #[case] narrowed: &str,
    #[case] widened: &str,
) {
    let machine = Machine::new(release);
    machine.set("2").unwrap();
    for (cpuset, expected) in [("1-3", moved), ("0-1", narrowed), ("0-7", widened)] {
        machine.cpuset(cpuset);
        machine.happens(Event::Cpuset, false);
        assert_eq!(machine.masks()[0], expected);
    }
}
