//! The shape of the guest that a mock pretends to run.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::MockError;
use crate::masks::parse_list;

/// The shape of a guest, and how its QEMU was started. All fields have defaults: one vCPU under KVM.
///
/// The vCPUs that are there are `0..vcpus` (from `-smp`), followed by those of `plugged`, in plug order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guest {
    /// The VMID of a Proxmox VE guest; none for plain QEMU.
    pub vmid: Option<u32>,
    /// The name, as `-name` has it.
    pub name: String,
    /// Sockets of `-smp`.
    pub sockets: u32,
    /// Dies a socket. `die-id` is among the props only where this is above 1 (seen on QEMU 7.2 and 10.0).
    pub dies: u32,
    /// Cores a die.
    pub cores: u32,
    /// Threads a core; Proxmox VE never sets more than 1.
    pub threads: u32,
    /// vCPUs at start, the first of all possible ones; 0 means all of them.
    pub vcpus: u32,
    /// cpu-index of each further vCPU that was plugged (with id `cpuN`, N = cpu-index + 1), in plug order.
    pub plugged: Vec<u32>,
    /// Virtual nodes; empty: started without `-numa`, and no vCPU tells a `node-id`.
    pub nodes: Vec<VirtualNode>,
    /// Ids of the iothreads, in the order of the command line.
    pub iothreads: Vec<String>,
    /// vhost workers.
    pub vhost: Vhost,
    /// Accelerator.
    pub accel: Accel,
    /// Version of QEMU.
    pub qemu: QemuVersion,
    /// `-name debug-threads=on`: threads are named after what they do.
    pub debug_threads: bool,
    /// State at start.
    pub state: RunState,
    /// What the guest does when a vCPU is to be unplugged.
    pub unplug: Unplug,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// CPU model of `-cpu`.
    pub cpu_model: String,
    /// Path of the program, as argv\[0\] has it; the last part is the process's comm.
    pub binary: String,
    /// CPUs that taskset was told (list form); what of it is not allowed on the host is left away, as the kernel does.
    pub affinity: Option<String>,
    /// `cpuset.cpus.effective` of the guest's cgroup (list form); none: the file is absent, as on a stock Proxmox node.
    pub cpuset: Option<String>,
    /// cgroup path; none: `/qemu.slice/VMID.scope`, or `/` for plain QEMU.
    pub cgroup: Option<String>,
    /// MiB of anonymous memory on each host node, for `memory.numa_stat`; empty: the file is absent.
    pub numa_stat: BTreeMap<u32, u64>,
    /// What is appended to the command line, as Proxmox VE's `args`.
    pub args: Vec<String>,
    /// vCPUs run (fake: state R; real: they spin) instead of sleeping.
    pub busy: bool,
    /// Start time of the process in clock ticks since boot (field 22 of stat); none: made up from its id. Only for fake threads.
    pub start_ticks: Option<u64>,
    /// Worker threads that are there at start.
    pub workers: u32,
}

/// A virtual node, as `-numa node` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualNode {
    /// Its vCPUs (list form). vCPUs that no virtual node names belong to the first one, as QEMU does it.
    pub cpus: String,
    /// Host nodes its memory is bound to (list form), if any.
    #[serde(default)]
    pub host_nodes: Option<String>,
}

/// Accelerator, and how its vCPU threads are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accel {
    /// KVM: a thread for each vCPU, `CPU n/KVM`.
    #[default]
    Kvm,
    /// TCG with a thread for each vCPU, `CPU n/TCG`.
    TcgMulti,
    /// TCG round-robin: all vCPUs share one thread, `ALL CPUs/TCG`.
    TcgSingle,
}

/// Version of QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum QemuVersion {
    /// 7.2, of Debian 12: query-status still tells `singlestep`.
    #[serde(rename = "7.2")]
    V7_2,
    /// 10.0.
    #[default]
    #[serde(rename = "10.0")]
    V10_0,
}

