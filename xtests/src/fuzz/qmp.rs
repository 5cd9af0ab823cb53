//! What comes over QMP's wire, in pieces of any size, and what the answers say.

use numapin_core::guest::Guest;
use numapin_core::guest::qmp::shape;
use numapin_core::qmp::wire::{Decoder, Message, WireError, command};
use numapin_core::qmp::{Slot, Vcpu, reply};
use serde_json::{Value, json};

use super::told;

/// Feeds bytes whole, one by one, and in pieces: it makes no difference. Answers are read, and messages survive being written.
pub fn qmp(bytes: &[u8]) {
    let whole = decode(bytes, bytes.len());
    let size = 2 + bytes.len() % 7;
    assert_eq!(
        without_counts(decode(bytes, 1)),
        without_counts(whole.clone())
    );
    assert_eq!(
        without_counts(decode(bytes, size)),
        without_counts(whole.clone())
    );
    let (messages, end) = whole;
    if let Err(error) = end {
        told(&error);
    }
    let written: String = messages.iter().filter_map(written).collect();
    let known = messages
        .iter()
        .filter(|message| **message != Message::Unknown);
    let (again, end) = decode(written.as_bytes(), written.len().max(1));
    assert_eq!(end, Ok(()), "{written}");
    assert!(again.iter().eq(known), "{again:?}\n{messages:?}");
    let mut answers: Vec<&str> = Vec::new();
    for message in &messages {
        let Message::Return { value, id } = message else {
            continue;
        };
        if let Some(id) = id.as_ref().and_then(|id| id.parse::<u64>().ok()) {
            let sent: Value = serde_json::from_str(&command("x", id)).expect("commands are JSON");
            assert_eq!(sent, json!({"execute": "x", "id": id}));
        }
        answer(value);
        answers.push(value);
    }
    for cpus in &answers {
        let Ok(cpus) = reply::vcpus(cpus) else {
            continue;
        };
        of_guest(&cpus, None);
        for slots in &answers {
            of_guest(&cpus, Some(&reply::slots(slots)));
        }
    }
}

type Decoded = (Vec<Message>, Result<(), WireError>);

/// All messages, and what ended them, when bytes come so many at a time.
fn decode(bytes: &[u8], size: usize) -> Decoded {
    let mut decoder = Decoder::new();
    let mut messages = Vec::new();
    for piece in bytes.chunks(size.max(1)) {
        decoder.feed(piece);
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Err(error)),
            }
        }
    }
    assert!(decoder.unfinished() <= bytes.len());
    (messages, Ok(()))
}

/// Without what depends on how much had come when the mistake was seen.
fn without_counts(
    (messages, end): Decoded,
) -> (Vec<Message>, Result<(), std::mem::Discriminant<WireError>>) {
    (
        messages,
        end.map_err(|error| std::mem::discriminant(&error)),
    )
}

fn written(message: &Message) -> Option<String> {
    let told = match message {
        Message::Greeting { version } => {
            let version = version.as_ref().map(|version| {
                let parts = version.split('.').map(|part| part.parse::<u64>());
                let parts: Vec<u64> = parts.map(|part| part.expect("a number")).collect();
                json!({"qemu": {"major": parts[0], "minor": parts[1], "micro": parts[2]}})
            });
            format!("\"QMP\": {}", json!({"version": version}))
        }
        Message::Event { name } => {
            format!(
                "\"event\": {}, \"data\": {{\"x\": [\"}}\", \"{{\"]}}",
                json!(name)
            )
        }
        Message::Return { value, .. } => format!("\"return\": {value}"),
        Message::Error { class, desc, .. } => {
            format!("\"error\": {}", json!({"class": class, "desc": desc}))
        }
        Message::Unknown => return None,
    };
    let id = match message {
        Message::Return { id: Some(id), .. } | Message::Error { id: Some(id), .. } => {
            format!(", \"id\": {id}")
        }
        _ => String::new(),
    };
    Some(format!("{{{told}{id}}}\r\n"))
}

fn answer(value: &str) {
    match reply::vcpus(value) {
        Ok(vcpus) => assert!(!vcpus.is_empty()),
        Err(error) => told(&error),
    }
    if let Err(error) = reply::iothreads(value) {
        told(&error);
    }
}

/// What the answers of query-cpus-fast and query-hotpluggable-cpus say of a guest is a guest, or the reason why not.
fn of_guest(cpus: &[Vcpu], slots: Option<&[Slot]>) {
    match shape(cpus, slots) {
        Ok(shape) => match Guest::new(shape.parts("x")) {
            Ok(guest) => assert!(shape.plugged.is_subset(&guest.vcpus()), "{shape:?}"),
            Err(violations) => violations.list.iter().for_each(|v| told(v)),
        },
        Err(error) => told(&error),
    }
}
