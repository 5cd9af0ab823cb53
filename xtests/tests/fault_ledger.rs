//! A ledger that can't be written or read, and what the whole program makes of it: one line that says what to do, and either
//! nothing is touched or all is as it should be.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::process::Command;

use numapin_cli::Ran;
use numapin_qmp_mock::{Guest, Mock, Script};
use numapin_xtests::flow::masks::Masks;
use numapin_xtests::flow::{Broken, Ids};
use numapin_xtests::node::Node;
use rstest::rstest;

const PROGRAM: &str = env!("CARGO_BIN_EXE_numapin-tested");
const REMOVE: &str = "remove it: what runs is seen anyway, and the next apply writes it again";
const APPLY: [&str; 4] = ["apply", "100", "--mode", "one-to-one"];

/// Guest 100, pinned once and then as it was before, with the entry that was written for it.
struct Stage {
    node: Node,
    guest: Mock,
    before: Masks,
    pinned: Masks,
    entry: String,
}

impl Stage {
    fn new() -> Result<Self, Broken> {
        let node = Node::small()?;
        let guest = node.guest(100, 2, Script::healthy())?;
        node.guest(101, 1, Script::healthy())?.stop();
        let begin = node.keep()?;
        let before = node.masks()?;
        let ran = node.run(&APPLY);
        assert_eq!((ran.code, ran.told.len()), (0, 0), "{ran:?}");
        let pinned = node.masks()?;
        let entry = fs::read_to_string(node.at(ENTRY))?;
        node.restore(&begin)?;
        fs::create_dir_all(node.at("run/numapin"))?;
        Ok(Self {
            node,
            guest,
            before,
            pinned,
            entry,
        })
    }

    /// Writes an entry as its owner would.
    fn put(&self, text: &str) -> Result<(), Broken> {
        self.node.write(ENTRY, text)?;
        fs::set_permissions(self.node.at(ENTRY), Permissions::from_mode(0o644))?;
        Ok(())
    }

    /// `apply` told this line alone, and all is as planned.
    fn mended(&self, ran: &Ran, line: &str) -> Result<(), Broken> {
        assert_eq!(
            (ran.code, &*ran.told),
            (0, &[line.to_owned()][..]),
            "{ran:?}"
        );
        assert_eq!(self.node.masks()?, self.pinned);
        assert!(fs::symlink_metadata(self.node.at(ENTRY))?.is_file());
        assert_eq!(self.node.leftovers()?, Vec::<String>::new());
        let again = self.node.run(&APPLY);
        assert_eq!((again.code, again.told.len()), (0, 0), "{again:?}");
        Ok(())
    }
}

const ENTRY: &str = "run/numapin/100.json";

#[test]
fn an_entry_cut_in_the_middle_is_told_and_written_again() -> Result<(), Broken> {
    let stage = Stage::new()?;
    let begin = stage.node.keep()?;
    let whole = stage.entry.trim_end().len();
    // Each length is a test of the ledger's own; here some of each part of the entry, and both ends.
    let lengths = (0..whole).step_by(89).chain([1, 2, whole - 2, whole - 1]);
    for length in lengths {
        stage.node.restore(&begin)?;
        stage.put(&stage.entry[..length])?;
        let line = format!("ROOT/{ENTRY}: ends in the middle of an entry; {REMOVE}");
        let status = stage.node.run(&["status", "100"]);
        assert_eq!((status.code, &*status.told), (0, &[line.clone()][..]));
        stage.mended(&stage.node.run(&APPLY), &line)?;
    }
    Ok(())
}

/// What a newer numapin kept is the only way back: neither apply nor reset writes over it.
#[rstest]
#[case(&APPLY)]
#[case(&["reset", "100"])]
fn an_entry_of_a_newer_version_is_not_written_over(#[case] words: &[&str]) -> Result<(), Broken> {
    let stage = Stage::new()?;
    let newer = "{\"schema\":2,\"shape\":[1,2]}\n";
    stage.put(newer)?;
    let line = format!(
        "ROOT/{ENTRY}: has schema 2, and this numapin knows up to 1; use the newer one, or stop the guest and remove the file"
    );
    let ran = stage.node.run(words);
    let refused = format!("{line}; no mask was touched");
    assert_eq!((ran.code, &*ran.told), (1, &[line, refused][..]), "{ran:?}");
    assert_eq!(fs::read_to_string(stage.node.at(ENTRY))?, newer);
    assert_eq!(stage.node.masks()?, stage.before);
    Ok(())
}

#[test]
fn an_entry_that_is_a_link_is_replaced_and_what_it_names_left_alone() -> Result<(), Broken> {
    let stage = Stage::new()?;
    stage.node.write("victim", &stage.entry)?;
    symlink(stage.node.at("victim"), stage.node.at(ENTRY))?;
    symlink(
        stage.node.at("victim"),
        stage.node.at("run/numapin/100.json.new"),
    )?;
    let line = format!("ROOT/{ENTRY}: is a symbolic link, which is never followed here; remove it");
    stage.mended(&stage.node.run(&APPLY), &line)?;
    assert_eq!(fs::read_to_string(stage.node.at("victim"))?, stage.entry);
    Ok(())
}

