//! Receipts: whole, changed, moved; and their sizes.

use super::*;
use crate::batch::receipt::{Receipt, ReceiptError, Statement};
use crate::keys::{BaseKey, Context, Entropy, Seed};
use bitcoin::Network;

const TARIFF: [u8; 32] = [0x5a; 32];

fn payee(context: &Context, seed: u8) -> BaseKey {
    Seed::new([seed; 32]).base_key(context, Network::Regtest).unwrap()
}

fn list() -> Vec<Item> {
    let mut list: Vec<Item> = (1..=37).map(|n| amount(n, n * 11)).collect();
    list.push(metered(38, 22_000, (450_000, 3_600_000)));
    list.push(Item { hash: Some([4; 32]), ..amount(39, 5) });
    list.extend((1..=9).map(|n| Item { lane: lane(300), ..amount(n, 70_000) }));
    list
}

/// The receipt of the item at `at`, of the payee of `seed`, in `channel`.
fn receipt(context: &Context, seed: u8, at: u32, leaf_size: u8, channel: &At) -> Receipt {
    let sealed = sealed(&list(), leaf_size);
    let key = payee(context, seed);
    let statement = Statement::new(channel, &sealed.credited.claim, TARIFF);
    let signature = key.pair().sign(context, statement.digest(), &Entropy::new([0; 32]));
    let batch = Batch::parse(&sealed.bytes).unwrap();
    Receipt::new(&batch, at, statement, key.public(), signature).unwrap()
}

#[test]
fn receipt_of_every_item_is_verified_from_its_bytes() {
    let context = Context::new();
    let key = payee(&context, 2).public();
    for leaf_size in [1, 3, 16, 64] {
        for (at, item) in (0..).zip(list()) {
            let receipt = receipt(&context, 2, at, leaf_size, &channel(0));
            let read = Receipt::decode(&receipt.encode()).unwrap();
            assert_eq!(read, receipt);
            let proven = read.verify(&context, key).unwrap();
            assert_eq!(proven, receipt.verify_signer_unknown(&context).unwrap());
            assert_eq!((proven.item, proven.amount), (item, item.charge.amount().unwrap()));
            assert_eq!((proven.items, proven.payee), (48, key));
            assert_eq!(proven.total, proven.statement.paid);
            assert_eq!(proven.statement.outpoint, channel(0).outpoint);
            assert_eq!(proven.statement.tariff, TARIFF);
        }
    }
}

#[test]
fn receipt_with_any_bit_changed_is_refused() {
    let context = Context::new();
    let key = payee(&context, 2).public();
    for (at, leaf_size) in [(0, 1), (37, 16), (38, 1), (47, 64)] {
        let bytes = receipt(&context, 2, at, leaf_size, &channel(0)).encode();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let decoded = Receipt::decode(&changed);
            let known = decoded.clone().and_then(|receipt| receipt.verify(&context, key));
            assert!(known.is_err(), "bit {bit}");
            // Without a known payee as well.
            let unknown = decoded.and_then(|receipt| receipt.verify_signer_unknown(&context));
            assert!(unknown.is_err(), "bit {bit}, unknown payee");
        }
        for end in 0..bytes.len() {
            assert!(Receipt::decode(&bytes[..end]).is_err());
        }
        let longer = Receipt::decode(&[&bytes[..], &[0]].concat());
        assert_eq!(longer, Err(ReceiptError::Form(BatchError::Trailing { bytes: 1 })));
    }
}

#[test]
fn receipt_of_another_payee_is_refused() {
    let context = Context::new();
    let (ours, other) = (payee(&context, 2).public(), payee(&context, 3).public());
    let theirs = receipt(&context, 3, 5, 1, &channel(0));
    let refused = theirs.verify(&context, ours);
    assert_eq!(refused, Err(ReceiptError::OtherPayee { got: other, want: ours }));
    assert_eq!(theirs.verify_signer_unknown(&context).unwrap().payee, other);
    // The other's signature under our name.
    let mut bytes = theirs.encode();
    let at = bytes.windows(32).position(|part| part == other.serialize()).unwrap();
    bytes[at..at + 32].copy_from_slice(&ours.serialize());
    let forged = Receipt::decode(&bytes).unwrap().verify(&context, ours);
    assert_eq!(forged, Err(ReceiptError::BadSignature { payee: ours }));
}

#[test]
fn receipt_of_another_channel_batch_or_item_is_refused() {
    let context = Context::new();
    let key = payee(&context, 2).public();
    let whole = receipt(&context, 2, 5, 1, &channel(0)).encode();
    // Bytes 1 to 36 are the outpoint: another transaction, another output of the same one.
    let bad = Err(ReceiptError::BadSignature { payee: key });
    for (at, to) in [(1, 8), (36, 2)] {
        let mut moved = whole.clone();
        moved[at] = to;
        assert_eq!(Receipt::decode(&moved).unwrap().verify(&context, key), bad);
    }
    // A statement over another root.
    let sealed = sealed(&list(), 1);
    let batch = Batch::parse(&sealed.bytes).unwrap();
    let mut statement = Statement::new(&channel(0), &sealed.credited.claim, TARIFF);
    statement.root[0] ^= 1;
    let signature = payee(&context, 2).pair().sign(&context, [0; 32], &Entropy::new([0; 32]));
    let refused = Receipt::new(&batch, 5, statement, key, signature);
    assert_eq!(refused, Err(ReceiptError::RootDiffers));
    statement.root[0] ^= 1;
    statement.paid = Msat::ZERO;
    let refused = Receipt::new(&batch, 5, statement, key, signature);
    assert!(matches!(refused, Err(ReceiptError::AbovePaid { .. })));
    let refused = Receipt::new(&batch, 48, statement, key, signature);
    assert_eq!(refused, Err(ReceiptError::Form(BatchError::NoItem { at: 48 })));
}

#[test]
fn receipt_of_a_million_items_is_below_a_thousand_bytes() {
    let context = Context::new();
    let mut builder = Builder::new(&channel(0), &open_lanes(0), size(1)).unwrap();
    for n in 1..=1_000_000 {
        builder.push(&amount(n, n * 7 % 1_001)).unwrap();
    }
    let sealed = builder.seal().unwrap();
    let batch = Batch::parse(&sealed.bytes).unwrap();
    let key = payee(&context, 2);
    let statement = Statement::new(&channel(0), &sealed.credited.claim, TARIFF);
    let signature = key.pair().sign(&context, statement.digest(), &Entropy::new([0; 32]));
    let at = batch.place_of(lane(0), id(777_778)).unwrap().unwrap();
    assert_eq!(at, 777_777);
    let receipt = Receipt::new(&batch, at, statement, key.public(), signature).unwrap();
    let bytes = receipt.encode();
    assert!(bytes.len() <= 1_000, "{} bytes", bytes.len());
    assert!(Receipt::decode(&bytes).unwrap().verify(&context, key.public()).is_ok());
    assert_eq!(batch.place_of(lane(1), id(1)), Ok(None));
}
