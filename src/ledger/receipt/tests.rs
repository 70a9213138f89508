//! What a device can check of a pool, and that nothing else passes.

use bitcoin::Txid;
use proptest::prelude::*;

use super::*;
use crate::keys::{Entropy, Seed};
use crate::ledger::HashPrice;
use crate::merkle::Proof;
use crate::units::Overflow;

fn opening() -> Opening {
    let channel = OutPoint::new(Txid::from_byte_array([3; 32]), 1);
    let owed = Exact::of(Work::new(5), HashPrice::from_q96((1 << 96) / 2 + 1).unwrap()).unwrap();
    Opening { worker: WorkerKey::new([7; 32]), channel, window: 4, owed }
}

/// A share of `work` at a third of a millisatoshi a hash.
fn credit(work: u128) -> Credit {
    Credit::priced(Work::new(work), HashPrice::from_q96((1 << 96) / 3).unwrap()).unwrap()
}

fn share(number: u32) -> [u8; 28] {
    let mut bytes = [0xa5; 28];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn push_all(window: &mut ShareWindow, count: u32) {
    for number in 0..count {
        window.push(&share(number), &credit(u128::from(number % 5) + 1)).unwrap();
    }
}

fn sealed(count: u32) -> (Statement, Credit) {
    let mut window = ShareWindow::new(opening());
    push_all(&mut window, count);
    let sum = *window.sum();
    (window.seal().unwrap(), sum)
}

fn proof(count: u32, index: u32) -> (Statement, ShareProof) {
    let mut window = ShareWindow::proving(opening(), index);
    push_all(&mut window, count);
    window.into_proof().unwrap()
}

/// The pool's key, and its signature over a statement.
fn signed(context: &Context, statement: &Statement) -> (XOnlyPublicKey, Signature) {
    let base = Seed::new([9; 32]).base_key(context, bitcoin::Network::Regtest).unwrap();
    let key = base.for_payer(context, base.public()).unwrap();
    (key.public(), key.sign(context, statement.digest(), &Entropy::new([1; 32])))
}

#[test]
fn every_share_of_a_window_has_a_proof() {
    for count in [1, 2, 3, 17, 64] {
        let (statement, sum) = sealed(count);
        assert_eq!(statement.encode().len(), Statement::LENGTH);
        statement.check(&sum).unwrap();
        for index in 0..count {
            let (again, proof) = proof(count, index);
            assert_eq!(again, statement);
            proof.check(&statement).unwrap();
            assert_eq!((proof.share(), proof.index()), (&share(index)[..], index));
        }
    }
}

#[test]
fn windows_follow_each_other_without_a_gap() {
    let mut window = ShareWindow::new(opening());
    push_all(&mut window, 5);
    let first = window.seal().unwrap();
    assert_eq!(window.seal(), Err(ShareReceiptError::Tree(MerkleError::Items { got: 0 })));
    push_all(&mut window, 2);
    let second = window.seal().unwrap();
    second.follows(&first).unwrap();
    assert_eq!(second.from, first.to);
    let not_next = Err(ShareReceiptError::NotNext { got: 4, before: 4 });
    assert_eq!(first.follows(&first), not_next);
    // A pool that lets what is owed fall back.
    let less = Statement { from: first.from, ..second };
    assert!(less.follows(&first).is_err());
    let other = Statement { worker: WorkerKey::new([8; 32]), ..second };
    assert!(other.follows(&first).is_err());
    // One in between that the worker was never shown.
    push_all(&mut window, 3);
    let third = window.seal().unwrap();
    third.follows(&second).unwrap();
    assert!(third.follows(&first).is_err());
}

#[test]
fn statement_that_leaves_a_share_out_is_seen() {
    let (statement, sum) = sealed(5);
    let more = sum.plus(&credit(1)).unwrap();
    assert_eq!(statement.check(&more), Err(ShareReceiptError::Shares { got: 5, want: 6 }));
    let (short, _) = sealed(4);
    assert!(short.check(&sum).is_err());
    let cheap = Credit::priced(Work::new(5), HashPrice::from_q96(1).unwrap()).unwrap();
    let mut window = ShareWindow::new(opening());
    window.push(&share(1), &cheap).unwrap();
    let statement = window.seal().unwrap();
    assert!(matches!(statement.check(&credit(5)), Err(ShareReceiptError::Value { .. })));
    assert!(matches!(statement.check(&credit(6)), Err(ShareReceiptError::Work { .. })));
}

#[test]
fn receipt_with_any_bit_changed_is_refused() {
    let context = Context::new();
    let (statement, proof) = proof(21, 11);
    let (pool, signature) = signed(&context, &statement);
    let receipt = ShareReceipt::new(statement, signature, proof).unwrap();
    let bytes = receipt.encode();
    assert_eq!(ShareReceipt::decode(&bytes), Ok(receipt));
    let accepted = |bytes: &[u8]| {
        let receipt = ShareReceipt::decode(bytes);
        receipt.is_ok_and(|receipt| receipt.verify(&context, pool).is_ok())
    };
    assert!(accepted(&bytes));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(!accepted(&changed), "byte {at}, bit {bit}");
        }
    }
    for end in 0..bytes.len() {
        assert!(!accepted(&bytes[..end]));
    }
    assert!(!accepted(&[&bytes[..], &[0]].concat()));
}

