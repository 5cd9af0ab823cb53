//! From a line and the script to what is really sent: pure.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::script::{At, Fault, LyingTid, Pick, Then};

/// A step of sending a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    /// Nothing happens for so long.
    Wait(Duration),
    /// These bytes go out.
    Bytes(Vec<u8>),
    /// The thread of the vCPU with this cpu-index ends.
    Kill(u32),
    /// As `Kill`, and another one takes its place.
    Renew(u32),
    /// The connection is closed.
    Close,
    /// Nothing more goes out.
    Silence,
}

/// Which line it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// Its number among the replies; none: the greeting.
    pub(crate) reply: Option<u32>,
    /// The command that is answered.
    pub(crate) command: Option<&'a str>,
}

/// Ids that faults need and that only the machine knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ids {
    pub(crate) process: u32,
    pub(crate) dead: u32,
}

/// The steps of sending `value` under these faults.
pub(crate) fn steps<'a>(
    faults: impl Iterator<Item = &'a Fault> + Clone,
    line: Line<'_>,
    value: Value,
    ids: Ids,
) -> Vec<Op> {
    let struck = faults.filter(|fault| strikes(fault, line));
    let mut before = Vec::new();
    let mut value = value;
    // Whose thread ends is read from the true reply, whatever lies are put into it.
    for fault in struck.clone() {
        match fault {
            Fault::Dies { vcpu } => before.extend(picked(&value, *vcpu).map(Op::Kill)),
            Fault::Reborn { vcpu } => before.extend(picked(&value, *vcpu).map(Op::Renew)),
            _ => {}
        }
    }
    for fault in struck.clone() {
        change(fault, &mut value, ids);
    }
    let text = bytes(&value);
    let mut body = vec![Op::Bytes(text.clone())];
    let mut after = Vec::new();
    for fault in struck {
        match fault {
            Fault::Delay { ms, .. } => before.push(Op::Wait(Duration::from_millis(*ms))),
            Fault::Events { events, .. } => {
                before.extend(events.iter().map(|e| Op::Bytes(bytes(e))));
            }
            Fault::Stale { id, .. } => {
                let stray = json!({ "return": {}, "id": id });
                before.push(Op::Bytes(bytes(&stray)));
            }
            Fault::Silence { .. } => body = vec![Op::Silence],
            Fault::Close { .. } => body = vec![Op::Close],
            Fault::CloseAfter { .. } => after.push(Op::Close),
            Fault::Duplicate { .. } => after.push(Op::Bytes(text.clone())),
            Fault::Cut { bytes, then, .. } => {
                let end = bytes.unwrap_or(text.len() / 2).min(text.len());
                body = vec![Op::Bytes(text[..end].to_vec())];
                body.extend(follow(*then));
            }
            Fault::Trickle { bytes, ms, .. } => {
                let pause = Duration::from_millis(*ms);
                let pieces = text.chunks((*bytes).max(1));
                body = pieces
                    .flat_map(|piece| [Op::Bytes(piece.to_vec()), Op::Wait(pause)])
                    .collect();
            }
            Fault::Garbage { then, .. } => {
                raw(
                    &mut body,
                    b"\x16\x03\x01 this is no QMP \x00\x7f }{".to_vec(),
                    *then,
                );
            }
            Fault::InvalidUtf8 { then, .. } => {
                raw(
                    &mut body,
                    b"{\"return\": {\"name\": \"\xc3\x28\xff\xfe\"}}".to_vec(),
                    *then,
                );
            }
            Fault::LongLine { mib, then, .. } => {
                let pad = "x".repeat(mib << 20);
                raw(
                    &mut body,
                    format!("{{\"return\": \"{pad}\"}}").into_bytes(),
                    *then,
                );
            }
            Fault::Deep { depth, then, .. } => {
                let (open, close) = ("[".repeat(*depth), "]".repeat(*depth));
                raw(
                    &mut body,
                    format!("{{\"return\": {open}{close}}}").into_bytes(),
                    *then,
                );
            }
            _ => {}
        }
    }
    before.into_iter().chain(body).chain(after).collect()
}

/// A line as QEMU writes it.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    let mut text = value.to_string().into_bytes();
    text.extend_from_slice(b"\r\n");
    text
}

fn follow(then: Then) -> Option<Op> {
    match then {
        Then::Close => Some(Op::Close),
        Then::Silence => Some(Op::Silence),
        Then::GoOn => None,
    }
}

/// Puts a line of its own in front of the body, or in place of it.
fn raw(body: &mut Vec<Op>, mut line: Vec<u8>, then: Then) {
    line.extend_from_slice(b"\r\n");
    match follow(then) {
        Some(end) => *body = vec![Op::Bytes(line), end],
        None => body.insert(0, Op::Bytes(line)),
    }
}

