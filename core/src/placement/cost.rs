//! What a plan costs: nineteen items, compared one after the other in the order of the mode.

use std::fmt;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::fraction::Fraction;
use crate::policy::{Mode, Smt};

macro_rules! items {
    ($($(#[$doc:meta])* $item:ident = $name:literal,)*) => {
        /// One item of a plan's cost; the declaration follows the table of the manual. Lower is better for each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Item { $($(#[$doc])* $item,)* }

        impl Item {
            /// All items in the order of the table.
            pub const ALL: [Self; 19] = [$(Self::$item),*];

            /// The name in output.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$item => $name),* }
            }
        }
    };
}

items! {
    /// Virtual nodes without `hostnodes` that share their host node with another one of this guest.
    SharedNodes = "shared_nodes",
    /// vCPUs that have no unclaimed CPU of their own.
    Overlap = "overlap",
    /// Cores used that also have a claimed CPU.
    ForeignCores = "foreign_cores",
    /// Packages beyond the first that a spanning virtual node covers.
    Packages = "packages",
    /// Host nodes beyond the first of a spanning virtual node.
    Spanned = "spanned",
    /// Kinds of core used beyond the first.
    CoreKinds = "core_kinds",
    /// vCPUs on CPUs that are not of the fastest kind of the host.
    SlowVcpus = "slow_vcpus",
    /// How much vCPUs share cores (spread and set modes), or how many cores are used (pack).
    SharedCores = "shared_cores",
    /// Cores used with another online thread that is not usable.
    HalfCores = "half_cores",
    /// Other guests' set-pinned vCPUs on the CPUs taken, each by its share.
    Crowding = "crowding",
    /// MiB of a running guest's memory outside its host nodes.
    RemoteMemory = "remote_memory",
    /// Passed-through devices that hang on none of its host nodes.
    RemoteDevices = "remote_devices",
    /// Host nodes with less memory available than the guest needs there.
    ShortMemory = "short_memory",
    /// Sum of the distances between its host nodes.
    Distance = "distance",
    /// vCPUs on the core of the lowest online CPU.
    BootCore = "boot_core",
    /// L3s used.
    L3Domains = "l3_domains",
    /// How full its areas are, the fullest first.
    Load = "load",
    /// Unclaimed usable CPUs, not taken, in the L3s used.
    Leftover = "leftover",
    /// Virtual nodes i that are not on host node i alone.
    Renumbered = "renumbered",
}

/// The cost of a plan: all nineteen items in the order in which they are compared. Costs of different modes or smt policies
/// are not to be compared with each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    items: Vec<(Item, Value)>,
}

/// The value of one item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// A whole number.
    Count(u64),
    /// A fraction (`crowding`).
    Fraction(Fraction),
    /// Fractions, the highest first (`load`).
    Fractions(Vec<Fraction>),
}

impl Item {
    /// The order in which the items are compared: that of the table, but for `spanned`, which stands after `shared_cores`
    /// in one-to-one with smt=spread (cores before nodes).
    #[must_use]
    pub fn order(mode: Mode, smt: Smt) -> [Self; 19] {
        let mut order = Self::ALL;
        if mode == Mode::OneToOne && smt == Smt::Spread {
            // spanned, core_kinds, slow_vcpus, shared_cores -> core_kinds, slow_vcpus, shared_cores, spanned
            order[Self::Spanned as usize..=Self::SharedCores as usize].rotate_left(1);
        }
        order
    }
}

impl Cost {
    /// A cost from its items, which must be all nineteen in the order of the mode.
    pub(super) fn new(items: Vec<(Item, Value)>) -> Self {
        Self { items }
    }

    /// A cost in which every item is nothing (modes none and shared).
    #[must_use]
    pub fn zero(mode: Mode, smt: Smt) -> Self {
        let zero = |item| match item {
            Item::Crowding => Value::Fraction(Fraction::default()),
            Item::Load => Value::Fractions(Vec::new()),
            _ => Value::Count(0),
        };
        Self::new(Item::order(mode, smt).map(|item| (item, zero(item))).into())
    }

    /// The same cost with another value of one item.
    pub(super) fn with(mut self, item: Item, value: Value) -> Self {
        if let Some(place) = self.items.iter_mut().find(|(i, _)| *i == item) {
            place.1 = value;
        }
        self
    }

