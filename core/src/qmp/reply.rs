//! What the answers mean: vCPUs and iothreads with their host threads.
//!
//! The schema is QEMU's `qapi/machine.json` (CpuInfoFast, CpuInstanceProperties) and `qapi/misc.json` (IOThreadInfo). A vCPU
//! has two fields `thread-id`: the one at the top is the host's thread, the one in `props` is the guest's SMT thread.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cpulist::shown;
use crate::id::{Tid, VcpuId, VnodeId};
use crate::idset::VcpuSet;

/// A vCPU that is plugged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vcpu {
    /// QEMU's cpu-index. Gaps are possible: vCPUs are plugged in any order.
    pub index: VcpuId,
    /// The host thread that runs it.
    pub tid: Tid,
    /// Its virtual node; `None` where the guest has none of its own, or an old QEMU does not say.
    pub node: Option<VnodeId>,
    /// Where it is in the guest.
    pub place: Place,
}

/// Where a vCPU is in the guest, from the outside in: its drawer, book, socket, die, cluster, module, core and SMT thread, each
/// numbered within the one before. 0 for what QEMU does not name: x86 has no drawers, and QEMU before 8.0 does not say the die.
pub type Place = [u64; 8];

/// A place for vCPUs, taken or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// How many vCPUs go there.
    pub vcpus: u64,
    /// Their virtual node.
    pub node: Option<VnodeId>,
    /// Where it is in the guest.
    pub place: Place,
}

/// An iothread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Iothread {
    /// Its name ("iothread-virtioscsi0").
    pub id: String,
    /// The host thread that runs it.
    pub tid: Tid,
}

/// Why an answer that is good JSON can't be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The answer is not a list.
    #[error("the answer is not a list of objects")]
    NotAList,
    /// No vCPU at all.
    #[error("the answer lists no vcpu")]
    Empty,
    /// A field is absent.
    #[error("entry {entry} has no {field}")]
    Missing {
        /// Which entry, from 0.
        entry: usize,
        /// The field.
        field: &'static str,
    },
    /// A field holds what it can't.
    #[error("entry {entry} has {field} {value} (expected {expected})")]
    Bad {
        /// Which entry, from 0.
        entry: usize,
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A vCPU is listed twice.
    #[error("vcpu {index} is listed twice (expected each cpu-index once)")]
    Doubled {
        /// Which one.
        index: VcpuId,
    },
}

/// Reads the answer to `query-cpus-fast`, in QEMU's order.
///
/// # Errors
/// An index or a host thread is absent, can't be, or an index is there twice. Threads that vCPUs share are not an error here:
/// they are, when it comes to pinning.
pub fn vcpus(answer: &str) -> Result<Vec<Vcpu>, ReplyError> {
    let mut seen = VcpuSet::new();
    let mut vcpus = Vec::new();
    for (entry, fields) in list(answer)?.into_iter().enumerate() {
        let index = VcpuId(index(entry, &fields)?);
        if !seen.insert(index) {
            return Err(ReplyError::Doubled { index });
        }
        let tid = tid(entry, &fields)?;
        let (place, node) = place(fields.props);
        vcpus.push(Vcpu {
            index,
            tid,
            node,
            place,
        });
    }
    if vcpus.is_empty() {
        return Err(ReplyError::Empty);
    }
    Ok(vcpus)
}

/// Reads the answer to `query-iothreads`, in QEMU's order (the newest first).
///
/// # Errors
/// A name or a host thread is absent or can't be.
pub fn iothreads(answer: &str) -> Result<Vec<Iothread>, ReplyError> {
    let entries = list(answer)?.into_iter().enumerate();
    entries
        .map(|(entry, fields)| {
            let id = fields.id.and_then(|id| serde_json::from_str(id.get()).ok());
            Ok(Iothread {
                id: id.ok_or(ReplyError::Missing { entry, field: "id" })?,
                tid: tid(entry, &fields)?,
            })
        })
        .collect()
}

/// Reads the answer to `query-hotpluggable-cpus`. Leniently: what is not known here passes, and no list is an empty one.
#[must_use]
pub fn slots(answer: &str) -> Vec<Slot> {
    let entries: Vec<&RawValue> = serde_json::from_str(answer).unwrap_or_default();
    let slot = |entry: &RawValue| {
        let fields: Fields<'_> = serde_json::from_str(entry.get()).unwrap_or_default();
        let (place, node) = place(fields.props);
        Slot {
            vcpus: number(fields.vcpus_count).unwrap_or(1),
            node,
            place,
        }
    };
    entries.into_iter().map(slot).collect()
}

/// What is looked at of an entry of any list; what else there is passes.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Fields<'a> {
    #[serde(borrow)]
    cpu_index: Option<&'a RawValue>,
    #[serde(borrow)]
    thread_id: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    vcpus_count: Option<&'a RawValue>,
    #[serde(borrow)]
    props: Option<&'a RawValue>,
}

