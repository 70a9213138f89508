//! A payer and a payee with open channels: funded, deep, known to both signers.
//!
//! Also the fixture of the benches under `benches/`, which include this file.

use std::error::Error;

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Network, OutPoint, Txid};
use millstream::keys::{Context, Entropy, Seed};
use millstream::signer::budget::Policy;
use millstream::signer::{KeyName, MemorySigner, Past, PeerId, Role, Signer};
use millstream::store::{Key, MemoryStore};
use millstream::stream::payer::{Ending, Opening};
use millstream::stream::{Backup, Payee, Payer, Terms, View};
use millstream::tx::seen::{OutputStatus, Tip};
use millstream::tx::{ChangeScript, Delay, Voucher};
use millstream::units::{
    ChannelAlias, Height, KeyIndex, Msat, Sat, Seconds, SessionId, UtcSeconds,
};
use millstream::wire::{self, FrameReader, Message, write_frame};

/// The chain of every bench.
pub(crate) const NETWORK: Network = Network::Regtest;
/// The largest capacity that the default terms allow, sat.
pub(crate) const CAPACITY: u64 = 10_000_000;
/// What the payer adds each time: not a whole satoshi, so that all of the template changes.
pub(crate) const STEP: u64 = 1_501;
/// The time of every bench: a moment in a day, so that no window of a budget turns.
const NOW: u64 = 1_800_000_000;

/// One channel, seen from both sides.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) payer: Payer,
    pub(crate) payee: Payee,
    pub(crate) backup: Backup,
    alias: ChannelAlias,
    /// How many vouchers the payee accepted.
    pub(crate) accepted: u64,
}

/// Both machines.
pub(crate) struct Stage {
    pub(crate) payer_signer: MemorySigner,
    pub(crate) payee_signer: MemorySigner,
    pub(crate) payer_seed: Seed,
    pub(crate) terms: Terms,
    pub(crate) view: View,
    pub(crate) session: SessionId,
    pub(crate) aux: Entropy,
    pub(crate) lanes: Vec<Lane>,
    frame: Vec<u8>,
}

/// What the payee would store.
pub(crate) struct Stored {
    pub(crate) key: Key,
    pub(crate) record: Vec<u8>,
}

impl Stage {
    /// With `channels` channels, whose change is the channel's own script or `change`.
    pub(crate) fn new(
        channels: u32,
        change: &ChangeScript,
        delay: Delay,
    ) -> Result<Self, Box<dyn Error>> {
        let now = UtcSeconds::new(NOW)?;
        let aux = Entropy::new([3; 32]);
        let mut payer_signer = signer(1, now)?;
        let payee_signer = signer(2, now)?;
        let base = payee_signer.public(KeyName::Base)?;
        let mut terms = Terms::new(NETWORK, base)?;
        terms.delay.1 = Delay::new(u16::MAX)?;
        let session = SessionId::new(1)?;
        payer_signer.open_session(PeerId::new(base), session, Msat::MAX)?;
        if let Some(slices) = payer_signer.reserve(now, None)? {
            let committed = slices.commit(&mut MemoryStore::default())?;
            payer_signer.apply(committed)?;
        }
        let hash = BlockHash::from_byte_array([9; 32]);
        let tip = Tip { height: Height::new(1_000)?, hash, time: now };
        let view = View { tip, now, tip_age_max: Seconds::new(7_200)? };
        let mut stage = Self {
            payer_signer,
            payee_signer,
            payer_seed: Seed::new([1; 32]),
            terms,
            view,
            session,
            aux,
            lanes: Vec::new(),
            frame: Vec::with_capacity(128),
        };
        for number in 0..channels {
            let lane = stage.open(number, change.clone(), delay)?;
            stage.lanes.push(lane);
        }
        Ok(stage)
    }

    /// With the channel's own script as change and a delay of about ten days.
    pub(crate) fn own(channels: u32) -> Result<Self, Box<dyn Error>> {
        Self::new(channels, &ChangeScript::Own, Delay::new(1_500)?)
    }

    /// The curve's context, for verifying with.
    pub(crate) const fn context(&self) -> &Context {
        self.payee_signer.context()
    }

    /// Opens channel `number` on both sides.
    fn open(
        &mut self,
        number: u32,
        change: ChangeScript,
        delay: Delay,
    ) -> Result<Lane, Box<dyn Error>> {
        let (payer, backup) = self.open_payer(number, change, delay)?;
        let payee = self.open_payee(&payer)?;
        let alias = ChannelAlias::new(number)?;
        Ok(Lane { payer, payee, backup, alias, accepted: 0 })
    }

    /// The payer's side of channel `number`, registered and confirmed.
    pub(crate) fn open_payer(
        &mut self,
        number: u32,
        change: ChangeScript,
        delay: Delay,
    ) -> Result<(Payer, Backup), Box<dyn Error>> {
        let index = KeyIndex::new(number)?;
        let key = self.payer_signer.public(KeyName::Payer(index))?;
        let context = self.payer_signer.context();
        let capacity = Sat::new(CAPACITY)?;
        let opening =
            Opening::new(context, &self.terms, index, key, delay, capacity, change, &self.view)?;
        let mut txid = [5; 32];
        txid[..4].copy_from_slice(&number.to_le_bytes());
        let outpoint = OutPoint { txid: Txid::from_byte_array(txid), vout: 1 };
        let (record, backup, _) = opening.funded(outpoint);
        let mut payer = Payer::load(context, key, record)?;
        let noticed = payer.notice(Some(&shown(&payer)?), &self.view.tip)?;
        payer.apply(noticed.record())?;
        payer.register(&mut self.payer_signer, Past::New)?;
        Ok((payer, backup))
    }

