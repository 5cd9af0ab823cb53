//! The files below /etc/pve: the configs of guests, and numapin.conf.

use std::path::{Path, PathBuf};

use numapin_core::guest::GuestName;
use numapin_core::guest::pve::{self, GuestConfig, Pending};
use numapin_core::id::Vmid;
use numapin_core::policy::{ChosenPolicy, NodeConf, Places, choose};
use numapin_core::process::{Process, guest_process};
use numapin_core::root::{self, Root};

use crate::fault::Fault;
use crate::intent::{GuestRef, Over};

/// The configs of guests, and what numapin.conf says.
pub(crate) struct Configs {
    root: Root,
    /// numapin.conf; without the file it says nothing.
    pub(crate) conf: NodeConf,
    /// The node that a guest is coming from: its config is still there.
    pub(crate) from: Option<String>,
}

/// A guest's config, before it is known whether the guest holds together.
pub(crate) struct Config {
    /// How the guest is called.
    pub(crate) name: GuestName,
    /// Its number.
    pub(crate) vmid: Option<Vmid>,
    /// The file.
    pub(crate) path: PathBuf,
    /// What it says.
    pub(crate) config: GuestConfig,
    /// The guest's QEMU, where it runs.
    pub(crate) process: Option<Process>,
}

impl Configs {
    /// Reads numapin.conf. A bad line is told, and concerns only what it is about.
    ///
    /// # Errors
    /// The file is there and can't be read.
    pub(crate) fn read(root: &Root, warn: &mut Vec<String>) -> Result<Self, Fault> {
        let conf = NodeConf::read(root)?;
        warn.extend(conf.errors.iter().map(ToString::to_string));
        Ok(Self {
            root: root.clone(),
            conf,
            from: None,
        })
    }

    /// The settings of a numapin.conf that was read; `None`: there is none.
    pub(crate) fn of(root: &Root, text: Option<&str>) -> Self {
        Self {
            root: root.clone(),
            conf: NodeConf::parse(&conf_path(root), text.unwrap_or_default()),
            from: None,
        }
    }

    /// The guests of this node, ascending.
    ///
    /// # Errors
    /// The directory is there and can't be read.
    pub(crate) fn guests(&self) -> Result<Vec<Vmid>, Fault> {
        let names = root::read_names(&self.root.etc_pve().join("qemu-server"))?;
        let mut vmids: Vec<Vmid> = names
            .unwrap_or_default()
            .iter()
            .filter_map(|name| vmid(name.strip_suffix(".conf")?))
            .collect();
        vmids.sort_unstable();
        Ok(vmids)
    }

    /// Whether any node of the cluster has a guest of this number.
    pub(crate) fn exists(&self, vmid: Vmid) -> bool {
        self.path(vmid).is_ok()
    }

    /// Reads the config of a guest: of one that runs without what waits for its next start.
    ///
    /// # Errors
    /// There is none, or it can't be understood.
    pub(crate) fn config(&self, which: &GuestRef, warn: &mut Vec<String>) -> Result<Config, Fault> {
        let (path, vmid) = self.place(which)?;
        // A file that only looks like a guest's says nothing about the guest of that number which may run here.
        let ours = matches!(which, GuestRef::Vmid(_)) || path.starts_with(self.root.etc_pve());
        let process = match vmid.filter(|_| ours) {
            Some(vmid) => guest_process(&self.root, vmid).map_err(Fault::system)?,
            None => None,
        };
        let pending = match process {
            Some(_) => Pending::Leave,
            None => Pending::Merge,
        };
        read(path, vmid, process, pending, warn)
    }

    /// Reads the config of a guest as its start does, and nothing else.
    ///
    /// # Errors
    /// As [`Configs::config`].
    pub(crate) fn config_alone(&self, vmid: Vmid, warn: &mut Vec<String>) -> Result<Config, Fault> {
        let (path, vmid) = self.place(&GuestRef::Vmid(vmid))?;
        let pending = match self.from {
            // The guest goes on here as it ran there; only a cold start takes what waits.
            Some(_) => Pending::Leave,
            None => Pending::Merge,
        };
        read(path, vmid, None, pending, warn)
    }

