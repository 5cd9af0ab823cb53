//! The machines of the lab: what QEMU is told to build, and what the steps find there.

use super::madt::Processor;

/// MiB of memory of a whole machine.
const MEMORY: u32 = 1536;

/// A machine.
#[derive(Debug, Clone, Copy)]
pub struct LabHost {
    /// Its name in `NUMAPIN_LAB_HOST`.
    pub name: &'static str,
    sockets: u32,
    /// Dies of a socket; each is a NUMA node.
    dies: u32,
    /// Cores of a die.
    cores: u32,
    /// SMT threads of a core.
    threads: u32,
    /// Distance between two NUMA nodes.
    distance: u32,
    order: Order,
    /// The CPUs of each NUMA node, as its kernel must show them.
    pub nodes: &'static [&'static str],
    /// Where a one-to-one guest of two virtual nodes with four vCPUs each belongs when it is alone.
    pub one_to_one: &'static str,
    /// Where its other threads go: unclaimed CPUs of its host nodes, or all where it leaves fewer than two.
    pub spare: &'static str,
    /// Where a guest of mode shared may run beside it.
    pub shared: &'static str,
    /// A cpuset of two host nodes, with a core for each vCPU of the guest.
    pub cpuset: &'static str,
    /// Where the guest belongs in that cpuset.
    pub in_cpuset: &'static str,
}

/// In which order firmware lists the CPUs.
#[derive(Debug, Clone, Copy)]
enum Order {
    /// The first threads of all cores, then the second ones.
    FirstThreads,
    /// One of each socket in turn, first threads first.
    SocketsInTurn,
}

/// All of them; the first one is CI's.
pub const HOSTS: [LabHost; 3] = [
    LabHost {
        name: "epyc7351p",
        sockets: 1,
        dies: 4,
        cores: 4,
        threads: 2,
        distance: 16,
        order: Order::FirstThreads,
        nodes: &["0-3,16-19", "4-7,20-23", "8-11,24-27", "12-15,28-31"],
        // Not on the core of CPU 0, so the first host node is left out; virtual node 1 on host node 1.
        one_to_one: "8 9 10 11 4 5 6 7",
        spare: "20-27",
        shared: "0-3,12-31",
        cpuset: "0-7",
        in_cpuset: "0 1 2 3 4 5 6 7",
    },
    LabHost {
        name: "epyc7351p-nosmt",
        sockets: 1,
        dies: 4,
        cores: 4,
        threads: 1,
        distance: 16,
        order: Order::FirstThreads,
        nodes: &["0-3", "4-7", "8-11", "12-15"],
        one_to_one: "8 9 10 11 4 5 6 7",
        spare: "0-15",
        shared: "0-3,12-15",
        cpuset: "0-7",
        in_cpuset: "0 1 2 3 4 5 6 7",
    },
    LabHost {
        name: "xeon-interleaved",
        sockets: 2,
        dies: 1,
        cores: 16,
        threads: 2,
        distance: 21,
        order: Order::SocketsInTurn,
        nodes: &[
            "0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30,32,34,36,38,40,42,44,46,48,50,52,54,56,58,60,62",
            "1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31,33,35,37,39,41,43,45,47,49,51,53,55,57,59,61,63",
        ],
        one_to_one: "2 4 6 8 1 3 5 7",
        spare: "0,9-63",
        shared: "0,9-63",
        cpuset: "10-17",
        in_cpuset: "10 12 14 16 11 13 15 17",
    },
];

/// A CPU's place: socket, die, core, thread.
type Place = [u32; 4];

