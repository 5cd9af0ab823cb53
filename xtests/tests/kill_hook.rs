//! SIGKILL at every step of the hook, in each of its phases: the start goes on, the next phase or `apply` completes what was
//! begun, `reset` restores, and nothing is left behind.

use std::fs::File;

use numapin_qmp_mock::{Mock, Script};
use numapin_xtests::flow::Broken;
use numapin_xtests::flow::masks::Masks;
use numapin_xtests::node::{Killed, Node};

const PROGRAM: &str = env!("CARGO_BIN_EXE_numapin-tested");
/// More than any phase has; a loop that gets there does not end.
const MANY: usize = 200;
const CONF: &str = "100: one-to-one,emulator=node,iothreads=node,vhost=node\n101: shared\n";

/// A node where 101 runs and is pinned, and 100 is about to start.
struct Stage {
    node: Node,
    _other: Mock,
    /// The masks of 101 before anything.
    first: Masks,
}

impl Stage {
    fn new() -> Result<Self, Broken> {
        let node = Node::small()?;
        let other = node.guest(101, 2, Script::healthy())?;
        node.write("etc/pve/numapin.conf", CONF)?;
        // Its config is there before it starts.
        node.guest(100, 2, Script::healthy())?.stop();
        let first = node.masks()?;
        let stage = Self {
            node,
            _other: other,
            first,
        };
        stage.done(&["apply", "101"])?;
        Ok(stage)
    }

    fn done(&self, words: &[&str]) -> Result<(), Broken> {
        let ran = self.node.run(words);
        match (ran.code, &*ran.told) {
            (0, []) => Ok(()),
            _ => Err(format!("{words:?}: {ran:?}").into()),
        }
    }

    fn qemu(&self) -> Result<Mock, Broken> {
        self.node.guest(100, 2, Script::healthy())
    }

    fn hook(&self, phase: &str) -> Result<(), Broken> {
        self.done(&["hook", "100", phase])
    }

    /// A start that nobody disturbs: config locked, `pre-start`, QEMU, `post-start`.
    fn start(&self) -> Result<Started, Broken> {
        let lock = self.node.lock_config(100)?;
        self.hook("pre-start")?;
        let qemu = self.qemu()?;
        let before = self.node.masks()?;
        self.hook("post-start")?;
        Ok(Started {
            qemu,
            lock,
            before,
            after: self.node.masks()?,
        })
    }

    fn nothing_left(&self) -> Result<(), Broken> {
        assert_eq!(self.node.leftovers()?, Vec::<String>::new());
        Ok(())
    }

    /// Kills a phase at one step; `None` where it has no such step.
    fn killed(&self, n: usize, phase: &str) -> Result<Option<String>, Broken> {
        let words = ["hook", "100", phase];
        match self.node.killed(PROGRAM, &format!("{n} stop\n"), &words)? {
            Killed::At(step) => {
                let status = self.node.run(&["status"]);
                assert!(matches!(status.code, 0 | 6), "{step}: {status:?}");
                Ok(Some(step))
            }
            Killed::Ended { code, told } => {
                assert_eq!((code, &*told), (0, ""), "{phase}");
                Ok(None)
            }
        }
    }
}

struct Started {
    qemu: Mock,
    lock: File,
    /// The masks when QEMU had just started.
    before: Masks,
    after: Masks,
}

#[test]
fn pre_start() -> Result<(), Broken> {
    let stage = Stage::new()?;
    let begin = stage.node.keep()?;
    let started = stage.start()?;
    started.qemu.stop();
    drop(started.lock);
    for n in 1..MANY {
        stage.node.restore(&begin)?;
        let lock = stage.node.lock_config(100)?;
        let Some(step) = stage.killed(n, "pre-start")? else {
            assert!(n > 8, "only {n} steps");
            return Ok(());
        };
        let found = stage.node.keep()?;
        stage.done(&["reset", "--all"])?;
        assert_eq!(stage.node.masks()?, stage.first, "{step}");
        stage.nothing_left()?;

        // The start goes on, and is finished as if nothing had been.
        stage.node.restore(&found)?;
        let qemu = stage.qemu()?;
        stage.hook("post-start")?;
        assert_eq!(stage.node.masks()?, started.after, "{step}");
        qemu.stop();
        drop(lock);
        stage.hook("post-stop")?;
        assert!(!stage.node.at("run/numapin/100.json").exists(), "{step}");
        stage.nothing_left()?;
    }
    Err("it has no end".into())
}

#[test]
fn post_start() -> Result<(), Broken> {
    let stage = Stage::new()?;
    let wanted = stage.start()?;
    wanted.qemu.stop();
    stage.hook("post-stop")?;
    stage.hook("pre-start")?;
    let _qemu = stage.qemu()?;
    let begin = stage.node.keep()?;
    let mut first = wanted.before.clone();
    first.extend(stage.first.clone());
    for n in 1..MANY {
        stage.node.restore(&begin)?;
        let Some(step) = stage.killed(n, "post-start")? else {
            assert!(n > 12, "only {n} steps");
            return Ok(());
        };
        let found = stage.node.keep()?;
        stage.done(&["reset", "--all"])?;
        assert_eq!(stage.node.masks()?, first, "{step}");
        stage.nothing_left()?;
        for words in [&["apply", "100"][..], &["hook", "100", "post-start"]] {
            stage.node.restore(&found)?;
            stage.done(&["apply", "101"])?;
            stage.done(words)?;
            assert_eq!(stage.node.masks()?, wanted.after, "{step}, {words:?}");
            stage.nothing_left()?;
        }
        stage.done(&["reset", "--all"])?;
        assert_eq!(stage.node.masks()?, first, "{step}, after all");
    }
    Err("it has no end".into())
}

#[test]
fn post_stop() -> Result<(), Broken> {
    let stage = Stage::new()?;
    let alone = stage.node.masks()?;
    stage.start()?.qemu.stop();
    let begin = stage.node.keep()?;
    assert_ne!(stage.node.masks()?, alone, "101 made room");
    for n in 1..MANY {
        stage.node.restore(&begin)?;
        let Some(step) = stage.killed(n, "post-stop")? else {
            assert_eq!(stage.node.masks()?, alone);
            assert!(n > 5, "only {n} steps");
            return Ok(());
        };
        let found = stage.node.keep()?;
        stage.done(&["reset", "--all"])?;
        assert_eq!(stage.node.masks()?, stage.first, "{step}");
        for words in [&["apply", "101"][..], &["hook", "100", "post-stop"]] {
            stage.node.restore(&found)?;
            stage.done(words)?;
            assert!(!stage.node.at("run/numapin/100.json").exists(), "{step}");
            stage.nothing_left()?;
        }
    }
    Err("it has no end".into())
}
