//! `numapin-qmp-mock`: a mock QEMU as a process of its own.
//!
//! With `--root DIR` its threads are entries below a captured root; with `--socket PATH` they are real parked threads of this
//! process. Once it can be connected to, it prints one line of JSON: pid, socket, vCPUs and iothreads with their threads.
//! It ends on `quit`, SIGTERM or SIGINT (or, with `--with-stdin`, when its standard input ends), and removes what it made.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use numapin_qmp_mock::{
    Accel, FakeHost, Guest, MockError, QemuVersion, RealHost, RunState, Script, Threads,
    VirtualNode, serve,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// A mock QEMU: answers QMP as QEMU does, with threads fake or real, and with the faults a script asks for.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Fake threads: entries below this captured root
    #[arg(long, value_name = "DIR", conflicts_with = "pid_file")]
    root: Option<PathBuf>,
    /// QMP socket; without --root its threads are real ones of this process
    #[arg(long, value_name = "PATH", required_unless_present = "root")]
    socket: Option<PathBuf>,
    /// Write this process's id there
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Process id of fake threads
    #[arg(long, value_name = "N", requires = "root")]
    pid: Option<u32>,
    /// Guest as JSON; the flags below override its fields
    #[arg(long, value_name = "FILE")]
    guest: Option<PathBuf>,
    /// Faults as JSON
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// VMID of a Proxmox VE guest
    #[arg(long, value_name = "N")]
    vmid: Option<u32>,
    /// Name of the guest
    #[arg(long)]
    name: Option<String>,
    /// Sockets
    #[arg(long, value_name = "N")]
    sockets: Option<u32>,
    /// Cores a socket
    #[arg(long, value_name = "N")]
    cores: Option<u32>,
    /// Threads a core
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
    /// vCPUs at start; the rest can be plugged
    #[arg(long, value_name = "N")]
    vcpus: Option<u32>,
    /// Further vCPUs, in plug order
    #[arg(long, value_name = "INDEX,...", value_delimiter = ',')]
    plugged: Vec<u32>,
    /// One virtual node a socket
    #[arg(long, conflicts_with = "node")]
    numa: bool,
    /// A virtual node with these vCPUs; once for each
    #[arg(long, value_name = "VCPUS")]
    node: Vec<String>,
    /// Id of an iothread; once for each
    #[arg(long, value_name = "ID")]
    iothread: Vec<String>,
    /// Accelerator
    #[arg(long, value_enum)]
    accel: Option<AccelArg>,
    /// Version of QEMU
    #[arg(long, value_enum)]
    qemu: Option<QemuArg>,
    /// Threads keep the process's name
    #[arg(long)]
    no_debug_threads: bool,
    /// Started with -S
    #[arg(long)]
    paused: bool,
    /// vCPU threads run instead of sleeping
    #[arg(long)]
    busy: bool,
    /// CPUs that taskset was told; fake threads only
    #[arg(long, value_name = "CPUS", requires = "root")]
    affinity: Option<String>,
    /// End when standard input ends
    #[arg(long)]
    with_stdin: bool,
    /// Passed over: lets the command line of this process look like QEMU's
    #[arg(last = true, value_name = "QEMU ARGUMENT")]
    _rest: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AccelArg {
    Kvm,
    TcgMulti,
    TcgSingle,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum QemuArg {
    #[value(name = "7.2")]
    V7_2,
    #[value(name = "10.0")]
    V10_0,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // Nobody reads it: nothing more can be done.
            let _ = writeln!(io::stderr(), "numapin-qmp-mock: {e}");
            match e {
                MockError::Guest { .. } | MockError::List { .. } | MockError::Json { .. } => {
                    ExitCode::from(2)
                }
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(args: Args) -> Result<(), MockError> {
    let script = match &args.script {
        Some(path) => Script::load(path)?,
        None => Script::healthy(),
    };
    let threads = threads(&args)?;
    let guest = guest(&args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| MockError::Runtime { source })?;
    // Everything runs on this thread, the main one: new threads inherit its mask, as with QEMU.
    runtime.block_on(async {
        let stop = stopped(args.with_stdin).map_err(|source| MockError::Runtime { source })?;
        serve(guest, &threads, script, stop, |ready| {
            if let Ok(line) = serde_json::to_string(ready) {
                // Who started it has gone already: it will be told to end.
                let mut out = io::stdout().lock();
                let _ = writeln!(out, "{line}").and_then(|()| out.flush());
            }
        })
        .await
    })
}

fn threads(args: &Args) -> Result<Threads, MockError> {
    match (&args.root, &args.socket) {
        (Some(root), socket) => {
            let mut host = FakeHost::at(root)?;
            host.pid = args.pid;
            host.socket.clone_from(socket);
            Ok(Threads::Fake(host))
        }
        (None, socket) => {
            let mut host = RealHost::at(socket.clone().unwrap_or_default());
            host.pid_file.clone_from(&args.pid_file);
            Ok(Threads::Real(host))
        }
    }
}

fn guest(args: &Args) -> Result<Guest, MockError> {
    let mut guest = match (&args.guest, args.vmid) {
        (Some(path), _) => Guest::load(path)?,
        (None, Some(vmid)) => Guest::proxmox(vmid, 1, 1),
        (None, None) => Guest::default(),
    };
    guest.vmid = args.vmid.or(guest.vmid);
    if let Some(name) = &args.name {
        guest.name.clone_from(name);
    }
    for (field, flag) in [
        (&mut guest.sockets, args.sockets),
        (&mut guest.cores, args.cores),
        (&mut guest.threads, args.threads),
        (&mut guest.vcpus, args.vcpus),
    ] {
        *field = flag.unwrap_or(*field);
    }
    if !args.plugged.is_empty() {
        guest.plugged.clone_from(&args.plugged);
    }
    if !args.iothread.is_empty() {
        guest.iothreads.clone_from(&args.iothread);
    }
    guest.accel = match args.accel {
        None => guest.accel,
        Some(AccelArg::Kvm) => Accel::Kvm,
        Some(AccelArg::TcgMulti) => Accel::TcgMulti,
        Some(AccelArg::TcgSingle) => Accel::TcgSingle,
    };
    guest.qemu = match args.qemu {
        None => guest.qemu,
        Some(QemuArg::V7_2) => QemuVersion::V7_2,
        Some(QemuArg::V10_0) => QemuVersion::V10_0,
    };
    guest.debug_threads &= !args.no_debug_threads;
    guest.busy |= args.busy;
    if args.paused {
        guest.state = RunState::Prelaunch;
    }
    if args.affinity.is_some() {
        guest.affinity.clone_from(&args.affinity);
    }
    if !args.node.is_empty() {
        let node = |cpus: &String| VirtualNode {
            cpus: cpus.clone(),
            host_nodes: None,
        };
        guest.nodes = args.node.iter().map(node).collect();
    }
    Ok(if args.numa {
        guest.numa_per_socket()
    } else {
        guest
    })
}

/// Ready when it is time to end. Signals are caught from the moment this returns.
fn stopped(with_stdin: bool) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (end, ended) = oneshot::channel::<()>();
    let mut kept = Some(end);
    if with_stdin {
        let end = kept.take();
        std::thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(move || {
                // An error is an end, too.
                let _ = io::stdin().read_to_end(&mut Vec::new());
                drop(end);
            })?;
    }
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = ended => {}
        }
        drop(kept);
    })
}
