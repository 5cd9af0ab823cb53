//! Exact fractions for what judges the planner: machine words suffice for the hosts it is shown.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Add;

/// A fraction that is not negative, in lowest terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fraction {
    over: u128,
    under: u128,
}

impl Fraction {
    /// Nothing.
    pub const ZERO: Self = Self { over: 0, under: 1 };

    /// `over / under`; nothing where `under` is 0.
    #[must_use]
    pub fn new(over: usize, under: usize) -> Self {
        Self::lowest(over as u128, under as u128)
    }

    fn lowest(over: u128, under: u128) -> Self {
        if under == 0 {
            return Self::ZERO;
        }
        let (mut a, mut b) = (over, under);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        Self {
            over: over / a,
            under: under / a,
        }
    }

    /// The fraction divided by a whole number; nothing where that is 0.
    #[must_use]
    pub fn divided(self, by: usize) -> Self {
        Self::lowest(self.over, self.under * by as u128)
    }
}

impl Add for Fraction {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::lowest(
            self.over * other.under + other.over * self.under,
            self.under * other.under,
        )
    }
}

impl Ord for Fraction {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.over * other.under).cmp(&(other.over * self.under))
    }
}

impl PartialOrd for Fraction {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.under {
            1 => write!(f, "{}", self.over),
            _ => write!(f, "{}/{}", self.over, self.under),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Fraction;

    #[test]
    fn fractions_are_exact() {
        let third = Fraction::new(2, 6);
        assert_eq!(third.to_string(), "1/3");
        assert_eq!((third + Fraction::new(1, 6)).to_string(), "1/2");
        assert_eq!((third + third + third).to_string(), "1");
        assert_eq!(third.divided(2), Fraction::new(1, 6));
        assert!(third < Fraction::new(34, 100) && third > Fraction::new(33, 100));
        assert_eq!(Fraction::new(1, 0), Fraction::ZERO);
    }
}