    /// The payee's side of a channel that was shown.
    pub(crate) fn open_payee(&mut self, payer: &Payer) -> Result<Payee, Box<dyn Error>> {
        let context = self.payee_signer.context();
        let (request, status) = (payer.open_request(NETWORK), shown(payer)?);
        let payee = Payee::open(context, &self.terms, &request, Some(&status), &self.view)?;
        self.payee_signer.register(payee.channel(), Role::Payee { stated: None })?;
        Ok(payee)
    }

    /// Signs the next voucher of channel `lane`, of `more` on top of what is signed.
    pub(crate) fn sign(&mut self, lane: usize, more: u64) -> Result<Voucher, Box<dyn Error>> {
        let lane = self.lanes.get_mut(lane).ok_or("no such channel")?;
        let paid = lane.payer.signed().add(Msat::new(more)?)?;
        let (session, view, aux) = (self.session, &self.view, &self.aux);
        let signer = &mut self.payer_signer;
        let step = lane.payer.pay(signer, paid, Ending::KeepsChange, session, view, aux)?;
        lane.payer.apply(step.record())?;
        Ok(step.voucher())
    }

    /// Accepts a voucher of channel `lane`, and gives what is to be stored.
    pub(crate) fn accept(
        &mut self,
        lane: usize,
        voucher: Voucher,
    ) -> Result<Stored, Box<dyn Error>> {
        let lane = self.lanes.get_mut(lane).ok_or("no such channel")?;
        let accepted = lane.payee.accept(self.payee_signer.context(), voucher, &self.view)?;
        if !accepted.is_new() {
            return Err("a voucher that was accepted before".into());
        }
        let stored = Stored { key: accepted.record().key()?, record: accepted.record().encode()? };
        lane.payee.apply(accepted.record())?;
        lane.accepted += 1;
        Ok(stored)
    }

    /// The whole way of a payment but the store: policy, signature, frame, message, verification,
    /// record.
    pub(crate) fn pay(&mut self, lane: usize, more: u64) -> Result<Stored, Box<dyn Error>> {
        let voucher = self.sign(lane, more)?;
        let alias = self.lanes.get(lane).ok_or("no such channel")?.alias;
        let Voucher { paid, signature } = voucher;
        self.frame.clear();
        write_frame(&wire::Voucher { alias, paid, signature }.into(), &mut self.frame)?;
        let (mut reader, mut input) = (FrameReader::new(), self.frame.as_slice());
        let message = reader.read(&mut input)?.ok_or("half a frame")?;
        let Some(Message::Voucher(got)) = Message::decode(message)? else {
            return Err("another message".into());
        };
        let lane = usize::try_from(got.alias.to_u32())?;
        self.accept(lane, Voucher { paid: got.paid, signature: got.signature })
    }

    /// The bytes of the last voucher's frame.
    pub(crate) const fn frame_bytes(&self) -> usize {
        self.frame.len()
    }

    /// Every payer's and payee's word agree, after `vouchers` in all.
    pub(crate) fn check(&self, vouchers: u64) -> Result<(), Box<dyn Error>> {
        let accepted: u64 = self.lanes.iter().map(|lane| lane.accepted).sum();
        if accepted != vouchers {
            return Err(format!("{accepted} of {vouchers} vouchers accepted").into());
        }
        for lane in &self.lanes {
            if lane.payer.signed() != lane.payee.paid() {
                return Err("payer and payee disagree".into());
            }
            lane.payee.check_invariants(self.context())?;
        }
        Ok(())
    }
}

/// What the chain shows of a payer's funding: confirmed, and deep at the stage's tip.
fn shown(payer: &Payer) -> Result<OutputStatus, Box<dyn Error>> {
    let channel = payer.channel();
    Ok(OutputStatus {
        value: channel.capacity(),
        script: channel.output().script().clone(),
        confirmed: Some(Height::new(900)?),
        truc: true,
        spent: None,
    })
}

/// A signer whose budgets never run out, so that the same path is measured throughout.
pub(crate) fn signer(byte: u8, now: UtcSeconds) -> Result<MemorySigner, Box<dyn Error>> {
    let policy = Policy { hour: Msat::MAX, day: Msat::MAX, peer: Msat::MAX, slice: Msat::MAX };
    let entropy = Entropy::new([byte; 32]);
    let mut signer = MemorySigner::new(Seed::new([byte; 32]), NETWORK, policy, None, &entropy)?;
    signer.release_day_budget_without_record(now)?;
    Ok(signer)
}

/// A number of things as a figure; none is large enough to lose a digit.
pub(crate) fn figure(count: usize) -> Result<f64, Box<dyn Error>> {
    Ok(f64::from(u32::try_from(count)?))
}

/// Weight as virtual bytes, quarters included.
pub(crate) fn vbytes(weight: bitcoin::Weight) -> Result<f64, Box<dyn Error>> {
    Ok(f64::from(u32::try_from(weight.to_wu())?) / 4.0)
}
