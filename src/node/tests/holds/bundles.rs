//! Bundles over the wire: items behind a voucher, counted again, kept until they are acknowledged.

use super::*;

#[test]
fn bundle_is_taken_with_its_items_and_folded_to_the_millisatoshi() {
    let mut stage = open();
    let outpoint = stage.outpoint;
    stage.run(BUYER, offer_bundle(outpoint, &[1_000_250, 500_500]));
    let left = stage.flush(BUYER);
    let [(_, voucher), (_, items)] = &left.sends[..] else { panic!("{:?}", left.sends) };
    stage.handle(SELLER, Input::Received(LINK, voucher.clone())).unwrap();
    // Not before its items are counted.
    assert!(stage.flush(SELLER).sends.is_empty());
    assert!(stage.nodes[SELLER].payee(outpoint).unwrap().holds().is_empty());
    stage.handle(SELLER, Input::Received(LINK, items.clone())).unwrap();
    let taken = stage.flush(SELLER);
    assert_eq!(taken.bundles[0].sum.total(), msat(1_500_750));
    for (link, message) in taken.sends {
        stage.handle(BUYER, Input::Received(link, message)).unwrap();
    }
    stage.check_held(0, &[1_500]);
    stage.run(SELLER, fulfil_hold(outpoint));
    stage.settle_down();
    stage.check_held(1_500_750, &[]);
}

#[test]
fn bundle_that_is_revealed_after_a_restart_is_folded_out_of_the_named_session() {
    let mut stage = open();
    let outpoint = stage.outpoint;
    // Without it the agreed fee would cover what is above the hold.
    let ending = crate::stream::payer::Ending::KeepsChange;
    stage.run(BUYER, Command::Pay { outpoint, more: msat(600_000), session: id(3), ending });
    stage.settle_down();
    stage.run(BUYER, offer_bundle(outpoint, &[1_000_250, 500_500]));
    stage.settle_down();
    stage.restart(&[BUYER]);
    stage.check_held(600_000, &[1_500]);
    stage.run(SELLER, fulfil_hold(outpoint));
    for (link, message) in stage.flush(SELLER).sends {
        stage.handle(BUYER, Input::Received(link, message)).unwrap_err();
    }
    let told = stage.flush(BUYER);
    let [Event::HoldRevealed { id: one, preimage, .. }] = told.events[..] else { panic!() };
    stage.run(BUYER, Command::FoldHold { outpoint, id: one, preimage, session: id(3) });
    stage.settle_down();
    stage.check_held(2_100_750, &[]);
}

#[test]
fn bundle_above_the_largest_record_outlives_a_restart_of_its_payer() {
    let mut stage = open();
    let outpoint = stage.outpoint;
    let mut builder = BundleSum::builder(LeafSize::ONE).unwrap();
    let mut bundling = Bundling::new(preimage().hash(), height(200));
    for number in 1..=2_500_u16 {
        let (lane, id) = (crate::units::Lane::MIN, ItemId::new(u64::from(number)).unwrap());
        let mut hash = [7; 32];
        hash[..2].copy_from_slice(&number.to_be_bytes());
        let charge = Charge::Amount(msat(1_000));
        builder.push(&Item { lane, id, charge, hash: Some(hash) }).unwrap();
        bundling.push(msat(1_000)).unwrap();
    }
    let sealed = builder.seal().unwrap();
    let (bundle, items) = (bundling.seal(BundleSum::of(&sealed).unwrap()).unwrap(), sealed.bytes);
    assert!(items.len() > crate::store::Batch::VALUE_MAX);
    let session = id(3);
    stage.run(BUYER, Command::OfferBundle { outpoint, bundle, items: items.clone(), session });
    // Nothing of it arrives.
    assert_eq!(stage.flush(BUYER).sends.len(), 3);
    stage.handle(BUYER, Input::Disconnected(LINK)).unwrap();
    stage.handle(SELLER, Input::Disconnected(LINK)).unwrap();
    let kept = |stage: &Stage| {
        let mut kept = 0;
        let count = &mut |_: &crate::store::Key, _: &[u8]| {
            kept += 1;
            core::ops::ControlFlow::Continue(())
        };
        stage.stores[BUYER].scan(&[0x01, 0x07], count).unwrap();
        kept
    };
    assert_eq!(kept(&stage), 2);
    stage.restart(&[BUYER]);
    stage.check_held(0, &[2_500]);
    // Acknowledged, they are forgotten.
    assert_eq!(kept(&stage), 0);
    stage.run(SELLER, fulfil_hold(outpoint));
    stage.settle_down();
    stage.check_held(2_500_000, &[]);
}

#[test]
fn bundle_with_other_items_is_refused_and_released() {
    let mut stage = open();
    let outpoint = stage.outpoint;
    let other = bundle_of(&[1_000_250, 500_501], 200).1;
    let (bundle, items) = bundle_of(&[1_000_250, 500_500], 200);
    let session = id(3);
    let wrong = Command::OfferBundle { outpoint, bundle, items: other.clone(), session };
    assert!(matches!(
        stage.refused(BUYER, wrong),
        NodeError::Stream(StreamError::Batch(_)) | NodeError::Batch(_)
    ));
    stage.run(BUYER, Command::OfferBundle { outpoint, bundle, items, session });
    let mut sends = stage.flush(BUYER).sends;
    let Some((_, Message::HoldItems(items))) = sends.pop() else { panic!() };
    let (_, voucher) = sends.remove(0);
    stage.handle(SELLER, Input::Received(LINK, voucher)).unwrap();
    let length = u32::try_from(other.len()).unwrap();
    let forged = wire::HoldItems { length, part: Bytes::new(other).unwrap(), ..items };
    stage.handle(SELLER, Input::Received(LINK, forged.into())).unwrap_err();
    let left = stage.flush(SELLER);
    assert!(matches!(left.sends[0].1, Message::HoldReleased(_)), "{:?}", left.sends);
    for (link, message) in left.sends {
        stage.handle(BUYER, Input::Received(link, message)).unwrap();
    }
    stage.settle_down();
    stage.check_held(0, &[]);
}