/// Run state, as query-status tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// The guest runs.
    #[default]
    Running,
    /// Started with `-S`.
    Prelaunch,
    /// Started with `-incoming`: the vCPU threads are there, the guest does not run yet.
    Inmigrate,
    /// Stopped by `stop`.
    Paused,
    /// Migrated away; QEMU waits to be ended.
    Postmigrate,
}

/// What the guest does when it is asked to give up a vCPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unplug {
    /// It lets go after so many milliseconds; DEVICE_DELETED follows.
    After(u64),
    /// It never answers: the vCPU stays.
    Never,
    /// It refuses at once: ACPI_DEVICE_OST with source 3, and the vCPU stays.
    Refused,
    /// No system runs in the guest yet: QEMU refuses device_del itself.
    NotBooted,
}

/// How vhost workers show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vhost {
    /// No vhost.
    #[default]
    None,
    /// So many tasks of the QEMU process, comm `vhost-PID` (kernels from 6.4).
    Tasks(u32),
    /// So many kernel threads of their own, comm `vhost-PID` (before 6.4).
    KernelThreads(u32),
}

/// Where a vCPU sits in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) socket: u32,
    pub(crate) die: u32,
    pub(crate) core: u32,
    pub(crate) thread: u32,
    pub(crate) node: Option<u32>,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            vmid: None,
            name: "guest".to_owned(),
            sockets: 1,
            dies: 1,
            cores: 1,
            threads: 1,
            vcpus: 0,
            plugged: Vec::new(),
            nodes: Vec::new(),
            iothreads: Vec::new(),
            vhost: Vhost::None,
            accel: Accel::Kvm,
            qemu: QemuVersion::default(),
            debug_threads: true,
            state: RunState::Running,
            unplug: Unplug::After(200),
            memory_mib: 2048,
            cpu_model: "qemu64".to_owned(),
            binary: "/usr/bin/qemu-system-x86_64".to_owned(),
            affinity: None,
            cpuset: None,
            cgroup: None,
            numa_stat: BTreeMap::new(),
            args: Vec::new(),
            busy: false,
            start_ticks: None,
            workers: 0,
        }
    }
}

impl Guest {
    /// A running Proxmox VE guest without virtual nodes.
    #[must_use]
    pub fn proxmox(vmid: u32, sockets: u32, cores: u32) -> Self {
        Self {
            vmid: Some(vmid),
            name: format!("vm{vmid}"),
            sockets,
            cores,
            binary: "/usr/bin/kvm".to_owned(),
            ..Self::default()
        }
    }

    /// A running guest of plain QEMU without virtual nodes.
    #[must_use]
    pub fn plain(name: &str, sockets: u32, cores: u32) -> Self {
        Self {
            name: name.to_owned(),
            sockets,
            cores,
            ..Self::default()
        }
    }

    /// Reads a guest from a JSON file with the fields of this type.
    ///
    /// # Errors
    /// The file can't be read, or is no guest: unknown fields are refused.
    pub fn load(path: &std::path::Path) -> Result<Self, MockError> {
        crate::load_json(path)
    }

    /// One virtual node a socket, as Proxmox VE's `numa: 1` gives without `numaN`.
    #[must_use]
    pub fn numa_per_socket(mut self) -> Self {
        let per_socket = self.dies * self.cores * self.threads;
        self.nodes = (0..self.sockets)
            .map(|socket| {
                let first = socket * per_socket;
                VirtualNode {
                    cpus: match per_socket {
                        1 => first.to_string(),
                        n => format!("{first}-{}", first + n - 1),
                    },
                    host_nodes: None,
                }
            })
            .collect();
        self
    }

    /// Virtual nodes with these vCPUs (list form), without host nodes.
    #[must_use]
    pub fn numa(mut self, cpus: &[&str]) -> Self {
        self.nodes = cpus
            .iter()
            .map(|cpus| VirtualNode {
                cpus: (*cpus).to_owned(),
                host_nodes: None,
            })
            .collect();
        self
    }

