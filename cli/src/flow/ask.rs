//! What QEMU says of a guest: its shape, and which threads run its vCPUs. Asked before the node's lock is taken.

use std::path::{Path, PathBuf};
use std::time::Duration;

use numapin_core::apply::{ApplyError, GuestThreads};
use numapin_core::guest::{Guest, qmp as shape};
use numapin_core::id::Vmid;
use numapin_core::qmp::{self, Answer, QmpError, Questions};
use numapin_core::report::ReportNote;
use numapin_core::root::Root;
use numapin_core::violation::Violations;

use crate::fault::{Fault, FaultKind};
use crate::intent::{GuestRef, Over};
use crate::load::{Loaded, Node};

/// A guest that can be planned: by its config, or by what a plain QEMU says.
///
/// # Errors
/// A file can't be read, or QEMU does not answer. The inner result: the guest does not hold together.
pub(crate) fn load(
    node: &Node,
    which: &GuestRef,
    over: &Over,
    deadline: Duration,
    warn: &mut Vec<String>,
) -> Result<Result<Loaded, Violations>, Fault> {
    let GuestRef::Qmp(socket) = which else {
        return node.guest(which, over, warn);
    };
    let answer = qmp::ask(socket, deadline, Questions { hotpluggable: true })?;
    let process = GuestThreads::from_answer(&node.root, None, &answer)?.process;
    Ok(plain(socket, &answer, over)?.map(|loaded| Loaded {
        process: Some(process),
        ..loaded
    }))
}

/// A plain QEMU guest: its shape is what QEMU says, its policy what the flags say.
pub(super) fn plain(
    socket: &Path,
    answer: &Answer,
    over: &Over,
) -> Result<Result<Loaded, Violations>, Fault> {
    over.guest.without_shape().map_err(Fault::usage)?;
    let shape = shape_of(answer)?;
    let name = socket.display().to_string();
    let guest = Guest::new(shape.parts(&name)).and_then(|guest| over.guest.over(&guest));
    let (policy, source) = over.policy();
    Ok(guest.map(|guest| Loaded {
        guest,
        process: None,
        policy,
        source,
    }))
}

/// The QMP socket of a Proxmox VE guest.
pub(crate) fn socket(root: &Root, vmid: Vmid) -> PathBuf {
    root.run().join("qemu-server").join(format!("{vmid}.qmp"))
}

/// The threads of a Proxmox VE guest. What QEMU says of its shape is right; where QMP stays busy, the names of the tasks tell
/// the vCPUs.
pub(super) fn ask(
    node: &Node,
    which: &GuestRef,
    guest: &mut Guest,
    deadline: Duration,
) -> Result<Result<GuestThreads, Violations>, Fault> {
    let vmid = which.vmid().ok_or_else(|| {
        Fault::usage(
            "no running guest is named (expected a VMID, a file named VMID.conf, or --qmp SOCKET)",
        )
    })?;
    let all = Questions { hotpluggable: true };
    let answer = qmp::ask(&socket(&node.root, vmid), deadline, all);
    threads(&node.root, vmid, guest, answer)
}

/// The threads of a Proxmox VE guest by what its QEMU answered, which is right where the config says something else; where it
/// was busy, by the names of the tasks.
///
/// # Errors
/// QEMU did not answer, or its threads are not those of the guest. The inner result: the guest does not hold together.
pub(crate) fn threads(
    root: &Root,
    vmid: Vmid,
    guest: &mut Guest,
    answer: Result<Answer, QmpError>,
) -> Result<Result<GuestThreads, Violations>, Fault> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) if error.is_busy() => {
            let threads = GuestThreads::from_names(root, vmid, &error);
            return threads.map(Ok).map_err(|why| match why {
                // No patience helps: the guest can't be pinned, busy or not.
                ApplyError::NamedShared { .. } => why.into(),
                ApplyError::NoNames { .. } => Fault::new(FaultKind::Qmp, why),
                _ => error.into(),
            });
        }
        Err(error) => return Err(error.into()),
    };
    let mut threads = GuestThreads::from_answer(root, Some(vmid), &answer)?;
    let shape = shape_of(&answer)?;
    let mismatches = shape::compare(guest, &shape).into_iter();
    threads.notes.extend(mismatches.map(ReportNote::from));
    Ok(shape::corrected(guest, &shape).map(|right| {
        *guest = right;
        threads
    }))
}

/// A Proxmox VE guest as QEMU tells it, where its config can't be read.
pub(super) fn without_config(
    root: &Root,
    vmid: Vmid,
    deadline: Duration,
) -> Result<(Result<Guest, Violations>, GuestThreads), Fault> {
    let questions = Questions { hotpluggable: true };
    let answer = qmp::ask(&socket(root, vmid), deadline, questions)?;
    let threads = GuestThreads::from_answer(root, Some(vmid), &answer)?;
    let mut parts = shape_of(&answer)?.parts(&vmid.to_string());
    parts.vmid = Some(vmid);
    Ok((Guest::new(parts), threads))
}

fn shape_of(answer: &Answer) -> Result<shape::QmpShape, Fault> {
    shape::shape(&answer.vcpus, answer.slots.as_deref()).map_err(|e| Fault::new(FaultKind::Qmp, e))
}
