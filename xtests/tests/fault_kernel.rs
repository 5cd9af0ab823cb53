//! A real kernel that refuses: numapin without the privilege for it, against threads of root. `/run` is one of the test's own;
//! where that, or a second CPU, can't be had it is said and passed over.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use numapin_qmp_mock::{Guest, Mock, RealHost, Script, Threads};
use numapin_xtests::flow::Broken;
use numapin_xtests::namespace::{self, for_everybody, mask, shell};

/// `nobody` of Debian.
const NOBODY: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups";

#[test]
fn eperm_without_the_capability_and_done_with_it_alone() -> Result<(), Broken> {
    if !namespace::can_be_had() {
        return Ok(());
    }
    let (dir, program) = for_everybody(env!("CARGO_BIN_EXE_numapin-tested"))?;
    let threads = Threads::Real(RealHost::at(dir.path().join("qmp")));
    let mock = Mock::spawn(Guest::plain("flow", 1, 3), threads, Script::healthy())?;
    fs::set_permissions(mock.socket(), fs::Permissions::from_mode(0o777))?;
    let masks = || -> Result<Vec<String>, Broken> {
        let tids = mock.vcpu_tids();
        Ok(tids.into_iter().map(mask).collect::<Result<_, _>>()?)
    };
    let before = masks()?;
    let first = before[0].split(['-', ',']).next().ok_or("no mask")?;
    if first == before[0] {
        eprintln!("passed over: this machine has one usable cpu, so that no mask has to be set");
        return Ok(());
    }
    let run = |privilege: &str| {
        let script = format!(
            "exec {NOBODY} {privilege} $PROGRAM apply --qmp $SOCKET --mode shared --affinity {first}"
        );
        let variables = [
            ("OWNER", "65534"),
            ("PROGRAM", &*program.display().to_string()),
            ("SOCKET", &mock.socket().display().to_string()),
        ];
        shell(&script, &variables)
    };
    let refused = run("")?;
    let line = format!(
        "numapin: vcpu 0 (thread {}): cpu(s) {first} could not be set: permission denied; run as root, or with CAP_SYS_NICE; \
         nothing had been set before\n",
        mock.vcpu_tids()[0]
    );
    // Other QEMUs of this machine may be told before.
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(refused.err.ends_with(&line), "{refused:?}");
    assert_eq!(masks()?, before);

    // Of all that root may do it takes this one.
    let done = run("--inh-caps +sys_nice --ambient-caps +sys_nice")?;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(masks()?, [first; 3]);
    Ok(())
}