#[test]
fn a_lock_or_directory_that_is_a_link_is_not_followed() -> Result<(), Broken> {
    let stage = Stage::new()?;
    fs::remove_dir_all(stage.node.at("run/numapin"))?;
    fs::create_dir(stage.node.at("elsewhere"))?;
    symlink(stage.node.at("elsewhere"), stage.node.at("run/numapin"))?;
    let line = "ROOT/run/numapin: is a symbolic link, which is never followed here; remove it";
    for words in [&APPLY[..], &["reset", "--all"], &["set", "100", "numa"]] {
        let ran = stage.node.run(words);
        assert_eq!(
            (ran.code, &*ran.told),
            (1, &[line.to_owned()][..]),
            "{words:?}"
        );
    }
    assert_eq!(fs::read_dir(stage.node.at("elsewhere"))?.count(), 0);

    fs::remove_file(stage.node.at("run/numapin"))?;
    fs::create_dir(stage.node.at("run/numapin"))?;
    stage.node.write("victim", "precious\n")?;
    symlink(stage.node.at("victim"), stage.node.at("run/numapin/lock"))?;
    let ran = stage.node.run(&APPLY);
    let line = "ROOT/run/numapin/lock: too many levels of symbolic links";
    assert_eq!((ran.code, &*ran.told), (1, &[line.to_owned()][..]));
    assert_eq!(fs::read_to_string(stage.node.at("victim"))?, "precious\n");
    assert_eq!(stage.node.masks()?, stage.before);
    Ok(())
}

#[test]
fn what_others_own_or_can_write_is_not_believed() -> Result<(), Broken> {
    let stage = Stage::new()?;
    let begin = stage.node.keep()?;
    // It would claim every CPU for a guest that is not there.
    stage.put(&stage.entry)?;
    fs::set_permissions(stage.node.at(ENTRY), Permissions::from_mode(0o646))?;
    let line = format!(
        "ROOT/{ENTRY}: can be written by others (mode 646); remove it, and find out who changed it"
    );
    stage.mended(&stage.node.run(&APPLY), &line)?;

    stage.node.restore(&begin)?;
    stage.put(&stage.entry)?;
    if chown(stage.node.at(ENTRY), Some(65_534), None).is_err() {
        eprintln!("passed over: only root can give a file to somebody else");
        return Ok(());
    }
    let line = format!(
        "ROOT/{ENTRY}: belongs to user 65534, not to user 0; remove it, and find out who made it"
    );
    stage.mended(&stage.node.run(&APPLY), &line)?;

    chown(stage.node.at("run/numapin"), Some(65_534), None)?;
    let ran = stage.node.run(&APPLY);
    let line = "ROOT/run/numapin: belongs to user 65534, not to user 0; remove it, and find out who made it";
    assert_eq!((ran.code, &*ran.told), (1, &[line.to_owned()][..]));
    Ok(())
}

/// The number of a process is used again: what was kept of the first one counts for the second one no more.
#[test]
fn a_number_that_is_used_again_is_another_process() -> Result<(), Broken> {
    let Stage {
        node,
        guest,
        pinned,
        ..
    } = Stage::new()?;
    assert_eq!(node.run(&APPLY).code, 0);
    let vcpus: Vec<Ids> = guest
        .vcpu_tids()
        .iter()
        .map(|tid| pinned[tid].mask.clone())
        .collect();
    let pid = guest.pid();
    guest.stop();
    let mut again = Guest::proxmox(100, 1, 2);
    again.start_ticks = Some(77_777);
    let again = node.start(again, Script::healthy())?;
    assert_eq!(again.pid(), pid, "the same number");
    let before = node.masks()?;
    // Nothing was set of it, so nothing is put back.
    let status = node.run(&["status", "100"]);
    assert_eq!((status.code, status.told.len()), (0, 0), "{status:?}");
    let reset = node.run(&["reset", "--all"]);
    assert_eq!((reset.code, reset.told.len()), (0, 0), "{reset:?}");
    assert_eq!(node.masks()?, before);
    assert!(!node.at(ENTRY).exists(), "the dead entry is gone");
    assert_eq!(node.run(&APPLY).code, 0);
    let of = |mock: &Mock, masks: &Masks| -> Vec<Ids> {
        let tids = mock.vcpu_tids().into_iter();
        tids.map(|tid| masks[&tid].mask.clone()).collect()
    };
    assert_eq!(of(&again, &node.masks()?), vcpus);
    assert_eq!(node.run(&["reset", "100"]).code, 0);
    assert_eq!(node.masks()?, before);
    Ok(())
}

/// A real full disk, and a real read-only one, in a mount namespace of the program's own.
#[rstest]
#[case::full(
    "mount -t tmpfs -o size=4k,mode=755 none $DIR && head -c 4096 /dev/zero > $DIR/x",
    "no space left on device"
)]
#[case::no_inodes(
    "mount -t tmpfs -o nr_inodes=2,mode=755 none $DIR && : > $DIR/lock",
    "no space left on device"
)]
#[case::read_only("mount -t tmpfs -o ro,mode=755 none $DIR", "read-only file system")]
fn a_disk_that_is_full_or_read_only(#[case] mount: &str, #[case] says: &str) -> Result<(), Broken> {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script]);
        command
    };
    let may = unshare("mount -t tmpfs none /mnt").output();
    if !may.is_ok_and(|output| output.status.success()) {
        eprintln!("passed over: only root can mount, and here it can't");
        return Ok(());
    }
    let stage = Stage::new()?;
    let root = stage.node.dir().display().to_string();
    for words in ["apply 100 --mode one-to-one", "reset 100"] {
        let mount = mount.replace("$DIR", &format!("{root}/run/numapin"));
        let script = format!("umask 022; {mount}; exec {PROGRAM} {words} --root {root}");
        let ran = unshare(&script).output()?;
        let told = String::from_utf8(ran.stderr)?.replace(&root, "ROOT");
        assert_eq!(ran.status.code(), Some(1), "{told}");
        let line = told.lines().last().unwrap_or_default();
        assert!(
            line.starts_with("numapin: ROOT/run/numapin/") && line.contains(says),
            "{told}"
        );
        assert_eq!(stage.node.masks()?, stage.before, "{words}");
    }
    assert_eq!(stage.guest.vcpu_tids().len(), 2);
    Ok(())
}
