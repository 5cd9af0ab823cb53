//! What numapin opens, writes and starts: nothing but its ledger below /run/numapin, numapin.conf through `set`, and the file
//! that `record` is given. Looked at twice: by what a captured machine holds before and after each command, and by the system
//! calls of each (strace).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use numapin_qmp_mock::{Guest, Mock, RealHost, Script, Threads};
use numapin_xtests::flow::Broken;
use numapin_xtests::namespace::{self, for_everybody, shell};
use numapin_xtests::pair::Pair;
use rstest::rstest;

const PROGRAM: &str = env!("CARGO_BIN_EXE_numapin-tested");

/// Every file of a machine: what it is, its mode, its bytes.
fn everything(dir: &Path) -> io::Result<BTreeMap<String, (u32, Vec<u8>)>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(&next)? {
            let path = entry?.path();
            let meta = fs::symlink_metadata(&path)?;
            let bytes = if meta.is_symlink() {
                fs::read_link(&path)?.into_os_string().into_encoded_bytes()
            } else if meta.is_file() {
                fs::read(&path)?
            } else {
                Vec::new()
            };
            let name = path
                .strip_prefix(dir)
                .unwrap_or(&path)
                .display()
                .to_string();
            found.insert(name, (meta.mode(), bytes));
            if meta.is_dir() {
                dirs.push(path);
            }
        }
    }
    Ok(found)
}

/// Whether a command may change a file: the ledger, and in place of the kernel the masks of threads.
fn is_ours(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    name == "run/numapin"
        || name.starts_with("run/numapin/")
        || name.starts_with("proc/")
            && name.contains("/task/")
            && ["status", "requested_cpus"].contains(&last)
}

/// `FILE` is a file outside the machine; `+conf`: numapin.conf may change, too.
#[rstest]
#[case::looking(
    "topology; topology --format json; plan; plan 100 --explain; check 100; status; status --format json; status 100; \
     simulate; record FILE; hook 100 pre-stop; hook 100 another-phase; watch --no-such-flag; apply ../100; plan 101 --format json",
    ""
)]
#[case::pinning(
    "apply 100; apply 101; apply 100 --replan; reset 100; reset --all; hook 100 post-start; hook 100 post-stop",
    "ours"
)]
#[case::setting("set 100 numa; unset 101; set 100 numa,smt=spread", "conf")]
fn what_a_machine_holds_before_and_after(
    #[case] lines: &str,
    #[case] may: &str,
) -> Result<(), Broken> {
    let pair = Pair::new()?;
    let out = tempfile::tempdir()?;
    let file = out.path().join("recorded").display().to_string();
    for line in lines.split("; ") {
        let before = everything(pair.node.dir())?;
        let words: Vec<&str> = line
            .split(' ')
            .map(|word| if word == "FILE" { &file } else { word })
            .collect();
        let ran = pair.node.run(&words);
        assert_ne!(ran.code, 1, "{line}: {ran:?}");
        let after = everything(pair.node.dir())?;
        let names = before.keys().chain(after.keys());
        let changed: Vec<&String> = names
            .filter(|name| before.get(*name) != after.get(*name))
            .filter(|name| {
                let conf = may == "conf" && *name == "etc/pve/numapin.conf";
                !(conf || !may.is_empty() && is_ours(name))
            })
            .collect();
        assert!(changed.is_empty(), "{line} changed {changed:?}");
    }
    let named: Vec<_> = fs::read_dir(out.path())?.collect::<Result<_, _>>()?;
    assert_eq!(named.len(), usize::from(lines.contains("FILE")));
    Ok(())
}

/// Words that are no VMID are refused before anything is opened.
#[rstest]
fn a_vmid_is_a_number(
    #[values("../101", "100/../101", "1e3", "0x64", "100 ", "٣٠٠", "")] word: &str,
) -> Result<(), Broken> {
    let pair = Pair::new()?;
    let before = everything(pair.node.dir())?;
    for words in [
        vec!["reset", word],
        vec!["status", word],
        vec!["set", word, "numa"],
        vec!["unset", word],
        vec!["hook", word, "pre-start"],
    ] {
        let ran = pair.node.run(&words);
        let line = format!("{word:?} is not a VMID (expected 100 to 999999999)");
        assert_eq!((ran.code, &*ran.told), (2, &[line][..]), "{words:?}");
    }
    assert_eq!(everything(pair.node.dir())?, before);
    Ok(())
}

