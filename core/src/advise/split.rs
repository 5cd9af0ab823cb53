//! The memory of a guest divided over its virtual nodes, so that it sums up exactly.

use crate::guest::Hugepages;

/// What the memory of a virtual node is a multiple of, in MiB: a page of the size the guest asks for. `any` is 1 GiB or 2 MiB,
/// so a multiple of 2 is enough (qemu-server Memory.pm, `hugepages_size`).
pub(super) const fn unit(hugepages: Option<Hugepages>) -> u64 {
    match hugepages {
        None => 1,
        Some(Hugepages::Any | Hugepages::Mib2) => 2,
        Some(Hugepages::Gib1) => 1024,
    }
}

/// Divides memory over virtual nodes by their numbers of vCPUs, in whole units, at least one each; what is left over goes to the
/// first ones. `None`: it is not a multiple of the unit, or there is too little.
pub(super) fn split(memory_mib: u64, vcpus: &[usize], unit: u64) -> Option<Vec<u64>> {
    if !memory_mib.is_multiple_of(unit) {
        return None;
    }
    let units = memory_mib / unit;
    let nodes = u64::try_from(vcpus.len()).ok()?;
    if nodes == 0 || units < nodes {
        return None;
    }
    let mut shares = proportional(units, vcpus)?;
    if shares.contains(&0) {
        shares = proportional(units - nodes, vcpus)?;
        shares.iter_mut().for_each(|share| *share += 1);
    }
    Some(shares.iter().map(|share| share * unit).collect())
}

fn proportional(units: u64, vcpus: &[usize]) -> Option<Vec<u64>> {
    let total: u128 = vcpus.iter().map(|n| *n as u128).sum();
    if total == 0 {
        return None;
    }
    let share = |n: &usize| u64::try_from(u128::from(units) * *n as u128 / total).ok();
    let mut shares: Vec<u64> = vcpus.iter().map(share).collect::<Option<_>>()?;
    let left = units - shares.iter().sum::<u64>();
    // less than one for each: rounding down took less than a unit from each
    for (share, _) in shares.iter_mut().zip(0..left) {
        *share += 1;
    }
    Some(shares)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(8192, &[2, 2, 2, 2], 1, &[2048, 2048, 2048, 2048])]
    #[case(4096, &[1, 1, 1], 1, &[1366, 1365, 1365])]
    #[case(4096, &[1, 1, 1], 2, &[1366, 1366, 1364])]
    #[case(4096, &[1, 1, 1], 1024, &[2048, 1024, 1024])]
    #[case(8192, &[6, 2], 1, &[6144, 2048])]
    #[case(16, &[100, 1], 1, &[15, 1])]
    #[case(16, &[1000, 1], 1, &[15, 1])]
    fn memory_sums_up(
        #[case] memory_mib: u64,
        #[case] vcpus: &[usize],
        #[case] unit: u64,
        #[case] shares: &[u64],
    ) {
        assert_eq!(split(memory_mib, vcpus, unit).unwrap(), shares);
    }

    #[rstest]
    #[case(4097, &[1], 2)]
    #[case(3000, &[1], 1024)]
    #[case(1024, &[1, 1], 1024)]
    #[case(4096, &[], 1)]
    fn what_can_not_be_divided(
        #[case] memory_mib: u64,
        #[case] vcpus: &[usize],
        #[case] unit: u64,
    ) {
        assert_eq!(split(memory_mib, vcpus, unit), None);
    }

    proptest! {
        #[test]
        fn every_share_is_a_multiple_and_none_is_lost(
            units in 1_u64..1 << 30,
            vcpus in proptest::collection::vec(1_usize..300, 1..9),
            unit in proptest::sample::select(vec![1_u64, 2, 1024]),
        ) {
            match split(units * unit, &vcpus, unit) {
                None => prop_assert!(units < vcpus.len() as u64),
                Some(shares) => {
                    prop_assert_eq!(shares.len(), vcpus.len());
                    prop_assert_eq!(shares.iter().sum::<u64>(), units * unit);
                    prop_assert!(shares.iter().all(|share| *share > 0 && share.is_multiple_of(unit)));
                }
            }
        }
    }
}
