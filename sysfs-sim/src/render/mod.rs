//! From numbered CPUs to the files that the kernel would show.

mod cgroup;
mod cpu;
mod devices;
mod node;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::description::Host;
use crate::error::Error;
use crate::layout::Layout;
use crate::list;
use crate::tree::{Entry, Tree};

/// The tree of a described machine.
pub(crate) fn render(host: &Host) -> Result<Tree, Error> {
    let layout = Layout::of(host)?;
    devices::check(host, &layout)?;
    let mut out = Out {
        host,
        layout: &layout,
        tree: Tree::new(),
    };
    cpu::render(&mut out);
    if !host.quirks.no_node_dir {
        node::render(&mut out);
    }
    devices::kinds(&mut out);
    devices::pci(&mut out);
    cgroup::render(&mut out);
    Ok(out.tree)
}

/// Whether a description is of a possible machine.
pub(crate) fn check(host: &Host) -> Result<(), Error> {
    devices::check(host, &Layout::of(host)?)
}

/// The tree in the making, with what it is made from.
struct Out<'a> {
    host: &'a Host,
    layout: &'a Layout,
    tree: Tree,
}

/// A set of CPUs in both spellings, each as the text of a file.
struct Text {
    list: Arc<[u8]>,
    mask: Arc<[u8]>,
}

impl Out<'_> {
    fn file(&mut self, path: String, text: Arc<[u8]>) {
        self.tree.insert(path, Entry::File(text));
    }

    fn line(&mut self, path: String, text: impl std::fmt::Display) {
        self.file(path, bytes(&format!("{text}\n")));
    }

    fn link(&mut self, path: String, target: String) {
        self.tree.insert(path, Entry::Link(target));
    }

    /// The texts of a topology or node file: these are the ones that some kernels end with a NUL.
    fn text(&self, cpus: &BTreeSet<u32>) -> Text {
        self.text_ending(
            cpus,
            if self.host.quirks.trailing_nul {
                "\n\0"
            } else {
                "\n"
            },
        )
    }

    /// The texts of any other file.
    fn plain_text(&self, cpus: &BTreeSet<u32>) -> Text {
        self.text_ending(cpus, "\n")
    }

    fn text_ending(&self, cpus: &BTreeSet<u32>, end: &str) -> Text {
        let list = list::list(cpus.iter().copied());
        let mask = if self.host.quirks.lists_only {
            String::new()
        } else {
            list::mask(cpus, self.layout.bits)
        };
        Text {
            list: bytes(&format!("{list}{end}")),
            mask: bytes(&format!("{mask}{end}")),
        }
    }

    /// Both spellings, as far as this kernel has them: masks in `path`, lists in `path` + `list_suffix`.
    fn both(&mut self, path: &str, list_suffix: &str, text: &Text) {
        if !self.host.quirks.lists_only {
            self.file(path.to_owned(), text.mask.clone());
        }
        if !self.host.quirks.masks_only {
            self.file(format!("{path}{list_suffix}"), text.list.clone());
        }
    }
}

fn bytes(text: &str) -> Arc<[u8]> {
    Arc::from(text.as_bytes())
}
