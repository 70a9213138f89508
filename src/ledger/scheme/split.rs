//! A whole number shared by weights: rounded down, then by the largest remainder.

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::num::NonZeroU128;

use crate::ledger::wide::Wide;

/// Shares `total` among `weights`, whose ids are distinct and whose sum is a `u128`.
///
/// Each gets floor(total x weight / sum); what is left, less than there are weights, goes one each
/// to the largest remainders, of equal ones to the lower id. The parts are in the order of the ids
/// and sum up to `total`. Nothing if all weights are zero. O(n log n).
pub(in crate::ledger) fn split<I: Ord + Copy>(
    total: u128,
    weights: impl Iterator<Item = (I, u128)> + Clone,
) -> Vec<(I, u128)> {
    let sum = weights.clone().fold(0_u128, |sum, (_, weight)| sum.saturating_add(weight));
    let Some(divisor) = NonZeroU128::new(sum) else { return Vec::new() };
    let mut left = total;
    let mut parts: Vec<(I, u128, u128)> = Vec::new();
    for (id, weight) in weights {
        // A weight is at most their sum, so a quotient is at most the total.
        let (Wide { low: part, .. }, rest) = Wide::product(total, weight).div_rem(divisor);
        left = left.saturating_sub(part);
        parts.push((id, part, rest));
    }
    parts.sort_unstable_by_key(|(id, _, rest)| (Reverse(*rest), *id));
    for (_, part, _) in &mut parts {
        if left == 0 {
            break;
        }
        (*part, left) = (part.saturating_add(1), left.saturating_sub(1));
    }
    parts.sort_unstable_by_key(|(id, _, _)| *id);
    parts.into_iter().map(|(id, part, _)| (id, part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn remainder_goes_to_the_largest_and_of_equals_to_the_lower_id() {
        let by = |total, weights: &[(u8, u128)]| split(total, weights.iter().copied());
        // 10 x 1/3 each: 3, 3, 3 and one for the lowest.
        assert_eq!(by(10, &[(3, 1), (1, 1), (2, 1)]), [(1, 4), (2, 3), (3, 3)]);
        // 7 x 1/4 = 1.75, 7 x 3/4 = 5.25.
        assert_eq!(by(7, &[(1, 3), (2, 1)]), [(1, 5), (2, 2)]);
        assert_eq!(by(0, &[(1, 3), (2, 1)]), [(1, 0), (2, 0)]);
        assert_eq!(by(5, &[(1, 0), (2, 1)]), [(1, 0), (2, 5)]);
        assert_eq!(by(5, &[(1, 0)]), []);
    }

    proptest! {
        /// The model divides in whole numbers of 128 bits, one millisatoshi after the other.
        #[test]
        fn parts_are_those_of_the_model_in_any_order(
            total in 0_u128..1 << 60,
            weights in proptest::collection::btree_map(any::<u16>(), 0_u128..1 << 60, 1..40),
            turn in 0_usize..40,
        ) {
            let sum: u128 = weights.values().sum();
            prop_assume!(sum > 0);
            let mut model: alloc::collections::BTreeMap<u16, u128> =
                weights.iter().map(|(id, weight)| (*id, total * weight / sum)).collect();
            let mut left = total - model.values().sum::<u128>();
            let mut given: alloc::collections::BTreeSet<u16> = alloc::collections::BTreeSet::new();
            while left > 0 {
                let rest = |id: u16| total * weights[&id] % sum;
                let waiting = weights.keys().copied().filter(|id| !given.contains(id));
                let next = waiting.reduce(|best, id| if rest(id) > rest(best) { id } else { best });
                let next = next.unwrap();
                given.insert(next);
                *model.get_mut(&next).unwrap() += 1;
                left -= 1;
            }
            let mut order: Vec<(u16, u128)> = weights.into_iter().collect();
            let turn = turn % order.len();
            order.rotate_left(turn);
            let parts = split(total, order.into_iter());
            prop_assert_eq!(parts.iter().map(|(_, part)| part).sum::<u128>(), total);
            prop_assert_eq!(parts, model.into_iter().collect::<Vec<_>>());
        }
    }
}
