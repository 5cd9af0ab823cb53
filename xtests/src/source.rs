//! Rust sources as flat lists of tokens, so that the laws look at code and never at comments or the inside of strings.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The folder that holds the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// One Rust source file.
#[derive(Debug)]
pub struct Source {
    /// Its path below the workspace, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Its tokens, with the brackets of groups as tokens of their own.
    pub tokens: Vec<Token>,
}

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// An identifier, a literal as it is written, one character of punctuation, or one bracket.
    pub text: String,
    /// Its line, from 1.
    pub line: usize,
    /// Whether it stands in code for tests: below a `#[cfg(test)]`, or in a file of tests.
    pub test: bool,
}

/// A path that is named, such as `std::fs::read`; the branches of a `use` with braces are paths of their own.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    /// Its parts.
    pub parts: Vec<String>,
    /// Its line.
    pub line: usize,
}

impl Source {
    /// Reads every Rust source below a folder of the workspace, in ascending order of paths.
    ///
    /// # Errors
    /// A file can't be read, or is not Rust.
    pub fn all(folder: &str) -> io::Result<Vec<Self>> {
        let root = workspace();
        files(&root.join(folder))?
            .into_iter()
            .filter(|path| path.extension().is_some_and(|e| e == "rs"))
            .map(|path| {
                let name = path.strip_prefix(&root).unwrap_or(&path);
                Self::new(&name.to_string_lossy(), fs::read_to_string(&path)?)
            })
            .collect()
    }

    /// A source of which path and text are known.
    ///
    /// # Errors
    /// The text is not Rust.
    pub fn new(path: &str, text: String) -> io::Result<Self> {
        let stream = TokenStream::from_str(&text)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("{path}: {e}")))?;
        let in_tests =
            path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("testing.rs");
        let mut tokens = Vec::new();
        flatten(stream, in_tests, &mut tokens);
        Ok(Self {
            path: path.to_owned(),
            text,
            tokens,
        })
    }

    /// The lines where a sequence of tokens stands.
    #[must_use]
    pub fn lines_of(&self, sequence: &[&str]) -> Vec<usize> {
        self.tokens
            .windows(sequence.len())
            .filter(|window| window.iter().zip(sequence).all(|(t, s)| t.text == *s))
            .map(|window| window[0].line)
            .collect()
    }

    /// Every path of two or more parts, and the branches of a `use`.
    #[must_use]
    pub fn paths(&self) -> Vec<Named> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            if is_word(&self.tokens[at].text) {
                at = self.path(at, &[], &mut found);
            } else {
                at += 1;
            }
        }
        found
    }

    /// The strings of `#[error("...")]`, with their lines.
    #[must_use]
    pub fn error_texts(&self) -> Vec<(String, usize)> {
        self.tokens
            .windows(5)
            .filter(|w| {
                [&w[0], &w[1], &w[2], &w[3]].map(|t| t.text.as_str()) == ["#", "[", "error", "("]
            })
            .filter_map(|w| Some((w[4].string()?, w[4].line)))
            .collect()
    }

    /// Follows the path that begins at a token; gives the place after it.
    fn path(&self, mut at: usize, before: &[String], found: &mut Vec<Named>) -> usize {
        let line = self.tokens[at].line;
        let mut parts = before.to_vec();
        loop {
            match self.text(at) {
                Some("{") if !parts.is_empty() => {
                    at += 1;
                    while let Some(text) = self.text(at) {
                        match text {
                            "}" => return at + 1,
                            "," => at += 1,
                            _ => at = self.path(at, &parts, found),
                        }
                    }
                    return at;
                }
                Some(text) if is_word(text) || text == "*" => parts.push(text.to_owned()),
                _ => {
                    // Not a path after all, such as `::<T>` or a stray token between braces.
                    found.extend((parts.len() > 1).then_some(Named { parts, line }));
                    return at + 1;
                }
            }
            at += 1;
            if (self.text(at), self.text(at + 1)) != (Some(":"), Some(":")) {
                if self.text(at) == Some("as") {
                    at += 2;
                }
                found.extend((parts.len() > 1).then_some(Named { parts, line }));
                return at;
            }
            at += 2;
        }
    }

    fn text(&self, at: usize) -> Option<&str> {
        self.tokens.get(at).map(|token| token.text.as_str())
    }
}

impl Token {
    /// What a string literal holds, with its escapes as they are written; `None` for other tokens.
    #[must_use]
    pub fn string(&self) -> Option<String> {
        let inner = self.text.trim_end_matches('#').strip_suffix('"')?;
        let start = inner.find('"')?;
        inner[..start]
            .chars()
            .all(|c| "rbc#".contains(c))
            .then(|| inner[start + 1..].to_owned())
    }
}

