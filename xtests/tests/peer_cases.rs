//! What other placers' own tests expect: numapin fits where they fit and refuses where they refuse, as far as the request means the
//! same; and it never uses more host nodes, L3s or cores than they do.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use numapin_core::claims::Claims;
use numapin_core::guest::{Device, Guest, GuestName, GuestParts, VirtualNode};
use numapin_core::host::{Cpu, Host, Node};
use numapin_core::id::{CoreId, CpuId, L3Id, NodeId, PackageId};
use numapin_core::idset::CpuSet;
use numapin_core::placement::{Plan, plan};
use numapin_core::policy::{Mode, Overlap, Place, Policy, Smt};
use numapin_core::violation::Violations;
use numapin_xtests::check::check_plan;
use serde_json::Value;

/// Cases that ask for something else, each with the reason.
const LEFT_OUT: [(&str, &str); 9] = [
    (
        "k8s-13",
        "full-pcpus-only refuses halves of cores; numapin's pack takes them when whole ones run out, and counts them",
    ),
    (
        "nova-03",
        "require refuses a host without SMT siblings; numapin's pack takes as few cores as there can be",
    ),
    (
        "nova-13",
        "nova never lets two guest nodes share a host node; numapin does where there are too few, with a note",
    ),
    (
        "xapi-01",
        "lists all candidate sets of nodes; numapin has one plan and no list",
    ),
    (
        "hwloc-01",
        "divides a machine among many; no guest asks for that",
    ),
    (
        "hwloc-03",
        "divides a machine among many; no guest asks for that",
    ),
    (
        "vmcap-01",
        "counts how many more guests fit; numapin places one",
    ),
    (
        "vmcap-03",
        "counts how many more guests fit; numapin places one",
    ),
    (
        "vmcap-05",
        "counts how many more guests fit; numapin places one",
    ),
];

struct Case {
    id: String,
    value: Value,
    host: Host,
    claims: Claims,
    policy: Policy,
}

/// What a peer's answer, or a plan, uses.
#[derive(Debug, Default, PartialEq)]
struct Use {
    nodes: usize,
    l3s: usize,
    cores: usize,
    broken: usize,
}

