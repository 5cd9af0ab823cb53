//! Two guests on a node, whose masks are not all alike: 100 one-to-one, and 101 shared, whose masks follow.

use std::collections::BTreeMap;

use numapin_qmp_mock::{Mock, Script};

use crate::flow::judge::want;
use crate::flow::masks::Masks;
use crate::flow::{Broken, Ids};
use crate::node::{Kept, Node};

/// Their policies.
const CONF: &str = "100: one-to-one,emulator=node,iothreads=node,vhost=node\n101: shared\n";

/// The node and its guests.
#[derive(Debug)]
pub struct Pair {
    /// The node.
    pub node: Node,
    /// 100 and 101.
    pub guests: [Mock; 2],
    /// The masks before numapin did anything.
    pub first: Masks,
}

impl Pair {
    /// Both run, and numapin has done nothing yet.
    ///
    /// # Errors
    /// The node can't be written.
    pub fn new() -> Result<Self, Broken> {
        let node = Node::small()?;
        let guests = [
            node.guest(100, 2, Script::healthy())?,
            node.guest(101, 2, Script::healthy())?,
        ];
        // One thread has a mask of its own: it must come back, and not all CPUs.
        for guest in &guests {
            node.taskset(guest, guest.vcpu_tids()[1], &[1, 2, 3])?;
        }
        node.write("etc/pve/numapin.conf", CONF)?;
        Ok(Self {
            first: node.masks()?,
            node,
            guests,
        })
    }

    /// Runs a command that must do what it is asked, and have nothing to tell.
    ///
    /// # Errors
    /// It does not.
    pub fn done(&self, words: &[&str]) -> Result<(), Broken> {
        let ran = self.node.run(words);
        want(
            (ran.code, &*ran.told) == (0, &[]),
            format!("{words:?}: {ran:?}"),
        )
    }

    /// The masks of one of the guests.
    #[must_use]
    pub fn of(&self, guest: usize, masks: &Masks) -> BTreeMap<u32, Ids> {
        let pid = self.guests[guest].pid();
        let own = masks.iter().filter(|(_, seen)| seen.pid == pid);
        own.map(|(tid, seen)| (*tid, seen.mask.clone())).collect()
    }

    /// Whatever was found: status can tell it, `reset` restores, `apply` completes to one of these, the lock blocks nobody, and
    /// nothing is left behind.
    ///
    /// # Errors
    /// What is otherwise.
    pub fn mended(&self, found: &Kept, wanted: &[Masks]) -> Result<(), Broken> {
        let status = self.node.run(&["status"]);
        let told = matches!(status.code, 0 | 6) && status.told.is_empty();
        want(told, format!("status: {status:?}"))?;
        self.done(&["reset", "--all"])?;
        self.restored("after reset")?;

        self.node.restore(found)?;
        self.done(&["apply", "101"])?;
        self.done(&["apply", "100"])?;
        let masks = self.node.masks()?;
        want(wanted.contains(&masks), format!("after apply: {masks:?}"))?;
        self.nothing_left("after apply")?;
        self.done(&["reset", "--all"])?;
        self.restored("after apply and reset")
    }

    /// The masks are those that were there before anything, and no file is left behind.
    ///
    /// # Errors
    /// What is otherwise.
    pub fn restored(&self, when: &str) -> Result<(), Broken> {
        let masks = self.node.masks()?;
        want(masks == self.first, format!("{when}: {masks:?}"))?;
        self.nothing_left(when)
    }

    /// No file is left behind that nobody reads.
    ///
    /// # Errors
    /// Which are.
    pub fn nothing_left(&self, when: &str) -> Result<(), Broken> {
        let left = self.node.leftovers()?;
        want(left.is_empty(), format!("{when} there is still {left:?}"))
    }
}