    /// All vCPUs that could be there: sockets x dies x cores x threads.
    #[must_use]
    pub fn max_vcpus(&self) -> u32 {
        [self.dies, self.cores, self.threads]
            .iter()
            .fold(self.sockets, |n, &more| n.saturating_mul(more))
    }

    /// vCPUs of `-smp`, without the plugged ones.
    #[must_use]
    pub fn boot_vcpus(&self) -> u32 {
        match self.vcpus {
            0 => self.max_vcpus(),
            n => n,
        }
    }

    /// Name of the CPU's device type.
    pub(crate) fn cpu_type(&self) -> String {
        format!("{}-x86_64-cpu", self.cpu_model)
    }

    /// comm of the process: the program's name, cut as the kernel does.
    pub(crate) fn process_comm(&self) -> String {
        let name = self.binary.rsplit('/').next().unwrap_or(&self.binary);
        cut_comm(name)
    }

    pub(crate) fn cgroup_path(&self) -> String {
        match (&self.cgroup, self.vmid) {
            (Some(path), _) => path.clone(),
            (None, Some(vmid)) => format!("/qemu.slice/{vmid}.scope"),
            (None, None) => "/".to_owned(),
        }
    }

    /// Where a vCPU sits; on x86, cpu-index is the place among all possible vCPUs.
    pub(crate) fn seat(&self, index: u32) -> Seat {
        let thread = index % self.threads;
        let core = index / self.threads % self.cores;
        let die = index / self.threads / self.cores % self.dies;
        let socket = index / self.threads / self.cores / self.dies;
        Seat {
            socket,
            die,
            core,
            thread,
            node: self.node_of(index),
        }
    }

    /// Virtual node of a vCPU: the one that names it, the first one where none does, none without virtual nodes.
    fn node_of(&self, index: u32) -> Option<u32> {
        let named = (0_u32..).zip(&self.nodes).find_map(|(id, node)| {
            let cpus = parse_list(&node.cpus).unwrap_or_default();
            cpus.contains(&index).then_some(id)
        });
        named.or((!self.nodes.is_empty()).then_some(0))
    }

    /// Refuses what QEMU would not have started with.
    ///
    /// # Errors
    /// [`MockError::Guest`] or [`MockError::List`] for the first thing found.
    pub fn check(&self) -> Result<(), MockError> {
        let wrong = |what: String| {
            Err(MockError::Guest {
                guest: self.name.clone(),
                what,
            })
        };
        let max = self.max_vcpus();
        if max == 0 || max > 4096 {
            return wrong(format!("{max} possible vCPUs, expected 1 to 4096"));
        }
        if self.boot_vcpus() > max {
            let vcpus = self.vcpus;
            return wrong(format!("vcpus {vcpus} of {max} possible ones"));
        }
        let mut present: BTreeSet<u32> = (0..self.boot_vcpus()).collect();
        for &index in &self.plugged {
            if index >= max {
                return wrong(format!("plugged vCPU {index} of {max} possible ones"));
            }
            if !present.insert(index) {
                return wrong(format!("vCPU {index} is plugged twice"));
            }
        }
        let mut taken = BTreeMap::new();
        for (id, node) in self.nodes.iter().enumerate() {
            for cpu in parse_list(&node.cpus)? {
                if cpu >= max {
                    return wrong(format!(
                        "CPU index ({cpu}) should be smaller than maxcpus ({max})"
                    ));
                }
                if let Some(other) = taken.insert(cpu, id).filter(|&other| other != id) {
                    return wrong(format!("CPU {cpu} is already assigned to node-id: {other}"));
                }
            }
            node.host_nodes
                .as_deref()
                .map_or(Ok(BTreeSet::new()), parse_list)?;
        }
        for list in [&self.affinity, &self.cpuset].into_iter().flatten() {
            parse_list(list)?;
        }
        Ok(())
    }
}

/// A thread's or process's name as the kernel keeps it: at most 15 bytes.
pub(crate) fn cut_comm(name: &str) -> String {
    let mut end = name.len().min(15);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}
