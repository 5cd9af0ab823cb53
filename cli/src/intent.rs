//! What the command line means: the machine, the guests, and what is laid over their settings.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use numapin_core::guest::flags::{Overrides, Typed};
use numapin_core::id::Vmid;
use numapin_core::policy::{Policy, PolicyPatch};
use numapin_core::root::Root;

use crate::args::{Global, Guests, OneGuest, With};
use crate::fault::Fault;

/// The numbers that Proxmox VE gives to guests (`pve-vmid`).
const VMIDS: RangeInclusive<u32> = 100..=999_999_999;

/// Which guest a command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GuestRef {
    /// A guest of this node by its number.
    Vmid(Vmid),
    /// A config file.
    File(PathBuf),
    /// A plain QEMU by its QMP socket.
    Qmp(PathBuf),
}

impl GuestRef {
    /// The VMID that a number or the name of a config file tells.
    pub(crate) fn vmid(&self) -> Option<Vmid> {
        match self {
            Self::Vmid(vmid) => Some(*vmid),
            Self::File(path) => {
                let stem = path.file_stem()?.to_str()?;
                let digits = !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_digit());
                stem.parse().ok().filter(|_| digits).map(Vmid)
            }
            Self::Qmp(_) => None,
        }
    }
}

/// What is laid over a guest's config and policy.
#[derive(Debug, Default)]
pub(crate) struct Over {
    /// Over the config.
    pub(crate) guest: Overrides,
    /// The policy as a whole, from `--policy`.
    pub(crate) policy: Option<PolicyPatch>,
    /// Single keys of the policy.
    pub(crate) keys: PolicyPatch,
}

impl Over {
    /// Whether anything is said of the policy.
    pub(crate) fn names_policy(&self) -> bool {
        self.policy.is_some() || !self.keys.is_empty()
    }

    /// The policy of a guest that has no place of its own for one, and where it comes from.
    pub(crate) fn policy(&self) -> (Policy, String) {
        match &self.policy {
            Some(patch) => self.keys_over(patch.over(&Policy::default()), "--policy".to_owned()),
            None => self.keys_over(Policy::default(), "default".to_owned()),
        }
    }

    fn keys_over(&self, policy: Policy, source: String) -> (Policy, String) {
        let source = if self.keys.is_empty() {
            source
        } else {
            format!("{source}, with flags over it")
        };
        (self.keys.over(&policy), source)
    }
}

/// The machine that the command is about.
///
/// # Errors
/// The directory that was named can't be read.
pub(crate) fn root(global: &Global) -> Result<Root, Fault> {
    const MACHINE: &str = "expected the root of a machine, a directory that holds sys/";
    match (&global.sysfs_root, &global.root) {
        (Some(dir), _) => Root::sysfs(dir)
            .map_err(|e| Fault::usage(format!("--sysfs-root {e} ({MACHINE}, or a sysfs itself)"))),
        (None, Some(dir)) => {
            Root::captured(dir).map_err(|e| Fault::usage(format!("--root {e} ({MACHINE})")))
        }
        (None, None) => Ok(Root::live()),
    }
}

/// The directory of the machine that the command is about; `None`: this machine.
pub(crate) fn directory(global: &Global) -> Option<&Path> {
    global.sysfs_root.as_deref().or(global.root.as_deref())
}

/// Refuses a machine where nothing can be changed.
///
/// # Errors
/// Only its /sys is known.
pub(crate) fn may_change(global: &Global) -> Result<(), Fault> {
    match &global.sysfs_root {
        Some(dir) => Err(Fault::usage(format!(
            "{}: nothing can be set below --sysfs-root (leave it out for this machine, or give --root DIR for a simulated one)",
            dir.display()
        ))),
        None => Ok(()),
    }
}

/// Refuses a machine of which only /sys is known: what is asked about runs.
///
/// # Errors
/// Only its /sys is known.
pub(crate) fn whole_machine(global: &Global) -> Result<(), Fault> {
    match &global.sysfs_root {
        Some(dir) => Err(Fault::usage(format!(
            "{}: a host's /sys does not tell what runs there (leave --sysfs-root out for this machine, or give --root DIR)",
            dir.display()
        ))),
        None => Ok(()),
    }
}