fn strikes(fault: &Fault, line: Line<'_>) -> bool {
    let cpus = line.command == Some("query-cpus-fast");
    match fault {
        Fault::AbsentSocket | Fault::Refused | Fault::Held { .. } => false,
        Fault::Delay { at, .. }
        | Fault::Trickle { at, .. }
        | Fault::Silence { at }
        | Fault::Close { at }
        | Fault::CloseAfter { at }
        | Fault::Cut { at, .. }
        | Fault::Events { at, .. }
        | Fault::Stale { at, .. }
        | Fault::WrongId { at, .. }
        | Fault::MissingId { at }
        | Fault::Duplicate { at }
        | Fault::Replace { at, .. }
        | Fault::Remove { at, .. }
        | Fault::ExtraFields { at, .. }
        | Fault::Garbage { at, .. }
        | Fault::InvalidUtf8 { at, .. }
        | Fault::LongLine { at, .. }
        | Fault::Deep { at, .. } => match at {
            At::Any => true,
            At::Greeting => line.reply.is_none(),
            At::Reply(n) => line.reply == Some(*n),
            At::Command(name) => line.command == Some(name),
        },
        Fault::Error { command, .. } => line.command == Some(command),
        Fault::Target { .. }
        | Fault::CpuIndex { .. }
        | Fault::ThreadId { .. }
        | Fault::Omit { .. }
        | Fault::Twice { .. }
        | Fault::Dies { .. }
        | Fault::Reborn { .. } => cpus,
    }
}

/// cpu-index of each picked vCPU.
fn picked(value: &Value, pick: Pick) -> impl Iterator<Item = u32> + use<> {
    let cpus = value["return"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let indexes: Vec<u32> = cpus
        .iter()
        .enumerate()
        .filter(|(place, _)| hits(pick, *place))
        .filter_map(|(_, cpu)| u32::try_from(cpu["cpu-index"].as_u64()?).ok())
        .collect();
    indexes.into_iter()
}

fn hits(pick: Pick, place: usize) -> bool {
    match pick {
        Pick::All => true,
        Pick::Nth(n) => n == place,
    }
}

/// What a fault does to the line's value.
fn change(fault: &Fault, value: &mut Value, ids: Ids) {
    match fault {
        Fault::WrongId { id, .. } => value["id"] = id.clone(),
        Fault::MissingId { .. } => {
            remove(value, "/id");
        }
        Fault::Error { class, desc, .. } => {
            let mut error = json!({ "error": { "class": class, "desc": desc } });
            if let Some(id) = value.get("id") {
                error["id"] = id.clone();
            }
            *value = error;
        }
        Fault::Replace {
            pointer,
            value: other,
            ..
        } => put(value, pointer, other.clone()),
        Fault::Remove { pointer, .. } => remove(value, pointer),
        Fault::ExtraFields { fields, .. } => add_everywhere(value, fields),
        Fault::Target { vcpu, target } => set_in_cpus(value, *vcpu, "target", &json!(target)),
        Fault::CpuIndex { vcpu, index } => set_in_cpus(value, *vcpu, "cpu-index", &json!(index)),
        Fault::ThreadId { vcpu, tid } => {
            let told = match tid {
                LyingTid::Number(n) => json!(n),
                LyingTid::Process => json!(ids.process),
                LyingTid::Dead => json!(ids.dead),
                LyingTid::OfVcpu(place) => value["return"][*place]["thread-id"].clone(),
            };
            set_in_cpus(value, *vcpu, "thread-id", &told);
        }
        Fault::Omit { vcpu } => repeat_cpus(value, *vcpu, 0),
        Fault::Twice { vcpu } => repeat_cpus(value, *vcpu, 2),
        _ => {}
    }
}

fn set_in_cpus(value: &mut Value, pick: Pick, key: &str, told: &Value) {
    let Some(cpus) = value["return"].as_array_mut() else {
        return;
    };
    for (place, cpu) in cpus.iter_mut().enumerate() {
        if hits(pick, place) {
            cpu[key] = told.clone();
        }
    }
}

/// Lists each picked vCPU so many times.
fn repeat_cpus(value: &mut Value, pick: Pick, times: usize) {
    let Some(cpus) = value["return"].as_array_mut() else {
        return;
    };
    let old = std::mem::take(cpus).into_iter().enumerate();
    *cpus = old
        .flat_map(|(place, cpu)| vec![cpu; if hits(pick, place) { times } else { 1 }])
        .collect();
}

fn put(value: &mut Value, pointer: &str, other: Value) {
    if let Some(place) = value.pointer_mut(pointer) {
        *place = other;
    } else if let Some((parent, key)) = pointer.rsplit_once('/')
        && let Some(Value::Object(members)) = value.pointer_mut(parent)
    {
        members.insert(key.to_owned(), other);
    }
}

fn remove(value: &mut Value, pointer: &str) {
    let Some((parent, key)) = pointer.rsplit_once('/') else {
        return;
    };
    match value.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.remove(key);
        }
        Some(Value::Array(items)) => {
            if let Some(place) = key
                .parse()
                .ok()
                .filter(|&place: &usize| place < items.len())
            {
                items.remove(place);
            }
        }
        _ => {}
    }
}

fn add_everywhere(value: &mut Value, fields: &Map<String, Value>) {
    match value {
        Value::Object(members) => {
            members
                .values_mut()
                .for_each(|member| add_everywhere(member, fields));
            members.extend(fields.clone());
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| add_everywhere(item, fields)),
        _ => {}
    }
}
