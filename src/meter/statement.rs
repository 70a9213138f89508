//! The end of a session in one signed line that both sides can check.

use bitcoin::secp256k1::{Message, XOnlyPublicKey, schnorr::Signature};

use crate::keys::{Context, tagged_hash};
use crate::units::{Msat, Quantity, Seconds, SessionId, UtcSeconds};

use super::record::{Reader, Writer};
use super::tariff::TariffHash;
use super::{MeterError, Record, Session, State};

/// What the seller states about an ended session, under its base key.
///
/// The buyer recomputes it from the readings that it accepted; a third party who holds the tariff
/// and the readings can do the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Statement {
    /// The session.
    pub session: SessionId,
    /// Transaction of the channel that paid: its id as in the outpoint's bytes.
    pub txid: [u8; 32],
    /// Output of that transaction.
    pub vout: u32,
    /// The tariff that counted last.
    pub tariff: TariffHash,
    /// Stamp of the start.
    pub start: UtcSeconds,
    /// Stamp of the end.
    pub end: UtcSeconds,
    /// What was delivered, in the tariff's measure.
    pub quantity: Quantity,
    /// Idle seconds billed.
    pub idle: Seconds,
    /// What the session cost.
    pub owed: Msat,
    /// What was paid and is durable.
    pub paid: Msat,
}

impl Statement {
    /// Length of the bytes.
    pub const LENGTH: usize = 125;

    /// The bytes, version 1; numbers are big-endian.
    ///
    /// | at | bytes | what |
    /// | --- | --- | --- |
    /// | 0 | 1 | version, 1 |
    /// | 1 | 8 | session id |
    /// | 9 | 32 + 4 | channel: txid in outpoint order, output index |
    /// | 45 | 32 | tariff hash |
    /// | 77 | 8 + 8 | start, end |
    /// | 93 | 8 + 8 | quantity, idle seconds |
    /// | 109 | 8 + 8 | owed, paid, msat |
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut out = [0; Self::LENGTH];
        let mut writer = Writer(&mut out);
        writer.put(&[VERSION]);
        writer.put(&self.session.to_u64().to_be_bytes());
        writer.put(&self.txid);
        writer.put(&self.vout.to_be_bytes());
        writer.put(&self.tariff.0);
        for number in [
            self.start.to_u64(),
            self.end.to_u64(),
            self.quantity.to_u64(),
            self.idle.to_u64(),
            self.owed.to_msat(),
            self.paid.to_msat(),
        ] {
            writer.put(&number.to_be_bytes());
        }
        out
    }

    /// Reads exactly one statement.
    ///
    /// # Errors
    /// [`MeterError::UnknownVersion`], [`MeterError::WrongLength`], or [`MeterError::Misfit`] with
    /// a field outside its range.
    pub fn decode(bytes: &[u8]) -> Result<Self, MeterError> {
        let mut reader = Reader::after_version(VERSION, Self::LENGTH, bytes)?;
        let session = SessionId::new(reader.number()?);
        let statement = Self {
            session: session.map_err(|_| MeterError::Misfit { field: "session" })?,
            txid: reader.array()?,
            vout: u32::from_be_bytes(reader.array()?),
            tariff: TariffHash(reader.array()?),
            start: reader.utc("start")?,
            end: reader.utc("end")?,
            quantity: reader.quantity("quantity")?,
            idle: reader.seconds("idle")?,
            owed: reader.msat("owed")?,
            paid: reader.msat("paid")?,
        };
        if statement.end < statement.start {
            return Err(MeterError::Misfit { field: "end" });
        }
        Ok(statement)
    }

    /// What the seller signs: tagged SHA-256, tag "millstream/statement", of the bytes.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        tagged_hash(b"millstream/statement", &[&self.encode()])
    }

    /// Checks that `signature` is the seller's, made by the pair of its `base` key.
    ///
    /// Costs one BIP340 verification.
    ///
    /// # Errors
    /// [`MeterError::BadSignature`].
    pub fn verify(
        &self,
        context: &Context,
        base: XOnlyPublicKey,
        signature: &Signature,
    ) -> Result<(), MeterError> {
        let message = Message::from_digest(self.digest());
        context
            .secp()
            .verify_schnorr(signature, &message, &base)
            .map_err(|_| MeterError::BadSignature { session: self.session })
    }
}

impl Session {
    /// The statement of this ended session, over the channel that paid it.
    ///
    /// # Errors
    /// [`MeterError::WrongState`] before the end.
    pub fn statement(&self, txid: [u8; 32], vout: u32) -> Result<Statement, MeterError> {
        let state = self.record.state;
        if state != State::Ended {
            return Err(MeterError::WrongState { state, input: "statement" });
        }
        let record: &Record = &self.record;
        Ok(Statement {
            session: record.id(),
            txid,
            vout,
            tariff: record.tariff(),
            start: record.started(),
            end: record.at(),
            quantity: record.quantity(),
            idle: record.idle(),
            owed: record.owed(),
            paid: record.paid(),
        })
    }

    /// Checks the seller's statement against what this side counted itself, and that it names the
    /// channel `txid`, `vout`; its signature is checked by [`Statement::verify`].
    ///
    /// Session, channel, tariff and start must be the same. The end is when the seller heard of it,
    /// and nothing is billed by it: the caller holds it against its own clock. The seller may state
    /// less than this side counted (its last readings were lost on the way, or it is generous),
    /// never more: neither quantity, idle seconds nor cost. It states what was paid and durable,
    /// which is never above what this side signed. M8: nor is it above the stated cost by more than
    /// the prepayment of the window, which an end before its delivery leaves with the seller; a
    /// seller counts nothing beyond that, so a larger surplus is made up.
    ///
    /// # Errors
    /// [`MeterError::WrongState`] before the end; [`MeterError::Misfit`] for another session,
    /// channel or tariff; [`MeterError::StatementDiffers`] with both numbers.
    pub fn check_statement(
        &self,
        stated: &Statement,
        txid: [u8; 32],
        vout: u32,
    ) -> Result<(), MeterError> {
        let own = self.statement(txid, vout)?;
        for (same, field) in [
            (stated.session == own.session, "session"),
            ((stated.txid, stated.vout) == (own.txid, own.vout), "channel"),
            (stated.tariff == own.tariff, "tariff"),
            (stated.start == own.start, "start"),
        ] {
            if !same {
                return Err(MeterError::Misfit { field });
            }
        }
        let ahead = stated.paid.saturating_sub(stated.owed);
        for (field, got, most) in [
            ("quantity", stated.quantity.to_u64(), own.quantity.to_u64()),
            ("idle", stated.idle.to_u64(), own.idle.to_u64()),
            ("owed", stated.owed.to_msat(), own.owed.to_msat()),
            ("paid", stated.paid.to_msat(), own.paid.to_msat()),
            ("ahead", ahead.to_msat(), self.record.window().prepay.to_msat()),
        ] {
            if got > most {
                return Err(MeterError::StatementDiffers { field, got, own: most });
            }
        }
        Ok(())
    }

    /// Checks that the seller states no end of the future. It may be later than the own one: the
    /// seller heard of that later.
    pub(crate) fn check_stated_end(
        &self,
        now: UtcSeconds,
        stated: &Statement,
    ) -> Result<(), MeterError> {
        let latest = now.saturating_after(self.skew());
        if stated.end > latest {
            let (got, own) = (stated.end.to_u64(), latest.to_u64());
            return Err(MeterError::StatementDiffers { field: "end", got, own });
        }
        Ok(())
    }
}

/// The only version.
const VERSION: u8 = 1;