/// How long QMP may take.
pub(crate) fn deadline(global: &Global) -> Duration {
    // The grammar lets through only what a duration can hold.
    Duration::try_from_secs_f64(global.deadline).unwrap_or(Duration::from_secs(5))
}

/// The guest that a word names: digits are a VMID, anything else a path.
pub(crate) fn guest_ref(word: &str) -> Result<GuestRef, Fault> {
    if word.bytes().all(|b| b.is_ascii_digit()) {
        return vmid(word).map(GuestRef::Vmid);
    }
    Ok(GuestRef::File(PathBuf::from(word)))
}

/// The VMID that a word is.
pub(crate) fn vmid(word: &str) -> Result<Vmid, Fault> {
    let digits = word.bytes().all(|b| b.is_ascii_digit());
    let number = word
        .parse()
        .ok()
        .filter(|vmid| digits && VMIDS.contains(vmid));
    number.map(Vmid).ok_or_else(|| {
        let (first, last) = (VMIDS.start(), VMIDS.end());
        Fault::usage(format!(
            "{word:?} is not a VMID (expected {first} to {last})"
        ))
    })
}

/// The guest of a command about one guest.
pub(crate) fn one_guest(args: &OneGuest) -> Result<GuestRef, Fault> {
    match (&args.guest, &args.with.qmp) {
        (Some(_), Some(_)) => Err(both()),
        (Some(word), None) => guest_ref(word),
        (None, Some(socket)) => Ok(GuestRef::Qmp(socket.clone())),
        (None, None) => Err(Fault::usage(
            "no guest is named (expected a VMID, the path of a .conf file, or --qmp SOCKET)",
        )),
    }
}

/// The guests of a command about any number of them.
pub(crate) fn guests(args: &Guests) -> Result<Vec<GuestRef>, Fault> {
    match (&args.with.qmp, args.guests.is_empty()) {
        (Some(socket), true) => Ok(vec![GuestRef::Qmp(socket.clone())]),
        (Some(_), false) => Err(both()),
        (None, _) => {
            let mut guests = Vec::new();
            for word in &args.guests {
                let guest = guest_ref(word)?;
                // It would find itself in its own way.
                if guests.contains(&guest) {
                    return Err(Fault::usage(format!(
                        "guest {word} is named twice (expected each once)"
                    )));
                }
                guests.push(guest);
            }
            Ok(guests)
        }
    }
}

/// What the flags lay over a guest's config and policy.
///
/// # Errors
/// The first flag that is not understood.
pub(crate) fn over(with: &With) -> Result<Over, Fault> {
    let typed = Typed {
        affinity: with.affinity.as_deref(),
        sockets: with.sockets.as_deref(),
        cores: with.cores.as_deref(),
        numa: with.numa.as_deref(),
        host_nodes: with.host_node.iter().map(String::as_str).collect(),
    };
    let policy = with.policy.as_deref().map(str::parse).transpose();
    let mut keys = PolicyPatch::default();
    let flags = [
        ("vcpus", "--mode", &with.mode),
        ("smt", "--smt", &with.smt),
        ("overlap", "--overlap", &with.overlap),
        ("isolated", "--isolated", &with.isolated),
        ("kind", "--kind", &with.kind),
        ("emulator", "--emulator", &with.emulator),
        ("iothreads", "--iothreads", &with.iothreads),
        ("vhost", "--vhost", &with.vhost),
    ];
    for (key, flag, value) in flags {
        if let Some(value) = value {
            keys.set(key, value).map_err(|e| {
                // The flag says already which key it is.
                let text = e.to_string();
                let text = text.strip_prefix(&format!("{key}: ")).unwrap_or(&text);
                Fault::usage(format!("{flag}: {text}"))
            })?;
        }
    }
    Ok(Over {
        guest: typed.understand().map_err(Fault::usage)?,
        policy: policy.map_err(|e| Fault::usage(format!("--policy: {e}")))?,
        keys,
    })
}

fn both() -> Fault {
    Fault::usage(
        "GUEST and --qmp can't be together: --qmp is for a plain QEMU, whose shape it tells itself",
    )
}
