//! Numbers of any size: 512 bits in place, which is enough nearly always and needs no allocation, and more where it is not.

use std::cmp::Ordering;

use bnum::BInt;
use num_bigint::{BigInt, Sign};
use num_integer::Integer;

use super::number::Number;

type Fixed = BInt<8>;

/// How many bits the absolute value of a number may have that is kept in place when it is made.
const ROOM: u64 = 510;

/// A whole number of any size.
#[derive(Debug, Clone)]
pub(super) enum Wide {
    /// One that fits.
    Fixed(Fixed),
    /// One that may not.
    Any(BigInt),
}

use Wide::{Any, Fixed as In};

impl Number for Wide {
    fn nothing() -> Self {
        In(Fixed::ZERO)
    }

    fn from_big(big: &BigInt) -> Self {
        if big.bits() > ROOM {
            return Any(big.clone());
        }
        let (sign, mut bytes) = big.to_bytes_le();
        // without it a high first bit would be read as a sign
        bytes.push(0);
        let magnitude = Fixed::from_le_slice(&bytes).unwrap_or(Fixed::MAX);
        In(match sign {
            Sign::Minus => magnitude.wrapping_neg(),
            Sign::NoSign | Sign::Plus => magnitude,
        })
    }

    fn to_big(&self) -> BigInt {
        let fixed = match self {
            Any(big) => return big.clone(),
            In(fixed) => fixed,
        };
        let magnitude = fixed.unsigned_abs();
        let words = magnitude.digits().iter().rev();
        let big = words.fold(BigInt::ZERO, |big, word| (big << 64_u32) + *word);
        if fixed.is_negative() { -big } else { big }
    }

    #[inline]
    fn add(&mut self, other: &Self) {
        if let (In(a), In(b)) = (&mut *self, other) {
            let (sum, is_more) = a.overflowing_add(*b);
            if !is_more {
                *a = sum;
                return;
            }
        }
        *self = self.sum(other);
    }

    #[inline]
    fn sub(&mut self, other: &Self) {
        if let (In(a), In(b)) = (&mut *self, other) {
            let (rest, is_more) = a.overflowing_sub(*b);
            if !is_more {
                *a = rest;
                return;
            }
        }
        *self = self.rest(other);
    }

    #[inline]
    fn plus(&self, other: &Self) -> Self {
        if let (In(a), In(b)) = (self, other) {
            let (sum, is_more) = a.overflowing_add(*b);
            if !is_more {
                return In(sum);
            }
        }
        self.sum(other)
    }

    fn over(&self, unit: &Self) -> Self {
        match (self, unit) {
            (In(a), In(b)) => In(a.div_euclid(*b)),
            _ => Self::from_big(&self.to_big().div_floor(&unit.to_big())),
        }
    }

    fn times(&self, n: u64) -> Self {
        let fixed = match self {
            In(a) => a.checked_mul(Fixed::from(n)),
            Any(_) => None,
        };
        fixed.map_or_else(|| Any(self.to_big() * n), In)
    }
}

/// What is rarely needed, apart from what is needed by the million.
impl Wide {
    #[cold]
    #[inline(never)]
    fn sum(&self, other: &Self) -> Self {
        Any(self.to_big() + other.to_big())
    }

    #[cold]
    #[inline(never)]
    fn rest(&self, other: &Self) -> Self {
        Any(self.to_big() - other.to_big())
    }

    #[cold]
    #[inline(never)]
    fn compared(&self, other: &Self) -> Ordering {
        self.to_big().cmp(&other.to_big())
    }
}

impl Ord for Wide {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (In(a), In(b)) => a.cmp(b),
            _ => self.compared(other),
        }
    }
}

impl PartialOrd for Wide {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Wide {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Wide {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Small numbers, some a little below or above what fits, and some far above.
    fn number() -> impl Strategy<Value = BigInt> {
        let shift = prop::sample::select(vec![0_u32, 60, 500, 506, 507, 508, 509, 900]);
        (-9_i64..10, shift, -2_i64..3).prop_map(|(n, bits, more)| (BigInt::from(n) << bits) + more)
    }

    proptest! {
        #[test]
        fn numbers_of_any_size_count_as_they_should(a in number(), b in number(), c in number(), n in 0_u64..9) {
            let of = Wide::from_big;
            let sum = of(&a).plus(&of(&b));
            prop_assert_eq!(sum.to_big(), &a + &b);
            prop_assert_eq!(sum.cmp(&of(&c)), (&a + &b).cmp(&c));
            let mut back = sum;
            back.sub(&of(&b));
            prop_assert_eq!(&back, &of(&a));
            prop_assert_eq!(back.cmp(&of(&c)), a.cmp(&c));
            prop_assert_eq!(of(&a).times(n).to_big(), &a * n);
            if c > BigInt::ZERO {
                prop_assert_eq!(of(&a).over(&of(&c)).to_big(), a.div_floor(&c));
            }
        }
    }
}
