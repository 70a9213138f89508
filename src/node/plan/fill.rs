//! The plan of a node: its own channels and pending transactions as the planner's values.

use alloc::vec::Vec;

use bitcoin::{OutPoint, Transaction, Txid};

use super::weigh;
use super::{Candidate, Forecast, Outlook, Pending, Plan, Policy};
use crate::node::{Node, NodeError};
use crate::signer::Signer;
use crate::stream::Payee;
use crate::stream::payee::PayeePhase;
use crate::tx::{ChangeScript, FeeInput};
use crate::units::{Blocks, FeeRate, Sat};

impl<S: Signer> Node<S> {
    /// What to settle now, and what waits: [`Plan::of`] this node's own channels.
    ///
    /// `rate` and `forecast` are the chain's, as values; `coins` are confirmed, this payee's own,
    /// and all of them: also those that its pending settlements spend. A pending transaction with a
    /// coin that is not among them counts as if that had no value, and only while the chain shows
    /// it: else the coin is spent elsewhere, and its channels are planned anew. Reads only.
    ///
    /// # Errors
    /// [`NodeError::NoTip`].
    ///
    /// # Example
    /// ```
    /// use bitcoin::{Network, ScriptBuf};
    /// use millstream::node::plan::Policy;
    /// use millstream::node::{Node, NodeError};
    /// use millstream::signer::Signer;
    /// use millstream::units::FeeRate;
    ///
    /// fn due<S: Signer>(node: &Node<S>, till: ScriptBuf) -> Result<usize, NodeError> {
    ///     let rate = FeeRate::MIN;
    ///     let plan = node.plan(rate, None, &[], &Policy::new(till))?;
    ///     Ok(plan.groups.iter().map(|group| group.outpoints.len()).sum())
    /// }
    /// ```
    pub fn plan(
        &self,
        rate: FeeRate,
        forecast: Option<Forecast>,
        coins: &[FeeInput],
        policy: &Policy,
    ) -> Result<Plan, NodeError> {
        let tip = self.tip.ok_or(NodeError::NoTip)?.height;
        let outlook = Outlook { tip, rate, forecast };
        let candidates: Vec<_> = self.payees().filter_map(|payee| self.candidate(payee)).collect();
        let pending: Vec<_> = self
            .unconfirmed
            .iter()
            .filter_map(|(txid, tx)| self.pending(*txid, tx, coins))
            .collect();
        let spent = |coin: &&FeeInput| self.spends(|at| at == coin.outpoint());
        let idle: Vec<_> = coins.iter().filter(|coin| !spent(coin)).cloned().collect();
        Ok(Plan::of(&candidates, &pending, &idle, &outlook, policy))
    }

    fn candidate(&self, payee: &Payee) -> Option<Candidate> {
        let (outpoint, best) = (payee.outpoint(), payee.best()?);
        if !payee.holds().is_empty() {
            // Its best voucher signs all outputs: it settles alone, by `Payee::hold_settlement`.
            return None;
        }
        let rival = match payee.phase() {
            PayeePhase::Open | PayeePhase::Promised { .. } => None,
            PayeePhase::Spent { by, at: None, .. } => {
                (!self.unconfirmed.contains_key(&by)).then_some(by)
            }
            PayeePhase::Spent { .. } | PayeePhase::Closed { .. } => return None,
        };
        let deadline = payee.deadline();
        let margin = deadline.zip(payee.last_call());
        Some(Candidate {
            outpoint,
            balance: best.paid.floor_to_sat(),
            weight: weigh::part(payee.channel(), best.paid),
            pinnable: *payee.channel().change() != ChangeScript::Own,
            deadline,
            margin: margin.map_or(Blocks::MIN, |(end, call)| end.saturating_since(call)),
            child_of: self.parent_of(payee),
            rival,
        })
    }

    /// The payer's unconfirmed transaction that a settlement may be the child of. One of ours could
    /// be raised, and its children would be void; and what has a child takes no second one.
    fn parent_of(&self, payee: &Payee) -> Option<Txid> {
        let parent = payee.outpoint().txid;
        let may = payee.deadline().is_none()
            && payee.is_truc()
            && !self.unconfirmed.contains_key(&parent)
            && !self.spends(|at| at.txid == parent);
        may.then_some(parent)
    }

    /// Whether a pending transaction spends such an output.
    fn spends(&self, which: impl Fn(OutPoint) -> bool) -> bool {
        let mut inputs = self.unconfirmed.values().flat_map(|tx| &tx.input);
        inputs.any(|input| which(input.previous_output))
    }

    /// A transaction that spends channels, unless a block holds it or a spend against it.
    ///
    /// P2: what spends something else than channels and coins can be void for good, by a coin that
    /// is gone or by a refund whose channel is forgotten. At a rate that nothing of now is worth it
    /// would keep its channels from settling until their deadlines.
    fn pending(&self, txid: Txid, tx: &Transaction, coins: &[FeeInput]) -> Option<Pending> {
        let (mut channels, mut seen, mut value) = (Vec::new(), false, Sat::ZERO);
        let mut stray = false;
        for input in &tx.input {
            let at = input.previous_output;
            if let Some(payee) = self.payee(at) {
                match payee.phase() {
                    PayeePhase::Spent { at: Some(_), .. } | PayeePhase::Closed { .. } => {
                        return None;
                    }
                    PayeePhase::Spent { by, .. } => seen = seen || by == txid,
                    PayeePhase::Open | PayeePhase::Promised { .. } => {}
                }
                channels.push(at);
                value = value.saturating_add(payee.channel().capacity());
            } else if let Some(coin) = coins.iter().find(|coin| coin.outpoint() == at) {
                value = value.saturating_add(super::group::value(coin));
            } else {
                stray = true;
            }
        }
        if channels.is_empty() || (stray && !seen) {
            return None;
        }
        let paid_out = tx.output.iter().fold(Sat::ZERO, |sum, output| {
            sum.saturating_add(Sat::new(output.value.to_sat()).unwrap_or(Sat::MAX))
        });
        let fee = value.saturating_sub(paid_out);
        Some(Pending { txid, channels, fee, weight: tx.weight(), seen })
    }
}