#[test]
fn share_of_another_window_or_place_is_not_proved() {
    let (statement, _) = sealed(8);
    let (_, shown) = proof(8, 3);
    // Less work in the whole window than in one share of it.
    let light = Statement { work: shown.work().saturating_sub(Work::new(1)), ..statement };
    assert_eq!(shown.check(&light), Err(ShareReceiptError::RootDiffers));
    let (_, longer) = proof(9, 3);
    let counted = Err(ShareReceiptError::Counted { got: 9, want: 8 });
    assert_eq!(longer.check(&statement), counted);
    let mut moved = shown.clone();
    moved.path = Proof::new(shown.path.shape(), 2, shown.path.steps().to_vec()).unwrap();
    assert!(moved.check(&statement).is_err());
    let mut heavier = shown.clone();
    heavier.leaf.work = Work::new(40);
    assert_eq!(heavier.check(&statement), Err(ShareReceiptError::RootDiffers));
    let mut dearer = shown;
    dearer.leaf.msat = dearer.leaf.msat.add(Msat::new(1).unwrap()).unwrap();
    assert!(matches!(dearer.check(&statement), Err(ShareReceiptError::TotalDiffers { .. })));
}

#[test]
fn share_that_is_refused_leaves_the_window_as_it_was() {
    let mut window = ShareWindow::new(opening());
    push_all(&mut window, 3);
    let before = *window.sum();
    let long = window.push(&[1; 33], &credit(1));
    assert_eq!(long, Err(ShareReceiptError::ShareBytes { got: 33 }));
    assert!(window.push(&[], &credit(1)).is_err());
    let two = credit(1).plus(&credit(1)).unwrap();
    assert_eq!(window.push(&[1; 28], &two), Err(ShareReceiptError::NotOne { got: 2 }));
    let most = Credit::priced(Work::new(u128::MAX), HashPrice::from_q96(1 << 28).unwrap()).unwrap();
    let over = window.push(&[1; 28], &most);
    assert_eq!(over, Err(ShareReceiptError::Overflow(Overflow { unit: "Work" })));
    assert_eq!(*window.sum(), before);
    push_all(&mut window, 0);
    assert_eq!(window.seal().unwrap(), sealed(3).0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// However small the shares are, the leaves add up to what is owed, in whole millisatoshis.
    #[test]
    fn sums_of_a_window_are_what_is_owed(works in proptest::collection::vec(1_u128..9, 1..50)) {
        let mut window = ShareWindow::new(opening());
        let mut value = opening().owed;
        for work in &works {
            window.push(&[1; 28], &credit(*work)).unwrap();
            value = value.plus(credit(*work).value()).unwrap();
        }
        let total = window.tree.total();
        let statement = window.seal().unwrap();
        prop_assert_eq!(statement.to, value);
        prop_assert_eq!(Some(total), statement.total());
        prop_assert_eq!(statement.work.hashes(), works.iter().sum::<u128>());
    }
}
