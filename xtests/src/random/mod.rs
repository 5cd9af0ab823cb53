//! Small random hosts and guests of every kind the manual knows. A seed always gives the same case.

mod guest;
mod host;

use numapin_core::claims::{Claims, SetPinned};
use numapin_core::guest::{Guest, GuestName};
use numapin_core::host::Host;
use numapin_core::idset::CpuSet;
use numapin_core::policy::{Isolated, Kind, Mode, Overlap, Place, Policy, Smt};
use numapin_core::violation::Violations;

/// What `plan` takes.
#[derive(Debug, Clone)]
pub struct Case {
    /// The host.
    pub host: Host,
    /// The guest.
    pub guest: Guest,
    /// What others hold.
    pub claims: Claims,
    /// The policy.
    pub policy: Policy,
}

/// Numbers that look random: splitmix64, by Sebastiano Vigna, in the public domain.
#[derive(Debug)]
pub struct Random(u64);

impl Case {
    /// The case of a seed.
    ///
    /// # Errors
    /// None that is known: the guest's parts follow the rules.
    pub fn of(seed: u64) -> Result<Self, Violations> {
        let random = &mut Random(seed);
        let host = host::host(random);
        let policy = policy(random, &host);
        let guest = guest::guest(random, &host, &policy)?;
        let claims = claims(random, &host);
        Ok(Self {
            host,
            guest,
            claims,
            policy,
        })
    }
}

impl Random {
    /// Numbers that a seed begins.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below another one.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or(0);
        high % bound.max(1)
    }

    /// True so often in a hundred.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// One of several.
    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    /// A place in a list of this length.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(u32::try_from(len).unwrap_or(u32::MAX)) as usize
    }

    /// Another order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.index(i + 1));
        }
    }

    /// Each member so often in a hundred.
    fn some(&mut self, of: &CpuSet, percent: u32) -> CpuSet {
        of.iter().filter(|_| self.chance(percent)).collect()
    }
}

fn policy(random: &mut Random, host: &Host) -> Policy {
    let mode = random.one(&[
        Mode::OneToOne,
        Mode::OneToOne,
        Mode::OneToOne,
        Mode::OneToOne,
        Mode::Numa,
        Mode::L3,
        Mode::L3,
    ]);
    let mut place = || random.chance(20).then(|| random.one(Place::ALL));
    let (emulator, iothreads) = (place(), place());
    Policy {
        mode,
        smt: random.one(&[Smt::Spread, Smt::Spread, Smt::Isolate, Smt::Pack, Smt::Any]),
        overlap: random.one(&[
            Overlap::Avoid,
            Overlap::Avoid,
            Overlap::Deny,
            Overlap::Allow,
        ]),
        isolated: if host.isolated.is_empty() && random.chance(95) {
            random.one(&[Isolated::Avoid, Isolated::Allow])
        } else {
            random.one(Isolated::ALL)
        },
        kind: if host.cpus.iter().all(|cpu| cpu.kind.is_none()) && random.chance(95) {
            random.one(&[Kind::Any, Kind::Performance])
        } else {
            random.one(&[Kind::Any, Kind::Any, Kind::Performance, Kind::Efficiency])
        },
        emulator,
        iothreads,
        ..Policy::default()
    }
}

fn claims(random: &mut Random, host: &Host) -> Claims {
    let mut claims = Claims::default();
    let all = host.online().union(&host.offline);
    if random.chance(50) {
        let percent = random.one(&[10, 30, 60, 100]);
        for (nth, cpu) in random.some(&all, percent).iter().enumerate() {
            let name = GuestName(format!("{}", 200 + nth / 2));
            claims.one_to_one.entry(cpu).or_default().push(name);
        }
    }
    for nth in 0..random.one(&[0, 0, 1, 2, 3]) {
        let percent = random.one(&[20, 50, 80]);
        let mask = random.some(&all, percent);
        if mask.len() > 1 {
            claims.set_pinned.push(SetPinned {
                guest: GuestName(format!("{}", 300 + nth)),
                mask,
                vcpus: 1 + random.below(4),
            });
        }
    }
    for node in &host.nodes {
        if random.chance(15) {
            let promised = u64::from(random.below(5)) << 20;
            claims.promised_kib.insert(node.id, promised);
        }
    }
    claims
}
