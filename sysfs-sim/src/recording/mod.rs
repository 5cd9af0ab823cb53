//! The topology files of a machine in one text file.
//!
//! ```text
//! numapin-recording 1
//! provenance: where it comes from
//! note: sys/...: not recorded: why
//!
//! sys/devices/system/cpu/online = 0-31
//! sys/devices/system/cpu/cpu{0-1,16-17}/cache/index3/shared_cpu_list = 0-1,16-17
//! sys/devices/system/cpu/cpu{1,17}/topology/{core_cpus_list,thread_siblings_list} = 1,17
//! sys/devices/system/cpu/cpu{0-3}/node0 -> ../../node/node0
//! sys/devices/system/node/node0/cpu{0-3} -> ../../cpu/cpu{}
//! sys/devices/system/node/node0/meminfo <<
//! | Node 0 MemTotal:       16383996 kB
//! | Node 0 MemFree:        16001232 kB
//! sys/devices/system/cpu/nohz_full = "  (null)\n"
//! sys/devices/system/cpu/cpu99/
//! ```
//! A path, then what it holds: `= text` is a file with that line (a newline follows it); `= "..."` a file with exactly these
//! bytes, with the escapes `\n \t \r \0 \" \\ \xNN`; `<<` a file of several lines, each behind `| `; `-> target` a
//! symbolic link; a `/` at the end an empty directory. `{...}` in a path stands for each of its alternatives, which are
//! parted by commas, `a-b` being all numbers from a to b; `{}` in a target is what the first one stood for. A path with
//! other characters than letters, digits and `_ . : + @ , = - /` is quoted as well, and then stands for itself alone.
//! Lines that begin with `#` are comments.
//!
//! Reading is strict: a path is relative, has no `..`, and stands once; nothing stands below a file; a link leads to a place
//! inside the tree.

mod capture;
mod format;
mod parse;
mod patterns;
mod quoted;

use crate::tree::{Tree, bad_path};

pub use capture::record;
pub use patterns::PATTERNS;

/// The first word of a recording.
const MAGIC: &str = "numapin-recording";
/// The version that is written, and the only one that is read.
const VERSION: &str = "1";

/// The topology files of a machine. [`Recording::parse`] and `Display` are inverses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recording {
    /// Where it comes from; may have several lines.
    pub provenance: String,
    /// What could not be recorded, and why.
    pub notes: Vec<String>,
    /// The files, links and empty directories.
    pub tree: Tree,
}

impl Recording {
    /// Reads a recording; `file` is the name for error messages.
    ///
    /// # Errors
    /// The first line that is wrong, with its number.
    pub fn parse(text: &str, file: &str) -> Result<Self, crate::Error> {
        parse::parse(text).map_err(|(line, what)| crate::Error::Recording {
            file: file.to_owned(),
            line,
            what,
        })
    }

    /// Whether a text is meant to be a recording.
    pub(crate) fn starts(text: &str) -> bool {
        text.split_ascii_whitespace().next() == Some(MAGIC)
    }
}

/// Whether a character of a path needs no quotes.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.:+@,=-/".contains(c)
}

/// `17-20` as a range of numbers, as it may stand in braces.
fn as_range(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        (digits && (text == "0" || !text.starts_with('0')))
            .then(|| text.parse().ok())
            .flatten()
    };
    let (first, last) = text.split_once('-')?;
    Some((number(first)?, number(last)?))
}

/// Where the link at `path` leads, or nothing if that is not inside the tree: a target is relative, has `..` only in front,
/// and not more of them than there are directories above the link.
fn destination(path: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    let mut rest = target;
    while let Some(after) = rest.strip_prefix("../") {
        parts.pop()?;
        rest = after;
    }
    if rest == ".." {
        parts.pop()?;
    } else if rest == "." {
        // The directory of the link itself: some captures have such links.
    } else if bad_path(rest).is_some() {
        return None;
    } else {
        parts.extend(rest.split('/'));
    }
    Some(parts.join("/"))
}
