//! What is settled, and at which fee rate: the node's plan, each group tried once a block.
//!
//! ```text
//!   Node::plan --group--> sent to the key of its first channel --not confirmed--> planned again
//! ```

use std::collections::BTreeMap;

use bitcoin::{OutPoint, ScriptBuf};
use millstream::node::plan::{Group, Policy};
use millstream::node::{Node, NodeError};
use millstream::signer::Signer;
use millstream::tx::{TxError, payee_script};
use millstream::units::{Blocks, FeeRate, Height};

/// Blocks before the last call at which a channel is settled.
pub(super) const LEAD: u32 = 6;

/// One settlement that the plan asks for.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) group: Group,
    pub(super) script: ScriptBuf,
}

/// What must not wait any longer, at this rate or, where it presses, a higher one.
pub(super) fn due<S: Signer>(node: &Node<S>, rate: FeeRate) -> Result<Vec<Due>, NodeError> {
    let till = |outpoint: OutPoint| -> Result<ScriptBuf, NodeError> {
        let payee = node.payee(outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        Ok(payee_script(node.context(), payee.channel().output().payee())?)
    };
    // All of them are alike to the plan: it counts the output's size.
    let Some(any) = node.payees().next() else { return Ok(Vec::new()) };
    let mut policy = Policy::new(till(any.outpoint())?);
    policy.lead = Blocks::new(LEAD).map_err(TxError::from)?;
    let plan = node.plan(rate, None, &[], &policy)?;
    let due = plan.groups.into_iter().filter_map(|group| {
        let first = *group.outpoints.first()?;
        Some(till(first).map(|script| Due { group, script }))
    });
    due.collect()
}

/// What was tried at which tip: the chain's word of it takes a moment, and a refusal stays one
/// until something changes.
#[derive(Debug, Default)]
pub(super) struct Settling {
    tried: BTreeMap<OutPoint, Height>,
}

impl Settling {
    /// Whether a group is to be tried at this tip; then it counts as tried.
    pub(super) fn try_at(&mut self, tip: Height, outpoints: &[OutPoint]) -> bool {
        self.tried.retain(|_, at| *at == tip);
        let before = self.tried.len();
        self.tried.extend(outpoints.iter().map(|outpoint| (*outpoint, tip)));
        self.tried.len() > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_is_tried_once_a_tip_and_again_with_another_channel() {
        let (mut settling, height) = (Settling::default(), |at| Height::new(at).unwrap());
        let outpoints: Vec<_> = (0..2).map(|vout| OutPoint { vout, ..OutPoint::null() }).collect();
        assert!(settling.try_at(height(100), &outpoints[..1]));
        assert!(!settling.try_at(height(100), &outpoints[..1]));
        assert!(settling.try_at(height(100), &outpoints));
        assert!(settling.try_at(height(101), &outpoints));
        assert!(!settling.try_at(height(101), &outpoints[1..]));
    }
}
