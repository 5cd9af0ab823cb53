//! The text of a task's files in /proc, in the kernel's format.
//!
//! Lines and their order are those of Linux 6.8 (Proxmox VE 8); figures no reader of masks looks at are made up.

use std::fmt::Write as _;

use crate::masks::Mask;

/// A task, as far as its files tell of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task<'a> {
    pub(crate) comm: &'a str,
    /// Thread group, i.e. the process.
    pub(crate) tgid: u32,
    pub(crate) tid: u32,
    pub(crate) ppid: u32,
    pub(crate) running: bool,
    /// A kernel thread has no memory of its own.
    pub(crate) kernel: bool,
    pub(crate) allowed: &'a Mask,
    pub(crate) mems: &'a Mask,
    /// Tasks of the process.
    pub(crate) threads: usize,
    /// Ticks since boot.
    pub(crate) start: u64,
}

impl Task<'_> {
    /// `status`.
    pub(crate) fn status(&self) -> String {
        let mut text = String::with_capacity(1600);
        let mut line = |key: &str, value: &str| {
            // Writing to a String can't go wrong.
            let _ = writeln!(text, "{key}:\t{value}");
        };
        let tid = self.tid.to_string();
        line("Name", &escape(self.comm));
        line("Umask", if self.kernel { "0000" } else { "0027" });
        line("State", self.state().1);
        line("Tgid", &self.tgid.to_string());
        line("Ngid", "0");
        line("Pid", &tid);
        line("PPid", &self.ppid.to_string());
        line("TracerPid", "0");
        line("Uid", "0\t0\t0\t0");
        line("Gid", "0\t0\t0\t0");
        line("FDSize", if self.kernel { "64" } else { "256" });
        line("Groups", " ");
        line("NStgid", &self.tgid.to_string());
        line("NSpid", &tid);
        line("NSpgid", &self.tgid.to_string());
        line("NSsid", &self.tgid.to_string());
        if !self.kernel {
            for (key, kib) in [
                ("VmPeak", 5_251_360),
                ("VmSize", 5_185_824),
                ("VmLck", 0),
                ("VmPin", 0),
                ("VmHWM", 2_142_808),
                ("VmRSS", 2_142_600),
                ("RssAnon", 2_119_016),
                ("RssFile", 23_584),
                ("RssShmem", 0),
                ("VmData", 2_701_924),
                ("VmStk", 132),
                ("VmExe", 6_744),
                ("VmLib", 63_952),
                ("VmPTE", 4_596),
                ("VmSwap", 0),
                ("HugetlbPages", 0),
            ] {
                line(key, &format!("{kib:8} kB"));
            }
            line("CoreDumping", "0");
            line("THP_enabled", "1");
            line("untag_mask", "0xffffffffffffffff");
        }
        line("Threads", &self.threads.to_string());
        line("SigQ", "0/256719");
        for key in ["SigPnd", "ShdPnd"] {
            line(key, "0000000000000000");
        }
        line("SigBlk", "0000000010002240");
        line("SigIgn", "0000000000001000");
        line("SigCgt", "0000000100004243");
        line("CapInh", "0000000000000000");
        for key in ["CapPrm", "CapEff", "CapBnd"] {
            line(key, "000001ffffffffff");
        }
        line("CapAmb", "0000000000000000");
        for key in ["NoNewPrivs", "Seccomp", "Seccomp_filters"] {
            line(key, "0");
        }
        line("Speculation_Store_Bypass", "thread vulnerable");
        line("SpeculationIndirectBranch", "conditional enabled");
        line("Cpus_allowed", &self.allowed.groups);
        line("Cpus_allowed_list", &self.allowed.list);
        line("Mems_allowed", &self.mems.groups);
        line("Mems_allowed_list", &self.mems.list);
        line("voluntary_ctxt_switches", "104729");
        line("nonvoluntary_ctxt_switches", "1299");
        text
    }

    /// `stat`: 52 fields, the start time is the 22nd.
    pub(crate) fn stat(&self) -> String {
        let Self {
            tid,
            comm,
            ppid,
            tgid,
            threads,
            start,
            ..
        } = self;
        let state = self.state().0;
        let (flags, vsize, rss) = if self.kernel {
            (0x20_8040, 0, 0)
        } else {
            (0x40_0140, 5_310_283_776_u64, 535_650)
        };
        format!(
            "{tid} ({comm}) {state} {ppid} {tgid} {tgid} 0 -1 {flags} 531241 0 12 0 4021 977 0 0 20 0 {threads} 0 {start} \
             {vsize} {rss} 18446744073709551615 1 1 0 0 0 0 268444224 4096 16963 0 0 0 17 3 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
        )
    }

    fn state(&self) -> (char, &'static str) {
        if self.running {
            ('R', "R (running)")
        } else {
            ('S', "S (sleeping)")
        }
    }
}

