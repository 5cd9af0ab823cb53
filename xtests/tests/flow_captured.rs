//! The whole flow on hosts captured from real machines: other projects' data, found through `NUMAPIN_DATA`. Unset, these tests
//! are passed over, and say so; `NUMAPIN_REQUIRE=data` makes that a failure.

use std::path::{Path, PathBuf};
use std::process::Command;

use numapin_sysfs_sim::Machine;
use numapin_xtests::flow::Broken;
use numapin_xtests::flow::lab::Lab;
use numapin_xtests::flow::walk::every_guest;
use rstest::rstest;

/// The modes that depend on the host most. (The topologies that come with numapin get every mode.)
const POLICIES: [&str; 3] = ["numa", "l3", "one-to-one"];

/// Old captures list no online CPUs, so that each set mask looks at every CPU of them: large guests take long there.
const MOST_VCPUS: u32 = 8;

fn data() -> Result<Option<PathBuf>, Broken> {
    if let Some(data) = std::env::var_os("NUMAPIN_DATA") {
        return Ok(Some(data.into()));
    }
    let required = std::env::var("NUMAPIN_REQUIRE").unwrap_or_default();
    if required.split(',').any(|word| word.trim() == "data") {
        return Err("NUMAPIN_REQUIRE asks for data, and NUMAPIN_DATA is unset".into());
    }
    Ok(None)
}

/// The archives of captured hosts, in order.
fn archives(data: &Path) -> Result<Vec<PathBuf>, Broken> {
    let mut archives = Vec::new();
    for entry in std::fs::read_dir(data.join("hosts"))? {
        archives.push(entry?.path());
    }
    archives.retain(|path| path.to_string_lossy().ends_with(".tar.xz"));
    archives.sort();
    Ok(archives)
}

/// The machine of an archive, which holds the root itself or a directory of its name with the root.
fn machine(archive: &Path) -> Result<Machine, Broken> {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    let tar = Command::new("tar")
        .arg("xJf")
        .arg(archive)
        .arg("-C")
        .arg(dir.path())
        .status()?;
    if !tar.success() {
        return Err("tar can't unpack it".into());
    }
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let inner = dir.path().join(name.trim_end_matches(".tar.xz"));
    let top = if inner.is_dir() { &inner } else { dir.path() };
    Ok(Machine::load(
        top.to_str().ok_or("a path that is not UTF-8")?,
    )?)
}

/// The hosts in four parts, so that they run side by side.
#[rstest]
fn guests_of_the_table(#[values(0, 1, 2, 3)] part: usize) -> Result<(), Broken> {
    let Some(data) = data()? else {
        eprintln!("passed over: NUMAPIN_DATA is unset, so there are no captured hosts");
        return Ok(());
    };
    let archives = archives(&data)?;
    assert!(archives.len() >= 4, "{archives:?}");
    for archive in archives.iter().skip(part).step_by(4) {
        let lab = Lab::of(&machine(archive)?)?;
        every_guest(&lab, MOST_VCPUS, &POLICIES)
            .map_err(|e| format!("{}: {e}", archive.display()))?;
    }
    Ok(())
}
