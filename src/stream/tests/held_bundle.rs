//! Bundles: partial failure before they are offered and never after; one hold, one fate.

use alloc::vec;

use super::held::{EXPIRY, RULES, SETTLE_BY, hold, id, preimage};
use super::payee::PayeeHoldState;
use super::*;
use crate::stream::bundle::{Bundle, BundleSum, Bundling};
use crate::tx::TxError;

/// A bundle of number `number`'s hash that says that it has so many items of so much.
pub(super) fn bundle(number: u8, expiry: u32, items: u32, total: u64) -> Bundle {
    let mut bundling = Bundling::new(preimage(number).hash(), at(expiry));
    for _ in 1..items {
        bundling.push(Msat::ZERO).unwrap();
    }
    bundling.push(msat(total)).unwrap();
    bundling.seal(sum(items, total)).unwrap()
}

fn sum(items: u32, total: u64) -> BundleSum {
    let root = [u8::try_from(items % 251).unwrap(); 32];
    BundleSum::new(root, items, msat(total)).unwrap()
}

impl Pair {
    pub(super) fn offer_bundle_at(
        &mut self,
        bundle: &Bundle,
        height: u32,
    ) -> Result<HoldVoucher, StreamError> {
        let (signer, view) = (&mut self.payer_signer, view(height));
        let step =
            self.payer.offer_bundle(&self.context, signer, bundle, session(), &view, &AUX)?;
        self.take(step)
    }

    fn bundled(&mut self, bundle: &Bundle) -> HoldVoucher {
        let voucher = self.offer_bundle_at(bundle, DEEP).unwrap();
        assert!(self.hear(&voucher).unwrap().is_new());
        voucher
    }
}

#[test]
fn bundle_of_micropayments_is_held_and_folded_to_the_millisatoshi() {
    let mut pair = Pair::holding();
    pair.pay(20_000_250);
    let voucher = pair.bundled(&bundle(1, EXPIRY, 10_000, 5_000_999));
    assert_eq!(voucher.holds, [hold(1, 5_000)]);
    assert_eq!(voucher.bundles, [(id(1), sum(10_000, 5_000_999))]);
    assert!(!pair.hear(&voucher).unwrap().is_new(), "the same again is idempotent");
    assert_eq!(pair.payee.holds()[0].bundle, Some(sum(10_000, 5_000_999)));
    assert_eq!(pair.payer.exposure(), msat(25_000_250), "less than a satoshi is not held");
    pair.fulfil(1);
    let folded = pair.fold(1).unwrap();
    assert_eq!(pair.hear(&folded).unwrap().gained(), msat(5_000_999));
    assert_eq!(pair.payer.signed(), msat(25_001_249));
    assert!(pair.payer.holds().is_empty());
}

#[test]
fn bundle_loses_items_and_splits_before_it_is_offered() {
    let mut bundling = Bundling::new(preimage(1).hash(), at(EXPIRY));
    for number in 0..6 {
        assert_eq!(bundling.push(msat(1_000_100)).unwrap(), number);
    }
    assert_eq!(bundling.fail(1).unwrap(), msat(1_000_100));
    assert_eq!(bundling.fail(1).unwrap_err(), StreamError::NoSuchItem { number: 1 });
    assert_eq!(bundling.fail(6).unwrap_err(), StreamError::NoSuchItem { number: 6 });
    let same = bundling.clone().split_off(4, preimage(1).hash());
    assert_eq!(same.unwrap_err(), StreamError::SameHash);
    let rest = bundling.split_off(4, preimage(2).hash()).unwrap();
    assert_eq!((bundling.count(), bundling.total()), (3, msat(3_000_300)));
    assert_eq!((rest.count(), rest.total()), (2, msat(2_000_200)));
    assert_eq!(bundling.items().map(|(number, _)| number).collect::<Vec<_>>(), [0, 2, 3]);
    // The root must be of what is left.
    let other = StreamError::OtherBundle { want: msat(3_000_300), got: msat(6_000_600) };
    assert_eq!(bundling.clone().seal(sum(6, 6_000_600)).unwrap_err(), other);
    assert!(bundling.clone().seal(sum(4, 3_000_300)).is_err(), "items are counted");

    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    pair.bundled(&bundling.seal(sum(3, 3_000_300)).unwrap());
    pair.bundled(&rest.seal(sum(2, 2_000_200)).unwrap());
    // Each has a fate of its own.
    pair.fulfil(1);
    pair.release(2);
    let folded = pair.fold(1).unwrap();
    let dropped = pair.drop_holds(DEEP).unwrap();
    assert_eq!(folded.holds.len(), 1);
    assert_eq!(pair.hear(&dropped).unwrap().gained(), msat(3_000_300));
}