/// CpuInstanceProperties.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Props<'a> {
    #[serde(borrow)]
    node_id: Option<&'a RawValue>,
    #[serde(borrow)]
    drawer_id: Option<&'a RawValue>,
    #[serde(borrow)]
    book_id: Option<&'a RawValue>,
    #[serde(borrow)]
    socket_id: Option<&'a RawValue>,
    #[serde(borrow)]
    die_id: Option<&'a RawValue>,
    #[serde(borrow)]
    cluster_id: Option<&'a RawValue>,
    #[serde(borrow)]
    module_id: Option<&'a RawValue>,
    #[serde(borrow)]
    core_id: Option<&'a RawValue>,
    #[serde(borrow)]
    thread_id: Option<&'a RawValue>,
}

fn place(props: Option<&RawValue>) -> (Place, Option<VnodeId>) {
    let props = props.and_then(|props| serde_json::from_str(props.get()).ok());
    let props: Props<'_> = props.unwrap_or_default();
    let parts = [
        props.drawer_id,
        props.book_id,
        props.socket_id,
        props.die_id,
        props.cluster_id,
        props.module_id,
        props.core_id,
        props.thread_id,
    ];
    let node = number(props.node_id).and_then(|node| u32::try_from(node).ok());
    (
        parts.map(|part| number(part).unwrap_or(0)),
        node.map(VnodeId),
    )
}

fn number(field: Option<&RawValue>) -> Option<u64> {
    field?.get().parse().ok()
}

fn list(answer: &str) -> Result<Vec<Fields<'_>>, ReplyError> {
    serde_json::from_str(answer).map_err(|_| ReplyError::NotAList)
}

/// The highest cpu-index that is read: a bound so that a wrong answer does not cost memory. QEMU's own limit is 4,096.
const MAX_INDEX: u32 = 65_535;

fn index(entry: usize, fields: &Fields<'_>) -> Result<u32, ReplyError> {
    let field = "cpu-index";
    let found = fields
        .cpu_index
        .ok_or(ReplyError::Missing { entry, field })?;
    let number = found.get().parse().ok();
    number
        .filter(|number| *number <= MAX_INDEX)
        .ok_or_else(|| ReplyError::Bad {
            entry,
            field,
            value: shown(found.get(), 40),
            expected: "a number from 0 to 65535",
        })
}

