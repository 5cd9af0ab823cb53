//! Where lines go: to standard error, with a priority each where that is the journal (sd-daemon(3)), else as other commands
//! write them.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use super::Line;

/// Standard error, as it was when the watch began.
pub(super) struct Journal {
    prefixed: bool,
}

impl Journal {
    /// Looks whether standard error is the journal: systemd says its device and inode in `JOURNAL_STREAM` (systemd.exec(5)), and
    /// who redirected it since has another one.
    pub(super) fn of_stderr() -> Self {
        let stream = std::env::var("JOURNAL_STREAM").ok();
        let stderr = io::stderr().as_fd().try_clone_to_owned().map(File::from);
        let meta = stderr.and_then(|file| file.metadata());
        let prefixed = match (stream, meta) {
            (Some(stream), Ok(meta)) => stream == format!("{}:{}", meta.dev(), meta.ino()),
            _ => false,
        };
        Self { prefixed }
    }

    /// Writes lines. That they can't be written ends nothing.
    pub(super) fn write(&self, lines: &[Line]) {
        let mut stderr = io::stderr().lock();
        for line in lines {
            let _ = writeln!(stderr, "{}", shown(line, self.prefixed));
        }
    }
}

fn shown(line: &Line, prefixed: bool) -> String {
    match prefixed {
        true => format!("<{}>{}", line.priority as u8, line.text),
        false => format!("numapin: {}", line.text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::Priority;

    #[test]
    fn lines_have_a_priority_in_the_journal_and_a_name_elsewhere() {
        let line = Line {
            priority: Priority::Warning,
            text: "guest 100: gone".to_owned(),
        };
        assert_eq!(shown(&line, true), "<4>guest 100: gone");
        assert_eq!(shown(&line, false), "numapin: guest 100: gone");
        let order = [
            Priority::Error,
            Priority::Warning,
            Priority::Notice,
            Priority::Info,
        ];
        assert_eq!(order.map(|priority| priority as u8), [3, 4, 5, 6]);
    }
}
