//! The shortest part of a sequence that still goes wrong in the same way.

use super::{Outcome, Sequence};
use crate::flow::Broken;

/// How often a sequence is run again at most: each time costs as much as the first.
const RUNS: usize = 60;

/// Leaves out what can go.
///
/// # Errors
/// The simulated node itself broke.
pub fn smallest(sequence: &Sequence, rule: &str) -> Result<Sequence, Broken> {
    let mut best = sequence.clone();
    let mut runs = 0;
    let mut size = best.events.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < best.events.len() && runs < RUNS {
            let mut shorter = best.clone();
            let end = (at + size).min(shorter.events.len());
            shorter.events.drain(at..end);
            runs += 1;
            match shorter.run()? {
                Outcome::Wrong { at: last, breaches }
                    if breaches.iter().any(|breach| breach.rule == rule) =>
                {
                    shorter.events.truncate(last + 1);
                    best = shorter;
                }
                _ => at = end,
            }
        }
        size /= 2;
    }
    Ok(best)
}
