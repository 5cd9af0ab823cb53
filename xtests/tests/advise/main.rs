//! What must hold of advice whatever the host and the guest: it is verified, costs nothing, and once taken leads to no more.
#![allow(clippy::unwrap_used)]

mod configs;
mod judge;
mod random;

use std::fmt;
use std::path::Path;

use numapin_core::advise::{Advice, Question, advise};
use numapin_core::claims::Claims;
use numapin_core::guest::flags::Overrides;
use numapin_core::guest::pve::{Beside, GuestConfig};
use numapin_core::guest::{Device, Guest, GuestName, Running};
use numapin_core::host::Host;
use numapin_core::id::Vmid;
use numapin_core::placement::{Plan, plan};
use numapin_core::policy::{Mode, Policy};

/// A guest's config on a host beside others.
#[derive(Debug)]
struct Asked {
    host: Host,
    claims: Claims,
    policy: Policy,
    text: String,
    devices: Vec<Device>,
    running: Option<Running>,
}

impl Asked {
    fn advice(&self, text: &str) -> Option<Advice> {
        let question = Question {
            host: &self.host,
            claims: &self.claims,
            policy: &self.policy,
            file: Path::new("100.conf"),
            text,
            name: &GuestName("100".to_owned()),
            vmid: Some(Vmid(100)),
            devices: &self.devices,
            running: self.running.as_ref(),
        };
        advise(&question).ok()
    }

    fn planned(&self, config: &GuestConfig) -> Option<(Guest, Plan)> {
        let beside = Beside {
            vmid: Some(Vmid(100)),
            devices: self.devices.clone(),
            running: None,
        };
        let mut policy = self.policy.clone();
        if policy.mode == Mode::None {
            policy.mode = Mode::Numa;
        }
        let name = GuestName("100".to_owned());
        let guest = config.guest(name, &Overrides::default(), beside).ok()?;
        let plan = plan(&self.host, &guest, &self.claims, &policy).ok()?;
        Some((guest, plan))
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\n{:?}\n{:?}\n{:?}",
            self.text, self.devices, self.policy, self.claims
        )
    }
}
