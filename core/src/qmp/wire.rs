//! Bytes to messages and commands to bytes. No I/O.
//!
//! QEMU ends each message with a newline, and with `-qmp-pretty` a message has many lines: so a message is framed by the
//! brace that closes it, not by the line. Both its size and its nesting are bounded before anything is parsed.

pub use super::message::Message;
use super::message::parse;

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
        let bytes = &self.buffer[..];
        let mut at = self.scanned;
        while let Some(byte) = bytes.get(at) {
            match (self.text, byte) {
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
                        return Ok(Some(at + 1));
                    }
                }
                (Text::Outside, _) => {}
                (Text::Inside, b'"') => self.text = Text::Outside,
                (Text::Inside, b'\\') => self.text = Text::Escaped,
                // JSON has no line breaks within strings: the line was cut, and waiting for its end would be in vain.
                (Text::Inside, b'\n' | b'\r') => {
                    return Err(WireError::NotJson {
                        bytes: at + 1,
                        quoted: quote(bytes),
                        reason: "a line ends within a string".to_owned(),
                    });
                }
                // Most of what QEMU says is in strings, and most of that means nothing here.
                (Text::Inside, _) => {
                    let plain = |byte: &u8| !matches!(byte, b'"' | b'\\' | b'\n' | b'\r');
                    let rest = &bytes[at..];
                    at += rest
                        .iter()
                        .position(|byte| !plain(byte))
                        .unwrap_or(rest.len());
                    continue;
                }
                (Text::Escaped, _) => self.text = Text::Inside,
            }
            at += 1;
        }
        self.scanned = at;
        Ok(None)
    }
}

