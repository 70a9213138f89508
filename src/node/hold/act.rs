//! What is due on the chain of holds: signed and sent; and a preimage that was seen there, paid.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bitcoin::{OutPoint, Transaction};

use super::Order;
use crate::monitor::Act;
use crate::node::effects::Event;
use crate::node::lineage::Side;
use crate::node::{Node, NodeError, Now};
use crate::signer::{Past, Signer};
use crate::stream::StreamError;
use crate::tx::PayeeSpend;
use crate::tx::hold::{HoldSettlement, Preimage};
use crate::units::HoldId;

impl<S: Signer> Node<S> {
    /// The monitor asks for it again at the next tip, if it has not arrived by then.
    pub(super) fn act_on_hold(
        &mut self,
        now: &Now,
        side: Side,
        outpoint: OutPoint,
        act: Act,
    ) -> Result<(), NodeError> {
        let last = match &act {
            Act::Settle(_, Some(child)) | Act::Bump(child) => child.transaction(),
            Act::Settle(settlement, None) => settlement.transaction(),
            Act::Spend(spend) => spend.transaction(),
        };
        let txid = last.compute_txid();
        let Some(watching) = self.watches.get_mut(side, outpoint) else { return Ok(()) };
        if watching.sent.contains(&txid) {
            return Ok(());
        }
        let package = match act {
            Act::Settle(settlement, child) => self.settle_due(now, outpoint, settlement, child)?,
            Act::Bump(child) => Vec::from([self.sign_bump(now, outpoint, child)?]),
            Act::Spend(spend) => {
                if side == Side::Payer {
                    self.register_payer(outpoint)?;
                }
                let missing = NodeError::NoChannel { outpoint };
                let watching = self.watches.get_mut(side, outpoint).ok_or(missing)?;
                let (signer, monitor) = (&mut self.signer, &watching.monitor);
                Vec::from([monitor.sign(spend, signer, now.time, &now.aux)?])
            }
        };
        if let Some(watching) = self.watches.get_mut(side, outpoint) {
            watching.sent.insert(txid);
        }
        if !package.is_empty() {
            self.effects.broadcast(package);
        }
        Ok(())
    }

    /// The settlement, with its child; with coins it is their owner's turn first.
    fn settle_due(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        settlement: HoldSettlement,
        child: Option<PayeeSpend>,
    ) -> Result<Vec<Transaction>, NodeError> {
        if settlement.spent().len() > 1 {
            let settlement = Box::new(settlement);
            self.effects.tell(Event::HoldSettlementDue { outpoint, settlement });
            return Ok(Vec::new());
        }
        let child = match child {
            Some(child) => Some(self.sign_bump(now, outpoint, child)?),
            None => None,
        };
        let settled = self.promise_held(now, settlement, Vec::new())?;
        Ok(core::iter::once(settled).chain(child).collect())
    }

    fn sign_bump(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        child: PayeeSpend,
    ) -> Result<Transaction, NodeError> {
        let missing = NodeError::NoChannel { outpoint };
        let watching = self.watches.get_mut(Side::Payee, outpoint).ok_or(missing)?;
        let (signer, monitor) = (&mut self.signer, &watching.monitor);
        Ok(monitor.sign_child(child, signer, now.time, &now.aux)?)
    }

    /// After a restart the signer does not know a payer's channel before its payee has spoken,
    /// which it may never do again. What it knows already stays as it is.
    fn register_payer(&mut self, outpoint: OutPoint) -> Result<(), NodeError> {
        self.register_line(outpoint, true)?;
        let slot = self.payers.get(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        Ok(slot.machine.register(&mut self.signer, Past::Unknown { from: None })?)
    }

    /// Payer: a preimage that the chain has shown is owed, also where a reorg has undone what
    /// showed it. Nothing is folded where the channel is spent: there the claim is the payment.
    pub(in crate::node) fn fold_known(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
    ) -> Result<(), NodeError> {
        let session = self.slot(outpoint)?.held.session;
        let mut first = Ok(());
        for (id, preimage) in self.known_preimages(outpoint) {
            match self.order_hold(now, outpoint, session, Order::Fold { id, preimage }) {
                // What no budget pays, of a bundle, its caller folds: it was told the preimage.
                Err(NodeError::Stream(
                    StreamError::MustResume { .. }
                    | StreamError::WrongPhase { .. }
                    | StreamError::TooLate { .. }
                    | StreamError::HoldPast { .. }
                    | StreamError::Signer(_),
                )) => {}
                folded => first = first.and(folded),
            }
        }
        first
    }

    /// The open holds of a payer's channel whose preimage the chain has shown.
    fn known_preimages(&mut self, outpoint: OutPoint) -> Vec<(HoldId, Preimage)> {
        let Some(watching) = self.watches.get_mut(Side::Payer, outpoint) else { return Vec::new() };
        let present = watching.monitor.record().holds().iter();
        let present = present.filter(|held| held.standing.is_present());
        present.filter_map(|held| Some((held.hold.id, held.preimage?))).collect()
    }
}
