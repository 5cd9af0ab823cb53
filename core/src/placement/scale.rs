//! How the items of a cost become digits of one number, and back.

use num_bigint::{BigInt, BigUint};
use num_integer::Integer;
use num_traits::{One, ToPrimitive, Zero};

use super::cost::{Cost, Item, Value};
use super::fraction::Fraction;
use super::number::Number;

/// How large each item of a cost can become, for one guest on one host.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// The items in the order in which they are compared, each with its highest value (`crowding`: of its numerator).
    pub items: Vec<(Item, BigUint)>,
    /// The common denominator of `crowding`.
    pub denominator: BigUint,
    /// The values that an entry of `load` can have, ascending.
    pub loads: Vec<Fraction>,
    /// How many entries `load` has at most.
    pub entries: u64,
}

/// The weight of each item in a packed cost: the product of the radices of all items behind it.
///
/// `load` is a list compared from its highest entry down. It is packed by rank: among all values that an entry can have, one
/// of rank r weighs `(entries + 1)^r`, so that more entries of a high rank outweigh any number of lower ones, as in the
/// comparison of the sorted lists.
#[derive(Debug, Clone)]
pub(super) struct Scale<W> {
    limits: Limits,
    weights: Vec<(Item, W)>,
    loads: Vec<W>,
}

impl Limits {
    /// The highest value of an item.
    pub(super) fn set(&mut self, item: Item, highest: impl Into<BigUint>) {
        for (i, limit) in &mut self.items {
            if *i == item {
                *limit = highest.into();
                return;
            }
        }
    }

    /// Limits in which every item is nothing.
    pub(super) fn new(order: [Item; 19]) -> Self {
        Self {
            items: order.map(|item| (item, BigUint::zero())).into(),
            denominator: BigUint::one(),
            loads: Vec::new(),
            entries: 0,
        }
    }

    /// How many bits a packed cost takes, with room for what an assignment accounts for: sums of two on a way from virtual node
    /// to virtual node.
    pub(super) fn bits(&self) -> u64 {
        let product = self
            .items
            .iter()
            .fold(BigUint::one(), |p, (item, _)| p * self.radix(*item));
        product.bits() + 2 + u64::from(u64::BITS - self.entries.leading_zeros())
    }

    fn radix(&self, item: Item) -> BigUint {
        if item == Item::Load {
            let base = BigUint::from(self.entries + 1);
            let ranks = u32::try_from(self.loads.len()).unwrap_or(u32::MAX);
            return base.pow(ranks);
        }
        let limit = self.items.iter().find(|(i, _)| *i == item);
        limit.map_or_else(BigUint::one, |(_, highest)| highest + 1_u32)
    }
}

impl<W: Number> Scale<W> {
    /// The weights for given limits.
    pub(super) fn new(limits: Limits) -> Self {
        let mut weight = BigUint::one();
        let mut weights = Vec::with_capacity(limits.items.len());
        let mut loads = Vec::new();
        for (item, _) in limits.items.iter().rev() {
            weights.push((*item, W::from_big(&BigInt::from(weight.clone()))));
            if *item == Item::Load {
                let mut one = weight.clone();
                for _ in &limits.loads {
                    loads.push(W::from_big(&BigInt::from(one.clone())));
                    one *= limits.entries + 1;
                }
            }
            weight *= limits.radix(*item);
        }
        weights.reverse();
        Self {
            limits,
            weights,
            loads,
        }
    }

    /// What one of the item before another one weighs at least: so often as this fits into a packed cost, the rest is that other
    /// item and those behind it.
    pub(super) fn above(&self, item: Item) -> W {
        W::from_big(&(self.one(item).to_big() * BigInt::from(self.limits.radix(item))))
    }

    /// What one of an item weighs.
    pub(super) fn one(&self, item: Item) -> W {
        let found = self.weights.iter().find(|(i, _)| *i == item);
        found.map_or_else(W::nothing, |(_, weight)| weight.clone())
    }

    /// What `n` of an item weigh.
    pub(super) fn of(&self, item: Item, n: u64) -> W {
        self.one(item).times(n)
    }

