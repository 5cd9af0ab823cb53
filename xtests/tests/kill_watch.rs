//! SIGKILL at every step of a round of `watch`, and what the next watch, `apply` and `reset` make of it.

use std::time::Duration;

use numapin_cli::watch::{Options, Watch};
use numapin_core::root::Root;
use numapin_xtests::flow::Broken;
use numapin_xtests::flow::masks::Masks;
use numapin_xtests::node::Killed;
use numapin_xtests::pair::Pair;
use rstest::rstest;

const PROGRAM: &str = env!("CARGO_BIN_EXE_numapin-tested");
const WORDS: [&str; 2] = ["watch", "--adopt"];

/// A watch of this process, for so many seconds of its time.
fn watch(pair: &Pair, seconds: u64) -> Result<(), Broken> {
    let options = Options {
        adopt: true,
        deadline: Duration::from_secs(5),
        ..Options::default()
    };
    let mut watch = Watch::new(Root::captured(pair.node.dir())?, options)?;
    while watch.next() <= Duration::from_secs(seconds) {
        let now = watch.next();
        watch.round(now);
    }
    Ok(())
}

/// Guests that are new to it; masks of both that were changed behind its back; one guest that ended.
#[rstest]
#[case::adopts(&[], 9)]
#[case::repairs(&["101", "100"], 2)]
fn killed_at_every_step(#[case] applied: &[&str], #[case] masks: usize) -> Result<(), Broken> {
    let pair = Pair::new()?;
    for vmid in applied {
        pair.done(&["apply", vmid])?;
    }
    if !applied.is_empty() {
        for guest in &pair.guests {
            pair.node
                .taskset(guest, guest.vcpu_tids()[0], &[0, 1, 2, 3, 4, 5, 6, 7])?;
        }
    }
    let begin = pair.node.keep()?;
    let steps = pair.node.steps_of(|| watch(&pair, 0))?;
    let set = steps.iter().filter(|step| step.starts_with("set the mask"));
    assert!(set.count() >= masks, "{steps:?}");
    watch(&pair, 20)?;
    let by_watch = pair.node.masks()?;
    pair.node.restore(&begin)?;
    pair.done(&["apply", "101"])?;
    pair.done(&["apply", "100"])?;
    let by_apply = pair.node.masks()?;
    let wanted: [Masks; 2] = [by_watch, by_apply];

    for (at, step) in steps.iter().enumerate() {
        pair.node.restore(&begin)?;
        let wish = format!("{} stop\n", at + 1);
        let killed = pair.node.killed(PROGRAM, &wish, &WORDS)?;
        assert_eq!(killed, Killed::At(step.clone()), "step {}", at + 1);
        let found = pair.node.keep()?;
        let mend = || -> Result<(), Broken> {
            pair.mended(&found, &wanted)?;
            // The next watch, as systemd starts it.
            pair.node.restore(&found)?;
            watch(&pair, 20)?;
            let masks = pair.node.masks()?;
            assert!(wanted.contains(&masks), "after watch: {masks:?}");
            pair.nothing_left("after watch")?;
            pair.done(&["reset", "--all"])?;
            pair.restored("after watch and reset")
        };
        mend().map_err(|e| format!("killed at step {}, {step}: {e}", at + 1))?;
    }
    Ok(())
}
