//! Every guest of the table in every mode on one machine, there and back.

use numapin_core::apply::{Scene, affinity};
use numapin_core::claims::Claims;
use numapin_core::guest::Guest;
use numapin_core::host::Host;
use numapin_core::policy::Policy;
use numapin_core::report::State;
use numapin_qmp_mock::{Mock, Script};

use super::doubles::Watched;
use super::guests::{Shape, fits, table};
use super::judge::{difference, valid, want, wanted};
use super::lab::Lab;
use super::masks::Masks;
use super::road::{self, Stop};
use super::{Broken, Ids};

/// Starts each guest of the [`table`] that has at most so many vCPUs, and walks it through these policies: asked, planned, set, read back, set again, undone.
///
/// # Errors
/// The first thing that is not as it should be: for which guest and policy.
pub fn every_guest(lab: &Lab, most_vcpus: u32, policies: &[&str]) -> Result<(), Broken> {
    let host = lab.host()?;
    let small = |shape: &Shape| shape.sockets * shape.cores <= most_vcpus;
    for (what, shape) in table(&host).into_iter().filter(|(_, shape)| small(shape)) {
        let mock = lab.start(shape.qemu(), Script::healthy())?;
        let stage = Stage {
            host: lab.host_of(shape.vmid, &mock)?,
            before: lab.masks()?,
            guest: shape.guest()?,
            lab,
            mock: &mock,
            shape: &shape,
        };
        for policy in policies {
            let walked = stage.walk(&policy.parse()?);
            walked.map_err(|e| format!("{what}, {policy}: {e}"))?;
        }
    }
    Ok(())
}

/// A guest that runs on a host, unpinned.
struct Stage<'a> {
    lab: &'a Lab,
    mock: &'a Mock,
    shape: &'a Shape,
    guest: Guest,
    host: Host,
    before: Masks,
}

impl Stage<'_> {
    /// There and back in one mode; the error says what was not as it should be.
    fn walk(&self, policy: &Policy) -> Result<(), Broken> {
        let kernel = Watched::new(affinity(&self.lab.root));
        let scene = Scene {
            root: &self.lab.root,
            affinity: &kernel,
            host: &self.host,
        };
        let fits = fits(&self.host, self.shape, policy, &Ids::new());
        let claims = Claims::default();
        let pin = || road::pin(scene, &self.guest, &claims, policy, self.mock.socket());
        let pinned = match pin() {
            Ok(pinned) => pinned,
            Err(Stop::Violations(violations)) => {
                want(!fits, &violations)?;
                want(!violations.list.is_empty(), "refused without a reason")?;
                want(
                    kernel.take().is_empty(),
                    "a mask was set for a refused guest",
                )?;
                return difference(&self.before, &self.lab.masks()?);
            }
            Err(other) => return Err(other.into()),
        };
        want(fits, "planned although it does not fit")?;
        want(pinned.agrees(&self.guest), "config and QEMU disagree")?;
        want(pinned.plan.optimal, "not proved to be the best")?;
        valid(&self.host, &self.guest, &claims, policy, &pinned.plan)?;
        difference(
            &wanted(self.mock, &self.before, &pinned.plan),
            &self.lab.masks()?,
        )?;
        let told = pinned.report.threads.iter().all(|thread| {
            matches!(thread.state, State::Set | State::Already)
                && thread.narrowed.is_none()
                && thread.actual.as_ref() == Some(&thread.wanted)
        });
        want(told, "the report tells of more than set masks")?;

        // Once more: the same plan, and the kernel is not called.
        kernel.take();
        let again = pin()?;
        want(again.plan == pinned.plan, "planned again, another plan")?;
        want(
            !again.report.changed() && kernel.take().is_empty(),
            "set twice",
        )?;

        let undone = road::undo(scene, &self.guest, &pinned)?;
        want(
            undone.threads.len() == pinned.targets.len(),
            "not all undone",
        )?;
        difference(&self.before, &self.lab.masks()?)
    }
}