/// `cmdline`: each argument ends in a NUL byte.
pub(crate) fn cmdline(args: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for arg in args {
        bytes.extend_from_slice(arg.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// The kernel escapes newline and backslash in `Name`, and nothing in `comm` and `stat`.
fn escape(comm: &str) -> String {
    comm.replace('\\', "\\\\").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(ids: &[u32], bits: u32) -> Mask {
        Mask::new(&ids.iter().copied().collect(), bits)
    }

    fn keys(status: &str) -> Vec<&str> {
        status
            .lines()
            .map(|line| line.split_once(":\t").expect("a key and a tab").0)
            .collect()
    }

    fn task<'a>(allowed: &'a Mask, mems: &'a Mask) -> Task<'a> {
        Task {
            comm: "CPU 0/KVM",
            tgid: 100,
            tid: 103,
            ppid: 1,
            running: false,
            kernel: false,
            allowed,
            mems,
            threads: 7,
            start: 4711,
        }
    }

    /// Every key this kernel also has stands in the same order, and the lines in question have the same form.
    #[test]
    fn status_has_the_form_of_this_kernels() {
        let real = std::fs::read_to_string("/proc/self/status").unwrap();
        let (allowed, mems) = (mask(&[1, 33], 64), mask(&[0, 1], 1024));
        let fake = task(&allowed, &mems).status();
        let (real_keys, fake_keys) = (keys(&real), keys(&fake));
        let common = |of: &[&str], other: &[&str]| -> Vec<String> {
            let both = of.iter().filter(|key| other.contains(key));
            both.map(|key| (*key).to_owned()).collect()
        };
        let shared = common(&fake_keys, &real_keys);
        assert_eq!(shared, common(&real_keys, &fake_keys));
        for key in [
            "Name",
            "State",
            "Tgid",
            "Pid",
            "PPid",
            "Cpus_allowed",
            "Cpus_allowed_list",
            "Mems_allowed_list",
        ] {
            assert!(shared.iter().any(|k| k == key), "{key}");
        }
        assert!(shared.len() > 40, "{shared:?}");
        assert!(fake.contains("\nCpus_allowed:\t00000002,00000002\nCpus_allowed_list:\t1,33\n"));
        let value = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap();
            line.split_once('\t').unwrap().1.to_owned()
        };
        let form = |text: &str| -> String {
            let digits = |c: char| if c.is_ascii_hexdigit() { 'x' } else { c };
            text.chars().map(digits).collect()
        };
        for key in ["Mems_allowed:", "SigCgt:", "CapEff:"] {
            let (real, fake) = (form(&value(&real, key)), form(&value(&fake, key)));
            // Kernels built for fewer nodes print fewer groups.
            assert!(fake.ends_with(&real), "{key} {fake} / {real}");
        }
        assert_eq!(
            value(&fake, "VmRSS").len(),
            value(&real, "VmRSS").len().max(11)
        );
    }

    #[test]
    fn stat_has_as_many_fields_as_this_kernels() {
        let real = std::fs::read_to_string("/proc/self/stat").unwrap();
        let (allowed, mems) = (mask(&[0], 64), mask(&[0], 1024));
        let fake = task(&allowed, &mems).stat();
        let after = |text: &str| -> Vec<String> {
            let rest = text.rsplit_once(") ").unwrap().1;
            rest.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(after(&fake).len(), after(&real).len());
        // Counted from the state, which is field 3.
        assert_eq!(after(&fake)[22 - 3], "4711");
        assert_eq!(after(&fake)[20 - 3], "7");
        assert!(fake.starts_with("103 (CPU 0/KVM) S 1 100 "));
        assert!(fake.ends_with('\n'));
    }
}
