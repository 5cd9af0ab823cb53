//! Three hundred inputs with random damage: whatever they hold, the program ends with one of its exit codes, and never panics.

use std::fs;
use std::path::{Path, PathBuf};

use numapin_sysfs_sim::Host;

use crate::support::{Lab, Run, numapin_in};

/// Numbers that are the same on every machine (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits") % end.max(1)
    }

    /// The bytes with one to four pieces of damage.
    fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        const TEXTS: [&str; 14] = [
            "0",
            "-",
            ",",
            ":",
            "=",
            "\n",
            "99999999999999999999",
            "4294967295",
            "-1",
            "\0",
            "\u{fffd}",
            "0-3,",
            "[x]\n",
            "{",
        ];
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] = u8::try_from(self.below(256)).expect("a byte"),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 => bytes.truncate(at),
                3 => {
                    let text = TEXTS[self.below(TEXTS.len())];
                    bytes.splice(at..at, text.bytes());
                }
                4 => {
                    let (from, to) = (self.below(bytes.len() + 1), self.below(bytes.len() + 1));
                    let piece = bytes[from.min(to)..from.max(to)].to_vec();
                    bytes.splice(at..at, piece);
                }
                _ => {
                    let end = (at + self.below(20)).min(bytes.len());
                    bytes.drain(at..end);
                }
            }
        }
        bytes
    }
}

#[track_caller]
fn survives(run: &Run, input: &[u8]) {
    let input = String::from_utf8_lossy(input);
    assert!((0..=3).contains(&run.code), "{run:?}\n{input}");
    assert!(
        !run.err.contains("panicked") && !run.out.contains("panicked"),
        "{run:?}\n{input}"
    );
    let told = run.code < 2 || !run.err.is_empty() || run.out.contains("can't be pinned");
    assert!(told, "{run:?}\n{input}");
}

fn lab() -> Lab {
    let mut host = Host::grid(2, 1, 1, 2, 2);
    host.offline = [7].into();
    Lab::of(&host)
}

#[test]
fn damaged_configs() {
    const CONFIG: &str = "#a note\nagent: 1\naffinity: 0-3, 5\ncores: 2\nhostpci0: 0000:01:00.0,pcie=1\nhotplug: network,cpu\nmemory: \
                          2048\nname: web\nnuma: 1\nnuma0: cpus=0-1,hostnodes=0,memory=1024,policy=bind\nnuma1: cpus=2-3,memory=1024\n\
                          pinning: one-to-one,smt=isolate\nsockets: 2\nvcpus: 3\n\n[PENDING]\ncores: 4\ndelete: vcpus\n\n[snap]\ncores: 1\n";
    let lab = lab();
    let mut numbers = Numbers(0x6e75_6d61);
    for _ in 0..110 {
        let input = numbers.damage(CONFIG.as_bytes());
        lab.write("etc/pve/qemu-server/100.conf", &input);
        survives(&lab.run(&["plan", "100"]), &input);
    }
}

#[test]
fn damaged_recordings() {
    let lab = lab();
    lab.write("100.conf", "cores: 2\npinning: numa\n");
    let text = lab.run(&["record", "-"]).ended(0).out;
    let mut numbers = Numbers(0x7069_6e31);
    for _ in 0..60 {
        let input = numbers.damage(text.as_bytes());
        lab.write("damaged", &input);
        let args = ["simulate", "--host", "damaged", "100.conf"];
        survives(&numapin_in(lab.path(), args), &input);
    }
}

#[test]
fn damaged_sysfs() {
    let lab = lab();
    lab.config(100, "cores: 2\npinning: one-to-one\n");
    let mut files = Vec::new();
    collect(&lab.at("sys/devices/system"), &mut files);
    files.sort();
    assert!(files.len() > 50, "{}", files.len());
    let mut numbers = Numbers(0x7379_7366);
    for _ in 0..130 {
        let file = &files[numbers.below(files.len())];
        let whole = fs::read(file).expect("readable");
        let input = numbers.damage(&whole);
        fs::write(file, &input).expect("it can be written");
        survives(&lab.run(&["plan", "100"]), &input);
        fs::write(file, &whole).expect("it can be written");
    }
    lab.run(&["plan", "100"]).quiet(0);
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("readable") {
        let entry = entry.expect("readable");
        let kind = entry.file_type().expect("known");
        if kind.is_dir() {
            collect(&entry.path(), files);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
}
