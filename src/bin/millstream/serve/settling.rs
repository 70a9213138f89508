//! At which fee rate a channel is settled, and when that is raised.
//!
//! ```text
//!   due --> sent at the chain's rate --RAISE_AFTER blocks, not confirmed--> sent at a higher one
//!                    '------------------------ again, until a block has it ----'
//! ```

use std::collections::BTreeMap;

use bitcoin::OutPoint;
use millstream::units::{Blocks, FeeRate, Height, UnitError};

/// Blocks in which a settlement at the chain's own rate should have confirmed; before the last call
/// there is time for one more.
const RAISE_AFTER: u32 = 3;
/// 1 sat/vB: what a replacement must pay more at least (BIP125, rule 4).
const STEP_MIN: u64 = 1_000;

/// What was sent for each channel that is due.
#[derive(Debug, Default)]
pub(super) struct Settling {
    sent: BTreeMap<OutPoint, (Height, FeeRate)>,
}

impl Settling {
    /// Forgets what is not due any more: a block has its settlement.
    pub(super) fn retain(&mut self, due: impl Fn(&OutPoint) -> bool) {
        self.sent.retain(|outpoint, _| due(outpoint));
    }

    /// The rate at which to settle now; none while what was sent may still confirm in time.
    pub(super) fn rate(
        &self,
        outpoint: OutPoint,
        tip: Height,
        market: FeeRate,
    ) -> Result<Option<FeeRate>, UnitError> {
        let Some((at, before)) = self.sent.get(&outpoint) else { return Ok(Some(market)) };
        if tip < at.saturating_after(Blocks::new(RAISE_AFTER)?) {
            return Ok(None);
        }
        let before = before.to_sat_per_kvb();
        // By a half, which outruns most fee weather in a few steps.
        let raised = before.saturating_add((before / 2).max(STEP_MIN));
        Ok(Some(FeeRate::new(raised).unwrap_or(FeeRate::MAX).max(market)))
    }

    /// A settlement was sent.
    pub(super) fn sent(&mut self, outpoint: OutPoint, tip: Height, rate: FeeRate) {
        self.sent.insert(outpoint, (tip, rate));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(rate: u64) -> FeeRate {
        FeeRate::new(rate).unwrap()
    }

    fn height(height: u32) -> Height {
        Height::new(height).unwrap()
    }

    #[test]
    fn settlement_is_sent_at_the_chains_rate_and_raised_until_it_confirms() {
        let (mut settling, at) = (Settling::default(), OutPoint::null());
        let mut due = |tip, market| {
            let found = settling.rate(at, height(tip), rate(market)).unwrap();
            if let Some(rate) = found {
                settling.sent(at, height(tip), rate);
            }
            found.map(FeeRate::to_sat_per_kvb)
        };
        assert_eq!(due(100, 1_200), Some(1_200));
        assert_eq!(due(100, 1_200), None);
        assert_eq!(due(102, 9_000), None);
        // By what a replacement must pay more at least, then by a half, never below the chain's.
        assert_eq!(due(103, 1_200), Some(2_200));
        assert_eq!(due(106, 1_200), Some(3_300));
        assert_eq!(due(108, 1_200), None);
        assert_eq!(due(109, 9_000), Some(9_000));
        settling.retain(|_| false);
        assert_eq!(settling.rate(at, height(110), rate(1_000)).unwrap(), Some(rate(1_000)));
    }
}
