use std::fs;

use rstest::rstest;
use tempfile::TempDir;

use super::*;

/// A machine of files.
pub(crate) struct Tree(TempDir);

impl Tree {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let tree = Self(dir.unwrap());
        fs::create_dir_all(tree.0.path().join("proc")).unwrap();
        tree
    }

    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// A process with tasks: the name and the mask of each.
    fn process(mut self, pid: i32, cmdline: &str, tasks: &[(&str, &str)]) -> Self {
        self = self.file(&format!("proc/{pid}/cmdline"), cmdline);
        for (tid, (comm, mask)) in (pid..).zip(tasks) {
            let status = format!("Name:\t{comm}\nUmask:\t0027\nCpus_allowed_list:\t{mask}\n");
            self = self.file(&format!("proc/{pid}/task/{tid}/status"), &status);
        }
        self
    }

    pub(crate) fn proxmox(self, vmid: u32, pid: i32, tasks: &[(&str, &str)]) -> Self {
        let cmdline = format!("/usr/bin/kvm\0-pidfile\0/var/run/qemu-server/{vmid}.pid\0");
        self.process(pid, &cmdline, tasks)
            .file(&format!("run/qemu-server/{vmid}.pid"), &format!("{pid}\n"))
    }

    pub(crate) fn root(&self) -> Root {
        Root::captured(self.0.path()).unwrap()
    }

    fn live(&self) -> Live {
        read(&self.root()).unwrap()
    }

    pub(crate) fn path(&self, path: &str) -> String {
        self.0.path().join(path).display().to_string()
    }
}

fn set(list: &str) -> CpuSet {
    list.parse().unwrap()
}

fn told(live: &Live) -> Vec<String> {
    live.warnings.iter().map(ToString::to_string).collect()
}

fn held(claims: &Claims) -> Vec<String> {
    let one = claims.one_to_one.iter().map(|(cpu, guests)| {
        let guests: Vec<&str> = guests.iter().map(|guest| &*guest.0).collect();
        format!("{cpu}:{}", guests.join("+"))
    });
    let several = claims
        .set_pinned
        .iter()
        .map(|pinned| format!("{}x{}:{}", pinned.vcpus, pinned.mask, pinned.guest));
    let none = claims
        .unpinned
        .iter()
        .map(|(guest, n)| format!("{n}:{guest}"));
    one.chain(several).chain(none).collect()
}

#[test]
fn masks_of_every_vcpu_count_and_those_of_other_threads_do_not() {
    let tree = Tree::new()
        .proxmox(
            100,
            4000,
            &[
                ("kvm", "5"),
                ("CPU 0/KVM", "2"),
                ("CPU 1/KVM", "3"),
                ("call_rcu", "7"),
                ("vhost-4000", "6"),
            ],
        )
        .proxmox(
            20,
            5000,
            &[
                ("kvm", "0-7"),
                ("CPU 0/KVM", "0-1"),
                ("CPU 1/KVM", "0-1"),
                ("CPU 2/KVM", "4"),
                ("CPU 3/KVM", "0-7"),
            ],
        );
    let live = tree.live();
    assert_eq!(told(&live), Vec::<String>::new());
    let claims = |own| held(&live.claims(&set("0-7"), own));
    assert_eq!(
        claims(Own::default()),
        ["2:100", "3:100", "4:20", "2x0-1:20", "1:20"]
    );
    assert_eq!(claims(Own::guest(Vmid(20))), ["2:100", "3:100"]);
    assert_eq!(
        claims(Own::process(Pid(4000))),
        ["4:20", "2x0-1:20", "1:20"]
    );
}

#[rstest]
#[case::one_cpu_host("0", "0", &["1:100"])]
#[case::more_than_online("0-7", "0-127", &["1:100"])]
#[case::offline_counts_in_a_mask("0-3", "2,6", &["1x2,6:100"])]
#[case::pinned_to_an_offline_cpu("0-3", "6", &["6:100"])]
#[case::cpuset("0-7", "0-3", &["1x0-3:100"])]
fn a_mask_counts_as_it_stands(#[case] online: &str, #[case] mask: &str, #[case] expected: &[&str]) {
    let live = Tree::new()
        .proxmox(100, 4000, &[("CPU 0/KVM", mask)])
        .live();
    assert_eq!(held(&live.claims(&set(online), Own::default())), expected);
}

#[test]
fn two_guests_can_hold_one_cpu() {
    let tree = Tree::new()
        .proxmox(101, 4000, &[("CPU 0/KVM", "2")])
        .proxmox(100, 5000, &[("CPU 0/TCG", "2")])
        .process(6000, "qemu-system-x86_64\0", &[("ALL CPUs/TCG", "2")]);
    let claims = tree.live().claims(&set("0-3"), Own::default());
    assert_eq!(held(&claims), ["2:100+101+pid 6000"]);
}

