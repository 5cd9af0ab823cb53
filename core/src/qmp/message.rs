//! One message of QMP: which kind it is, and what of it is read here. What answers hold is read by who asked.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::wire::{WireError, quote};

/// One message of the server.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The first one, once the server has turned to this client.
    Greeting {
        /// QEMU's version ("7.2.22"), where the greeting tells it.
        version: Option<String>,
    },
    /// Something happened. Any name, known or not.
    Event {
        /// Its name.
        name: String,
    },
    /// The answer to a command.
    Return {
        /// The command's id, as it stands there; QEMU repeats what it was given.
        id: Option<String>,
        /// The answer, as it stands there: JSON that is read by who asked.
        value: String,
    },
    /// A command was refused.
    Error {
        /// The command's id. It is absent where QEMU could not read the command.
        id: Option<String>,
        /// The error class ("CommandNotFound", "GenericError", or one that is not known here).
        class: String,
        /// QEMU's own words.
        desc: String,
    },
    /// An object that is none of these.
    Unknown,
}

/// A message before it is known which one it is; what stands in its fields is read where it is needed.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "QMP", deserialize_with = "present")]
    greeting: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    event: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "return", deserialize_with = "present")]
    answer: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// A field that is there, even as `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads one message.
///
/// # Errors
/// It is no JSON.
pub(super) fn parse(bytes: &[u8]) -> Result<Message, WireError> {
    let text = std::str::from_utf8(bytes).map_err(|e| WireError::NotUtf8 {
        bytes: bytes.len(),
        at: e.valid_up_to(),
    })?;
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|e| WireError::NotJson {
        bytes: bytes.len(),
        quoted: quote(bytes),
        reason: e.to_string(),
    })?;
    let id = envelope.id.map(|id| id.get().to_owned());
    if let Some(greeting) = envelope.greeting {
        return Ok(Message::Greeting {
            version: version(greeting),
        });
    }
    if let Some(name) = envelope.event {
        let name = serde_json::from_str(name.get()).unwrap_or_default();
        return Ok(Message::Event { name });
    }
    if let Some(value) = envelope.answer {
        let value = value.get().to_owned();
        return Ok(Message::Return { id, value });
    }
    if let Some(error) = envelope.error {
        let Refusal { class, desc } = serde_json::from_str(error.get()).unwrap_or_default();
        return Ok(Message::Error { id, class, desc });
    }
    Ok(Message::Unknown)
}

#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    class: String,
    #[serde(default)]
    desc: String,
}

fn version(greeting: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Greeting {
        version: Version,
    }
    #[derive(Deserialize)]
    struct Version {
        qemu: Qemu,
    }
    #[derive(Deserialize)]
    struct Qemu {
        major: u64,
        minor: u64,
        micro: u64,
    }
    let greeting: Greeting = serde_json::from_str(greeting.get()).ok()?;
    let Qemu {
        major,
        minor,
        micro,
    } = greeting.version.qemu;
    Some(format!("{major}.{minor}.{micro}"))
}