/// 0 must never pass: to the affinity system calls it means the caller itself.
fn tid(entry: usize, fields: &Fields<'_>) -> Result<Tid, ReplyError> {
    let field = "thread-id";
    let found = fields
        .thread_id
        .ok_or(ReplyError::Missing { entry, field })?;
    match found.get().parse() {
        Ok(number) if number > 0 => Ok(Tid(number)),
        _ => Err(ReplyError::Bad {
            entry,
            field,
            value: shown(found.get(), 40),
            expected: "the id of a host thread, above 0",
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    /// The recorded replies; none, said so, where they are not to be had.
    fn recordings() -> Vec<(PathBuf, Value)> {
        let required = std::env::var("NUMAPIN_REQUIRE").is_ok_and(|parts| parts.contains("data"));
        let Some(data) = std::env::var_os("NUMAPIN_DATA") else {
            assert!(!required, "NUMAPIN_DATA is not set");
            eprintln!("passed over: NUMAPIN_DATA is not set");
            return Vec::new();
        };
        let files = std::fs::read_dir(Path::new(&data).join("qmp")).unwrap();
        let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        let read = |file: PathBuf| {
            let value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            (file, value)
        };
        files.into_iter().map(read).collect()
    }

    /// Every answer to a command in a recording, wherever it stands.
    fn answers<'a>(recording: &'a Value, key: &str) -> Vec<&'a Value> {
        let Some(object) = recording.as_object() else {
            return Vec::new();
        };
        let named = object.iter().filter(|(name, _)| name.starts_with(key));
        named
            .filter_map(|(_, answer)| answer.get("return"))
            .collect()
    }

    #[test]
    fn recorded_vcpus_are_read_with_their_host_threads() {
        for (file, recording) in recordings() {
            for answer in answers(&recording, "query-cpus-fast") {
                let vcpus = vcpus(&answer.to_string()).unwrap();
                assert_eq!(
                    vcpus.len(),
                    answer.as_array().unwrap().len(),
                    "{}",
                    file.display()
                );
                for (vcpu, raw) in vcpus.iter().zip(answer.as_array().unwrap()) {
                    assert_eq!(i64::from(vcpu.tid.0), raw["thread-id"].as_i64().unwrap());
                    assert_eq!(u64::from(vcpu.index.0), raw["cpu-index"].as_u64().unwrap());
                    assert_eq!(
                        vcpu.node.map(|n| u64::from(n.0)),
                        raw["props"]["node-id"].as_u64()
                    );
                    assert_eq!(
                        vcpu.place[7],
                        raw["props"]["thread-id"].as_u64().unwrap_or(0)
                    );
                }
            }
            for answer in answers(&recording, "query-iothreads") {
                assert_eq!(
                    iothreads(&answer.to_string()).unwrap().len(),
                    answer.as_array().unwrap().len()
                );
            }
        }
    }

    #[test]
    fn plug_order_and_gaps_stay() {
        let answer = json!([
            {"thread-id": 18962, "props": {"core-id": 0, "thread-id": 0, "node-id": 0, "socket-id": 0}, "qom-path": "x", "cpu-index": 0, "target": "x86_64"},
            {"thread-id": 18965, "props": {"core-id": 5, "thread-id": 1, "node-id": 1, "die-id": 0, "cluster-id": 9}, "cpu-index": 5, "target": "not-yet-made"},
            {"thread-id": 18966, "cpu-index": 2},
        ]);
        let vcpus = vcpus(&answer.to_string()).unwrap();
        let short: Vec<_> = vcpus
            .iter()
            .map(|v| (v.index.0, v.tid.0, v.node, v.place))
            .collect();
        let nodes = [Some(VnodeId(0)), Some(VnodeId(1)), None];
        assert_eq!(
            short,
            [
                (0, 18962, nodes[0], [0; 8]),
                (5, 18965, nodes[1], [0, 0, 0, 0, 9, 0, 5, 1]),
                (2, 18966, nodes[2], [0; 8])
            ]
        );
    }

    #[rstest]
    #[case::null(json!(null), "the answer is not a list of objects")]
    #[case::object(json!({}), "the answer is not a list of objects")]
    #[case::numbers(json!([1]), "the answer is not a list of objects")]
    #[case::empty(json!([]), "the answer lists no vcpu")]
    #[case::no_index(json!([{"thread-id": 9}]), "entry 0 has no cpu-index")]
    #[case::negative(json!([{"cpu-index": -1, "thread-id": 9}]), "entry 0 has cpu-index -1 (expected a number from 0 to 65535)")]
    #[case::huge(json!([{"cpu-index": 1e30, "thread-id": 9}]), "entry 0 has cpu-index 1e+30 (expected a number from 0 to 65535)")]
    #[case::text(json!([{"cpu-index": "0", "thread-id": 9}]), "entry 0 has cpu-index \"0\" (expected a number from 0 to 65535)")]
    #[case::doubled(json!([{"cpu-index": 3, "thread-id": 9}, {"cpu-index": 3, "thread-id": 10}]), "vcpu 3 is listed twice (expected each cpu-index once)")]
    #[case::no_thread(json!([{"cpu-index": 0, "props": {"thread-id": 0}}]), "entry 0 has no thread-id")]
    #[case::thread_zero(json!([{"cpu-index": 0, "thread-id": 8}, {"cpu-index": 1, "thread-id": 0}]), "entry 1 has thread-id 0 (expected the id of a host thread, above 0)")]
    #[case::thread_negative(json!([{"cpu-index": 0, "thread-id": -4711}]), "entry 0 has thread-id -4711 (expected the id of a host thread, above 0)")]
    #[case::thread_beyond(json!([{"cpu-index": 0, "thread-id": 4_294_967_297_i64}]), "entry 0 has thread-id 4294967297 (expected the id of a host thread, above 0)")]
    #[case::long(json!([{"cpu-index": "x".repeat(99), "thread-id": 9}]), "entry 0 has cpu-index \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx... (expected a number from 0 to 65535)")]
    fn what_can_not_be_meant_is_named(#[case] answer: Value, #[case] expected: &str) {
        assert_eq!(
            vcpus(&answer.to_string()).unwrap_err().to_string(),
            expected
        );
    }

    #[test]
    fn iothreads_need_a_name_and_a_thread() {
        let good = json!([{"poll-shrink": 0, "thread-id": 16749, "id": "iothread-virtio1"}]);
        let expected = Iothread {
            id: "iothread-virtio1".into(),
            tid: Tid(16749),
        };
        let read = |answer: Value| iothreads(&answer.to_string());
        assert_eq!(read(good), Ok(vec![expected]));
        assert_eq!(read(json!([])), Ok(vec![]));
        let told = |answer| read(answer).unwrap_err().to_string();
        assert_eq!(told(json!([{"thread-id": 5}])), "entry 0 has no id");
        assert_eq!(told(json!([{"id": "a"}])), "entry 0 has no thread-id");
        assert_eq!(told(json!("none")), "the answer is not a list of objects");
    }
}
