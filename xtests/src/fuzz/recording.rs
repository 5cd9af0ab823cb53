//! A recording of a machine's files.

use std::fs;
use std::path::Path;

use numapin_sysfs_sim::{Entry, Machine, Recording, Tree};

use super::told;

/// Trees up to this size are written as files, too.
const WRITTEN: usize = 40;

/// Reads a recording; what is printed is read as it was, and a tree that is written is the tree that was read.
pub fn recording(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let recording = match Recording::parse(&text, "x.recording") {
        Ok(recording) => recording,
        Err(error) => return told(&error),
    };
    let printed = recording.to_string();
    let again = match Recording::parse(&printed, "x.recording") {
        Ok(again) => again,
        Err(error) => panic!("{error}\n{printed}"),
    };
    assert_eq!(again, recording, "{printed}");
    assert_eq!(again.to_string(), printed);
    if recording.tree.len() <= WRITTEN {
        files(recording);
    }
}

fn files(recording: Recording) {
    let dir = in_memory();
    let tree = recording.tree.clone();
    match Machine::Recording(recording).write_tree(dir.path()) {
        Ok(()) => assert_written(&tree, dir.path()),
        Err(error) => told(&error),
    }
}

fn assert_written(tree: &Tree, dir: &Path) {
    for (path, entry) in tree {
        let full = dir.join(path);
        match entry {
            Entry::File(bytes) => {
                let kind = fs::symlink_metadata(&full).expect("a file that was written");
                assert!(kind.is_file(), "{path}");
                let read = fs::read(&full).expect("a file that was written");
                assert_eq!(read, bytes[..], "{path}");
            }
            Entry::Link(target) => {
                let read = fs::read_link(&full).expect("a link that was written");
                assert_eq!(read, Path::new(target), "{path}");
            }
            Entry::Dir => {
                let kind = fs::symlink_metadata(&full).expect("a directory that was written");
                assert!(kind.is_dir(), "{path}");
            }
        }
    }
}

/// A directory in memory where there is room, else where temporary files go.
pub(super) fn in_memory() -> tempfile::TempDir {
    let mut new = tempfile::Builder::new();
    new.prefix("numapin-fuzz-");
    let dir = new.tempdir_in("/dev/shm").or_else(|_| new.tempdir());
    dir.expect("a directory for temporary files")
}
