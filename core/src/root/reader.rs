//! Reads small files by the thousand.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat};
use rustix::io::{Errno, read};

use super::{FileError, is_absent, read_names};

/// Reads many small files below one directory, with one buffer for the paths and one for the texts: a host has thousands of
/// them.
#[derive(Debug)]
pub struct Reader {
    way: Way,
    path: Vec<u8>,
    base: usize,
    bytes: Vec<u8>,
    text: String,
}

/// How the files of a directory are come by.
#[derive(Debug)]
enum Way {
    /// Each by its whole path.
    Path,
    /// From the directory, which is held open, so that the way to it is walked once; and each with one read.
    Held(OwnedFd),
    /// Not at all: there is no such directory.
    Absent,
}

impl Reader {
    /// Nothing that numapin reads is longer: a mask of [`MAX_ID`](crate::cpulist::MAX_ID) bits takes 295 kB, a file of pmxcfs at
    /// most 1 MiB.
    const LONGEST: usize = 1 << 24;
    /// What the kernel hands over at once of a file of sysfs: a page, on every architecture at least this.
    const PAGE: usize = 4096;

    /// A reader of the files below a directory.
    #[must_use]
    pub fn below(dir: &Path) -> Self {
        Self::by(Way::Path, dir)
    }

    /// A reader of the files below a directory of sysfs, or of a cgroup: they come whole with one read, or a page at a time
    /// where they are longer (fs/kernfs/file.c of the kernel), so that none is asked a second time whether that was all. A file
    /// of /proc says less than there is at a read and is none of these; one of a captured host is on a disk and comes whole, too.
    #[must_use]
    pub fn of_sysfs(dir: &Path) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let way = match openat(CWD, dir, flags, Mode::empty()) {
            Ok(held) => Way::Held(held),
            Err(Errno::NOENT | Errno::NOTDIR) => Way::Absent,
            // Each file then says what is wrong.
            Err(_) => Way::Path,
        };
        Self::by(way, dir)
    }

    /// A reader of `stat`, `status` and `comm` of a process's threads, below its `task`: unlike other files of /proc these come
    /// whole with one read (`single_open` of fs/seq_file.c), as those of sysfs do.
    #[must_use]
    pub fn of_tasks(dir: &Path) -> Self {
        Self::of_sysfs(dir)
    }

    /// The text of a file, or `None` where it does not exist; `name` is below the directory.
    ///
    /// # Errors
    /// The file is there and can't be read.
    pub fn read(&mut self, name: fmt::Arguments<'_>) -> Result<Option<&str>, FileError> {
        self.go_to(name);
        let len = match self.fill() {
            Ok(Some(len)) => len,
            Ok(None) => return Ok(None),
            Err(e) if is_absent(&e) => return Ok(None),
            Err(source) => return Err(FileError::of(self.path(), source)),
        };
        match std::str::from_utf8(&self.bytes[..len]) {
            Ok(text) => Ok(Some(text)),
            Err(_) => {
                self.text = String::from_utf8_lossy(&self.bytes[..len]).into_owned();
                Ok(Some(&self.text))
            }
        }
    }

    /// The names in a directory below this one, as [`read_names`] gives them.
    ///
    /// # Errors
    /// The directory is there and can't be read.
    pub fn names(&mut self, name: fmt::Arguments<'_>) -> Result<Option<Vec<String>>, FileError> {
        self.go_to(name);
        match self.way {
            Way::Absent => Ok(None),
            Way::Path | Way::Held(_) => read_names(self.path()),
        }
    }

    /// Whether a file or directory has so many links; not where that can't be told.
    pub fn has_links(&mut self, name: fmt::Arguments<'_>, count: u32) -> bool {
        self.go_to(name);
        let found = statat(CWD, &self.path[..], AtFlags::empty());
        found.is_ok_and(|found| i64::try_from(found.st_nlink) == Ok(count.into()))
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path[..self.base]))
    }

    /// The path of what was asked for last.
    #[must_use]
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    fn by(way: Way, dir: &Path) -> Self {
        let path = dir.as_os_str().as_bytes().to_vec();
        Self {
            way,
            base: path.len(),
            path,
            bytes: Vec::new(),
            text: String::new(),
        }
    }

    fn go_to(&mut self, name: fmt::Arguments<'_>) {
        self.path.truncate(self.base);
        self.path.push(b'/');
        // Writing into memory does not fail.
        let _ = self.path.write_fmt(name);
        if self.path.len() == self.base + 1 {
            self.path.truncate(self.base);
        }
    }

    /// Reads the file of the path into the buffer, and says how long it is; `None` where its directory is absent.
    fn fill(&mut self) -> io::Result<Option<usize>> {
        // Not blocking, so that a FIFO in somebody's dump is no wait without end.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let (dir, path) = match &self.way {
            Way::Absent => return Ok(None),
            Way::Path => (CWD, &self.path[..]),
            Way::Held(held) if self.path.len() > self.base => {
                (held.as_fd(), &self.path[self.base + 1..])
            }
            Way::Held(held) => (held.as_fd(), &b"."[..]),
        };
        let file = openat(dir, path, flags, Mode::empty())?;
        let mut len = 0;
        loop {
            if len == self.bytes.len() {
                if len >= Self::LONGEST {
                    return Err(io::Error::new(
                        io::ErrorKind::FileTooLarge,
                        format!("longer than {} bytes", Self::LONGEST),
                    ));
                }
                self.bytes.resize(Self::PAGE.max(len * 2), 0);
            }
            let room = self.bytes.len() - len;
            match read(&file, &mut self.bytes[len..]) {
                Ok(0) => return Ok(Some(len)),
                Ok(n) => {
                    len += n;
                    if matches!(self.way, Way::Held(_)) && n < room.min(Self::PAGE) {
                        return Ok(Some(len));
                    }
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rstest::rstest;

    use super::*;
    use crate::root::read_text;

    #[rstest]
    #[case::by_path(Reader::below)]
    #[case::from_the_directory(Reader::of_sysfs)]
    fn one_reader_reads_many_files(#[case] of: fn(&Path) -> Reader) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cpu0"), "short").unwrap();
        fs::write(dir.path().join("cpu1"), "x".repeat(10_000)).unwrap();
        fs::write(dir.path().join("cpu2"), b"0-1\xff").unwrap();
        for (n, len) in [(4, 4095), (5, 4096), (6, 4097), (7, 8192)] {
            fs::write(dir.path().join(format!("cpu{n}")), "y".repeat(len)).unwrap();
        }
        let mut reader = of(dir.path());
        let mut len = |n| {
            let text = reader.read(format_args!("cpu{n}")).unwrap();
            text.map(str::len)
        };
        assert_eq!([len(1), len(0), len(3)], [Some(10_000), Some(5), None]);
        assert_eq!(
            [4, 5, 6, 7].map(&mut len),
            [4095, 4096, 4097, 8192].map(Some)
        );
        assert_eq!(
            reader.read(format_args!("cpu2")).unwrap(),
            Some("0-1\u{fffd}")
        );
        assert_eq!(reader.read(format_args!("cpu0/online")).unwrap(), None);
        let names = reader.names(format_args!("")).unwrap().unwrap();
        assert_eq!(
            (names.len(), &names[..2]),
            (7, &["cpu0", "cpu1"].map(String::from)[..])
        );
        let e = reader.read(format_args!("")).unwrap_err();
        assert_eq!(e.path, dir.path());
    }

    #[rstest]
    #[case::by_path(Reader::below)]
    #[case::from_the_directory(Reader::of_sysfs)]
    fn a_directory_that_is_not_there_has_no_files(#[case] of: fn(&Path) -> Reader) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        for name in ["nothing", "file"] {
            let mut reader = of(&dir.path().join(name));
            assert_eq!(reader.read(format_args!("cpu0/online")).unwrap(), None);
            assert_eq!(reader.path(), dir.path().join(name).join("cpu0/online"));
        }
        let mut reader = of(&dir.path().join("nothing"));
        assert_eq!(reader.names(format_args!("cpu0")).unwrap(), None);
    }

    #[test]
    fn links_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("one"), "").unwrap();
        fs::hard_link(dir.path().join("one"), dir.path().join("two")).unwrap();
        let mut reader = Reader::below(dir.path());
        assert!(reader.has_links(format_args!("one"), 2));
        assert!(!reader.has_links(format_args!("one"), 3));
        assert!(!reader.has_links(format_args!("three"), 0));
    }

    #[test]
    fn what_never_ends_is_refused() {
        let e = read_text(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(e.to_string(), "/dev/zero: longer than 16777216 bytes");
    }
}