/// System calls that change files, beside `open` for writing.
const CHANGES: [&str; 17] = [
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "chmod",
    "fchmodat",
    "chown",
    "fchownat",
    "symlink",
    "symlinkat",
    "link",
    "linkat",
    "truncate",
];

/// What is wrong in a trace: changes outside of `may`, another program, a socket of another family.
fn wrong(trace: &str, may: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut started = 0;
    for line in trace.lines() {
        let call = line
            .split_once(' ')
            .map_or(line, |(_, call)| call.trim_start());
        let Some((name, rest)) = call.split_once('(') else {
            continue;
        };
        let paths: Vec<&str> = rest.split('"').skip(1).step_by(2).collect();
        // What a symbolic link says is a text; where it stands counts.
        let paths = match name.starts_with("symlink") {
            true => paths.last().copied().into_iter().collect(),
            false => paths,
        };
        let writes = ["open", "openat", "openat2", "creat"].contains(&name)
            && ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"]
                .iter()
                .any(|flag| rest.contains(flag));
        if writes || CHANGES.contains(&name) {
            let inside = |path: &&str| may.iter().any(|dir| path.starts_with(dir));
            if paths.is_empty() || !paths.iter().all(inside) {
                wrong.push(line.to_owned());
            }
        }
        started += usize::from(name.starts_with("exec"));
        let forks = ["fork", "vfork"].contains(&name)
            || name.starts_with("clone") && !rest.contains("CLONE_THREAD");
        let foreign = name == "socket" && !rest.starts_with("AF_UNIX");
        if forks || foreign || started > 1 || rest.contains(NEVER) {
            wrong.push(line.to_owned());
        }
    }
    if started != 1 {
        wrong.push(format!("{started} programs in the trace"));
    }
    wrong
}

/// Part of every path that stands in a config and is not to be opened.
const NEVER: &str = "NEVER-OPENED";

#[test]
fn a_trace_is_understood() {
    let good = "7 execve(\"/x\", [\"x\"], 0x1 /* 1 var */) = 0\n\
                7 openat(AT_FDCWD, \"/run/numapin/lock\", O_RDWR|O_CREAT, 0600) = 3\n\
                7 openat(AT_FDCWD, \"/sys/x\", O_RDONLY|O_CLOEXEC) = 3\n\
                7 socket(AF_UNIX, SOCK_STREAM, 0) = 4\n";
    assert_eq!(wrong(good, &["/run/numapin"]), Vec::<String>::new());
    for bad in [
        "7 openat(AT_FDCWD, \"/etc/passwd\", O_WRONLY) = 3",
        "7 rename(\"/run/numapin/a\", \"/etc/cron.d/a\") = 0",
        "7 execve(\"/bin/sh\", [\"sh\"], 0x1) = 0",
        "7 socket(AF_INET, SOCK_STREAM, 0) = 4",
        "7 clone(child_stack=NULL, flags=SIGCHLD) = 8",
        "7 openat(AT_FDCWD, \"/x/NEVER-OPENED\", O_RDONLY) = -1 ENOENT",
    ] {
        let found = wrong(&format!("{good}{bad}\n"), &["/run/numapin"]);
        assert_eq!(found[0], bad);
    }
    assert_eq!(wrong("", &[]).len(), 1);
}

