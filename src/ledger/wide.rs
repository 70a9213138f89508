//! Numbers of 256 bits: as much as the product of two of 128 needs.

use core::num::NonZeroU128;

/// The low half of 128 bits.
const MASK: u128 = 0xffff_ffff_ffff_ffff;

/// `high` x 2^128 + `low`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wide {
    pub(super) high: u128,
    pub(super) low: u128,
}

impl Wide {
    /// `a` x `b`, exactly: four products of 64-bit halves.
    pub(super) const fn product(a: u128, b: u128) -> Self {
        let (a_high, a_low) = (a >> 64, a & MASK);
        let (b_high, b_low) = (b >> 64, b & MASK);
        // No wrapping happens here: a product of two halves is at most (2^64 - 1)^2, which leaves
        // room for two more numbers of 64 bits.
        let bottom = a_low.wrapping_mul(b_low);
        let cross = a_high.wrapping_mul(b_low).wrapping_add(bottom >> 64);
        let middle = a_low.wrapping_mul(b_high).wrapping_add(cross & MASK);
        let top = a_high.wrapping_mul(b_high).wrapping_add(cross >> 64);
        Self { high: top.wrapping_add(middle >> 64), low: middle << 64 | bottom & MASK }
    }

    /// Quotient and remainder, rounded down. As fast as 128 bits where the number has no more, else
    /// 128 steps of shift and subtract.
    pub(super) fn div_rem(self, divisor: NonZeroU128) -> (Self, u128) {
        let (high, mut rest) = (self.high / divisor, self.high % divisor);
        if rest == 0 {
            return (Self { high, low: self.low / divisor }, self.low % divisor);
        }
        let divisor = divisor.get();
        let (mut low, mut quotient) = (self.low, 0_u128);
        for _ in 0..128 {
            let carried = rest >> 127;
            rest = rest << 1 | low >> 127;
            (low, quotient) = (low << 1, quotient << 1);
            // The rest was below the divisor, so it is below twice of it, carried bit included.
            if carried == 1 || rest >= divisor {
                rest = rest.wrapping_sub(divisor);
                quotient |= 1;
            }
        }
        (Self { high, low: quotient }, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// The model: decimal-free schoolbook on 32-bit digits, the lowest first.
    fn digits(wide: Wide) -> Vec<u64> {
        let shifts = [0, 32, 64, 96];
        let of = |half: u128| shifts.map(|shift| (half >> shift & 0xffff_ffff) as u64);
        [of(wide.low), of(wide.high)].concat()
    }

    fn times(a: &[u64], b: &[u64]) -> Vec<u64> {
        let mut out = vec![0_u64; a.len() + b.len()];
        for (i, x) in a.iter().enumerate() {
            let mut carry = 0;
            for (j, y) in b.iter().enumerate() {
                let sum = x * y + out[i + j] + carry;
                (out[i + j], carry) = (sum & 0xffff_ffff, sum >> 32);
            }
            out[i + b.len()] = carry;
        }
        out
    }

    fn plus(a: &[u64], b: &[u64]) -> Vec<u64> {
        let mut carry = 0;
        let longest = a.len().max(b.len());
        let at = |digits: &[u64], i: usize| digits.get(i).copied().unwrap_or(0);
        let mut out: Vec<u64> = (0..longest)
            .map(|i| {
                let sum = at(a, i) + at(b, i) + carry;
                carry = sum >> 32;
                sum & 0xffff_ffff
            })
            .collect();
        out.push(carry);
        out
    }

    fn same(a: &[u64], b: &[u64]) -> bool {
        let longest = a.len().max(b.len());
        (0..longest).all(|i| a.get(i).unwrap_or(&0) == b.get(i).unwrap_or(&0))
    }

    fn number() -> impl Strategy<Value = u128> {
        // Every length is as likely, and so are numbers near a power of two.
        (any::<u128>(), 0_u32..128, any::<bool>()).prop_map(|(bits, shift, round)| {
            if round { (1_u128 << shift).wrapping_sub(bits & 1) } else { bits >> shift }
        })
    }

    proptest! {
        #[test]
        fn product_is_that_of_the_schoolbook(a in number(), b in number()) {
            let of = |n| digits(Wide { high: 0, low: n });
            prop_assert!(same(&digits(Wide::product(a, b)), &times(&of(a), &of(b))));
        }

        #[test]
        fn quotient_times_divisor_and_rest_is_the_number(
            high in number(), low in number(), divisor in number(),
        ) {
            let wide = Wide { high, low };
            let Some(nonzero) = NonZeroU128::new(divisor) else { return Ok(()) };
            let (quotient, rest) = wide.div_rem(nonzero);
            prop_assert!(rest < divisor);
            let of = |n| digits(Wide { high: 0, low: n });
            let back = plus(&times(&digits(quotient), &of(divisor)), &of(rest));
            prop_assert!(same(&back, &digits(wide)));
        }
    }

    #[test]
    fn largest_numbers_have_their_largest_product() {
        let most = Wide::product(u128::MAX, u128::MAX);
        assert_eq!(most, Wide { high: u128::MAX - 1, low: 1 });
        let (back, rest) = most.div_rem(NonZeroU128::MAX);
        assert_eq!((back, rest), (Wide { high: 0, low: u128::MAX }, 0));
    }
}
