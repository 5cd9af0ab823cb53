//! The system refuses one step of a command: each step, with each reason. No guest is ever half pinned, the line says what
//! was refused and why, and the first masks can be put back.

use numapin_xtests::flow::Broken;
use numapin_xtests::pair::Pair;
use rstest::rstest;

const EPERM: i32 = 1;
const ESRCH: i32 = 3;
const EIO: i32 = 5;
const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

/// More than any command has; a loop that gets there does not end.
const MANY: usize = 200;

/// What the line has to say for each reason where a mask is refused, and where a file is.
fn told(errno: i32, mask: bool) -> &'static str {
    match (errno, mask) {
        (EPERM, true) => "could not be set: permission denied; run as root, or with CAP_SYS_NICE; ",
        (EINVAL, true) => {
            "could not be set: none of these cpus is online and allowed by the cpuset of the thread's cgroup; "
        }
        (EPERM, false) => "operation not permitted",
        (ESRCH, _) => "no such process",
        (EIO, _) => "input/output error",
        (EINVAL, _) => "invalid argument",
        (ENOSPC, _) => "no space left on device",
        _ => "read-only file system",
    }
}

/// The thread whose mask a step was to set.
fn thread_of(step: &str) -> Option<u32> {
    step.strip_prefix("set the mask of thread ")?.parse().ok()
}

#[rstest]
fn each_step_is_refused_for_each_reason(
    #[values("apply 100", "reset 100")] words: &str,
    #[values(EPERM, ESRCH, EIO, EINVAL, ENOSPC, EROFS)] errno: i32,
) -> Result<(), Broken> {
    let words: Vec<&str> = words.split(' ').collect();
    let stage = Pair::new()?;
    let node = &stage.node;
    stage.done(&["apply", "101"])?;
    let reset = words[0] == "reset";
    if reset {
        stage.done(&["apply", "100"])?;
    }
    let begin = node.keep()?;
    let before = node.masks()?;
    stage.done(&words)?;
    let after = node.masks()?;
    let mut masks = 0;
    for n in 1..MANY {
        node.restore(&begin)?;
        let (ran, step) = node.refused_at(n, errno, &words)?;
        let Some(step) = step else {
            assert_eq!((ran.code, ran.told.len()), (0, 0), "{ran:?}");
            assert!(masks >= 7, "only {masks} masks were refused");
            return Ok(());
        };
        let thread = thread_of(&step);
        masks += usize::from(thread.is_some());
        let now = node.masks()?;
        let at = format!("{step}: {ran:?}");
        // The guest that follows is another one: what it can't get is told, and 100 is as it is to be.
        let of_100 = thread.is_none_or(|tid| stage.of(0, &now).contains_key(&tid));
        let whole = |guest: usize| {
            let mine = stage.of(guest, &now);
            mine == stage.of(guest, &before) || mine == stage.of(guest, &after)
        };
        let others = |guest: usize| -> Vec<u32> {
            let (now, after) = (stage.of(guest, &now), stage.of(guest, &after));
            let differ = now
                .iter()
                .filter(|(tid, mask)| after.get(*tid) != Some(*mask));
            differ.map(|(tid, _)| *tid).collect()
        };
        match (ran.code, thread) {
            // A thread that ended meanwhile is no failure: all the others have what they are to have.
            (0, Some(tid)) if errno == ESRCH => {
                assert!([vec![], vec![tid]].contains(&others(0)), "{at}");
            }
            (0, Some(_)) if !of_100 => {
                assert_eq!(stage.of(0, &now), stage.of(0, &after), "{at}");
                assert!(whole(1), "{at}");
                assert!(ran.told[0].contains(told(errno, true)), "{at}");
            }
            // On the way back all the others are put back, and what is left is named.
            (5, Some(tid)) if reset => {
                assert_eq!(others(0), [tid], "{at}");
                let line = ran.told.last().ok_or("nothing was told")?;
                assert!(line.contains(&format!("thread {tid}")), "{at}");
            }
            (5, Some(tid)) => {
                assert!(of_100, "{at}");
                assert_eq!(now, before, "{at}");
                let line = ran.told.last().ok_or("nothing was told")?;
                assert!(line.contains(&format!("(thread {tid})")), "{at}");
                assert!(line.contains(told(errno, true)), "{at}");
            }
            // Letting go of the lock is best effort; of another guest's record it is told.
            (0, None) => {
                assert_eq!(stage.of(0, &now), stage.of(0, &after), "{at}");
                assert!(whole(1), "{at}");
                let silent = step == "let go of the lock";
                let line = ran.told.first().map(String::as_str);
                assert_eq!(line.is_none(), silent, "{at}");
                assert!(
                    line.is_none_or(|line| line.contains(told(errno, false))),
                    "{at}"
                );
            }
            (1, None) => {
                assert!(whole(0) && whole(1), "{at}");
                let line = ran.told.last().ok_or("nothing was told")?;
                assert!(line.contains("ROOT/run/numapin"), "{at}");
                assert!(line.contains(told(errno, false)), "{at}");
            }
            _ => return Err(at.into()),
        }
        assert_eq!(node.leftovers()?, Vec::<String>::new(), "{at}");
        stage.done(&["reset", "--all"])?;
        assert_eq!(node.masks()?, stage.first, "reset after {at}");
    }
    Err("it has no end".into())
}
