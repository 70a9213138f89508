//! A payment that waits for its delivery: a hold for the preimage of a hash.

use std::time::Duration;

use bitcoin::OutPoint;
use bitcoin::hex::{FromHex, HexToArrayError};
use millstream::node::{Command, Node, NodeError};
use millstream::rt::RtError;
use millstream::signer::{MemorySigner, PeerId, Signer};
use millstream::stream::Terms;
use millstream::tx::hold::PaymentHash;
use millstream::units::{Blocks, Height, Sat};
use tokio::time::{Instant, sleep};

use super::Paying;
use super::talk::Talk;
use crate::failure::Failure;
use crate::machine;

/// For which hash, how much, how long.
#[derive(Debug, clap::Args)]
pub(super) struct HoldArgs {
    /// Hold a payment for the preimage of this hash, as serve prints it: it is paid when the payee
    /// delivers and reveals the preimage, or released
    #[arg(long, value_name = "HASH", value_parser = hash)]
    #[arg(conflicts_with_all = ["amount", "session_seconds"])]
    pub(super) hold: Option<PaymentHash>,
    /// How much, in sat
    #[arg(long, default_value_t = 2_000, requires = "hold")]
    hold_sat: u64,
    /// For how many blocks; the payee could claim a released hold until then
    #[arg(long, default_value_t = 60, requires = "hold")]
    hold_blocks: u32,
}

fn hash(text: &str) -> Result<PaymentHash, HexToArrayError> {
    <[u8; 32]>::from_hex(text).map(PaymentHash::new)
}

/// How it ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ended {
    Paid,
    Released { at_risk_until: Height },
}

impl Paying<'_> {
    /// Offers a hold, and waits until it is paid or released.
    pub(super) async fn hold(
        &mut self,
        outpoint: OutPoint,
        terms: &Terms,
        hash: PaymentHash,
    ) -> Result<(), Failure> {
        let HoldArgs { hold_sat, hold_blocks, .. } = self.args.holding;
        let amount = Sat::new(hold_sat)?;
        // Its fee is at risk too.
        let budget = amount.saturating_add(terms.holds.fee).to_msat();
        let (session, now) = (machine::fresh_session()?, machine::now()?.time);
        let (peer, lasts) = (PeerId::new(terms.base), Blocks::new(hold_blocks)?);
        let begin = move |node: &mut Node<MemorySigner>| {
            node.signer_mut().open_session(peer, session, budget)?;
            Ok::<_, Failure>(node.view(now)?.tip.height.saturating_after(lasts))
        };
        let expiry = self.driver.look(begin).await??;
        self.talk.held = None;
        let until = Instant::now() + Duration::from_secs(self.args.patience);
        loop {
            let offer = Command::OfferHold { outpoint, hash, amount, expiry, session };
            match self.driver.command(offer).await {
                Ok(()) => break,
                // What earlier calls paid is still being told: nothing is held beside it.
                Err(RtError::Node(NodeError::InFlight { .. })) if Instant::now() < until => {
                    self.talk.drain()?;
                    sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        println!("held {amount} for {hash}, until height {expiry}");
        // An earlier call's holds may end too.
        let ended = |talk: &Talk| talk.hold_ended.get(&talk.held?).copied();
        let ended = self.talk.until("the delivery", ended).await?;
        match ended {
            Ended::Paid => println!("delivered, and {amount} paid"),
            Ended::Released { at_risk_until } => {
                println!("released; at risk until height {at_risk_until}");
            }
        }
        self.driver.look(move |node| node.signer_mut().end_session(peer, session)).await?;
        Ok(())
    }
}