/// Nothing of an offered bundle can be paid without the rest, or taken out of it.
#[test]
fn bundle_does_not_fail_in_part_after_it_was_offered() {
    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    pair.bundled(&bundle(1, EXPIRY, 3, 5_000_400));
    let worth = |items, total| vec![(id(1), sum(items, total))];
    let forge = |pair: &Pair, paid, holds: Vec<_>, bundles| {
        let mut voucher = pair.forge(paid, holds);
        voucher.bundles = bundles;
        voucher
    };
    let wrong = StreamError::WrongBundle { id: id(1) };
    for (amount, bundles) in [
        // Fewer items, another root, a smaller total, no bundle any more, a hold of other worth.
        (5_000, worth(2, 5_000_400)),
        (5_000, worth(3 + 251, 5_000_399)),
        (5_000, worth(3, 5_000_500)),
        (5_000, vec![]),
        (5_001, worth(4, 5_000_400)),
        (5_000, worth(4, 6_000_400)),
    ] {
        let changed = forge(&pair, 20_000_000, vec![hold(1, amount)], bundles.clone());
        assert_eq!(pair.hear(&changed).map(|_| ()).unwrap_err(), wrong, "{bundles:?}");
    }
    let twice = worth(3, 5_000_400).repeat(2);
    let twice = forge(&pair, 20_000_000, vec![hold(1, 5_000)], twice);
    assert_eq!(pair.hear(&twice).map(|_| ()).unwrap_err(), wrong);
    let stray = vec![(id(2), sum(3, 5_000_400))];
    let stray = forge(&pair, 20_000_000, vec![hold(1, 5_000)], stray);
    let of_two = StreamError::WrongBundle { id: id(2) };
    assert_eq!(pair.hear(&stray).map(|_| ()).unwrap_err(), of_two);
    // Folded for its whole satoshis, the rest would be missing.
    let short = pair.forge(25_000_399, vec![]);
    let want = StreamError::NotFolded { want: msat(5_000_400), got: msat(5_000_399) };
    assert_eq!(pair.hear(&short).map(|_| ()).unwrap_err(), want);
    // The payer itself takes nothing out either.
    assert_eq!(pair.grow(1, 6_000).unwrap_err(), wrong);
    let fewer = bundle(1, EXPIRY, 2, 5_000_400);
    assert_eq!(pair.offer_bundle_at(&fewer, DEEP).unwrap_err(), wrong);
}

#[test]
fn bundle_grows_behind_equal_hash_and_expiry_alone() {
    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    pair.bundled(&bundle(1, EXPIRY, 3, 5_000_400));
    let merged = pair.bundled(&bundle(1, EXPIRY, 5, 7_000_100));
    assert_eq!(merged.holds, [hold(1, 7_000)]);
    // Within the same satoshi it is a new state all the same.
    pair.bundled(&bundle(1, EXPIRY, 6, 7_000_900));
    let apart = pair.bundled(&bundle(1, EXPIRY + 1, 3, 2_000_000));
    assert_eq!(apart.holds.len(), 2);
    let apart = pair.bundled(&bundle(3, EXPIRY, 3, 2_000_000));
    assert_eq!(apart.holds.len(), 3);
    // Too late for more; what is held stays.
    let late = pair.offer_bundle_at(&bundle(1, EXPIRY, 7, 9_000_000), SETTLE_BY).unwrap_err();
    assert!(matches!(late, StreamError::HoldTooNear { .. }), "{late}");
}

#[test]
fn bundle_below_the_dust_limit_is_refused_and_waits_for_more() {
    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    let dust = RULES.dust;
    let refused = pair.offer_bundle_at(&bundle(1, EXPIRY, 999, 999_999), DEEP).unwrap_err();
    assert_eq!(refused, TxError::HoldBelowDust { id: id(1), amount: sat(999), dust }.into());
    assert!(pair.payer.holds().is_empty());
    // One item of a millisatoshi more, and none of them is too small.
    pair.bundled(&bundle(1, EXPIRY, 1_000, 1_000_000));
}

#[test]
fn bundle_has_between_one_item_and_a_million() {
    let of = |items| BundleSum::new([1; 32], items, msat(5)).map(|sum| sum.items());
    let wrong = |got| Err(StreamError::BundleItems { got, max: 1 << 20 });
    assert_eq!(of(0), wrong(0));
    assert_eq!(of(1), Ok(1));
    assert_eq!(of(1 << 20), Ok(1 << 20));
    assert_eq!(of((1 << 20) + 1), wrong((1 << 20) + 1));
    let mut full = Bundling::new(preimage(1).hash(), at(EXPIRY));
    for _ in 0..1 << 20 {
        full.push(msat(1)).unwrap();
    }
    let before = full.clone();
    assert_eq!(full.push(msat(1)).unwrap_err(), wrong(1 << 20).unwrap_err());
    assert_eq!(full, before);
    let mut rich = Bundling::new(preimage(1).hash(), at(EXPIRY));
    rich.push(Msat::MAX).unwrap();
    let before = rich.clone();
    assert!(matches!(rich.push(msat(1)), Err(StreamError::Tx(TxError::Overflow(_)))));
    assert_eq!(rich, before);
}

#[test]
fn bundle_survives_restarts_of_both_sides_and_a_lost_record_of_the_payer() {
    let mut pair = Pair::holding();
    let fresh = pair.payer.record().clone().into_unsure();
    pair.bundled(&bundle(1, EXPIRY, 3, 5_000_400));
    pair.fulfil(1);
    pair.restart_payee();
    let held = pair.payee.holds()[0];
    assert_eq!(held.state, PayeeHoldState::Fulfilled(preimage(1)));
    assert_eq!(held.bundle, Some(sum(3, 5_000_400)));
    for lost in [false, true] {
        let shown = pair.payee.best_held().unwrap();
        let mut twin = Pair::holding();
        twin.bundled(&bundle(1, EXPIRY, 3, 5_000_400));
        if lost {
            twin.reload_payer(fresh.clone());
        } else {
            twin.power_cut();
        }
        let signer = &mut twin.payer_signer;
        let resumed = twin.payer.resume_held(&twin.context, signer, &shown).unwrap();
        twin.payer.apply(resumed.record()).unwrap();
        assert_eq!(twin.fold(1).unwrap().paid, msat(5_000_400), "lost: {lost}");
    }
    // A payee cannot claim a total that its hold does not have.
    let mut shown = pair.payee.best_held().unwrap();
    shown.bundles = vec![(id(1), sum(3, 6_000_400))];
    pair.reload_payer(fresh);
    let refused = pair.payer.resume_held(&pair.context, &mut pair.payer_signer, &shown);
    assert_eq!(refused.unwrap_err(), StreamError::WrongBundle { id: id(1) });
}
