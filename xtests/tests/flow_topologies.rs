//! The whole flow on every topology: each mode for each guest of a table, written, read, planned, asked, set, read back, undone.

use numapin_core::apply::{Scene, affinity};
use numapin_core::claims::Claims;
use numapin_core::guest::Guest;
use numapin_core::host::Host;
use numapin_core::policy::{Mode, Policy, Smt};
use numapin_core::report::State;
use numapin_qmp_mock::{Mock, Script};
use numapin_sysfs_sim::topologies;
use numapin_xtests::flow::doubles::Watched;
use numapin_xtests::flow::guests::{POLICIES, Shape, fits, table};
use numapin_xtests::flow::judge::{difference, valid, want, wanted};
use numapin_xtests::flow::lab::Lab;
use numapin_xtests::flow::masks::Masks;
use numapin_xtests::flow::road::{self, Stop};
use numapin_xtests::flow::{Broken, Ids};
use rstest::rstest;

/// Each topology is a test of its own, so that they run side by side; the first one compares with what there is.
const TOPOLOGIES: [&str; 13] = [
    "epyc7351p",
    "epyc7351p-nosmt",
    "epyc7451-2s",
    "epyc7713-2s-nps1",
    "epyc7713-2s-nps4",
    "hybrid-i7-1370p",
    "kunpeng920-2s",
    "lab-epyc2x32-nps2",
    "lab-memless",
    "lab-xeon2x16ht-interleaved",
    "xeon6130-2s-nosmt",
    "xeon6230-2s",
    "xeon6230-2s-snc2",
];

#[test]
fn no_topology_and_no_mode_is_left_out() -> Result<(), Broken> {
    assert!(topologies::names().eq(TOPOLOGIES));
    let policies: Result<Vec<Policy>, _> = POLICIES.iter().map(|text| text.parse()).collect();
    let policies = policies?;
    let mode = |mode: &Mode| policies.iter().any(|policy| policy.mode == *mode);
    assert!(Mode::ALL.iter().all(mode));
    let smt = |smt: &Smt| policies.iter().any(|policy| policy.smt == *smt);
    assert!(Smt::ALL.iter().all(smt));
    Ok(())
}

#[rstest]
fn every_guest_in_every_mode(
    #[values(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)] topology: usize,
) -> Result<(), Broken> {
    let lab = Lab::named(TOPOLOGIES[topology])?;
    for (what, shape) in table(&lab.host()?) {
        let mock = lab.start(shape.qemu(), Script::healthy())?;
        let stage = Stage {
            host: lab.host_of(shape.vmid, &mock)?,
            before: lab.masks()?,
            guest: shape.guest()?,
            lab: &lab,
            mock: &mock,
            shape: &shape,
        };
        for policy in POLICIES {
            let case = format!("{}, {what}, {policy}", TOPOLOGIES[topology]);
            stage
                .walk(&policy.parse()?)
                .map_err(|e| format!("{case}: {e}"))?;
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
