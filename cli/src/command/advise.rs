//! `numapin advise`.

use numapin_core::advise::{Question, advise};
use numapin_core::guest::Running;
use numapin_core::guest::pve::{self, Pending, passthrough};
use numapin_core::host::memory;
use numapin_core::root;

use crate::Answer;
use crate::args::{Format, Global, OneGuest};
use crate::fault::{Exit, Fault};
use crate::intent::{self, GuestRef, Over};
use crate::load::Node;
use crate::planned::Advised;
use crate::render::{self, json};
use crate::tell;

/// Says which settings of a guest would be better.
pub(crate) fn run(global: &Global, args: &OneGuest) -> Result<Answer, Fault> {
    let which = intent::one_guest(args)?;
    let over = intent::over(&args.with)?;
    settings_are_asked_for(&which, &over)?;
    let mut warn = Vec::new();
    let advised = advised(global, &which, &over, &mut warn)?;
    warn.iter().for_each(|line| tell(line));
    let out = match global.format {
        Format::Json => json::line(&json::AdviseDocument::new(&advised)) + "\n",
        _ => render::advise::text(&advised),
    };
    let stuck = matches!(advised.advice.before, Some(Err(_))) && advised.advice.better.is_none();
    let exit = if stuck { Exit::Constraints } else { Exit::Done };
    Ok(Answer { out, exit })
}

fn advised(
    global: &Global,
    which: &GuestRef,
    over: &Over,
    warn: &mut Vec<String>,
) -> Result<Advised, Fault> {
    let mut node = Node::read(intent::root(global)?, warn)?;
    if global.verbose {
        tell(&node.told());
    }
    let config = node.configs.config(which, &mut Vec::new())?;
    let chosen = node.configs.policy(&config, over)?;
    let name = &config.name;
    let told = chosen.notes.iter();
    warn.extend(told.map(|note| format!("guest {name}: {note}")));
    // Advice is for the next start: it reads what waits for that, too.
    let text = root::read_text(&config.path)?.unwrap_or_default();
    let next = pve::parse(&config.path, &text, Pending::Merge).map_err(Fault::malformed)?;
    warn.extend(next.warnings.iter().map(ToString::to_string));
    let found = passthrough::read(&node.root, &next.config, config.vmid)?;
    warn.extend(found.warnings);
    let pid = config.process.map(|process| process.pid);
    node.allow(config.vmid, pid)?;
    let running = match pid {
        Some(pid) => Some(Running {
            memory_mib: memory::of_cgroup(&node.root, config.vmid, Some(pid))?,
        }),
        None => None,
    };
    let claims = node.claims_beside(numapin_core::claims::live::Own {
        vmid: config.vmid,
        pid,
    });
    let question = Question {
        host: &node.host,
        claims: &claims,
        policy: &chosen.policy,
        file: &config.path,
        text: &text,
        name,
        vmid: config.vmid,
        devices: &found.devices,
        running: running.as_ref(),
    };
    let advice = advise(&question).map_err(Fault::malformed)?;
    Ok(Advised {
        advice,
        source: chosen.origin(),
    })
}

/// Refuses what would be laid over the settings that are asked for.
fn settings_are_asked_for(which: &GuestRef, over: &Over) -> Result<(), Fault> {
    if let GuestRef::Qmp(socket) = which {
        return Err(Fault::usage(format!(
            "{}: a guest of --qmp has no config that could be better (expected a VMID or the path of a .conf file)",
            socket.display()
        )));
    }
    let guest = &over.guest;
    let given = [
        ("--affinity", guest.affinity.is_some()),
        ("--sockets", guest.sockets.is_some()),
        ("--cores", guest.cores.is_some()),
        ("--numa", guest.numa.is_some()),
        ("--host-node", !guest.host_nodes.is_empty()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(Fault::usage(format!(
            "{flag} can't be together with advise, which says itself what it should be (expected flags of the policy only)"
        ))),
        None => Ok(()),
    }
}
