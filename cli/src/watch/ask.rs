//! What QMP says of the guests that are to be placed, and of those whose vCPUs were plugged or unplugged.
//!
//! It is asked before the lock is taken, all guests at the same time: one that does not answer costs the others its deadline and
//! no more.

use std::thread;
use std::time::Duration;

use numapin_core::apply::GuestThreads;
use numapin_core::id::{Pid, Vmid};
use numapin_core::qmp::{self, Answer, QmpError, Questions};

use super::known::Known;
use super::say::{self, Say};
use super::{Priority, Watch};
use crate::fault::{Fault, FaultKind};
use crate::flow;
use crate::load::{Loaded, Node};

/// How many guests are asked at the same time: a whole node that starts.
const AT_ONCE: usize = 64;

/// A guest whose QMP said something.
pub(super) enum Ready {
    /// It is to be planned and pinned.
    Place(Pid, Box<Loaded>, GuestThreads),
    /// It is pinned, and QMP told who runs its vCPUs now.
    Refresh(Pid, GuestThreads),
}

impl Watch {
    /// Asks the QMP of the guests that are to be placed, and of those whose vCPUs changed.
    pub(super) fn ask(
        &mut self,
        new: &[(Pid, Loaded)],
        now: Duration,
    ) -> Vec<(Pid, Result<Answer, QmpError>)> {
        let mut answers = Vec::new();
        let mut asked: Vec<(Pid, Vmid)> = Vec::new();
        for (pid, known) in &mut self.guests {
            let Some(vmid) = known.vmid else { continue };
            let place = new.iter().any(|(other, _)| other == pid);
            match known.answer.take_if(|_| place || known.kept) {
                Some(answer) => answers.push((*pid, Ok(answer))),
                None if place && known.asking.may(now) => asked.push((*pid, vmid)),
                None if known.may_be_asked(now) => asked.push((*pid, vmid)),
                None => {}
            }
        }
        let (root, deadline) = (&self.node.root, self.options.deadline);
        for some in asked.chunks(AT_ONCE) {
            let ask = |(pid, vmid): &(Pid, Vmid)| {
                let socket = flow::socket(root, *vmid);
                (
                    *pid,
                    qmp::ask(&socket, deadline, Questions { hotpluggable: true }),
                )
            };
            if let [one] = some {
                answers.push(ask(one));
                continue;
            }
            thread::scope(|scope| {
                let asking: Vec<_> = some
                    .iter()
                    .map(|one| scope.spawn(move || ask(one)))
                    .collect();
                answers.extend(asking.into_iter().filter_map(|asked| asked.join().ok()));
            });
        }
        answers
    }
}

/// What an answer means for a guest; `None` where it means nothing, which is told.
pub(super) fn understood(
    node: &Node,
    known: &mut Known,
    place: Option<Loaded>,
    answer: Result<Answer, QmpError>,
    now: Duration,
    say: &mut Say,
) -> Option<Ready> {
    let vmid = known.vmid?;
    let pid = known.process.pid;
    let name = known.name.0.clone();
    match &answer {
        Ok(answer) => {
            known.answer = Some(answer.clone());
            known.asking.answered(known.vcpus.clone(), now);
        }
        Err(_) => known.asking.failed(now),
    }
    let threads = match place {
        Some(mut loaded) => match flow::threads(&node.root, vmid, &mut loaded.guest, answer) {
            Ok(Ok(threads)) => Ok(Ready::Place(pid, Box::new(loaded), threads)),
            Ok(Err(violations)) => {
                known.tries.failed(now);
                let line = say::refused(&violations);
                say.state(Priority::Warning, &name, "place", [line]);
                return None;
            }
            Err(fault) => Err(fault),
        },
        // Who is pinned already needs no names: they are looked at anyway.
        None => answer.map_err(Fault::from).and_then(|answer| {
            let threads = GuestThreads::from_answer(&node.root, Some(vmid), &answer)?;
            Ok(Ready::Refresh(pid, threads))
        }),
    };
    match threads {
        Ok(ready) => {
            say.state(Priority::Warning, &name, "qmp", []);
            Some(ready)
        }
        Err(fault) => {
            known.answer = None;
            if fault.kind != FaultKind::Qmp {
                known.tries.failed(now);
                known.asking.failed(now);
            }
            let line = format!("guest {name}: {}; it is asked again", fault.message);
            say.state(Priority::Warning, &name, "qmp", [line]);
            None
        }
    }
}
