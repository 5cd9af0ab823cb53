//! Whole numbers that a cost is packed into. Nearly every item of a cost adds up over cores, L3s and host nodes; with each item
//! as one digit of a mixed radix, a lexicographic comparison of costs is one comparison of numbers and a sum of costs is one
//! sum, exactly. How many bits that takes depends on the host: 128 nearly always, more ([`Wide`](super::wide::Wide)) where
//! fractions have odd denominators. The search is written once, over this trait.

use num_bigint::BigInt;

/// A signed whole number with room for a packed cost.
pub(super) trait Number: Clone + Ord {
    /// Nothing.
    fn nothing() -> Self;
    /// A number that fits: [`ROOM`] says whether a narrow one does.
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
    fn times(&self, n: u64) -> Self;
}

/// How many bits the absolute value of a narrow number may have.
pub(super) const ROOM: u64 = 126;

impl Number for i128 {
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

#[cfg(test)]
mod tests {
    use super::super::wide::Wide;
    use super::*;

    fn there_and_back<W: Number>(bits: u64) {
        let top: BigInt = (BigInt::from(1) << bits) - 1;
        for big in [
            BigInt::from(0),
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
    fn numbers_of_both_widths_count_alike() {
        there_and_back::<i128>(ROOM);
        there_and_back::<Wide>(5000);
        arithmetic::<i128>();
        arithmetic::<Wide>();
    }
}
