//! Batches and receipts against any bytes.

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::constants::GENERATOR_X;
use bitcoin::{OutPoint, Txid, XOnlyPublicKey};

use crate::batch::item::ItemError;
use crate::batch::lanes::Lanes;
use crate::batch::receipt::Receipt;
use crate::batch::{Batch, Builder, Channel, Sealed};
use crate::keys::Context;
use crate::units::Msat;

/// Reads `data` as a batch, and counts it in a channel that has paid nothing.
///
/// # Panics
/// If a batch has a second encoding, if an item is shown that a builder refuses, or if the payee
/// counts another batch than the payer sealed.
pub fn batch_decode(data: &[u8]) {
    let Ok(batch) = Batch::parse(data) else { return };
    let Some(channel) = At::new() else { return };
    let mut lanes = Lanes::new(Msat::ZERO);
    let mut shown = 0_u32;
    // Lanes open as they come: what is fuzzed is the form of the bytes.
    let opened = batch.visit(|item, _| {
        shown = shown.saturating_add(1);
        if lanes.state(item.lane).is_none() {
            assert_eq!(lanes.open(item.lane, Msat::MAX), Ok(()));
        }
    });
    assert!(shown <= batch.items());
    if opened.is_err() {
        return;
    }
    assert_eq!(shown, batch.items());
    let Some(sealed) = again(&batch, &channel, &lanes) else { return };
    assert_eq!(sealed.bytes, data, "a second encoding");
    let mut total = Msat::ZERO;
    let credited = batch.check(&channel, &lanes, &sealed.credited.claim, |_, amount| {
        total = total.saturating_add(amount);
    });
    assert_eq!(credited.as_ref(), Ok(&sealed.credited));
    assert_eq!(Some(total), credited.ok().map(|credited| credited.claim.paid));
}

/// The batch built anew; `None` if it pays nothing or more than all money.
fn again(batch: &Batch<'_>, channel: &At, lanes: &Lanes) -> Option<Sealed> {
    let mut builder = Builder::new(channel, lanes, batch.leaf_size()).ok()?;
    let mut refused = None;
    let visited = batch.visit(|item, _| refused = refused.or(builder.push(item).err()));
    assert_eq!(visited, Ok(()));
    let too_much = matches!(refused, Some(ItemError::Overdrawn { .. }));
    assert!(refused.is_none() || too_much, "{refused:?}");
    if too_much { None } else { builder.seal().ok() }
}

/// Reads `data` as a receipt, and checks its signature.
///
/// # Panics
/// If a receipt has a second form, or does not say the same of itself with and without a known
/// payee.
pub fn receipt_verify(data: &[u8]) {
    let Ok(receipt) = Receipt::decode(data) else { return };
    assert_eq!(receipt.encode(), data, "{receipt:?}");
    let context = Context::new();
    if let Ok(proven) = receipt.verify_signer_unknown(&context) {
        assert_eq!(receipt.verify(&context, proven.payee), Ok(proven));
        assert!(proven.amount <= proven.total && proven.total <= proven.statement.paid);
    }
}

/// A channel without payments.
struct At(XOnlyPublicKey);

impl At {
    fn new() -> Option<Self> {
        XOnlyPublicKey::from_slice(&GENERATOR_X).ok().map(Self)
    }
}

impl Channel for At {
    fn outpoint(&self) -> OutPoint {
        OutPoint { txid: Txid::all_zeros(), vout: 0 }
    }

    fn payee(&self) -> XOnlyPublicKey {
        self.0
    }

    fn paid(&self) -> Msat {
        Msat::ZERO
    }

    fn room(&self) -> Msat {
        Msat::MAX
    }
}