/// Every file below a folder in ascending order of paths, without hidden ones and what the compiler wrote.
///
/// # Errors
/// A folder can't be read.
pub fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name == "target" || name.starts_with('.') && name != ".ci" {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn is_word(text: &str) -> bool {
    text.chars()
        .next()
        .is_some_and(|c| c.is_alphabetic() || c == '_')
        && !text.contains('"')
        && !text.contains('\'')
}

/// Whether the tokens end in `#[cfg(test)]` or one with `test` among its conditions.
fn ends_in_cfg_test(tokens: &[Token]) -> bool {
    let texts = || tokens.iter().rev().map(|t| t.text.as_str());
    texts().next() == Some("]")
        && texts()
            .take_while(|t| *t != "#")
            .collect::<Vec<_>>()
            .as_slice()
            .ends_with(&["(", "cfg", "["])
        && texts().take_while(|t| *t != "#").any(|t| t == "test")
}

fn flatten(stream: TokenStream, test: bool, tokens: &mut Vec<Token>) {
    // The item after a #[cfg(test)] ends with its first braces or semicolon.
    let mut item_is_test = false;
    for tree in stream {
        item_is_test |= ends_in_cfg_test(tokens);
        let in_test = test || item_is_test;
        let line = tree.span().start().line;
        let mut push = |text: String, line| {
            tokens.push(Token {
                text,
                line,
                test: in_test,
            });
        };
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                push(open.to_owned(), line);
                flatten(group.stream(), in_test, tokens);
                tokens.push(Token {
                    text: close.to_owned(),
                    line: group.span_close().start().line,
                    test: in_test,
                });
                if group.delimiter() == Delimiter::Brace {
                    item_is_test = false;
                }
            }
            TokenTree::Punct(punct) => {
                push(punct.as_char().to_string(), line);
                if punct.as_char() == ';' {
                    item_is_test = false;
                }
            }
            other => push(other.to_string(), line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("core/src/x.rs", text.to_owned()).unwrap()
    }

    fn paths(text: &str) -> Vec<String> {
        let paths = source(text).paths();
        paths.iter().map(|p| p.parts.join("::")).collect()
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        let source =
            source("// unsafe\n/* unsafe */\n/// unsafe\nconst A: &str = \"unsafe { }\";\n");
        assert_eq!(source.lines_of(&["unsafe"]), Vec::<usize>::new());
        assert_eq!(
            self::source("fn f() {\n unsafe { g() } }").lines_of(&["unsafe", "{"]),
            [2]
        );
    }

    #[test]
    fn the_branches_of_a_use_are_paths() {
        assert_eq!(
            paths("use std::{fs::{self, File}, io as i, net};"),
            ["std::fs::self", "std::fs::File", "std::io", "std::net"]
        );
        assert_eq!(
            paths("let x = std::env::var(a::b);"),
            ["std::env::var", "a::b"]
        );
        assert_eq!(paths("use a::*; Vec::<u8>::new();"), ["a::*"]);
    }

    #[test]
    fn strings_are_read_in_each_way_they_are_written() {
        let strings = |text| {
            let source = source(text);
            source
                .tokens
                .iter()
                .filter_map(Token::string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            strings(r####"f("a", r"b", r#"c"d"#, b"e", 'f', g, "")"####),
            ["a", "b", "c\"d", "e", ""]
        );
    }

    #[test]
    fn code_for_tests_is_told_apart() {
        let of = |text: &str, word: &str| {
            let source = source(text);
            source
                .tokens
                .iter()
                .find(|t| t.text == word)
                .map(|t| t.test)
        };
        let text = "fn a() {} #[cfg(test)] mod tests { fn b() {} } fn c() {}";
        assert_eq!(of(text, "a"), Some(false));
        assert_eq!(of(text, "b"), Some(true));
        assert_eq!(of(text, "c"), Some(false));
        let text = "#[cfg(test)]\nmod x;\n#[cfg(unix)] fn d() {}";
        assert_eq!((of(text, "x"), of(text, "d")), (Some(true), Some(false)));
    }

    #[test]
    fn error_texts_are_found_with_their_lines() {
        let source = source("#[error(\n\"no {0}\"\n)] A(u8), #[error(transparent)] B");
        assert_eq!(source.error_texts(), [("no {0}".to_owned(), 2)]);
    }
}