/// The system calls of each command below a captured root, with a config full of paths.
#[test]
fn paths_in_configs_are_never_opened() -> Result<(), Broken> {
    if !namespace::has_strace() {
        return Ok(());
    }
    let pair = Pair::new()?;
    let config = format!(
        "args: -smp 2 -drive file=/{NEVER},if=none -readconfig {NEVER}\n\
         cores: 2\n\
         description: {NEVER}\n\
         hookscript: local:snippets/../../{NEVER}\n\
         hostpci0: 0000:01:00.0,romfile=../{NEVER}\n\
         hostpci1: mapping=../../{NEVER}\n\
         memory: 1024\n\
         name: vm100\n\
         scsi0: /{NEVER}/disk.raw,iothread=1\n\
         vmstatestorage: {NEVER}\n"
    );
    pair.node.write("etc/pve/qemu-server/100.conf", config)?;
    let root = pair.node.dir().display().to_string();
    let trace = tempfile::NamedTempFile::new()?;
    let ours = [format!("{root}/run/numapin"), format!("{root}/proc/")];
    let conf = [
        format!("{root}/run/numapin"),
        format!("{root}/etc/pve/numapin.conf"),
        format!("{root}/etc/pve/.numapin.conf."),
    ];
    for (line, may) in [
        ("plan", &[][..]),
        ("check 100", &[]),
        ("status", &[]),
        ("apply 100", &ours),
        ("hook 100 pre-start", &ours),
        ("hook 100 post-start", &ours),
        ("reset 100", &ours),
        ("set 100 numa", &conf),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let mut command = Command::new("strace");
        command.args(["-f", "-s", "4096", "-e", "trace=file,process,network", "-o"]);
        let run = command.arg(trace.path()).arg(PROGRAM).args(&words);
        let ended = run
            .args(["--root", &root])
            .env("PVE_MIGRATED_FROM", format!("../../{NEVER}"))
            .output()?;
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(matches!(ended.status.code(), Some(0 | 6)), "{line}: {told}");
        let may: Vec<&str> = may.iter().map(String::as_str).collect();
        let text = fs::read_to_string(trace.path())?;
        assert!(text.contains(&root), "{line}");
        assert_eq!(wrong(&text, &may), Vec::<String>::new(), "{line}");
    }
    Ok(())
}

/// The system calls of each command on this machine, with a `/run` of its own: as root it writes below /run/numapin alone.
#[test]
fn as_root_it_writes_below_run_numapin_only() -> Result<(), Broken> {
    if !namespace::can_be_had() || !namespace::has_strace() {
        return Ok(());
    }
    let (dir, program) = for_everybody(PROGRAM)?;
    let threads = Threads::Real(RealHost::at(dir.path().join("qmp")));
    let mock = Mock::spawn(Guest::plain("flow", 1, 2), threads, Script::healthy())?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    let config: PathBuf = dir.path().join("100.conf");
    fs::write(&config, "cores: 2\nmemory: 512\n")?;
    let file = dir.path().join("recorded");
    let traces = dir.path().join("traces");
    fs::create_dir(&traces)?;
    let lines = [
        "topology",
        "plan $CONFIG --mode shared",
        "check --qmp $SOCKET --mode shared",
        "apply --qmp $SOCKET --mode shared",
        "status",
        "reset --all",
        "record $FILE",
    ];
    // One namespace for all, so that each meets what the one before left.
    let script: String = (0..)
        .zip(&lines)
        .map(|(n, line)| format!("strace -f -e trace=file,process,network -o $TRACES/{n} $PROGRAM {line} || exit $((10 + {n}));\n"))
        .collect();
    let ended = shell(
        &format!("true;\n{script}ls -A /run"),
        &[
            ("PROGRAM", &*program.display().to_string()),
            ("CONFIG", &config.display().to_string()),
            ("SOCKET", &mock.socket().display().to_string()),
            ("FILE", &file.display().to_string()),
            ("TRACES", &traces.display().to_string()),
        ],
    )?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.out.ends_with("numapin\nqemu-server\n"),
        "{}",
        ended.out
    );
    for (n, line) in lines.iter().enumerate() {
        let text = fs::read_to_string(traces.join(n.to_string()))?;
        let file = file.display().to_string();
        let may: &[&str] = match *line {
            line if line.starts_with("apply") || line.starts_with("reset") => &["/run/numapin"],
            line if line.starts_with("record") => &[&file],
            _ => &[],
        };
        assert_eq!(wrong(&text, may), Vec::<String>::new(), "{line}");
    }
    Ok(())
}