    /// What an entry of `load` weighs.
    pub(super) fn load(&self, load: &Fraction) -> W {
        let rank = self.limits.loads.binary_search(load);
        rank.map_or_else(|_| W::nothing(), |rank| self.loads[rank].clone())
    }

    /// A weight of `crowding`, from a numerator over the common denominator.
    pub(super) fn crowding(&self, numerator: &BigUint) -> W {
        let one = self.one(Item::Crowding).to_big();
        W::from_big(&(one * BigInt::from(numerator.clone())))
    }

    /// The cost that a number packs. A number below zero (a bound can be) is no cost at all.
    pub(super) fn unpack(&self, packed: &W) -> Cost {
        let mut rest = packed.to_big().to_biguint().unwrap_or_default();
        let mut items = Vec::with_capacity(self.limits.items.len());
        for (item, _) in self.limits.items.iter().rev() {
            let (above, digit) = if self.limits.items[0].0 == *item {
                (BigUint::zero(), rest)
            } else {
                rest.div_rem(&self.limits.radix(*item))
            };
            rest = above;
            items.push((*item, self.value(*item, digit)));
        }
        items.reverse();
        Cost::new(items)
    }

    fn value(&self, item: Item, digit: BigUint) -> Value {
        match item {
            Item::Crowding => {
                Value::Fraction(Fraction::new(digit, self.limits.denominator.clone()))
            }
            Item::Load => Value::Fractions(self.entries(digit)),
            _ => Value::Count(digit.to_u64().unwrap_or(u64::MAX)),
        }
    }

    /// The entries of `load`, the highest first.
    fn entries(&self, mut digits: BigUint) -> Vec<Fraction> {
        let base = BigUint::from(self.limits.entries + 1);
        let mut entries = Vec::new();
        for load in &self.limits.loads {
            let (above, count) = digits.div_rem(&base);
            digits = above;
            entries.extend((0..count.to_u64().unwrap_or(0)).map(|_| load.clone()));
        }
        entries.reverse();
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Mode, Smt};

    fn fraction(numerator: u64, denominator: u64) -> Fraction {
        Fraction::new(numerator.into(), denominator.into())
    }

    fn limits() -> Limits {
        let mut limits = Limits::new(Item::order(Mode::Numa, Smt::Spread));
        for (item, highest) in [
            (Item::Overlap, 9_u64),
            (Item::Crowding, 30),
            (Item::Renumbered, 2),
        ] {
            limits.set(item, highest);
        }
        limits.denominator = BigUint::from(6_u32);
        limits.loads = vec![fraction(1, 4), fraction(1, 3), fraction(1, 2)];
        limits.entries = 2;
        limits
    }

    #[test]
    fn a_packed_cost_comes_back_item_by_item() {
        let scale = Scale::<i128>::new(limits());
        let mut packed = scale.of(Item::Overlap, 7);
        packed.add(&scale.crowding(&BigUint::from(4_u32)));
        packed.add(&scale.load(&fraction(1, 4)));
        packed.add(&scale.load(&fraction(1, 2)));
        packed.add(&scale.of(Item::Renumbered, 2));
        let cost = scale.unpack(&packed);
        assert_eq!(cost.count(Item::Overlap), 7);
        assert_eq!(cost.get(Item::Crowding), &Value::Fraction(fraction(2, 3)));
        assert_eq!(
            cost.get(Item::Load),
            &Value::Fractions(vec![fraction(1, 2), fraction(1, 4)])
        );
        assert_eq!(cost.count(Item::Renumbered), 2);
    }

    #[test]
    fn packed_loads_compare_as_sorted_lists_do() {
        let scale = Scale::<i128>::new(limits());
        let pack = |list: &[Fraction]| list.iter().map(|l| scale.load(l)).sum::<i128>();
        let all = limits().loads;
        let mut lists: Vec<Vec<Fraction>> = all.iter().map(|a| vec![a.clone()]).collect();
        for a in &all {
            lists.extend(
                all.iter()
                    .filter(|b| *b <= a)
                    .map(|b| vec![a.clone(), b.clone()]),
            );
        }
        for a in &lists {
            for b in &lists {
                assert_eq!(a.cmp(b), pack(a).cmp(&pack(b)), "{a:?} {b:?}");
            }
        }
    }
}
