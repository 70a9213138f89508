//! What both owners do of themselves: reconnect, settle in time, refund when the time has come.

use bitcoin::OutPoint;

use super::Flaw;
use super::stage::Pair;
use crate::node::Command;
use crate::stream::payee::{PayeePhase, SettleAdvice, SettlePolicy};
use crate::stream::payer::PayerPhase;
use crate::stream::{Payee, Payer};
use crate::units::{Blocks, FeeRate, Sat};

/// 3 blocks before the last call: time for a settlement that has to be replaced.
const LEAD: u32 = 3;

impl Pair {
    pub(super) fn do_duties(&mut self) -> Result<(), Flaw> {
        if self.link.is_none() && self.dice.chance(700) {
            self.reconnect()?;
        }
        self.settle_in_time()?;
        self.refund_in_time()?;
        if self.is_wide() {
            self.forget_unfunded()?;
            self.drop_stranded_session()?;
        }
        Ok(())
    }

    pub(super) fn reconnect(&mut self) -> Result<(), Flaw> {
        if self.link.is_none() {
            self.link = Some(self.world.connect(self.payer, self.payee)?);
        }
        self.attach()
    }

    /// The payer takes up each of its channels that may be paid on.
    pub(super) fn attach(&mut self) -> Result<(), Flaw> {
        let open: Vec<OutPoint> = self.payers(|payer| {
            !matches!(payer.phase(), PayerPhase::Spent { .. } | PayerPhase::Closed)
        });
        for outpoint in open {
            let Some(link) = self.link else { return Ok(()) };
            self.command(self.payer, Command::Attach { link, outpoint })?;
        }
        Ok(())
    }

    fn payers(&self, wanted: impl Fn(&Payer) -> bool) -> Vec<OutPoint> {
        let node = self.world.end(self.payer).map(crate::sim::world::Endpoint::node);
        let payers = node.into_iter().flat_map(crate::node::Node::payers);
        payers.filter(|payer| wanted(payer)).map(Payer::outpoint).collect()
    }

    fn settle_in_time(&mut self) -> Result<(), Flaw> {
        let rate = self.world.chain().with(|chain| chain.fee_rate());
        let rate = rate.max(FeeRate::new(1_000)?);
        let policy = SettlePolicy { rate, lead: Blocks::new(LEAD)?, balance_max: Sat::MAX };
        let time = self.world.now().time;
        let Some(end) = self.world.end(self.payee) else { return Ok(()) };
        let Ok(view) = end.node().view(time) else { return Ok(()) };
        // What was signed the node itself sends again; its owner signs once more only if that has
        // not helped by the time at which settling begins: a batch one of whose channels went
        // another way never confirms.
        let due = |payee: &Payee| {
            let advice = payee.settle_advice(&view, &policy);
            let ours = matches!(payee.phase(), PayeePhase::Open | PayeePhase::Promised { .. });
            ours && matches!(advice, Ok(SettleAdvice::Now { .. }))
        };
        let due: Vec<OutPoint> =
            end.node().payees().filter(|payee| due(payee)).map(Payee::outpoint).collect();
        let batch = self.batch_of(&due);
        if batch.len() > 1 && self.dice.chance(500) && self.settle_all(batch, rate)? {
            return Ok(());
        }
        for outpoint in due {
            self.settle_at(outpoint, rate)?;
        }
        Ok(())
    }

    fn refund_in_time(&mut self) -> Result<(), Flaw> {
        let tip = self.world.chain().with(|chain| chain.tip().height);
        let late = |payer: &Payer| {
            let over = payer.deadline().is_some_and(|deadline| tip >= deadline);
            over && !matches!(payer.phase(), PayerPhase::Spent { .. } | PayerPhase::Closed)
        };
        for outpoint in self.payers(late) {
            let script = self.payers_script();
            // A rest that the usual fee would turn to dust goes home at the least that is relayed.
            for rate in [FeeRate::new(1_000)?, FeeRate::new(100)?] {
                let script = script.clone();
                if self.command(self.payer, Command::Refund { outpoint, script, rate })? {
                    break;
                }
            }
        }
        Ok(())
    }
}
