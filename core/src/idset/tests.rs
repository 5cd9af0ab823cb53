use proptest::prelude::*;

use super::*;

fn set(ids: &[u32]) -> CpuSet {
    ids.iter().map(|id| CpuId(*id)).collect()
}

#[test]
fn ids_far_beyond_a_thousand_fit() {
    let s = set(&[0, 1023, 1024, 70_000]);
    assert_eq!(s.len(), 4);
    assert_eq!(s.last(), Some(CpuId(70_000)));
    assert_eq!(s.to_string(), "0,1023-1024,70000");
}

#[test]
fn taking_the_last_id_out_leaves_equal_words() {
    let mut s = set(&[3, 700]);
    assert!(s.remove(CpuId(700)));
    assert!(!s.remove(CpuId(700)));
    assert_eq!(s, set(&[3]));
}

#[test]
fn a_set_has_words_only_where_its_ids_are() {
    let mut s = set(&[8190, 8191]);
    assert_eq!((s.base, s.words.len()), (127, 1));
    s.insert(CpuId(64));
    assert_eq!((s.base, s.words.len()), (1, 127));
    s.remove(CpuId(64));
    assert_eq!(s, set(&[8190, 8191]));
    assert_eq!(s.intersection(&set(&[1])).base, 0);
    assert_eq!([s.word(0), s.word(127), s.word(128)], [0, 3 << 62, 0]);
}

#[test]
fn sets_order_by_their_lowest_ids() {
    let mut sets = [set(&[1]), set(&[0, 9]), set(&[0, 2, 3]), set(&[])];
    sets.sort();
    assert_eq!(sets.map(|s| s.to_string()), ["", "0,2-3", "0,9", "1"]);
}

proptest! {
    #[test]
    fn agrees_with_ordered_sets(a: std::collections::BTreeSet<u16>, b: std::collections::BTreeSet<u16>) {
        let of = |s: &std::collections::BTreeSet<u16>| s.iter().map(|i| CpuId(u32::from(*i))).collect::<CpuSet>();
        let (x, y) = (of(&a), of(&b));
        prop_assert_eq!(x.union(&y), of(&(&a | &b)));
        prop_assert_eq!(x.intersection(&y), of(&(&a & &b)));
        prop_assert_eq!(x.difference(&y), of(&(&a - &b)));
        prop_assert_eq!(x.common(&y), (&a & &b).len());
        prop_assert_eq!(x.is_subset(&y), a.is_subset(&b));
        prop_assert_eq!(x.is_disjoint(&y), a.is_disjoint(&b));
        prop_assert_eq!(x.to_string().parse::<CpuSet>().unwrap(), x.clone());
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        let runs = x.runs().flat_map(|(first, last)| first.0..=last.0);
        prop_assert!(runs.eq(a.iter().map(|i| u32::from(*i))));
    }

    #[test]
    fn what_is_put_in_and_taken_out_comes_to_the_same(
        ids in prop::collection::vec((any::<bool>(), 0_u32..700), 0..60),
    ) {
        let mut x = CpuSet::new();
        let mut y = std::collections::BTreeSet::new();
        for (put, id) in ids {
            match put {
                true => prop_assert_eq!(x.insert(CpuId(id)), y.insert(id)),
                false => prop_assert_eq!(x.remove(CpuId(id)), y.remove(&id)),
            }
            prop_assert_eq!(&x, &y.iter().map(|id| CpuId(*id)).collect());
            prop_assert_eq!((x.first(), x.last()), (y.first().map(|i| CpuId(*i)), y.last().map(|i| CpuId(*i))));
        }
    }

    #[test]
    fn a_range_is_its_ids(first in 0_u32..300, len in 0_u32..300, other: std::collections::BTreeSet<u8>) {
        let mut x: CpuSet = other.iter().map(|i| CpuId(u32::from(*i))).collect();
        let mut y = x.clone();
        x.insert_range(CpuId(first), CpuId(first + len));
        y.extend((first..=first + len).map(CpuId));
        prop_assert_eq!(x, y);
    }
}