impl LabHost {
    /// A machine by name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        HOSTS.into_iter().find(|host| host.name == name)
    }

    /// QEMU's options for it.
    #[must_use]
    pub fn qemu(&self) -> Vec<String> {
        let Self {
            sockets,
            dies,
            cores,
            threads,
            distance,
            ..
        } = self;
        let cpus = sockets * dies * cores * threads;
        let mut args = vec!["-m".to_owned(), format!("{MEMORY}M"), "-smp".to_owned()];
        args.push(format!(
            "{cpus},sockets={sockets},dies={dies},cores={cores},threads={threads}"
        ));
        let nodes = sockets * dies;
        let mut numa = |text: String| args.extend(["-numa".to_owned(), text]);
        for node in 0..nodes {
            numa(format!("node,nodeid={node},memdev=m{node}"));
            let (socket, die) = (node / dies, node % dies);
            let die = if *dies > 1 {
                format!(",die-id={die}")
            } else {
                String::new()
            };
            numa(format!("cpu,node-id={node},socket-id={socket}{die}"));
        }
        for node in 0..nodes {
            for other in (0..nodes).filter(|other| *other != node) {
                numa(format!("dist,src={node},dst={other},val={distance}"));
            }
        }
        for node in 0..nodes {
            let size = MEMORY / nodes;
            args.extend([
                "-object".to_owned(),
                format!("memory-backend-ram,id=m{node},size={size}M"),
            ]);
        }
        args
    }

    /// Its CPUs in the order of its firmware.
    #[must_use]
    pub fn processors(&self) -> Vec<Processor> {
        let mut places: Vec<(usize, Place)> = self.places().into_iter().enumerate().collect();
        places.sort_by_key(|(_, [socket, die, core, thread])| match self.order {
            Order::FirstThreads => [*thread, *socket, *die, *core],
            Order::SocketsInTurn => [*thread, *die, *core, *socket],
        });
        let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
        places
            .into_iter()
            .map(|(index, place)| Processor {
                uid: byte(index),
                apic: byte(self.apic(place) as usize),
            })
            .collect()
    }

    /// What the steps are told of it, as assignments of the shell.
    #[must_use]
    pub fn facts(&self) -> String {
        let facts = [
            ("NODES", self.nodes.join(" ")),
            ("ONE_TO_ONE", self.one_to_one.to_owned()),
            ("SPARE", self.spare.to_owned()),
            ("SHARED", self.shared.to_owned()),
            ("CPUSET", self.cpuset.to_owned()),
            ("IN_CPUSET", self.in_cpuset.to_owned()),
        ];
        facts
            .map(|(key, value)| format!("{key}='{value}'\n"))
            .concat()
    }

    /// All places in QEMU's own order.
    fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for socket in 0..self.sockets {
            for die in 0..self.dies {
                for core in 0..self.cores {
                    places.extend((0..self.threads).map(|thread| [socket, die, core, thread]));
                }
            }
        }
        places
    }

    /// The id of a CPU's interrupt controller: each level has as many bits as it needs (Intel SDM, volume 3, 9.9.3).
    fn apic(&self, [socket, die, core, thread]: Place) -> u32 {
        let bits = |count: u32| count.next_power_of_two().trailing_zeros();
        let mut id = socket;
        for (place, count) in [(die, self.dies), (core, self.cores), (thread, self.threads)] {
            id = id << bits(count) | place;
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux numbers CPUs as they are listed, and SRAT puts them into nodes by the ids of their interrupt controllers.
    #[test]
    fn each_machine_has_the_nodes_it_promises() {
        for host in HOSTS {
            let processors = host.processors();
            assert_eq!(
                processors[0],
                Processor { uid: 0, apic: 0 },
                "the boot cpu comes first"
            );
            let places = host.places();
            let nodes = host.sockets * host.dies;
            for (node, promised) in (0..nodes).zip(host.nodes) {
                let here = |processor: &Processor| {
                    let [socket, die, ..] = places[usize::from(processor.uid)];
                    socket * host.dies + die == node
                };
                let found: numapin_core::idset::CpuSet = processors
                    .iter()
                    .enumerate()
                    .filter(|(_, processor)| here(processor))
                    .map(|(cpu, _)| numapin_core::id::CpuId(u32::try_from(cpu).unwrap()))
                    .collect();
                assert_eq!(found.to_string(), *promised, "{} node {node}", host.name);
            }
            assert_eq!(host.nodes.len(), nodes as usize);
        }
    }

    #[test]
    fn the_first_machine_is_told_to_qemu_as_the_rfc_has_it() {
        let args = HOSTS[0].qemu().join(" ");
        for part in [
            "-smp 32,sockets=1,dies=4,cores=4,threads=2",
            "-numa cpu,node-id=2,socket-id=0,die-id=2",
            "-numa dist,src=1,dst=3,val=16",
            "-object memory-backend-ram,id=m3,size=384M",
        ] {
            assert!(args.contains(part), "{part} in {args}");
        }
        let apic: Vec<u8> = HOSTS[0].processors().iter().map(|p| p.apic).collect();
        assert_eq!(apic[..5], [0, 2, 4, 6, 8]);
        assert_eq!(apic[16..18], [1, 3]);
    }
}
