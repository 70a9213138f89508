//! How an episode ends on the chain: in peace, after the deadline, or against the machine's word.

use bitcoin::{Network, Transaction};
use millstream::keys::Entropy;
use millstream::stream::Payer;
use millstream::tx::hold::{Held, HoldSettlement, HoldSpend};
use millstream::units::{FeeRate, Height, Sat};

use super::drive::Drive;
use super::scene::{DELAY, DEPTH, HOLD_FEE, K, RATE};
use crate::common::Error;

/// A channel and the one that it rolled over into, each with its delay, and a few blocks more.
const REFUND_BLOCKS: u32 = 2 * DELAY as u32 + 100;

impl Drive<'_> {
    /// Both sign the channel away, once nothing is held any more.
    pub(crate) fn part_in_peace(&mut self) -> Result<(), Error> {
        // A line that broke at the end is back within minutes.
        self.blocks(2)?;
        self.got.0 = self.paid();
        self.scene.close()?;
        self.mark("both sign the channel away".into())?;
        for _ in 0..4 * DEPTH {
            if !self.scene.has_channels() {
                break;
            }
            self.blocks(1)?;
        }
        self.finish();
        Ok(())
    }

    /// What there is to settle is settled; the rest the buyer takes after the deadline.
    pub(crate) fn wait_for_refund(&mut self) -> Result<(), Error> {
        // A machine that is gone without a word takes nothing.
        let settles = self.machine.watch().is_some() && !self.machine_gone || self.is_spent();
        if settles {
            self.got.0 = self.kept.as_ref().map_or(0, |kept| kept.paid.to_msat() / 1_000);
        }
        let mut refunded = false;
        for _ in 0..REFUND_BLOCKS {
            if !self.scene.has_channels() {
                break;
            }
            if !refunded {
                refunded = self.try_refund()?;
            }
            self.blocks(1)?;
        }
        self.finish();
        Ok(())
    }

    /// Whether the deadline has come.
    fn try_refund(&mut self) -> Result<bool, Error> {
        let node = self.scene.node(self.scene.buyer).ok_or("no buyer")?;
        let deadline = node.payer(self.scene.outpoint).and_then(Payer::deadline);
        // The next block is what a mempool judges by.
        let due = deadline.is_some_and(|at| self.scene.tip().to_u32() + 1 >= at.to_u32());
        if !due || self.settles_still() {
            return Ok(false);
        }
        self.scene.refund()?;
        self.mark("the buyer takes the rest back after the deadline".into())?;
        Ok(true)
    }

    /// Whether the machine will settle the channel first.
    fn settles_still(&self) -> bool {
        !self.machine_gone && !self.is_spent()
    }

    fn is_spent(&self) -> bool {
        let status = self.scene.world.chain().with(|chain| chain.output(self.scene.funded));
        status.is_some_and(|status| status.spent.is_some())
    }

    fn paid(&self) -> u64 {
        let node = self.scene.node(self.scene.machine);
        let payee = node.and_then(|node| node.payee(self.scene.outpoint));
        payee.map_or(0, |payee| payee.paid().floor_to_sat().to_sat())
    }

    fn finish(&mut self) {
        if self.scene.has_channels() {
            self.guard.fail("a channel is still open".into());
        }
        let status = self.scene.world.chain().with(|chain| chain.output(self.scene.funded));
        let spent = status.and_then(|status| status.spent?.confirmed).map(Height::to_u32);
        for keeper in [&self.buyer, &self.machine] {
            if let Some(watch) = keeper.watch() {
                self.guard.check_heights(watch, spent);
            }
        }
    }

    /// The machine settles with the voucher that it kept, and claims the hold that it released:
    /// nothing in its node would sign that, so that it signs with its key alone.
    pub(crate) fn cheat(&mut self) -> Result<(), Error> {
        let node = self.scene.node(self.scene.machine).ok_or("no machine")?;
        let payee = node.payee(self.scene.funded).ok_or("no channel")?;
        let (channel, kept) = (payee.channel().clone(), self.kept.clone().ok_or("no voucher")?);
        let context = self.scene.context();
        let base = self.scene.machine_seed().base_key(context, Network::Regtest)?;
        let key = base.for_payer(context, channel.output().payer())?;
        let aux = Entropy::new([0; 32]);
        let held = Held::new(context, channel, kept.paid, Sat::new(HOLD_FEE)?, kept.holds.clone())?;
        let settlement = HoldSettlement::new(held.verify(context, &kept.signature)?, &[])?;
        let coin = settlement.coins()?.pop().ok_or("no hold")?;
        let settled: Transaction = {
            let signature = key.sign(context, settlement.digest()?, &aux);
            settlement.finish(&signature, Vec::new())?
        };
        let order = self.vendor.order_of(coin.scripts().hash()).ok_or("no order")?.0;
        let (preimage, rate) = (self.vendor.preimage(order), FeeRate::new(RATE)?);
        let claim = HoldSpend::claim(coin, preimage, self.scene.shelf.clone(), rate)?;
        let signature = key.sign(context, claim.digest()?, &aux);
        let claim = claim.finish(&signature)?;
        self.scene.submit(&[settled])?;
        self.mark("the machine settles with the old voucher".into())?;
        self.blocks(u32::from(K))?;
        self.scene.submit(&[claim])?;
        self.blocks(1)?;
        // Its node has no part in it.
        self.machine_gone = true;
        Ok(())
    }
}
