//! A guest that runs on a simulated machine.

use numapin_core::apply::{Scene, affinity};
use numapin_core::claims::Claims;
use numapin_core::guest::Guest;
use numapin_core::host::Host;
use numapin_core::policy::Policy;
use numapin_qmp_mock::{Mock, Script};

use super::guests::Shape;
use super::lab::Lab;
use super::road::{self, Pinned, Stop};
use super::{Broken, Ids};

/// One of the guests of a host.
#[derive(Debug)]
pub struct Running {
    /// Its shape.
    pub shape: Shape,
    /// As numapin reads it.
    pub guest: Guest,
    /// As QEMU runs it.
    pub mock: Mock,
    /// The host, with the cpuset of its cgroup as it was at the start.
    pub host: Host,
}

impl Running {
    /// Starts a healthy one.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(lab: &Lab, shape: Shape) -> Result<Self, Broken> {
        Self::with(lab, shape, |_| {})
    }

    /// Starts one that QEMU runs otherwise.
    ///
    /// # Errors
    /// It can't be started.
    pub fn with(
        lab: &Lab,
        shape: Shape,
        change: impl Fn(&mut numapin_qmp_mock::Guest),
    ) -> Result<Self, Broken> {
        let mut qemu = shape.qemu();
        change(&mut qemu);
        let mock = lab.start(qemu, Script::healthy())?;
        Ok(Self {
            guest: shape.guest()?,
            host: lab.host_of(shape.vmid, &mock)?,
            shape,
            mock,
        })
    }

    /// Pins it beside what others hold.
    ///
    /// # Errors
    /// Where the road ended.
    pub fn pin(&self, lab: &Lab, claims: &Claims, policy: &Policy) -> Result<Pinned, Stop> {
        let kernel = affinity(&lab.root);
        let scene = Scene {
            root: &lab.root,
            affinity: &*kernel,
            host: &self.host,
        };
        road::pin(scene, &self.guest, claims, policy, self.mock.socket())
    }

    /// Puts back the masks that were found.
    ///
    /// # Errors
    /// One could not be put back.
    pub fn undo(&self, lab: &Lab, pinned: &Pinned) -> Result<(), Broken> {
        let kernel = affinity(&lab.root);
        let scene = Scene {
            root: &lab.root,
            affinity: &*kernel,
            host: &self.host,
        };
        road::undo(scene, &self.guest, pinned)?;
        Ok(())
    }

    /// Masks of its vCPUs as /proc has them, in plug order.
    ///
    /// # Errors
    /// A vCPU has no thread there.
    pub fn vcpus(&self, lab: &Lab) -> Result<Vec<Ids>, Broken> {
        let masks = lab.masks()?;
        let tids = self.mock.vcpu_tids();
        let mask = |tid| masks.get(tid).map(|seen| seen.mask.clone());
        let found: Option<Vec<Ids>> = tids.iter().map(mask).collect();
        found.ok_or_else(|| format!("not all of threads {tids:?} are there").into())
    }
}
