//! Small machines in memory, edited and put back.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use numapin_core::root::Root;
use numapin_sysfs_sim::{Entry, Host, Tree};
use tempfile::TempDir;

use super::recording::in_memory;

/// A few machines of the kinds that differ in their files.
const DESCRIBED: [&str; 5] = [
    "shape = { packages = 2, nodes = 1, l3s = 1, cores = 2, threads = 2 }\npci = [{ address = \"0000:01:00.0\", node = 1 }]",
    "numbering = \"blocked\"\nnode_ids = [0, 8]\nshape = { packages = 1, dies = 1, nodes = 2, l3s = 2, cores = 1, threads = 2, cluster = 2 }",
    "numbering = \"blocked\"\noffline = \"3\"\nisolated = \"5\"\nshape = { packages = 2, nodes = 1, l3s = 1, cores = 2, threads = 2 }\n\
     quirks = { masks_only = true, no_cpu_lists = true, no_core_cpus = true, no_die = true, no_cluster = true }",
    "kinds = [{ name = \"core\", pmu = true }, { name = \"atom\", pmu = true }]\ncgroup = { mount = \"v2\", qemu_slice = \"0-4\" }\n\
     [[cores]]\ncount = 2\nthreads = 2\nkind = \"core\"\nl3 = 0\n[[cores]]\ncount = 2\nkind = \"atom\"\nl3 = 0\n",
    "package_ids = [-1]\nshape = { packages = 2, nodes = 2, l3s = 0, cores = 1, threads = 1 }\n\
     quirks = { lists_only = true, no_node_lists = true, no_distance = true, trailing_nul = true, overlapping_nodes = true }",
];

/// The machines, each in a directory of its own.
#[derive(Debug)]
pub(super) struct Machines(Vec<Machine>);

#[derive(Debug)]
struct Machine {
    dir: TempDir,
    root: Root,
    plain: Tree,
    /// What is written now.
    now: Tree,
}

impl Machines {
    pub(super) fn new() -> Self {
        Self(DESCRIBED.iter().map(|text| Machine::new(text)).collect())
    }

    /// The machine that the first byte names, edited as the lines after the first say.
    pub(super) fn edited(&mut self, bytes: &[u8]) -> &Root {
        let (first, count) = (bytes.first().copied().unwrap_or(b'0'), self.0.len());
        let machine = &mut self.0[usize::from(first.wrapping_sub(b'0')) % count];
        let mut tree = machine.plain.clone();
        let files: Vec<&String> = machine.plain.keys().collect();
        for line in bytes.split(|byte| *byte == b'\n').skip(1) {
            edit(&mut tree, &files, line);
        }
        machine.rewrite(tree);
        &machine.root
    }
}

impl Machine {
    fn new(text: &str) -> Self {
        let dir = in_memory();
        let host = Host::parse(text, "small.toml").expect("a description");
        host.write_tree(dir.path()).expect("a tree is written");
        let plain = host.tree().expect("a tree");
        Self {
            root: Root::captured(dir.path()).expect("a root"),
            dir,
            now: plain.clone(),
            plain,
        }
    }

    fn rewrite(&mut self, tree: Tree) {
        change(self.dir.path(), &self.now, &tree).expect("files are written");
        self.now = tree;
    }
}

/// One edit; a line that is none changes nothing.
fn edit(tree: &mut Tree, files: &[&String], line: &[u8]) {
    let line = String::from_utf8_lossy(line);
    let Some((path, change)) = line.split_once(' ') else {
        return;
    };
    let path = match path.parse::<usize>() {
        Ok(number) => files[number % files.len()].clone(),
        Err(_) => path.to_owned(),
    };
    if !is_path(&path) {
        return;
    }
    match (change.split_at_checked(1), change.strip_prefix("= ")) {
        (_, Some(text)) => put(tree, &path, Entry::File(Arc::from(unescaped(text)))),
        (Some(("!", _)), _) => remove(tree, &path),
        (Some(("/", _)), _) => put(tree, &path, Entry::Dir),
        (Some((">", name)), _)
            if is_path(&format!("sys/{}", name.trim())) && !name.contains('/') =>
        {
            put(tree, &path, Entry::Link(name.trim().to_owned()));
        }
        _ => {}
    }
}

/// Whether an edit may be made there: inside of the machine's `sys`, with names that files can have.
fn is_path(path: &str) -> bool {
    let fits = |part: &str| !part.is_empty() && part.len() < 100 && !["..", "."].contains(&part);
    path.starts_with("sys/")
        && path.len() < 400
        && !path.contains('\0')
        && path.split('/').all(fits)
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() + 1);
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, byte == b'\\') {
            (_, true) => match rest.next() {
                Some(b'n') => b'\n',
                Some(b'0') => 0,
                Some(other) => other,
                None => b'\\',
            },
            (byte, false) => byte,
        });
    }
    bytes.push(b'\n');
    bytes
}

/// Puts an entry in the place of what is there or below it, if nothing but directories is above it.
fn put(tree: &mut Tree, path: &str, entry: Entry) {
    let mut above = path;
    while let Some((up, _)) = above.rsplit_once('/') {
        match tree.get(up) {
            Some(Entry::Dir) => drop(tree.remove(up)),
            Some(_) => return,
            None => {}
        }
        above = up;
    }
    remove(tree, path);
    tree.insert(path.to_owned(), entry);
}

fn remove(tree: &mut Tree, path: &str) {
    let below = format!("{path}/");
    let mut after = tree.split_off(path);
    after.retain(|other, _| other != path && !other.starts_with(&below));
    tree.append(&mut after);
}

/// Makes of a directory that holds `before` one that holds `after`.
fn change(dir: &Path, before: &Tree, after: &Tree) -> io::Result<()> {
    let differs = |a: &Tree, b: &Tree| -> BTreeMap<String, Entry> {
        let differ = a
            .iter()
            .filter(|(path, entry)| b.get(*path) != Some(*entry));
        differ
            .map(|(path, entry)| (path.clone(), entry.clone()))
            .collect()
    };
    for (path, entry) in differs(before, after) {
        let full = dir.join(&path);
        if entry != Entry::Dir {
            fs::remove_file(&full)?;
        }
        // Directories that are empty now go, too.
        let mut empty = full.as_path();
        while empty != dir && (fs::remove_dir(empty).is_ok() || !empty.exists()) {
            empty = empty.parent().unwrap_or(dir);
        }
    }
    for (path, entry) in differs(after, before) {
        let full = dir.join(&path);
        let parent = full.parent().unwrap_or(dir);
        fs::create_dir_all(parent)?;
        match entry {
            Entry::File(bytes) => fs::write(&full, bytes)?,
            Entry::Link(target) => std::os::unix::fs::symlink(target, &full)?,
            Entry::Dir => fs::create_dir_all(&full)?,
        }
    }
    Ok(())
}
