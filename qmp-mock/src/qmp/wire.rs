//! Bytes from a client to requests, with what QEMU answers to bytes that are none.
//!
//! QEMU reads a stream of JSON values: no newline is needed between them. (It also takes single quotes; this does not.)

use serde_json::{Map, Value};

/// Longest input without a whole value; QEMU's own limit is 64 MiB.
const LIMIT: usize = 64 << 20;

/// A command, its arguments, and the id to be sent back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    pub(crate) id: Option<Value>,
    pub(crate) command: Result<(String, Map<String, Value>), String>,
}

/// Collects bytes until they are requests.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// The requests that are whole now.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Request> {
        self.buffer.extend_from_slice(bytes);
        let mut requests = Vec::new();
        loop {
            // Left over from before a value, or it would be taken for the end of a wrong line.
            let blank = self
                .buffer
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace());
            let blank = blank.count();
            self.buffer.drain(..blank);
            let mut values =
                serde_json::Deserializer::from_slice(&self.buffer).into_iter::<Value>();
            let next = values.next();
            let read = values.byte_offset();
            match next {
                None => {
                    self.buffer.clear();
                    return requests;
                }
                Some(Ok(value)) => {
                    self.buffer.drain(..read);
                    requests.push(request(value));
                }
                Some(Err(e)) if e.is_eof() && self.buffer.len() < LIMIT => return requests,
                Some(Err(e)) => {
                    requests.push(Request {
                        id: None,
                        command: Err(parse_error(&self.buffer, &e.to_string())),
                    });
                    // QEMU starts anew behind the error; a line is what people send.
                    let line = self.buffer.iter().position(|&byte| byte == b'\n');
                    self.buffer
                        .drain(..line.map_or(self.buffer.len(), |at| at + 1));
                }
            }
        }
    }
}

fn request(value: Value) -> Request {
    let Value::Object(mut members) = value else {
        return Request {
            id: None,
            command: Err("QMP input must be a JSON object".to_owned()),
        };
    };
    let id = members.remove("id");
    Request {
        command: command(members),
        id,
    }
}

fn command(mut members: Map<String, Value>) -> Result<(String, Map<String, Value>), String> {
    let execute = members.remove("execute");
    let arguments = members.remove("arguments");
    if let Some(name) = members.keys().next() {
        return Err(format!("QMP input member '{name}' is unexpected"));
    }
    let name = match execute {
        None => return Err("QMP input lacks member 'execute'".to_owned()),
        Some(Value::String(name)) => name,
        Some(_) => return Err("QMP input member 'execute' must be a string".to_owned()),
    };
    match arguments {
        None => Ok((name, Map::new())),
        Some(Value::Object(arguments)) => Ok((name, arguments)),
        Some(_) => Err("QMP input member 'arguments' must be an object".to_owned()),
    }
}

fn parse_error(input: &[u8], what: &str) -> String {
    if what.contains("recursion limit") {
        return "JSON nesting depth limit exceeded".to_owned();
    }
    let text = String::from_utf8_lossy(input);
    let text = text.trim_start();
    let word: String = text.chars().take_while(char::is_ascii_alphabetic).collect();
    match text.chars().next() {
        _ if !word.is_empty() => format!("JSON parse error, invalid keyword '{word}'"),
        Some('\u{fffd}') => "JSON parse error, stray '\\uFFFD'".to_owned(),
        _ => "JSON parse error, expecting value".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_values_with_and_without_newlines() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.feed(b"{\"execute\":\"query-"), []);
        let requests =
            decoder.feed(b"name\",\"id\":[1]}{\"execute\":\"stop\",\"arguments\":{\"a\":1}}\r\n  ");
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0].id, Some(json!([1])));
        let stop = json!({"a": 1}).as_object().cloned().unwrap();
        assert_eq!(requests[1].command, Ok(("stop".to_owned(), stop)));
        assert!(decoder.buffer.is_empty());
    }

    /// Texts as QEMU 7.2 answered them.
    #[rstest]
    #[case("foo\n", "JSON parse error, invalid keyword 'foo'")]
    #[case("{\"execute\": }\n", "JSON parse error, expecting value")]
    #[case("[1]\n", "QMP input must be a JSON object")]
    #[case("5\n", "QMP input must be a JSON object")]
    #[case("{\"execute\":5}\n", "QMP input member 'execute' must be a string")]
    #[case("{\"foo\":1}\n", "QMP input member 'foo' is unexpected")]
    #[case(
        "{\"execute\":\"stop\",\"foo\":1}\n",
        "QMP input member 'foo' is unexpected"
    )]
    #[case(
        "{\"execute\":\"stop\",\"arguments\":5}\n",
        "QMP input member 'arguments' must be an object"
    )]
    #[case("{\"arguments\":{}}\n", "QMP input lacks member 'execute'")]
    #[case(
        "{\"exec-oob\":\"stop\"}\n",
        "QMP input member 'exec-oob' is unexpected"
    )]
    fn answers_wrong_input_as_qemu_does(#[case] input: &str, #[case] desc: &str) {
        let requests =
            Decoder::default().feed(format!("{input}{{\"execute\":\"stop\"}}").as_bytes());
        assert_eq!(requests.len(), 2, "it goes on behind the error");
        assert_eq!(requests[0].command, Err(desc.to_owned()));
        assert!(requests[1].command.is_ok());
    }

    #[test]
    fn survives_bytes_that_are_no_text_and_deep_nesting() {
        let requests = Decoder::default().feed(b"\xff\xfe\n");
        assert_eq!(
            requests[0].command,
            Err("JSON parse error, stray '\\uFFFD'".to_owned())
        );
        let deep = "[".repeat(20_000) + "\n";
        let requests = Decoder::default().feed(deep.as_bytes());
        assert_eq!(
            requests[0].command,
            Err("JSON nesting depth limit exceeded".to_owned())
        );
    }
}
