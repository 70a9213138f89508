//! A payee against any voucher.

use bitcoin::Network;
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::schnorr::Signature;
use bitcoin::{BlockHash, OutPoint, Txid};

use crate::keys::{ChannelKey, Context, Entropy, Seed};
use crate::stream::{OpenRequest, Payee, Terms, View};
use crate::tx::seen::{OutputStatus, Tip};
use crate::tx::{ChangeScript, Delay, FundingOutput, Voucher};
use crate::units::{Height, KeyIndex, Msat, Sat, Seconds, UtcSeconds};

/// Shows a payee vouchers of 74 bytes each: how it is signed, what is changed, amount, signature.
///
/// # Panics
/// If a voucher is accepted that was not signed for exactly its amount, or if `paid` falls.
pub fn voucher(data: &[u8]) {
    // The stage does not depend on the bytes; a failure to build it would fail every seed.
    let Some(mut stage) = Stage::new() else { return };
    for chunk in data.chunks_exact(74) {
        stage.show(chunk);
    }
    assert!(stage.accepted <= data.len(), "more was accepted than shown");
}

pub(super) struct Stage {
    pub(super) context: Context,
    pub(super) payer: ChannelKey,
    pub(super) payee: Payee,
    pub(super) view: View,
    accepted: usize,
}

impl Stage {
    pub(super) fn new() -> Option<Self> {
        let context = Context::new();
        let network = Network::Regtest;
        let base = Seed::new([2; 32]).base_key(&context, network).ok()?.public();
        let index = KeyIndex::new(0).ok()?;
        let payer = Seed::new([1; 32]).payer_key(&context, network, index).ok()?;
        let mut terms = Terms::new(network, base).ok()?;
        terms.expiry = UtcSeconds::MAX;
        let delay = Delay::new(144).ok()?;
        terms.delay = (delay, delay);
        let output = FundingOutput::new(&context, payer.public(), base, delay).ok()?;
        let value = terms.capacity.0;
        let (height, time) = (Height::new(1_000).ok()?, UtcSeconds::new(1_700_000_000).ok()?);
        let status = OutputStatus {
            value,
            script: output.script().clone(),
            confirmed: Height::new(900).ok(),
            truc: true,
            spent: None,
        };
        let tip = Tip { height, hash: BlockHash::all_zeros(), time };
        let view = View { tip, now: time, tip_age_max: Seconds::MAX };
        let request = OpenRequest {
            network,
            base,
            payer: payer.public(),
            delay,
            outpoint: OutPoint { txid: Txid::all_zeros(), vout: 0 },
            change: ChangeScript::Own,
            terms: terms.hash(),
        };
        let payee = Payee::open(&context, &terms, &request, Some(&status), &view).ok()?;
        Some(Self { context, payer, payee, view, accepted: 0 })
    }

    fn show(&mut self, chunk: &[u8]) {
        let Some(([how, at], rest)) = chunk.split_first_chunk::<2>() else { return };
        let Some((amount, bytes)) = rest.split_first_chunk::<8>() else { return };
        let capacity = self.payee.channel().capacity().to_msat().to_msat();
        let amount = u64::from_be_bytes(*amount);
        // Half of the amounts are in range, the others anything.
        let within = amount.checked_rem(capacity.saturating_add(1)).unwrap_or(0);
        let amount = if how & 1 == 0 { within } else { amount };
        let Ok(paid) = Msat::new(amount) else { return };
        let mut signature: [u8; 64] = bytes.try_into().unwrap_or([0; 64]);
        let signed = how & 2 == 0;
        let mut changed = false;
        if let (true, Ok(digest)) = (signed, self.payee.channel().digest(paid)) {
            signature = self.payer.sign(&self.context, digest, &Entropy::new([0; 32])).serialize();
            if how & 4 != 0 {
                changed = true;
                if let Some(byte) = signature.get_mut(usize::from(at & 63)) {
                    *byte ^= 1_u8.wrapping_shl(u32::from(how >> 5));
                }
            }
        }
        let honest = signed && !changed && paid <= self.payee.channel().capacity().to_msat();
        let Ok(signature) = Signature::from_slice(&signature) else { return };
        let before = self.payee.clone();
        match self.payee.accept(&self.context, Voucher { paid, signature }, &self.view) {
            Ok(accepted) => {
                assert!(honest || !accepted.is_new(), "a voucher that nobody signed");
                assert!(accepted.paid() >= before.paid(), "paid fell");
                let applied = self.payee.apply(accepted.record());
                assert_eq!(applied, Ok(()));
                self.accepted = self.accepted.saturating_add(1);
            }
            Err(_) => assert_eq!(self.payee, before, "a refused voucher had an effect"),
        }
        assert_eq!(self.payee.check_invariants(&self.context), Ok(()));
        assert!(self.payee.paid() <= Sat::to_msat(self.payee.channel().capacity()));
    }
}
