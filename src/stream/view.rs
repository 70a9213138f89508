//! What a machine sees of the world when it decides.

use super::error::StreamError;
use crate::tx::seen::Tip;
use crate::units::{Height, Seconds, UtcSeconds};

/// The world at one decision: the chain's tip and the time, both as values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The last block of the best chain.
    pub tip: Tip,
    /// The time.
    pub now: UtcSeconds,
    /// How old the tip may be before the chain counts as stalled or eclipsed.
    ///
    /// Two hours without a block happen about once in a year and a half by chance alone.
    pub tip_age_max: Seconds,
}

impl View {
    /// The tip's height, if the tip is young enough to be believed.
    ///
    /// # Errors
    /// [`StreamError::StalledTip`].
    pub fn live_height(&self) -> Result<Height, StreamError> {
        let age = self.now.saturating_since(self.tip.time);
        if age > self.tip_age_max {
            return Err(StreamError::StalledTip { age, max: self.tip_age_max });
        }
        Ok(self.tip.height)
    }
}
