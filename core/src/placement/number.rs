//! Whole numbers that a cost is packed into. Nearly every item of a cost adds up over cores, L3s and host nodes; with each item
//! as one digit of a mixed radix, a lexicographic comparison of costs is one comparison of numbers and a sum of costs is one
//! sum, exactly. How many bits that takes depends on the host: 128 nearly always, 512 where fractions have odd denominators,
//! any number where those are hostile. The search is written once, over this trait.

use bnum::BInt;
use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::Zero;

/// A signed whole number with room for a packed cost.
pub(super) trait Number: Clone + Ord {
    /// How large a number fits (bits of its absolute value); `None`: any.
    const ROOM: Option<u64>;

    /// Nothing.
    fn nothing() -> Self;
    /// A number that fits by [`Number::ROOM`].
    fn from_big(big: &BigInt) -> Self;
    /// The same as a number of any size.
    fn to_big(&self) -> BigInt;
    /// Adds.
    fn add(&mut self, other: &Self);
    /// Takes away.
    fn sub(&mut self, other: &Self);
    /// How many times a unit above zero fits in, rounded down.
    fn over(&self, unit: &Self) -> Self;

    /// The sum.
    fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        sum.add(other);
        sum
    }

    /// The number `n` times.
    fn times(&self, n: u64) -> Self {
        Self::from_big(&(self.to_big() * n))
    }
}

impl Number for i128 {
    const ROOM: Option<u64> = Some(126);

    fn nothing() -> Self {
        0
    }

    fn from_big(big: &BigInt) -> Self {
        Self::try_from(big).unwrap_or(Self::MAX)
    }

    fn to_big(&self) -> BigInt {
        BigInt::from(*self)
    }

    #[inline]
    fn times(&self, n: u64) -> Self {
        self.wrapping_mul(Self::from(n))
    }

    #[inline]
    fn add(&mut self, other: &Self) {
        *self = self.wrapping_add(*other);
    }

    #[inline]
    fn sub(&mut self, other: &Self) {
        *self = self.wrapping_sub(*other);
    }

    fn over(&self, unit: &Self) -> Self {
        self.div_euclid(*unit)
    }
}

/// 512 bits.
pub(super) type Wide = BInt<8>;

impl Number for Wide {
    const ROOM: Option<u64> = Some(510);

    fn nothing() -> Self {
        Self::ZERO
    }

    fn from_big(big: &BigInt) -> Self {
        let (sign, mut bytes) = big.to_bytes_le();
        // without it a high first bit would be read as a sign
        bytes.push(0);
        let magnitude = Self::from_le_slice(&bytes).unwrap_or(Self::MAX);
        if sign == num_bigint::Sign::Minus {
            magnitude.wrapping_neg()
        } else {
            magnitude
        }
    }

    fn to_big(&self) -> BigInt {
        let magnitude = self.unsigned_abs();
        let words = magnitude.digits().iter().rev();
        let big = words.fold(BigInt::zero(), |big, word| (big << 64_u32) + *word);
        if self.is_negative() { -big } else { big }
    }

    fn times(&self, n: u64) -> Self {
        self.wrapping_mul(Self::from(n))
    }

    #[inline]
    fn add(&mut self, other: &Self) {
        *self = self.wrapping_add(*other);
    }

    #[inline]
    fn sub(&mut self, other: &Self) {
        *self = self.wrapping_sub(*other);
    }

    fn over(&self, unit: &Self) -> Self {
        self.div_euclid(*unit)
    }
}

impl Number for BigInt {
    const ROOM: Option<u64> = None;

    fn nothing() -> Self {
        Zero::zero()
    }

    fn from_big(big: &BigInt) -> Self {
        big.clone()
    }

    fn to_big(&self) -> BigInt {
        self.clone()
    }

    fn add(&mut self, other: &Self) {
        *self += other;
    }

    fn sub(&mut self, other: &Self) {
        *self -= other;
    }

    fn over(&self, unit: &Self) -> Self {
        self.div_floor(unit)
    }
}

/// Two to the power of `bits`.
#[cfg(test)]
fn power(bits: u64) -> BigInt {
    BigInt::from(1) << bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back<W: Number>() {
        let top: BigInt = power(W::ROOM.unwrap_or(5000)) - 1;
        for big in [
            BigInt::zero(),
            BigInt::from(1),
            BigInt::from(-7),
            BigInt::from(200),
            BigInt::from(-40_000),
            top.clone(),
            -top,
        ] {
            assert_eq!(W::from_big(&big).to_big(), big);
        }
    }

    fn arithmetic<W: Number + std::fmt::Debug>() {
        let of = |n: i64| W::from_big(&BigInt::from(n));
        let mut n = of(5);
        n.sub(&of(9));
        assert_eq!(n, of(-4));
        assert!(n < W::nothing());
        assert_eq!(of(-4).plus(&of(6)), of(2));
        assert_eq!(of(-4).times(3), of(-12));
        assert_eq!(of(-4).over(&of(3)), of(-2));
        assert_eq!(of(7).over(&of(3)), of(2));
    }

    #[test]
    fn numbers_of_all_widths_count_alike() {
        there_and_back::<i128>();
        there_and_back::<Wide>();
        there_and_back::<BigInt>();
        arithmetic::<i128>();
        arithmetic::<Wide>();
        arithmetic::<BigInt>();
    }
}