#[test]
fn other_qemus_are_found_by_their_command() {
    let vcpu = |mask| [("CPU 0/KVM", mask)];
    let tree = Tree::new()
        .process(1, "/sbin/init\0", &[("CPU 0/KVM", "0")])
        .process(
            70,
            "/usr/bin/qemu-system-x86_64\0-name\0guest=web,debug-threads=on\0",
            &vcpu("1"),
        )
        .process(71, "qemu-kvm\0-name\0twice\0", &vcpu("2"))
        .process(72, "qemu-kvm\0-name\0twice\0", &vcpu("3"))
        .process(73, "kvm\0-name\x00100\0", &vcpu("4"))
        .process(74, "qemu-nbd\0-c\0/dev/nbd0\0", &[("qemu-nbd", "5")])
        .process(75, "kvm\0-name\0plain\0", &[("qemu-system-x86", "6")]);
    let live = tree.live();
    let names: Vec<&str> = live.guests.iter().map(|guest| &*guest.name.0).collect();
    assert_eq!(names, ["web", "pid 71", "pid 72", "pid 73", "plain"]);
    assert_eq!(
        told(&live),
        [
            "process 75 is a QEMU whose threads are not named: what its vcpus hold is not seen; start it with -name \
          plain,debug-threads=on"
        ]
    );
}

#[test]
fn the_pid_file_says_which_of_two_processes_is_the_guest() {
    let cmdline = "kvm\0-pidfile\0/run/qemu-server/100.pid\0";
    let tree = Tree::new()
        .process(50, cmdline, &[("CPU 0/KVM", "1")])
        .proxmox(100, 60, &[("CPU 0/KVM", "2")]);
    let live = tree.live();
    let guests: Vec<_> = live
        .guests
        .iter()
        .map(|guest| (&*guest.name.0, guest.pid))
        .collect();
    assert_eq!(guests, [("100", Pid(60)), ("pid 50", Pid(50))]);
    let claims = live.claims(&set("0-3"), Own::guest(Vmid(100)));
    assert_eq!(
        held(&claims),
        ["1:pid 50"],
        "the other one is not the guest's own"
    );
}

#[test]
fn a_capture_without_command_lines_has_its_pid_files() {
    let tree = Tree::new()
        .file("run/qemu-server/100.pid", "4000\n")
        .file("run/qemu-server/101.pid", "4999\n")
        .file("run/qemu-server/100.qmp", "")
        .file("proc/4000/task/4001/comm", "CPU 0/KVM\n")
        .file("proc/4000/task/4001/status", "Cpus_allowed:\t00000004\n");
    let live = tree.live();
    assert_eq!(told(&live), Vec::<String>::new());
    assert_eq!(held(&live.claims(&set("0-3"), Own::default())), ["2:100"]);
}

#[test]
fn what_can_not_be_understood_is_told_and_spoils_nothing_else() {
    let tree = Tree::new()
        .file("run/qemu-server/99.pid", "x\n")
        .proxmox(100, 4000, &[("CPU 0/KVM", "3-1"), ("CPU 1/KVM", "2")])
        .file("proc/4000/task/4002/status", "Name:\tCPU 2/KVM\n")
        .file("proc/4000/task/4003/stat", "");
    let live = tree.live();
    assert_eq!(
        told(&live),
        [
            format!(
                "{}: \"x\" is no process number; what this guest holds is not seen",
                tree.path("run/qemu-server/99.pid")
            ),
            format!(
                "{}: \"3-1\" is no list of cpus; the mask of this thread is not seen",
                tree.path("proc/4000/task/4000/status")
            ),
            format!(
                "{}: has no line \"Cpus_allowed_list:\": the mask of this thread is not seen",
                tree.path("proc/4000/task/4002/status")
            ),
        ]
    );
    assert_eq!(held(&live.claims(&set("0-3"), Own::default())), ["2:100"]);
}

#[test]
fn confined_containers_are_told_where_they_overlap() {
    let tree = Tree::new()
        .file("sys/fs/cgroup/lxc/200/cpuset.cpus.effective", "0-3\n")
        .file("sys/fs/cgroup/lxc/201/cpuset.cpus.effective", "0-7\n")
        .file("sys/fs/cgroup/lxc/202/cpuset.cpus.effective", "\n")
        .file("sys/fs/cgroup/lxc/202/cpuset.cpus", "6-7\n")
        .file("sys/fs/cgroup/lxc/203/memory.max", "max\n")
        .file("sys/fs/cgroup/cpuset/lxc/204/cpuset.cpus", "3-5\n")
        .file("sys/fs/cgroup/lxc/205/cpuset.cpus.effective", "all\n");
    let live = tree.live();
    let there: Vec<String> = live
        .containers_on(&set("2-3,7"), &set("0-7"))
        .iter()
        .map(|container| format!("{}:{}", container.vmid, container.cpus))
        .collect();
    assert_eq!(there, ["200:2-3", "202:7", "204:3"]);
    assert_eq!(
        told(&live),
        [format!(
            "{}: \"all\" is no list of cpus; the cpuset of this container is not seen",
            tree.path("sys/fs/cgroup/lxc/205/cpuset.cpus.effective")
        )]
    );
}

#[test]
fn a_bare_sysfs_runs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let live = read(&Root::sysfs(dir.path()).unwrap()).unwrap();
    assert!(live.guests.is_empty() && live.warnings.is_empty());
}