    /// The policy of a guest from its places, with the flags over it.
    ///
    /// # Errors
    /// The place that counts can't be understood.
    pub(crate) fn policy(&self, config: &Config, over: &Over) -> Result<ChosenPolicy, Fault> {
        let places = Places {
            asked: over.policy.as_ref(),
            flags: Some(&over.keys),
            conf: Some(&self.conf),
            vmid: config.vmid,
            config: Some((&config.config, &config.path)),
        };
        choose(&places).map_err(|e| Fault::malformed(format!("guest {}: {e}", config.name)))
    }

    fn place(&self, which: &GuestRef) -> Result<(PathBuf, Option<Vmid>), Fault> {
        match which {
            GuestRef::Vmid(vmid) => Ok((self.path(*vmid)?, Some(*vmid))),
            GuestRef::File(path) => Ok((path.clone(), which.vmid())),
            GuestRef::Qmp(socket) => Err(Fault::usage(format!(
                "{}: a guest of --qmp has no config",
                socket.display()
            ))),
        }
    }

    /// The config of a guest: of this node, or of another one of the cluster, from which it may be coming.
    fn path(&self, vmid: Vmid) -> Result<PathBuf, Fault> {
        let file = format!("{vmid}.conf");
        let here = self.root.etc_pve().join("qemu-server").join(&file);
        if !self.root.etc_pve().exists() {
            let machine = match &self.root {
                Root::Live(_) => "this machine".to_owned(),
                Root::Captured(captured) => captured.dir().display().to_string(),
            };
            return Err(Fault::usage(format!(
                "guest {vmid}: {machine} has no /etc/pve (expected the path of a .conf file instead of a VMID)"
            )));
        }
        let nodes = self.root.etc_pve().join("nodes");
        let on = |node: &str| nodes.join(node).join("qemu-server").join(&file);
        if let Some(from) = self.from.as_deref().map(on).filter(|path| path.exists()) {
            return Ok(from);
        }
        if here.exists() {
            return Ok(here);
        }
        let names = root::read_names(&nodes).ok().flatten().unwrap_or_default();
        let elsewhere = names.iter().map(|node| on(node)).find(|path| path.exists());
        elsewhere.ok_or_else(|| {
            Fault::usage(format!(
                "guest {vmid} has no config: {} does not exist, nor is it on another node of the cluster",
                here.display()
            ))
        })
    }
}

impl Config {
    /// Whether the guest is being backed up, which can mean that it starts for that and nothing else.
    pub(crate) fn is_backed_up(&self) -> bool {
        let lock = self.config.lock.as_ref();
        lock.is_some_and(|lock| lock.value == "backup")
    }
}

/// Where numapin.conf is.
pub(crate) fn conf_path(root: &Root) -> PathBuf {
    root.etc_pve().join("numapin.conf")
}

fn read(
    path: PathBuf,
    vmid: Option<Vmid>,
    process: Option<Process>,
    pending: Pending,
    warn: &mut Vec<String>,
) -> Result<Config, Fault> {
    let text = root::read_text(&path)?.ok_or_else(|| {
        Fault::usage(format!(
            "{}: there is no such file (expected a VMID or the path of a .conf file)",
            path.display()
        ))
    })?;
    let parsed = pve::parse(&path, &text, pending).map_err(Fault::malformed)?;
    warn.extend(parsed.warnings.iter().map(ToString::to_string));
    Ok(Config {
        name: GuestName(called(&path, vmid)),
        vmid,
        config: parsed.config,
        process,
        path,
    })
}

fn called(path: &Path, vmid: Option<Vmid>) -> String {
    match vmid {
        Some(vmid) => vmid.to_string(),
        None => path
            .file_stem()
            .unwrap_or(path.as_os_str())
            .to_string_lossy()
            .into_owned(),
    }
}

fn vmid(text: &str) -> Option<Vmid> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits).map(Vmid)
}
