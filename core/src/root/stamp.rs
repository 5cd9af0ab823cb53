//! Whether a file was written since it was last read, without reading it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// What differs after a file was written, or its owner or mode changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Filesystems stamp files with a clock that ticks this seldom (`CONFIG_HZ` of 100, twice over): a file that was written that
/// short a time ago can be written again and look the same.
const TICK: Duration = Duration::from_millis(20);

impl Stamp {
    /// `None` where there is no such file, or where it was written so shortly ago that the next writing might not be told apart.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let meta = fs::symlink_metadata(path).ok()?;
        let changed = (meta.ctime(), meta.ctime_nsec());
        let seconds = Duration::from_secs(u64::try_from(changed.0).ok()?);
        let nanos = Duration::from_nanos(u64::try_from(changed.1).ok()?);
        let at = SystemTime::UNIX_EPOCH + seconds + nanos;
        // A clock that was set back makes no file trusted that should not be.
        let old = SystemTime::now()
            .duration_since(at)
            .is_ok_and(|age| age > TICK);
        old.then_some(Self {
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_looks_different_or_is_not_trusted_yet() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("status");
        assert_eq!(Stamp::of(&file), None);
        fs::write(&file, "2\n").unwrap();
        std::thread::sleep(TICK * 2);
        let before = Stamp::of(&file);
        assert!(before.is_some() && before == Stamp::of(&file));
        for text in ["3\n", "4\n", "5\n"] {
            fs::write(&file, text).unwrap();
            assert_ne!(Stamp::of(&file), before);
        }
        std::thread::sleep(TICK * 2);
        let after = Stamp::of(&file);
        assert!(after.is_some() && after != before);
    }
}
