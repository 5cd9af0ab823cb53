//! SIGKILL at every step of what changes something: whatever is found afterwards, `reset` restores the masks that were there
//! before anything, `apply` completes, the lock blocks nobody, and nothing is left behind.

use std::collections::BTreeSet;

use numapin_xtests::flow::Broken;
use numapin_xtests::flow::masks::Masks;
use numapin_xtests::node::{Kept, Killed, Node};
use numapin_xtests::pair::Pair;
use rstest::rstest;

const PROGRAM: &str = env!("CARGO_BIN_EXE_numapin-tested");

/// More than any command has; a loop that gets there does not end.
const MANY: usize = 200;

/// Kills a command at each of its steps, from the same beginning, and has each end looked at; what the steps were.
fn at_every_step(
    node: &Node,
    words: &[&str],
    mut look: impl FnMut(&Kept) -> Result<(), Broken>,
) -> Result<Vec<String>, Broken> {
    let begin = node.keep()?;
    let mut steps = Vec::new();
    for n in 1..MANY {
        node.restore(&begin)?;
        match node.killed(PROGRAM, &format!("{n} stop\n"), words)? {
            Killed::At(step) => {
                look(&node.keep()?).map_err(|e| format!("killed at step {n}, {step}: {e}"))?;
                steps.push(step);
            }
            Killed::Ended { code, told } => {
                assert_eq!((code, &*told), (0, ""), "{words:?}");
                return Ok(steps);
            }
        }
    }
    Err(format!("{words:?} has no end").into())
}

/// Which kinds of step there were.
fn kinds(steps: &[String]) -> BTreeSet<&str> {
    let first = |step: &'static str| steps.iter().any(|s| s.starts_with(step)).then_some(step);
    KINDS.into_iter().filter_map(first).collect()
}

const KINDS: [&str; 8] = [
    "make the directory",
    "open the lock",
    "sign the lock",
    "create",
    "write",
    "rename",
    "set the mask",
    "let go of the lock",
];

#[rstest]
#[case::first_apply("", "apply 100", 9)]
#[case::again_otherwise("apply 100", "apply 100 --policy numa --replan", 2)]
#[case::unpin("apply 100", "apply 100 --policy none", 7)]
#[case::reset("apply 100", "reset 100", 7)]
#[case::reset_all("apply 100", "reset --all", 9)]
#[case::apply_after_reset("apply 100; reset 100", "apply 100", 7)]
fn killed_at_every_step(
    #[case] before: &str,
    #[case] words: &str,
    #[case] masks: usize,
) -> Result<(), Broken> {
    let words: Vec<&str> = words.split(' ').collect();
    let words = words.as_slice();
    let stage = Pair::new()?;
    stage.done(&["apply", "101"])?;
    for line in before.split("; ").filter(|line| !line.is_empty()) {
        stage.done(&line.split(' ').collect::<Vec<_>>())?;
    }
    // What an apply ends in that nobody disturbs: from the beginning, and from where the command leaves it.
    let begin = stage.node.keep()?;
    let apply = |stage: &Pair| -> Result<Masks, Broken> {
        stage.done(&["apply", "101"])?;
        stage.done(&["apply", "100"])?;
        Ok(stage.node.masks()?)
    };
    let undisturbed = apply(&stage)?;
    stage.node.restore(&begin)?;
    stage.done(words)?;
    let after = apply(&stage)?;
    stage.node.restore(&begin)?;

    let wanted = [undisturbed, after];
    let steps = at_every_step(&stage.node, words, |found| stage.mended(found, &wanted))?;
    assert_eq!(kinds(&steps), BTreeSet::from(KINDS), "{steps:?}");
    let set = steps.iter().filter(|step| step.starts_with("set the mask"));
    assert!(set.count() >= masks, "{steps:?}");
    Ok(())
}

/// A thread refuses, what was set is being put back, and the program is killed there.
#[test]
fn killed_while_putting_back() -> Result<(), Broken> {
    let stage = Pair::new()?;
    let words = ["apply", "100"];
    let begin = stage.node.keep()?;
    let mut refused = None;
    for n in 1..MANY {
        stage.node.restore(&begin)?;
        let (ran, reached) = stage.node.refused_at(n, 1, &words)?;
        if ran.code == 5 {
            assert_eq!(stage.node.masks()?, stage.first);
            refused = Some(n);
        } else if reached.is_none() {
            break;
        }
    }
    let last = refused.ok_or("no mask was refused")?;
    stage.node.restore(&begin)?;
    stage.done(&["apply", "101"])?;
    stage.done(&words)?;
    let wanted = [stage.node.masks()?];
    let mut killed = 0;
    for n in last + 1..MANY {
        stage.node.restore(&begin)?;
        let steps = format!("{last} 1\n{n} stop\n");
        match stage.node.killed(PROGRAM, &steps, &words)? {
            Killed::At(_) => stage.mended(&stage.node.keep()?, &wanted)?,
            Killed::Ended { code, told } => {
                assert_eq!(code, 5, "{told}");
                assert_eq!(stage.node.masks()?, stage.first);
                break;
            }
        }
        killed += 1;
    }
    assert!(killed >= 4, "{killed}");
    Ok(())
}

#[rstest]
#[case::set("set 100 numa")]
#[case::unset("unset 100")]
fn killed_while_numapin_conf_is_written(#[case] words: &str) -> Result<(), Broken> {
    let words: Vec<&str> = words.split(' ').collect();
    let words = words.as_slice();
    let stage = Pair::new()?;
    let conf = || std::fs::read_to_string(stage.node.at("etc/pve/numapin.conf"));
    let before = conf()?;
    let begin = stage.node.keep()?;
    stage.done(words)?;
    let after = conf()?;
    assert_ne!(before, after);
    stage.node.restore(&begin)?;
    let steps = at_every_step(&stage.node, words, |_| {
        let found = conf()?;
        assert!(found == before || found == after, "{found:?}");
        let status = stage.node.run(&["status"]);
        assert!(
            matches!(status.code, 0 | 6) && status.told.is_empty(),
            "{status:?}"
        );
        stage.done(words)?;
        assert_eq!(conf()?, after);
        assert_eq!(stage.node.leftovers()?, Vec::<String>::new());
        Ok(())
    })?;
    assert!(
        steps
            .iter()
            .any(|step| step == "rename the new numapin.conf")
    );
    Ok(())
}
