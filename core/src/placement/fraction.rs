//! Exact fractions of any size: what `crowding` and `load` are made of. Shares of masks have denominators as various as the
//! masks are long, so their sums fit no machine word; a float would call two equal plans different.

use std::fmt;

use num_bigint::BigUint;
use num_rational::Ratio;
use num_traits::{ToPrimitive, Zero};
use serde::{Serialize, Serializer};

/// A fraction that is not negative, exact, in lowest terms. Prints as "1/3", or as "2" where it is whole; serialises as that
/// string, or as a number where it is whole and fits 64 bits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fraction(Ratio<BigUint>);

impl Fraction {
    /// The fraction `numerator / denominator`; zero where the denominator is zero.
    #[must_use]
    pub fn new(numerator: BigUint, denominator: BigUint) -> Self {
        if denominator.is_zero() {
            return Self(Ratio::zero());
        }
        Self(Ratio::new(numerator, denominator))
    }

    /// The nearest float, for drawing only: decisions compare fractions.
    #[must_use]
    pub fn to_f64(&self) -> f64 {
        let numerator = self.0.numer().to_f64().unwrap_or(f64::MAX);
        numerator / self.0.denom().to_f64().unwrap_or(f64::MAX)
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
}

impl Default for Fraction {
    fn default() -> Self {
        Self(Ratio::zero())
    }
}

impl From<u64> for Fraction {
    fn from(whole: u64) -> Self {
        Self(Ratio::from_integer(BigUint::from(whole)))
    }
}

impl std::ops::Add for Fraction {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Fraction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.is_integer().then(|| self.0.numer().to_u64()) {
            Some(Some(whole)) => serializer.serialize_u64(whole),
            _ => serializer.collect_str(self),
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Fraction {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Fraction".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "An exact fraction: a whole number, or a string like \"1/3\".",
            "type": ["integer", "string"],
            "minimum": 0,
            "pattern": "^[0-9]+/[0-9]+$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numerator: u64, denominator: u64) -> Fraction {
        Fraction::new(numerator.into(), denominator.into())
    }

    #[test]
    fn fractions_compare_and_add_exactly() {
        assert!(of(1, 3) < of(333_333_334, 1_000_000_000));
        assert_eq!(of(1, 3) + of(1, 6), of(1, 2));
        assert_eq!(of(4, 0), Fraction::default());
    }

    #[test]
    fn whole_fractions_serialise_as_numbers_and_others_as_strings() {
        let json = |f: &Fraction| serde_json::to_string(f).unwrap();
        assert_eq!(json(&of(2, 6)), "\"1/3\"");
        assert_eq!(json(&of(6, 3)), "2");
        assert_eq!(json(&Fraction::default()), "0");
    }
}
