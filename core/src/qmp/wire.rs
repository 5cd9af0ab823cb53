//! Bytes to messages and commands to bytes. No I/O.
//!
//! QEMU ends each message with a newline, and with `-qmp-pretty` a message has many lines: so a message is framed by the
//! brace that closes it, not by the line. Both its size and its nesting are bounded before anything is parsed.

use serde_json::Value;

/// The longest message that is read, in bytes. `query-cpus-fast` of 4,096 vCPUs is under 1 MiB.
pub const MAX_MESSAGE: usize = 8 << 20;

/// The deepest nesting that is read. QMP's own messages stay under 10.
pub const MAX_DEPTH: usize = 64;

/// How much of what was not understood is quoted.
const QUOTED: usize = 60;

/// Takes bytes as they come and gives messages.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    scanned: usize,
    depth: usize,
    text: Text,
}

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
        /// The command's id; QEMU repeats what it was given.
        id: Option<Value>,
        /// The answer.
        value: Value,
    },
    /// A command was refused.
    Error {
        /// The command's id. It is absent where QEMU could not read the command.
        id: Option<Value>,
        /// The error class ("CommandNotFound", "GenericError", or one that is not known here).
        class: String,
        /// QEMU's own words.
        desc: String,
    },
    /// An object that is none of these.
    Unknown,
}

/// Why the bytes are not QMP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Something other than a JSON object.
    #[error("{quoted:?} is not a QMP message (expected a JSON object)")]
    NotAnObject {
        /// The beginning of it.
        quoted: String,
    },
    /// An object that is not JSON after all.
    #[error("a message of {bytes} bytes that begins with {quoted:?} is not JSON: {reason}")]
    NotJson {
        /// How long it is.
        bytes: usize,
        /// The beginning of it.
        quoted: String,
        /// What the parser says.
        reason: String,
    },
    /// Bytes that are not UTF-8.
    #[error("a message of {bytes} bytes is not UTF-8 from byte {at} on (QMP is UTF-8 text)")]
    NotUtf8 {
        /// How long it is.
        bytes: usize,
        /// The first byte that is wrong.
        at: usize,
    },
    /// A message beyond [`MAX_MESSAGE`].
    #[error(
        "a message has more than {MAX_MESSAGE} bytes (answers for thousands of vcpus have about 1 MiB)"
    )]
    TooLong,
    /// Nesting beyond [`MAX_DEPTH`].
    #[error("a message is nested more than {MAX_DEPTH} levels deep (QMP's own stay under 10)")]
    TooDeep,
}

/// The text of a command with its id, as it is sent.
#[must_use]
pub fn command(name: &str, id: u64) -> String {
    let mut line = serde_json::json!({ "execute": name, "id": id }).to_string();
    line.push('\n');
    line
}

/// Where the scan is with regard to strings.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Text {
    #[default]
    Outside,
    Inside,
    Escaped,
}

impl Decoder {
    /// A decoder that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes that came.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes of an unfinished message have come.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.buffer.len()
    }

    /// The next whole message; `None` until more bytes come. The caller feeds no more than it needs: what is beyond
    /// [`MAX_MESSAGE`] without an end is an error here.
    ///
    /// # Errors
    /// What came is not QMP. The decoder is of no use after that.
    pub fn next_message(&mut self) -> Result<Option<Message>, WireError> {
        if self.depth == 0 {
            self.skip_gap()?;
        }
        let Some(end) = self.scan()? else {
            if self.buffer.len() > MAX_MESSAGE {
                return Err(WireError::TooLong);
            }
            return Ok(None);
        };
        if end > MAX_MESSAGE {
            return Err(WireError::TooLong);
        }
        let message = parse(&self.buffer[..end])?;
        self.buffer.drain(..end);
        self.scanned = 0;
        Ok(Some(message))
    }

    /// Drops white space between messages; what follows must open an object.
    fn skip_gap(&mut self) -> Result<(), WireError> {
        let gap = self
            .buffer
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        self.buffer.drain(..gap);
        match self.buffer.first() {
            None | Some(b'{') => Ok(()),
            Some(_) => Err(WireError::NotAnObject {
                quoted: quote(&self.buffer),
            }),
        }
    }

    /// The end of the message at the start of the buffer. Goes on where it stopped the last time.
    fn scan(&mut self) -> Result<Option<usize>, WireError> {
        while let Some(byte) = self.buffer.get(self.scanned) {
            self.scanned += 1;
            match (self.text, byte) {
                (Text::Escaped, _) => self.text = Text::Inside,
                (Text::Inside, b'\\') => self.text = Text::Escaped,
                (Text::Inside, b'"') => self.text = Text::Outside,
                // JSON has no line breaks within strings: the line was cut, and waiting for its end would be in vain.
                (Text::Inside, b'\n' | b'\r') => {
                    return Err(WireError::NotJson {
                        bytes: self.scanned,
                        quoted: quote(&self.buffer),
                        reason: "a line ends within a string".to_owned(),
                    });
                }
                (Text::Inside, _) => {}
                (Text::Outside, b'"') => self.text = Text::Inside,
                (Text::Outside, b'{' | b'[') => {
                    self.depth += 1;
                    if self.depth > MAX_DEPTH {
                        return Err(WireError::TooDeep);
                    }
                }
                (Text::Outside, b'}' | b']') => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Ok(Some(self.scanned));
                    }
                }
                (Text::Outside, _) => {}
            }
        }
        Ok(None)
    }
}

fn parse(bytes: &[u8]) -> Result<Message, WireError> {
    let text = std::str::from_utf8(bytes).map_err(|e| WireError::NotUtf8 {
        bytes: bytes.len(),
        at: e.valid_up_to(),
    })?;
    let mut value: Value = serde_json::from_str(text).map_err(|e| WireError::NotJson {
        bytes: bytes.len(),
        quoted: quote(bytes),
        reason: e.to_string(),
    })?;
    let Some(object) = value.as_object_mut() else {
        return Err(WireError::NotAnObject {
            quoted: quote(bytes),
        });
    };
    let id = object.remove("id");
    if let Some(greeting) = object.get("QMP") {
        return Ok(Message::Greeting {
            version: version(greeting),
        });
    }
    if let Some(name) = object.get("event") {
        let name = name.as_str().unwrap_or_default().to_owned();
        return Ok(Message::Event { name });
    }
    if let Some(value) = object.remove("return") {
        return Ok(Message::Return { id, value });
    }
    if let Some(error) = object.get("error") {
        let word = |key| match error.get(key).and_then(Value::as_str) {
            Some(word) => word.to_owned(),
            None => String::new(),
        };
        return Ok(Message::Error {
            id,
            class: word("class"),
            desc: word("desc"),
        });
    }
    Ok(Message::Unknown)
}

fn version(greeting: &Value) -> Option<String> {
    let qemu = greeting.get("version")?.get("qemu")?;
    let part = |key| qemu.get(key).and_then(Value::as_u64);
    Some(format!(
        "{}.{}.{}",
        part("major")?,
        part("minor")?,
        part("micro")?
    ))
}

fn quote(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(QUOTED)];
    String::from_utf8_lossy(start).into_owned()
}