pub(super) fn quote(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(QUOTED)];
    String::from_utf8_lossy(start).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<Message>, WireError> {
        let mut decoder = Decoder::new();
        decoder.feed(bytes);
        let mut messages = Vec::new();
        while let Some(message) = decoder.next_message()? {
            messages.push(message);
        }
        Ok(messages)
    }

    fn event(name: &str) -> Message {
        Message::Event { name: name.into() }
    }

    #[rstest]
    #[case::greeting(
        r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "x"}, "capabilities": ["oob"]}}"#,
        Message::Greeting { version: Some("7.2.22".into()) }
    )]
    #[case::bare_greeting(r#"{"QMP": 1}"#, Message::Greeting { version: None })]
    #[case::event(
        r#"{"event": "RESUME", "timestamp": {"seconds": 1}, "new": [1]}"#,
        event("RESUME")
    )]
    #[case::unknown_event(r#"{"event": "NEVER_HEARD_OF"}"#, event("NEVER_HEARD_OF"))]
    #[case::odd_event(r#"{"event": 7}"#, event(""))]
    #[case::answer(
        r#"{"return": {}, "id": 3, "more": null}"#,
        Message::Return { id: Some("3".into()), value: "{}".into() }
    )]
    #[case::without_id(r#"{"return": []}"#, Message::Return { id: None, value: "[]".into() })]
    #[case::text_id(r#"{"return": 1, "id": "x:1"}"#, Message::Return { id: Some("\"x:1\"".into()), value: "1".into() })]
    #[case::refusal(
        r#"{"error": {"class": "NewClass", "desc": "no } brace"}, "id": 1}"#,
        Message::Error { id: Some("1".into()), class: "NewClass".into(), desc: "no } brace".into() }
    )]
    #[case::odd_refusal(r#"{"error": 5}"#, Message::Error { id: None, class: String::new(), desc: String::new() })]
    #[case::unknown(r#"{"hello": "\"{\\"}"#, Message::Unknown)]
    fn every_message_is_read_whole_and_byte_by_byte(#[case] text: &str, #[case] expected: Message) {
        let line = format!("{text}\r\n");
        assert_eq!(all(line.as_bytes()), Ok(vec![expected.clone()]));
        let mut decoder = Decoder::new();
        let mut found = Vec::new();
        for byte in line.as_bytes() {
            decoder.feed(&[*byte]);
            found.extend(decoder.next_message().unwrap());
        }
        assert_eq!(found, [expected]);
        assert_eq!(all(b"").unwrap(), []);
    }

    #[test]
    fn messages_need_no_line_of_their_own() {
        let pretty = "{\n    \"event\": \"A\",\n    \"data\": {\n    }\n}\r\n \n{\"event\":\"B\"}{\"event\":\"C\"}{\"eve";
        assert_eq!(all(pretty.as_bytes()).unwrap(), ["A", "B", "C"].map(event));
    }

    #[rstest]
    #[case::text(
        "HTTP/1.1 400 Bad Request\r\n",
        r#""HTTP/1.1 400 Bad Request\r\n" is not a QMP message (expected a JSON object)"#
    )]
    #[case::list("[1]", r#""[1]" is not a QMP message (expected a JSON object)"#)]
    #[case::stray("{}}", r#""}" is not a QMP message (expected a JSON object)"#)]
    #[case::not_json("{\"a\" 1}", r#"a message of 7 bytes that begins with "{\"a\" 1}" is not JSON: expected `:` at line 1 column 6"#)]
    #[case::crossed("{[}]", r#"a message of 4 bytes that begins with "{[}]" is not JSON: key must be a string at line 1 column 2"#)]
    #[case::cut_in_a_string("{\"return\": [{\"cpu-ind\r\n", r#"a message of 22 bytes that begins with "{\"return\": [{\"cpu-ind\r\n" is not JSON: a line ends within a string"#)]
    fn what_is_not_qmp_is_quoted(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(all(text.as_bytes()).unwrap_err().to_string(), expected);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_an_error() {
        let told = all(b"{\"event\": \"\xff\"}").unwrap_err();
        assert_eq!(told, WireError::NotUtf8 { bytes: 14, at: 11 });
        // Garbage is quoted without them.
        let told = all(b"\xff\xfe").unwrap_err().to_string();
        assert_eq!(
            told,
            "\"\u{fffd}\u{fffd}\" is not a QMP message (expected a JSON object)"
        );
    }

    #[test]
    fn a_message_without_end_ends_at_the_bound() {
        let mut decoder = Decoder::new();
        decoder.feed(b"{\"return\": \"");
        let chunk = vec![b'x'; 64 << 10];
        let mut fed = 0;
        let error = loop {
            decoder.feed(&chunk);
            fed += chunk.len();
            if let Err(error) = decoder.next_message() {
                break error;
            }
            assert!(fed < 64 << 20);
        };
        assert_eq!(error, WireError::TooLong);
        assert!(fed <= MAX_MESSAGE + chunk.len());
    }

    #[test]
    fn deep_nesting_ends_at_the_bound() {
        let deep = format!("{{\"return\": {}", "[".repeat(10_000));
        assert_eq!(all(deep.as_bytes()), Err(WireError::TooDeep));
        // Within strings brackets do not nest.
        let flat = format!("{{\"event\": \"{}\"}}", "[".repeat(10_000));
        assert_eq!(all(flat.as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn a_command_is_one_line_of_json() {
        assert_eq!(
            command("query-cpus-fast", 7),
            "{\"execute\":\"query-cpus-fast\",\"id\":7}\n"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_messages_or_an_error(
            text in r#"([\[\]{}",:a1 \\\n]|\{"event":"[a\\"]*"\}){0,40}"#,
            cut in 0usize..64,
        ) {
            let bytes = text.as_bytes();
            let whole = all(bytes);
            let mut decoder = Decoder::new();
            let mut found = Vec::new();
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            let mut error = None;
            for part in [first, second] {
                decoder.feed(part);
                while error.is_none() {
                    match decoder.next_message() {
                        Ok(Some(message)) => found.push(message),
                        Ok(None) => break,
                        Err(e) => error = Some(e),
                    }
                }
            }
            // Where the bytes are cut makes no difference (but for how much of them an error quotes).
            prop_assert_eq!(whole.is_err(), error.is_some());
            if let Ok(whole) = whole {
                prop_assert_eq!(whole, found);
            }
        }
    }
}
