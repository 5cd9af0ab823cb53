//! The road of one guest, as `apply` goes it: QMP first, then the plan, then one transaction.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use numapin_core::apply::{ApplyError, GuestThreads, Scene, Seen, Target, Transaction};
use numapin_core::claims::Claims;
use numapin_core::guest::Guest;
use numapin_core::guest::qmp::{compare, shape};
use numapin_core::placement::{self, Plan};
use numapin_core::policy::Policy;
use numapin_core::process::{self, Process, ProcessError};
use numapin_core::qmp::{self, Answer, QmpError, Questions};
use numapin_core::report::Report;
use numapin_core::violation::Violations;

/// Long enough for any healthy mock or QEMU, also on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A guest that was pinned.
#[derive(Debug)]
pub struct Pinned {
    /// The plan.
    pub plan: Plan,
    /// What QMP said.
    pub answer: Answer,
    /// Whose threads.
    pub process: Process,
    /// The masks that were found.
    pub targets: Vec<Target>,
    /// What was done.
    pub report: Report,
}

/// Where the road ended.
#[derive(Debug)]
pub enum Stop {
    /// QMP gave no answer.
    Qmp(QmpError),
    /// There is no plan.
    Violations(Violations),
    /// The plan was not applied.
    Apply(Box<ApplyError>),
}

/// Asks, plans and applies.
///
/// # Errors
/// Where it ended; then no mask is changed.
pub fn pin(
    scene: Scene<'_>,
    guest: &Guest,
    claims: &Claims,
    policy: &Policy,
    socket: &Path,
) -> Result<Pinned, Stop> {
    let answer = ask(socket, DEADLINE)?;
    let plan = placement::plan(scene.host, guest, claims, policy)?;
    apply(scene, guest, plan, answer)
}

/// Asks the QEMU behind a socket.
///
/// # Errors
/// It gave no answer.
pub fn ask(socket: &Path, deadline: Duration) -> Result<Answer, Stop> {
    Ok(qmp::ask(
        socket,
        deadline,
        Questions { hotpluggable: true },
    )?)
}

/// Applies a plan to the threads that QMP told.
///
/// # Errors
/// It was not applied; then no mask is changed.
pub fn apply(scene: Scene<'_>, guest: &Guest, plan: Plan, answer: Answer) -> Result<Pinned, Stop> {
    let (process, transaction) = prepare(scene, guest, &plan, &answer)?;
    let targets = transaction.targets();
    let report = transaction.run(scene)?;
    Ok(Pinned {
        plan,
        answer,
        process,
        targets,
        report,
    })
}

/// All that comes before the first mask is set.
///
/// # Errors
/// The threads are not the guest's.
pub fn prepare(
    scene: Scene<'_>,
    guest: &Guest,
    plan: &Plan,
    answer: &Answer,
) -> Result<(Process, Transaction), Stop> {
    let threads = GuestThreads::from_answer(scene.root, guest.vmid, answer)?;
    let pid = threads.process.pid;
    let tasks = scene.look().tasks(pid)?;
    let workers = process::vhost_kernel_threads(scene.root, pid)?;
    let wishes = threads.wishes(plan, &tasks, &workers)?;
    let transaction = Transaction::prepare(
        scene,
        &guest.name,
        threads.process,
        wishes,
        Seen::Before(&tasks),
    )?;
    Ok((threads.process, transaction))
}

/// Puts back the masks that were found.
///
/// # Errors
/// One could not be put back.
pub fn undo(scene: Scene<'_>, guest: &Guest, pinned: &Pinned) -> Result<Report, Stop> {
    let way_back = Transaction::undo(scene, &guest.name, pinned.process, &pinned.targets, &[])?;
    Ok(way_back.run(scene)?)
}

impl Pinned {
    /// Whether config and QEMU agree on how many vCPUs there are and who is in which virtual node.
    #[must_use]
    pub fn agrees(&self, guest: &Guest) -> bool {
        let slots = self.answer.slots.as_deref();
        shape(&self.answer.vcpus, slots)
            .is_ok_and(|shape| shape.complete && compare(guest, &shape).is_empty())
    }
}

impl Stop {
    /// The kind, as in JSON.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Qmp(e) => e.kind.word(),
            Self::Violations(_) => "violations",
            Self::Apply(e) => e.word(),
        }
    }
}

impl From<QmpError> for Stop {
    fn from(e: QmpError) -> Self {
        Self::Qmp(e)
    }
}

impl From<Violations> for Stop {
    fn from(e: Violations) -> Self {
        Self::Violations(e)
    }
}

impl From<ApplyError> for Stop {
    fn from(e: ApplyError) -> Self {
        Self::Apply(Box::new(e))
    }
}

impl From<ProcessError> for Stop {
    fn from(e: ProcessError) -> Self {
        ApplyError::from(e).into()
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Qmp(e) => e.fmt(f),
            Self::Violations(e) => e.fmt(f),
            Self::Apply(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for Stop {}
