//! Paying: one signature a payment, and taking up where a restart left off.

use super::{Payer, PayerPhase, PayerRecord};
use crate::keys::{Context, Entropy};
use crate::signer::{Past, Request, Signer, SignerError};
use crate::stream::channel;
use crate::stream::error::StreamError;
use crate::stream::view::View;
use crate::tx::{ChangeScript, Channel, Voucher};
use crate::units::{Msat, SessionId};

/// Whether a payment may be the last voucher, which gives up the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// No: the channel keeps at least its dust rest.
    KeepsChange,
    /// Yes: paying the whole capacity leaves the payer nothing, not even dust.
    GivesUpChange,
}

/// A signed payment. The voucher may leave at once; the record may be stored lazily, or never.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Paid {
    record: PayerRecord,
    voucher: Voucher,
}

impl Paid {
    /// The record after it.
    pub const fn record(&self) -> &PayerRecord {
        &self.record
    }

    /// What to send.
    pub const fn voucher(&self) -> Voucher {
        self.voucher
    }
}

/// A channel that was taken up again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Resumed {
    pub(super) record: PayerRecord,
    pub(super) behind: Msat,
}

impl Resumed {
    /// The record after it.
    pub const fn record(&self) -> &PayerRecord {
        &self.record
    }

    /// How much more this payer knows to have signed than the payee presents: what the payee lost.
    /// Paying the same amount again re-sends it.
    pub const fn behind(&self) -> Msat {
        self.behind
    }
}

impl Payer {
    /// Signs a voucher of the cumulative amount `paid`, out of the budget of `session`.
    ///
    /// S7: never below what is signed; the same amount again signs the same state. One signature;
    /// no write is needed before it leaves.
    ///
    /// # Errors
    /// [`StreamError::MustResume`] after a restart, [`StreamError::Backwards`],
    /// [`StreamError::LastNotAllowed`], [`StreamError::TooLate`]; [`StreamError::HoldsOpen`] while
    /// holds are open ([`Payer::pay_held`]); [`StreamError::Signer`] by policy and, with
    /// [`SignerError::Tx`], for what no voucher of the channel can say: it holds
    /// `TxError::AboveCapacity` with both amounts, or `TxError::ChangeBelowDust`. The signer says
    /// it, because what our own caller chose is ours and not the peer's.
    pub fn pay(
        &self,
        signer: &mut dyn Signer,
        paid: Msat,
        ending: Ending,
        session: SessionId,
        view: &View,
        aux: &Entropy,
    ) -> Result<Paid, StreamError> {
        match self.record.phase {
            PayerPhase::Open | PayerPhase::Leaving { .. } => {}
            PayerPhase::Unsure => {
                return Err(StreamError::MustResume { at_least: self.record.signed });
            }
            PayerPhase::Spent { .. } | PayerPhase::Closed => return Err(self.wrong_phase("pay")),
        }
        self.check_no_open_holds()?;
        if paid < self.record.signed {
            return Err(StreamError::Backwards { got: paid, signed: self.record.signed });
        }
        let capacity = self.channel.capacity().to_msat();
        if paid == capacity && ending == Ending::KeepsChange {
            return Err(StreamError::LastNotAllowed { capacity });
        }
        if let Some(last_call) = self.last_call()
            && view.tip.height >= last_call
        {
            return Err(StreamError::TooLate { height: view.tip.height, last_call });
        }
        let request = Request::Voucher { channel: &self.channel, paid, session };
        let signature = signer.sign(&request, view.now, aux)?;
        let record = PayerRecord { signed: paid, ..self.record.clone() };
        Ok(Paid { record, voucher: Voucher { paid, signature } })
    }

    /// Takes the channel up again from what the payee presents: its best voucher and the change
    /// script that this was signed with, or nothing if it has none.
    ///
    /// The payer checks its own signature, so the payee can present an older voucher (which hurts
    /// the payee alone) but no other. Without a voucher the change script stays what the record
    /// says: a payee could name its own. Registers the channel with the signer.
    ///
    /// P3: whatever either side forgot, this is where the two go on.
    ///
    /// # Errors
    /// [`StreamError::Tx`] if the voucher is not this payer's; [`StreamError::WrongPhase`],
    /// [`StreamError::Signer`].
    pub fn resume(
        &self,
        context: &Context,
        signer: &mut dyn Signer,
        best: Option<(Voucher, &ChangeScript)>,
    ) -> Result<Resumed, StreamError> {
        match self.record.phase {
            PayerPhase::Open | PayerPhase::Unsure | PayerPhase::Leaving { .. } => {}
            PayerPhase::Spent { .. } | PayerPhase::Closed => {
                return Err(self.wrong_phase("resume"));
            }
        }
        let mut record = self.record.clone();
        record.phase = match record.phase {
            PayerPhase::Unsure => PayerPhase::Open,
            phase => phase,
        };
        let Some((voucher, change)) = best else {
            self.register(signer, Past::New)?;
            signer.resume_exposure(self.outpoint(), &self.record.holds.exposure)?;
            let behind = record.signed.saturating_sub(record.start);
            return Ok(Resumed { record, behind });
        };
        let shown = Channel::new(
            self.channel.outpoint(),
            self.channel.capacity(),
            self.channel.output().clone(),
            channel::own_or_wallet(change.clone(), self.channel.output()),
        )?;
        let checked = shown.verify(context, voucher)?;
        // The last voucher signs no change, so it proves none.
        if voucher.paid < shown.capacity().to_msat() {
            record.change = shown.change().clone();
        }
        let behind = record.signed.saturating_sub(voucher.paid);
        if voucher.paid > record.signed {
            // Signed after this record: the holds that it knows as open were folded or given up.
            record.holds = record.holds.ended(voucher.paid);
        }
        record.signed = record.signed.max(voucher.paid);
        record.start = record.start.min(record.signed);
        let mut payer = self.clone();
        payer.apply(&record)?;
        let past = Past::Unknown { from: None };
        match payer.register(signer, past) {
            Err(StreamError::Signer(SignerError::AlreadyRegistered { outpoint }))
                if record.change != self.record.change =>
            {
                // Known there by the change script that a restore assumed; what it signed since is
                // kept over this.
                signer.forget(outpoint)?;
                payer.register(signer, past)?;
            }
            registered => registered?,
        }
        signer.resume(&checked)?;
        signer.resume_exposure(self.outpoint(), &record.holds.exposure)?;
        Ok(Resumed { record, behind })
    }
}