#[test]
fn numapin_does_as_well_as_its_peers() {
    let Some(cases) = cases() else {
        return;
    };
    assert!(cases.len() >= 40, "only {} cases were read", cases.len());
    let known: BTreeSet<_> = cases.iter().map(|c| text(&c["id"])).collect();
    let gone: Vec<_> = LEFT_OUT
        .iter()
        .filter(|(id, _)| !known.contains(id))
        .collect();
    assert!(
        gone.is_empty(),
        "left out, but not among the cases: {gone:?}"
    );
    let mut faults = Vec::new();
    let mut run = 0;
    for value in &cases {
        if LEFT_OUT.iter().any(|(id, _)| *id == text(&value["id"])) {
            continue;
        }
        run += 1;
        faults.extend(Case::new(value.clone()).faults());
    }
    assert_eq!(run + LEFT_OUT.len(), cases.len());
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

impl Case {
    fn new(value: Value) -> Self {
        let options = &value["options"];
        let mut host = host(&value);
        let assigned = ids(&value["already_assigned"]);
        host.reserved = ids(&value["host_reserved"]);
        // Free of others' and the host's CPUs already; what else is missing the request itself excludes.
        let mut allowed = ids(&value["available_cpus"])
            .union(&assigned)
            .union(&host.reserved);
        if let Some(hint) = options["numa_hint"].as_array() {
            let nodes: Vec<u64> = hint.iter().map(|n| n.as_u64().unwrap()).collect();
            let hinted = |id: &CpuId| {
                let node = host.cpu(*id).unwrap().node.unwrap();
                nodes.contains(&u64::from(node.0))
            };
            allowed = allowed.iter().filter(hinted).collect();
        }
        host.allowed = Some(allowed);
        let mut claims = Claims::default();
        claims.hold(&GuestName("peer".to_owned()), &assigned);
        let smt = match options["cpu_thread_policy"].as_str() {
            Some("isolate") => Smt::Isolate,
            Some("prefer" | "require") => Smt::Pack,
            Some(other) => panic!("{}: unknown policy {other}", value["id"]),
            None if value["request"].get("guest_numa_cells").is_some() => Smt::Any,
            None if options["distribute-cpus-across-cores"] == true => Smt::Spread,
            None => Smt::Pack,
        };
        let emulator = options.get("emulator_threads").map(|_| Place::Spare);
        Self {
            id: text(&value["id"]).to_owned(),
            host,
            claims,
            policy: Policy {
                mode: Mode::OneToOne,
                smt,
                overlap: Overlap::Deny,
                emulator,
                ..Policy::default()
            },
            value,
        }
    }

    fn faults(&self) -> Vec<String> {
        let mut claims = self.claims.clone();
        let mut plans = Vec::new();
        for guest in self.guests() {
            match plan(&self.host, &guest, &claims, &self.policy) {
                Ok(plan) => {
                    let faults = check_plan(&self.host, &guest, &claims, &self.policy, &plan);
                    if !faults.is_empty() {
                        return vec![format!("{}: {}", self.id, faults.join("; "))];
                    }
                    claims = claims.with_plan(&self.host, &guest, &plan);
                    plans.push(plan);
                }
                Err(refused) => return self.refused(&refused).into_iter().collect(),
            }
        }
        let faults = self.judged(&plans);
        faults
            .iter()
            .map(|fault| format!("{}: {fault}", self.id))
            .collect()
    }

    fn guests(&self) -> Vec<Guest> {
        let request = &self.value["request"];
        let plain = |vcpus: &Value| GuestParts::new("new", 1, number(vcpus));
        let mut all = Vec::new();
        if let Some(cells) = request["guest_numa_cells"].as_array() {
            let sizes: Vec<u32> = cells
                .iter()
                .map(|c| u32::try_from(c.as_array().unwrap().len()).unwrap())
                .collect();
            let mut parts = GuestParts::new("new", 1, sizes.iter().sum());
            parts.numa = cells.len() > 1;
            parts.numa_explicit = parts.numa;
            parts.virtual_nodes.clear();
            for (nth, cell) in cells.iter().enumerate() {
                let vcpus = cell.as_array().unwrap().iter().map(|v| v.to_string());
                let list = vcpus.collect::<Vec<_>>().join(",");
                let id = u32::try_from(nth).unwrap();
                parts
                    .virtual_nodes
                    .push(VirtualNode::new(id, list.parse().unwrap()));
            }
            if self.value["options"]["pci"] == "requested" {
                // "2 PCI devices on node 1"
                parts.devices = vec![Device {
                    address: "0000:01:00.0".to_owned(),
                    node: Some(NodeId(1)),
                }];
            }
            all.push(parts);
        } else if let Some(counts) = request["sequential_cpus"].as_array() {
            all.extend(counts.iter().map(plain));
        } else if let Some(shape) = request["virtual_topology"].as_object() {
            let mut parts = GuestParts::new(
                "new",
                number(&shape["sockets"]),
                number(&shape["cores"]) * number(&shape["threads"]),
            );
            parts.cores = number(&shape["cores"]);
            parts.threads = number(&shape["threads"]);
            all.push(parts);
        } else {
            all.push(plain(&request["cpus"]));
        }
        for (nth, parts) in all.iter_mut().enumerate() {
            parts.name = GuestName(format!("new {nth}"));
        }
        all.into_iter()
            .map(|parts| Guest::new(parts).unwrap())
            .collect()
    }

    fn refused(&self, refused: &Violations) -> Option<String> {
        let expected = &self.value["expected"];
        if expected.get("error").is_some() || expected["fits"] == false {
            return None;
        }
        Some(format!("{}: {refused:?}, theirs: {expected}", self.id))
    }

    /// Holds the plans to the peer's answer.
    fn judged(&self, plans: &[Plan]) -> Vec<String> {
        let expected = &self.value["expected"];
        let mut faults = Vec::new();
        if expected.get("error").is_some() || expected["fits"] == false {
            faults.push(format!("fits, theirs: {expected}"));
        }
        let taken = plans.iter().flat_map(|plan| &plan.vcpus);
        let taken = taken.fold(CpuSet::new(), |all, v| all.union(&v.cpus));
        let ours = self.uses(&taken);
        let mut theirs = Use {
            nodes: usize::MAX,
            l3s: usize::MAX,
            cores: usize::MAX,
            broken: usize::MAX,
        };
        let mut cpus = expected["cpus"].clone();
        if let Some(pinning) = expected["pinning"].as_object() {
            cpus = pinning.values().cloned().collect();
        }
        for key in ["cpus_must_be", "cpus_in_order"] {
            if expected[key].is_array() {
                cpus = expected[key].clone();
            }
        }
        if cpus.is_array() {
            theirs = self.uses(&ids(&cpus));
            if self.policy.smt == Smt::Any {
                // Cores do not matter.
                (theirs.cores, theirs.broken) = (usize::MAX, usize::MAX);
            }
        }
        for (key, value) in [
            ("numa_used", &mut theirs.nodes),
            ("l3_used", &mut theirs.l3s),
            ("cores_shared_or_broken", &mut theirs.broken),
        ] {
            if let Some(derived) = self.value["derived"][key].as_u64() {
                *value = usize::try_from(derived).unwrap();
            }
        }
        if let Some(l3s) = expected["l3_ids_used"].as_array() {
            theirs.l3s = l3s.len();
        }
        for key in ["host_nodes", "host_nodes_set", "host_nodes_in_order"] {
            if let Some(nodes) = expected[key].as_array() {
                theirs.nodes = nodes.len();
                let has: BTreeSet<u64> = plans[0]
                    .virtual_nodes
                    .iter()
                    .flat_map(|n| n.host_nodes.iter())
                    .map(|n| u64::from(n.0))
                    .collect();
                let theirs: BTreeSet<u64> = nodes.iter().map(|n| n.as_u64().unwrap()).collect();
                // In nova's own order there is a choice; in the others there is none.
                if key != "host_nodes_in_order" && has != theirs {
                    faults.push(format!("on host nodes {has:?}, theirs {theirs:?}"));
                }
            }
        }
        if self.value["options"]["pci"] == "requested"
            && !plans[0]
                .virtual_nodes
                .iter()
                .any(|n| n.host_nodes.contains(NodeId(1)))
        {
            faults.push("no virtual node is where the device is".to_owned());
        }
        if expected["cpus_must_be"].is_array() && taken != ids(&expected["cpus_must_be"]) {
            faults.push(format!("on cpu(s) {taken}, theirs: {expected}"));
        }
        if expected.get("emulator_cpus").is_some() {
            let emulator = plans[0].threads.emulator.clone().unwrap_or_default();
            if emulator.is_empty() || !emulator.is_disjoint(&taken) {
                faults.push(format!(
                    "the emulator is on cpu(s) {emulator}, vcpus on {taken}"
                ));
            }
        }
        if ours.nodes > theirs.nodes
            || ours.l3s > theirs.l3s
            || ours.cores > theirs.cores
            || ours.broken > theirs.broken
        {
            faults.push(format!(
                "uses {ours:?} with {taken}, theirs {theirs:?}: {expected}"
            ));
        }
        if theirs
            == (Use {
                nodes: usize::MAX,
                l3s: usize::MAX,
                cores: usize::MAX,
                broken: usize::MAX,
            })
            && expected["fits"] != true
        {
            faults.push(format!("nothing was compared with {expected}"));
        }
        faults
    }

    fn uses(&self, taken: &CpuSet) -> Use {
        let cpus: Vec<&Cpu> = taken.iter().map(|id| self.host.cpu(id).unwrap()).collect();
        let distinct = |key: &dyn Fn(&Cpu) -> Option<u32>| {
            cpus.iter()
                .map(|cpu| key(cpu))
                .collect::<BTreeSet<_>>()
                .len()
        };
        let cores: BTreeSet<CoreId> = cpus.iter().map(|cpu| cpu.core).collect();
        let left = |core: &CoreId| {
            let mut threads = self.host.cpus.iter().filter(|cpu| cpu.core == *core);
            threads.any(|cpu| !taken.contains(cpu.id))
        };
        Use {
            nodes: distinct(&|cpu| cpu.node.map(|n| n.0)),
            l3s: distinct(&|cpu| cpu.l3.map(|l| l.0)),
            cores: cores.len(),
            broken: cores.iter().filter(|core| left(core)).count(),
        }
    }
}

/// The cases, or `None` where the data is not at hand.
fn cases() -> Option<Vec<Value>> {
    let Some(data) = std::env::var_os("NUMAPIN_DATA") else {
        let required = std::env::var("NUMAPIN_REQUIRE").unwrap_or_default();
        assert!(
            !required.contains("data"),
            "NUMAPIN_DATA is required and not set"
        );
        eprintln!("NUMAPIN_DATA is not set: peers' cases are passed over");
        return None;
    };
    let path = PathBuf::from(data).join("placement/peer_cases.json");
    let text = std::fs::read_to_string(path).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    Some(all["cases"].as_array().unwrap().clone())
}

fn host(value: &Value) -> Host {
    let mut host = Host::default();
    let mut nodes: BTreeMap<NodeId, CpuSet> = BTreeMap::new();
    let mut cores = BTreeMap::new();
    let mut l3s = BTreeMap::new();
    let mut topology = value["topology"].as_array().unwrap().clone();
    topology.sort_by_key(|cpu| cpu["id"].as_u64());
    for cpu in &topology {
        let id = number(&cpu["id"]);
        let (socket, node) = (number(&cpu["socket"]), NodeId(number(&cpu["numa"])));
        // Core ids can be those of a socket.
        let core = *cores.entry((socket, number(&cpu["core"]))).or_insert(id);
        let l3 = cpu["l3"].as_u64().map(|l3| *l3s.entry(l3).or_insert(id));
        nodes.entry(node).or_default().insert(CpuId(id));
        host.cpus.push(Cpu {
            id: CpuId(id),
            node: Some(node),
            package: Some(PackageId(i32::try_from(socket).unwrap())),
            die: None,
            core: CoreId(core),
            l3: l3.map(L3Id),
            kind: None,
        });
    }
    let nodes = nodes.into_iter().map(|(id, cpus)| Node {
        id,
        cpus,
        ..Node::default()
    });
    host.nodes = nodes.collect();
    host
}

fn ids(list: &Value) -> CpuSet {
    let list = list.as_array().into_iter().flatten();
    list.map(|id| CpuId(number(id))).collect()
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
