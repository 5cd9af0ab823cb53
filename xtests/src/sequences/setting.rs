//! Where a sequence happens: a host, its settings, and the guests that its events can start.

use std::fmt::Write as _;

use numapin_qmp_mock::{Guest, Vhost};
use numapin_sysfs_sim::{Host, Machine};

use crate::flow::Broken;
use crate::random::Random;

/// Hosts by the names of their topologies, or by what a grid is made of.
const HOSTS: [&str; 9] = [
    "epyc7351p",
    "epyc7351p",
    "epyc7351p-nosmt",
    "small",
    "small",
    "xeon6230-2s-snc2",
    "hybrid-i7-1370p",
    "kunpeng920-2s",
    "epyc7713-2s-nps4",
];

/// Where a sequence happens.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The host's name.
    pub host: &'static str,
    /// The lines of numapin.conf at the start.
    pub conf: Vec<String>,
    /// Whether the service runs.
    pub watch: bool,
    /// The guests.
    pub guests: Vec<Spec>,
}

/// A guest as its config describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Its number.
    pub vmid: u32,
    /// Sockets.
    pub sockets: u32,
    /// Cores of a socket.
    pub cores: u32,
    /// vCPUs at start; the others can be plugged.
    pub vcpus: u32,
    /// `numa: 1`, and the host nodes of its virtual nodes where they have lines of their own.
    pub numa: Numa,
    /// `affinity`.
    pub affinity: Option<String>,
    /// Its policy.
    pub policy: Option<String>,
    /// Iothreads at start.
    pub iothreads: u32,
    /// vhost workers at start, and whether they are kernel threads.
    pub vhost: (u32, bool),
    /// A template: started by backups only.
    pub template: bool,
}

/// The virtual nodes of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Numa {
    /// None.
    Off,
    /// One for each socket.
    PerSocket,
    /// One for each socket, with a line that names its host node or none.
    Lines(Vec<Option<u32>>),
}

impl Setting {
    /// The setting of a seed.
    #[must_use]
    pub fn of(random: &mut Random) -> Self {
        let host = random.one(&HOSTS);
        let (cpus, nodes) = size(host);
        let mut conf = Vec::new();
        if random.chance(40) {
            let first = random.below(2);
            conf.push(format!("reserved: 0-{first}"));
        }
        if random.chance(15) {
            conf.push(format!("isolated: {}-{}", cpus - 3, cpus - 1));
        }
        if random.chance(40) {
            conf.push("default: shared".to_owned());
        }
        let count = 8 + random.below(16);
        let guests: Vec<Spec> = (0..count)
            .map(|nth| spec(random, 100 + nth, cpus, nodes, host))
            .collect();
        for spec in &guests {
            if let Some(policy) = &spec.policy {
                let guard = if random.chance(30) {
                    format!("name=vm{},", spec.vmid)
                } else {
                    String::new()
                };
                conf.push(format!("{}: {guard}{policy}", spec.vmid));
            }
        }
        Self {
            host,
            conf,
            watch: random.chance(70),
            guests,
        }
    }

    /// The host's description.
    ///
    /// # Errors
    /// The host is not described.
    pub fn machine(&self) -> Result<Host, Broken> {
        if self.host == "small" {
            return Ok(Host::grid(2, 1, 2, 2, 2));
        }
        match Machine::load(self.host)? {
            Machine::Description(mut host) => {
                // What is read here is read with a reader that knows well-formed files only.
                host.quirks.trailing_nul = false;
                Ok(*host)
            }
            Machine::Recording(_) => Err(format!("{} is a recording", self.host).into()),
        }
    }
}

impl Spec {
    /// All vCPUs that can be there.
    #[must_use]
    pub fn all(&self) -> u32 {
        self.sockets * self.cores
    }

    /// The config, with a name and further lines.
    #[must_use]
    pub fn config(&self, name: &str, more: &str) -> String {
        let mut text = format!(
            "name: {name}\nsockets: {}\ncores: {}\nmemory: {}\n",
            self.sockets,
            self.cores,
            512 * self.sockets
        );
        let mut line = |line: String| {
            // Writing to a String can't go wrong.
            let _ = writeln!(text, "{line}");
        };
        if self.vcpus < self.all() {
            line(format!("vcpus: {}", self.vcpus));
            line("hotplug: disk,network,cpu".to_owned());
        }
        if self.numa != Numa::Off {
            line("numa: 1".to_owned());
        }
        if let Numa::Lines(nodes) = &self.numa {
            for (id, node) in nodes.iter().enumerate() {
                let cpus = self.socket(id);
                let bound = node.map(|node| format!(",hostnodes={node},policy=bind"));
                let bound = bound.unwrap_or_default();
                line(format!("numa{id}: cpus={cpus},memory=512{bound}"));
            }
        }
        if let Some(affinity) = &self.affinity {
            line(format!("affinity: {affinity}"));
        }
        if self.template {
            line("template: 1".to_owned());
        }
        text + more
    }

