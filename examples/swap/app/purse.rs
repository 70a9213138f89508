//! Who has what of a channel's money in the end, read from the chain alone.

use bitcoin::TxOut;
use millstream::signer::{Request, Signer};
use millstream::stream::payee::SettlementPlan;
use millstream::tx::payee_script;
use millstream::units::UtcSeconds;

use super::chains::{BEFORE, CAPACITY, Chain};
use super::ends::AUX;
use super::party::Party;
use crate::common::Error;

/// A channel's money, sat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Purse {
    pub(crate) payer: u64,
    pub(crate) payee: u64,
    /// What miners got.
    pub(crate) fees: u64,
    /// What was to be paid.
    pub(crate) amount: u64,
    /// The height of the block that claimed or timed out the hold, and whether it was a claim.
    pub(crate) spent: Option<(u32, bool)>,
}

/// Whether a leg of the swap was paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leg {
    Paid,
    Kept,
    /// Neither: money is missing.
    Odd,
}

impl Purse {
    /// The leg was paid, or was not, to within what miners took.
    pub(crate) fn leg(&self) -> Leg {
        let (paid, kept) = (BEFORE + self.amount, CAPACITY - BEFORE);
        if self.payee + self.fees >= paid && self.payer + self.fees >= CAPACITY - paid {
            Leg::Paid
        } else if self.payer + self.fees >= kept && self.payee + self.fees >= BEFORE {
            Leg::Kept
        } else {
            Leg::Odd
        }
    }
}

/// Settles the channel that `party` is paid in, if nothing spends it yet.
pub(crate) fn settle(party: &mut Party, chains: &mut [Chain; 2], now: u64) -> Result<(), Error> {
    let number = 1 - party.pays_on;
    let chain = &mut chains[number];
    let payee = &party.inn.payee;
    let spent = chain.output(payee.outpoint()).is_none_or(|status| status.spent.is_some());
    if spent {
        return Ok(());
    }
    let request = if payee.holds().is_empty() {
        let plan = SettlementPlan::new(&party.context, [payee])?;
        let settlement = plan.build(&[], party.tills[number].clone(), chain.kind.rate()?)?;
        let (record, _) = payee.promise(&settlement)?;
        party.inn.payee.apply(&record)?;
        let request = Request::Settlement { settlement: &settlement, index: 0 };
        let signature = party.inn.signer.sign(&request, UtcSeconds::new(now)?, &AUX)?;
        settlement.finish(&[signature], Vec::new())?
    } else {
        // The payer was not there to drop what is past: its outputs go back by their timeouts.
        let settlement = payee.hold_settlement(&party.context, &[])?;
        party.inn.sign(settlement, UtcSeconds::new(now)?)?
    };
    chain.send(&[request]);
    Ok(())
}

/// Counts, on one chain.
pub(crate) fn count(chain: &Chain, payer: &Party, payee: &Party) -> Result<Purse, Error> {
    let number = payer.pays_on;
    let channel = payer.out.payer.channel();
    let amount = chain.kind.amount;
    let status = chain.output(channel.outpoint()).ok_or("the channel is gone")?;
    let Some(spend) = status.spent else {
        // Its payee is gone for good: what its vouchers say is still its own.
        let owed = payee.inn.payee.paid().floor_to_sat().to_sat();
        let purse = Purse { payer: CAPACITY - owed, payee: owed, fees: 0, amount, spent: None };
        return Ok(purse);
    };
    let own = channel.output().script();
    let key = payee_script(&payee.context, channel.output().payee())?;
    let mut to_payer = chain.unspent(own) + chain.unspent(&payer.tills[number]);
    let to_payee = chain.unspent(&payee.tills[number]) + chain.unspent(&key);
    // A hold that nobody has spent yet is past: its timeout is its payer's.
    let known = |output: &&TxOut| {
        let script = &output.script_pubkey;
        script == own || *script == key || payee.tills.contains(script)
    };
    let mut ended = None;
    for (vout, output) in (0_u32..).zip(&spend.tx.output).filter(|(_, output)| !known(output)) {
        let outpoint = bitcoin::OutPoint { txid: spend.tx.compute_txid(), vout };
        let spent = chain.output(outpoint).and_then(|status| status.spent);
        match spent {
            None => to_payer += output.value.to_sat(),
            Some(spend) => {
                let claim = spend.tx.version == bitcoin::transaction::Version::TWO;
                ended = spend.confirmed.map(|at| (at.to_u32(), claim));
            }
        }
    }
    let fees = CAPACITY.checked_sub(to_payer + to_payee).ok_or("money out of nothing")?;
    Ok(Purse { payer: to_payer, payee: to_payee, fees, amount, spent: ended })
}
