//! `numapin set` and `numapin unset`: the line of one guest in numapin.conf.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use numapin_core::claims::Lock;
use numapin_core::guest::pve::passthrough;
use numapin_core::id::Vmid;
use numapin_core::policy::{NodeConf, Policy, set_line, unset_line};
use numapin_core::root::{self, Root, reason};

use crate::Answer;
use crate::args::{Format, Global, Set, Unset};
use crate::fault::{Exit, Fault};
use crate::load::{Configs, conf_path};
use crate::render::json;
use crate::{intent, tell};

/// How long another `set` is waited for.
const WAIT: Duration = Duration::from_secs(5);

/// Writes the policy of a guest, guarded by the guest's name.
pub(crate) fn set(global: &Global, args: &Set) -> Result<Answer, Fault> {
    let root = writable(global)?;
    let vmid = intent::vmid(&args.vmid)?;
    let policy: Policy = args.policy.parse().map_err(Fault::usage)?;
    let configs = Configs::read(&root, &mut Vec::new())?;
    let config = configs.config_alone(vmid, &mut Vec::new())?;
    let name = config.config.name.map(|name| name.value);
    let path = conf_path(&root);
    let (changed, text) = edit(&root, "set", |old| {
        set_line(old, vmid, name.as_deref(), &policy)
    })?;
    let conf = NodeConf::parse(&path, &text);
    conf.errors
        .iter()
        .for_each(|error| tell(&error.to_string()));
    let line = conf
        .guest(vmid)
        .ok()
        .flatten()
        .map(|(_, line)| format!("{vmid}: {line}"));
    let said = match (&line, changed) {
        (Some(line), true) => format!(
            "{}: {line}\nit acts at the next start of the guest, or with: numapin apply {vmid} --replan\n",
            path.display()
        ),
        (Some(line), false) => format!("{}: {line} (as before)\n", path.display()),
        (None, _) => String::new(),
    };
    Ok(answer(global, vmid, changed, line, said))
}

/// Removes the policy of a guest.
pub(crate) fn unset(global: &Global, args: &Unset) -> Result<Answer, Fault> {
    let root = writable(global)?;
    let vmid = intent::vmid(&args.vmid)?;
    let path = conf_path(&root);
    let (changed, text) = edit(&root, "unset", |old| {
        unset_line(old, vmid).unwrap_or_else(|| old.to_owned())
    })?;
    for error in NodeConf::parse(&path, &text).errors {
        tell(&error.to_string());
    }
    let said = match changed {
        true => format!("{}: the line of guest {vmid} is removed\n", path.display()),
        false => format!("{}: guest {vmid} has no line\n", path.display()),
    };
    Ok(answer(global, vmid, changed, None, said))
}

fn answer(
    global: &Global,
    vmid: Vmid,
    changed: bool,
    line: Option<String>,
    said: String,
) -> Answer {
    let out = match global.format {
        Format::Json => json::line(&json::SetDocument::new(vmid, changed, line)) + "\n",
        Format::Text | Format::Svg | Format::Prometheus => said,
    };
    Answer {
        out,
        exit: Exit::Done,
    }
}

/// The machine, where it has a place for numapin.conf.
fn writable(global: &Global) -> Result<Root, Fault> {
    intent::may_change(global)?;
    let root = intent::root(global)?;
    let dir = root.etc_pve();
    if dir.is_dir() {
        return Ok(root);
    }
    Err(Fault::usage(format!(
        "{}: there is no such directory (policies of guests stand there on a node of Proxmox VE; give a policy with --policy)",
        dir.display()
    )))
}

/// Edits numapin.conf whole or not at all; whether it changed, and its new text.
fn edit(
    root: &Root,
    command: &str,
    change: impl FnOnce(&str) -> String,
) -> Result<(bool, String), Fault> {
    // Against another one on this node. Other nodes, and editors, are found out by what they wrote.
    let _lock = Lock::acquire(root, &format!("numapin {command}"), WAIT).map_err(Fault::system)?;
    let path = conf_path(root);
    let fresh = fresh(root, &path);
    let at = |e: io::Error| Fault::system(format!("{}: {}", path.display(), reason(&e)));
    // One left by a killed program: the lock is ours, so nobody on this node is writing it.
    remove(root, &fresh).map_err(at)?;
    let old = root::read_text(&path)?;
    let text = change(old.as_deref().unwrap_or_default());
    if text == old.as_deref().unwrap_or_default() {
        return Ok((false, text));
    }
    let written = write(root, &fresh, &path, old.as_deref(), &text);
    if written.is_err() {
        // Of no use; why it was not written is what counts.
        let _ = fs::remove_file(&fresh);
    }
    written.map_err(at)?;
    Ok((true, text))
}

/// A name that no other node of the cluster uses: /etc/pve is the same on all of them.
fn fresh(root: &Root, path: &Path) -> PathBuf {
    let node = passthrough::node_name(root).ok().flatten();
    let mut node = node.unwrap_or_default();
    node.retain(|c| c.is_ascii_alphanumeric() || c == '-');
    path.with_file_name(format!(".numapin.conf.{node}.new"))
}

fn remove(root: &Root, path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        root.step(format_args!("remove what a killed set left"))?;
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Writes the file whole or not at all, beside it first: a file is replaced at once only within a file system.
fn write(root: &Root, fresh: &Path, path: &Path, old: Option<&str>, text: &str) -> io::Result<()> {
    let mode = fs::metadata(path).map_or(0o644, |meta| meta.permissions().mode() & 0o777);
    root.step(format_args!("create a new numapin.conf"))?;
    let mut file = File::create_new(fresh)?;
    root.step(format_args!("write the new numapin.conf"))?;
    file.write_all(text.as_bytes())?;
    // pmxcfs gives every file the mode it wants, and refuses others.
    let _ = file.set_permissions(Permissions::from_mode(mode));
    file.sync_all()?;
    let now = match fs::read(path) {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    if now.as_deref() != old {
        return Err(io::Error::other(
            "it changed while it was edited; nothing was written; try again",
        ));
    }
    root.step(format_args!("rename the new numapin.conf"))?;
    fs::rename(fresh, path)
}
