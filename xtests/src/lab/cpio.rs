//! The archive a Linux kernel unpacks as its first file system: cpio in its "newc" form
//! (kernel: Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// File type bits of the mode.
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// An archive in the making. Directories above a file are made by themselves.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    names: BTreeSet<String>,
}

impl Archive {
    /// Adds a file with its permissions.
    pub fn file(&mut self, path: &str, permissions: u32, data: &[u8]) {
        self.entry(path, REGULAR | permissions, data);
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, to: &str) {
        self.entry(path, SYMLINK | 0o777, to.as_bytes());
    }

    /// Adds a file of this machine, links followed, at the same or another path.
    ///
    /// # Errors
    /// It can't be read.
    pub fn copy(&mut self, from: &Path, path: &str) -> io::Result<()> {
        let told = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", from.display()));
        let data = fs::read(from).map_err(told)?;
        let mode = fs::metadata(from).map_err(told)?.permissions().mode();
        self.file(path, mode & 0o777, &data);
        Ok(())
    }

    /// Whether it holds a path already.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.names.contains(path.trim_matches('/'))
    }

    /// The archive as bytes, padded so that another one may follow.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.write("TRAILER!!!", 0, &[]);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self.bytes
    }

    /// The first entry of a path counts.
    fn entry(&mut self, path: &str, mode: u32, data: &[u8]) {
        let path = path.trim_matches('/');
        if self.has(path) {
            return;
        }
        if let Some((above, _)) = path.rsplit_once('/') {
            self.entry(above, DIRECTORY | 0o755, &[]);
        }
        self.names.insert(path.to_owned());
        self.write(path, mode, data);
    }

    fn write(&mut self, name: &str, mode: u32, data: &[u8]) {
        // Inode, mode, owner, group, links, time, size, four device numbers, length of the name with its NUL, checksum.
        let fields = [
            self.names.len(),
            mode as usize,
            0,
            0,
            1,
            0,
            data.len(),
            0,
            0,
            0,
            0,
            name.len() + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_directories_before_their_files() {
        let mut archive = Archive::default();
        archive.file("/etc/pve/numapin.conf", 0o640, b"100: numa\n");
        archive.file("etc/pve/numapin.conf", 0o640, b"the first one counts");
        archive.link("/etc/x", "pve");
        assert!(archive.has("etc/pve") && !archive.has("pve"));
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 512, 0);
        let text = String::from_utf8(bytes).unwrap();
        let heads: Vec<&str> = text.split("070701").skip(1).collect();
        let names: Vec<&str> = heads
            .iter()
            .map(|head| head[104..].split('\0').next().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "etc",
                "etc/pve",
                "etc/pve/numapin.conf",
                "etc/x",
                "TRAILER!!!"
            ]
        );
        let modes: Vec<&str> = heads.iter().map(|head| &head[8..16]).collect();
        assert_eq!(
            modes,
            ["000041ED", "000041ED", "000081A0", "0000A1FF", "00000000"]
        );
        // The size, and the data after the name and its padding to four bytes (head and name: 110 + 22).
        assert_eq!(&heads[2][48..56], "0000000A");
        assert!(heads[2][104 + 22..].starts_with("100: numa\n\0\0"));
        assert!(heads[3].trim_end_matches('\0').ends_with("pve"));
    }
}