    /// What the mock pretends to run.
    #[must_use]
    pub fn qemu(&self, backup: bool) -> Guest {
        let mut guest = Guest::proxmox(self.vmid, self.sockets, self.cores);
        if self.template && backup {
            // Proxmox VE starts a template for its backup with the smallest config there is.
            return Guest::proxmox(self.vmid, 1, 1);
        }
        if self.vcpus < self.all() {
            guest.vcpus = 1;
            guest.plugged = (1..self.vcpus).collect();
        }
        guest = match &self.numa {
            Numa::Off => guest,
            Numa::PerSocket | Numa::Lines(_) => guest.numa_per_socket(),
        };
        guest.affinity.clone_from(&self.affinity);
        guest.iothreads = (0..self.iothreads)
            .map(|nth| format!("iothread-scsi{nth}"))
            .collect();
        guest.vhost = match self.vhost {
            (0, _) => Vhost::None,
            (n, true) => Vhost::KernelThreads(n),
            (n, false) => Vhost::Tasks(n),
        };
        guest.workers = self.iothreads;
        guest
    }

    /// The vCPUs of a socket, as a list.
    fn socket(&self, nth: usize) -> String {
        let nth = u32::try_from(nth).unwrap_or(0);
        let first = nth * self.cores;
        match self.cores {
            1 => first.to_string(),
            n => format!("{first}-{}", first + n - 1),
        }
    }
}

/// CPUs and host nodes.
fn size(host: &str) -> (u32, u32) {
    match host {
        "epyc7351p" => (32, 4),
        "epyc7351p-nosmt" => (16, 4),
        "small" => (16, 2),
        "xeon6230-2s-snc2" => (80, 4),
        "hybrid-i7-1370p" => (20, 1),
        "kunpeng920-2s" => (128, 4),
        _ => (256, 8),
    }
}

fn spec(random: &mut Random, vmid: u32, cpus: u32, nodes: u32, host: &str) -> Spec {
    let sockets = random.one(&[1, 1, 1, 2, 2, 4]).min(nodes.max(1));
    let per_node = cpus / nodes;
    let cores = 1 + random.below((per_node / 2).clamp(2, 6));
    let all = sockets * cores;
    let vcpus = match random.chance(30) && all > 1 {
        true => 1 + random.below(all - 1),
        false => all,
    };
    let numa = match random.below(4) {
        0 | 1 => Numa::Off,
        2 => Numa::PerSocket,
        _ => {
            let mut node = || random.chance(60).then(|| random.below(nodes));
            Numa::Lines((0..sockets).map(|_| node()).collect())
        }
    };
    // Nodes of that host are not 0, 1, 2, ... in its CPUs' order; so they are named by id alone, which all have.
    let affinity = random.chance(15).then(|| {
        let first = random.below(cpus / 2);
        let last = (first + cpus / 3).min(cpus - 1);
        format!("{first}-{last}")
    });
    Spec {
        vmid,
        sockets,
        cores,
        vcpus,
        numa,
        affinity,
        policy: policy(random, host),
        iothreads: random.one(&[0, 0, 1, 2]),
        vhost: (random.one(&[0, 0, 1, 2]), random.chance(30)),
        template: random.chance(5),
    }
}

/// A policy of any kind, or none.
pub(super) fn policy(random: &mut Random, host: &str) -> Option<String> {
    let mut policy = random
        .one(&[
            "",
            "numa",
            "numa",
            "l3",
            "l3",
            "shared",
            "one-to-one",
            "one-to-one",
            "one-to-one,smt=spread",
            "one-to-one,smt=isolate",
            "one-to-one,smt=pack",
            "one-to-one,smt=any",
            "one-to-one",
            "none",
        ])
        .to_owned();
    if policy.is_empty() {
        return None;
    }
    let mode = policy.split(',').next().unwrap_or_default().to_owned();
    let mut add = |percent, key: &str, values: &[&str]| {
        if random.chance(percent) {
            policy.push_str(&format!(",{key}={}", random.one(values)));
        }
    };
    if mode != "none" {
        add(20, "overlap", &["deny", "allow", "avoid"]);
        add(20, "emulator", &["keep", "node", "spare"]);
        add(20, "iothreads", &["keep", "node", "spare"]);
        add(20, "vhost", &["keep", "node", "spare"]);
    }
    if mode != "none" {
        add(8, "require", &["fail"]);
    }
    if mode == "one-to-one" {
        add(5, "isolated", &["allow", "avoid"]);
    }
    if host.starts_with("hybrid") && mode != "none" {
        add(40, "kind", &["performance", "efficiency"]);
    }
    Some(policy)
}
