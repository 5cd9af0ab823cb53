//! Texts of a recording as they stand in a line: plain, or in quotes with escapes.

use crate::error::shown;

/// The bytes of a file that stand behind its `=`.
pub(super) fn value(text: &str) -> Result<Vec<u8>, String> {
    if text.starts_with('"') {
        return match unquote(text)? {
            (bytes, "") => Ok(bytes),
            (_, rest) => Err(format!(
                "'{rest}' behind the closing quote",
                rest = shown(rest)
            )),
        };
    }
    match text.chars().find(|c| !(' '..='~').contains(c)) {
        Some(c) => Err(format!(
            "the character '{}' in a text without quotes",
            c.escape_default()
        )),
        None if text.is_empty() => Err("no text; an empty line is written as \"\\n\"".to_owned()),
        None => Ok([text.as_bytes(), b"\n"].concat()),
    }
}

/// The bytes of a quoted text at the start, and what stands behind it.
pub(super) fn unquote(text: &str) -> Result<(Vec<u8>, &str), String> {
    let mut bytes = Vec::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((bytes, text.get(at + 1..).unwrap_or_default())),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => bytes.push(b'\n'),
                Some('t') => bytes.push(b'\t'),
                Some('r') => bytes.push(b'\r'),
                Some('0') => bytes.push(0),
                Some('"') => bytes.push(b'"'),
                Some('\\') => bytes.push(b'\\'),
                Some('x') => {
                    let digits: String = chars.by_ref().take(2).map(|(_, c)| c).collect();
                    let byte = Some(&digits)
                        .filter(|d| d.len() == 2 && d.bytes().all(|b| b.is_ascii_hexdigit()))
                        .and_then(|d| u8::from_str_radix(d, 16).ok());
                    bytes.push(byte.ok_or_else(|| {
                        format!(
                            "'\\x{digits}' is no byte (expected two hexadecimal digits)",
                            digits = shown(&digits)
                        )
                    })?);
                }
                other => {
                    let other = shown(&other.map(String::from).unwrap_or_default());
                    return Err(format!(
                        "unknown escape '\\{other}' (expected one of \\n \\t \\r \\0 \\\" \\\\ \\xNN)"
                    ));
                }
            },
            ' '..='~' => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            _ => {
                return Err(format!(
                    "the character '{}' in quotes (expected an escape)",
                    c.escape_default()
                ));
            }
        }
    }
    Err("a quote without its end".to_owned())
}