    /// The items in the order in which they are compared.
    pub fn iter(&self) -> impl Iterator<Item = (Item, &Value)> {
        self.items.iter().map(|(item, value)| (*item, value))
    }

    /// The value of one item.
    #[must_use]
    pub fn get(&self, item: Item) -> &Value {
        static NONE: Value = Value::Count(0);
        let found = self.items.iter().find(|(i, _)| *i == item);
        found.map_or(&NONE, |(_, value)| value)
    }

    /// The value of one item that is a whole number; 0 for the two that are not.
    #[must_use]
    pub fn count(&self, item: Item) -> u64 {
        match self.get(item) {
            Value::Count(count) => *count,
            Value::Fraction(_) | Value::Fractions(_) => 0,
        }
    }

    /// The first item in which the other cost differs, with both values: why one plan is better than the other.
    #[must_use]
    pub fn first_difference<'a>(&'a self, other: &'a Self) -> Option<(Item, &'a Value, &'a Value)> {
        let mut both = self.items.iter().zip(&other.items);
        both.find(|(a, b)| a != b).map(|(a, b)| (a.0, &a.1, &b.1))
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Fraction(fraction) => fraction.fmt(f),
            Self::Fractions(list) => {
                for (i, fraction) in list.iter().enumerate() {
                    write!(f, "{}{fraction}", if i == 0 { "" } else { " " })?;
                }
                Ok(())
            }
        }
    }
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u64(*count),
            Self::Fraction(fraction) => fraction.serialize(serializer),
            Self::Fractions(list) => list.serialize(serializer),
        }
    }
}

impl Serialize for Cost {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.items.len()))?;
        for (item, value) in &self.items {
            map.serialize_entry(item, value)?;
        }
        map.end()
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Cost {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cost".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let fraction = generator.subschema_for::<Fraction>();
        let count = schemars::json_schema!({"type": "integer", "minimum": 0});
        let list = schemars::json_schema!({"type": "array", "items": fraction});
        let value = |item: &Item| match item {
            Item::Crowding => fraction.clone(),
            Item::Load => list.clone(),
            _ => count.clone(),
        };
        let items = Item::ALL.iter();
        let properties: std::collections::BTreeMap<_, _> =
            items.map(|item| (item.name(), value(item))).collect();
        schemars::json_schema!({
            "description": "All items in the order in which they are compared; lower is better.",
            "type": "object",
            "properties": properties,
            "required": Item::ALL.map(Item::name),
            "additionalProperties": false,
        })
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Item {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Item".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "An item of a plan's cost.",
            "type": "string",
            "enum": Item::ALL.map(Item::name),
        })
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Value {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Value".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let fraction = generator.subschema_for::<Fraction>();
        schemars::json_schema!({
            "description": "The value of an item of a plan's cost: a list for `load`.",
            "anyOf": [fraction, {"type": "array", "items": fraction}],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spanned_stands_after_shared_cores_for_spread_only() {
        let place = |smt, item| {
            let order = Item::order(Mode::OneToOne, smt);
            order.iter().position(|i| *i == item).unwrap()
        };
        for smt in [Smt::Isolate, Smt::Pack, Smt::Any] {
            assert_eq!(Item::order(Mode::OneToOne, smt), Item::ALL);
        }
        assert_eq!(Item::order(Mode::L3, Smt::Spread), Item::ALL);
        assert_eq!(
            place(Smt::Spread, Item::SharedCores) + 1,
            place(Smt::Spread, Item::Spanned)
        );
        assert_eq!(
            place(Smt::Spread, Item::Packages) + 1,
            place(Smt::Spread, Item::CoreKinds)
        );
        assert_eq!(place(Smt::Spread, Item::HalfCores), 8);
    }

    #[test]
    fn a_cost_serialises_in_the_order_of_comparison() {
        let json = serde_json::to_string(&Cost::zero(Mode::OneToOne, Smt::Spread)).unwrap();
        assert!(json.starts_with(
            r#"{"shared_nodes":0,"overlap":0,"foreign_cores":0,"packages":0,"core_kinds":0,"slow_vcpus":0,"shared_cores":0,"spanned":0,"#
        ));
        assert!(json.contains(r#""crowding":0,"#) && json.contains(r#""load":[],"#));
    }
}
